"""Orders as an assignment problem with one side condition, and its Lagrangian dual."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

DUAL_STEPS = 20
"""Assignments per instance; the dual is usually solved after four to eight."""

STARTS = 6
"""From so many orders per instance pairs are swapped."""

GAIN = 1e-12
"""A smaller gain in divergence is rounding."""

Array = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]


def divergence_terms(a: Float[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
    """`[r, i, t]`: the divergence's term where weight i stands on unit t."""
    p, q = a.unsqueeze(-1), a.unsqueeze(-2)
    entropy = torch.special.entr(p + q) - torch.special.entr(p) - torch.special.entr(q)
    terms: Tensor = 0.5 * (entropy + (p + q) * math.log(2))
    return terms


def dual_bound(terms: Array, a: Array, s: Array, high: float) -> tuple[list[Order], float]:
    """Minimises max_π Σ f − μ (Σ p s − high) over μ ≥ 0, which bounds every feasible order.

    As a function of μ this is an upper envelope of lines, one per order. The next μ is where the
    best line known on either side of `high` meet; when no order is above that point, it is the
    minimum.

    Returns:
        The last orders on both sides, and the bound.
    """
    gain, columns = np.outer(a, s), np.arange(len(a))
    above = _opposite(a)
    value = {True: float(terms[above, columns].sum()), False: 0.0}
    reach = {True: float(a[above] @ s), False: float(a @ s)}
    found, bound = [above], math.inf
    for _ in range(DUAL_STEPS):
        slope = (value[True] - value[False]) / max(reach[True] - reach[False], 1e-300)
        if not (0 <= slope < 1e12):
            break
        row, column = linear_sum_assignment(terms - slope * gain, maximize=True)
        order = np.empty_like(columns)
        order[column] = row
        worth, sum_ = float(terms[order, columns].sum()), float(a[order] @ s)
        level = worth - slope * (sum_ - high)
        bound = min(bound, level)
        side = sum_ > high
        if level <= value[side] - slope * (reach[side] - high) + GAIN:
            break
        value[side], reach[side] = worth, sum_
        found.append(order)
    return found[-(STARTS - 2) :], bound


def _opposite(a: Array) -> Order:
    up = np.argsort(a, kind="stable")
    order = np.empty_like(up)
    order[up] = up[::-1]
    return order
