"""What pools of bags have in common: how they are cut at their weights, and several heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attnaudit.errors import NotApplicable
from attnaudit.nets.text.attentions import masked_softmax

LEAST_SHARE = 1e-12
"""Share of a head at an instance, at least: no head is left without weight by other weights."""


@dataclass(frozen=True)
class PoolSizes:
    """What a pool is built for.

    Attributes:
        width: Numbers of an encoded instance.
        attention: Rows of the layer inside an additive attention, `L` in the paper.
        heads: Attention heads, in pools that have several.
        shown: Which head's weights are shown, from 0; None for their mean.
    """

    width: int
    attention: int
    heads: int
    shown: int | None


class BagPool(nn.Module, ABC):
    """Base of the pools: encoded instances of a bag to one vector.

    No pool reads padding, and none knows the order of instances.

    Attributes:
        name: What configurations call it.
        description: One line for tables.
        weights: `learned`; `equal`: all instances weigh the same by construction, a baseline;
            `none`: the pool has no weights and cannot be cut.
        multi_head: Whether it reads `heads` and `shown`.
        width: Numbers of the pooled vector.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    weights: ClassVar[str] = "learned"
    multi_head: ClassVar[bool] = False
    width: int

    def __init__(self, sizes: PoolSizes) -> None:
        super().__init__()
        self.width = sizes.width

    def prepare(
        self, hidden: Float[Tensor, "B N H"], mask: Bool[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B N S"], dict[str, Tensor]]:
        """All that does not depend on the weights shown.

        Args:
            hidden: Encoded instances, 0 on padding.
            mask: True on instances.

        Returns:
            What the weights pool, and whatever else `attend` and `pool` read, with `B` rows each.
        """
        return hidden, {}

    def attend(
        self,
        hidden: Float[Tensor, "B N S"],
        mask: Bool[Tensor, "B N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B N"]:
        """The weights shown: 0 on padding, with the sum 1 over the instances of a bag.

        Raises:
            NotApplicable: The pool has none.
        """
        raise NotApplicable(self._no_weights)

    def pool(
        self,
        hidden: Float[Tensor, "B N S"],
        weights: Float[Tensor, "B K N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B K W"]:
        """The pooled vectors for `K` weights a bag; its own weights give the model's own.

        Raises:
            NotApplicable: The pool has no weights.
        """
        raise NotApplicable(self._no_weights)

    @property
    def _no_weights(self) -> str:
        return f"the pool {self.name!r} has no weights, so there is nothing to show or to replace"

    def linear(
        self, hidden: Float[Tensor, "B N S"], extra: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "B N W"], Float[Tensor, "B W"] | None] | None:
        """`values`, `offset` with `pool(weights) = offset + Σ_n weights_n · values_n`.

        None where the pool is not linear in the weights; the offset is None where it is 0.
        """
        return None


class WeightedMean(BagPool):
    """Base of pools that are `Σ_n weights_n · h_n`, with one weight an instance.

    Attributes:
        mixes: Whether `prepare` lets the state of an instance depend on the other instances.
    """

    mixes = False

    @abstractmethod
    def energies(self, hidden: Float[Tensor, "B N H"]) -> Float[Tensor, "B N"]:
        """One energy an instance; what stands on padding is not read."""

    def attend(
        self,
        hidden: Float[Tensor, "B N H"],
        mask: Bool[Tensor, "B N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B N"]:
        """Softmax of the energies over the instances."""
        return masked_softmax(self.energies(hidden), mask)

    def pool(
        self,
        hidden: Float[Tensor, "B N H"],
        weights: Float[Tensor, "B K N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B K H"]:
        """Weighted sums."""
        return torch.bmm(weights, hidden)

    def linear(
        self, hidden: Float[Tensor, "B N H"], extra: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "B N H"], None]:
        """The states themselves."""
        return hidden, None


def head_entries(
    energies: Float[Tensor, "B A N"], mask: Bool[Tensor, "B N"]
) -> dict[str, Float[Tensor, "B A N"]]:
    """Weights of `A` heads, and at each instance the share of each head.

    `heads` sum to 1 over the instances; `shares`, the weights of an instance over their sum over
    heads, to 1 over the heads.
    """
    lowest = torch.finfo(energies.dtype).min
    closed = energies.masked_fill(~mask.unsqueeze(1), lowest)
    # From logarithms: a weight that underflows in every head still has its shares.
    shares = torch.softmax(torch.log_softmax(closed, -1).clamp_min(lowest / 2), 1)
    return {"heads": masked_softmax(energies, mask.unsqueeze(1)), "shares": shares}


def shown_weights(heads: Float[Tensor, "B A N"], shown: int | None) -> Float[Tensor, "B N"]:
    """The weights that a pool of several heads shows: one head's, or the mean."""
    return heads.mean(1) if shown is None else heads[:, shown]


def weights_of_heads(
    weights: Float[Tensor, "B K N"], extra: Mapping[str, Tensor], shown: int | None
) -> Float[Tensor, "B K A N"]:
    """The weights of each head that belong to given shown weights.

    One head shown: that head has the given weights, the others keep theirs. The mean shown: head
    `a` has `share_an · weights_n`, normalised over the instances, so that each head keeps its
    preference among instances of equal weight, and is a distribution. The model's own weights
    give its own heads; weight on a single instance gives heads on that instance. Otherwise the
    mean of the heads need not be the given weights.

    Args:
        weights: `(B, K, N)`, `K` shown weights a bag.
        extra: `heads` and `shares` of `head_entries`.
        shown: The head shown, or None for the mean.

    Example:
        >>> entries = head_entries(torch.tensor([[[0.0, 1.0], [2.0, 0.0]]]), torch.ones(1, 2) > 0)
        >>> own = shown_weights(entries["heads"], None).unsqueeze(1)
        >>> again = weights_of_heads(own, entries, None).squeeze(1)
        >>> bool(torch.allclose(again, entries["heads"]))
        True
    """
    heads = extra["heads"]
    if heads.shape[1] == 1:
        return weights.unsqueeze(2)
    if shown is not None:
        own = heads.unsqueeze(1).expand(-1, weights.shape[1], -1, -1)
        given = weights.unsqueeze(2)
        return torch.cat([own[:, :, :shown], given, own[:, :, shown + 1 :]], dim=2)
    tilted = weights.unsqueeze(2) * extra["shares"].clamp_min(LEAST_SHARE).unsqueeze(1)
    total = tilted.sum(-1, keepdim=True)
    return tilted / total.clamp_min(torch.finfo(total.dtype).tiny)


class HeadsPool(BagPool):
    """Base of the pools with several heads, whose `prepare` puts their weights into `heads`."""

    multi_head = True

    def __init__(self, sizes: PoolSizes) -> None:
        super().__init__(sizes)
        self.heads, self.shown = sizes.heads, sizes.shown

    def attend(
        self,
        hidden: Float[Tensor, "B N H"],
        mask: Bool[Tensor, "B N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B N"]:
        """The mean of the heads, or the head shown."""
        return shown_weights(extra["heads"], self.shown)
