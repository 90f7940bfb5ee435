"""Estimates, findings and verdicts: what a check says, as data."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """The four things a check can say."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not applicable"


class Estimate(BaseModel):
    """One statistic with its sample size, interval and null.

    Attributes:
        statistic: What was measured, e.g. `kendall_tau`.
        subject: Of what: a method (`weights`) or a pair of them (`weights~gradient`).
        group: Among which instances: `all`, `predicted=pos`, `max weight [0.00, 0.25)`.
        value: The estimate; None where no instance defines it.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: How many instances it rests on.
        undefined: How many instances had no value (ties only, one unit) and are left out.
        null: What to expect where there is nothing to find, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    statistic: str
    subject: str
    group: str = "all"
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    undefined: int = 0
    null: float | None = None


class Finding(BaseModel):
    """What a check found about one subject.

    Attributes:
        check: The name of the check.
        subject: What was judged: `weights`, or a calibration row `random` or `oracle`.
        verdict: See `Verdict`.
        sentence: What a person reads.
        headline: The estimate that the verdict rests on.
        estimates: Every estimate, the headline among them.
        thresholds: The named constants that the verdict used.
        notes: Caveats: undefined values, tolerances missed, operators left out.
        recommended: The attribution that this check shows to be clearly better, if any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    subject: str
    verdict: Verdict
    sentence: str
    headline: Estimate | None = None
    estimates: tuple[Estimate, ...] = ()
    thresholds: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    recommended: str | None = None
