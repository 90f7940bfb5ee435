"""Two audits side by side: before and after a remedy, model A and model B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from attnaudit.audits.judgement import first_findings
from attnaudit.audits.result import AuditResult
from attnaudit.audits.schema import AuditReport
from attnaudit.console import visible
from attnaudit.errors import SettingsError
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.wording import NOTHING, count, interval_of, value_of
from attnaudit.report.evidence import title_of
from attnaudit.report.page import render_page
from attnaudit.report.terminal import STYLES


@dataclass(frozen=True)
class Side:
    """What one audit says of a check.

    Attributes:
        verdict: Its verdict; None where it was not asked.
        value: Its headline in words.
        interval: The interval in words.
        n: The sample size in words.
    """

    verdict: Verdict | None
    value: str
    interval: str
    n: str


@dataclass(frozen=True)
class Pair:
    """One check in both audits.

    Attributes:
        title: What it is called.
        sides: What each says of it.
        apart: Whether the intervals do not overlap; None where one has none.
    """

    title: str
    sides: tuple[Side, Side]
    apart: bool | None

    @property
    def said(self) -> str:
        """The difference in words."""
        if self.apart is None:
            return NOTHING
        return "differ" if self.apart else "overlap"


@dataclass(frozen=True)
class Compared:
    """Two audits.

    Attributes:
        names: What they are called.
        verdicts: What they say.
        headlines: In a sentence each.
        abouts: Model, data and size, in words.
        rows: The checks of either.
        notes: What makes a comparison less than fair.
    """

    names: tuple[str, str]
    verdicts: tuple[Verdict, Verdict]
    headlines: tuple[str, str]
    abouts: tuple[str, str]
    rows: tuple[Pair, ...]
    notes: tuple[str, ...]


def compared(results: Sequence[AuditResult], names: Sequence[str]) -> Compared:
    """Two audits as plain data; nothing is computed again.

    Raises:
        SettingsError: They are about different things, such as texts and pairs.
    """
    first, second = (result.report for result in results)
    reads = first.plan.data.reads, second.plan.data.reads
    if reads[0] != reads[1]:
        raise SettingsError(
            f"{names[0]} is about {reads[0]} and {names[1]} about {reads[1]}: give two audits of "
            "the same kind"
        )
    own = [_findings(report) for report in (first, second)]
    checks = list(dict.fromkeys([*own[0], *own[1]]))
    rows = tuple(_pair(check, own[0].get(check), own[1].get(check)) for check in checks)
    judged = first.judgement, second.judgement
    return Compared(
        (names[0], names[1]),
        (judged[0].verdict, judged[1].verdict),
        (judged[0].headline, judged[1].headline),
        (_about(first), _about(second)),
        rows,
        tuple(_notes(first, second)),
    )


def _findings(report: AuditReport) -> dict[str, Finding]:
    return {f.check: f for f in (report.performance, *first_findings(report.findings))}


def _about(report: AuditReport) -> str:
    plan = report.plan
    return f"{plan.model.name} on {plan.data.title}, {count(plan.data.instances)} {plan.data.reads}"


def _pair(check: str, first: Finding | None, second: Finding | None) -> Pair:
    heads = [None if f is None else f.headline for f in (first, second)]
    return Pair(title_of(check), (_side(first), _side(second)), _apart(*heads))


def _side(finding: Finding | None) -> Side:
    if finding is None:
        return Side(None, NOTHING, "", "")
    head = finding.headline
    if head is None:
        return Side(finding.verdict, NOTHING, "", "")
    return Side(finding.verdict, value_of(head), interval_of(head), count(head.n))


def _apart(first: Estimate | None, second: Estimate | None) -> bool | None:
    if first is None or second is None:
        return None
    ends = first.low, first.high, second.low, second.high
    if any(end is None for end in ends):
        return None
    low, high, other_low, other_high = (float(end) for end in ends if end is not None)
    return high < other_low or other_high < low


def _notes(first: AuditReport, second: AuditReport) -> list[str]:
    notes = []
    if first.plan.data.fingerprint != second.plan.data.fingerprint:
        notes.append(
            "The two audits are of different data: a difference may be one of the data alone."
        )
    if first.plan.model.fingerprint == second.plan.model.fingerprint:
        notes.append("The model is the same in both.")
    changed = sorted(
        name
        for name in type(first.plan.settings).model_fields
        if name != "checks"
        and getattr(first.plan.settings, name) != getattr(second.plan.settings, name)
    )
    if changed:
        notes.append(f"Settings differ: {', '.join(changed)}.")
    return notes


def comparison_table(found: Compared) -> Table:
    """Both audits for the terminal."""
    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Check")
    for name in found.names:
        table.add_column(Text(visible(name)))
    table.add_column("Intervals")
    verdicts = [Text(v.value, style=f"bold {STYLES[v]}") for v in found.verdicts]
    table.add_row(Text("Verdict", style="bold"), *verdicts, "")
    for row in found.rows:
        cells = []
        for side in row.sides:
            said = Text(NOTHING if side.verdict is None else side.verdict.value)
            if side.verdict is not None:
                said.stylize(STYLES[side.verdict])
            cells.append(
                Text.assemble(said, f"\n{side.value} ({side.interval}, n={side.n})")
                if side.interval
                else said
            )
        table.add_row(row.title, *cells, row.said)
    return table


def comparison_page(found: Compared, version: str) -> str:
    """Both audits as one HTML document that loads nothing."""
    return render_page("comparison.html.j2", [], c=found, version=version)
