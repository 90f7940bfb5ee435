"""Shapley values of the units, sampled in strata: what a unit adds, whatever else is there."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
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

    Example:
        >>> strata(12)
        [(12, 1, 0.5), (6, 1, 0.25), (3, 2, 0.125), (2, 4, 0.125)]
    """
    found, part = [], 1
    while part == 1 or units / part >= 1.5:
        size = max(LEAST, round(units / part))
        rounds = 1 if part == 1 else min(MOST_ROUNDS, max(1, part // 2))
        found.append((size, rounds, 1 / (2 * part)))
        part *= 2
    # what is left of the sizes belongs to the smallest stratum
    size, rounds, share = found[-1]
    found[-1] = (size, rounds, 2 * share)
    return found


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
        for one in range(max(rounds)):
            groups = _groups(draws[:, one], part.units, torch.tensor(sizes, device=total.device))
            found = _in_groups(part, groups, encoded.targets[some], options.token_budget)
            total[some] += share * torch.where(one < left, found / left, 0.0)
    return total


def _groups(
    draws: Float[Tensor, "B L"], units: Bool[Tensor, "B L"], sizes: Tensor
) -> Float[Tensor, "B L"]:
    """The number of the random group that each unit is in; the last one takes what is over."""
    rank = draws.masked_fill(~units, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    count = (units.sum(1) // sizes).clamp(min=1)
    return torch.minimum(rank // sizes.unsqueeze(1), (count - 1).unsqueeze(1))


def _in_groups(encoded: Encoded, groups: Tensor, targets: Tensor, budget: int) -> Tensor:
    """What each unit adds to its own group, `(B, L)`, everything else deleted."""
    batch, units = encoded.batch, encoded.units
    alone = (groups.unsqueeze(1) == groups.unsqueeze(2)) & units.unsqueeze(1)
    first = alone.to(torch.uint8).argmax(2) == torch.arange(units.shape[1], device=units.device)
    rows, leader = (first & units).nonzero(as_tuple=True)
    keep = alone[rows, leader]
    whole = batch.take(rows)
    drop = whole.units & ~keep
    small = Encoded(encoded.model, delete(whole, drop, encoded.model))
    effects = _effects(small, targets[rows], budget)
    order = torch.argsort((~(whole.present & ~drop)).to(torch.uint8), dim=1, stable=True)
    placed = torch.zeros(keep.shape, dtype=effects.dtype, device=effects.device)
    placed.scatter_(1, order[:, : effects.shape[1]], effects)
    result = torch.zeros(units.shape, dtype=effects.dtype, device=effects.device)
    return result.index_add_(0, rows, torch.where(keep, placed, 0.0))


def _effects(encoded: Encoded, targets: Tensor, budget: int) -> Tensor:
    """The fall in log-odds when each unit is deleted, `(B, L)`; 0 where it is not defined."""
    gone = deleted_outputs(encoded, budget).double()
    with torch.no_grad():
        whole = log_odds(encoded.outputs.double(), targets)
        fall = whole.unsqueeze(1) - log_odds(gone, targets)
    # an empty text need not have an answer, and a certain one has no finite log-odds
    return torch.where(encoded.units, fall, 0.0).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
