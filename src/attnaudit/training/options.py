"""How a part of a model is trained, and what that gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import SettingsError
from attnaudit.models.cut import Model
from attnaudit.progress import Report

TOKENS = 16_384
"""Padded positions in one batch at most."""
SELECTIONS = ("loss", "accuracy")


@dataclass(frozen=True)
class FitOptions:
    """How a part of a model is trained.

    Attributes:
        epochs: Passes over the training records, at least 1.
        batch_size: Instances a step.
        learning_rate: Of Adam with AMSGrad.
        weight_decay: L2 of all that is trained.
        patience: Stop after this many epochs without a better development score; None never.
        select: What chooses the epoch on the development records: the lowest `loss`, or the
            highest `accuracy` (of equal ones, the lowest loss).
        draws: Random masks an instance and step, where masks are random.
        clip: Largest norm of the gradient, or None.
        seed: Of fresh parameters, batches and masks: equal seeds, equal parameters.
        token_budget: Padded positions in one batch at most.
        report: Told `(stage, epochs done, epochs)`, for progress bars.

    Raises:
        SettingsError: A number out of range.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    patience: int | None = 5
    select: str = "loss"
    draws: int = 1
    clip: float | None = None
    seed: int = 0
    token_budget: int = TOKENS
    report: Report | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value}; it must be {what}"
            for name, value, fine, what in (
                ("epochs", self.epochs, self.epochs >= 1, "1 or more"),
                ("batch_size", self.batch_size, self.batch_size >= 1, "1 or more"),
                ("learning_rate", self.learning_rate, self.learning_rate > 0, "above 0"),
                ("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more"),
                ("patience", self.patience, self.patience is None or self.patience >= 1, "1 up"),
                ("select", self.select, self.select in SELECTIONS, f"one of {SELECTIONS}"),
                ("draws", self.draws, self.draws >= 1, "1 or more"),
                ("clip", self.clip, self.clip is None or self.clip > 0, "above 0"),
                ("token_budget", self.token_budget, self.token_budget >= 1, "1 or more"),
            )
            if not fine
        ]
        if wrong:
            raise SettingsError("; ".join(wrong))


@dataclass(frozen=True)
class Fitted:
    """What training gave.

    Attributes:
        model: The copy with the parameters of the best epoch, frozen.
        history: One row an epoch: `loss` (mean over instances), `dev_loss` and `dev_accuracy`.
        best_epoch: The epoch, from 1, whose parameters are kept.
        dev: The development metrics of that epoch.
        trained: The names of the parameters that were trained.
        notes: What the training has to say of itself.
    """

    model: Model
    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    dev: Mapping[str, float]
    trained: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=(), kw_only=True)


class Refit(Protocol):
    """A way of training a model anew, as the two remedies of Bai et al. (2021) are."""

    def __call__(
        self, model: Model, train: AnyDataset, dev: AnyDataset, options: FitOptions, *, fresh: bool
    ) -> Fitted:
        """Train a copy of the model.

        Args:
            model: Any model with the cut; it is not changed.
            train: Labelled records.
            dev: Labelled records that choose the epoch.
            options: How to train.
            fresh: Whether to start from new initial values, by the seed; else from those given.
        """
