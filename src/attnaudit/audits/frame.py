"""Findings as a tidy table: one row an estimate."""

from __future__ import annotations

import polars as pl

from attnaudit.audits.schema import AuditReport

COLUMNS = {
    "model": pl.String,
    "data": pl.String,
    "check": pl.String,
    "judged": pl.String,
    "verdict": pl.String,
    "statistic": pl.String,
    "method": pl.String,
    "group": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "undefined": pl.Int64,
    "null": pl.Float64,
    "seed": pl.Int64,
}


def tidy(report: AuditReport) -> pl.DataFrame:
    """Every estimate of every finding: model, data, check, statistic, value, interval, n, null."""
    plan = report.plan
    rows = [
        {
            "model": plan.model.name,
            "data": plan.data.name,
            "check": finding.check,
            "judged": finding.subject,
            "verdict": finding.verdict.value,
            "statistic": estimate.statistic,
            "method": estimate.subject,
            "group": estimate.group,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "n": estimate.n,
            "undefined": estimate.undefined,
            "null": estimate.null,
            "seed": plan.settings.seed,
        }
        for finding in (report.performance, *report.findings)
        for estimate in finding.estimates
    ]
    return pl.DataFrame(rows, schema=COLUMNS)
