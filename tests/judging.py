"""Audits by the checks of shortcuts, small."""

from __future__ import annotations

from pathlib import Path

from attnaudit.audits.result import AuditResult
from attnaudit.audits.run import run_audit
from attnaudit.audits.schema import AuditReport
from attnaudit.evidence.contract import Splits
from attnaudit.evidence.judges.probe import DefaultUnits
from attnaudit.findings.findings import Finding
from attnaudit.findings.settings import JudgeSettings, Settings
from attnaudit.models.cut import Model

SMALL = JudgeSettings(permutations=100, trees=10, resamples=200, count=2, epochs=8, draws=2)
TINY = SMALL.model_copy(update={"count": 1, "epochs": 1})


def judged(
    model: Model,
    splits: Splits,
    judges: JudgeSettings = SMALL,
    tokens: tuple[str, ...] = (),
    checks: tuple[str, ...] = ("shortcut",),
    out: Path | None = None,
    workers: int = 1,
) -> AuditResult:
    """An audit of the test split by the checks of shortcuts."""
    settings = Settings(checks=checks, judges=judges, resamples=200)
    parts = (DefaultUnits(tokens),)
    about = {"default_units": list(tokens)}
    return run_audit(
        model,
        splits["test"],
        settings,
        splits=splits,
        parts=parts,
        about=about,
        out=out,
        workers=workers,
    )


def finding(report: AuditReport, check: str) -> Finding:
    """The finding of one check."""
    (found,) = (f for f in report.findings if f.check == check)
    return found


def value(report: AuditReport, check: str, statistic: str, subject: str) -> float:
    """One number of a finding, over all instances."""
    found = [
        e.value
        for e in finding(report, check).estimates
        if (e.statistic, e.subject, e.group) == (statistic, subject, "all")
    ]
    assert found, (statistic, subject)
    assert found[0] is not None
    return found[0]
