"""Randomised weights: does the explanation depend on what the encoder has learnt?"""

from __future__ import annotations

import warnings

import numpy as np

from attnaudit.checks.declaration import PAIRS, Check
from attnaudit.data import kinds
from attnaudit.evidence.pairs.chunks import PairBatch, Pairs
from attnaudit.evidence.pairs.pair_methods import ranks_nothing, scores_of
from attnaudit.evidence.pairs.rivals import left_out, undecided
from attnaudit.evidence.pairs.view import Array, Columns, PairView
from attnaudit.findings.estimates import average, spoken, values_of
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.settings import LEAST_INSTANCES, Bar
from attnaudit.models.siamese.spearman import rank_correlation

NAME = "randomised_weights"
RANDOMISED_RANK = Bar(
    "randomised_rank",
    0.5,
    "Rank correlation with the explanation of a randomised encoder from which the explanation does "
    "not depend enough on what was learnt. Ours, after Adebayo et al. 2018.",
    least=-1.0,
)


def measure(view: PairView) -> Columns:
    """Rank correlation of pairs and of tokens with those of randomised copies, mean over copies."""
    if not view.shared.randomised:
        return {}
    own = scores_of(view, "integrated")
    found: dict[str, list[list[float]]] = {"pairs": [], "tokens": []}
    for explainer in view.shared.randomised:
        tables = list(explainer.tables(view.pairs))
        matrices = [table.pairs.double().cpu().numpy() for table in tables]
        rows: dict[str, list[float]] = {"pairs": [], "tokens": []}
        for row, (matrix, table) in enumerate(zip(matrices, tables, strict=True)):
            a, b = view.units[row]
            sides = np.concatenate(
                [
                    np.asarray(table.values.sum(1).cpu())[:-1][a],
                    np.asarray(table.values.sum(0).cpu())[:-1][b],
                ]
            )
            both = np.concatenate([own[row].a, own[row].b])
            some = view.rankable[row]
            rows["pairs"].append(correlation(own[row].pairs, matrix[np.ix_(a, b)], some))
            rows["tokens"].append(correlation(both, sides, some))
        for kind, values in rows.items():
            found[kind].append(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pair without values has no mean
        return {kind: np.nanmean(values, axis=0) for kind, values in found.items()}


def correlation(x: Array | None, y: Array, rankable: bool) -> float:
    """Spearman's ρ of all entries; NaN where one side ranks nothing."""
    if not rankable or x is None or ranks_nothing(x) or ranks_nothing(y):
        return float("nan")
    return rank_correlation(x.ravel(), y.ravel())


def conclude(evidence: Pairs) -> list[Finding]:
    """Pass where the correlation lies below the bar for certain, fail where it lies above."""
    frame, settings = evidence.frame, evidence.settings
    if "pairs" not in frame.columns:
        return [
            Finding(
                check=NAME,
                subject="integrated",
                verdict=Verdict.NOT_APPLICABLE,
                sentence="This explainer cannot be put to another encoder; give `remake`.",
            )
        ]
    bar = settings.bar(RANDOMISED_RANK)
    estimates = [
        average(
            values_of(frame, kind),
            settings,
            statistic="spearman",
            subject="integrated~randomised",
            group=kind,
            null=0.0,
        )
        for kind in ("pairs", "tokens")
    ]
    verdict = _rule(estimates[0], bar, settings.least)
    base = (
        "The pairs' scores and those of the same encoder with shuffled weights have a mean "
        f"Spearman correlation of {spoken(estimates[0])}; 0 is expected of unrelated rankings."
    )
    sentence = {
        Verdict.PASS: f"{base} The explanation depends on what the encoder has learnt.",
        Verdict.FAIL: f"{base} The explanation is much the same whether or not the encoder has "
        "learnt anything.",
        Verdict.INCONCLUSIVE: f"{base} " + undecided(estimates[0], settings.least, bar),
        Verdict.NOT_APPLICABLE: "No pair has scores that differ, so there are no ranks to compare.",
    }[verdict]
    return [
        Finding(
            check=NAME,
            subject="integrated",
            verdict=verdict,
            sentence=sentence,
            headline=estimates[0],
            estimates=tuple(estimates),
            thresholds=settings.used(RANDOMISED_RANK, LEAST_INSTANCES),
            notes=left_out(estimates[0]),
        )
    ]


def _rule(rank: Estimate, bar: float, least: int) -> Verdict:
    if rank.value is None:
        return Verdict.NOT_APPLICABLE
    if rank.n < least or rank.low is None or rank.high is None:
        return Verdict.INCONCLUSIVE
    if rank.high < bar:
        return Verdict.PASS
    return Verdict.FAIL if rank.low >= bar else Verdict.INCONCLUSIVE


RANDOMISED_WEIGHTS = Check(
    name=NAME,
    title="Randomised weights",
    paper="Adebayo et al. 2018",
    question="Does the explanation change when what the encoder has learnt is destroyed?",
    statistic="mean Spearman's ρ of pair scores with those of a copy whose weights are shuffled",
    null="0",
    higher_is_better=False,
    range=(-1.0, 1.0),
    group=PAIRS,
    kinds=(kinds.PAIRS,),
    asks=PairBatch(measure),
    conclude=conclude,
    decisive=True,
    essential=True,
    caveat="Equal tokens in both texts are alike in any encoder, so some correlation remains. "
    "Random scores pass: the check can only forbid.",
    bars=(RANDOMISED_RANK, LEAST_INSTANCES),
    bar=RANDOMISED_RANK,
)
