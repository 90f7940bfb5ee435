"""Pools with attention between instances, or with a learned query, as transformers have."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attnaudit.errors import SettingsError
from attnaudit.nets.bags.pooling import (
    HeadsPool,
    PoolSizes,
    head_entries,
    weights_of_heads,
)
from attnaudit.nets.text.attentions import masked_softmax

QUERIES_AT_ONCE = 512
"""Rows of an attention matrix made at once, so that memory grows with N and not with N²."""


class SelfAttention(nn.Module):
    """Scaled dot-product attention of instances to each other, with an output layer."""

    def __init__(self, width: int, heads: int = 1) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self, hidden: Float[Tensor, "B N H"], mask: Bool[Tensor, "B N"]
    ) -> Float[Tensor, "B N H"]:
        """What each instance gathers; rows of padding are to be ignored."""
        queries = by_head(self.query(hidden), self.heads)
        keys = by_head(self.key(hidden), self.heads)
        values = by_head(self.value(hidden), self.heads)
        parts = []
        for part in torch.split(queries, QUERIES_AT_ONCE, dim=2):
            energies = part @ keys.transpose(2, 3) / math.sqrt(part.shape[-1])
            parts.append(masked_softmax(energies, mask[:, None, None]) @ values)
        gathered: Tensor = self.output(torch.cat(parts, dim=2).transpose(1, 2).flatten(2))
        return gathered


class PmaPool(HeadsPool):
    """Pooling by multi-head attention of the Set Transformer, with one seed (Lee et al. 2019).

    `z_n = ReLU(F h_n)`; head `a` weighs its part of `V z_n` by the softmax of
    `(Q s)_a · (K z_n)_a / √d`; with `o = Q s + [heads]`, the pooled vector is
    `o + ReLU(O o)`. There is no layer normalisation, as in the authors' code by default.
    """

    name = "pma"
    description = "a learned query with several heads (Set Transformer)"

    def __init__(self, sizes: PoolSizes) -> None:
        super().__init__(sizes)
        width = sizes.width
        check_heads(width, sizes.heads)
        self.seed = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, width)))
        self.rows = nn.Linear(width, width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def prepare(
        self, hidden: Float[Tensor, "B N H"], mask: Bool[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B N H"], dict[str, Tensor]]:
        """Values of the instances, and the weights of the heads."""
        rows = torch.relu(self.rows(hidden))
        keys = by_head(self.key(rows), self.heads)
        query = by_head(self.query(self.seed).unsqueeze(0), self.heads)
        energies = (keys @ query.transpose(2, 3)).squeeze(-1) / math.sqrt(keys.shape[-1])
        return closed(self.value(rows), mask), head_entries(energies, mask)

    def pool(
        self,
        hidden: Float[Tensor, "B N H"],
        weights: Float[Tensor, "B K N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B K H"]:
        """The query's state after it has read the values."""
        read = pooled_by_head(weights_of_heads(weights, extra, self.shown), hidden)
        state = self.query(self.seed) + read.flatten(2)
        pooled: Tensor = state + torch.relu(self.output(state))
        return pooled


class TransMilPool(HeadsPool):
    """Two layers of self-attention with a class token, after TransMIL (Shao et al. 2021).

    Instances pass `ReLU(F h)`; each layer is `x + attention(LayerNorm(x))`; the pooled vector is
    the layer-normalised class token. Attention is exact here, and not Nyström's approximation,
    and there is no encoding of positions, since a bag has no order. The weights shown are those
    of the class token in the last layer, without its weight on itself, which stays as it is.
    """

    name = "transmil"
    description = "a class token after self-attention, as in TransMIL, without positions"

    def __init__(self, sizes: PoolSizes) -> None:
        super().__init__(sizes)
        self.rows = nn.Linear(sizes.width, sizes.width)
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, sizes.width))
        self.first_norm, self.last_norm = nn.LayerNorm(sizes.width), nn.LayerNorm(sizes.width)
        self.output_norm = nn.LayerNorm(sizes.width)
        self.first = SelfAttention(sizes.width, sizes.heads)
        self.last = SelfAttention(sizes.width, sizes.heads)

    def prepare(
        self, hidden: Float[Tensor, "B N H"], mask: Bool[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B N H"], dict[str, Tensor]]:
        """Values of the instances in the last layer, and what the class token brings itself."""
        rows = torch.relu(self.rows(hidden))
        states = torch.cat([self.token.expand(len(rows), -1, -1), rows], dim=1)
        some = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        states = states + self.first(self.first_norm(states), some)
        normed, last = self.last_norm(states), self.last
        query = by_head(last.query(normed[:, :1]), self.heads)
        keys = by_head(last.key(normed), self.heads)
        energies = (keys @ query.transpose(2, 3)).squeeze(-1) / math.sqrt(keys.shape[-1])
        itself = masked_softmax(energies, some.unsqueeze(1))[:, :, :1]
        values = last.value(normed)
        brought = itself.unsqueeze(-1) * by_head(values[:, :1], self.heads)
        extra = {
            "token": states[:, 0],
            "itself": itself.squeeze(-1),
            "brought": brought.flatten(1),
            **head_entries(energies[:, :, 1:], mask),
        }
        return closed(values[:, 1:], mask), extra

    def pool(
        self,
        hidden: Float[Tensor, "B N H"],
        weights: Float[Tensor, "B K N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B K H"]:
        """The class token after the last layer."""
        read = pooled_by_head(weights_of_heads(weights, extra, self.shown), hidden)
        read = read * (1 - extra["itself"])[:, None, :, None]
        gathered = extra["brought"].unsqueeze(1) + read.flatten(2)
        token: Tensor = extra["token"].unsqueeze(1) + self.last.output(gathered)
        pooled: Tensor = self.output_norm(token)
        return pooled


def by_head(rows: Float[Tensor, "B N H"], heads: int) -> Float[Tensor, "B A N D"]:
    """Rows cut into heads."""
    return rows.reshape(*rows.shape[:-1], heads, -1).transpose(1, 2)


def pooled_by_head(
    weights: Float[Tensor, "B K A N"], values: Float[Tensor, "B N H"]
) -> Float[Tensor, "B K A D"]:
    """Each head's weighted sum of its part of the values."""
    parts = by_head(values, weights.shape[2])
    return (weights.transpose(1, 2) @ parts).transpose(1, 2)


def closed(values: Float[Tensor, "B N H"], mask: Bool[Tensor, "B N"]) -> Float[Tensor, "B N H"]:
    """The values, 0 on padding."""
    return values.masked_fill(~mask.unsqueeze(-1), 0.0)


def check_heads(width: int, heads: int) -> None:
    """Refuse heads that do not divide the width.

    Raises:
        SettingsError: They do not.
    """
    if width % heads:
        raise SettingsError(
            f"{heads} heads do not divide the {width} numbers of an encoded instance; choose "
            "another number of heads, or another hidden size"
        )
