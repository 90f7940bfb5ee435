"""The loop over the cut: some parameters of a model, trained under weights from anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.kinds import AnyDataset, Record
from attnaudit.errors import ModelError
from attnaudit.models.cut import Batch, Model, States
from attnaudit.training.evaluation import check_labels
from attnaudit.training.loop import Learner, Scores, State, noisy_batches, run
from attnaudit.training.options import TrainOptions
from attnaudit.training.parts import modules_of
from attnaudit.training.result import Trained

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
    options: TrainOptions,
    masks: Masks,
    dev_masks: Masks,
    *,
    weights: Float[Tensor, " N"] | Reweigh | None = None,
    targets: tuple[Tensor, Tensor] | None = None,
    frozen_modes: bool = False,
    readers: Sequence[Model] = (),
    judges: Sequence[Model] = (),
) -> Trained[Model]:
    """Train some parameters of a model, in place, under masks from anywhere.

    Args:
        model: It is changed, and frozen in the end; give a copy.
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
    learner = _CutLearner(model, trained, options, masks, dev_masks, frozen_modes)
    learner.records, learner.dev = (train.records, known[0]), (dev.records, known[1])
    learner.weights, learner.readers, learner.judges = weights, readers or (model,), judges
    learner.size = len(train.records)
    return replace(run(learner, options)[0], parameters=tuple(trained))


class _CutLearner(Learner[list[int], Model]):
    """Some parameters of a model, under masks."""

    records: tuple[Sequence[Record], Tensor]
    dev: tuple[Sequence[Record], Tensor]
    weights: Tensor | Reweigh | None
    readers: Sequence[Model]
    judges: Sequence[Model]

    def __init__(
        self,
        model: Model,
        trained: Mapping[str, Tensor],
        options: TrainOptions,
        masks: Masks,
        dev_masks: Masks,
        frozen_modes: bool,
    ) -> None:
        self.model, self.trained, self.options = model, trained, options
        self.masks, self.dev_masks = masks, dev_masks
        self.seeds, self.parameters = (model.name,), list(trained.values())
        modules = [] if frozen_modes else [*modules_of(model).values()]
        self.modes = [(module, module.training) for part in modules for module in part.modules()]
        self.generator = torch.Generator().manual_seed(options.seed)
        self.noise = int(torch.randint(2**31, (1,), generator=self.generator))
        self.current: Tensor | None = None
        for parameter in self.parameters:
            parameter.requires_grad_()
        self.optimizer = torch.optim.Adam(
            self.parameters,
            lr=options.learning_rate,
            amsgrad=True,
            fused=True,
            weight_decay=options.weight_decay,
        )

    def batches(self) -> list[list[int]]:
        self.current = self.weights(self.model) if callable(self.weights) else self.weights
        lengths = [len(record.units) for record in self.records[0]]
        made = noisy_batches(lengths, self.options.batch_size, self.generator)
        budget = self.options.token_budget
        return [part for rows in made for part in _cut(lengths, rows, len(rows), budget)]

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        # dropout draws from torch's own generator
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.noise)
            self.noise += 1
            for module, _ in self.modes:
                module.training = True
            try:
                # cuDNN's recurrent kernels have no backward pass in evaluation mode
                with torch.enable_grad(), torch.backends.cudnn.flags(enabled=bool(self.modes)):
                    yield
            finally:
                for module, mode in self.modes:
                    module.training = mode

    def loss(self, batch: list[int]) -> tuple[Tensor, int]:
        records, targets = self.records
        read = self.model.collate([records[row] for row in batch])
        states = self.model.encode(read)
        masks = self.masks(self.model, read, states, batch, self.generator)
        outputs = decoded(self.model, self.readers, read, states, masks)
        losses = cross_entropy(outputs, targets[batch])
        if self.current is not None:
            losses = losses * self.current[batch].to(losses)
        return losses.mean(), len(batch)

    def scores(self, losses: Sequence[float], running: Sequence[int], epoch: int) -> list[Scores]:
        found = evaluate(
            self.model,
            *self.dev,
            self.dev_masks,
            judges=self.judges,
            size=4 * self.options.batch_size,
            token_budget=self.options.token_budget,
        )
        if self.options.select == "accuracy":
            return [(found, (found["dev_accuracy"], -found["dev_loss"]))]
        return [(found, (-found["dev_loss"],))]

    def state(self, member: int) -> State:
        """A copy of what training changes: parameters, and buffers such as running means."""
        return {name: value.detach().clone() for name, value in self._changing().items()}

    def restore(self, member: int, state: State) -> Model:
        """The model with values in their places, frozen."""
        with torch.no_grad():
            for name, value in self._changing().items():
                value.copy_(state[name])
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        return self.model

    def _changing(self) -> dict[str, Tensor]:
        if not self.modes:
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
