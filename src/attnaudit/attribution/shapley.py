"""Shapley values of the units, sampled in strata: what a unit adds, whatever else is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.attribution.contract import Attribution, Options, on_units
from attnaudit.attribution.leave_one_out import deleted_outputs, too_long
from attnaudit.measures.odds import log_odds
from attnaudit.measures.seeded import instance_uniform
from attnaudit.models.cut import Batch
from attnaudit.models.encoded import Encoded

LEAST = 2
"""Units of the smallest groups: of one alone, leaving it out leaves nothing."""
MOST_ROUNDS = 16
POSITIONS = 1 << 15
"""Positions of groups in one block: bounds memory and has no influence on the result."""


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


@dataclass(frozen=True)
class _Groups:
    """Random groups of the units of some instances, one row each.

    Attributes:
        rows: `(G,)`, the instance that each is of.
        index: `(G, S)`, the positions that stay, in their order: units of the group, and markers.
        stays: `(G, S)`, False where a row is shorter.
        own: `(G, S)`, the units that the group counts for.
    """

    rows: Int[Tensor, " G"]
    index: Int[Tensor, "G S"]
    stays: Bool[Tensor, "G S"]
    own: Bool[Tensor, "G S"]


def _values(encoded: Encoded, options: Options) -> Float[Tensor, "B L"]:
    plans = [strata(n) for n in encoded.units.sum(1).tolist()]
    whole = torch.tensor([plan[0][2] for plan in plans], dtype=torch.float64)
    total = whole.to(encoded.units.device).unsqueeze(1) * _effects(
        encoded, encoded.targets, options.token_budget
    )
    for step in range(1, max(map(len, plans))):
        rows = [row for row, plan in enumerate(plans) if step < len(plan)]
        some = torch.tensor(rows, device=total.device)
        sizes, rounds, shares = zip(*(plans[row][step] for row in rows), strict=True)
        ids, units = [encoded.batch.ids[row] for row in rows], encoded.units[some]
        draws = instance_uniform(ids, units, max(rounds), options.seed, f"shapley {step}")
        for one in range(max(rounds)):
            active = [k for k in range(len(rows)) if one < rounds[k]]
            orders = draws[active, one].masked_fill(~units[active], 2.0).argsort(dim=1, stable=True)
            groups = _grouped(encoded.batch, some[active], orders, [sizes[k] for k in active])
            found = torch.zeros_like(total)
            _add(found, encoded, groups, options)
            for k in active:
                total[rows[k]] += shares[k] / rounds[k] * found[rows[k]]
    return total


def _grouped(batch: Batch, rows: Tensor, orders: Tensor, sizes: Sequence[int]) -> _Groups:
    """The units of each instance cut into groups of its size, in a random order.

    Where a number is left over, the last group is filled up with units of the first, for which it
    does not count.
    """
    parts: list[tuple[int, Tensor, Tensor]] = []
    for row, order, size in zip(rows.tolist(), orders, sizes, strict=True):
        n = int(batch.units[row].sum())
        markers = (batch.present[row] & ~batch.units[row]).nonzero().squeeze(1)
        for start in range(0, n, size):
            place = torch.arange(start, start + size, device=order.device)
            index = torch.cat([order[:n][place % n], markers])
            own = torch.cat([place < n, torch.zeros_like(markers, dtype=torch.bool)])
            index, by = index.sort()
            parts.append((row, index, own[by]))
    width = max(len(index) for _, index, _ in parts)
    padded = [torch.nn.functional.pad(index, (0, width - len(index))) for _, index, _ in parts]
    owned = [torch.nn.functional.pad(own, (0, width - len(own))) for *_, own in parts]
    counts = torch.tensor([len(index) for _, index, _ in parts], device=rows.device)
    return _Groups(
        torch.tensor([row for row, *_ in parts], device=rows.device),
        torch.stack(padded),
        torch.arange(width, device=rows.device) < counts.unsqueeze(1),
        torch.stack(owned),
    )


def _add(found: Tensor, encoded: Encoded, groups: _Groups, options: Options) -> None:
    """Add what each unit adds to its own group, everything else deleted; in blocks."""
    batch, model = encoded.batch, encoded.model
    step = max(1, POSITIONS // groups.index.shape[1])
    for start in range(0, len(groups.rows), step):
        block = slice(start, start + step)
        rows, index, stays = groups.rows[block], groups.index[block], groups.stays[block]
        at = rows.unsqueeze(1)
        inputs = batch.inputs[at, index]
        shown = stays if inputs.dim() == 2 else stays.unsqueeze(-1)
        small = Batch(
            tuple(batch.ids[row] for row in rows.tolist()),
            torch.where(shown, inputs, torch.full_like(inputs, model.pad_value)),
            stays,
            batch.units[at, index] & stays,
            {name: value[rows] for name, value in batch.extra.items()},
        )
        effects = _effects(Encoded(model, small), encoded.targets[rows], options.token_budget)
        own = groups.own[block]
        found.index_put_((at.expand_as(index)[own], index[own]), effects[own])


def _effects(encoded: Encoded, targets: Tensor, budget: int) -> Tensor:
    """The fall in log-odds when each unit is deleted, `(B, L)`; 0 where it is not defined."""
    gone = deleted_outputs(encoded, budget).double()
    with torch.no_grad():
        whole = log_odds(encoded.outputs.double(), targets)
        fall = whole.unsqueeze(1) - log_odds(gone, targets)
    # an empty text need not have an answer, and a certain one has no finite log-odds
    return torch.where(encoded.units, fall, 0.0).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
