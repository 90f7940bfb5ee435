"""Finished trainings, as the checks read them, and the bars that several of these share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from attnaudit.data.records import Dataset
from attnaudit.evidence.trainings.calibration import TABLE, Calibration
from attnaudit.evidence.trainings.design import Training, Variants
from attnaudit.evidence.trainings.outputs import Outputs, between
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.performance import conclude_performance
from attnaudit.findings.settings import Bar, Settings

MARGIN = Bar(
    "margin",
    0.02,
    "Difference in accuracy up to which two models count as equally good. Ours.",
)
ADVANTAGE = Bar(
    "advantage",
    0.05,
    "Mean divergence that a trained adversary must reach beyond the most different seed, to be "
    "more than a further seed; and beyond the base model, to have other weights at all. Ours.",
)
ONE_SEED = "every model was trained with one seed: the interval covers other texts, not other seeds"
"""A note of findings that rest on one training of each kind."""


@dataclass(frozen=True)
class Results:
    """What trainings say of the test split.

    Attributes:
        variants: What was asked.
        data: The test split.
        outputs: By name of the training.
        failed: Why the other trainings have none.
        settings: Settings and bars.
        cautions: How a base model that was trained elsewhere is not like the others, or may not be.
    """

    variants: Variants
    data: Dataset
    outputs: Mapping[str, Outputs]
    failed: Mapping[str, str]
    settings: Settings
    cautions: tuple[str, ...] = ()

    @cached_property
    def gate(self) -> Finding:
        """Whether the base model is good enough to say anything about."""
        probabilities = self.base.probabilities
        columns = {f"probability.{c}": probabilities[:, c] for c in range(probabilities.shape[1])}
        frame = pl.DataFrame({**columns, "label": self.labels, "predicted": self.base.predicted})
        found = conclude_performance(frame, self.data.classes, self.settings)
        return found.model_copy(update={"notes": (*found.notes, *self.cautions)})

    @property
    def base(self) -> Outputs:
        """The model in question."""
        return self.outputs[self.variants.base.name]

    @cached_property
    def labels(self) -> np.ndarray:
        """`(N,)`, class indices."""
        return np.array([record.label for record in self.data.records])

    @cached_property
    def instances(self) -> pl.DataFrame:
        """One row per instance: prediction of each training, and how far it is from the base.

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
            if name != self.variants.base.name:
                tvd, jsd = between(base, found)
                columns |= {f"{name}/tvd": tvd, f"{name}/jsd": jsd}
        return pl.DataFrame(columns)

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """The table that the run stores."""
        return {TABLE: self.frame}

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The instances, with what further seeds say of each where there are any.

        Columns besides those of `instances`: `seeds/median_jsd` and `seeds/mean_tvd`.
        """
        if not self.seeds:
            return self.instances
        tvd = np.stack([self.column(t, "tvd") for t in self.seeds])
        return self.instances.with_columns(
            pl.Series("seeds/median_jsd", np.median(self.between_seeds, axis=1)),
            pl.Series("seeds/mean_tvd", tvd.mean(0)),
        )

    @property
    def seeds(self) -> list[Training]:
        """The further seeds that have been trained."""
        return [t for t in self.variants.seeds if self.has(t)]

    @property
    def between_seeds(self) -> np.ndarray:
        """`(N, S)`, divergences of the weights of each finished further seed from the base's."""
        return np.stack([self.column(t, "jsd") for t in self.seeds], axis=1)

    @property
    def calibration(self) -> Calibration | None:
        """The divergences of the finished seeds; None without any."""
        return Calibration(self.between_seeds) if self.seeds else None

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
