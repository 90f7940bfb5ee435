"""Finished cells to findings, pictures and one judgement."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from attnaudit.audits.held_out import cautions_on
from attnaudit.audits.judgement import judge
from attnaudit.audits.plan import Planned, asked_of
from attnaudit.audits.record import how_sure
from attnaudit.audits.result import AuditResult, Pictures, instances_of
from attnaudit.audits.schema import AuditReport, CellLine, Plan
from attnaudit.checks.declaration import Check
from attnaudit.checks.registry import GATES
from attnaudit.data.kinds import KINDS
from attnaudit.evidence.contract import Evidence, Tabled
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.runs.cell import Cell, with_needs
from attnaudit.runs.execute import Done
from attnaudit.runs.store import Store


def conclude(asked: Planned, store: Store, done: Done) -> AuditResult:
    """Findings, pictures and judgement from finished cells."""
    design, plan = asked.design, asked.plan
    evidence: dict[str, Evidence] = {}
    for kind, some in asked_of(asked.checks, design).items():
        evidence.update(kind.gather(design, some, store, done))
    gates = [
        finding
        for name, check in GATES.items()
        if name in evidence
        for finding in check.conclude(evidence[name])
    ]
    gates += [one.gate for one in evidence.values() if one.gate is not None]
    gate = gates[0] if gates else _unknown()
    findings: list[Finding] = []
    pictures: Pictures = {}
    for check in asked.checks:
        found = check.conclude(evidence[check.name]) if check.name in evidence else []
        if not found and check.gate:
            continue  # what it asks is no question for this kind of model
        found = found or [_not_applicable(check, plan)]
        findings += found
        if check.picture is not None and check.name in evidence:
            pictures[check.name] = tuple(check.picture(evidence[check.name], found))
    lines = tuple(_line(cell, done) for cell in with_needs(asked.cells))
    instances = instances_of(store, lines)
    known = (note for one in gates for note in one.notes)
    cautions = [*cautions_on(plan.data), *dict.fromkeys(known), *_too_long(plan, instances)]
    judgement = judge(gate, findings, cautions, KINDS[plan.data.reads])
    report = AuditReport(
        plan=plan,
        created=datetime.now(UTC),
        seconds=done.seconds,
        performance=gate,
        findings=tuple(findings),
        judgement=judgement.model_copy(update={"record": how_sure(judgement, plan)}),
        cells=lines,
    )
    frames = {
        name: frame
        for one in evidence.values()
        if isinstance(one, Tabled)
        for name, frame in one.frames.items()
    }
    return AuditResult(report, instances, pictures, frames)


def _line(cell: Cell, done: Done) -> CellLine:
    record = done.records.get(cell.name)
    if record is None:
        reason = done.failed.get(cell.name, "unknown")
        return CellLine(name=cell.name, place=cell.place, status="failed", reason=reason)
    return CellLine(
        name=cell.name,
        place=cell.place,
        status="done",
        seconds=record.seconds,
        facts=record.facts,
    )


def _too_long(plan: Plan, instances: pl.DataFrame) -> list[str]:
    """How many instances leave-one-out was not computed for, because of their length."""
    longest, name = plan.settings.longest, "scores.leave_one_out"
    if name not in instances.columns:
        return []
    left = instances.filter((pl.col("length") > longest) & pl.col(name).is_null()).height
    if not left:
        return []
    return [
        f"{left:,} of the {instances.height:,} {plan.data.reads} have more than {longest:,} units "
        "and are left out of leave-one-out, whose cost grows with the square of the length; the "
        "setting longest (--longest) raises the bound."
    ]


def _unknown() -> Finding:
    return Finding(
        check="performance",
        subject="model",
        verdict=Verdict.NOT_APPLICABLE,
        sentence="Whether the model is good enough to audit was not asked.",
    )


def _not_applicable(check: Check, plan: Plan) -> Finding:
    why = "this model and data do not give what it needs"
    if "truth" in check.needs and not plan.data.has_truth:
        why = "the data does not say which units are evidence"
    return Finding(
        check=check.name,
        subject="weights",
        verdict=Verdict.NOT_APPLICABLE,
        sentence=f"Not applicable: {why}.",
    )
