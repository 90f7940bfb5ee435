"""The best adversary that only moves the given weights to other units.

A distribution on two units is an easy, unnatural adversary; one that keeps the weights, and with
them their entropy, is neither. For an output σ(b + Σ α_t s_t) the question is an assignment problem
with one side condition. Without the condition the answer is known: the opposite order. With it,
the Lagrangian dual certifies an upper bound, and swaps of pairs improve what the dual suggests.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.measures.adversary_dual import GAIN, STARTS, divergence_terms, dual_bound
from attnaudit.measures.adversary_exact import check_epsilon, slab
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.measures.masks import by_length, check_mask, compact_index, finite_rows

EXHAUSTIVE = 7
"""Up to so many units, all orders are tried (5,040 of them)."""

ASSIGNMENT_LIMIT = 200
"""Up to so many units, assignments are solved and pairs swapped; beyond, orders are sorted."""

HEAVY = 64
"""Of a long instance, swaps have one end at so many heavy units or as many others."""

LONG_SWAPS = 60
"""How many swaps a long instance takes at most."""

BEYOND = 1e3
"""Divergences are below this: what is worth less is outside the slab."""

MARGIN = 1e-12
"""Orders aim so far inside ε, so that rounding does not carry them beyond it."""

CELLS_AT_ONCE = 1 << 14
"""How many pairs of units are looked at in one step; bounds memory."""


@dataclass(frozen=True)
class PermutationAdversary:
    """The best order found, per instance.

    Attributes:
        jsd: `(B,)` float64, its divergence from the weights; 0 where no other order is feasible.
        weights: `(B, T)` float64, the weights in that order.
        output_change: `(B,)` float64, |σ' − σ|, at most ε.
        upper: `(B,)` float64, no feasible order has a larger divergence; equal to `jsd` where the
            optimum is certain.
        attainable: `(B,)` float64, the largest divergence of any order, feasible or not.
    """

    jsd: Float[Tensor, " B"]
    weights: Float[Tensor, "B T"]
    output_change: Float[Tensor, " B"]
    upper: Float[Tensor, " B"]
    attainable: Float[Tensor, " B"]


def reversed_order(
    weights: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """The weights with the largest on the unit of the smallest, and so on.

    Of all orders this one diverges most from the weights: a term f(p, a) of the divergence has the
    mixed derivative −1 / (2 (p + a)) < 0, so opposite orders maximise Σ f.

    Args:
        weights: `(B, T)`.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B, T)`, 0 off the units.

    Raises:
        DataError: The shapes differ, or the mask is not bool.

    Example:
        >>> reversed_order(torch.tensor([[0.7, 0.1, 0.2]]), torch.ones(1, 3, dtype=torch.bool))
        tensor([[0.1000, 0.7000, 0.2000]])
    """
    check_mask(mask, weights=weights)
    return _matched(weights, weights, mask)


def permutation_adversary(
    scores: Float[Tensor, "B T"],
    bias: Tensor | float,
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    epsilon: float,
) -> PermutationAdversary:
    """The most different order of the weights with |σ' − σ| ≤ ε, and how far from certain it is.

    Up to 7 units all orders are tried. Up to 200, the bound is the Lagrangian dual of the
    assignment problem, and the order the best that swaps of pairs reach from the dual's
    assignments. Beyond, the order is sorted by weight and score in a ratio that meets ε, with
    some swaps, and the bound is what any order attains.

    Args:
        scores: `(B, T)`, what unit t adds to the log-odds per unit of weight.
        bias: `(B,)` or a number, the log-odds of no weight at all.
        weights: `(B, T)`, distributions over the mask.
        mask: `(B, T)`, True on real units.
        epsilon: The largest allowed change of the probability, in [0, 1].

    Returns:
        The best order found with its bounds; the weights themselves are always feasible. An
        instance with a score or weight that is not finite has NaN for every number.

    Raises:
        DataError: The shapes differ, or the mask is not bool.
        SettingsError: `epsilon` is outside [0, 1].

    Example:
        >>> scores = torch.tensor([[1.0, 1.0, 5.0]])
        >>> weights = torch.tensor([[0.7, 0.1, 0.2]])
        >>> mask = torch.ones(1, 3, dtype=torch.bool)
        >>> found = permutation_adversary(scores, 0.0, weights, mask, 0.01)
        >>> [round(w, 3) for w in found.weights[0].tolist()]
        [0.1, 0.7, 0.2]
    """
    check_mask(mask, scores=scores, weights=weights)
    check_epsilon(epsilon)
    defined = finite_rows(mask, scores, weights)
    mask = mask & defined.unsqueeze(-1)
    score = scores.to(torch.float64).where(mask, 0.0)
    own = weights.to(torch.float64).where(mask, 0.0)
    offset = torch.as_tensor(bias, dtype=torch.float64, device=mask.device).expand(len(mask))
    opposite = _matched(own, own, mask)
    attainable = jensen_shannon(opposite, own)
    logit = offset + (own * score).sum(-1)
    low, high = (edge - offset for edge in slab(logit, max(0.0, epsilon - MARGIN)))
    reach = (opposite * score).sum(-1)
    feasible = (torch.sigmoid(offset + reach) - torch.sigmoid(logit)).abs() <= epsilon
    best, upper = torch.where(feasible.unsqueeze(-1), opposite, own), attainable.clone()
    count = mask.sum(-1).where(~feasible, 0)
    # The way depends on the length of an instance alone, and never on the rest of its batch.
    small, long = count <= EXHAUSTIVE, count > ASSIGNMENT_LIMIT
    for kind, solve in (
        (small, _Slice.exhausted),
        (~small & ~long, _Slice.assigned),
        (long, _Slice.tilted_and_swapped),
    ):
        for rows, width in by_length(count.where(kind, 0), CELLS_AT_ONCE):
            index, real = (x[:, :width] for x in compact_index(mask[rows]))
            a = own[rows].gather(-1, index).masked_fill(~real, 0.0)
            s = score[rows].gather(-1, index).masked_fill(~real, 0.0)
            # With the violated side on top, there is one case instead of two.
            flip = torch.where(reach[rows] > high[rows], 1.0, -1.0).unsqueeze(-1)
            edges = torch.stack((low[rows], high[rows]), -1) * flip
            found, bound = solve(_Slice.of(a, s * flip, real, edges))
            best[rows] = torch.zeros_like(best[rows]).scatter_(-1, index, found)
            upper[rows] = torch.minimum(bound, attainable[rows])
    change = (torch.sigmoid(offset + (best * score).sum(-1)) - torch.sigmoid(logit)).abs()
    jsd = jensen_shannon(best, own)
    numbers = (jsd, change, torch.maximum(upper, jsd), attainable)
    jsd, change, upper, attainable = (x.where(defined, math.nan) for x in numbers)
    return PermutationAdversary(jsd, best, change, upper, attainable)


def _matched(
    weights: Float[Tensor, "B T"], key: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """The weights in the order opposite to that of `key`: the largest where the key is least."""
    up = torch.argsort(key.masked_fill(~mask, math.inf), dim=-1, stable=True)
    down = weights.masked_fill(~mask, -math.inf).sort(dim=-1, descending=True).values
    return torch.empty_like(weights).scatter_(-1, up, down).masked_fill(~mask, 0.0)


@dataclass(frozen=True)
class _Slice:
    """Instances of similar length, with units in front; the opposite order lies above `high`."""

    a: Float[Tensor, "B N"]
    s: Float[Tensor, "B N"]
    real: Bool[Tensor, "B N"]
    low: Float[Tensor, " B"]
    high: Float[Tensor, " B"]

    @staticmethod
    def of(a: Tensor, s: Tensor, real: Tensor, edges: Float[Tensor, "B 2"]) -> _Slice:
        """With open ends moved to where no sum Σ p s reaches."""
        least, most = s.amin(-1, keepdim=True) - 1, s.amax(-1, keepdim=True) + 1
        edges = torch.minimum(torch.maximum(edges, least), most)
        return _Slice(a, s, real, edges.amin(-1), edges.amax(-1))

    def inside(self, reach: Tensor) -> Tensor:
        """Which sums Σ p s are feasible, `(B, …)`."""
        shape = (-1, *[1] * (reach.dim() - 1))
        return (reach >= self.low.view(shape)) & (reach <= self.high.view(shape))

    def exhausted(self) -> tuple[Float[Tensor, "B N"], Float[Tensor, " B"]]:
        """The best of all orders, which is its own bound."""
        best = self.a.clone()
        count = self.real.sum(-1)
        for n in sorted(set(count.tolist())):
            rows = (count == n).nonzero().squeeze(-1)
            a, s = self.a[rows, :n], self.s[rows, :n]
            orders = torch.tensor(list(itertools.permutations(range(n))), device=a.device)
            columns = torch.arange(n, device=a.device)
            terms = divergence_terms(a)
            value = torch.zeros(len(rows), len(orders), dtype=a.dtype, device=a.device)
            reach = torch.zeros_like(value)
            for t in columns.tolist():
                value += terms[:, orders[:, t], t]
                reach += a[:, orders[:, t]] * s[:, t, None]
            fits = (reach >= self.low[rows, None]) & (reach <= self.high[rows, None])
            fits[:, 0] = True  # the weights as they are
            choice = orders[value.masked_fill(~fits, -math.inf).argmax(-1)]
            best[rows, :n] = a.gather(-1, choice)
        return best, jensen_shannon(best, self.a)

    def tilted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Orders opposite to a + κ s, with κ bisected to where they meet the slab.

        That order minimises Σ p a + κ Σ p s, so the sum Σ p s falls as κ grows.

        Returns:
            The best feasible order `(B, N)` (or the weights as they are), and the last orders
            above and below the upper edge.
        """
        # κ = tan(angle) · spread, so that the angle runs from 0 to a right angle.
        near = torch.zeros(len(self.a), dtype=self.a.dtype, device=self.a.device)
        far = torch.full_like(near, math.pi / 2)
        best = over = under = self.a
        value = near.clone()
        spread = self.a.amax(-1) / self.s.abs().amax(-1).clamp_min(1e-300)
        for _ in range(40):
            angle = (near + far) / 2
            tilt = (torch.sin(angle) * spread).unsqueeze(-1) * self.s
            order = _matched(self.a, torch.cos(angle).unsqueeze(-1) * self.a + tilt, self.real)
            reach = (order * self.s).sum(-1)
            found = jensen_shannon(order, self.a)
            wins = self.inside(reach) & (found > value)
            best = torch.where(wins.unsqueeze(-1), order, best)
            value = torch.where(wins, found, value)
            above = reach > self.high
            near, far = torch.where(above, angle, near), torch.where(above, far, angle)
            over = torch.where(above.unsqueeze(-1), order, over)
            under = torch.where(above.unsqueeze(-1), under, order)
        return best, over, under

    def assigned(self) -> tuple[Float[Tensor, "B N"], Float[Tensor, " B"]]:
        """The best order that swaps reach from the dual's assignments, and the dual's bound."""
        width = self.a.shape[1]
        starts = np.tile(np.arange(width), (len(self.a), STARTS, 1))
        bounds = np.empty(len(self.a))
        count, high = self.real.sum(-1).tolist(), self.high.tolist()
        terms, a, s = (x.cpu().numpy() for x in (divergence_terms(self.a), self.a, self.s))
        for row, n in enumerate(count):
            found, bounds[row] = dual_bound(terms[row, :n, :n], a[row, :n], s[row, :n], high[row])
            starts[row, 1 : len(found) + 1, :n] = found
        start = torch.from_numpy(starts).to(self.a.device)
        start[:, -1] = self._as_order(self.tilted()[0])
        return self.swapped(start), torch.from_numpy(bounds).to(self.a)

    def tilted_and_swapped(self) -> tuple[Float[Tensor, "B N"], Float[Tensor, " B"]]:
        """For long instances: the orders by weight and score on both sides, and a few swaps."""
        found, over, under = self.tilted()
        start = torch.stack([self._as_order(order) for order in (found, over, under)], 1)
        heavy = self.a.topk(min(HEAVY, self.a.shape[1]), -1).indices
        last = self.real.sum(-1, keepdim=True) - 1
        spread = torch.arange(HEAVY, device=heavy.device) * last // (HEAVY - 1)
        places = torch.cat((heavy, spread), -1)
        nothing_better = torch.full_like(self.low, math.inf)
        return self.swapped(start, places, LONG_SWAPS), nothing_better

    def _as_order(self, placed: Float[Tensor, "B N"]) -> Int[Tensor, "B N"]:
        """Which weight stands where: `order` with `placed = a.gather(order)`."""
        one = torch.argsort(placed.masked_fill(~self.real, math.inf), dim=-1, stable=True)
        other = torch.argsort(self.a.masked_fill(~self.real, math.inf), dim=-1, stable=True)
        return torch.empty_like(one).scatter_(-1, one, other)

    def swapped(
        self, start: Int[Tensor, "B S N"], places: Tensor | None = None, most: int | None = None
    ) -> Float[Tensor, "B N"]:
        """Swaps pairs of weights, first into the slab and then uphill, until no swap helps.

        Args:
            start: Orders to begin with, `S` per instance.
            places: `(B, M)`, to swap only pairs with one of these; None for all pairs.
            most: How many swaps to take at most; None for three times the length.

        Returns:
            The best feasible result of all starts, or the weights as they are.
        """
        rows, starts, width = start.shape
        batch = torch.arange(rows, device=start.device).repeat_interleave(starts)
        order = start.reshape(-1, width)
        placed, a, s = self.a[batch].gather(-1, order), self.a[batch], self.s[batch]
        # Equal starts would only do the same work again.
        same = (start.unsqueeze(1) == start.unsqueeze(2)).all(-1).tril(-1).any(-1)
        moving = (~same).flatten().nonzero().squeeze(-1)
        for _ in range(most or 3 * width):
            i, j, gain = self._best_swap(placed[moving], batch[moving], places)
            moving, i, j = moving[gain], i[gain], j[gain]
            if not len(moving):
                break
            placed[moving, i], placed[moving, j] = placed[moving, j], placed[moving, i]
        fits = self.inside((placed * s).sum(-1).view(rows, starts))
        value = jensen_shannon(placed, a).view(rows, starts).masked_fill(~fits, -1.0)
        best, choice = value.max(-1)
        chosen = placed.view(rows, starts, width)[torch.arange(rows, device=a.device), choice]
        return torch.where((best > 0).unsqueeze(-1), chosen, self.a)

    def _best_swap(
        self, placed: Tensor, batch: Tensor, places: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best two places whose weights to swap, and whether that is a gain."""
        a, s, real = self.a[batch], self.s[batch], self.real[batch]
        # Of the divergence's terms, only ½ h(p + a) with h(x) = −x ln x changes in a swap.
        own = 0.5 * _entropy(placed + a)
        if places is None:
            i_placed, i_s, i_own, i_real = placed, s, own, real
            value = 0.5 * _entropy(placed.unsqueeze(-1) + a.unsqueeze(-2))
            value = value + value.mT
        else:
            some = places[batch]
            i_placed, i_s, i_own, i_real = (x.gather(-1, some) for x in (placed, s, own, real))
            value = 0.5 * _entropy(i_placed.unsqueeze(-1) + a.unsqueeze(-2))
            value += 0.5 * _entropy(placed.unsqueeze(-2) + a.gather(-1, some).unsqueeze(-1))
        value.sub_(i_own.unsqueeze(-1)).sub_(own.unsqueeze(-2))
        # How far beyond the slab a swap would end: the distance from its middle, less its half.
        middle = (self.high[batch] + self.low[batch]) / 2
        half = (self.high[batch] - self.low[batch]) / 2
        now = (placed * s).sum(-1) - middle
        excess = placed.unsqueeze(-2) - i_placed.unsqueeze(-1)
        excess.mul_(i_s.unsqueeze(-1) - s.unsqueeze(-2)).add_(now[:, None, None]).abs_()
        excess.sub_(half[:, None, None])
        # Any swap into the slab beats all that stay outside; among those, the one that comes
        # nearest; within the slab, the one that gains most.
        worth = torch.where(excess > 0, -BEYOND - excess, value)
        worth.masked_fill_(~(i_real.unsqueeze(-1) & real.unsqueeze(-2)), -math.inf)
        best, place = worth.flatten(1).max(-1)
        outside = now.abs() - half
        least = torch.where(outside > 0, -BEYOND - outside, 0.0)
        i, j = place // placed.shape[1], place % placed.shape[1]
        if places is not None:
            i = some.gather(-1, i.unsqueeze(-1)).squeeze(-1)
        return i, j, best > least + GAIN


def _entropy(x: Tensor) -> Tensor:
    """The terms −x ln x of x ≥ 0, with 0 ln 0 = 0."""
    return x.clamp_min(torch.finfo(x.dtype).tiny).log_().mul_(x).neg_()
