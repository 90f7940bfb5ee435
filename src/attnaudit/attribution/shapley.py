"""Shapley values of the units, sampled in strata: what a unit adds, whatever else is there."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnaudit.attribution.contract import Attribution, Options, on_units
from attnaudit.attribution.leave_one_out import deleted_outputs, too_long
from attnaudit.measures.odds import log_odds
from attnaudit.measures.seeded import instance_uniform
from attnaudit.models.edits import delete
from attnaudit.models.encoded import Encoded

LEAST = 2
"""Units of the smallest groups: of one alone, leaving it out leaves nothing."""
MOST_ROUNDS = 16


def sampled_shapley(encoded: Encoded, options: Options) -> Attribution:
    """What each unit adds to the log-odds of the predicted class, mean over what else is there.

    Leaving a unit out of the whole text is blind to evidence that is there twice. A Shapley value
    (Shapley 1953; for predictions, Štrumbelj & Kononenko 2010) is the mean over texts of all sizes
    that hold the unit. It is sampled in strata of halving sizes: each round cuts the units at
    random into groups of one size, and each unit is left out of its group. So every unit is seen
    once a round, units that do nothing get 0 exactly, and the small sizes, where redundant
    evidence shows, cost little.

    Cost: leave-one-out, and about two to three times that again for the groups.

    Returns:
        Signed scores in log-odds; NaN for instances that are too long for leave-one-out.
    """
    long = too_long(encoded, options.longest)
    if not long.any():
        return Attribution(on_units(_values(encoded, options), encoded))
    scores = torch.full_like(encoded.weights, torch.nan, dtype=torch.float64)
    short = (~long).nonzero().squeeze(-1)
    if len(short):
        some = Encoded(encoded.model, encoded.batch.take(short))
        scores[short] = _values(some, options)
    return Attribution(on_units(scores, encoded))


def strata(units: int) -> list[tuple[int, int, float]]:
    """The sizes of groups of a text of `units`, with their rounds and shares of the mean.

    A Shapley value is the mean over all sizes; each stratum stands for those that are nearest.

    Example:
        >>> [(size, rounds, round(share, 2)) for size, rounds, share in strata(12)]
        [(12, 1, 0.32), (6, 1, 0.41), (3, 2, 0.18), (2, 4, 0.09)]
    """
    sizes = [max(LEAST, units)]
    while units / 2 ** len(sizes) >= 1.5:
        sizes.append(max(LEAST, round(units / 2 ** len(sizes))))
    edges = [sizes[0] + 0.5, *((a + b) / 2 for a, b in pairwise(sizes)), LEAST - 0.5]
    whole = edges[0] - edges[-1]
    return [
        (size, min(MOST_ROUNDS, max(1, 2**step // 2)), (high - low) / whole)
        for step, (size, (high, low)) in enumerate(zip(sizes, pairwise(edges), strict=True))
    ]


def _values(encoded: Encoded, options: Options) -> Float[Tensor, "B L"]:
    plans = [strata(n) for n in encoded.units.sum(1).tolist()]
    total = torch.zeros(encoded.units.shape, dtype=torch.float64, device=encoded.units.device)
    for step in range(max(len(plan) for plan in plans)):
        rows = [row for row, plan in enumerate(plans) if step < len(plan)]
        some = torch.tensor(rows, device=total.device)
        sizes, rounds, shares = zip(*(plans[row][step] for row in rows), strict=True)
        share = torch.tensor(shares, dtype=torch.float64, device=total.device).unsqueeze(1)
        if step == 0:
            total[some] += share * _effects(encoded, encoded.targets, options.token_budget)[some]
            continue
        part = Encoded(encoded.model, encoded.batch.take(some))
        draws = instance_uniform(
            part.batch.ids, part.units, max(rounds), options.seed, f"shapley {step}"
        )
        left = torch.tensor(rounds, device=total.device).unsqueeze(1)
        size = torch.tensor(sizes, device=total.device)
        for one in range(max(rounds)):
            found = _in_groups(part, draws[:, one], size, encoded.targets[some], options)
            total[some] += share * torch.where(one < left, found / left, 0.0)
    return total


def _in_groups(
    encoded: Encoded,
    draws: Float[Tensor, "B L"],
    size: Int[Tensor, " B"],
    targets: Int[Tensor, " B"],
    options: Options,
) -> Float[Tensor, "B L"]:
    """What each unit adds to a random group of its own, everything else deleted."""
    batch, units = encoded.batch, encoded.units
    rank = draws.masked_fill(~units, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    count, size = units.sum(1, keepdim=True), size.unsqueeze(1)
    number = torch.arange(int((-(-count // size)).max()), device=units.device)
    rows, group = (number < -(-count // size)).nonzero(as_tuple=True)
    place = rank[rows] - group.unsqueeze(1) * size[rows]
    # the last group is filled up with units of the first, for which it does not count
    inside = (place % count[rows] < size[rows]) & units[rows]
    own = (place >= 0) & (place < size[rows]) & units[rows]
    whole = batch.take(rows)
    drop = whole.units & ~inside
    small = Encoded(encoded.model, delete(whole, drop, encoded.model))
    effects = _effects(small, targets[rows], options.token_budget)
    order = torch.argsort((~(whole.present & ~drop)).to(torch.uint8), dim=1, stable=True)
    placed = torch.zeros(own.shape, dtype=effects.dtype, device=effects.device)
    placed.scatter_(1, order[:, : effects.shape[1]], effects)
    result = torch.zeros(units.shape, dtype=effects.dtype, device=effects.device)
    return result.index_add_(0, rows, torch.where(own, placed, 0.0))


def _effects(encoded: Encoded, targets: Tensor, budget: int) -> Tensor:
    """The fall in log-odds when each unit is deleted, `(B, L)`; 0 where it is not defined."""
    gone = deleted_outputs(encoded, budget).double()
    with torch.no_grad():
        whole = log_odds(encoded.outputs.double(), targets)
        fall = whole.unsqueeze(1) - log_odds(gone, targets)
    # an empty text need not have an answer, and a certain one has no finite log-odds
    return torch.where(encoded.units, fall, 0.0).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
