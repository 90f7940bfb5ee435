"""Pools of bags: additive, gated and multi-head attention, baselines, and the registry of all."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad

from attnaudit.nets.bags.pooling import (
    BagPool,
    HeadsPool,
    PoolSizes,
    WeightedMean,
    head_entries,
    weights_of_heads,
)
from attnaudit.nets.bags.transformers import PmaPool, SelfAttention, TransMilPool, closed


class AdditivePool(WeightedMean):
    """`a = softmax(w · tanh(V h + b) + c)` (Ilse et al. 2018, equation 8)."""

    name = "additive"
    description = "softmax of w · tanh(V h)"

    def __init__(self, sizes: PoolSizes) -> None:
        super().__init__(sizes)
        self.inner = nn.Linear(sizes.width, sizes.attention)
        self.vector = nn.Linear(sizes.attention, 1)

    def energies(self, hidden: Float[Tensor, "B N H"]) -> Float[Tensor, "B N"]:
        """`w · tanh(V h + b) + c`."""
        energies: Tensor = self.vector(torch.tanh(self.inner(hidden)))
        return energies.squeeze(-1)


class GatedPool(WeightedMean):
    """`a = softmax(w · (tanh(V h + b) ⊙ σ(U h + d)) + c)` (Ilse et al. 2018, equation 9)."""

    name = "gated"
    description = "softmax of w · (tanh(V h) ⊙ sigmoid(U h))"

    def __init__(self, sizes: PoolSizes) -> None:
        super().__init__(sizes)
        self.inner = nn.Linear(sizes.width, sizes.attention)
        self.gate = nn.Linear(sizes.width, sizes.attention)
        self.vector = nn.Linear(sizes.attention, 1)

    def energies(self, hidden: Float[Tensor, "B N H"]) -> Float[Tensor, "B N"]:
        """`w · (tanh(V h + b) ⊙ σ(U h + d)) + c`."""
        gated = torch.tanh(self.inner(hidden)) * torch.sigmoid(self.gate(hidden))
        energies: Tensor = self.vector(gated)
        return energies.squeeze(-1)


class MultiHeadPool(HeadsPool):
    """Additive attention with several vectors `w` on one layer; weighted sums side by side.

    (The attention branches of the code of Ilse et al. 2018.) The weights shown are the mean of
    the heads, or one head; `weights_of_heads` says what other weights mean for the heads.
    """

    name = "multi_head"
    description = "additive attention with several heads, weighted sums side by side"

    def __init__(self, sizes: PoolSizes) -> None:
        super().__init__(sizes)
        self.shown = 0 if sizes.heads == 1 else sizes.shown
        self.width = sizes.heads * sizes.width
        self.inner = nn.Linear(sizes.width, sizes.attention)
        self.vectors = nn.Linear(sizes.attention, sizes.heads)

    def prepare(
        self, hidden: Float[Tensor, "B N H"], mask: Bool[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B N H"], dict[str, Tensor]]:
        """The states as they are, and the weights of the heads."""
        energies = self.vectors(torch.tanh(self.inner(hidden)))
        return hidden, head_entries(energies.transpose(1, 2), mask)

    def pool(
        self,
        hidden: Float[Tensor, "B N H"],
        weights: Float[Tensor, "B K N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B K W"]:
        """The weighted sums of all heads, side by side."""
        heads = weights_of_heads(weights, extra, self.shown)
        return (heads @ hidden.unsqueeze(1)).flatten(2)

    def linear(
        self, hidden: Float[Tensor, "B N H"], extra: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "B N W"], Float[Tensor, "B W"]] | None:
        """Where one head is shown, the others stay, and the pool is linear in its weights."""
        if self.shown is None:
            return None
        before = self.shown * hidden.shape[-1]
        after = self.width - before - hidden.shape[-1]
        sums = extra["heads"] @ hidden
        others = [sums[:, : self.shown], 0 * sums[:, :1], sums[:, self.shown + 1 :]]
        return pad(hidden, (before, after)), torch.cat(others, dim=1).flatten(1)


class SelfAttentionPool(AdditivePool):
    """One layer of self-attention, `h + attention(h)`, and additive attention after it.

    The weights shown are those of the additive attention. They stand on states that have read
    the other instances of the bag.
    """

    mixes = True
    name = "self_attention"
    description = "self-attention between instances, then additive attention"

    def __init__(self, sizes: PoolSizes) -> None:
        super().__init__(sizes)
        self.between = SelfAttention(sizes.width)

    def prepare(
        self, hidden: Float[Tensor, "B N H"], mask: Bool[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B N H"], dict[str, Tensor]]:
        """The states after self-attention."""
        return closed(hidden + self.between(hidden, mask), mask), {}


class MeanPool(WeightedMean):
    """The mean of the instances (Deep Sets, Zaheer et al. 2017): weights are equal."""

    name = "mean"
    description = "Deep Sets with the mean: no attention, a baseline"
    weights = "equal"

    def energies(self, hidden: Float[Tensor, "B N H"]) -> Float[Tensor, "B N"]:
        """0 everywhere."""
        return torch.zeros_like(hidden[..., 0])


class MaxPool(BagPool):
    """The largest value of each number over the instances (Deep Sets): there are no weights."""

    name = "max"
    description = "Deep Sets with the maximum: no weights, a baseline"
    weights = "none"

    def prepare(
        self, hidden: Float[Tensor, "B N H"], mask: Bool[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B N H"], dict[str, Tensor]]:
        """The states, and their maximum."""
        lowest = torch.finfo(hidden.dtype).min
        largest = hidden.masked_fill(~mask.unsqueeze(-1), lowest).amax(1)
        return hidden, {"pooled": torch.where(mask.any(1, keepdim=True), largest, 0.0)}


BAG_POOLS: dict[str, type[BagPool]] = {
    pool.name: pool
    for pool in (
        AdditivePool,
        GatedPool,
        MultiHeadPool,
        SelfAttentionPool,
        PmaPool,
        TransMilPool,
        MeanPool,
        MaxPool,
    )
}
