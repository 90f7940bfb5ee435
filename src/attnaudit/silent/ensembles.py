"""Ensembles of seeds as a remedy: means of weights or ranks, the worst case, bag-level means."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.checks.findings import Estimate, Finding, Verdict
from attnaudit.measures.bootstrap import wilson_interval
from attnaudit.measures.detection import auroc
from attnaudit.measures.rank import average_ranks, spearman
from attnaudit.silent.grading import bag_auc
from attnaudit.silent.layout import Layout
from attnaudit.silent.schema import EnsembleRow

ENSEMBLES = "ensembles"
AVERAGES = ("weights", "ranks")
SIZES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48)
SUBSETS = 100
"""Subsets drawn of each size, where there are more."""
CELLS_AT_ONCE = 1 << 24
HURTS = 0.02
"""An ensemble whose mean AUROC is lower than a single seed's by more does harm. Ours."""


def rank_weights(weights: Float[Tensor, "S T"], layout: Layout) -> Float[Tensor, "S T"]:
    """Ranks within each bag as weights: rank over the sum of ranks, ties sharing their mean.

    Weights of different seeds count alike this way, however peaked they are.
    """
    found = torch.zeros_like(weights, dtype=torch.float64)
    for _, index, mask in layout.groups(len(weights)):
        for place, row in enumerate(weights):
            ranks = average_ranks(row[index], mask)
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


def ensemble_finding(rows: Sequence[EnsembleRow], good: bool) -> Finding:
    """What averaging gains in the worst case.

    Passes where no ensemble of 6 seeds (or of as many as leave several) is a silent failure, fails
    where ensembles are worse than single seeds, and is inconclusive otherwise.

    Args:
        rows: See `ensemble_rows`.
        good: Whether enough seeds do their task.
    """
    graded = [row for row in rows if row.average == "weights" and row.mean is not None]
    if not graded or not good or graded[0].worst is None:
        return Finding(
            check=ENSEMBLES, subject="mean weights", verdict=Verdict.NOT_APPLICABLE,
            sentence=_without_truth(rows) if good else
            "Too few seeds do their task to speak of ensembles.",
        )  # fmt: skip
    single = graded[0]
    # several subsets are needed for a worst case: the one ensemble of all seeds has none
    several = [row for row in graded if row.subsets > 1 and row.members > 1]
    best = _settled(several) if several else graded[-1]
    assert single.worst is not None
    assert single.mean is not None
    assert best.worst is not None
    assert best.mean is not None
    gain, change = best.worst - single.worst, best.mean - single.mean
    harm = change < -HURTS or gain < -HURTS
    cured = bool(several) and not best.silent
    verdict = Verdict.FAIL if harm else Verdict.PASS if cured else Verdict.INCONCLUSIVE
    said = (
        f"The worst of {best.subsets} ensembles of {best.members} seeds has an instance AUROC of "
        f"{best.worst:.2f}, the worst of {single.subsets} single seeds {single.worst:.2f}: a gain "
        f"of {gain:+.2f}. The mean goes from {single.mean:.2f} to {best.mean:.2f}."
    )
    if single.silent is not None and best.silent is not None:
        said += (
            f" Of single seeds {single.accurate:.0%} are accurate and {single.silent:.0%} silent "
            f"failures, of the ensembles {best.accurate:.0%} and {best.silent:.0%} "
            f"({best.silent_low:.0%} to {best.silent_high:.0%}, as from {best.disjoint} that "
            "share no seed)."
        )
    return Finding(
        check=ENSEMBLES, subject="mean weights", verdict=verdict, sentence=said,
        headline=Estimate(statistic="worst_gain", subject="mean weights",
                          group=f"{best.members} seeds", value=gain, n=best.subsets, null=0.0),
        estimates=tuple(_estimates(rows)), thresholds={"hurts": HURTS},
        notes=("Subsets share seeds, so that the worst of many is no independent draw.",),
    )  # fmt: skip


def _settled(rows: Sequence[EnsembleRow]) -> EnsembleRow:
    """The smallest size of 6 or more with several subsets, or the largest there is."""
    return next((row for row in rows if row.members >= 6), rows[-1])


def _without_truth(rows: Sequence[EnsembleRow]) -> str:
    told = [row for row in rows if row.average == "weights" and row.agreement is not None]
    if not told:
        return "Which instances are keys is not known, so that ensembles cannot be graded."
    first, last = told[0], told[-1]
    return (
        f"Which instances are keys is not known. The weights of two single seeds agree at Spearman "
        f"{first.agreement:.2f} on average, those of two ensembles of {last.members} that share no "
        f"seed at {last.agreement:.2f}."
    )


def _estimates(rows: Sequence[EnsembleRow]) -> Iterator[Estimate]:
    for row in rows:
        about = {"subject": f"mean {row.average}", "group": f"{row.members} seeds"}
        yield Estimate(statistic="auroc", value=row.mean, low=row.low, high=row.high,
                       n=row.subsets, null=0.5, **about)  # fmt: skip
        yield Estimate(statistic="worst_auroc", value=row.worst, n=row.subsets, null=0.5, **about)
        yield Estimate(statistic="silent_share", value=row.silent, low=row.silent_low,
                       high=row.silent_high, n=row.disjoint, **about)  # fmt: skip


def _row(
    average: str, members: int, every: bool, areas: np.ndarray, aucs: np.ndarray,
    force: Mapping[str, float], disjoint: int,
) -> EnsembleRow:  # fmt: skip
    about = {
        "average": average, "members": members, "subsets": len(aucs), "every": every,
        "disjoint": disjoint,
        "roc_auc": None if np.isnan(aucs).all() else float(np.nanmean(aucs)),
        "accurate": float((aucs >= force["bag"]).mean()),
    }  # fmt: skip
    if np.isnan(areas).any():
        return EnsembleRow.model_validate(about)
    silent = float(((aucs >= force["bag"]) & (areas < force["instance"])).mean())
    # subsets share seeds: the interval is that of ensembles that share none
    interval = wilson_interval(round(silent * disjoint), disjoint)
    low, high = np.quantile(areas, (0.025, 0.975))
    return EnsembleRow.model_validate({
        **about, "mean": float(areas.mean()), "worst": float(areas.min()), "low": float(low),
        "high": float(high), "silent": silent,
        "silent_low": min(interval.low or 0.0, silent),
        "silent_high": max(interval.high or 0.0, silent),
    })  # fmt: skip


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
        areas = auroc(mixed.flatten(0, 1).float(), layout.truth[index].repeat(many, 1),
                      mask.repeat(many, 1)).reshape(many, -1)  # fmt: skip
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
