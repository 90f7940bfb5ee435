"""Finished trainings, as the controls read them, and the bars of their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from attnaudit.data.records import Dataset
from attnaudit.evidence.trainings.design import Design, Training
from attnaudit.evidence.trainings.outputs import Outputs, between
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings, Thresholds

ONE_SEED = "every model was trained with one seed: the interval covers other texts, not other seeds"
"""A note of findings that rest on one training of each kind."""
Share = Annotated[float, Field(ge=0, le=1)]


class Bars(BaseModel):
    """The named constants that turn the statistics of controls into verdicts.

    `least_instances`, `epsilon` and `adversary_jsd` are those of the audit's settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: Share = Field(
        0.02,
        description="Difference in accuracy up to which two models count as equally good. Ours.",
    )
    seed_jsd: Share = Field(
        0.2,
        description="Mean divergence of the weights between seeds up to which they count as "
        "stable: half of the .4 that counts as a different explanation. Ours.",
    )
    seed_share: Share = Field(
        0.5,
        description="The same, as a share of the mean divergence of the weights in random order: "
        "flat weights differ little whatever they are. Ours.",
    )
    advantage: Share = Field(
        0.05,
        description="Mean divergence that a trained adversary must reach beyond the most "
        "different seed, to be more than a further seed; and beyond the base model, to have other "
        "weights at all. Ours.",
    )


@dataclass(frozen=True)
class Results:
    """What the trainings of a design say of the test split.

    Attributes:
        design: What was asked.
        data: The test split.
        outputs: By name of the training.
        failed: Why the other trainings have none.
        settings: Confidence, resamples, seed, thresholds.
        bars: Those of the controls.
        gate: Whether the base model is good enough to say anything about.
    """

    design: Design
    data: Dataset
    outputs: Mapping[str, Outputs]
    failed: Mapping[str, str]
    settings: Settings
    bars: Bars
    gate: Finding

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds that controls share with checks."""
        return self.settings.thresholds

    @property
    def base(self) -> Outputs:
        """The model in question."""
        return self.outputs[self.design.base.name]

    @cached_property
    def labels(self) -> np.ndarray:
        """`(N,)`, class indices."""
        return np.array([record.label for record in self.data.records])

    @cached_property
    def instances(self) -> pl.DataFrame:
        """One row an instance: prediction of each training, and how far it is from the base.

        Columns: `id`, `label`, `length`, `predicted` and `max_weight` (of the base); for each
        training `NAME/predicted`, `NAME/probability` of the label, and for all but the base
        `NAME/tvd` and `NAME/jsd` to it.
        """
        base = self.base
        rows = np.arange(len(self.labels))
        columns: dict[str, object] = {
            "id": [record.id for record in self.data],
            "label": self.labels,
            "length": [len(record.units) for record in self.data],
            "predicted": base.predicted,
            "max_weight": base.max_weight,
        }
        for name, found in self.outputs.items():
            columns[f"{name}/predicted"] = found.predicted
            columns[f"{name}/probability"] = found.probabilities[rows, self.labels]
            if name != self.design.base.name:
                tvd, jsd = between(base, found)
                columns |= {f"{name}/tvd": tvd, f"{name}/jsd": jsd}
        return pl.DataFrame(columns)

    def column(self, training: Training, what: str) -> np.ndarray:
        """A column of `instances` about one training."""
        return self.instances[f"{training.name}/{what}"].to_numpy()

    def has(self, training: Training) -> bool:
        """Whether a training is finished."""
        return training.name in self.outputs

    def missing(self, trainings: tuple[Training, ...]) -> tuple[str, ...]:
        """A note for each training that has failed."""
        return tuple(
            f"the training {t.name!r} has failed ({self.failed.get(t.name, 'unknown')}) and is "
            "left out"
            for t in trainings
            if not self.has(t)
        )

    def gated(self, verdict: Verdict) -> Verdict:
        """The verdict, or `inconclusive` where the base model is near chance."""
        return Verdict.INCONCLUSIVE if self.near_chance else verdict

    @property
    def near_chance(self) -> bool:
        """Whether the base model is not good enough to say anything about."""
        return self.gate.verdict is Verdict.FAIL
