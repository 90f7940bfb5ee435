"""The loop: some parameters of a model, trained under weights from anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.kinds import AnyDataset, Record
from attnaudit.errors import ModelError
from attnaudit.models.cut import Batch, Model, States
from attnaudit.training.evaluation import check_labels
from attnaudit.training.options import FitOptions, Fitted
from attnaudit.training.parts import modules_of
from attnaudit.training.text_loop import noisy_batches

DEV_SEED = 20_210_814

Masks = Callable[[Model, Batch, States, Sequence[int], torch.Generator], Tensor]
"""From model, batch, its states, its rows and a generator to weights `(B, L)` or `(B, K, L)`."""
Reweigh = Callable[[Model], Float[Tensor, " N"]]
"""From the model as it is to the weights of the training records."""


def fit_parameters(
    model: Model,
    trained: Mapping[str, Tensor],
    train: AnyDataset,
    dev: AnyDataset,
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
        known = one_hot(model, train, "training"), one_hot(model, dev, "development")
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
            list(trained.values()),
            lr=options.learning_rate,
            amsgrad=True,
            fused=True,
            weight_decay=options.weight_decay,
        )

    def run(self, records: Sequence[Record], targets: Tensor, weights: Tensor | None) -> float:
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
        self, records: Sequence[Record], rows: list[int], targets: Tensor, weights: Tensor | None
    ) -> float:
        batch = self.model.collate([records[row] for row in rows])
        # cuDNN's recurrent kernels have no backward pass in evaluation mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=not self._frozen):
            states = self.model.encode(batch)
            masks = self.masks(self.model, batch, states, rows, self.generator)
            losses = cross_entropy(decoded(self.model, self.readers, batch, states, masks), targets)
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

    def evaluate(self, records: Sequence[Record], targets: Tensor) -> dict[str, float]:
        """Loss and accuracy on the development records."""
        budget, size = self.options.token_budget, 4 * self.options.batch_size
        return evaluate(
            self.model,
            records,
            targets,
            self.dev_masks,
            judges=self.judges,
            size=size,
            token_budget=budget,
        )

    def _batches(self, records: Sequence[Record]) -> list[list[int]]:
        lengths = [len(record.units) for record in records]
        budget = self.options.token_budget
        made = noisy_batches(lengths, self.options.batch_size, self.generator)
        return [part for rows in made for part in _cut(lengths, rows, len(rows), budget)]

    @property
    def _frozen(self) -> bool:
        return not self.modes

    def _switch(self, training: bool) -> None:
        """Training mode while steps are made, then each module's own mode again."""
        for module, mode in self.modes:
            module.training = training or mode

    def state(self) -> dict[str, Tensor]:
        """A copy of what training changes: parameters, and buffers such as running means."""
        return {name: value.detach().clone() for name, value in self._changing().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put values in their places, and freeze them."""
        with torch.no_grad():
            for name, value in self._changing().items():
                value.copy_(state[name])
        for parameter in self.trained.values():
            parameter.requires_grad_(False)

    def _changing(self) -> dict[str, Tensor]:
        if self._frozen:
            return dict(self.trained)
        buffers = {
            f"buffer {prefix}.{name}": buffer
            for prefix, module in modules_of(self.model).items()
            for name, buffer in module.named_buffers()
        }
        return {**self.trained, **buffers}


@torch.no_grad()
def evaluate(
    model: Model,
    records: Sequence[Record],
    targets: Tensor,
    masks: Masks,
    *,
    judges: Sequence[Model] = (),
    size: int,
    token_budget: int,
) -> dict[str, float]:
    """`dev_loss` and `dev_accuracy`, the agreement in the best class, under given masks.

    Args:
        model: What reads the records.
        records: The records.
        targets: Probabilities `(N, C)`.
        masks: The weights; their generator starts anew at every call.
        judges: What decodes the weights; the model itself where there are none.
        size: Records in one batch at most.
        token_budget: Padded positions in one batch at most.
    """
    generator = torch.Generator().manual_seed(DEV_SEED)
    loss = right = 0.0
    lengths = [len(record.units) for record in records]
    order = sorted(range(len(records)), key=lambda row: lengths[row])
    for rows in _cut(lengths, order, size, token_budget):
        batch = model.collate([records[row] for row in rows])
        states = model.encode(batch)
        drawn = masks(model, batch, states, rows, generator)
        outputs = decoded(model, judges or (model,), batch, states, drawn)
        wanted = targets[rows]
        loss += float(cross_entropy(outputs, wanted).sum())
        best = wanted.argmax(-1).to(outputs.device)
        best = best.view(-1, *[1] * (outputs.dim() - 2))
        hits = (outputs.argmax(-1) == best).double()
        right += float(hits.view(len(rows), -1).mean(1).sum())
    return {"dev_loss": loss / len(records), "dev_accuracy": right / len(records)}


def decoded(
    model: Model, decoders: Sequence[Model], batch: Batch, states: States, masks: Tensor
) -> Tensor:
    """What decoders make of the masks: those of several beside each other, `(B, K, C)`."""
    outputs = [
        decoder.decode(states if decoder is model else decoder.encode(batch), masks)
        for decoder in decoders
    ]
    if len(outputs) == 1:
        return outputs[0]
    return torch.cat([found.view(len(batch), -1, found.shape[-1]) for found in outputs], 1)


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


def _cut(lengths: Sequence[int], rows: list[int], size: int, budget: int) -> list[list[int]]:
    """Rows in batches of at most `size` that keep to the budget of padded positions."""
    made: list[list[int]] = []
    start = 0
    while start < len(rows):
        longest = max(lengths[row] + 2 for row in rows[start : start + size])
        count = max(1, min(size, budget // longest))
        made.append(rows[start : start + count])
        start += count
    return made


def one_hot(model: Model, data: AnyDataset, split: str) -> Float[Tensor, "N C"]:
    """The labels of a split as probabilities.

    Raises:
        DataError: A record has no label that the model knows.
    """
    labels = check_labels(data.records, model.classes, split)
    return torch.nn.functional.one_hot(labels, len(model.classes)).float()
