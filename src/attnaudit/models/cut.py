"""The cut: encode -> attend -> decode. Whoever implements it gets every check.

Positions and units. A batch has `L` stored positions. `present` marks those that the encoder
reads; `units` marks those that can be erased and shown. Start and end markers are present and no
units; padding is neither. Weights are `(B, L)`, exactly 0 off the units, and sum to 1 over them.
An instance without units has weights that are all 0.

Sinks. In some models positions that are no units hold weight too ([CLS], BOS, registers): their
`States.sinks` marks these, and the weights that `attend` gives sum to 1 over units and sinks
together. What others see of such a model (`Encoded`) are the weights over the units, renormalised,
and apart from them the *sink mass*; weights that replace them leave the sinks as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.data.kinds import TEXTS, AnyDataset, Kind
from attnaudit.data.sources.opening import Place
from attnaudit.errors import NotApplicable
from attnaudit.models.batches import TOKEN_BUDGET, by_length, groups
from attnaudit.models.seen import SeenTexts

EXACT = 1e-4
"""Differences of weights, probabilities and (relative) states that are rounding, in float32."""
COARSE = 2e-2
"""The same in half precision, and on accelerators, whose products may be rounded to 10 bits."""


def tolerance_of(values: Tensor) -> float:
    """The difference that rounding explains, for numbers of this precision on this device."""
    exact = values.dtype in (torch.float32, torch.float64) and values.device.type == "cpu"
    return EXACT if exact else COARSE


@dataclass(frozen=True)
class Batch:
    """Instances padded to one length, as a model takes them.

    Attributes:
        ids: The ids of the records, `B` of them.
        inputs: Token ids `(B, L)` or vectors `(B, L, D)`.
        present: `(B, L)`, the positions that the encoder reads.
        units: `(B, L)`, the positions that may receive weight; a subset of `present`.
        extra: Further inputs per instance (a question, say), each with `B` rows.
    """

    ids: tuple[str, ...]
    inputs: Tensor
    present: Bool[Tensor, "B L"]
    units: Bool[Tensor, "B L"]
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Tensor) -> Batch:
        """The instances `rows` (indices, repeats allowed), in that order."""
        index = rows.tolist()
        return Batch(
            tuple(self.ids[i] for i in index),
            self.inputs[rows],
            self.present[rows],
            self.units[rows],
            {name: value[rows] for name, value in self.extra.items()},
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.ids,
            self.inputs.to(device),
            self.present.to(device),
            self.units.to(device),
            {name: value.to(device) for name, value in self.extra.items()},
        )


@dataclass(frozen=True)
class States:
    """All that does not depend on the weights.

    Attributes:
        hidden: `(B, L, H)`, what the weights pool.
        units: `(B, L)`, the positions that may receive weight.
        extra: Whatever else `attend` and `decode` need, each with `B` rows.
        sinks: `(B, L)`, the positions that hold weight and are no units, or None for none.
        outputs: `(B, C)`, the model's own log-probabilities where encoding computes them anyway.
    """

    hidden: Float[Tensor, "B L H"]
    units: Bool[Tensor, "B L"]
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    sinks: Bool[Tensor, "B L"] | None = None
    outputs: Float[Tensor, "B C"] | None = None

    @property
    def attendable(self) -> Bool[Tensor, "B L"]:
        """The positions over which the weights of `attend` sum to 1: units and sinks."""
        return self.units if self.sinks is None else self.units | self.sinks

    def detached(self) -> States:
        """The same states, off the graph that they were computed with."""
        extra = {name: value.detach() for name, value in self.extra.items()}
        outputs = None if self.outputs is None else self.outputs.detach()
        return States(self.hidden.detach(), self.units, extra, self.sinks, outputs)

    def at(self, rows: slice) -> States:
        """The states of some of the instances."""
        extra = {name: value[rows] for name, value in self.extra.items()}
        sinks, outputs = (None if x is None else x[rows] for x in (self.sinks, self.outputs))
        return States(self.hidden[rows], self.units[rows], extra, sinks, outputs)


@dataclass(frozen=True)
class LinearDecode:
    """A decode that is linear in the weights before its softmax.

    `decode(weights) = log_softmax(bias + sum_t weights_t * scores_t)`. A sigmoid output is the
    case of two classes with scores `(0, s)`. Candidates then cost O(T) instead of O(T·H), and
    with two classes the adversary has an exact solution.

    Attributes:
        scores: `(B, L, C)`, what unit `t` adds to the logit of class `c` per unit of weight.
        bias: `(B, C)` or `(C,)`, the logits of no weight at all.
    """

    scores: Float[Tensor, "B L C"]
    bias: Tensor

    def __call__(self, weights: Tensor) -> Tensor:
        """Log-probabilities for weights `(B, L)` or `(B, K, L)`."""
        bias = self.bias
        if weights.dim() == 2:
            logits = torch.bmm(weights.unsqueeze(1), self.scores).squeeze(1)
        else:
            logits = torch.bmm(weights, self.scores)
            bias = bias.unsqueeze(-2) if bias.dim() == 2 else bias
        return torch.log_softmax(logits + bias, dim=-1)


@dataclass(frozen=True)
class Answer:
    """What is known to be right, where a model chooses among tokens.

    Attributes:
        said: What it is, in words.
        right: Whether the model says it.
    """

    said: str
    right: bool


@dataclass(frozen=True)
class Verified:
    """Whether the cut, with the model's own weights, gives the unmodified model's outputs.

    Attributes:
        instances: How many were compared.
        gap: The largest difference of an output (of probabilities, or of a score).
        tolerance: The difference that rounding explains.
        differ: The ids of the instances whose outputs differ by more.
    """

    instances: int
    gap: float
    tolerance: float
    differ: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether no instance differs."""
        return not self.differ


class Model(ABC):
    """A model cut at its attention.

    Attributes:
        name: What reports call it.
        kind: What its records are, and the nouns for them.
        classes: The names of its outputs, `C` of them.
        pad_value: What stands at a position that is taken away in place.
        mask_value: What replaces a unit that is to be unknown, or None where there is nothing.
        trained_on: The texts that it was trained on, where these are known; an audit leaves them
            out.
        features: The names of the features of instances in the order in which they are read, or
            nothing.
        own_labels: Data name their labels as the classes are called; where False, the names may
            only resemble each other.
        partial: The output has other ways than the weights, such as the rest of a transformer.
    """

    name: str
    kind: Kind = TEXTS
    classes: tuple[str, ...]
    pad_value: float = 0
    mask_value: float | None = None
    trained_on: SeenTexts | None = None
    features: tuple[str, ...] = ()
    own_labels: bool = True
    partial: bool = False

    @abstractmethod
    def collate(self, records: Sequence[Any]) -> Batch:  # each kind reads records of its own
        """Records of the data as one padded batch."""

    @abstractmethod
    def encode(self, batch: Batch) -> States:
        """All that does not depend on the weights; computed once per batch."""

    @abstractmethod
    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """The weights of the model itself, over units and sinks."""

    @abstractmethod
    def decode(self, states: States, weights: Tensor) -> Tensor:
        """Log-probabilities `(B, C)` for weights `(B, L)`; `(B, K, C)` for `(B, K, L)`."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of configuration and parameters: equal models, equal fingerprint."""

    @property
    def device(self) -> torch.device:
        """Where batches are to be."""
        return torch.device("cpu")

    def forward(self, batch: Batch) -> Tensor:
        """Log-probabilities of the whole model."""
        return self.said(self.encode(batch))

    def said(self, states: States) -> Float[Tensor, "B C"]:
        """The model's own log-probabilities at these states."""
        if states.outputs is not None:
            return states.outputs
        return self.decode(states, self.attend(states))

    def every_site(self) -> Mapping[str, Model]:
        """The same model cut at each of its sites, by name; nothing where it has one."""
        return {}

    def prepared(self, record: Any) -> Any:  # each kind reads records of its own
        """A record of the data as this model is asked about it; the record itself here."""
        return record

    def own_data(self, source: Place) -> AnyDataset | None:
        """Data that only this kind of model can read, such as images; None for any other."""
        return None

    def remade(self) -> Callable[[], Model] | None:
        """How another process gets the model from where it came, or None where it is sent."""
        return None

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """Log-probabilities of the unmodified model, by its own forward pass and not by the cut.

        Raises:
            NotApplicable: There is no other way than the cut.
        """
        raise NotApplicable(f"{self.name} has no forward pass but its cut to be compared with")

    @torch.no_grad()
    def verify(self, data: Iterable[Any], budget: int = TOKEN_BUDGET) -> Verified:
        """Compare the cut, with the model's own weights, with the unmodified model.

        Args:
            data: Records as `collate` takes them.
            budget: Padded tokens in one pass.

        Raises:
            NotApplicable: There is nothing to compare with.
        """
        gap, worst, differ = 0.0, EXACT, list[str]()
        records = list(data)
        records = [records[index] for index in by_length(records)]
        for part in groups([len(record.units) for record in records], budget):
            batch = self.collate(records[part])
            states = self.encode(batch)
            cut, own = self.decode(states, self.attend(states)).exp(), self.whole(batch).exp()
            worst = tolerance_of(cut)
            gaps = torch.nan_to_num((cut.double() - own.double()).abs(), nan=torch.inf).amax(1)
            gap = max(gap, float(gaps.max()))
            differ += [batch.ids[row] for row in (gaps > worst).nonzero().squeeze(1).tolist()]
        return Verified(len(records), gap, worst, tuple(differ))

    def targets(self, batch: Batch, outputs: Float[Tensor, "B C"]) -> Int[Tensor, " B"]:
        """What is explained of each instance, as an index of its outputs; the likeliest here."""
        return outputs.argmax(-1)

    def target_name(self, target: int) -> str:
        """What an output is called: a class, or the token that it stands for."""
        return self.classes[target]

    def names(self, batch: Batch) -> list[tuple[str, ...]]:
        """What each instance's outputs are called: the classes, or the tokens they stand for."""
        return [self.classes] * len(batch)

    def answers(self, records: Sequence[Any], batch: Batch) -> list[Answer | None] | None:
        """What is known to be right of each instance, where that is no label; else None."""
        return None

    def decode_size(self, states: States) -> int:
        """How many numbers `decode` holds at once for one alternative of one instance."""
        return sum(states.hidden.shape[1:])

    def linear(self, states: States) -> LinearDecode | None:
        """The linear form of `decode` at these states, or None where there is none."""
        return None

    def embed(self, batch: Batch) -> Float[Tensor, "B L E"]:
        """What gradients are taken with respect to.

        Raises:
            NotApplicable: The model has no differentiable input.
        """
        raise NotApplicable(f"{self.name} gives no embeddings, so gradients cannot be taken")

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """`encode` from given embeddings.

        Raises:
            NotApplicable: The model has no differentiable input.
        """
        raise NotApplicable(f"{self.name} gives no embeddings, so gradients cannot be taken")

    @property
    def cheap_deletions(self) -> bool:
        """Whether `leave_one_out` takes seconds, not minutes, for ten thousand units."""
        return False

    def leave_one_out(self, batch: Batch, states: States) -> Tensor | None:
        """Log-probabilities `(B, L, C)` with each position deleted, or None for no fast way.

        Rows of positions that are no units are undefined.
        """
        return None
