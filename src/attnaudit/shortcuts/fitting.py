"""Training over the cut: the whole model, what decodes, or what gives the weights.

One loop for every model with the cut. Models are frozen, so each function works on a deep copy
and gives it back frozen; the model that comes in is never changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.records import Dataset, Text
from attnaudit.errors import ModelError, SettingsError
from attnaudit.models.cut import Batch, Model, States
from attnaudit.nets.evaluation import check_labels
from attnaudit.nets.mask_laws import MaskLaw, draw_masks
from attnaudit.nets.training import noisy_batches
from attnaudit.progress import Report
from attnaudit.shortcuts.parts import Parts, copy_of, modules_of, parts_of, reset

TOKENS = 16_384
"""Padded positions in one batch at most."""
DEV_DRAWS = 4
"""Random masks per development record: they are drawn once, and with few their score is noisy."""
DEV_SEED = 20_210_814
SELECTIONS = ("loss", "accuracy")

Masks = Callable[[Model, Batch, States, Sequence[int], torch.Generator], Tensor]
"""From model, batch, its states, its rows and a generator to weights `(B, L)` or `(B, K, L)`."""
Reweigh = Callable[[Model], Float[Tensor, " N"]]
"""From the model as it is to the weights of the training records."""


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
    """

    model: Model
    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    dev: Mapping[str, float]
    trained: tuple[str, ...] = field(default=())


class Refit(Protocol):
    """A way of training a model anew, as the two remedies of Bai et al. (2021) are."""

    def __call__(
        self, model: Model, train: Dataset, dev: Dataset, options: FitOptions, *, fresh: bool
    ) -> Fitted:
        """Train a copy of the model.

        Args:
            model: Any model with the cut; it is not changed.
            train: Labelled records.
            dev: Labelled records that choose the epoch.
            options: How to train.
            fresh: Whether to start from new initial values, by the seed; else from those given.
        """


def own_masks(
    model: Model, batch: Batch, states: States, rows: Sequence[int], generator: torch.Generator
) -> Tensor:
    """The model's own weights in training: `sample` where it has such, else `attend`."""
    sample = getattr(model, "sample", None)
    weights: Tensor = model.attend(states) if sample is None else sample(states, generator)
    return weights


def masks_in_use(
    model: Model, batch: Batch, states: States, rows: Sequence[int], generator: torch.Generator
) -> Tensor:
    """The model's own weights in use."""
    return model.attend(states)


def random_masks(law: MaskLaw, draws: int = 1) -> Masks:
    """Weights of a law, drawn anew in every batch."""

    def draw(
        model: Model, batch: Batch, states: States, rows: Sequence[int], generator: torch.Generator
    ) -> Tensor:
        drawn = [draw_masks(states.units, law, generator) for _ in range(draws)]
        return torch.stack(drawn, dim=1).to(states.hidden.dtype)

    return draw


def fit_jointly(
    model: Model,
    train: Dataset,
    dev: Dataset,
    options: FitOptions | None = None,
    weights: Float[Tensor, " N"] | Reweigh | None = None,
    targets: tuple[Tensor, Tensor] | None = None,
    fresh: bool = False,
) -> Fitted:
    """Train all of a model that can be trained.

    Args:
        model: Any model with the cut; it is not changed.
        train: Labelled records.
        dev: Labelled records that choose the epoch.
        options: How to train.
        weights: Of the training records in the loss, or what gives them before each epoch.
        targets: Probabilities `(N, C)` of train and dev to learn instead of the labels.
        fresh: Whether to start from new initial values, by `options.seed`.

    Raises:
        DataError: A record has no label that the model knows.
        ModelError: The model has no parameter to train, or the loss is no number.
    """
    options = options or FitOptions()
    copied, parts = _prepared(model, train)
    trained = {**parts.decoder, **parts.generator}
    if fresh:
        reset(parts, trained, options.seed)
    return fit_parameters(
        copied, trained, train, dev, options, own_masks, masks_in_use,
        weights=weights, targets=targets,
    )  # fmt: skip


def fit_decoder(
    model: Model,
    train: Dataset,
    dev: Dataset,
    law: MaskLaw,
    options: FitOptions | None = None,
    *,
    fresh: bool = True,
) -> Fitted:
    """Train what `decode` depends on at fixed weights, with masks that are drawn at random.

    Bai et al. (2021), random attention pretraining, step 1; with fresh parameters also the
    neutral judge: it has never seen a weight that depends on the text. Which parameters these are
    is found by differentiation. Masks are drawn anew in every batch, and once for `dev`.

    Args:
        model: Any model with the cut; it is not changed.
        train: Labelled records.
        dev: Labelled records that choose the epoch.
        law: Of the masks.
        options: How to train.
        fresh: Whether to start from new initial values, by `options.seed`.

    Returns:
        The model with this decoder. Its `attend` is as it was, as far as it does not use the
        states that have been trained.

    Raises:
        DataError: A record has no label that the model knows.
        ModelError: No parameter decodes, or the loss is no number.
    """
    options = options or FitOptions()
    copied, parts = _prepared(model, train)
    if not parts.decoder:
        raise ModelError(
            f"{model.name}: decode depends on no parameter that can be trained at fixed weights"
        )
    if fresh:
        reset(parts, parts.decoder, options.seed)
    masks, dev_masks = random_masks(law, options.draws), random_masks(law, DEV_DRAWS)
    return fit_parameters(copied, parts.decoder, train, dev, options, masks, dev_masks)


def fit_generator(
    model: Model,
    train: Dataset,
    dev: Dataset,
    options: FitOptions | None = None,
    *,
    weights: Float[Tensor, " N"] | Reweigh | None = None,
    fresh: bool = False,
    readers: Sequence[Model] = (),
    judges: Sequence[Model] = (),
) -> Fitted:
    """Train only what gives the weights; all that `decode` depends on stays as it is.

    Bai et al. (2021), random attention pretraining, step 2. For a model that attends over the
    states that it pools, that is the attention alone.

    Args:
        model: Any model with the cut; it is not changed.
        train: Labelled records.
        dev: Labelled records that choose the epoch.
        options: How to train.
        weights: Of the training records in the loss, or what gives them before each epoch.
        fresh: Whether to start from new initial values, by `options.seed`.
        readers: What decodes the weights in training, the mean loss counting; the model itself
            where there are none. They read the batches of the model.
        judges: Likewise what decodes them for the development scores.

    Raises:
        DataError: A record has no label that the model knows.
        ModelError: No parameter is left to train, or the loss is no number.
    """
    options = options or FitOptions()
    copied, parts = _prepared(model, train)
    if not parts.generator:
        raise ModelError(
            f"{model.name}: its weights have no parameters of their own, so nothing can be trained "
            "while the decoder stays as it is"
        )
    if fresh:
        reset(parts, parts.generator, options.seed)
    return fit_parameters(
        copied, parts.generator, train, dev, options, own_masks, masks_in_use,
        weights=weights, frozen_modes=True, readers=readers, judges=judges,
    )  # fmt: skip


def fit_parameters(
    model: Model,
    trained: Mapping[str, Tensor],
    train: Dataset,
    dev: Dataset,
    options: FitOptions,
    masks: Masks,
    dev_masks: Masks,
    *,
    weights: Float[Tensor, " N"] | Reweigh | None = None,
    targets: tuple[Tensor, Tensor] | None = None,
    frozen_modes: bool = False,
    readers: Sequence[Model] = (),
    judges: Sequence[Model] = (),
) -> Fitted:
    """The loop: some parameters of a model, in place, under masks from anywhere.

    Args:
        model: It is changed; give a copy.
        trained: The parameters to train, by name.
        train: Labelled records.
        dev: Labelled records that choose the epoch.
        options: How to train.
        masks: The weights in training.
        dev_masks: Those on the development records; their generator starts anew every epoch.
        weights: See `fit_jointly`.
        targets: See `fit_jointly`.
        frozen_modes: Leave out dropout, as where the part that has it is frozen.
        readers: See `fit_generator`.
        judges: See `fit_generator`.

    Raises:
        DataError: A record has no label that the model knows.
        ModelError: There is nothing to train, or the loss is no number.
    """
    if not trained:
        raise ModelError(f"{model.name}: there is no parameter to train")
    known = targets
    if known is None:
        known = _one_hot(model, train, "training"), _one_hot(model, dev, "development")
    loop = _Loop(model, trained, options, masks, dev_masks, frozen_modes)
    loop.readers, loop.judges = readers or (model,), judges or (model,)
    history: list[Mapping[str, float]] = []
    best, best_epoch, best_state = (-math.inf, -math.inf), 0, loop.state()
    for epoch in range(1, options.epochs + 1):
        if options.report is not None:
            options.report("training", epoch - 1, options.epochs)
        current = weights(model) if callable(weights) else weights
        metrics = {"loss": loop.run(train.records, known[0], current)}
        metrics.update(loop.evaluate(dev.records, known[1]))
        history.append(metrics)
        reached = (-metrics["dev_loss"], 0.0)
        if options.select == "accuracy":
            reached = (metrics["dev_accuracy"], -metrics["dev_loss"])
        if reached > best:
            best, best_epoch, best_state = reached, epoch, loop.state()
        elif options.patience is not None and epoch - best_epoch >= options.patience:
            break
    if options.report is not None:
        options.report("training", options.epochs, options.epochs)
    loop.restore(best_state)
    dev_metrics = {k: v for k, v in history[best_epoch - 1].items() if k.startswith("dev")}
    return Fitted(model, tuple(history), best_epoch, dev_metrics, tuple(trained))


class _Loop:
    """The state of a training: the parameters, their optimiser, the generator of batches."""

    def __init__(
        self,
        model: Model,
        trained: Mapping[str, Tensor],
        options: FitOptions,
        masks: Masks,
        dev_masks: Masks,
        frozen_modes: bool,
    ) -> None:
        self.readers: Sequence[Model] = (model,)
        self.judges: Sequence[Model] = (model,)
        self.model, self.trained, self.options = model, trained, options
        self.masks, self.dev_masks = masks, dev_masks
        self.modes = [
            (module, module.training)
            for part in modules_of(model).values()
            if not frozen_modes
            for module in part.modules()
        ]
        self.generator = torch.Generator().manual_seed(options.seed)
        self.noise = int(torch.randint(2**31, (1,), generator=self.generator))
        for parameter in trained.values():
            parameter.requires_grad_()
        self.optimizer = torch.optim.Adam(
            list(trained.values()), lr=options.learning_rate, amsgrad=True, fused=True,
            weight_decay=options.weight_decay,
        )  # fmt: skip

    def run(self, records: Sequence[Text], targets: Tensor, weights: Tensor | None) -> float:
        """One pass over the records; the mean loss of an instance."""
        total = 0.0
        # dropout draws from torch's own generator
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.noise)
            self.noise += 1
            self._switch(True)
            try:
                for rows in self._batches(records):
                    share = None if weights is None else weights[rows]
                    total += self._step(records, rows, targets[rows], share)
            finally:
                self._switch(False)
        return total / len(records)

    def _step(
        self, records: Sequence[Text], rows: list[int], targets: Tensor, weights: Tensor | None
    ) -> float:
        batch = self.model.collate([records[row] for row in rows])
        # cuDNN's recurrent kernels have no backward pass in evaluation mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=not self._frozen):
            states = self.model.encode(batch)
            masks = self.masks(self.model, batch, states, rows, self.generator)
            losses = cross_entropy(self._decoded(self.readers, batch, states, masks), targets)
            if weights is not None:
                losses = losses * weights.to(losses)
            loss = losses.mean()
            value = float(loss.detach())
            if not math.isfinite(value):
                raise ModelError(
                    f"{self.model.name}: the loss is {value}, so training has diverged; lower the "
                    "learning rate or set clip"
                )
            gradients = torch.autograd.grad(loss, list(self.trained.values()), allow_unused=True)
        for parameter, gradient in zip(self.trained.values(), gradients, strict=True):
            parameter.grad = gradient
        if self.options.clip is not None:
            torch.nn.utils.clip_grad_norm_(list(self.trained.values()), self.options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value * len(rows)

    @torch.no_grad()
    def evaluate(self, records: Sequence[Text], targets: Tensor) -> dict[str, float]:
        """Loss and accuracy on the development records; accuracy is agreement in the best class."""
        generator = torch.Generator().manual_seed(DEV_SEED)
        loss = right = 0.0
        order = sorted(range(len(records)), key=lambda row: len(records[row].units))
        for rows in self._cut(records, order, 4 * self.options.batch_size):
            batch = self.model.collate([records[row] for row in rows])
            states = self.model.encode(batch)
            masks = self.dev_masks(self.model, batch, states, rows, generator)
            outputs = self._decoded(self.judges, batch, states, masks)
            wanted = targets[rows]
            loss += float(cross_entropy(outputs, wanted).sum())
            best = wanted.argmax(-1).to(outputs.device)
            best = best.view(-1, *[1] * (outputs.dim() - 2))
            hits = (outputs.argmax(-1) == best).double()
            right += float(hits.view(len(rows), -1).mean(1).sum())
        return {"dev_loss": loss / len(records), "dev_accuracy": right / len(records)}

    def _decoded(
        self, decoders: Sequence[Model], batch: Batch, states: States, masks: Tensor
    ) -> Tensor:
        """What decoders make of the masks: those of several beside each other, `(B, K, C)`."""
        outputs = [
            decoder.decode(states if decoder is self.model else decoder.encode(batch), masks)
            for decoder in decoders
        ]
        if len(outputs) == 1:
            return outputs[0]
        return torch.cat([found.view(len(batch), -1, found.shape[-1]) for found in outputs], 1)

    def _batches(self, records: Sequence[Text]) -> list[list[int]]:
        lengths = [len(record.units) for record in records]
        made = noisy_batches(lengths, self.options.batch_size, self.generator)
        return [part for rows in made for part in self._cut(records, rows, len(rows))]

    def _cut(self, records: Sequence[Text], rows: list[int], size: int) -> list[list[int]]:
        """Rows in batches of at most `size` that keep to the token budget."""
        made: list[list[int]] = []
        start = 0
        while start < len(rows):
            longest = max(len(records[row].units) + 2 for row in rows[start : start + size])
            count = max(1, min(size, self.options.token_budget // longest))
            made.append(rows[start : start + count])
            start += count
        return made

    @property
    def _frozen(self) -> bool:
        return not self.modes

    def _switch(self, training: bool) -> None:
        """Training mode while steps are made, then each module's own mode again."""
        for module, mode in self.modes:
            module.training = training or mode

    def state(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.trained.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put values in their places, and freeze them."""
        with torch.no_grad():
            for name, value in self.trained.items():
                value.copy_(state[name])
                value.requires_grad_(False)


def cross_entropy(outputs: Tensor, targets: Float[Tensor, "B C"]) -> Float[Tensor, " B"]:
    """`-Σ_c targets_c · outputs_c` an instance; the mean over masks where there are several.

    Args:
        outputs: Log-probabilities `(B, C)` or `(B, K, C)`.
        targets: Probabilities.
    """
    wanted = targets.to(outputs)
    if outputs.dim() == 3:
        return -(outputs * wanted.unsqueeze(1)).sum(-1).mean(1)
    return -(outputs * wanted).sum(-1)


def _prepared(model: Model, train: Dataset) -> tuple[Model, Parts]:
    """A copy of the model to train, and what its parts are."""
    copied = copy_of(model)
    return copied, parts_of(copied, train.records)


def _one_hot(model: Model, data: Dataset, split: str) -> Float[Tensor, "N C"]:
    labels = check_labels(data.records, model.classes, split)
    return torch.nn.functional.one_hot(labels, len(model.classes)).float()
