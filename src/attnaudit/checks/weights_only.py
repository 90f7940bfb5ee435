"""What does the decoder make of the weights when no content is left behind them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnaudit.checks.declaration import SHORTCUT, Check
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.judges.cells import Judgements, Judging
from attnaudit.evidence.judges.interventions import LEAK, above_chance, best_of
from attnaudit.evidence.judges.probe import most_common
from attnaudit.findings.estimates import below, spoken
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.metrics import performance
from attnaudit.findings.pictures import Block, estimates_table
from attnaudit.findings.settings import LEAST_INSTANCES
from attnaudit.findings.wording import Statistic


def conclude(evidence: Judgements) -> list[Finding]:
    """Whether the decoder still predicts the label when the content is taken away.

    Returns:
        `fail` where it predicts it clearly better than chance.
    """
    moved, labels, settings = evidence.moved, evidence.reading.labels, evidence.settings
    if moved is None:
        return []
    above = above_chance(moved, labels, settings)
    majority = float(np.mean(labels == most_common(labels)))
    estimates = list(above)
    for subject, said in moved.without.items():
        for estimate in performance(labels, [said], settings, subject):
            null = {"accuracy": majority, "roc_auc": 0.5}.get(estimate.statistic)
            estimates.append(estimate.model_copy(update={"null": null}))
    headline = best_of(above)
    verdict = below(headline, settings.bar(LEAK), settings.least)
    figures = (
        f"balanced accuracy above chance {spoken(headline, 3)}, the better of two replacements"
    )
    sentence = {
        Verdict.FAIL: "With the content taken away, the decoder still reads the label from the "
        f"weights ({figures}).",
        Verdict.PASS: "With the content taken away, the decoder reads little or nothing from the "
        f"weights ({figures}).",
    }.get(verdict, f"What the decoder reads from the weights alone is not certain ({figures}).")
    return [
        Finding(
            check="weights_only",
            subject="weights",
            verdict=verdict,
            sentence=sentence,
            headline=headline,
            estimates=tuple(estimates),
            thresholds=settings.used(LEAK, LEAST_INSTANCES),
        )
    ]


def picture(evidence: Judgements, findings: Sequence[Finding]) -> list[Block]:
    """Every number."""
    return [estimates_table("All numbers with the content gone", findings[0].estimates)]


WEIGHTS_ONLY = Check(
    name="weights_only",
    title="Weights without content",
    paper="Bai et al. 2021; protocol ours",
    question="What does the decoder read when the content is gone?",
    statistic="balanced accuracy above chance, with a mean vector in the place of every word",
    null="0: chance",
    higher_is_better=False,
    range=(-1.0, 1.0),
    group=SHORTCUT,
    kinds=(TEXTS, BAGS),
    asks=Judging(interventions=True),
    conclude=conclude,
    decisive=False,
    caveat="A decoder that sums its states sees nothing when all of them are one vector; the mean "
    "of the place keeps default tokens apart.",
    bars=(LEAK, LEAST_INSTANCES),
    bar=LEAK,
    picture=picture,
    words={
        "balanced_accuracy_above_chance": Statistic(
            "balanced accuracy over chance", "0 is chance; every class counts alike"
        ),
    },
    cost="two passes of the decoder",
)
