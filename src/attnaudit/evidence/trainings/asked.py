"""Trainings as evidence: the model in question and its variants, each trained once for all checks.

A check looks at one model; these checks train others, with one thing changed, and compare. So they
need labelled texts with the splits train, dev and test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self, cast

from pydantic import JsonValue

from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.contract import Design
from attnaudit.evidence.trainings.base import Epochs, cautions_of
from attnaudit.evidence.trainings.design import Recipe, Training, Variants, recipe_of
from attnaudit.evidence.trainings.outputs import read_outputs
from attnaudit.evidence.trainings.results import Results
from attnaudit.evidence.trainings.work import OUTPUTS, TEXTS, TrainingWork
from attnaudit.models.text.model import TextClassifier
from attnaudit.runs.cell import Cell, with_needs
from attnaudit.runs.execute import Done
from attnaudit.runs.inputs import Input
from attnaudit.runs.store import Store
from attnaudit.training.evaluation import check_labels

CALLED = {"train": "training", "dev": "development", "test": "test"}


@dataclass(frozen=True)
class Trainings:
    """What a check asks to be trained; checks share trainings.

    Attributes:
        wanted: The variants that it looks at.
    """

    wanted: Callable[[Variants], tuple[Training, ...]]

    @classmethod
    def cells(cls, design: Design, asked: Mapping[str, Self]) -> list[Cell]:
        """One cell per training, the model in question first.

        Raises:
            DataError: A split is missing or unlabelled, or has one class only; or the model in
                question was trained on test texts.
            SettingsError: The model in question is another network than the recipe makes.
            NotApplicable: There is neither a recipe nor a model that has one.
        """
        source, splits = _splits_of(design)
        recipe, given = _recipe_of(design), _given(design)
        variants = Variants(recipe, design.settings.trainings)
        if given is not None:
            cautions_of(given.get(), recipe, splits)  # refuses one that cannot be compared
        shared: dict[str, JsonValue] = {
            "data": {name: splits[name].fingerprint for name in TEXTS},
            "hidden": recipe.hidden,
            "embedding_dim": recipe.embedding_dim,
            "vectors": _digest(recipe.vectors),
        }
        found: dict[str, Cell] = {}

        def cell_of(training: Training) -> Cell:
            if training.name not in found:
                base = training == variants.base
                spec, model = shared | training.spec(), given if base else None
                if model is not None:
                    spec = shared | {"fingerprint": model.fingerprint}
                found[training.name] = Cell(
                    training.name,
                    TrainingWork(training, recipe, source, model),
                    spec,
                    tuple(cell_of(needed) for needed in training.needs),
                    vital=base,
                )
            return found[training.name]

        for training in (variants.base, *(t for a in asked.values() for t in a.wanted(variants))):
            cell_of(training)
        return list(found.values())

    @classmethod
    def gather(
        cls, design: Design, asked: Mapping[str, Self], store: Store, done: Done
    ) -> dict[str, Results]:
        """What the finished trainings say of the test split, the same for every check."""
        _, splits = _splits_of(design)
        recipe, given = _recipe_of(design), _given(design)
        outputs = {
            cell.name: read_outputs(store.folder / cell.place / OUTPUTS)
            for cell in with_needs(cls.cells(design, asked))
            if cell.name in done.records
        }
        cautions: tuple[str, ...] = ()
        if given is not None:
            cautions = cautions_of(given.get(), recipe, splits, design.part(Epochs))
        variants = Variants(recipe, design.settings.trainings)
        results = Results(variants, splits["test"], outputs, done.failed, design.settings, cautions)
        return dict.fromkeys(asked, results)


def _splits_of(design: Design) -> tuple[Input[Mapping[str, Dataset]], dict[str, Dataset]]:
    """The splits as other processes get them, and as they are."""
    known = {} if design.splits is None else design.splits.get()
    found: dict[str, Dataset] = {}
    for name, called in CALLED.items():
        if name not in known:
            raise DataError(
                f"there is no split {name!r}: checks that retrain train on train, choose on dev "
                "and compare on test; `resolve` and `split_dataset` cut data into all three"
            )
        part = known[name]
        if not isinstance(part, Dataset):
            raise NotApplicable("checks that retrain train classifiers of texts, and no others")
        check_labels(part.records, part.classes, called, several=True)
        found[name] = part
    assert design.splits is not None
    return cast("Input[Mapping[str, Dataset]]", design.splits), found


def _recipe_of(design: Design) -> Recipe:
    """How the other trainings are made: as was asked, else as the model in question was."""
    given, recipe = _given(design), design.part(Recipe)
    if recipe is None and given is None:
        raise NotApplicable(
            "checks that retrain need a recipe, or a model that `attnaudit train` made"
        )
    return recipe or recipe_of(cast("Input[TextClassifier]", given).get())


def _given(design: Design) -> Input[TextClassifier] | None:
    """The model in question, where it is trained already."""
    if design.model is None:
        return None
    if not isinstance(design.model.get(), TextClassifier):
        raise NotApplicable(
            f"{design.model.name} was not made by `attnaudit train` from texts, so it cannot be "
            "trained again"
        )
    return cast("Input[TextClassifier]", design.model)


def _digest(path: str | Path | None) -> str | None:
    """A digest of a file's content; None without a file, or where it cannot be read."""
    try:
        return None if path is None else sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None  # loading the vectors says what is wrong
