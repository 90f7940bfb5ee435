"""How a model is trained: one set of options for every kind, and the defaults of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal, get_args

from attnaudit.errors import SettingsError
from attnaudit.nets.devices import check_device
from attnaudit.progress import Report

Kind = Literal["text", "bags", "selector", "siamese"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOKENS = 16_384
"""Padded positions in one batch at most."""
SCORES = ("auto", "roc_auc", "accuracy", "loss")
SELECTIONS: Mapping[Kind, tuple[str, ...]] = {
    "text": SCORES,
    "bags": SCORES,
    "selector": ("auto", "accuracy"),
    "siamese": ("auto",),
}
"""Scores by which the best epoch may be chosen."""
LOSSES: Mapping[Kind, tuple[str, ...]] = {
    "text": ("cross_entropy",),
    "bags": ("cross_entropy", "balanced", "clamped"),
    "selector": ("cross_entropy",),
    "siamese": ("cosine", "dot"),
}
"""`balanced` weighs each class by the inverse of its share; `clamped` is the loss of the code of
Ilse et al. (2018), with probabilities kept from 1e-5 to 1 − 1e-5."""
DTYPES = ("float32", "float64")
UNSTORED = ("device", "report")
COMMON = frozenset(
    {"epochs", "batch_size", "learning_rate", "weight_decay", "patience", "select", "clip", "seed"}
)
FIELDS: Mapping[Kind, frozenset[str]] = {
    "text": COMMON | {"min_df", "lowercase", "device"},
    "bags": COMMON | {"loss", "dtype", "device"},
    "selector": COMMON | {"min_df", "draws", "token_budget"},
    "siamese": COMMON | {"loss", "warmup", "device"},
}
"""The options that each kind has."""


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained; `options_for` gives the defaults of each kind.

    The defaults here are those of texts, from "Attention is not Explanation".

    Attributes:
        kind: Kind of model: text, bags, selector (also any part of a model that is trained over
            the cut, such as a judge) or siamese.
        epochs: Passes over the training records, at least 1.
        batch_size: Instances per step; for bags 1 in Ilse et al. (2018).
        learning_rate: Learning rate for Adam; for siamese models the highest, after the warm-up.
        weight_decay: L2 penalty. A text's attention and a siamese model's vectors have none.
        patience: Epochs without a better development score after which training stops; None never.
        select: Score that chooses the epoch: on the development records `roc_auc` (for several
            classes, the mean of one against the rest) or `accuracy`; the lowest training `loss`;
            or `auto`: ROC-AUC, but accuracy for networks that read a question, the lowest
            development loss for selectors, the rank correlation for siamese models.
        clip: Largest norm of the gradient, or None for no clipping.
        seed: Seed of initial parameters, batches and masks: equal seeds, equal parameters.
        device: Device to train on.
        loss: Name in `LOSSES`; bags and siamese models have several.
        dtype: `float32` or `float64`, for bags.
        min_df: Training records that a word must occur in to be known.
        lowercase: Whether words are looked up in lower case.
        draws: Random masks per instance and step, where masks are random.
        token_budget: Padded positions in one batch at most, for selectors.
        warmup: Share of the steps over which the learning rate rises, for siamese models.
        report: Function told `(stage, done, total)`, for progress bars.

    Raises:
        SettingsError: An option out of range.
    """

    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    patience: int | None = None
    select: str = "auto"
    clip: float | None = None
    seed: int = 0
    device: str = "cpu"
    loss: str = "cross_entropy"
    dtype: str = "float32"
    min_df: int = 1
    lowercase: bool = True
    draws: int = 1
    token_budget: int = TOKENS
    warmup: float = 0.1
    kind: Kind = "text"
    report: Report | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError(f"kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        selections, losses = SELECTIONS[self.kind], LOSSES[self.kind]
        wrong = [
            f"{name} is {getattr(self, name)}; it must be {what}"
            for name, fine, what in (
                ("epochs", self.epochs >= 1, "1 or more"),
                ("batch_size", self.batch_size >= 1, "1 or more"),
                ("learning_rate", self.learning_rate > 0, "above 0"),
                ("weight_decay", self.weight_decay >= 0, "0 or more"),
                ("patience", self.patience is None or self.patience >= 1, "1 or more, or None"),
                ("select", self.select in selections, f"one of {', '.join(selections)}"),
                ("clip", self.clip is None or self.clip > 0, "above 0, or None"),
                ("loss", self.loss in losses, f"one of {', '.join(losses)}"),
                ("dtype", self.dtype in DTYPES, f"one of {', '.join(DTYPES)}"),
                ("draws", self.draws >= 1, "1 or more"),
                ("token_budget", self.token_budget >= 1, "1 or more"),
                ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            )
            if not fine
        ]
        if wrong:
            raise SettingsError("; ".join(wrong))
        check_device(self.device)

    def plain(self) -> dict[str, int | float | str | bool | None]:
        """What decides the numbers, as JSON has it: without the device, which only rounds."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in UNSTORED}


DEFAULTS: Mapping[Kind, TrainOptions] = {
    "text": TrainOptions(),
    "bags": TrainOptions(kind="bags", epochs=40, batch_size=16, weight_decay=1e-4),
    "selector": TrainOptions(
        kind="selector",
        epochs=20,
        batch_size=64,
        learning_rate=2e-3,
        weight_decay=0.0,
        patience=5,
    ),
    "siamese": TrainOptions(
        kind="siamese",
        epochs=1,
        batch_size=16,
        learning_rate=2e-5,
        weight_decay=0.01,
        clip=1.0,
        loss="cosine",
    ),
}
ALL = frozenset().union(*FIELDS.values())


def options_for(kind: Kind, start: TrainOptions | None = None, **changes: object) -> TrainOptions:
    """The options of a kind, with some changed.

    Args:
        kind: The kind of model.
        start: The options to change; by default those that the kind is usually trained with.
        changes: Fields of `TrainOptions` that the kind has.

    Raises:
        SettingsError: An option out of range, or one that the kind does not have; options of
            another kind.

    Example:
        >>> options_for("bags", epochs=5).batch_size
        16
    """
    start = start or DEFAULTS.get(kind) or TrainOptions(kind=kind)  # refuses an unknown kind
    if start.kind != kind:
        raise SettingsError(f"options= are those of kind {start.kind!r}; the model is a {kind}")
    for name in changes.keys() - FIELDS[kind] - {"report"}:
        raise SettingsError(f"{option(name)} does not go with kind {kind!r}")
    return replace(start, **changes)  # type: ignore[arg-type]


def selector_options(options: TrainOptions) -> TrainOptions:
    """The options over the cut that follow from those of a text.

    The epoch is chosen by development accuracy where that was asked for, else by the loss.
    """
    select = "accuracy" if options.select == "accuracy" else "auto"
    return replace(options, kind="selector", select=select, device="cpu")


def option(name: str) -> str:
    """A keyword argument with the option of the command line that stands for it."""
    return f"{name}= (--{name.replace('_', '-')})"
