"""Rank correlation for whole batches: Kendall's τ-b and Spearman's ρ, with their null.

Every function takes values `(B, T)` and a mask `(B, T)`; a unit's place does not matter, and what
stands outside the mask is never read. Overlap of the k largest units is in `top_k`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.measures.masks import check_mask, compact_index, finite_rows
from attnaudit.measures.top_k import (
    expected_top_k_overlap,
    top_k_kendall_distance,
    top_k_overlap,
)

__all__ = [
    "RankNull",
    "RankStatistic",
    "average_ranks",
    "expected_top_k_overlap",
    "kendall_null",
    "kendall_tau",
    "spearman",
    "top_k_kendall_distance",
    "top_k_overlap",
]

EXACT_LENGTH = 33
"""Without ties, τ has an exact p-value up to this length (SciPy's rule for `method="auto"`)."""

LONG = 600
"""Above this many units the O(T log T) routine of SciPy is faster than comparing all pairs."""

PAIRS_AT_ONCE = 1 << 18
"""How many pairs of units are compared in one step: bounds memory and stays in the cache."""


@dataclass(frozen=True)
class RankStatistic:
    """A rank correlation per instance.

    Attributes:
        value: `(B,)` float64 in [−1, 1], NaN where undefined.
        p_value: `(B,)` float64, two-sided, against independence; NaN where undefined.
        defined: `(B,)` bool, False for fewer than two units, for a constant vector and for a
            value that is not finite.
    """

    value: Float[Tensor, " B"]
    p_value: Float[Tensor, " B"]
    defined: Bool[Tensor, " B"]


class RankNull(NamedTuple):
    """What a rank correlation is where there is nothing to find.

    Attributes:
        mean: 0.
        sd: `(B,)` float64, the standard deviation given the length; NaN below two units.
    """

    mean: float
    sd: Float[Tensor, " B"]


def kendall_tau(
    x: Float[Tensor, "B T"], y: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> RankStatistic:
    """Kendall's τ-b per instance, with the p-values of `scipy.stats.kendalltau`.

    All pairs of units of a whole batch are compared at once. p-values follow SciPy's rule: exact
    without ties up to 33 units (and beyond, where at most one pair is out of order), otherwise the
    normal approximation with the variance corrected for ties. Jain and Wallace (2019), section
    4.1, correlate weights with gradients and with leave-one-out effects this way.

    Args:
        x: Values `(B, T)`, float32 or float64.
        y: Values `(B, T)`.
        mask: True on real units.

    Returns:
        Value, p-value and whether they are defined, per instance.

    Raises:
        DataError: The shapes differ, or the mask is not bool.

    Example:
        >>> x = torch.tensor([[1.0, 2.0, 3.0, 9.0], [5.0, 5.0, 5.0, 5.0]])
        >>> y = torch.tensor([[1.0, 3.0, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0]])
        >>> tau = kendall_tau(x, y, torch.tensor([[True, True, True, False], [True] * 4]))
        >>> [round(v, 4) for v in tau.value.tolist()], tau.defined.tolist()
        ([0.3333, nan], [True, False])
    """
    check_mask(mask, x=x, y=y)
    value = torch.full(mask.shape[:1], math.nan, dtype=torch.float64, device=mask.device)
    p_value = value.clone()
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    pair = torch.stack((x, y), 1).to(dtype)
    finite = finite_rows(mask, x, y)
    for rows, values, present in _groups(pair, mask):
        if present.shape[1] > LONG:
            value[rows], p_value[rows] = _one_by_one(values, present)
        else:
            value[rows], p_value[rows] = _all_pairs(values, present)
    value.masked_fill_(~finite, math.nan)
    p_value.masked_fill_(~finite, math.nan)
    return RankStatistic(value, p_value, ~value.isnan())


def kendall_null(lengths: Int[Tensor, " B"]) -> RankNull:
    """Mean and standard deviation of τ between independent rankings of n units without ties.

    sd = sqrt(2 (2n + 5) / (9 n (n − 1))): Kendall (1970), Rank Correlation Methods, chapter 5. A
    given |τ| says little for short instances: the sd is .35 at 6 units and .05 at 180.

    Args:
        lengths: Numbers of units `(B,)`.

    Returns:
        Mean 0 and the standard deviation per instance.

    Example:
        >>> [round(sd, 2) for sd in kendall_null(torch.tensor([6, 180])).sd.tolist()]
        [0.35, 0.05]
    """
    n = lengths.to(torch.float64)
    n = torch.where(n >= 2, n, math.nan)
    return RankNull(0.0, torch.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))


def average_ranks(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Ranks from 1 (smallest), with tied units sharing the mean of their ranks.

    Args:
        x: Values `(B, T)`.
        mask: True on real units.

    Returns:
        `(B, T)` float64; 0 off the units, NaN all over an instance with a NaN unit.

    Example:
        >>> average_ranks(torch.tensor([[3.0, 1.0, 3.0]]), torch.ones(1, 3, dtype=bool)).tolist()
        [[2.5, 1.0, 2.5]]
    """
    check_mask(mask, x=x)
    if not mask.numel():
        return torch.zeros_like(x, dtype=torch.float64)
    ordered, order = torch.sort(x, dim=-1)
    # A second, stable sort brings the units before the padding, whatever the padding holds.
    real, again = torch.sort(mask.gather(-1, order), dim=-1, descending=True, stable=True)
    order, ordered = order.gather(-1, again), ordered.gather(-1, again)
    position = torch.arange(mask.shape[1], device=mask.device).expand_as(order)
    # Ties are runs of equal values: a rank is the mean of the first and last place of its run.
    change = (ordered[:, 1:] != ordered[:, :-1]) | (real[:, 1:] != real[:, :-1])
    edge = torch.ones_like(mask[:, :1])
    first = position.where(torch.cat((edge, change), -1), 0).cummax(-1).values
    last = position.where(torch.cat((change, edge), -1), mask.shape[1]).flip(-1)
    last = last.cummin(-1).values.flip(-1)
    ranks = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
    ranks.scatter_(-1, order, (first + last).to(torch.float64) / 2 + 1)
    ranks.masked_fill_(~mask, 0.0)
    return ranks.masked_fill_((x.isnan() & mask).any(-1, keepdim=True), math.nan)


def spearman(
    x: Float[Tensor, "B T"], y: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """Spearman's ρ per instance: Pearson's correlation of average ranks.

    Args:
        x: Values `(B, T)`.
        y: Values `(B, T)`.
        mask: True on real units.

    Returns:
        `(B,)` float64 in [−1, 1]; NaN for fewer than two units, for a constant vector and for a
        value that is not finite.

    Raises:
        DataError: The shapes differ, or the mask is not bool.

    Example:
        >>> x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        >>> round(spearman(x, x.exp(), torch.ones(1, 4, dtype=bool)).item(), 6)
        1.0
    """
    check_mask(mask, x=x, y=y)
    # Ranks have the mean (n + 1) / 2 with or without ties, so centring is exact.
    middle = ((mask.sum(-1) + 1).to(torch.float64) / 2).unsqueeze(-1)
    a = (average_ranks(x, mask) - middle).masked_fill(~mask, 0.0)
    b = (average_ranks(y, mask) - middle).masked_fill(~mask, 0.0)
    scale = torch.sqrt((a * a).sum(-1)) * torch.sqrt((b * b).sum(-1))
    defined = (scale > 0) & finite_rows(mask, x, y)
    return ((a * b).sum(-1) / scale).clamp(-1.0, 1.0).masked_fill(~defined, math.nan)


Group = tuple[Tensor | slice, Tensor, Tensor]


def _groups(pair: Float[Tensor, "B 2 T"], mask: Bool[Tensor, "B T"]) -> Iterator[Group]:
    """Rows of similar length with their values and mask, few enough to compare all pairs."""
    count, width = mask.shape
    if not mask.numel():
        return
    lengths = mask.sum(-1)
    if width > LONG or count * width * width > 2 * int((lengths * lengths).sum()):
        # Mostly padding, or long: units to the front, longest instances first.
        index, present = compact_index(mask)
        rows = torch.argsort(lengths, descending=True, stable=True)
        pair = pair.gather(-1, index.unsqueeze(1).expand(-1, 2, -1))[rows]
        present, widths = present[rows], lengths[rows].tolist()
        start = 0
        while start < count and (width := widths[start]) > 1:
            stop = start + (1 if width > LONG else max(1, PAIRS_AT_ONCE // (2 * width * width)))
            yield rows[start:stop], pair[start:stop, :, :width], present[start:stop, :width]
            start = stop
        return
    step = max(1, PAIRS_AT_ONCE // (2 * width * width))
    for start in range(0, count, step):
        part = slice(start, start + step)
        yield part, pair[part], mask[part]


def _all_pairs(pair: Float[Tensor, "B 2 T"], mask: Bool[Tensor, "B T"]) -> tuple[Tensor, Tensor]:
    """τ-b and its p-value from the signs of all differences, O(T²) per instance."""
    rows, width = mask.shape
    real = mask.to(pair.dtype)
    pair = pair.masked_fill(~mask.unsqueeze(1), 0.0)
    sign = (pair.unsqueeze(-1) - pair.unsqueeze(-2)).sign_()
    sign *= (real.unsqueeze(-1) * real.unsqueeze(-2)).unsqueeze(1)
    flat = sign.view(rows, 2, width * width)
    # Every pair is there twice. The Gram matrix holds concordant − discordant pairs, and on its
    # diagonal the pairs without a tie in x and in y: whole numbers, exact in float32.
    gram = (torch.bmm(flat, flat.mT) / 2).to(torch.float64)
    balance, free_x, free_y = gram[:, 0, 1], gram[:, 0, 0], gram[:, 1, 1]
    n = real.sum(-1).to(torch.float64)
    total = n * (n - 1) / 2
    # A constant vector gives 0 / 0, which is the NaN that says "undefined".
    tau = (balance / free_x.sqrt() / free_y.sqrt()).clamp(-1.0, 1.0)
    untied = (free_x == total) & (free_y == total)
    swapped = ((total - balance.abs()) / 2).where(untied, 0.0)
    exact = untied & ((n <= EXACT_LENGTH) | (swapped <= 1))
    p_value = _exact_p(n, swapped, exact)
    rest = ((~exact) & ~tau.isnan()).nonzero().squeeze(-1)
    if len(rest):
        # How many other units share a unit's value, from which the tie corrections follow.
        equal = (n.view(-1, 1, 1) - 1 - sign.abs().sum(-1))[rest] * mask[rest].unsqueeze(1)
        variance = _variance(n[rest], total[rest, None] - gram[rest].diagonal(0, 1, 2), equal)
        p_value[rest] = torch.erfc(balance[rest].abs() / torch.sqrt(2 * variance))
    return tau, p_value.masked_fill_(tau.isnan(), math.nan)


def _variance(n: Tensor, ties: Tensor, equal: Tensor) -> Tensor:
    """Variance of concordant − discordant pairs under independence, given the ties.

    Kendall (1970), chapter 4. With t the sizes of the runs of equal values, the sums over runs of
    t(t−1)(2t+5) and t(t−1)(t−2) are sums over units of e(2e+7) and e(e−1), e = t − 1.
    """
    tie_1 = (equal * (2 * equal + 7)).sum(-1)
    tie_0 = (equal * (equal - 1)).sum(-1)
    pairs = n * (n - 1)
    three = torch.where(n > 2, n - 2, 1.0)  # with two units a tie is a constant vector
    return (
        (pairs * (2 * n + 5) - tie_1.sum(-1)) / 18
        + 2 * ties.prod(-1) / pairs
        + tie_0.prod(-1) / (9 * pairs * three)
    )


def _exact_p(n: Tensor, swapped: Tensor, exact: Tensor) -> Tensor:
    """Two-sided p-values 2 P(at most `swapped` discordant pairs), looked up per length."""
    table = _exact_table().to(n.device)
    fewer = torch.minimum(swapped, n * (n - 1) / 2 - swapped)
    row = n.clamp(max=EXACT_LENGTH).long()
    p_value = table[row, fewer.clamp(0, table.shape[1] - 1).long()]
    beyond = exact & (n > EXACT_LENGTH)
    if beyond.any():
        # P(0 swaps) = 1/n! and P(at most 1) = 1/(n−1)!.
        p_value = torch.where(beyond, 2 * torch.exp(-torch.lgamma(n + 1 - fewer)), p_value)
    return p_value


@functools.cache
def _exact_table() -> Float[Tensor, "N C"]:
    """p-values per length and number of discordant pairs, from Mahonian numbers in whole numbers.

    The number of orders of n units with c discordant pairs has the generating function
    Π_{j<n} (1 + z + … + z^j): multiplying by one more factor adds up the last j + 1 entries.
    """
    widest = EXACT_LENGTH * (EXACT_LENGTH - 1) // 4 + 1
    table = torch.ones(EXACT_LENGTH + 1, widest, dtype=torch.float64)
    counts = [1]
    for n in range(2, EXACT_LENGTH + 1):
        size = n * (n - 1) // 2 + 1
        padded = counts + [0] * (size - len(counts))
        sums = list(np.cumsum(np.array(padded, dtype=object)))
        counts = [s - (sums[c - n] if c >= n else 0) for c, s in enumerate(sums)]
        below = np.cumsum(np.array(counts[: (size - 1) // 2 + 1], dtype=object))
        p = [min(1.0, 2 * int(s) / math.factorial(n)) for s in below]
        table[n, : len(p)] = torch.tensor(p, dtype=torch.float64)
    return table


def _one_by_one(pair: Float[Tensor, "1 2 T"], mask: Bool[Tensor, "1 T"]) -> tuple[Tensor, Tensor]:
    """SciPy's O(T log T) routine for one long instance."""
    x, y = pair[0][:, mask[0]].cpu().numpy()
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        nothing = torch.full((1,), math.nan, dtype=torch.float64)
        return nothing, nothing
    found = scipy.stats.kendalltau(x, y)
    return (
        torch.tensor([found.statistic], dtype=torch.float64),
        torch.tensor([found.pvalue], dtype=torch.float64),
    )
