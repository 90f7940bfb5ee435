"""An audit as plain data: everything that templates show, and nothing they must work out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from attnaudit.attribution import EVERY
from attnaudit.audits.judgement import decides, first_findings
from attnaudit.audits.result import AuditResult
from attnaudit.audits.schema import AuditReport
from attnaudit.checks.registry import CHECKS
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.pictures import Block
from attnaudit.findings.settings import Settings
from attnaudit.findings.wording import (
    QUESTION,
    QUESTIONS,
    count,
    duration,
    number,
    prose,
    subject,
    threshold,
    typeset,
)
from attnaudit.report.evidence import (
    EstimateRow,
    EvidenceRow,
    ThresholdRow,
    declared,
    estimate_rows,
    evidence_rows,
    remark_on,
    threshold_rows,
    title_of,
)
from attnaudit.report.heat import FULL_EFFECT, FULL_SHARES
from attnaudit.report.instances import Instance, shown_instances
from attnaudit.report.references import references_of

TITLES = {
    "random": "Calibration, random scores",
    "oracle": "Calibration, known evidence",
}


@dataclass(frozen=True)
class ReasonRow:
    """One reason: the check, what it counts as, and its sentence."""

    check: str
    title: str
    verdict: Verdict
    decisive: bool
    sentence: str


@dataclass(frozen=True)
class Other:
    """What else a check found: about other subjects, random scores or known evidence."""

    title: str
    verdict: Verdict
    sentence: str
    remark: str


@dataclass(frozen=True)
class Section:
    """One check in full.

    Attributes:
        check: Its name; links point at it.
        title: What it is called.
        question: What it asks.
        verdict: What counts.
        remark: Why that is not the check's own verdict, or nothing.
        sentence: What a person reads.
        decisive: Whether a failure alone forbids showing the weights.
        facts: Statistic, direction, range and null, by name.
        blocks: Pictures and tables.
        others: What it found about other subjects; random scores and known evidence calibrate it.
        notes: Caveats of this run.
        caveat: When not to trust the check.
        paper: Where it comes from.
        thresholds: Constants used, with their sources.
        estimates: The full table.
    """

    check: str
    title: str
    question: str
    verdict: Verdict
    remark: str
    sentence: str
    decisive: bool
    facts: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]
    others: tuple[Other, ...]
    notes: tuple[str, ...]
    caveat: str
    paper: str
    thresholds: tuple[ThresholdRow, ...]
    estimates: tuple[EstimateRow, ...]


@dataclass(frozen=True)
class Setting:
    """One setting: its value, the usual one where it differs, and what it means."""

    name: str
    value: str
    standard: str | None
    meaning: str


@dataclass(frozen=True)
class Summary:
    """All that a report shows."""

    question: str
    verdict: Verdict
    headline: str
    advice: str
    record: str
    recommended: str | None
    reasons: tuple[ReasonRow, ...]
    cautions: tuple[str, ...]
    evidence: tuple[EvidenceRow, ...]
    sections: tuple[Section, ...]
    instances: tuple[Instance, ...]
    model: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]
    data_notes: tuple[str, ...]
    run: tuple[tuple[str, str], ...]
    settings: tuple[Setting, ...]
    references: tuple[str, ...]
    subtitle: tuple[tuple[str, str], ...]
    confidence: str
    full_effect: str
    reads: str
    full_shares: str


def summarise(result: AuditResult) -> Summary:
    """The plain data of a report. Picks, sorts and words; computes no statistic."""
    report = result.report
    judgement, plan = report.judgement, report.plan
    recommended = judgement.recommended
    sections = sections_of(result)
    papers = [s.paper for s in sections]
    return Summary(
        question=QUESTIONS.get(plan.data.reads, QUESTION),
        verdict=judgement.verdict,
        headline=typeset(judgement.headline),
        advice=typeset(judgement.advice),
        record=typeset(judgement.record),
        recommended=None if recommended is None else subject(recommended),
        reasons=tuple(
            ReasonRow(
                r.check,
                title_of(r.check),
                r.verdict,
                _decides(report, r.check),
                typeset(r.sentence),
            )
            for r in judgement.reasons
        ),
        # what a check says stands with the check
        cautions=tuple(
            typeset(c)
            for c in judgement.cautions
            if not any(c.endswith(r.sentence) for r in judgement.reasons)
        ),
        evidence=evidence_rows(report),
        sections=sections,
        instances=shown_instances(report, result.instances),
        model=_model(report),
        data=_data(report),
        data_notes=plan.data.notes,
        run=_run(report),
        settings=settings_of(plan.settings, plan.checks),
        references=references_of([*papers, *(EVERY[m].paper for m in EVERY)]),
        subtitle=(
            ("model", plan.model.name),
            ("data", plan.data.title),
            (plan.data.reads, count(plan.data.instances)),
            ("audited", f"{report.created.day} {report.created:%B %Y}"),
        ),
        confidence=f"{plan.settings.confidence * 100:g}%",
        full_effect=number(FULL_EFFECT),
        reads=plan.data.reads,
        full_shares=str(FULL_SHARES),
    )


def sections_of(result: AuditResult) -> tuple[Section, ...]:
    """The gate and every check about the weights, in full."""
    report = result.report
    counted = {r.check: r.verdict for r in report.judgement.reasons}
    own = first_findings(report.findings)
    return tuple(
        _section(result, finding, counted.get(finding.check, finding.verdict))
        for finding in (report.performance, *own)
    )


def _decides(report: AuditReport, check: str) -> bool:
    """Whether a check, or the gate before all of them, has a say in this audit's answer."""
    return check not in CHECKS or decides(check, report.judgement.reasons)


def _section(result: AuditResult, finding: Finding, counted: Verdict) -> Section:
    check = declared(finding.check)
    others = [f for f in result.report.findings if f.check == finding.check and f is not finding]
    facts: tuple[tuple[str, str], ...] = ()
    if check is not None and check.gate:
        facts = (("Statistic", check.statistic),)
    elif check is not None:
        low, high = (number(end, 0) for end in check.range)
        facts = (
            ("Statistic", check.statistic),
            (
                "Range",
                f"{low} to {high}; {'higher' if check.higher_is_better else 'lower'} is better",
            ),
            ("By chance", check.null),
        )
    return Section(
        check=finding.check,
        title=title_of(finding.check),
        question=check.question if check else "",
        verdict=counted,
        remark=remark_on(finding, counted),
        sentence=typeset(finding.sentence),
        decisive=_decides(result.report, finding.check),
        facts=facts,
        blocks=result.pictures.get(finding.check, ()),
        others=tuple(
            Other(
                TITLES.get(f.subject, subject(f.subject)),
                f.verdict,
                typeset(f.sentence),
                remark_on(f, f.verdict),
            )
            for f in others
        ),
        notes=tuple(typeset(n) for n in finding.notes),
        caveat=check.caveat if check else "",
        paper=check.paper if check else "",
        thresholds=threshold_rows(finding),
        estimates=estimate_rows(finding, others),
    )


def settings_of(settings: Settings, checks: Sequence[str]) -> tuple[Setting, ...]:
    """Every setting that these checks can read, bars apart: those stand where they are used.

    A group of settings is named after the room of `evidence` that reads it.
    """
    rooms = {type(CHECKS[name].asks).__module__.split(".")[2] for name in checks if name in CHECKS}
    rows: list[Setting] = []
    for name, given in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            rows += _rows_of(value, f"{name}: ") if name in rooms else []
        elif name != "bars":
            rows.append(_row_of(name, value, given))
    return tuple(rows)


def _rows_of(group: BaseModel, prefix: str) -> list[Setting]:
    return [
        _row_of(prefix + name, getattr(group, name), given)
        for name, given in type(group).model_fields.items()
    ]


def _row_of(name: str, value: object, given: FieldInfo) -> Setting:
    return Setting(
        name=name.replace("_", " "),
        value=written(value),
        standard=None if value == given.default else written(given.default),
        meaning=prose(given.description),
    )


def _model(report: AuditReport) -> tuple[tuple[str, str], ...]:
    model, about = report.plan.model, report.plan.about
    return (
        ("Name", model.name),
        ("Kind", model.kind),
        *((("Classes", ", ".join(model.classes)),) if model.classes else ()),
        *((n.capitalize(), str(v)) for n, v in about.items() if isinstance(v, str | int | float)),
        ("Fingerprint", model.fingerprint),
    )


def _data(report: AuditReport) -> tuple[tuple[str, str], ...]:
    data = report.plan.data
    counts = ", ".join(f"{name} {count(size)}" for name, size in data.class_counts.items())
    rows = (
        ("Name", data.name),
        ("Split", data.split),
        (data.reads.capitalize(), count(data.instances)),
        ("Labels", counts if any(data.class_counts.values()) else "not known"),
        ("Mean length", f"{number(data.mean_length, 1)} units"),
        ("Evidence", f"known for some or all {data.reads}" if data.has_truth else "not known"),
        *_training(report),
        ("Fingerprint", data.fingerprint),
    )
    # pairs have neither splits nor labels nor known evidence
    without = ("Split", "Labels", "Evidence") if data.reads == "pairs" else ()
    return tuple(row for row in rows if row[0] not in without)


def _training(report: AuditReport) -> tuple[tuple[str, str], ...]:
    """How many texts the model was trained on, where there were any."""
    data = report.plan.data
    said = [f"{count(data.trained_on)} of these {data.reads}"] if data.trained_on else []
    said += [f"{count(data.left_out)} more, left out"] if data.left_out else []
    return (("Trained on", "; ".join(said)),) if said else ()


def _run(report: AuditReport) -> tuple[tuple[str, str], ...]:
    return (
        ("attnaudit", report.plan.attnaudit_version),
        ("Schema", str(report.plan.schema_version)),
        ("Finished", f"{report.created:%Y-%m-%d %H:%M} {report.created:%Z}".strip()),
        ("Took", duration(report.seconds)),
        ("Seed", str(report.plan.settings.seed)),
    )


def written(value: object) -> str:
    """A value as a table shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not set"
    if isinstance(value, float):
        return threshold(value)
    if isinstance(value, tuple | list):
        return ", ".join(written(v) for v in value)
    return str(value).replace("_", " ")
