"""Attention: hidden states in, weights over the units out.

Two scorers are learned as in the papers; the others are controls that ask whether learned weights
matter at all: equal ones, random ones, ones that know the position or the word alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def masked_softmax(
    energies: Float[Tensor, "*#B #L"], units: Bool[Tensor, "*#B #L"], dim: int = -1
) -> Float[Tensor, "*B L"]:
    """Softmax over the units; exactly 0 elsewhere, and all 0 where there is no unit.

    Gradients are finite in every case, also for an instance without units.

    Example:
        >>> units = torch.tensor([[False, True, True], [False, False, False]])
        >>> masked_softmax(torch.zeros(2, 3), units).tolist()
        [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]
    """
    # The lowest finite number, not -inf: a row of -inf would give NaN, forwards and backwards.
    lowest = torch.finfo(energies.dtype).min
    weights = torch.softmax(energies.masked_fill(~units, lowest), dim=dim)
    return weights.masked_fill(~units, 0.0)


@dataclass(frozen=True)
class Scorer:
    """An attention as `v · φ(W h + b)`, up to a constant that softmax does not see.

    Made for many evaluations without gradients: `φ` is the logistic function or the identity,
    and `tanh(x) = 2 σ(2x) − 1` is folded into the parameters, since on a CPU the logistic
    function is several times faster than tanh.

    Attributes:
        weight: `(A, H)`, linear in the hidden state, so it can be applied to parts of it.
        bias: `(A,)`.
        vector: `(A,)`.
        logistic: Whether `φ` is the logistic function.
    """

    weight: Float[Tensor, "A H"]
    bias: Float[Tensor, " A"]
    vector: Float[Tensor, " A"]
    logistic: bool

    def __call__(self, projected: Float[Tensor, "*B A"]) -> Float[Tensor, "*B"]:
        """Energies from `W h + b`, which is overwritten."""
        return (projected.sigmoid_() if self.logistic else projected) @ self.vector


POSITIONS = 4096
"""Units from which on all positions share one score, in attentions that score positions."""
REMOVED = -1e30
"""Score of a word that gets no weight where any other word can have it."""


@dataclass(frozen=True)
class Sizes:
    """What an attention is built for.

    Attributes:
        width: Size of a hidden state.
        embedding_dim: Size of a word vector.
        vocabulary: How many ids there are; 0 where inputs are vectors.
        question: Whether a question is read beside the text.
    """

    width: int
    embedding_dim: int = 0
    vocabulary: int = 0
    question: bool = False


class Attention(nn.Module, ABC):
    """Base of the attentions.

    Attributes:
        name: What configurations call it.
        description: One line for tables.
        reads: The entries of `extra` that it reads: `query` (of a question), `embedded`, `ids`,
            `given`.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    reads: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()

    @abstractmethod
    def forward(
        self,
        hidden: Float[Tensor, "B L H"],
        units: Bool[Tensor, "B L"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B L"]:
        """One energy a position; what stands off the units is not read."""

    def weights(
        self,
        hidden: Float[Tensor, "B L H"],
        units: Bool[Tensor, "B L"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B L"]:
        """The weights: 0 off the units, summing to 1 over them."""
        return masked_softmax(self(hidden, units, extra), units)

    def scorer(self) -> Scorer | None:
        """The same energies, up to a constant, in the form that is quick to evaluate.

        None where the energy of a state depends on more than that state.
        """
        return None


class AdditiveAttention(Attention):
    """`v · tanh(W h + b)` with `W: H → H/2` and no bias on `v` (Bahdanau et al. 2015).

    With a question `q` it is `v · tanh(W h + b + U q)`.
    """

    name = "additive"
    description = "v · tanh(W h + b), with half as many rows in W as h has numbers"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.projection = nn.Linear(sizes.width, sizes.width // 2)
        self.vector = nn.Linear(sizes.width // 2, 1, bias=False)
        self.asked: nn.Linear | None = None
        if sizes.question:
            self.asked = nn.Linear(sizes.width, sizes.width // 2, bias=False)

    def forward(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """See `Attention.forward`."""
        projected = self.projection(hidden)
        if self.asked is not None:
            projected = projected + self.asked(extra["query"]).unsqueeze(1)
        energies: Tensor = self.vector(torch.tanh(projected))
        return energies.squeeze(-1)

    def scorer(self) -> Scorer | None:
        """See `Attention.scorer`."""
        if self.asked is not None:
            return None
        return Scorer(
            2 * self.projection.weight,
            2 * self.projection.bias,
            2 * self.vector.weight.squeeze(0),
            logistic=True,
        )


class DotAttention(Attention):
    """`(w · h) / √H` without bias (Vaswani et al. 2017); with a question `q`, `(q · h) / √H`."""

    name = "dot"
    description = "(w · h) / √H, with a learned query or that of the question"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(sizes.width)
        self.query = None if sizes.question else nn.Linear(sizes.width, 1, bias=False)

    def forward(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """See `Attention.forward`."""
        if self.query is None:
            return torch.einsum("blh,bh->bl", hidden, extra["query"]) * self.scale
        energies: Tensor = self.query(hidden)
        return energies.squeeze(-1) * self.scale

    def scorer(self) -> Scorer | None:
        """See `Attention.scorer`."""
        if self.query is None:
            return None
        weight = self.query.weight
        return Scorer(weight * self.scale, weight.new_zeros(1), weight.new_ones(1), logistic=False)


class UniformAttention(Attention):
    """The same weight for every unit (Wiegreffe & Pinter 2019, section 3.1)."""

    name = "uniform"
    description = "equal weights, nothing learned"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)

    def forward(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """See `Attention.forward`."""
        return hidden.new_zeros(units.shape)


class RandomAttention(Attention):
    """A random score for every position, drawn once and never trained (Tay et al. 2021).

    (The fixed random variant of "Synthesizer: Rethinking Self-Attention".)
    """

    name = "random"
    description = "a fixed random score for each position, nothing learned"
    scores: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.register_buffer("scores", torch.randn(POSITIONS))

    def forward(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """See `Attention.forward`."""
        return self.scores[unit_numbers(units)]


class PositionAttention(Attention):
    """A learned score for every position, whatever stands there (Tay et al. 2021, "random")."""

    name = "position"
    description = "a learned score for each position, whatever the word"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.scores = nn.Parameter(torch.zeros(POSITIONS))

    def forward(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """See `Attention.forward`."""
        return self.scores[unit_numbers(units)]


class OwnTokenAttention(Attention):
    """`v · tanh(W e + b)` of the token's own vector `e`: no context (Tay et al. 2021, "dense")."""

    name = "own_token"
    description = "a learned score of the word alone, without its context"
    reads = frozenset({"embedded"})

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        middle = max(1, sizes.width // 2)
        self.projection = nn.Linear(sizes.embedding_dim, middle)
        self.vector = nn.Linear(middle, 1, bias=False)

    def forward(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """See `Attention.forward`."""
        energies: Tensor = self.vector(torch.tanh(self.projection(extra["embedded"])))
        return energies.squeeze(-1)


class WordAttention(Attention):
    """A fixed score for every word, from a table: log-odds attention, say (spec of the EHR study).

    Words with the score `REMOVED` get no weight; where all units are such words, all get the same.
    """

    name = "word"
    description = "a fixed score for each word, from a table; nothing learned"
    reads = frozenset({"ids"})
    scores: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.register_buffer("scores", torch.zeros(sizes.vocabulary))

    def forward(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """See `Attention.forward`."""
        return self.scores[extra["ids"]]


class GivenAttention(Attention):
    """Weights that come with each instance, from another model (Wiegreffe & Pinter 2019, 3.4)."""

    name = "given"
    description = "weights given with each instance; nothing learned"
    reads = frozenset({"given"})

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)

    def forward(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """See `Attention.forward`."""
        return extra["given"].clamp(min=torch.finfo(hidden.dtype).tiny).log()

    def weights(self, hidden: Tensor, units: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """As they are given: a weight of exactly 0 stays 0."""
        return extra["given"].to(hidden.dtype) * units


def unit_numbers(units: Bool[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """The number of each unit in its text, from 0; `POSITIONS - 1` for all that come later.

    Example:
        >>> unit_numbers(torch.tensor([[False, True, True]])).tolist()
        [[0, 0, 1]]
    """
    return (units.long().cumsum(dim=1) - 1).clamp(0, POSITIONS - 1)


ATTENTIONS: dict[str, type[Attention]] = {
    attention.name: attention
    for attention in (
        AdditiveAttention,
        DotAttention,
        UniformAttention,
        RandomAttention,
        PositionAttention,
        OwnTokenAttention,
        WordAttention,
        GivenAttention,
    )
}
LEARNED = ("additive", "dot")
"""The attentions of the papers; the others are controls."""
