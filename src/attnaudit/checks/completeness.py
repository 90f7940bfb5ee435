"""Completeness: does the table add up to the score?"""

from __future__ import annotations

import numpy as np

from attnaudit.checks.declaration import PAIRS, Check
from attnaudit.data import kinds
from attnaudit.evidence.pairs.chunks import PairBatch, Pairs
from attnaudit.evidence.pairs.view import Columns, PairView
from attnaudit.findings.estimates import average, share, spoken, values_of
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.wording import Statistic


def measure(view: PairView) -> Columns:
    """What each table misses of the model's own score, which is not taken from the table."""
    totals = np.array([table.total for table in view.tables])
    plain = np.array([float(table.pairs.sum()) for table in view.tables])
    scale = view.scale.numpy()
    tolerance = np.array([table.tolerance for table in view.tables])
    residual = view.scores - totals
    # a table of NaN adds up to nothing
    adds_up = np.abs(residual) <= tolerance
    return {
        "adds_up": adds_up.astype(np.float64),
        "residual": residual * scale,
        "plain_error": (view.scores - plain) * scale,
        "reference": np.array([max(table.reference_a, table.reference_b) for table in view.tables]),
    }


def conclude(evidence: Pairs) -> list[Finding]:
    """Every table, or it fails: this is no claim about other pairs, so few are enough."""
    frame, settings = evidence.frame, evidence.settings
    flags = values_of(frame, "adds_up")
    headline = share(flags, settings, statistic="adds_up", subject="integrated", null=0.0)
    sizes = {
        name: average(
            np.abs(values_of(frame, f"{name}")),
            settings,
            statistic=name,
            subject=subject,
            null=0.0,
        )
        for name, subject in (("residual", "integrated"), ("plain_error", "plain"))
    }
    reference = average(
        values_of(frame, "reference"),
        settings,
        statistic="reference_length",
        subject="reference",
        null=0.0,
    )
    missed = int((flags == 0).sum())
    plain = spoken(sizes["plain_error"], 3)
    if missed:
        worst = float(np.nanmax(np.abs(values_of(frame, "residual")), initial=0.0))
        sentence = (
            f"{missed} of {len(flags)} tables do not add up to the score (largest residual "
            f"{worst:.3g} as a cosine, or no number at all), so they do not explain all of it. "
            "Lower the tolerance or start from a deeper layer until every table adds up."
        )
    else:
        sentence = (
            f"All {len(flags)} tables add up to the score within their tolerance. The matrix "
            f"without references misses it by {plain} on average."
        )
    return [
        Finding(
            check="completeness",
            subject="integrated",
            verdict=Verdict.FAIL if missed else Verdict.PASS,
            sentence=sentence,
            headline=headline,
            estimates=(headline, *sizes.values(), reference),
        )
    ]


COMPLETENESS = Check(
    name="completeness",
    title="Completeness",
    paper="Möller et al. 2023; Sundararajan et al. 2017",
    question="Does the table add up to the model's own score?",
    statistic="share of pairs whose table adds up within its tolerance",
    null="0",
    higher_is_better=True,
    group=PAIRS,
    kinds=(kinds.PAIRS,),
    asks=PairBatch(measure),
    conclude=conclude,
    decisive=True,
    caveat="Numbers that add up need not be the right ones; the other checks ask that.",
    requires=lambda finding: "every table",
    words={
        "adds_up": Statistic("share of tables that add up", "within their tolerance", percent=True),
        "residual": Statistic("mean residual", "size of score less sum, as a cosine"),
        "plain_error": Statistic("mean error of the plain matrix", "size, as a cosine"),
        "reference_length": Statistic("length of the reference", "its embedding over the text's"),
    },
)
