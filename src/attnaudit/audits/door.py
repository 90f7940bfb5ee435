"""One door to every audit: from what a person names to what is asked."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from attnaudit.audits.held_out import Chosen, choose
from attnaudit.audits.plan import checks_of
from attnaudit.audits.run import Asked, asking
from attnaudit.audits.seeds import save_seeds
from attnaudit.checks.declaration import RETRAINING, WITH_SPLITS, Check
from attnaudit.data.kinds import BAGS, PAIRS, TEXTS
from attnaudit.data.records import Dataset
from attnaudit.data.sources.opening import Place
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import SettingsError
from attnaudit.evidence.contract import Splits
from attnaudit.evidence.judges.probe import DefaultUnits
from attnaudit.evidence.seeds.ceilings import ceilings_of
from attnaudit.evidence.seeds.members import bags_of
from attnaudit.evidence.seeds.network import Network, network_of
from attnaudit.evidence.trainings.base import parts_of
from attnaudit.evidence.trainings.design import Recipe
from attnaudit.findings.settings import Settings
from attnaudit.hub import has_file
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.models.text.model import TextClassifier
from attnaudit.models.transformer.options import Options
from attnaudit.training.recipe import read_training
from attnaudit.training.selective import refuse_other_tokens, with_default_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from attnaudit.models.siamese.explainer import PairExplainer

MODULES = "modules.json"
"""The file that makes a folder one of sentence-transformers."""
PAIRS_READ = 100
"""Pairs that are audited where no limit is named: a table costs as much as hundreds of texts."""


@dataclass(frozen=True)
class Question:
    """What is to be audited, and how, as a person says it.

    Attributes:
        model: A model with the cut, the folder of one, a `PairExplainer`, or what `load_siamese`
            takes.
        data: What `resolve` takes; None for the split that was held out in training.
        settings: Which checks, and how.
        reading: How the data are read: options of `resolve`.
        include_training_texts: Keep texts that the model was trained on.
        default_units: Tokens that stand in every text and mean nothing.
        defaults: The default tokens that a selector was trained with (`ends` or `only`).
        graded: Classes whose bags are graded against the truth, over seeds; None for all.
        layer: Of a similarity: where the tables start.
        reference: Of a similarity: the reference of the tables.
        tolerance: Of a similarity: how far tables may be from adding up.
        transformer: Of a model of the package `transformers`: site, target, precision.
        model_tokenizer: The tokenizer of such a model that is given as an object.
        device: Where the model is put.
        out: The run folder; None keeps nothing.
        workers: Cells at a time.
        engine: Where they run: `inline`, `processes`, `ray` or `ray:ADDRESS`.
    """

    model: Model | PairExplainer | PreTrainedModel | str | Path
    data: Place | None = None
    settings: Settings = field(default_factory=Settings)
    reading: Mapping[str, Any] | None = None
    include_training_texts: bool = False
    default_units: Sequence[str] = ()
    defaults: str | None = None
    graded: Sequence[str] | None = None
    layer: int = 0
    reference: str = "padding"
    tolerance: float = 1e-3
    transformer: Options | None = None
    model_tokenizer: object = None
    device: str | None = None
    out: Path | None = None
    workers: int = 1
    engine: str | None = None


@contextlib.contextmanager
def ask(question: Question) -> Iterator[Asked]:
    """Plan what was asked, with model and data at hand for as long as it is run.

    Raises:
        AttnauditError: Unusable data, model, settings or folder, each with what to do.
    """
    if isinstance(question.model, Model):
        model = question.model
    elif is_of_transformers(question.model):
        # the library takes seconds to import
        from attnaudit.models.transformer.load import wrapped

        model = wrapped(question.model, question.model_tokenizer, question.transformer)
        if question.device is not None:
            model.to(question.device)
    elif not isinstance(question.model, str | Path) or is_similarity(question.model):
        with _of_pairs(question) as asked:
            yield asked
        return
    else:
        model = load(question.model, question.device, question.transformer)
    checks = checks_of(question.settings, model.kind)
    if any(check.group in WITH_SPLITS for check in checks):
        splits, tokens, chosen = _splits(question, model)
        folder = question.model if isinstance(question.model, str | Path) else None
        parts, about = _parts(question, model, checks, splits, tokens, folder)
    else:
        splits, parts, about = None, (), {}
        include, reading = question.include_training_texts, dict(question.reading or {})
        chosen = choose(model, question.data, include=include, **reading)
    with asking(
        model,
        chosen.data,
        question.settings,
        splits=splits,
        parts=parts,
        about=about,
        out=question.out,
        workers=question.workers,
        engine=question.engine,
        left_out=chosen.left_out,
    ) as asked:
        yield asked
        network = asked.design.part(Network)
        if network is not None and splits is not None and question.out and not asked.waiting:
            save_seeds(question.out, bags_of(splits), network, question.settings)


def is_similarity(place: str | Path) -> bool:
    """Whether a place is a sentence-transformers model: by its files, or by a name of the hub."""
    folder = Path(place)
    if (folder / MODULES).is_file() or str(place) == "minilm":
        return True
    named = str(place).count("/") == 1 and not folder.exists()
    return named and has_file(str(place), MODULES)


def is_of_transformers(model: object) -> bool:
    """Whether an object is a model of the package `transformers`, without importing that."""
    library = sys.modules.get("transformers")
    return library is not None and isinstance(model, library.PreTrainedModel)


@contextlib.contextmanager
def _of_pairs(question: Question) -> Iterator[Asked]:
    # sentence-transformers takes seconds to import
    from attnaudit.audits.pairs import asking_pairs
    from attnaudit.models.siamese.explainer import PairExplainer
    from attnaudit.models.siamese.load import load_siamese

    checks_of(question.settings, PAIRS)
    if question.data is None:
        raise SettingsError("name pairs of texts to audit: nothing is held out for a similarity")
    reading = {"limit": PAIRS_READ, **(question.reading or {})}
    columns = {"score": None, **reading.pop("columns", {})}
    pairs = resolve(question.data, PAIRS.instances, columns=columns, **reading).data()
    explainer = question.model
    if isinstance(explainer, str | Path):
        encoder = load_siamese(explainer, layer=question.layer, device=question.device)
        explainer = PairExplainer(
            encoder, reference=question.reference, tolerance=question.tolerance
        )
    assert isinstance(explainer, PairExplainer)
    with asking_pairs(
        explainer,
        [(pair.a, pair.b) for pair in pairs],
        question.settings,
        name=_name(question.data),
        out=question.out,
        workers=question.workers,
        engine=question.engine,
    ) as asked:
        yield asked


def _splits(question: Question, model: Model) -> tuple[Splits, tuple[str, ...], Chosen]:
    """The splits, the default tokens that were put into them, and what is audited of test."""
    if question.data is None:
        raise SettingsError(
            "checks that train something need the data that the model was trained on, with its "
            "splits: name them after the model"
        )
    reading = dict(question.reading or {})
    if isinstance(question.data, Mapping):
        found: Splits = question.data
    else:
        known = {"classes": model.classes} if model.kind == TEXTS else {}
        found = resolve(question.data, model.kind.instances, **{**known, **reading}).splits()
    tokens = tuple(question.default_units)
    if model.kind == TEXTS:
        texts = {name: part for name, part in found.items() if isinstance(part, Dataset)}
        texts, more = with_default_tokens(texts, question.defaults)
        refuse_other_tokens(model, texts, question.defaults)
        found, tokens = texts, (*more, *tokens)
    elif tokens or question.defaults:
        raise SettingsError(
            f"default tokens (--default-token, --defaults) are about texts, and {model.name} reads "
            "bags; leave them out"
        )
    chosen = choose(model, found["test"], include=question.include_training_texts)
    return {**found, "test": chosen.data}, tokens, chosen


def _parts(
    question: Question,
    model: Model,
    checks: Sequence[Check],
    splits: Splits,
    tokens: tuple[str, ...],
    folder: str | Path | None,
) -> tuple[tuple[object, ...], dict[str, JsonValue]]:
    """What single kinds of evidence need besides, and what of that decides the numbers."""
    parts: list[object] = [DefaultUnits(tokens)] if tokens else []
    about: dict[str, JsonValue] = {"default_units": list(tokens)} if tokens else {}
    known = None if folder is None else read_training(folder)
    if model.kind == TEXTS and any(check.group == RETRAINING for check in checks):
        if not isinstance(model, TextClassifier):
            raise SettingsError(
                f"{model.name} was not made by `attnaudit train` from texts, so it cannot be "
                "trained again; leave the checks that retrain out"
            )
        recipe, *rest = parts_of(model, None, known, None if folder is None else Path(folder))
        assert isinstance(recipe, Recipe)
        parts += [recipe, *rest]
        about["recipe"] = recipe.about()
    if model.kind == BAGS and any(check.kinds == (BAGS,) for check in checks):
        options = None if known is None else known.options
        graded = None if question.graded is None else tuple(question.graded)
        ceilings = ceilings_of(question.data, bags_of(splits)["test"])
        network = network_of(model, options, graded, ceilings)
        parts.append(network)
        about |= network.about()
    return tuple(parts), about


def _name(place: Place) -> str:
    return Path(place).name if isinstance(place, str | Path) else "pairs"
