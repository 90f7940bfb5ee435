"""The best adversary that only moves the given weights to other units.

Any two-unit distribution is an easy, unnatural adversary; one that keeps the weights, and with
them the entropy, is neither. For `ŷ = σ(b + Σ α_t s_t)` the question is an assignment problem with
one side condition: solved by its Lagrangian dual, which also certifies an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, logit
from torch import Tensor

from attnaudit.measures.divergence import jensen_shannon

ASSIGNMENT_LIMIT = 200
BISECTIONS = 12
SWAPS_AT_MOST = 200
GAIN = 1e-12


@dataclass(frozen=True)
class PermutationAdversary:
    """The best order found, per instance.

    Attributes:
        jsd: `(B,)`, its divergence from the weights; 0 where no other order is feasible.
        weights: `(B, T)`, the weights in that order.
        output_change: `(B,)`, `|σ' - σ|`, at most ε.
        upper: `(B,)`, no feasible order has a larger divergence (Lagrangian bound).
        attainable: `(B,)`, the largest divergence of any order, feasible or not.
    """

    jsd: Float[Tensor, "B"]
    weights: Float[Tensor, "B T"]
    output_change: Float[Tensor, "B"]
    upper: Float[Tensor, "B"]
    attainable: Float[Tensor, "B"]


def reversed_order(
    weights: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """The weights with the largest on the unit of the smallest, and so on.

    Of all orders this one diverges most from the weights: the terms of the divergence have a
    negative mixed derivative `-1 / (2 (p + a))`, so opposite orders maximise their sum.

    Example:
        >>> reversed_order(torch.tensor([[0.7, 0.1, 0.2]]), torch.ones(1, 3, dtype=torch.bool))
        tensor([[0.1000, 0.7000, 0.2000]])
    """
    up = torch.argsort(weights.masked_fill(~mask, torch.inf), dim=1, stable=True)
    down = torch.argsort(
        weights.masked_fill(~mask, -torch.inf), dim=1, descending=True, stable=True
    )
    result = torch.empty_like(weights).scatter_(1, up, weights.gather(1, down))
    return torch.where(mask, result, torch.zeros_like(result))


def permutation_adversary(
    scores: Float[Tensor, "B T"],
    bias: Tensor | float,
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    epsilon: float,
) -> PermutationAdversary:
    """Search the orders of the weights that keep the output within ε.

    Args:
        scores: `(B, T)`, what a unit adds to the log-odds per unit of weight.
        bias: `(B,)` or a number.
        weights: `(B, T)`, distributions over the mask.
        mask: `(B, T)`, True at units.
        epsilon: The largest allowed change of the probability, in [0, 1].

    Returns:
        The best order found, with a certified upper bound. Up to 200 units the bound is the
        Lagrangian dual; beyond, only what any order can attain.
    """
    scores, weights = scores.double(), weights.double()
    offset = torch.as_tensor(bias, dtype=torch.float64, device=scores.device).expand(len(scores))
    opposite = reversed_order(weights, mask)
    attainable = jensen_shannon(opposite, weights)
    base = torch.sigmoid(offset + (weights * scores).sum(1))
    moved = torch.sigmoid(offset + (opposite * scores).sum(1))
    feasible = (moved - base).abs() <= epsilon

    best, upper = weights.clone(), attainable.clone()
    best[feasible] = opposite[feasible]
    for row in (~feasible).nonzero().squeeze(1).tolist():
        where = mask[row]
        found, bound = _ordered(
            weights[row, where].cpu().numpy(), scores[row, where].cpu().numpy(),
            float(offset[row]), float(base[row]), epsilon,
        )  # fmt: skip
        best[row, where] = torch.as_tensor(found, device=best.device)
        upper[row] = min(float(attainable[row]), bound)
    change = (torch.sigmoid(offset + (best * scores).sum(1)) - base).abs()
    jsd = jensen_shannon(best, weights)
    return PermutationAdversary(jsd, best, change, torch.maximum(upper, jsd), attainable)


def _terms(weights: np.ndarray) -> np.ndarray:
    """`F[i, j]`: the divergence's term where weight `i` stands on the unit of weight `j`."""
    p, a = weights[:, None], weights[None, :]
    total = np.where(p + a > 0, p + a, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, p * np.log(2 * p / total), 0.0)
        right = np.where(a > 0, a * np.log(2 * a / total), 0.0)
    return np.asarray(0.5 * (left + right))


def _ordered(
    weights: np.ndarray, scores: np.ndarray, bias: float, base: float, epsilon: float
) -> tuple[np.ndarray, float]:
    """The best order of one instance, and an upper bound on its divergence."""
    low = logit(base - epsilon) - bias if base > epsilon else -np.inf
    high = logit(base + epsilon) - bias if base + epsilon < 1 else np.inf
    terms = _terms(weights)
    starts = [np.arange(len(weights))]
    bound = np.inf
    if len(weights) <= ASSIGNMENT_LIMIT:
        found, bound = _dual(terms, weights, scores, low, high)
        starts += found
    else:
        starts.append(_opposite(weights))
    candidates = [_swapped(start, terms, weights, scores, low, high) for start in starts]
    columns = np.arange(len(weights))
    best = starts[0]
    for order in candidates:
        # the slab is judged on the probabilities themselves, where rounding cannot hide
        inside = abs(expit(bias + weights[order] @ scores) - base) <= epsilon
        if inside and terms[order, columns].sum() > terms[best, columns].sum() + GAIN:
            best = order
    return weights[best], float(bound)


def _opposite(weights: np.ndarray) -> np.ndarray:
    up = np.argsort(weights, kind="stable")
    order = np.empty_like(up)
    order[up] = up[::-1]
    return order


def _dual(
    terms: np.ndarray, weights: np.ndarray, scores: np.ndarray, low: float, high: float
) -> tuple[list[np.ndarray], float]:
    """Bisect the multiplier of the violated side; the orders on both sides, and the least dual."""
    gain = weights[:, None] * scores[None, :]

    def solve(multiplier: float, edge: float) -> tuple[np.ndarray, float, float]:
        row, column = linear_sum_assignment(terms - multiplier * gain, maximize=True)
        order = np.empty_like(row)
        order[column] = row
        reach = float(weights[order] @ scores)
        value = float(terms[order, np.arange(len(order))].sum())
        return order, reach, value - multiplier * (reach - edge)

    order, reach, bound = solve(0.0, 0.0)
    above = reach > high
    edge, sign = (high, 1.0) if above else (low, -1.0)
    orders = [order]
    near, far = 0.0, 1.0 / max(float(np.ptp(scores)), 1e-12)
    for _ in range(60):
        order, reach, dual = solve(sign * far, edge)
        bound = min(bound, dual)
        orders.append(order)
        if (reach <= high) if above else (reach >= low):
            break
        near, far = far, 2 * far
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        order, reach, dual = solve(sign * middle, edge)
        bound = min(bound, dual)
        orders.append(order)
        if (reach <= high) if above else (reach >= low):
            far = middle
        else:
            near = middle
    return _distinct(orders[-4:] + orders[:1]), bound


def _distinct(orders: list[np.ndarray]) -> list[np.ndarray]:
    return list({order.tobytes(): order for order in orders}.values())


def _swapped(
    order: np.ndarray, terms: np.ndarray, weights: np.ndarray, scores: np.ndarray,
    low: float, high: float,
) -> np.ndarray:  # fmt: skip
    """Swap pairs: into the slab first, then uphill within it, until no swap helps."""
    order = order.copy()
    reach = float(weights[order] @ scores)
    for _ in range(SWAPS_AT_MOST):
        here = terms[order]
        own = here.diagonal()
        gain = here + here.T - own[:, None] - own[None, :]
        placed = weights[order]
        after = reach + (placed[None, :] - placed[:, None]) * (scores[:, None] - scores[None, :])
        violation = np.maximum(low - after, 0) + np.maximum(after - high, 0)
        outside = max(low - reach, 0.0) + max(reach - high, 0.0)
        inside = violation <= 0
        if outside > 0:
            if inside.any():
                pick = int(np.where(inside, gain, -np.inf).argmax())
            elif violation.min() < outside - GAIN:
                pick = int(violation.argmin())
            else:
                break
        else:
            pick = int(np.where(inside, gain, -np.inf).argmax())
            if gain.flat[pick] <= GAIN:
                break
        i, j = divmod(pick, len(order))
        reach = float(after[i, j])
        order[i], order[j] = order[j], order[i]
    return order
