"""The adversary in closed form: the most different weights with the same output, certified.

For an output σ(b + Σ α_t s_t) the weights with an output within ε form a slice of the simplex,
lo ≤ Σ α'_t s_t ≤ hi. The Jensen-Shannon divergence from α is convex, so its maximum over the slice
is at a vertex, and a vertex is one unit inside the slab or a pair whose mix lies on its edge: all
of them are tried, at O(T²) per instance, without an optimiser. Outputs with more than two classes
have no such certificate; their bounds are in `adversary_bounds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.errors import SettingsError
from attnaudit.measures.adversary_bounds import Bounds, bounds_multiclass
from attnaudit.measures.divergence import LN2, jensen_shannon
from attnaudit.measures.masks import by_length, check_mask, finite_rows

__all__ = ["TOLERANCE", "Bounds", "ExactAdversary", "bounds_multiclass", "exact_adversary", "slab"]

TOLERANCE = 1e-9
"""By how much rounding may carry an output change beyond ε."""

MARGIN = 1e-12
"""Pairs aim so far inside ε, so that rounding does not carry them beyond it."""

PAIRS_AT_ONCE = 1 << 17
"""How many pairs of units are tried in one step: bounds memory and stays in the cache."""


@dataclass(frozen=True)
class ExactAdversary:
    """The most different weights within ε, per instance.

    Attributes:
        jsd: `(B,)` float64 in [0, ln 2], their divergence from the weights: the global maximum.
        weights: `(B, T)` float64, one or two units with weight; the weights themselves where
            nothing else is feasible.
        output_change: `(B,)` float64, |σ' − σ|, at most ε + 1e-9.
    """

    jsd: Float[Tensor, " B"]
    weights: Float[Tensor, "B T"]
    output_change: Float[Tensor, " B"]


def exact_adversary(
    scores: Float[Tensor, "B T"],
    bias: Tensor | float,
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    epsilon: float,
) -> ExactAdversary:
    """The global maximum of JSD(α', α) over all weights α' with |σ(α') − σ(α)| ≤ ε.

    Answers for two classes, and exactly, what Jain and Wallace (2019), section 4.2.2, search for.
    The maximum is close to ln 2 for most instances, so it hardly tells models apart by itself.

    Args:
        scores: `(B, T)`, what unit t adds to the log-odds per unit of weight.
        bias: `(B,)` or a number, the log-odds of no weight at all.
        weights: `(B, T)`, distributions over the mask.
        mask: `(B, T)`, True on real units.
        epsilon: The largest allowed change of the probability, in [0, 1].

    Returns:
        Divergence, weights and output change per instance. An instance of one unit, or of none,
        keeps its weights, with a divergence of 0; one with a score or weight that is not finite
        has a divergence and output change of NaN.

    Raises:
        DataError: The shapes differ, or the mask is not bool.
        SettingsError: `epsilon` is outside [0, 1].

    Example:
        >>> scores = torch.tensor([[3.0, -1.0, 1.0]], dtype=torch.float64)
        >>> weights = torch.tensor([[0.3, 0.5, 0.2]], dtype=torch.float64)
        >>> found = exact_adversary(scores, 0.0, weights, torch.ones(1, 3, dtype=bool), 0.1)
        >>> [round(w, 3) for w in found.weights[0].tolist()], round(found.jsd.item(), 3)
        ([0.0, 0.0, 1.0], 0.423)
    """
    check_mask(mask, scores=scores, weights=weights)
    check_epsilon(epsilon)
    defined = finite_rows(mask, scores, weights)
    usable = mask & defined.unsqueeze(-1)
    score = scores.to(torch.float64).where(usable, 0.0)
    original = weights.to(torch.float64).where(usable, 0.0)
    offset = torch.as_tensor(bias, dtype=torch.float64, device=mask.device).expand(len(mask))
    best = original.clone()
    lengths = usable.sum(-1)
    for rows, width in by_length(lengths.where(lengths > 1, 0), PAIRS_AT_ONCE):
        best[rows] = _best_vertices(
            score[rows], offset[rows], original[rows], mask[rows], epsilon, width
        )
    best = _feasible(best, original, score, offset, epsilon)
    change = _change(best, original, score, offset).where(defined, math.nan)
    jsd = jensen_shannon(best, original).where(defined, math.nan)
    return ExactAdversary(jsd, best, change)


def check_epsilon(epsilon: float) -> None:
    """Refuses an ε that is no difference of probabilities."""
    if not 0 <= epsilon <= 1:
        raise SettingsError(
            f"epsilon is {epsilon}, but a change of a probability lies between 0 and 1, e.g. 0.05"
        )


def slab(
    logit: Float[Tensor, " B"], epsilon: float
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """The log-odds whose probability is within ε of that of `logit`.

    Args:
        logit: `(B,)` float64.
        epsilon: In [0, 1].

    Returns:
        Lower and upper end, infinite where p − ε or p + ε leaves (0, 1). `logit` lies between
        them, also where its probability rounds to 0 or 1.

    Example:
        >>> low, high = slab(torch.tensor([0.0]).double(), 0.5)
        >>> low.item(), high.item()
        (-inf, inf)
    """
    # Of a large logit 1 − p is exact where p is not, so each end is taken from its own side.
    p, q = torch.sigmoid(logit), torch.sigmoid(-logit)
    low = torch.where(p > epsilon, torch.log((p - epsilon) / (q + epsilon)), -math.inf)
    high = torch.where(q > epsilon, torch.log((p + epsilon) / (q - epsilon)), math.inf)
    return torch.minimum(low, logit), torch.maximum(high, logit)


def _best_vertices(
    score: Float[Tensor, "B T"],
    offset: Float[Tensor, " B"],
    original: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    epsilon: float,
    width: int,
) -> Float[Tensor, "B T"]:
    """The best vertex per instance, or the weights themselves where there is none."""
    # Lightest units first: alone, a unit diverges the more the less weight it had, and no mix of
    # a pair diverges more than the better of its two units, so the search may stop early.
    order = torch.argsort(original.masked_fill(~mask, math.inf), dim=-1, stable=True)[:, :width]
    s, a, real = (x.gather(-1, order) for x in (score, original, mask))
    logit = offset + (original * score).sum(-1)
    low, high = slab(logit, epsilon)
    alone = single_divergence(a)
    inside = (torch.sigmoid(offset.unsqueeze(-1) + s) - torch.sigmoid(logit).unsqueeze(-1)).abs()
    reach = alone.masked_fill(~((inside <= epsilon) & real), -math.inf)
    value, first = reach.max(-1)
    second, share = first.clone(), torch.ones_like(value)
    own = a * torch.log(a.clamp_min(torch.finfo(a.dtype).tiny))
    # Both edges of the slab at once, each as the distance of the scores from it.
    low, high = slab(logit, max(0.0, epsilon - MARGIN))
    edges = torch.stack((low, high), -1) - offset.unsqueeze(-1)
    distance = (s.unsqueeze(-2) - edges.unsqueeze(-1)).masked_fill(~real.unsqueeze(-2), math.nan)
    step = max(1, PAIRS_AT_ONCE // (len(s) * width))
    for start in range(0, width - 1, step):
        if not (alone[:, start] > value).any():
            break
        found, i, j, p = _best_pairs(distance, a, own, start, min(start + step, width - 1))
        better = found > value
        value = torch.where(better, found, value)
        first, second = torch.where(better, i, first), torch.where(better, j, second)
        share = torch.where(better, p, share)
    best = torch.zeros_like(original)
    best.scatter_(-1, order.gather(-1, second.unsqueeze(-1)), (1 - share).unsqueeze(-1))
    best.scatter_(-1, order.gather(-1, first.unsqueeze(-1)), share.unsqueeze(-1))
    return torch.where((value > 0).unsqueeze(-1), best, original)


def single_divergence(weight: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """JSD(e_t, α) = ln 2 + ½ (α_t ln α_t − (1 + α_t) ln(1 + α_t)), from α_t alone."""
    own = -torch.special.entr(weight)
    found: Tensor = LN2 + 0.5 * (own - (1 + weight) * torch.log1p(weight))
    return found


def _best_pairs(
    distance: Float[Tensor, "B 2 N"],
    a: Float[Tensor, "B N"],
    own: Float[Tensor, "B N"],
    start: int,
    stop: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best mix on an edge of the slab, of a unit in `start:stop` and a later one.

    With p on unit i and q = 1 − p on unit j, JSD = ln 2 + ½ (p ln p + q ln q + α_i ln α_i +
    α_j ln α_j − (p + α_i) ln(p + α_i) − (q + α_j) ln(q + α_j)).
    """
    di, dj = distance[:, :, start:stop, None], distance[:, :, None, start + 1 :]
    ai, aj = a[:, None, start:stop, None], a[:, None, None, start + 1 :]
    across = di * dj < 0  # on both sides of the edge; false with padding, whose distance is NaN
    gap = dj - di
    p, q = dj / gap, -di / gap
    value = _times_log(p) + _times_log(q)
    value -= _times_log(p + ai)
    value -= _times_log(q + aj)
    value += own[:, None, start:stop, None]
    value += own[:, None, None, start + 1 :]
    value = value.mul_(0.5).add_(LN2).masked_fill_(~across, -math.inf)
    rows, _, height, width = value.shape
    best, place = value.view(rows, -1).max(-1)
    p = p.reshape(rows, -1).gather(-1, place.unsqueeze(-1)).squeeze(-1)
    place = place % (height * width)
    i, j = start + place // width, start + 1 + place % width
    return best, i, j, p


def _times_log(x: Tensor) -> Tensor:
    """Entropy terms x ln x with 0 ln 0 = 0; anything where x is negative."""
    return x.clamp_min(torch.finfo(x.dtype).tiny).log_().mul_(x)


def _change(best: Tensor, original: Tensor, score: Tensor, offset: Tensor) -> Tensor:
    """|σ' − σ|, the way that a caller would compute it."""
    old = torch.sigmoid(offset + (original * score).sum(-1))
    return (torch.sigmoid(offset + (best * score).sum(-1)) - old).abs()


def _feasible(
    best: Tensor, original: Tensor, score: Tensor, offset: Tensor, epsilon: float
) -> Tensor:
    """Draws back towards the weights what rounding has carried beyond ε.

    With scores in the millions a mix may miss the edge of the slab. The way back to the weights
    stays in the simplex and changes the output monotonically, so bisection finds the way's first
    feasible point.
    """
    bad = _change(best, original, score, offset) > epsilon + TOLERANCE
    if not bad.any():
        return best
    goal, own, some, bias = best[bad], original[bad], score[bad], offset[bad]
    inside, outside = torch.zeros_like(bias), torch.ones_like(bias)
    for _ in range(60):
        middle = (inside + outside) / 2
        mixed = torch.lerp(own, goal, middle.unsqueeze(-1))
        fits = _change(mixed, own, some, bias) <= epsilon
        inside, outside = torch.where(fits, middle, inside), torch.where(fits, outside, middle)
    best = best.clone()
    best[bad] = torch.lerp(own, goal, inside.unsqueeze(-1))
    return best
