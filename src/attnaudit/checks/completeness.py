"""Completeness: does the table add up to the score?"""

from __future__ import annotations

import numpy as np
import polars as pl

from attnaudit.evidence.pairs.view import PairView
from attnaudit.findings.estimates import average, share, spoken, values_of
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.pair_checks.declaration import Columns, PairCheck
from attnaudit.pair_checks.settings import PairSettings


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
        "completeness.adds_up": adds_up.astype(np.float64),
        "completeness.residual": residual * scale,
        "completeness.plain_error": (view.scores - plain) * scale,
        "completeness.reference": np.array(
            [max(table.reference_a, table.reference_b) for table in view.tables]
        ),
    }


def conclude(frame: pl.DataFrame, settings: PairSettings) -> list[Finding]:
    """Every table, or it fails: this is no claim about other pairs, so few are enough."""
    sampling = settings.sampling
    flags = values_of(frame, "completeness.adds_up")
    headline = share(flags, sampling, statistic="adds_up", subject="integrated", null=0.0)
    sizes = {
        name: average(
            np.abs(values_of(frame, f"completeness.{name}")),
            sampling,
            statistic=name,
            subject=subject,
            null=0.0,
        )
        for name, subject in (("residual", "integrated"), ("plain_error", "plain"))
    }
    reference = average(
        values_of(frame, "completeness.reference"),
        sampling,
        statistic="reference_length",
        subject="reference",
        null=0.0,
    )
    missed = int((flags == 0).sum())
    plain = spoken(sizes["plain_error"], 3)
    if missed:
        worst = float(np.nanmax(np.abs(values_of(frame, "completeness.residual")), initial=0.0))
        sentence = (
            f"{missed} of {len(flags)} tables do not add up to the score (largest residual "
            f"{worst:.3g} as a cosine, or no number at all), so they do not explain all of it."
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


COMPLETENESS = PairCheck(
    name="completeness",
    title="Completeness",
    paper="Möller et al. 2023; Sundararajan et al. 2017",
    question="Does the table add up to the model's own score?",
    statistic="share of pairs whose table adds up within its tolerance",
    null="0",
    higher_is_better=True,
    decisive=True,
    caveat="Numbers that add up need not be the right ones; the other checks ask that.",
    measure=measure,
    conclude=conclude,
)
