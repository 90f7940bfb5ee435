"""Erasure curves: which units go first, how many, and the mean over fractions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def removal_order(scores: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """The place of each unit when the highest scores go first, from 0; `T` off the mask.

    Equal scores go from left to right.

    Example:
        >>> mask = torch.tensor([[True, True, True, False]])
        >>> removal_order(torch.tensor([[0.1, 0.7, 0.2, 9.0]]), mask).tolist()
        [[2, 0, 1, 4]]
    """
    open_scores = scores.masked_fill(~mask, -torch.inf)
    order = torch.argsort(open_scores, dim=1, descending=True, stable=True)
    places = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(1, order, places)
    return ranks.masked_fill(~mask, scores.shape[1])


def selected(
    ranks: Int[Tensor, "B T"], fraction: float, mask: Bool[Tensor, "B T"]
) -> Bool[Tensor, "B T"]:
    """The first `ceil(fraction · n)` of the `n` units, at least one (DeYoung et al. 2020).

    Example:
        >>> mask = torch.ones(1, 4, dtype=torch.bool)
        >>> selected(torch.tensor([[3, 0, 1, 2]]), 0.5, mask).tolist()
        [[False, True, True, False]]
    """
    # rounding first: 0.1 * 30 is a little over 3 in floating point
    counts = (mask.sum(1).double() * fraction).mul(1e6).round().div(1e6).ceil().clamp(min=1)
    return (ranks < counts.unsqueeze(1)) & mask


def area_over_fractions(
    values: Float[Tensor, "B F"], fractions: Sequence[float]
) -> Float[Tensor, "B"]:
    """The mean over the fractions erased: ERASER's area over the perturbation curve.

    Raises:
        ValueError: Not one value per fraction.

    Example:
        >>> area_over_fractions(torch.tensor([[0.1, 0.3]]), (0.1, 0.5)).tolist()
        [0.20000000298023224]
    """
    if values.shape[1] != len(fractions):
        raise ValueError(
            f"values has shape {tuple(values.shape)}, but there are {len(fractions)} fractions"
        )
    return values.mean(1)
