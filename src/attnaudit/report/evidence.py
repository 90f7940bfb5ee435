"""Findings as rows of tables: what was asked, what came out, what is expected by chance."""

from __future__ import annotations

from dataclasses import dataclass

from attnaudit.audits.judgement import CALIBRATION, decides, first_findings
from attnaudit.audits.schema import AuditReport
from attnaudit.checks.declaration import Check
from attnaudit.checks.registry import CHECKS, GATES
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.settings import LEAST_INSTANCES
from attnaudit.findings.wording import (
    NOTHING,
    count,
    interval_of,
    null_of,
    number,
    prose,
    statistic,
    subject,
    threshold,
    value_of,
)

OWN = ("weights", "model", "integrated", "mean weights", "seeds")
"""Subjects that need no name of their own in a table."""
BARS = {bar.name: bar for check in (*GATES.values(), *CHECKS.values()) for bar in check.bars}
BARS[LEAST_INSTANCES.name] = LEAST_INSTANCES


@dataclass(frozen=True)
class EvidenceRow:
    """One finding as a row.

    Attributes:
        check: The name of the check; links point at it.
        title: What the check is called, or, for calibration, what was put to it.
        question: What it asks.
        measured: Which statistic the verdict rests on.
        needs: What it takes to pass, or nothing where that is no single bar.
        value: Its value in words.
        interval: Its interval in words.
        n: On how many instances it rests.
        null: What to expect where there is nothing to find.
        verdict: The verdict that counts.
        remark: Why the verdict is not the check's own, or how a calibration row should be.
        calibration: Whether the row is there to judge the check.
    """

    check: str
    title: str
    question: str
    measured: str
    needs: str
    value: str
    interval: str
    n: str
    null: str
    verdict: Verdict
    remark: str
    calibration: bool


@dataclass(frozen=True)
class EstimateRow:
    """One estimate as a row of the full table."""

    statistic: str
    meaning: str
    of: str
    among: str
    value: str
    interval: str
    n: str
    undefined: str
    null: str


@dataclass(frozen=True)
class ThresholdRow:
    """One threshold, with where it comes from.

    Attributes:
        name: The name of the setting.
        value: What was used.
        standard: What is usual, where this audit used something else.
        source: Where the usual value comes from.
    """

    name: str
    value: str
    standard: str | None
    source: str


def evidence_rows(report: AuditReport, *, calibration: bool = True) -> tuple[EvidenceRow, ...]:
    """The gate, then every check, each followed by its calibration rows if these are wanted."""
    counted = {r.check: r.verdict for r in report.judgement.reasons}
    rows = [_row(report.performance, counted)]
    for finding in report.findings:
        if finding.subject not in CALIBRATION:
            rows.append(_row(finding, counted))
            if calibration and finding in first_findings(report.findings):
                rows += [_row(f, counted) for f in calibrating(report, finding.check)]
    return tuple(rows)


def failing(report: AuditReport) -> tuple[tuple[str, str], ...]:
    """The checks that forbid showing the weights, each with what it found; none where none does."""
    reasons = report.judgement.reasons
    return tuple(
        (title_of(r.check), r.sentence)
        for r in reasons
        if r.verdict is Verdict.FAIL
        and r.check in CHECKS
        and decides(r.check, reasons)
        and report.judgement.verdict is Verdict.FAIL
    )


def calibrating(report: AuditReport, check: str) -> list[Finding]:
    """The findings that judge a check and not the weights."""
    return [f for f in report.findings if f.check == check and f.subject in CALIBRATION]


def _row(finding: Finding, counted: dict[str, Verdict]) -> EvidenceRow:
    own = finding.subject not in CALIBRATION
    check, headline = declared(finding.check), finding.headline
    verdict = counted.get(finding.check, finding.verdict) if own else finding.verdict
    if own and finding.subject not in OWN:
        verdict = finding.verdict
    measured = NOTHING
    if headline is not None:
        measured = f"{statistic(headline.statistic).title}, {subject(headline.subject)}"
        if check is not None and check.gate:
            measured = check.statistic
    title = title_of(finding.check) if own else subject(finding.subject)
    if own and finding.subject not in OWN:
        title = f"{title}: {subject(finding.subject)}"
    return EvidenceRow(
        check=finding.check,
        title=title,
        question=check.question if check is not None and own else "",
        measured=measured,
        needs=needs_of(finding) if own else "",
        value=NOTHING if headline is None else value_of(headline),
        interval=NOTHING if headline is None else interval_of(headline),
        n=NOTHING if headline is None else count(headline.n),
        null=NOTHING if headline is None else null_of(headline),
        verdict=verdict,
        remark=remark_on(finding, verdict),
        calibration=not own,
    )


def needs_of(finding: Finding) -> str:
    """What it takes to pass, in words; empty where that is not one thing.

    Example:
        >>> needs_of(Finding(check="permutation", subject="weights", verdict=Verdict.PASS,
        ...                  sentence="", thresholds={"permutation_moved": 0.1}))
        'at least 0.1'
    """
    check = declared(finding.check)
    if check is None or check.requires is not None:
        return "" if check is None or check.requires is None else check.requires(finding)
    bar = None if check.bar is None else finding.thresholds.get(check.bar.name)
    if bar is None:
        return ""
    shown = finding.headline
    percent = shown is not None and statistic(shown.statistic).percent
    words = "at least" if check.higher_is_better else "below"
    return f"{words} {number(bar, percent=True) if percent else threshold(bar)}"


def declared(check: str) -> Check | None:
    """The declaration of a check or gate; None where this version has none of that name."""
    return CHECKS.get(check) or GATES.get(check)


def title_of(check: str) -> str:
    """What a check is called."""
    found = declared(check)
    return check.replace("_", " ") if found is None else found.title


def decides_of(check: Check) -> str:
    """Whether a failure of the check decides an audit, in words.

    Example:
        >>> [decides_of(CHECKS[name]) for name in ("permutation", "effect", "adversary")]
        ['yes', 'where ground_truth cannot', 'cautions']
    """
    if not check.decisive:
        return "cautions"
    return f"where {check.defers_to} cannot" if check.defers_to else "yes"


def remark_on(finding: Finding, counted: Verdict) -> str:
    """How a calibration row should come out, or why a verdict does not count as it is."""
    if finding.subject == "random":
        passed = finding.verdict is Verdict.PASS
        return "but must not: the check is void" if passed else "as expected"
    if finding.subject == "oracle":
        failed = finding.verdict is Verdict.FAIL
        if failed:
            return "but must not: the check is void"
        return "as expected" if finding.verdict is Verdict.PASS else "a pass was expected"
    if counted is not finding.verdict:
        return f"{finding.verdict} by its rule, but void: see its calibration"
    return ""


def estimate_rows(finding: Finding, others: list[Finding]) -> tuple[EstimateRow, ...]:
    """Every estimate of a finding and of its calibration rows, each once."""
    found: dict[str, Estimate] = {}
    for one in (finding, *others):
        for estimate in one.estimates:
            found.setdefault(estimate.model_dump_json(), estimate)
    return tuple(_estimate(e) for e in found.values())


def _estimate(estimate: Estimate) -> EstimateRow:
    words = statistic(estimate.statistic)
    return EstimateRow(
        statistic=words.title,
        meaning=words.meaning,
        of=subject(estimate.subject),
        among=estimate.group.replace("predicted=", "predicted ", 1).replace("_", " "),
        value=value_of(estimate),
        interval=interval_of(estimate),
        n=count(estimate.n),
        undefined=count(estimate.undefined) if estimate.undefined else NOTHING,
        null=null_of(estimate),
    )


def threshold_rows(finding: Finding) -> tuple[ThresholdRow, ...]:
    """The thresholds of a finding with the sources that the settings declare."""
    rows = []
    for name, value in finding.thresholds.items():
        bar = BARS.get(name)
        usual = None if bar is None else float(bar.value)
        rows.append(
            ThresholdRow(
                name=name.replace("_", " "),
                value=threshold(value),
                standard=None if usual is None or usual == value else threshold(usual),
                source=prose(bar.source) if bar is not None else "",
            )
        )
    return tuple(rows)
