"""An audit of pair explanations, for the terminal, as a card, and as JSON."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from attnaudit.console import printable_json, visible
from attnaudit.findings.findings import Finding
from attnaudit.findings.wording import NOTHING, SIGNS, number, typeset
from attnaudit.pair_checks.audit import PairAudit
from attnaudit.pair_checks.registry import PAIR_CHECKS
from attnaudit.report.markdown import escape
from attnaudit.report.terminal import STYLES

PAIR_QUESTION = "May these token pairs be shown as the reason for the similarity?"


def render_pair_audit(audit: PairAudit, about: str = "") -> Group:
    """Verdict, evidence and advice.

    Args:
        audit: What was found.
        about: Model and data, in a line.
    """
    judgement = audit.judgement
    style = STYLES[judgement.verdict]
    answer = Text.assemble(
        (f"{SIGNS[judgement.verdict]} {judgement.verdict}", f"bold {style}"),
        "\n",
        visible(typeset(judgement.headline)),
        ("\n\nWhat to do. ", "bold"),
        visible(typeset(judgement.advice)),
        (f"\n\n{visible(about)}" if about else "", "dim"),
    )
    parts: list[RenderableType] = [
        Panel(
            answer,
            title=Text(PAIR_QUESTION),
            title_align="left",
            border_style=style,
            padding=(1, 2),
        ),
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (
        ("Check", "left"),
        ("Verdict", "left"),
        ("Value", "right"),
        ("n", "right"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for found in audit.findings:
        title, value, interval, n = _row(found)
        shown = Text(f"{SIGNS[found.verdict]} {found.verdict}", style=STYLES[found.verdict])
        table.add_row(Text(title), shown, f"{value}\n{interval}" if interval else value, n)
    parts += [table, Text("What was found", style="bold")]
    for reason in judgement.reasons:
        title = PAIR_CHECKS[reason.check].title
        parts.append(Text(f"• {title}: {visible(typeset(reason.sentence))}"))
    return Group(*parts)


def render_pair_card(audit: PairAudit, about: str = "") -> str:
    """The same in Markdown, to paste into a model card."""
    judgement = audit.judgement
    lines = [
        f"## {PAIR_QUESTION}",
        "",
        f"**{SIGNS[judgement.verdict]} {judgement.verdict}.** {escape(judgement.headline)}",
        "",
        f"**What to do.** {escape(judgement.advice)}",
        "",
        "| Check | Verdict | Value | Interval | n |",
        "| --- | --- | ---: | --- | ---: |",
    ]
    for found in audit.findings:
        title, value, interval, n = _row(found)
        verdict = f"{SIGNS[found.verdict]} {found.verdict}"
        lines.append(f"| {title} | {verdict} | {value} | {interval} | {n} |")
    lines += ["", *(f"- {escape(reason.sentence)}" for reason in judgement.reasons), ""]
    return "\n".join([*lines, escape(about), ""] if about else lines)


def pair_audit_json(audit: PairAudit) -> str:
    """Judgement, findings, settings and sizes."""
    return printable_json(
        {
            "schema_version": 1,
            "judgement": audit.judgement.model_dump(mode="json"),
            "findings": [found.model_dump(mode="json") for found in audit.findings],
            "settings": audit.settings.model_dump(mode="json"),
            "sizes": vars(audit.sizes),
        },
        indent=1,
    )


def _row(found: Finding) -> tuple[str, str, str, str]:
    """Title, value, interval and sample size of a finding."""
    title = PAIR_CHECKS[found.check].title
    if found.subject == "random":
        title = f"↳ {title}, random scores"
    best = found.headline
    if best is None or best.value is None:
        return title, NOTHING, "", "" if best is None else str(best.n)
    interval = ""
    if best.low is not None and best.high is not None:
        interval = f"({number(best.low)} to {number(best.high)})"
    return title, number(best.value), interval, str(best.n)
