"""Agreement of the k largest units of two scores: overlap and Fagin's distance."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.errors import SettingsError
from attnaudit.measures.masks import check_mask, finite_rows


def units_to_take(lengths: Int[Tensor, " B"], k: int | float) -> Int[Tensor, " B"]:
    """How many units "the top k" means per instance.

    Args:
        lengths: Numbers of units `(B,)`.
        k: A number of units (int), or a share of them (float, 0 < k ≤ 1), rounded up.

    Returns:
        `(B,)`: at least 1 and at most the length; 0 for an instance without units.

    Raises:
        SettingsError: `k` is an int below 1 or a float outside (0, 1].

    Example:
        >>> units_to_take(torch.tensor([4, 30, 0]), 0.1).tolist()
        [1, 3, 0]
        >>> units_to_take(torch.tensor([4, 30, 0]), 5).tolist()
        [4, 5, 0]
    """
    if isinstance(k, int):
        if k < 1:
            raise SettingsError(f"k is {k}, but at least 1 unit must be taken")
        return lengths.clamp(max=k)
    if not 0 < k <= 1:
        raise SettingsError(
            f"k is {k}, but a share of the units must lie in (0, 1]; give an int for a number"
        )
    # 0.1 · 30 is a little more than 3 in floating point; that must not take a fourth unit.
    share = torch.ceil(lengths.to(torch.float64) * k - 1e-9).long()
    return torch.minimum(share.clamp(min=1), lengths)


def top_shares(
    x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], take: Int[Tensor, " B"]
) -> Float[Tensor, "B T"]:
    """The probability of each unit to be among the top `take` when ties are broken at random.

    Args:
        x: Finite scores `(B, T)`.
        mask: True on real units.
        take: How many units to take per instance `(B,)`.

    Returns:
        `(B, T)` float64: 1 for units above the boundary value, 0 below it, and between them for
        the units that share it. Sums to `take`.

    Example:
        >>> x = torch.tensor([[3.0, 1.0, 1.0, 0.0]])
        >>> top_shares(x, torch.ones(1, 4, dtype=bool), torch.tensor([2])).tolist()
        [[1.0, 0.5, 0.5, 0.0]]
    """
    if not mask.shape[1]:
        return torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
    filled = x.masked_fill(~mask, -math.inf)
    ordered = filled.sort(dim=-1, descending=True).values
    boundary = ordered.gather(-1, (take - 1).clamp(min=0).unsqueeze(-1))
    above = (filled > boundary) & mask
    tied = (filled == boundary) & mask
    left = (take - above.sum(-1)).to(torch.float64)
    share = left / tied.sum(-1).clamp(min=1)
    return above.to(torch.float64) + tied * share.unsqueeze(-1)


def top_k_overlap(
    x: Float[Tensor, "B T"], y: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], k: int | float
) -> Float[Tensor, " B"]:
    """The share of the top-k units of `x` that are top-k units of `y`.

    Ties at the boundary count with the overlap that independent random tie breaking in `x` and
    in `y` gives on average, so a constant score has the overlap of chance.

    Args:
        x: Scores `(B, T)`; larger is more important.
        y: Scores `(B, T)`.
        mask: True on real units.
        k: A number of units (int), or a share of them (float, 0 < k ≤ 1), rounded up; never more
            than there are.

    Returns:
        `(B,)` float64 in [0, 1]; NaN without units or with a value that is not finite.

    Raises:
        DataError: The shapes differ, or the mask is not bool.
        SettingsError: `k` is an int below 1 or a float outside (0, 1].

    Example:
        >>> x = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
        >>> y = torch.tensor([[4.0, 1.0, 2.0, 3.0]])
        >>> top_k_overlap(x, y, torch.ones(1, 4, dtype=bool), 2).tolist()
        [0.5]
    """
    check_mask(mask, x=x, y=y)
    take = units_to_take(mask.sum(-1), k)
    common = (top_shares(x, mask, take) * top_shares(y, mask, take)).sum(-1)
    defined = (take > 0) & finite_rows(mask, x, y)
    return (common / take).masked_fill(~defined, math.nan)


def expected_top_k_overlap(lengths: Int[Tensor, " B"], k: int | float) -> Float[Tensor, " B"]:
    """The overlap to expect of independent scores: k/n, the mean of the hypergeometric law.

    Args:
        lengths: Numbers of units `(B,)`.
        k: As in `top_k_overlap`.

    Returns:
        `(B,)` float64 in (0, 1]; NaN without units.

    Raises:
        SettingsError: `k` is an int below 1 or a float outside (0, 1].

    Example:
        >>> expected_top_k_overlap(torch.tensor([10, 3]), 5).tolist()
        [0.5, 1.0]
    """
    n = lengths.to(torch.float64)
    return units_to_take(lengths, k) / torch.where(n > 0, n, math.nan)


def top_k_kendall_distance(
    x: Float[Tensor, "B T"],
    y: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    k: int | float,
    *,
    penalty: float = 0.5,
    form: Literal["jain2019", "fagin2003"] = "jain2019",
) -> Float[Tensor, " B"]:
    """Kendall distance between two top-k lists.

    Let A and B be the top k of `x` and of `y`, c the number of units in both, and d the number of
    pairs of a common unit and a unit in only one list that this list ranks higher.

    * `jain2019`, as computed for Jain and Wallace (2019): ((½ − τ_b/2)·c² + d + 2p·C(k−c, 2)) /
      |A ∪ B|², with τ_b over the common units and 0 for its term where it is undefined. Pairs of
      one unit only in A and one only in B do not count, so lists without a common unit are at a
      distance of (k−1)/(8k) for p = ½.
    * `fagin2003`, K^(p) of Fagin, Kumar and Sivakumar (2003), section 3.1: pairs in opposite
      order, plus d, plus (k−c)² pairs that each list has one of, plus 2p·C(k−c, 2), divided by
      the largest possible value k² + p·k(k−1).

    Ties are broken by position: the earlier unit ranks higher. Common units that are tied count
    through τ_b in the first form, and as no disagreement in the second.

    Args:
        x: Scores `(B, T)`; larger is more important.
        y: Scores `(B, T)`.
        mask: True on real units.
        k: A number of units (int), or a share of them (float, 0 < k ≤ 1), rounded up; never more
            than there are.
        penalty: p in [0, 1], the cost of a pair that only one of the lists orders.
        form: Which of the two.

    Returns:
        `(B,)` float64 in [0, 1], 0 for equal lists; NaN without units or with a value that is not
        finite.

    Raises:
        DataError: The shapes differ, or the mask is not bool.
        SettingsError: `k`, `penalty` or `form` is out of range.

    Example:
        >>> x = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
        >>> everything = torch.ones(1, 4, dtype=bool)
        >>> top_k_kendall_distance(x, -x, everything, 2, form="fagin2003").tolist()
        [1.0]
    """
    check_mask(mask, x=x, y=y)
    if not 0 <= penalty <= 1:
        raise SettingsError(f"penalty is {penalty}, but must lie in [0, 1]")
    if form not in ("jain2019", "fagin2003"):
        raise SettingsError(f"form is {form!r}; choose 'jain2019' or 'fagin2003'")
    take = units_to_take(mask.sum(-1), k)
    defined = (take > 0) & finite_rows(mask, x, y)
    x, y = (v.to(torch.float64).where(mask & defined.unsqueeze(-1), 0.0) for v in (x, y))
    in_x, in_y = _top_set(x, mask, take), _top_set(y, mask, take)
    kept = int(in_x.sum(-1).max()) * 2 if mask.numel() else 0
    # Only members of a list matter: bring them to the front and drop the rest.
    member = torch.argsort((~(in_x | in_y)).to(torch.uint8), dim=-1, stable=True)[:, :kept]
    x, y, in_x, in_y = (v.gather(-1, member) for v in (x, y, in_x, in_y))
    both = in_x & in_y
    pairs = both.unsqueeze(-1) & both.unsqueeze(-2)
    sign_x = (x.unsqueeze(-1) - x.unsqueeze(-2)).sign() * pairs
    sign_y = (y.unsqueeze(-1) - y.unsqueeze(-2)).sign() * pairs
    # A common unit i and a unit j in one list only: the other list puts i first.
    only_x, only_y = (in_x & ~in_y).unsqueeze(-2), (in_y & ~in_x).unsqueeze(-2)
    common = both.unsqueeze(-1)
    against = (common & only_x & (x.unsqueeze(-1) < x.unsqueeze(-2))).sum((-1, -2))
    against = against + (common & only_y & (y.unsqueeze(-1) < y.unsqueeze(-2))).sum((-1, -2))
    shared = both.sum(-1).to(torch.float64)
    size = take.to(torch.float64)
    apart = size - shared
    missing = penalty * apart * (apart - 1)
    if form == "jain2019":
        free = (sign_x * sign_x).sum((-1, -2)) * (sign_y * sign_y).sum((-1, -2))
        tau = (sign_x * sign_y).sum((-1, -2)) / free.sqrt()
        discord = ((0.5 - tau / 2) * shared * shared).nan_to_num(0.0)
        distance = (discord + against + missing) / (shared + 2 * apart) ** 2
    else:
        discord = ((sign_x * sign_y) < 0).sum((-1, -2)) / 2
        largest = size * size + penalty * size * (size - 1)
        distance = (discord + against + apart * apart + missing) / largest
    return distance.masked_fill(~defined, math.nan)


def _top_set(x: Tensor, mask: Tensor, take: Tensor) -> Tensor:
    """The `take` largest units, `(B, T)` bool; of tied units the earlier ones."""
    open_x = x.masked_fill(~mask, -math.inf)
    order = torch.argsort(open_x, dim=-1, descending=True, stable=True)
    chosen = torch.arange(mask.shape[1], device=mask.device) < take.unsqueeze(-1)
    return torch.zeros_like(mask).scatter_(-1, order, chosen) & mask
