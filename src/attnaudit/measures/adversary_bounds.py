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
from attnaudit.measures.masks import by_length, check_mask, compact_index

GRID = 16
"""Into how many parts a line is cut before its feasible ends are bisected."""

HALVINGS = 30
"""Bisections of a feasible end, which place it to 1e-10 of its line."""

EDGE_UNITS = 24
"""Between how many units of an instance the pairs are tried."""

EDGES_REFINED = 8
"""How many pairs per instance are bisected: those that promise the largest divergence."""

ROUNDS = 12
"""How often the best weights are moved along a line to or from one unit."""

CELLS_AT_ONCE = 1 << 20
"""How many outputs are computed in one step; bounds memory."""


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

    The output is softmax(bias + Σ α_t scores_t). Tried are single units, mixes of two units, and
    then lines from the best weights to or from each unit. The divergence is convex on every line,
    so that only the ends of a feasible stretch can be best.

    Args:
        scores: `(B, T, C)`, what unit t adds to the logit of a class per unit of weight.
        bias: `(C,)` or `(B, C)`.
        weights: `(B, T)`, distributions over the mask.
        mask: `(B, T)`, True on real units.
        epsilon: The largest allowed total variation distance of the outputs, in [0, 1].

    Returns:
        Lower and upper bound, with the weights and the output change of the lower one. An
        instance of one unit, or of none, keeps its weights, with bounds of 0.

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
    score = scores.to(torch.float64).masked_fill(~mask.unsqueeze(-1), 0.0)
    original = weights.to(torch.float64).masked_fill(~mask, 0.0)
    best, upper = original.clone(), torch.zeros(len(mask), dtype=torch.float64, device=mask.device)
    offset = bias.to(score).expand(len(mask), scores.shape[-1])
    lengths = mask.sum(-1)
    cells = max(1, CELLS_AT_ONCE // (GRID * scores.shape[-1]))
    for rows, width in by_length(lengths.where(lengths > 1, 0), cells):
        index, real = compact_index(mask[rows])
        a = original[rows].gather(-1, index).masked_fill(~real, 0.0)
        wide = index.unsqueeze(-1).expand(-1, -1, score.shape[-1])
        problem = _Problem(score[rows].gather(1, wide), offset[rows], a, real, epsilon)
        found = torch.zeros_like(best[rows])
        found[:, :] = 0.0
        best[rows] = found.scatter_add_(-1, index, problem.solve()[:, :width])
        lightest = a.masked_fill(~real, math.inf).argmin(-1, keepdim=True)
        alone = torch.zeros_like(a).scatter_(-1, lightest, 1.0)
        upper[rows] = jensen_shannon(alone, a)
    outputs = _softmax(score, offset, torch.stack((original, best), 1))
    change = total_variation(outputs[:, 0], outputs[:, 1])
    lower = jensen_shannon(best, original)
    return Bounds(lower, torch.maximum(upper, lower), best, change)


def _softmax(score: Tensor, offset: Tensor, weights: Float[Tensor, "B K T"]) -> Tensor:
    return torch.softmax(offset.unsqueeze(1) + torch.bmm(weights, score), -1)


class _Problem:
    """Instances with their units in front, and the search for their best feasible weights."""

    def __init__(
        self, score: Tensor, offset: Tensor, weights: Tensor, real: Tensor, epsilon: float
    ) -> None:
        self.weights, self.real, self.epsilon = weights, real, epsilon
        # Logits that a unit alone would give: a mix of units has the mix of their logits.
        self.logits = score + offset.unsqueeze(1)
        self.base = torch.softmax((weights.unsqueeze(-1) * score).sum(1) + offset, -1)

    def solve(self) -> Tensor:
        """The best weights found, `(B, T)`."""
        best, value = self.weights, torch.zeros_like(self.weights[:, 0])
        for candidate in (self._single(), self._pair()):
            best, value = self._better(best, value, candidate)
        # From the original as well as from the best: a ray always has a feasible start.
        for start in (self.weights, best):
            here, reached = self._moved(start)
            for _ in range(ROUNDS):
                before = reached
                following, _ = self._moved(here)
                here, reached = self._better(here, reached, following)
                if not (reached > before + 1e-6).any():
                    break
            best, value = self._better(best, value, here)
        return best

    def _change(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Total variation from the original output, of logits `(R, …, C)`."""
        base = self.base if rows is None else self.base[rows]
        shape = (len(base), *[1] * (logits.dim() - 2), base.shape[-1])
        return total_variation(torch.softmax(logits, -1), base.view(shape))

    def _better(self, best: Tensor, value: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Row by row whichever diverges more, provided that it is feasible."""
        logits = torch.bmm(other.unsqueeze(1), self.logits).squeeze(1)
        found = jensen_shannon(other, self.weights)
        wins = (found > value) & (self._change(logits) <= self.epsilon)
        return torch.where(wins.unsqueeze(-1), other, best), torch.where(wins, found, value)

    def _single(self) -> Tensor:
        """All weight on the lightest unit that alone is feasible."""
        fits = (self._change(self.logits) <= self.epsilon) & self.real
        lightest = self.weights.masked_fill(~fits, math.inf).argmin(-1, keepdim=True)
        return torch.zeros_like(self.weights).scatter_(-1, lightest, 1.0)

    def _pair(self) -> Tensor:
        """The best mix of two units, among the lightest ones and those nearest in output."""
        units = self._chosen_units()
        size = units.shape[1]
        first, second = torch.triu_indices(size, size, 1, device=units.device)
        i, j = units[:, first], units[:, second]
        batch = torch.arange(len(units), device=units.device).unsqueeze(-1)
        valid = self.real[batch, i] & self.real[batch, j]
        low, high, promise = self._stretches(self.logits[batch, i], self.logits[batch, j], valid)
        mixes = torch.stack((promise, 1 - promise), -1)  # of the outer grid points, `(B, P, 2, 2)`
        value = self._pair_divergence(mixes, i, j).amax(-1).masked_fill(low > high, -math.inf)
        top = value.topk(min(EDGES_REFINED, value.shape[1]), -1).indices
        i, j, low, high = (x.gather(-1, top) for x in (i, j, low, high))
        outer = promise.gather(1, top.unsqueeze(-1).expand(-1, -1, 2))
        ends = torch.stack((low, high), -1)
        a, b = self.logits[batch, i].unsqueeze(2), self.logits[batch, j].unsqueeze(2)
        ends = self._bisect(a, b, ends, outer)
        mixes = torch.stack((ends, 1 - ends), -1)
        value = self._pair_divergence(mixes, i, j).masked_fill((low > high).unsqueeze(-1), -1.0)
        place = value.flatten(1).argmax(-1, keepdim=True)
        share = ends.flatten(1).gather(-1, place)
        i, j = i.gather(-1, place // 2), j.gather(-1, place // 2)
        best = torch.zeros_like(self.weights).scatter_(-1, i, share)
        return best.scatter_(-1, j, 1 - share)

    def _chosen_units(self) -> Tensor:
        width = self.weights.shape[1]
        if width <= EDGE_UNITS:
            return torch.arange(width, device=self.weights.device).expand_as(self.weights)
        half = EDGE_UNITS // 2
        light = self.weights.masked_fill(~self.real, math.inf)
        lightest = light.topk(half, -1, largest=False).indices
        change = self._change(self.logits).masked_fill(~self.real, math.inf)
        change.scatter_(-1, lightest, math.inf)
        return torch.cat((lightest, change.topk(half, -1, largest=False).indices), -1)

    def _stretches(self, a: Tensor, b: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outermost feasible shares of the first unit of each pair, and the points beyond.

        Returns:
            Lowest and highest feasible share `(B, P)`, lowest above highest where none is, and
            `(B, P, 2)` the infeasible grid points outside them (or 0 and 1).
        """
        grid = torch.linspace(0, 1, GRID + 1, dtype=a.dtype, device=a.device)
        share = grid.expand(*valid.shape, -1)
        change = self._change_between(a, b, share)
        # Nothing feasible on the grid: look again, more closely, where it came nearest.
        near = grid[change.argmin(-1)].unsqueeze(-1)
        closer = (near + (grid - 0.5) * 2 / GRID).clamp(0, 1)
        missed = ~(change <= self.epsilon).any(-1, keepdim=True)
        share = torch.where(missed, closer, share)
        if missed.any():
            change = torch.where(missed, self._change_between(a, b, closer), change)
        fits = (change <= self.epsilon) & valid.unsqueeze(-1)
        low = share.masked_fill(~fits, math.inf).amin(-1)
        high = share.masked_fill(~fits, -math.inf).amax(-1)
        step = torch.where(missed.squeeze(-1), 2 / GRID / GRID, 1 / GRID)
        beyond = torch.stack((low - step, high + step), -1).nan_to_num(0.5, 0.5, 0.5)
        return low, high, beyond.clamp(0, 1)

    def _change_between(self, a: Tensor, b: Tensor, share: Tensor) -> Tensor:
        """Output changes of mixes: `share (B, P, G)` of logits `a`, the rest of `b (B, P, C)`."""
        a, b = a.unsqueeze(2), b.unsqueeze(2)
        return self._change(b + share.unsqueeze(-1) * (a - b))

    def _bisect(self, a: Tensor, b: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
        """Moves feasible shares of `a` as far towards `outside` as they stay feasible."""
        inside = inside.nan_to_num(0.5, 0.5, 0.5)
        arrived = self._change(b + outside.unsqueeze(-1) * (a - b)) <= self.epsilon
        inside = torch.where(arrived, outside, inside)
        for _ in range(HALVINGS):
            middle = (inside + outside) / 2
            fits = self._change(b + middle.unsqueeze(-1) * (a - b)) <= self.epsilon
            inside, outside = torch.where(fits, middle, inside), torch.where(fits, outside, middle)
        return inside

    def _pair_divergence(self, mixes: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """Divergence of two-unit weights `(B, P, E, 2)` on the units `i` and `j (B, P)`."""
        a = torch.stack((self.weights.gather(-1, i), self.weights.gather(-1, j)), -1).unsqueeze(2)
        rest = (1 - a.sum(-1)).clamp_min(0.0)
        # The other units of the original count as one, and as nothing in the mix.
        mixes = torch.cat((mixes, torch.zeros_like(mixes[..., :1])), -1)
        return jensen_shannon(mixes, torch.cat((a, rest.unsqueeze(-1)), -1))

    def _moved(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """The best end of any feasible line from `start` to a unit, or away from it."""
        here = torch.bmm(start.unsqueeze(1), self.logits)
        least = -start / (1 - start).clamp_min(1e-12)  # where the unit's weight becomes 0
        least = torch.where(start < 1, least, 0.0)
        grid = torch.linspace(0, 1, GRID + 1, dtype=start.dtype, device=start.device)[1:]
        best, value = start, jensen_shannon(start, self.weights)
        for end in (torch.ones_like(start), least):
            steps = end.unsqueeze(-1) * grid
            move = (self.logits - here).unsqueeze(2)
            change = self._change(here.unsqueeze(2) + steps.unsqueeze(-1) * move)
            fits = (change <= self.epsilon) & self.real.unsqueeze(-1)
            # The last feasible point before the first infeasible one, then the edge itself.
            count = fits.to(torch.int64).cumprod(-1).sum(-1)
            inside = end * count / GRID
            outside = end * (count + 1).clamp(max=GRID) / GRID
            target = here + 0 * self.logits
            step = self._bisect(self.logits, target, inside, outside)
            step = step.masked_fill(~self.real, 0.0)
            value_t = self._line_divergence(start, step)
            gain, unit = value_t.max(-1)
            length = step.gather(-1, unit.unsqueeze(-1))
            moved = start * (1 - length)
            moved.scatter_add_(-1, unit.unsqueeze(-1), length)
            wins = gain > value
            best = torch.where(wins.unsqueeze(-1), moved.clamp_min(0.0), best)
            value = torch.where(wins, gain, value)
        return best, value

    def _line_divergence(self, start: Tensor, step: Tensor) -> Tensor:
        """JSD of `(1 − step_t) start + step_t e_t` from the weights, for every unit t."""
        eye = torch.eye(start.shape[1], dtype=start.dtype, device=start.device)
        moved = start.unsqueeze(1) * (1 - step.unsqueeze(-1)) + step.unsqueeze(-1) * eye
        return jensen_shannon(moved.clamp_min(0.0), self.weights.unsqueeze(1))
