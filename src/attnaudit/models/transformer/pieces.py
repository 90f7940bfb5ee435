"""Between words and the pieces that a transformer reads: weights summed, and split again."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.models.transformer.heads import fitted_heads
from attnaudit.models.transformer.reading import Layout


def owner_of(layout: Layout) -> Int[Tensor, "B T"]:
    """The position of each piece, counted from 1; 0 for padding."""
    return torch.where(layout.real, layout.owner + 1, 0)


def to_positions(values: Float[Tensor, "B T"], layout: Layout, length: int) -> Float[Tensor, "B L"]:
    """Values of pieces summed to positions."""
    total = values.new_zeros(len(values), length + 1)
    return total.scatter_add(1, owner_of(layout), values * layout.real)[:, 1:]


def rows_of_heads(
    weights: Float[Tensor, "B K L"],
    own: Float[Tensor, "B L"],
    heads: Float[Tensor, "B S T"],
    owner: Int[Tensor, "B T"],
    sinks: Bool[Tensor, "B L"],
) -> Float[Tensor, "B K S T"]:
    """Rows of the heads whose mean over pieces is what was asked of words and markers.

    Args:
        weights: `K` alternatives, of words and markers.
        own: The model's own, of words and markers; its mass is kept.
        heads: The model's own rows of the heads, piece by piece.
        owner: The position of each piece, counted from 1; 0 for padding.
        sinks: The markers, which keep their weight head by head.
    """
    mean = heads.mean(1)
    size, count = weights.shape[:2]
    tiny = torch.finfo(own.dtype).tiny
    padded = torch.cat([own.new_zeros(size, 1), own], 1)
    pieces = torch.zeros_like(padded).scatter_add(1, owner, torch.ones_like(mean))
    whole = padded.gather(1, owner)
    even = 1 / pieces.gather(1, owner).clamp(min=1)
    # a word's weight is split over its pieces as the model did
    share = torch.where(whole > 0, mean / whole.clamp(min=tiny), even) * (owner > 0)
    asked = torch.cat([weights.new_zeros(size, count, 1), weights], 2)
    index = owner.unsqueeze(1).expand(-1, count, -1)
    target = asked.gather(2, index) * share.unsqueeze(1)
    # where rows do not sum to 1 (learned sinks), what is missing stays missing
    target = target * own.sum(1).view(-1, 1, 1)
    if heads.shape[1] == 1:
        return target.unsqueeze(2)
    fixed = torch.cat([torch.ones_like(sinks[:, :1]), sinks], 1).gather(1, owner)
    # markers keep their weight head by head; what is left is fitted over the words
    held = (heads * fixed.unsqueeze(1)).unsqueeze(1)
    on_markers = (target * fixed.unsqueeze(1)).sum(-1, keepdim=True)
    own_markers = (mean * fixed).sum(-1).view(-1, 1, 1)
    kept = torch.where(own_markers > 0, on_markers / own_markers.clamp(min=tiny), 1.0)
    free = ~fixed.unsqueeze(1)
    return fitted_heads(heads * free, target * free) + held * kept.unsqueeze(-1)
