"""Attention scorers: hidden states in, one energy a position out; softmax over the units."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def masked_softmax(
    energies: Float[Tensor, "*B L"], units: Bool[Tensor, "*B L"], dim: int = -1
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


class Attention(nn.Module, ABC):
    """Base of the scorers.

    Attributes:
        name: What configurations call it.
        description: One line for tables.
    """

    name: ClassVar[str]
    description: ClassVar[str]

    @abstractmethod
    def forward(self, hidden: Float[Tensor, "*B H"]) -> Float[Tensor, "*B"]:
        """One energy a state."""

    @abstractmethod
    def scorer(self) -> Scorer:
        """The same energies, up to a constant, in the form that is quick to evaluate."""


class AdditiveAttention(Attention):
    """`v · tanh(W h + b)` with `W: H → H/2` and no bias on `v` (Bahdanau et al. 2015)."""

    name = "additive"
    description = "v · tanh(W h + b), with half as many rows in W as h has numbers"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, width // 2)
        self.vector = nn.Linear(width // 2, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """See `Attention.forward`."""
        energies: Tensor = self.vector(torch.tanh(self.projection(hidden)))
        return energies.squeeze(-1)

    def scorer(self) -> Scorer:
        """See `Attention.scorer`."""
        return Scorer(
            2 * self.projection.weight,
            2 * self.projection.bias,
            2 * self.vector.weight.squeeze(0),
            logistic=True,
        )


class DotAttention(Attention):
    """`(w · h) / √H` without bias (Vaswani et al. 2017, with a learned query)."""

    name = "dot"
    description = "(w · h) / √H, a learned query"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = 1.0 / math.sqrt(width)
        self.query = nn.Linear(width, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """See `Attention.forward`."""
        energies: Tensor = self.query(hidden)
        return energies.squeeze(-1) * self.scale

    def scorer(self) -> Scorer:
        """See `Attention.scorer`."""
        weight = self.query.weight
        return Scorer(weight * self.scale, weight.new_zeros(1), weight.new_ones(1), logistic=False)


ATTENTIONS: dict[str, type[Attention]] = {
    attention.name: attention for attention in (AdditiveAttention, DotAttention)
}
