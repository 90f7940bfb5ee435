"""Bounds on the adversary for outputs with any number of classes.

Where decode is linear before a softmax, the weights with an output within ε of the original need
not be convex, and nothing certifies a maximum. Any feasible weights are a lower bound; the most
divergent weights of all, feasible or not, are an upper bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.divergence import jensen_shannon, total_variation
from attnaudit.measures.masks import by_length, check_mask, compact_index, finite_rows

GRID = 16
"""Into how many parts a line is cut before the ends of its feasible part are bisected."""

HALVINGS = 34
"""Bisections of such an end, which place it to 1e-11 of its line."""

UNITS = 24
"""How many units of an instance the lines join: half the lightest, half nearest in output."""

REFINED = 8
"""How many lines per instance are bisected: those that promise the largest divergence."""

ROUNDS = 12
"""How often the best weights are moved along a line to or from one unit."""

WALK = 200
"""After so many steps a walk ends, wherever it is."""

CELLS_AT_ONCE = 1 << 20
"""About how many outputs are computed in one step; bounds memory."""


@dataclass(frozen=True)
class Bounds:
    """What the most different weights within ε may reach, per instance.

    Attributes:
        lower: `(B,)` float64, the divergence of the best weights found.
        upper: `(B,)` float64, no weights at all have a larger one.
        weights: `(B, T)` float64, those that reach `lower`.
        output_change: `(B,)` float64, total variation distance of their output, at most ε.
    """

    lower: Float[Tensor, " B"]
    upper: Float[Tensor, " B"]
    weights: Float[Tensor, "B T"]
    output_change: Float[Tensor, " B"]


def bounds_multiclass(
    scores: Float[Tensor, "B T C"],
    bias: Tensor,
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    epsilon: float,
) -> Bounds:
    """Bounds on the maximum of JSD(α', α) over all α' with TVD(output', output) ≤ ε.

    The output is softmax(bias + Σ α_t scores_t). Tried are single units, mixes of two units, walks
    that leave the output as it is, and then lines from the best weights to or from each unit. The
    divergence is convex on every line, so that only the ends of a feasible stretch can be best.
    With two classes the lower bound is the maximum for nearly all instances; with more it may
    fall short.

    Args:
        scores: `(B, T, C)`, what unit t adds to the logit of a class per unit of weight.
        bias: `(C,)` or `(B, C)`.
        weights: `(B, T)`, distributions over the mask.
        mask: `(B, T)`, True on real units.
        epsilon: The largest allowed total variation distance of the outputs, in [0, 1].

    Returns:
        Lower and upper bound, with the weights and the output change of the lower one. An
        instance of one unit, or of none, keeps its weights, with bounds of 0; one with a score or
        weight that is not finite has NaN for every number.

    Raises:
        DataError: The shapes do not fit.
        SettingsError: `epsilon` is outside [0, 1].

    Example:
        >>> scores = torch.eye(3, dtype=torch.float64).unsqueeze(0)
        >>> weights = torch.full((1, 3), 1 / 3, dtype=torch.float64)
        >>> mask = torch.ones(1, 3, dtype=bool)
        >>> found = bounds_multiclass(scores, torch.zeros(3), weights, mask, 0.05)
        >>> bool(0 < found.lower <= found.upper), bool(found.output_change <= 0.05)
        (True, True)
    """
    check_mask(mask, weights=weights)
    if scores.dim() != 3 or scores.shape[:2] != mask.shape:
        raise DataError(
            f"scores have shape {tuple(scores.shape)} but the mask {tuple(mask.shape)}; "
            "give scores (B, T, C)"
        )
    if not 0 <= epsilon <= 1:
        raise SettingsError(f"epsilon is {epsilon}, but must lie in [0, 1], e.g. 0.05")
    defined = finite_rows(mask, scores.abs().amax(-1), weights)
    mask = mask & defined.unsqueeze(-1)
    score = scores.to(torch.float64).where(mask.unsqueeze(-1), 0.0)
    original = weights.to(torch.float64).where(mask, 0.0)
    best, upper = original.clone(), torch.zeros(len(mask), dtype=torch.float64, device=mask.device)
    offset = bias.to(score).expand(len(mask), scores.shape[-1])
    lengths = mask.sum(-1)
    cells = max(1, CELLS_AT_ONCE // (128 * scores.shape[-1]))
    for rows, width in by_length(lengths.where(lengths > 1, 0), cells, power=1):
        index, real = compact_index(mask[rows])
        index, real = index[:, :width], real[:, :width]
        a = original[rows].gather(-1, index)
        wide = index.unsqueeze(-1).expand(-1, -1, score.shape[-1])
        logits = score[rows].gather(1, wide) + offset[rows].unsqueeze(1)
        found = _Problem(logits, a, real, epsilon).solve()
        best[rows] = torch.zeros_like(best[rows]).scatter_(-1, index, found)
        lightest = a.masked_fill(~real, math.inf).argmin(-1, keepdim=True)
        upper[rows] = jensen_shannon(torch.zeros_like(a).scatter_(-1, lightest, 1.0), a)
    outputs = torch.softmax(
        offset.unsqueeze(1) + torch.bmm(torch.stack((original, best), 1), score), -1
    )
    change = total_variation(outputs[:, 0], outputs[:, 1])
    lower = jensen_shannon(best, original)
    numbers = (lower, torch.maximum(upper, lower), change)
    lower, upper, change = (x.where(defined, math.nan) for x in numbers)
    return Bounds(lower, upper, best, change)


class _Problem:
    """Instances with their units in front, and the search for their best feasible weights."""

    def __init__(self, logits: Tensor, weights: Tensor, real: Tensor, epsilon: float) -> None:
        # What a unit alone would give: weights that mix units mix these logits.
        self.logits, self.weights, self.real = logits, weights, real
        self.base = torch.softmax((weights.unsqueeze(-1) * logits).sum(1), -1)
        # A margin that keeps rounding from carrying the result beyond ε.
        self.epsilon = max(0.0, epsilon - 1e-12)
        self.batch = torch.arange(len(real), device=real.device).unsqueeze(-1)
        self.units = self._chosen()

    def solve(self) -> Tensor:
        """The best weights found, `(B, T)`."""
        best, value = self.weights, torch.zeros_like(self.weights[:, 0])
        for candidate in (self._single(), self._pair(), self._walked()):
            best, value = self._better(best, value, candidate)
        # From the original as well: it is feasible, whatever the units alone are.
        for start in (self.weights, best):
            here, reached = start, jensen_shannon(start, self.weights)
            moving = torch.ones_like(reached, dtype=torch.bool)
            for _ in range(ROUNDS):
                before = reached
                # Each instance stops for itself, so that its batch has no influence.
                following = torch.where(moving.unsqueeze(-1), self._moved(here), here)
                here, reached = self._better(here, reached, following)
                moving &= reached > before + 1e-6
                if not moving.any():
                    break
            best, value = self._better(best, value, here)
        return best

    def _better(self, best: Tensor, value: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Row by row whichever diverges more, provided that it is feasible."""
        found = jensen_shannon(other, self.weights)
        outputs = torch.softmax((other.unsqueeze(-1) * self.logits).sum(1), -1)
        fits = total_variation(outputs, self.base) <= self.epsilon + 0.5e-12
        wins = (found > value) & fits
        return torch.where(wins.unsqueeze(-1), other, best), torch.where(wins, found, value)

    def _alone(self) -> Tensor:
        """The output change of each unit alone; infinite off the units."""
        change = total_variation(torch.softmax(self.logits, -1), self.base.unsqueeze(1))
        return change.masked_fill(~self.real, math.inf)

    def _chosen(self) -> Tensor:
        """The units that lines join."""
        width = self.weights.shape[1]
        if width <= UNITS:
            return torch.arange(width, device=self.real.device).expand_as(self.weights)
        light = self.weights.masked_fill(~self.real, math.inf)
        lightest = light.topk(UNITS // 2, -1, largest=False).indices
        change = self._alone().scatter_(-1, lightest, math.inf)
        return torch.cat((lightest, change.topk(UNITS // 2, -1, largest=False).indices), -1)

    def _single(self) -> Tensor:
        """All weight on the lightest unit that alone is feasible."""
        fits = self._alone() <= self.epsilon
        lightest = self.weights.masked_fill(~fits, math.inf).argmin(-1, keepdim=True)
        return torch.zeros_like(self.weights).scatter_(-1, lightest, 1.0)

    def _pair(self) -> Tensor:
        """The best mix of two of the chosen units."""
        size = self.units.shape[1]
        first, second = torch.triu_indices(size, size, 1, device=self.real.device)
        i, j = self.units[:, first], self.units[:, second]
        # In an instance much shorter than the longest one, a unit may be chosen twice.
        valid = self.real.gather(-1, i) & self.real.gather(-1, j) & (i != j)
        origin, target = self.logits[self.batch, j], self.logits[self.batch, i]
        zero = torch.zeros(i.shape, dtype=self.base.dtype, device=i.device)
        inside, outside = self._stretch(origin, target, zero, zero + 1, None)
        valid = (valid & ~inside.isnan().any(-1)).unsqueeze(-1)
        promise = self._pair_divergence(outside, i, j).masked_fill(~valid, -1.0)
        top = promise.amax(-1).topk(min(REFINED, i.shape[1]), -1).indices
        ends = self._bisected(origin, target, inside, outside, top)
        i, j = i.gather(-1, top), j.gather(-1, top)
        value = self._pair_divergence(ends, i, j).masked_fill(~_take(valid, top), -1.0)
        place = value.flatten(1).argmax(-1, keepdim=True)
        share = ends.flatten(1).gather(-1, place).nan_to_num(0.0)
        best = torch.zeros_like(self.weights).scatter_(-1, j.gather(-1, place // 2), 1 - share)
        return best.scatter_(-1, i.gather(-1, place // 2), share)

    def _walked(self) -> Tensor:
        """The best end of walks that leave the output as it is.

        While more than C units have weight, some direction changes neither the output nor the sum
        of the weights. A walk follows one, the way that diverges more, until a unit has no weight
        left, and so ends at a vertex of all weights with this very output. Each walk first goes
        towards one of the chosen units and then up the slope of the divergence.
        """
        count, width = self.units.shape[1], self.weights.shape[1]
        here = self.weights.repeat_interleave(count, 0)
        own, real = here, self.real.repeat_interleave(count, 0)
        # Logits matter up to a constant over the classes; the row of ones keeps the sum.
        rows = self.logits - self.logits.mean(-1, keepdim=True)
        rows = torch.cat((rows[..., 1:], torch.ones_like(rows[..., :1])), -1)
        rows = rows.repeat_interleave(count, 0)
        aim = torch.nn.functional.one_hot(self.units.flatten(), width).to(here)
        for _ in range(min(width, WALK)):
            free = (here > 0) & real
            direction = _within(aim, rows, free)
            moves = direction.abs().amax(-1, keepdim=True) > 1e-9
            if not moves.any():
                break
            ends = []
            for way in (direction, -direction):
                reach = (here / (-way).clamp_min(1e-300)).masked_fill(way >= 0, math.inf)
                length, spent = reach.min(-1, keepdim=True)
                end = (here + length.clamp_max(1e9) * way).clamp_min(0.0)
                ends.append(end.scatter(-1, spent, 0.0))
            first, second = (jensen_shannon(end, own).unsqueeze(-1) for end in ends)
            there = torch.where(first >= second, ends[0], ends[1])
            here = torch.where(moves & (torch.maximum(first, second) > 0), there, here)
            aim = torch.log(here.clamp_min(1e-300) / (here + own).clamp_min(1e-300))
        ended = here.view(-1, count, width)
        sums = ended.sum(-1, keepdim=True)
        ended = ended / torch.where(sums > 0, sums, 1.0)
        change = total_variation(
            torch.softmax(torch.bmm(ended, self.logits), -1), self.base[:, None]
        )
        value = jensen_shannon(ended, self.weights.unsqueeze(1)).masked_fill(
            change > self.epsilon, -1.0
        )
        return ended[self.batch.squeeze(-1), value.argmax(-1)]

    def _moved(self, start: Tensor) -> Tensor:
        """The best end of a feasible line from `start` to a unit, or away from it."""
        # Away from a unit leads until its weight is 0, so the heaviest units matter as well.
        heavy = start.topk(min(4, start.shape[1]), -1).indices
        units = torch.cat((self.units, heavy), -1)
        own = start.gather(-1, units)
        least = torch.where(own < 1, -own / (1 - own).clamp_min(1e-12), 0.0)
        target = self.logits[self.batch, units]
        origin = (start.unsqueeze(-1) * self.logits).sum(1, keepdim=True).expand_as(target)
        inside, outside = self._stretch(origin, target, least, torch.ones_like(least), 0.0)
        real = self.real.gather(-1, units).unsqueeze(-1)
        promise = self._line_divergence(start, outside, units).masked_fill(~real, -1.0)
        top = promise.amax(-1).topk(min(REFINED, units.shape[1]), -1).indices
        ends = self._bisected(origin, target, inside, outside, top)
        units = units.gather(-1, top)
        value = self._line_divergence(start, ends, units).masked_fill(~_take(real, top), -1.0)
        place = value.flatten(1).argmax(-1, keepdim=True)
        step = ends.flatten(1).gather(-1, place)
        unit = units.gather(-1, place // 2)
        return _along(start, step.unsqueeze(-1), unit)[:, 0, 0]

    def _change(self, origin: Tensor, target: Tensor, step: Tensor) -> Tensor:
        """Output changes at `step (B, P, G)` of the way from one to the other `(B, P, C)`."""
        logits = origin.unsqueeze(2) + step.unsqueeze(-1) * (target - origin).unsqueeze(2)
        return total_variation(torch.softmax(logits, -1), self.base[:, None, None])

    def _stretch(
        self, origin: Tensor, target: Tensor, start: Tensor, stop: Tensor, known: float | None
    ) -> tuple[Tensor, Tensor]:
        """The outermost feasible points of lines, on a grid of steps from `start` to `stop`.

        Returns:
            `inside (B, P, 2)`, the lowest and highest feasible step, and `outside (B, P, 2)`, the
            grid points next to them. Without a feasible one `inside` is `known`, or NaN.
        """
        grid = torch.linspace(0, 1, GRID + 1, dtype=origin.dtype, device=origin.device)
        gap = ((stop - start) / GRID).unsqueeze(-1)
        steps = start.unsqueeze(-1) + grid * (stop - start).unsqueeze(-1)
        change = self._change(origin, target, steps)
        missed = ~(change <= self.epsilon).any(-1, keepdim=True)
        if known is None and missed.any():
            # Look again, more closely, where a line came nearest.
            near = steps.gather(-1, change.argmin(-1, keepdim=True))
            closer = torch.maximum(near + (2 * grid - 1) * gap, start.unsqueeze(-1))
            closer = torch.minimum(closer, stop.unsqueeze(-1))
            steps = torch.where(missed, closer, steps)
            gap = torch.where(missed, gap * 2 / GRID, gap)
            change = self._change(origin, target, steps)
        fits = change <= self.epsilon
        low = steps.masked_fill(~fits, math.inf).amin(-1)
        high = steps.masked_fill(~fits, -math.inf).amax(-1)
        inside = torch.stack((low, high), -1)
        inside = inside.masked_fill(inside.isinf(), math.nan if known is None else known)
        outside = torch.cat((inside[..., :1] - gap, inside[..., 1:] + gap), -1)
        outside = torch.maximum(outside, start.unsqueeze(-1))
        return inside, torch.minimum(outside, stop.unsqueeze(-1))

    def _bisected(
        self, origin: Tensor, target: Tensor, inside: Tensor, outside: Tensor, top: Tensor
    ) -> Tensor:
        """The ends `(B, R, 2)` of the feasible parts of the lines `top (B, R)`."""
        origin, target, inside, outside = (_take(x, top) for x in (origin, target, inside, outside))
        arrived = self._change(origin, target, outside) <= self.epsilon
        inside = torch.where(arrived, outside, inside)
        for _ in range(HALVINGS):
            middle = (inside + outside) / 2
            fits = self._change(origin, target, middle) <= self.epsilon
            inside, outside = torch.where(fits, middle, inside), torch.where(fits, outside, middle)
        return inside

    def _pair_divergence(self, share: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """Divergence of `share (B, P, E)` on unit `i` and the rest on unit `j (B, P)`."""
        # The other units count as one: the mix has nothing there.
        a, b = self.weights.gather(-1, i), self.weights.gather(-1, j)
        mix = torch.stack((share, 1 - share, torch.zeros_like(share)), -1)
        return jensen_shannon(mix, torch.stack((a, b, (1 - a - b).clamp_min(0)), -1).unsqueeze(2))

    def _line_divergence(self, start: Tensor, step: Tensor, units: Tensor) -> Tensor:
        """Divergence at `step (B, P, E)` of the way from `start` to `units (B, P)`."""
        return jensen_shannon(_along(start, step, units), self.weights[:, None, None])


def _within(aim: Tensor, rows: Float[Tensor, "R T C"], free: Tensor) -> Float[Tensor, "R T"]:
    """What is left of a direction at the free units when all that `rows` measure stays as it is."""
    seen = rows * free.unsqueeze(-1)
    aim = aim.masked_fill(~free, 0.0)
    gram = seen.mT @ seen
    ridge = 1e-12 * gram.diagonal(0, -2, -1).sum(-1).clamp_min(1e-30)
    gram = gram + ridge[:, None, None] * torch.eye(
        gram.shape[-1], dtype=gram.dtype, device=gram.device
    )
    fitted = torch.linalg.solve(gram, seen.mT @ aim.unsqueeze(-1))
    left: Tensor = aim - (seen @ fitted).squeeze(-1)
    scale = aim.abs().amax(-1, keepdim=True)
    return left / torch.where(scale > 0, scale, 1.0)


def _along(start: Tensor, step: Tensor, units: Tensor) -> Tensor:
    """Weights `(B, P, E, T)` at `step (B, P, E)` of the way from `start (B, T)` to a unit."""
    rest = (1 - step).unsqueeze(-1)
    moved = start[:, None, None] * rest
    index = units[:, :, None, None].expand(-1, -1, step.shape[-1], 1)
    return moved.scatter_add_(-1, index, step.unsqueeze(-1)).clamp_min_(0.0)


def _take(values: Tensor, top: Tensor) -> Tensor:
    """Of values `(B, P, …)` the entries `top (B, R)`."""
    return values.gather(1, top.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
