"""Ensembles of seeds as a remedy: means of weights or ranks, the worst case, bag-level means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.evidence.seeds.grades import EnsembleRow
from attnaudit.evidence.seeds.grading import bag_auc
from attnaudit.evidence.seeds.layout import Layout
from attnaudit.measures.bootstrap import wilson_interval
from attnaudit.measures.detection import auroc
from attnaudit.measures.rank import average_ranks, spearman
from attnaudit.measures.ties import settled

AVERAGES = ("weights", "ranks")
SIZES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48)
SUBSETS = 100
"""Subsets drawn of each size, where there are more."""
CELLS_AT_ONCE = 1 << 24


def rank_weights(weights: Float[Tensor, "S T"], layout: Layout) -> Float[Tensor, "S T"]:
    """Ranks within each bag as weights: rank over the sum of ranks, ties sharing their mean.

    Weights of different seeds count alike this way, however peaked they are.
    """
    found = torch.zeros_like(weights, dtype=torch.float64)
    for _, index, mask in layout.groups(len(weights)):
        for place, row in enumerate(weights):
            ranks = average_ranks(settled(row[index], mask, "own"), mask)
            found[place, index[mask]] = (ranks / ranks.sum(-1, keepdim=True))[mask]
    return found


def ensemble_rows(
    weights: Float[Tensor, "S T"],
    outputs: Float[Tensor, "S n C"],
    layout: Layout,
    force: Mapping[str, float],
    *,
    subsets: int = SUBSETS,
    seed: int = 0,
) -> tuple[EnsembleRow, ...]:
    """Ensembles of every size up to all seeds, over all or drawn subsets of that size.

    Args:
        weights: `(S, T)`, one row a seed.
        outputs: `(S, n, C)`, log-probabilities; an ensemble predicts with the mean probability.
        layout: The test bags.
        force: The bars as they apply, see `bars_in_force`.
        subsets: How many are drawn of a size, where there are more.
        seed: Of the draw.
    """
    count = len(weights)
    # fewer where bags are large: the time stays bounded
    subsets = max(10, min(subsets, CELLS_AT_ONCE // max(1, weights.shape[1])))
    sizes = [n for n in SIZES if n < count] + [count]
    values = {"weights": weights.double(), "ranks": rank_weights(weights, layout)}
    chances = outputs.double().exp()
    rows = []
    for members in sizes:
        some, every = _subsets(count, members, subsets, seed)
        mixing = torch.zeros(len(some), count, dtype=torch.float64)
        for place, chosen in enumerate(some):
            mixing[place, list(chosen)] = 1 / members
        mixed = torch.einsum("ks,snc->knc", mixing, chances).clamp_min(1e-30).log()
        aucs = np.array([bag_auc(one, layout) for one in mixed])
        disjoint = _disjoint(count, members, seed)
        for average in AVERAGES:
            areas = _areas(values[average], mixing, layout)
            rows.append(_row(average, members, every, areas, aucs, force, len(disjoint) // members))
            if len(disjoint) >= 2 * members:
                agreed = _agreement(values[average], disjoint, members, layout)
                rows[-1] = rows[-1].model_copy(update={"agreement": agreed})
    return tuple(rows)


def able(row: EnsembleRow) -> int:
    """How many ensembles that share no seed are accurate, about; 1 where any is."""
    return max(1, round((row.accurate or 0.0) * row.disjoint)) if row.accurate else 0


def _row(
    average: str,
    members: int,
    every: bool,
    areas: np.ndarray,
    aucs: np.ndarray,
    force: Mapping[str, float],
    disjoint: int,
) -> EnsembleRow:
    fit = aucs >= force["bag"]
    about = {
        "average": average,
        "members": members,
        "subsets": len(aucs),
        "every": every,
        "disjoint": disjoint,
        "roc_auc": None if np.isnan(aucs).all() else float(np.nanmean(aucs)),
        "accurate": float(fit.mean()),
    }
    if np.isnan(areas).any():
        return EnsembleRow.model_validate(about)
    low, high = np.quantile(areas, (0.025, 0.975))
    row = EnsembleRow.model_validate(
        {
            **about,
            "mean": float(areas.mean()),
            "worst": float(areas.min()),
            "low": float(low),
            "high": float(high),
        }
    )
    if not fit.any():
        return row
    silent = float((areas[fit] < force["instance"]).mean())
    # subsets share seeds: the interval is that of accurate ensembles that share none
    interval = wilson_interval(round(silent * able(row)), able(row))
    return row.model_copy(
        update={
            "silent": silent,
            "silent_low": min(interval.low or 0.0, silent),
            "silent_high": silent if interval.high is None else max(interval.high, silent),
        }
    )


def _areas(values: Tensor, mixing: Tensor, layout: Layout) -> np.ndarray:
    """The mean instance AUROC of each mixture of seeds."""
    if not layout.has_truth:
        return np.full(len(mixing), math.nan)
    sums, counts = torch.zeros(len(mixing)).double(), 0
    for rows, index, mask in layout.groups(len(mixing)):
        kept = layout.known[rows]
        if not bool(kept.any()):
            continue
        index, mask = index[kept], mask[kept]
        mixed = torch.einsum("ks,srl->krl", mixing, values[:, index])
        many = mixed.shape[0]
        # rounding must not order what is tied
        areas = auroc(
            mixed.flatten(0, 1).float(), layout.truth[index].repeat(many, 1), mask.repeat(many, 1)
        ).reshape(many, -1)
        defined = ~areas[0].isnan()
        sums += areas[:, defined].sum(-1)
        counts += int(defined.sum())
    return (sums / counts).numpy() if counts else np.full(len(mixing), math.nan)


def _agreement(values: Tensor, order: Sequence[int], members: int, layout: Layout) -> float | None:
    """Mean Spearman, over bags, between the ensembles that `order` is cut into."""
    parts = [values[list(order[i : i + members])].mean(0) for i in range(0, len(order), members)]
    pairs = list(combinations(range(len(parts)), 2))[:30]
    means = []
    for a, b in pairs:
        for _, index, mask in layout.groups(2):
            found = spearman(parts[a][index].float(), parts[b][index].float(), mask)
            means.append(found[~found.isnan()])
    every = torch.cat(means)
    return float(every.mean()) if len(every) else None


def _subsets(count: int, members: int, most: int, seed: int) -> tuple[list[tuple[int, ...]], bool]:
    if math.comb(count, members) <= most:
        return list(combinations(range(count), members)), True
    rng = np.random.default_rng([seed, members])
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < most:
        drawn.add(tuple(sorted(rng.choice(count, members, replace=False).tolist())))
    return sorted(drawn), False


def _disjoint(count: int, members: int, seed: int) -> list[int]:
    """Seeds in random order, as many as whole ensembles of this size need."""
    order: list[int] = np.random.default_rng([seed, members, 1]).permutation(count).tolist()
    return order[: count - count % members]
