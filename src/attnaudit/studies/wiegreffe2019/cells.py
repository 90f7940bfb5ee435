"""The cells of the study: data sets x encoders x attentions x seeds, each with all controls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from attnaudit.checks.declaration import RETRAINING
from attnaudit.checks.registry import groups
from attnaudit.data.named.paper import PaperSettings
from attnaudit.evidence.trainings.design import GUIDE_LAMBDA
from attnaudit.findings.settings import TrainingSettings
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.studies.declaration import Names, Planned
from attnaudit.studies.options import check_names
from attnaudit.studies.schema import Spec
from attnaudit.studies.sources import known_sets
from attnaudit.studies.texts import COST, TextOptions, costs_of, text_cells
from attnaudit.studies.wiegreffe2019.settings import SETTINGS, TASKS, Role, named, training_of

CONTROLS = tuple(groups()[RETRAINING])
TRAININGS = TrainingSettings()
STOPS = 0.4
"""The share of its epochs that an adversary runs for, as it stops early."""
Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(gt=0)]


class WiegreffeOptions(TextOptions):
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
        learning_rate: In place of each set's own.
    """

    data: Names = named(Role.PAPER, Role.NECESSARY, Role.USELESS)
    controls: Names = CONTROLS
    task_controls: Names = CONTROLS
    replacements: Names = TRAININGS.replacements
    task_replacements: Names = TRAININGS.replacements
    other_seeds: Whole = TRAININGS.seeds
    lambdas: Annotated[tuple[Strength, ...], Field(min_length=1)] = TRAININGS.lambdas
    adversary_epochs: Whole = TRAININGS.adversary_epochs
    adversary_patience: Whole = TRAININGS.adversary_patience
    learning_rate: Annotated[float, Field(gt=0)] | None = None


def quick(data_dir: Path | None) -> dict[str, object]:
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
    check_names(
        (options.encoders, ENCODERS, "encoder"),
        (options.attentions, LEARNED, "attention that is learned"),
        (options.data, SETTINGS, "data set of this study"),
        ((*options.controls, *options.task_controls), CONTROLS, "control"),
        (
            (*options.replacements, *options.task_replacements),
            TRAININGS.replacements,
            "replacement",
        ),
    )

    def own(data: str) -> tuple[str, PaperSettings, Spec]:
        setting = SETTINGS[data]
        task = setting.role in TASKS
        more = {
            "test_limit": options.test_limit or setting.test_limit,
            "learning_rate": options.learning_rate or setting.learning_rate,
            "controls": list(options.task_controls if task else options.controls),
            "replacements": list(options.task_replacements if task else options.replacements),
            "other_seeds": options.other_seeds,
            "lambdas": sorted(set(options.lambdas)),
            "adversary_epochs": options.adversary_epochs,
            "adversary_patience": options.adversary_patience,
            "search": options.search and not task,
        }
        return setting.title, training_of(data), more

    sources, missing = known_sets([d for d in SETTINGS if d in options.data], data_dir)
    cells = text_cells(options, sources, own, cost_of)
    return Planned(tuple(sorted(cells, key=lambda c: -c.cost)), tuple(missing))


def cost_of(spec: Spec) -> float:
    """CPU seconds, roughly: trainings go with units read, the search with texts and units."""
    setting = SETTINGS[spec["data"]]
    epoch, searching = costs_of(spec, setting.texts, setting.length)
    base, guided = epoch * COST.get(str(spec["encoder"]), 1.0), epoch * COST["average"]
    epochs = {
        "uniform": base * spec["epochs"] * len(spec["replacements"]),
        "seeds": base * spec["epochs"] * spec["other_seeds"],
        "guide": guided * spec["epochs"] * 4,
        "trained_adversary": base * STOPS * spec["adversary_epochs"] * len(spec["lambdas"]),
    }
    training = base * spec["epochs"] + sum(epochs[name] for name in spec["controls"])
    return float(2.0 + training + (searching if spec["search"] else 0.0))
