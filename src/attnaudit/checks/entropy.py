"""Entropy: does the output fall where sharp weights are made equal?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats
import torch

from attnaudit.checks.declaration import ATTENTION, Check, estimate_of
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.view import Columns, View, column
from attnaudit.findings.estimates import above, average, spoken, values_of
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    Distribution,
    Distributions,
    Figure,
    Guide,
    histogram,
    told,
)
from attnaudit.findings.settings import LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import Statistic, threshold, value_of
from attnaudit.measures.divergence import entropy, total_variation

DROP = Bar(
    "entropy_drop",
    0.05,
    "Mean output change (total variation) when the weights are made equal, below which it does not "
    "matter how sharp they are. The ε of Jain & Wallace 2019, section 4.2.2, that count as the "
    "same prediction.",
)
BINS_DRAWN = 40


def measure(view: View) -> Columns:
    """The entropy of the weights over its largest, and the output change under equal weights."""
    encoded, units = view.encoded, view.units
    count = units.sum(1).clamp(min=1)
    equal = (units / count.unsqueeze(1)).to(encoded.weights)
    with torch.no_grad():
        change = total_variation(encoded.decode(equal).exp(), encoded.probabilities)
    spread = entropy(encoded.weights.double()) / count.double().log()
    # one unit has no entropy, and equal weights stay as they are
    undefined = view.single | view.constant
    return {
        "spread": column(spread.masked_fill(view.single, torch.nan)),
        "drop": column(change.masked_fill(undefined, torch.nan)),
    }


def conclude(evidence: Instances) -> list[Finding]:
    """The mean change against the bar; whether it grows with the sharpness beside it."""
    frame, settings = evidence.frame, evidence.settings
    spread, drop = values_of(frame, "spread"), values_of(frame, "drop")
    about = {"subject": "weights"}
    headline = average(drop, settings, statistic="equal_weights_drop", null=0.0, **about)
    sharpness = average(spread, settings, statistic="relative_entropy", null=1.0, **about)
    trend = _trend(1 - spread, drop, settings)
    verdict = above(headline, settings.bar(DROP), settings.least)
    figures = (
        f"the output moves by {spoken(headline)} (total variation); their entropy is "
        f"{spoken(sharpness)} of the largest possible; sharper weights and larger moves go "
        f"together with ρ = {spoken(trend)}"
    )
    sentence = {
        Verdict.PASS: f"How sharp the weights are matters: when they are made equal {figures}.",
        Verdict.FAIL: "How sharp the weights are hardly matters, so their peaks say little: when "
        f"they are made equal {figures}.",
        Verdict.INCONCLUSIVE: "Whether it matters how sharp the weights are cannot be decided: "
        f"when they are made equal {figures}.",
        Verdict.NOT_APPLICABLE: "The weights of every instance are equal already.",
    }[verdict]
    return [
        Finding(
            check="entropy",
            subject="weights",
            verdict=verdict,
            sentence=sentence,
            headline=headline,
            estimates=(headline, sharpness, trend),
            thresholds=settings.used(DROP, LEAST_INSTANCES),
        )
    ]


def _trend(sharpness: np.ndarray, drop: np.ndarray, settings: Settings) -> Estimate:
    """Spearman's ρ over instances between sharpness and output change."""
    known = np.isfinite(sharpness) & np.isfinite(drop)
    # in the order of the values, so that the interval does not depend on that of the instances
    pairs = np.array(sorted(zip(sharpness[known], drop[known], strict=True))).reshape(-1, 2)
    about = {"statistic": "entropy_trend", "subject": "weights", "null": 0.0}
    n, left = len(pairs), int((~known).sum())
    if n < 3 or (pairs == pairs[0]).all(0).any():
        return Estimate(value=None, n=n, undefined=left, **about)
    ranks = scipy.stats.rankdata(pairs, axis=0)
    found = scipy.stats.bootstrap(
        (ranks[:, 0], ranks[:, 1]),
        lambda a, b: np.corrcoef(a, b)[0, 1],
        n_resamples=settings.resamples,
        vectorized=False,
        paired=True,
        confidence_level=settings.confidence,
        method="percentile",
        rng=np.random.default_rng(settings.seed),
    ).confidence_interval
    value = float(np.corrcoef(ranks.T)[0, 1])
    low, high = (None if np.isnan(end) else float(end) for end in found)
    return Estimate(value=value, low=low, high=high, n=n, undefined=left, **about)


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Figure]:
    """How far the output moves under equal weights, for sharper and for flatter weights."""
    frame, finding = evidence.frame, findings[0]
    if finding.headline is None or finding.headline.value is None:
        return []
    spread, drop = values_of(frame, "spread"), values_of(frame, "drop")
    middle = np.nanmedian(spread)

    def row(label: str, inside: np.ndarray, colour: str) -> Distribution:
        mean = estimate_of(finding, "equal_weights_drop", "weights")
        counts = histogram(np.where(inside, drop, np.nan), (0, 1), BINS_DRAWN)
        return Distribution(label, counts, mean if inside.all() else None, colour)

    rows = [
        row("all instances", np.full(len(drop), True), MUTED),
        row("sharper half", spread <= middle, ACCENT),
        row("flatter half", spread > middle, ACCENT),
    ]
    rows = [one for one in rows if sum(one.counts)]
    bar = finding.thresholds[DROP.name]
    return [
        Figure(
            "entropy",
            "How far the output moves when the weights are made equal: "
            f"{value_of(finding.headline)} on average",
            "Instances by their output change under equal weights. Sharp weights whose loss moves "
            "nothing are peaks in a picture and no more. Heights are scaled within each row.",
            Distributions(
                rows=tuple(rows),
                domain=(0, 1),
                bins=BINS_DRAWN,
                axis="output change (total variation, 0 to 1)",
                guides=(Guide(bar, f"bar {threshold(bar)}", dashed=False),),
            ),
            told(rows),
        )
    ]


ENTROPY = Check(
    name="entropy",
    title="Equal weights",
    paper="after Wiegreffe & Pinter 2019, section 3.1, without training",
    question="Does the output fall where sharp weights are made equal?",
    statistic="mean over instances of the total variation between the outputs under the weights "
    "and under equal ones",
    null="0: it does not matter how sharp the weights are",
    higher_is_better=True,
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure),
    conclude=conclude,
    decisive=False,
    caveat="Where the states of all units say the same, equal weights lose nothing although the "
    "model was trained with others; the check `uniform` trains it with equal ones.",
    bars=(DROP, LEAST_INSTANCES),
    bar=DROP,
    picture=picture,
    words={
        "equal_weights_drop": Statistic(
            "mean change under equal weights", "total variation between the outputs, 0 to 1"
        ),
        "relative_entropy": Statistic(
            "mean entropy of the weights", "share of that of equal weights", percent=True
        ),
        "entropy_trend": Statistic(
            "sharper and larger", "Spearman's ρ over instances of sharpness and output change"
        ),
    },
)
