"""Columns to estimates: value, interval, sample size, undefined count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.measures.bootstrap import bootstrap_interval, wilson_interval

BINS = (0.0, 0.25, 0.5, 0.75, float("inf"))
MOST_CLASSES_SHOWN = 4


def average(
    values: np.ndarray,
    settings: Settings,
    *,
    statistic: str,
    subject: str,
    group: str = "all",
    null: float | None = None,
) -> Estimate:
    """The mean with a bootstrap interval over instances; NaN counts as undefined."""
    interval = bootstrap_interval(
        np.asarray(values, dtype=np.float64),
        statistic="mean",
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    return Estimate(
        statistic=statistic,
        subject=subject,
        group=group,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        undefined=interval.undefined,
        null=null,
    )


def share(
    flags: np.ndarray,
    settings: Settings,
    *,
    statistic: str,
    subject: str,
    group: str = "all",
    null: float | None = None,
) -> Estimate:
    """The share of ones among 0/1 flags, with a Wilson interval; NaN counts as undefined."""
    flags = np.asarray(flags, dtype=np.float64)
    known = flags[np.isfinite(flags)]
    interval = wilson_interval(int(known.sum()), len(known), settings.confidence)
    return Estimate(
        statistic=statistic,
        subject=subject,
        group=group,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=len(known),
        undefined=len(flags) - len(known),
        null=null,
    )


def values_of(frame: pl.DataFrame, column: str) -> np.ndarray:
    """A column as float64, nulls as NaN."""
    return frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def by_predicted(frame: pl.DataFrame, classes: Sequence[str]) -> Iterator[tuple[str, pl.DataFrame]]:
    """All instances, then those of each predicted class where these are few (spec section 3)."""
    yield "all", frame
    if len(classes) <= MOST_CLASSES_SHOWN:
        for index, name in enumerate(classes):
            yield f"predicted={name}", frame.filter(pl.col("predicted") == index)


def by_max_weight(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Instances in four equal bins of their largest weight (spec section 4.3)."""
    for low, high in pairwise(BINS):
        inside = (pl.col("max_weight") >= low) & (pl.col("max_weight") < high)
        yield f"max weight [{low:.2f}, {min(high, 1.0):.2f})", frame.filter(inside)


def above(estimate: Estimate, bar: float, least: int) -> Verdict:
    """Pass where the whole interval lies above the bar, fail where it lies below."""
    if estimate.value is None or estimate.n == 0:
        return Verdict.NOT_APPLICABLE
    if estimate.n < least or estimate.low is None or estimate.high is None:
        return Verdict.INCONCLUSIVE
    if estimate.low >= bar:
        return Verdict.PASS
    return Verdict.FAIL if estimate.high < bar else Verdict.INCONCLUSIVE


def below(estimate: Estimate, bar: float, least: int) -> Verdict:
    """Pass where the whole interval lies below the bar, fail where it lies above: more is worse."""
    verdict = above(estimate, bar, least)
    return {Verdict.PASS: Verdict.FAIL, Verdict.FAIL: Verdict.PASS}.get(verdict, verdict)


SHOWN_DIGITS = 2
"""Digits of a lead in a sentence that recommends."""


def worth_recommending(lead: Estimate, margin: float, least: int) -> bool:
    """Whether a lead is large and certain enough to recommend what has it.

    Args:
        lead: Mean over instances of the paired difference; above 0 is better.
        margin: The least lead that counts, in the units of the statistic.
        least: The fewest instances that decide anything.

    Example:
        >>> lead = Estimate(statistic="t", subject="a-b", value=0.06, low=0.01, high=0.1, n=40)
        >>> worth_recommending(lead, 0.05, 30), worth_recommending(lead, 0.1, 30)
        (True, False)
    """
    if lead.value is None or lead.low is None or lead.n < least:
        return False
    # a lead that may be 0.00 as the report shows it is none, whatever margin is asked for
    return lead.value >= margin and round(lead.low, SHOWN_DIGITS) > 0


def lead_of(finding: Finding) -> Estimate | None:
    """The lead for which a finding recommends an attribution, if it does and names it."""
    if finding.recommended is None:
        return None
    known = (e for e in finding.estimates if e.statistic.endswith("_lead"))
    return next((e for e in known if e.subject.startswith(f"{finding.recommended}-")), None)


def spoken(estimate: Estimate, digits: int = 2) -> str:
    """An estimate as people write it.

    Example:
        >>> spoken(Estimate(statistic="tau", subject="weights", value=.21, low=.2, high=.22, n=9))
        '0.21 (0.20 to 0.22, n = 9)'
    """
    if estimate.value is None:
        return f"undefined (n = {estimate.n})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.{digits}f} (n = {estimate.n})"
    value, low, high = (
        f"{round(number, digits) + 0.0:.{digits}f}"
        for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high}, n = {estimate.n})"
