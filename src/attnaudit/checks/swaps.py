"""Do predictions follow the weights of another instance, beyond losing the evidence?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnaudit.checks.declaration import SHORTCUT, Check
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.judges.cells import Judgements, Judging
from attnaudit.evidence.judges.interventions import SWAP, Flips, flips_by_class
from attnaudit.findings.estimates import below, share, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import Block, estimates_table
from attnaudit.findings.settings import LEAST_INSTANCES, Settings
from attnaudit.findings.wording import Statistic


def conclude(evidence: Judgements) -> list[Finding]:
    """Whether predictions follow the weights of another instance.

    Returns:
        `fail` where weights of another class flip clearly more than weights of the same class.
    """
    if evidence.moved is None:
        return []
    flips, settings = evidence.moved.flips, evidence.settings
    if flips is None:
        return [
            Finding(
                check="swaps",
                subject="weights",
                verdict=Verdict.NOT_APPLICABLE,
                sentence="Nothing was swapped: the model predicts one class only, so there is "
                "nothing to swap with.",
            )
        ]
    rates = {
        "weights of another class": flips.other,
        "weights of the same class": flips.same,
        "content of another class": flips.content,
        "equal weights": flips.equal,
    }
    shown = [share(f, settings, statistic="flip_share", subject=s) for s, f in rates.items()]
    headline = flips_by_class(flips, settings)
    verdict = below(headline, settings.bar(SWAP), settings.least)
    other, same, content = (e.value if e.value is not None else float("nan") for e in shown[:3])
    figures = (
        f"share flipped by weights of another class {other:.2f}, of the same class {same:.2f}, "
        f"mean paired difference {spoken(headline)}; by content of another class {content:.2f}"
    )
    sentence = {
        Verdict.FAIL: f"Predictions follow the weights of another instance ({figures}).",
        Verdict.PASS: "Weights of another class change predictions hardly more than other weights "
        f"of the same class ({figures}).",
    }.get(verdict, f"Whether predictions follow the weights of others is not certain ({figures}).")
    return [
        Finding(
            check="swaps",
            subject="weights",
            verdict=verdict,
            sentence=sentence,
            headline=headline,
            estimates=(headline, *shown, shortcut_share(flips, settings)),
            thresholds=settings.used(SWAP, LEAST_INSTANCES),
        )
    ]


def shortcut_share(flips: Flips, settings: Settings) -> Estimate:
    """Flips by weights over flips by weights and by content, with a bootstrap interval."""
    both = np.stack([flips.other, flips.content])
    known = both[:, np.isfinite(both).all(0)]
    n = known.shape[1]
    value = low = high = None
    if known.sum() > 0:
        value = float(known[0].sum() / known.sum())
        rng = np.random.default_rng(settings.seed)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=settings.resamples) @ known.T
        some = drawn[drawn.sum(1) > 0]
        tail = 0.5 - settings.confidence / 2
        low, high = (float(q) for q in np.quantile(some[:, 0] / some.sum(1), (tail, 1 - tail)))
    return Estimate(
        statistic="shortcut_share",
        subject="weights of another class",
        value=value,
        low=low,
        high=high,
        n=n,
        undefined=both.shape[1] - n,
    )


def picture(evidence: Judgements, findings: Sequence[Finding]) -> list[Block]:
    """Every number."""
    return [estimates_table("All numbers of the swaps", findings[0].estimates)]


SWAPS = Check(
    name="swaps",
    title="Swapped weights",
    paper="Bai et al. 2021; protocol ours",
    question="Do predictions follow the weights of another record?",
    statistic="share of predictions changed by weights of another predicted class, less the share "
    "changed by weights of the same class",
    null="0: weights of another class change no more than other weights",
    higher_is_better=False,
    range=(-1.0, 1.0),
    group=SHORTCUT,
    kinds=(TEXTS, BAGS),
    asks=Judging(interventions=True),
    conclude=conclude,
    decisive=False,
    caveat="Weights of other records miss the units that matter; only the difference speaks.",
    bars=(SWAP, LEAST_INSTANCES),
    bar=SWAP,
    picture=picture,
    words={
        "flips_by_class": Statistic(
            "flips by class", "by weights of another class, less those of the same class"
        ),
        "shortcut_share": Statistic(
            "shortcut share", "flips by weights, of flips by weights and by content", percent=True
        ),
    },
    cost="four passes of the decoder",
)
