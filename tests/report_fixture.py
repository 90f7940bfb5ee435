"""A real audit of a toy model on texts that try to break a report."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import polars as pl

from attnaudit.audits.judgement import judge
from attnaudit.audits.result import AuditResult
from attnaudit.audits.run import run_audit
from attnaudit.checks.registry import CHECKS
from attnaudit.data.records import Dataset, Text
from attnaudit.evidence.batch.chunks import Instances, own_of
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.pictures import Block
from attnaudit.findings.settings import Settings
from tests.toys import WORDS, labelled, reader

DATA_NAME = '<script>alert("data")</script> | *set*'
MODEL_NAME = "model </script><img src=x onerror=alert(1)> & `co`"
CLASSES = ("neg<b>", "pos|</script>")
LONG = 320
SETTINGS = Settings(resamples=200, permutations=20, chunk=32)
HOSTILE = (
    ("<script>", "alert('unit')", "</script>", "<!--", "&amp;", "w1", "w2", "w3", '"><img', "w9"),
    ("שלום", "עולם", "w4", "w5", "מה", "שלומך", "w6", "w7", "w8", "w9"),
    ("[bold", "red]x[/]", "\x1b[31mred", "\u202eesrever", "w1", "w2", "w3", "w4", "w5", "|", "`"),
    ("a" * 200, "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9"),
)


def _record(name: str, units: tuple[str, ...], truth: bool = True) -> Text:
    starts = [sum(len(u) + 1 for u in units[:i]) for i in range(len(units))]
    offsets = tuple((s, s + len(u)) for s, u in zip(starts, units, strict=True))
    evidence = tuple(i % 3 == 1 for i in range(len(units))) if truth else None
    return Text(name, " ".join(units), units, offsets, None, evidence)


@cache
def hostile_result(truth: bool = True) -> AuditResult:
    """The audit; some labels are wrong, one text is long, some texts are hostile."""
    draw = random.Random(5)
    records = [
        _record(f"s{i}", tuple(draw.choices(WORDS, k=draw.randint(2, 14))), truth)
        for i in range(56)
    ]
    records += [_record(f'"><b>{i}', units, truth) for i, units in enumerate(HOSTILE)]
    records.append(_record("long", tuple(draw.choices(WORDS, k=LONG)), truth))
    model = reader()
    known = labelled(model, records)
    wrong = {"s3", "s8", "s21", "s34"}
    known = [replace(r, label=1 - (r.label or 0)) if r.id in wrong else r for r in known]
    model.classes, model.name = CLASSES, MODEL_NAME
    data = Dataset(DATA_NAME, tuple(known), CLASSES, "te<s>t", ("note with <i>markup</i>",))
    return run_audit(model, data, SETTINGS)


def bare(result: AuditResult) -> AuditResult:
    """The same findings without instances: nothing to draw, so quick to render."""
    return replace(result, instances=result.instances.clear(), pictures={})


def with_verdict(result: AuditResult, verdict: Verdict) -> AuditResult:
    """The same audit with another answer."""
    judgement = result.report.judgement.model_copy(update={"verdict": verdict})
    return replace(result, report=result.report.model_copy(update={"judgement": judgement}))


def void(result: AuditResult) -> AuditResult:
    """The same audit where random scores passed the agreement, so that it is void."""
    findings = tuple(
        f.model_copy(update={"verdict": Verdict.PASS})
        if (f.check, f.subject) == ("agreement", "random")
        else f
        for f in result.report.findings
    )
    report = result.report
    judged = judge(report.performance, findings)
    return replace(
        result, report=report.model_copy(update={"findings": findings, "judgement": judged})
    )


def pictures_of(
    check: str, frame: pl.DataFrame, findings: Sequence[Finding], classes: Sequence[str] = CLASSES
) -> list[Block]:
    """The pictures of a check, of these instances and findings."""
    declared = CHECKS[check]
    assert declared.picture is not None
    own = [f for f in findings if f.check == check]
    return list(declared.picture(Instances(own_of(frame, check), tuple(classes), SETTINGS), own))


def enlarged(result: AuditResult, count: int) -> AuditResult:
    """The same findings over many more instances."""
    frame = result.instances
    times = -(-count // len(frame))
    frame = pl.concat([frame] * times).head(count)
    return replace(result, instances=frame.with_columns(index=pl.int_range(count)))
