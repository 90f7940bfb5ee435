"""A short card in Markdown, to paste into a model card."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attnaudit.audits.result import AuditResult
from attnaudit.audits.schema import AuditReport
from attnaudit.console import visible
from attnaudit.findings.wording import (
    QUESTION,
    QUESTIONS,
    SIGNS,
    count,
    duration,
    number,
    statistic,
    typeset,
)
from attnaudit.report.evidence import OWN, evidence_rows, failing, title_of

UNPRINTABLE = re.compile(
    "[\x7f-\xa0\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
"""What YAML cannot print, takes for a line end, or what turns the direction of reading."""
HEADER = ("Check", "Verdict", "Statistic", "Needs", "Value", "Interval", "n", "By chance")

TASKS = {"texts": "text-classification", "bags": "other", "pairs": "sentence-similarity"}
"""What model cards call the task; multiple-instance learning has no name there."""


def render_card(result: AuditResult) -> str:
    """Verdict, evidence and origin in Markdown, with the model-index block at the end."""
    report = result.report
    judgement, plan = report.judgement, report.plan
    parts = [
        f"## {QUESTIONS.get(plan.data.reads, QUESTION)}",
        f"**{SIGNS[judgement.verdict]} {judgement.verdict}.** {prose(judgement.headline)}",
        f"**What to do.** {prose(judgement.advice)}",
        *([f"**How sure.** {prose(judgement.record)}"] if judgement.record else []),
    ]
    if why := failing(report):
        parts += ["**Why**", "\n".join(f"- {prose(f'{name}: {said}')}" for name, said in why)]
    parts.append(_table(report))
    if judgement.cautions:
        parts += ["**Keep in mind**", "\n".join(f"- {prose(c)}" for c in judgement.cautions)]
    facts = (
        (
            "Model",
            f"{escape(plan.model.name)} ({escape(plan.model.kind)}, "
            f"`{_code(plan.model.fingerprint[:16])}`)",
        ),
        (
            "Data",
            f"{escape(plan.data.title)}: "
            f"{count(plan.data.instances)} {plan.data.reads} of "
            f"{number(plan.data.mean_length, 1)} units on average "
            f"(`{_code(plan.data.fingerprint[:16])}`)",
        ),
        (
            "Audit",
            f"attnaudit {escape(plan.attnaudit_version)}, {report.created:%Y-%m-%d}, seed "
            f"{plan.settings.seed}, {plan.settings.confidence * 100:g}% intervals, "
            f"{duration(report.seconds)}",
        ),
    )
    parts.append("**What was audited**")
    parts.append("\n".join(f"- {name}: {text}" for name, text in facts))
    parts.append(f"```yaml\n{to_yaml(model_index(result))}\n```")
    return "\n\n".join(parts) + "\n"


def model_index(result: AuditResult) -> dict[str, Any]:
    """The headline of every check in the metadata format of model cards on the Hugging Face Hub.

    Findings without a value are left out: the format has no place for them.
    """
    report = result.report
    plan = report.plan
    metrics = [
        {
            "type": headline.statistic,
            "name": f"{title_of(finding.check)}: {statistic(headline.statistic).title}, "
            f"{headline.subject} ({finding.verdict})",
            "value": round(headline.value, 4),
        }
        for finding in (report.performance, *report.findings)
        for headline in (finding.headline,)
        if finding.subject in OWN and headline is not None and headline.value is not None
    ]
    audited = "similarity" if plan.data.reads == "pairs" else "attention"
    dataset = {"name": plan.data.name, "type": plan.data.name, "split": plan.data.split}
    results = [
        {
            "task": {"type": TASKS[plan.data.reads], "name": f"{audited} faithfulness audit"},
            "dataset": dataset,
            "metrics": metrics,
            "source": {"name": f"attnaudit {plan.attnaudit_version}"},
        }
    ]
    return {"model-index": [{"name": plan.model.name, "results": results}]}


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is, in a paragraph, a list or a table cell.

    Example:
        >>> escape("a|b *c* <script>")
        'a\\|b \\*c\\* &lt;script&gt;'
    """
    text = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]()#+!|~$@-])", r"\\\1", text)
    # an ordinal at the start of a line would begin a list; a bare address would become a link
    text = re.sub(r"^(\s*\d+)([.)])(?=\s|$)", r"\1\\\2", text)
    return re.sub(r"(?i)\b(https?|ftp):(?=//)|\b(www)\.", _unlinked, text)


def to_yaml(value: object, indent: int = 0) -> str:
    """Mappings, sequences, texts and numbers as YAML; texts are quoted as JSON quotes them.

    Example:
        >>> print(to_yaml({"a": [{"b": 1, "c": "x: y"}]}))
        a:
        - b: 1
          c: "x: y"
    """
    pad = " " * indent
    if isinstance(value, Mapping):
        return "\n".join(
            f"{pad}{key}:"
            + (
                f"\n{to_yaml(inner, indent + 2 * isinstance(inner, Mapping))}"
                if isinstance(inner, Mapping | list) and inner
                else f" {_scalar(inner)}"
            )
            for key, inner in value.items()
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(
            f"{pad}- {to_yaml(inner, indent + 2).lstrip() if inner else _scalar(inner)}"
            for inner in value
        )
    return pad + _scalar(value)


def _table(report: AuditReport) -> str:
    lines = [
        "| " + " | ".join(HEADER) + " |",
        "|:---|:---|:---|:---|---:|---:|---:|---:|",
    ]
    for row in evidence_rows(report):
        title = f"calibration: {row.title}" if row.calibration else row.title
        verdict = f"{SIGNS[row.verdict]} {row.verdict}" + (f" ({row.remark})" if row.remark else "")
        cells = (title, verdict, row.measured, row.needs, row.value, row.interval, row.n, row.null)
        lines.append("| " + " | ".join(prose(cell) for cell in cells) + " |")
    return "\n".join(lines)


def prose(text: str) -> str:
    """Our own sentences, which may name things from the data."""
    return re.sub(r"\\([()+!-])", r"\1", escape(typeset(text).replace("\u00a0", " ")))


def _code(text: str) -> str:
    return visible(text).replace("`", "'")


def _unlinked(match: re.Match[str]) -> str:
    return f"{match[1]}&#58;" if match[1] else f"{match[2]}&#46;"


def _scalar(value: object) -> str:
    # YAML takes JSON's quotes, but wants what it cannot print, or takes for a line end, escaped
    return UNPRINTABLE.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False)
    )
