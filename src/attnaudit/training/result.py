"""What training gives, of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar, cast

from attnaudit.data.kinds import AnyDataset
from attnaudit.measures.bootstrap import Interval
from attnaudit.nets.text.vectors import Coverage

M = TypeVar("M", covariant=True)
N = TypeVar("N")


@dataclass(frozen=True)
class Trained(Generic[M]):
    """A model with how it came about.

    Attributes:
        model: The model with the parameters of the best epoch.
        history: One row per epoch: `loss` (the mean over instances, penalty included) and the
            development scores, `dev_…`.
        best_epoch: The epoch, from 1, whose parameters are kept: the first with the best score.
        dev: Development scores of that epoch.
        notes: What the training has to say of itself.
        splits: The data; `test` was never looked at. Empty for pairs.
        parameters: Names of the parameters that were trained, where only some were.
        members: The members of an ensemble, one result per seed, or nothing; the ensemble's own
            history is that of the first.
        scores: Further scores with intervals. For siamese models the rank correlations `given`,
            `shifted` (before training), `trained` and `test`.
        coverage: How many words had a pretrained vector, or None.
    """

    model: M
    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    dev: Mapping[str, float]
    notes: tuple[str, ...] = ()
    splits: Mapping[str, AnyDataset] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    members: tuple[Trained[object], ...] = ()
    scores: Mapping[str, Interval] = field(default_factory=dict)
    coverage: Coverage | None = None

    def holding(self, model: N, **changes: object) -> Trained[N]:
        """The same with another model, such as one that is made of this network."""
        return replace(cast("Trained[N]", self), model=model, **changes)  # type: ignore[arg-type]
