"""The cut: encode -> attend -> decode. Whoever implements it gets every check.

Positions and units. A batch has `L` stored positions. `present` marks those that the encoder
reads; `units` marks those that may receive weight. Start and end markers are present and no
units; padding is neither. Weights are `(B, L)`, exactly 0 off the units, and sum to 1 over them.
An instance without units has weights that are all 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.errors import NotApplicable
from attnaudit.models.seen import SeenTexts


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
    """

    hidden: Float[Tensor, "B L H"]
    units: Bool[Tensor, "B L"]
    extra: Mapping[str, Tensor] = field(default_factory=dict)


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


class Model(ABC):
    """A model cut at its attention.

    Attributes:
        name: What reports call it.
        classes: The names of its outputs, `C` of them.
        pad_value: What stands at a position that is taken away in place.
        mask_value: What replaces a unit that is to be unknown, or None where there is nothing.
        trained_on: The texts that it was trained on, where these are known; an audit leaves them
            out.
        reads: `texts` or `bags`: what its records are.
        features: The names of the features of instances in the order in which they are read, or
            nothing.
    """

    name: str
    classes: tuple[str, ...]
    pad_value: float = 0
    mask_value: float | None = None
    trained_on: SeenTexts | None = None
    reads: str = "texts"
    features: tuple[str, ...] = ()

    @abstractmethod
    def collate(self, records: Sequence[Any]) -> Batch:
        """Records of the data as one padded batch."""

    @abstractmethod
    def encode(self, batch: Batch) -> States:
        """All that does not depend on the weights; computed once per batch."""

    @abstractmethod
    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """The weights of the model itself."""

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
        states = self.encode(batch)
        return self.decode(states, self.attend(states))

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
