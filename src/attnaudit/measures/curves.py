"""Erasure curves: which units go first, how many go at a fraction, and the mean over fractions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.errors import DataError
from attnaudit.measures.masks import check_mask
from attnaudit.measures.top_k import units_to_take


def removal_order(scores: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """The place of each unit when the highest scores go first.

    Equal scores go from left to right, so the order needs no seed.

    Args:
        scores: `(B, T)`; larger is more important, infinities allowed.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B, T)` int64: 0 for the unit that goes first, up to n − 1; `T` off the units.

    Raises:
        DataError: The shapes differ, or the score of a unit is NaN.

    Example:
        >>> mask = torch.tensor([[True, True, True, False]])
        >>> removal_order(torch.tensor([[0.1, 0.7, 0.2, 9.0]]), mask).tolist()
        [[2, 0, 1, 4]]
    """
    check_mask(mask, scores=scores)
    broken = (scores.isnan() & mask).any(-1)
    if broken.any():
        row = int(broken.nonzero()[0, 0])
        raise DataError(
            f"scores hold NaN at a unit of instance {row} of the batch, so its units have no "
            "order; replace NaN by the score of an unimportant unit, or leave the instance out"
        )
    order = torch.argsort(scores, dim=-1, descending=True, stable=True)
    # A second, stable sort brings the units before the padding, whatever the padding holds.
    again = torch.argsort((~mask).gather(-1, order).to(torch.uint8), dim=-1, stable=True)
    order = order.gather(-1, again)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(-1, order, places)
    return ranks.masked_fill(~mask, mask.shape[1])


def selected(
    ranks: Int[Tensor, "B T"], fraction: float, mask: Bool[Tensor, "B T"]
) -> Bool[Tensor, "B T"]:
    """The units that go at a fraction: the first ⌈fraction · n⌉ of n, at least one.

    DeYoung et al. (2020), section 4.2, erase the top 1, 5, 10, 20 and 50 % this way.

    Args:
        ranks: `(B, T)`, from `removal_order`.
        fraction: Share of the units, 0 < fraction ≤ 1.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B, T)` bool.

    Raises:
        DataError: The shapes differ.
        SettingsError: `fraction` is outside (0, 1].

    Example:
        >>> mask = torch.ones(1, 4, dtype=torch.bool)
        >>> selected(torch.tensor([[3, 0, 1, 2]]), 0.5, mask).tolist()
        [[False, True, True, False]]
    """
    check_mask(mask, ranks=ranks)
    return (ranks < units_to_take(mask.sum(-1), float(fraction)).unsqueeze(-1)) & mask


def area_over_fractions(
    values: Float[Tensor, "B F"], fractions: Sequence[float]
) -> Float[Tensor, " B"]:
    """The mean of a curve over its fractions: ERASER's area over the perturbation curve (AOPC).

    Args:
        values: `(B, F)`, what was measured at each fraction, e.g. the fall in probability.
        fractions: The fractions, `F` of them.

    Returns:
        `(B,)`, in the unit of the values; NaN where one of them is.

    Raises:
        DataError: Not one value per fraction, or no fraction.

    Example:
        >>> values = torch.tensor([[0.25, 0.75]])
        >>> area_over_fractions(values, (0.1, 0.5)).tolist()
        [0.5]
    """
    if values.dim() != 2 or values.shape[1] != len(fractions) or not len(fractions):
        raise DataError(
            f"values have shape {tuple(values.shape)}, but there are {len(fractions)} fractions; "
            "give values (B, F) with one column per fraction, at least one"
        )
    return values.mean(-1)
