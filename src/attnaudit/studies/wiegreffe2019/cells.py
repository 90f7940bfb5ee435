"""The cells of the study: data sets x encoders x attentions x seeds, each with all controls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from attnaudit.checks.declaration import RETRAINING
from attnaudit.checks.registry import groups
from attnaudit.errors import SettingsError
from attnaudit.evidence.trainings.design import GUIDE_LAMBDA
from attnaudit.findings.settings import TrainingSettings
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.studies.declaration import Cell, Limit, Names, Options, Planned
from attnaudit.studies.jain2019.cells import COST, TEST_COST, TRAIN_COST, _vectors
from attnaudit.studies.jain2019.settings import PIPELINE
from attnaudit.studies.sources import GENERATED as GENERATED_SOURCE
from attnaudit.studies.sources import known_sets
from attnaudit.studies.wiegreffe2019.settings import (
    SETTINGS,
    TASKS,
    Role,
    Setting,
    named,
    training_of,
)

CONTROLS = tuple(groups()[RETRAINING])
TRAININGS = TrainingSettings()
STOPS = 0.4
"""The share of its epochs that an adversary runs for, as it stops early."""


def _several(given: Any) -> Any:
    """One value where several may stand."""
    return given if isinstance(given, list | tuple) else [given]


Several = BeforeValidator(_several)
Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class WiegreffeOptions(Options):
    """Options of this study.

    Attributes:
        controls: Which of the four controls.
        task_controls: Which of them on the generated tasks, where attention is known to be
            necessary or useless.
        replacements: Attentions in the place of the learned one.
        task_replacements: Likewise on the generated tasks.
        other_seeds: Further seeds that each base model is trained with.
        lambdas: Strengths of the trained adversary; the one that guides is added.
        adversary_epochs: Most epochs of a trained adversary.
        adversary_patience: Epochs without a lower training loss after which it stops.
        epochs: In place of each set's own.
        hidden: In place of each set's own.
        embedding_dim: In place of each set's own.
        learning_rate: In place of each set's own.
        pipeline: The text pipeline: the papers', or nothing for this package's own.
        strict_bounds: Leave out all shortest and longest texts of a split, as the released code
            does where it has no bound.
        vectors: A file of pretrained word vectors (text or npz) in place of random ones.
        search: Whether to run Jain & Wallace's search on the base model, to set the seeds beside.
    """

    data: Names = named(Role.PAPER, Role.NECESSARY, Role.USELESS)
    controls: Annotated[Names, Several] = CONTROLS
    task_controls: Annotated[Names, Several] = CONTROLS
    replacements: Annotated[Names, Several] = TRAININGS.replacements
    task_replacements: Annotated[Names, Several] = TRAININGS.replacements
    other_seeds: Annotated[int, Field(gt=0)] = TRAININGS.seeds
    lambdas: Annotated[tuple[Strength, ...], Field(min_length=1), Several] = TRAININGS.lambdas
    adversary_epochs: Annotated[int, Field(gt=0)] = TRAININGS.adversary_epochs
    adversary_patience: Annotated[int, Field(gt=0)] = TRAININGS.adversary_patience
    epochs: Limit = None
    hidden: Limit = None
    embedding_dim: Limit = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    pipeline: str = PIPELINE
    strict_bounds: bool = False
    vectors: Path | None = None
    search: bool = True


def quick(data_dir: Path | None) -> dict[str, Any]:
    """Generated data, fewer seeds and strengths; on the tasks only what tells them apart."""
    tasks = [named(role)[:1] for role in (Role.NECESSARY, Role.USELESS)]
    return {
        "data": (*named(Role.STAND_IN), *(name for some in tasks for name in some)),
        "test_limit": 500,
        "other_seeds": 2,
        "lambdas": (0.0, GUIDE_LAMBDA, 1e-2),
        "adversary_epochs": 25,
        "adversary_patience": 5,
        "task_controls": ("uniform",),
        "task_replacements": ("uniform",),
    }


def plan(options: WiegreffeOptions, data_dir: Path | None) -> Planned:
    """One cell for each data set, encoder, attention and seed; what cannot be had is missing.

    The longest come first, so that workers end together.

    Raises:
        DataError: The word vectors cannot be read.
        SettingsError: A name that nothing has.
    """
    for names, known, what in (
        (options.encoders, ENCODERS, "encoder"),
        (options.attentions, LEARNED, "attention that is learned"),
        (options.data, SETTINGS, "data set of this study"),
        ((*options.controls, *options.task_controls), CONTROLS, "control"),
        (
            (*options.replacements, *options.task_replacements),
            TRAININGS.replacements,
            "replacement",
        ),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise SettingsError(
                f"{unknown[0]!r} is no {what}; there are: {', '.join(map(str, known))}."
            )
    vectors = _vectors(options.vectors)
    sources, missing = known_sets([d for d in SETTINGS if d in options.data], data_dir)
    cells = [
        Cell(
            f"{SETTINGS[data].title}, {encoder} + {attention}, seed {seed}",
            spec := _spec(options, data, source, encoder, attention, seed) | vectors,
            cost_of(spec, SETTINGS[data]),
        )
        for data, source in sources.items()
        for encoder in options.encoders
        for attention in options.attentions
        for seed in options.seeds
    ]
    return Planned(tuple(sorted(cells, key=lambda c: -c.cost)), tuple(missing))


def _spec(
    options: WiegreffeOptions, data: str, source: str, encoder: str, attention: str, seed: int
) -> dict[str, Any]:
    own, setting = training_of(data), SETTINGS[data]
    task = setting.role in TASKS
    reading: dict[str, Any] = {}
    if source != GENERATED_SOURCE and options.pipeline:
        reading = {"pipeline": options.pipeline, "strict_bounds": options.strict_bounds}
    return {
        "data": data,
        "source": source,
        "encoder": encoder,
        "attention": attention,
        "seed": seed,
        "train_limit": options.train_limit,
        "test_limit": options.test_limit or setting.test_limit,
        "reading": reading,
        "epochs": options.epochs or own.epochs,
        "batch_size": own.batch,
        "hidden": options.hidden or own.hidden,
        "embedding_dim": options.embedding_dim or own.embedding,
        "learning_rate": options.learning_rate or setting.learning_rate,
        "min_df": own.min_df,
        "controls": list(options.task_controls if task else options.controls),
        "replacements": list(options.task_replacements if task else options.replacements),
        "other_seeds": options.other_seeds,
        "lambdas": sorted(set(options.lambdas)),
        "adversary_epochs": options.adversary_epochs,
        "adversary_patience": options.adversary_patience,
        "search": options.search and not task,
        "device": options.device,
    }


def cost_of(spec: dict[str, Any], own: Setting) -> float:
    """CPU seconds, roughly: trainings go with units read, the search with texts and units."""
    train, test = (
        min(size, limit or size)
        for size, limit in zip(own.texts, (spec["train_limit"], spec["test_limit"]), strict=True)
    )
    size = 0.25 + 0.75 * spec["hidden"] * spec["embedding_dim"] / (128 * 300)
    epoch = TRAIN_COST * train * own.length * size
    base, guided = epoch * COST.get(str(spec["encoder"]), 1.0), epoch * COST["average"]
    epochs = {
        "uniform": base * spec["epochs"] * len(spec["replacements"]),
        "seeds": base * spec["epochs"] * spec["other_seeds"],
        "guide": guided * spec["epochs"] * 4,
        "trained_adversary": base * STOPS * spec["adversary_epochs"] * len(spec["lambdas"]),
    }
    searching = TEST_COST * test * (1 + own.length / 40) if spec["search"] else 0.0
    training = base * spec["epochs"] + sum(epochs[name] for name in spec["controls"])
    return float(2.0 + training + searching)
