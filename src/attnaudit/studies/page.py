"""A study as plain data, and from it one HTML file and a Markdown summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from attnaudit.findings.pictures import Figure, Table
from attnaudit.findings.wording import NOTHING, count, duration, number, typeset
from attnaudit.report.blocks import StudySection
from attnaudit.report.markdown import prose
from attnaudit.report.page import render_page
from attnaudit.report.summary import written
from attnaudit.studies.bai2021.page import sections as bai2021
from attnaudit.studies.declaration import Results
from attnaudit.studies.haab2022.page import sections as haab2022
from attnaudit.studies.jain2019.page import sections as jain2019
from attnaudit.studies.moeller2023.page import sections as moeller2023
from attnaudit.studies.run import Finished
from attnaudit.studies.schema import Claim, Holds, Measured, StudyReport
from attnaudit.studies.wiegreffe2019.page import sections as wiegreffe2019

PAGES: dict[str, Callable[[Results], Iterator[StudySection]]] = {
    "jain2019": jain2019,
    "wiegreffe2019": wiegreffe2019,
    "moeller2023": moeller2023,
    "bai2021": bai2021,
    "haab2022": haab2022,
}
"""What a study shows below its claims."""

ANSWERS = {
    Holds.YES: ("holds", "pass"),
    Holds.NO: ("does not hold", "fail"),
    Holds.UNDECIDED: ("undecided", "inconclusive"),
    Holds.NOT_MEASURED: ("not measured", "not-applicable"),
}
"""How an answer is called, and the tone and sign of it."""


@dataclass(frozen=True)
class StudySummary:
    """All that the page of a study shows."""

    title: str
    paper: str
    citation: str
    headline: str
    subtitle: tuple[tuple[str, str], ...]
    claims: tuple[Claim, ...]
    missing: tuple[tuple[str, str], ...]
    sections: tuple[StudySection, ...]
    cells: tuple[tuple[str, str, str], ...]
    options: tuple[tuple[str, str], ...]
    quick: bool

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every picture of the page."""
        return tuple(b for s in self.sections for b in s.blocks if isinstance(b, Figure))


def summarise_study(finished: Finished) -> StudySummary:
    """The plain data of a page. Picks and words; computes no statistic."""
    report, results = finished.report, finished.results
    page = PAGES.get(report.study)
    made = page(results) if page is not None and results.records else ()
    return StudySummary(
        title=report.title,
        paper=report.paper,
        citation=results.study.citation,
        headline=_headline(report),
        subtitle=(
            ("paper", report.paper),
            ("cells", f"{sum(c.status == 'done' for c in report.cells)} of {len(report.cells)}"),
            ("finished", f"{report.created.day} {report.created:%B %Y}"),
        ),
        claims=report.claims,
        missing=tuple((m.what, m.reason) for m in report.missing),
        sections=tuple(section for section in made if section.blocks),
        cells=tuple(
            (c.name, "done" if c.status == "done" else f"failed: {c.reason}", duration(c.seconds))
            for c in report.cells
        ),
        options=tuple(
            (name.replace("_", " "), written(value)) for name, value in report.options.items()
        ),
        quick=report.quick,
    )


def render_study(finished: Finished) -> str:
    """The page of a study as one HTML document; every text is escaped, nothing is loaded."""
    summary = summarise_study(finished)
    return render_page(
        "study.html.j2",
        summary.figures,
        styles=("study.css",),
        s=summary,
        answers=ANSWERS,
        measured_words=measured_words,
        number=number,
        typeset=typeset,
        version=finished.report.attnaudit_version,
    )


def render_study_markdown(finished: Finished) -> str:
    """Claims, what is missing, and the tables of a study as Markdown."""
    s = summarise_study(finished)
    lines = [f"# {_cell(s.title)}", "", _cell(s.paper), "", _cell(s.headline), "", "## Claims", ""]
    for claim in s.claims:
        lines += [
            f"### {_cell(claim.claim)}",
            "",
            f"**{ANSWERS[claim.holds][0]}**. {_cell(typeset(claim.paper))}",
            "",
            f"Rule: {_cell(typeset(claim.rule))}",
            "",
        ]
        if claim.parts:
            lines += ["| where | here | the paper | answer | counts |", "|---|---|---|---|---|"]
            lines += [
                f"| {_cell(p.of)} | {measured_words(p.measured)} | {number(p.paper)} | "
                f"{ANSWERS[p.holds][0]} | {'yes' if p.counts else 'no'} |"
                for p in claim.parts
            ]
            lines.append("")
        if claim.note:
            lines += [_cell(typeset(claim.note)), ""]
    if s.missing:
        lines += ["## Not measured", ""]
        lines += [f"- {_cell(what)}: {_cell(why)}" for what, why in s.missing] + [""]
    for section in s.sections:
        tables = [b for b in section.blocks if isinstance(b, Table)]
        if tables:
            lines += [f"## {_cell(section.title)}", "", _cell(section.lead), ""]
        for table in tables:
            lines += _table(table)
    lines += ["## Source", "", _cell(s.citation), ""]
    return "\n".join(lines)


def measured_words(found: Measured | None) -> str:
    """A measurement as people read it.

    Example:
        >>> measured_words(Measured(value=0.712, low=0.7, high=0.724, n=1725, unit="share"))
        '0.71 (0.70 to 0.72, n = 1,725)'
    """
    if found is None:
        return NOTHING
    size = f"n = {count(found.n)}"
    if found.low is None or found.high is None:
        return f"{number(found.value)} ({size})"
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)}, {size})"


def _headline(report: StudyReport) -> str:
    """What came of all claims, in one sentence."""
    answers = [claim.holds for claim in report.claims]
    counts = [(ANSWERS[a][0], answers.count(a)) for a in ANSWERS if a in answers]
    verbs = {
        "holds": ("holds", "hold"),
        "does not hold": ("does not hold", "do not hold"),
        "undecided": ("is undecided", "are undecided"),
        "not measured": ("was not measured", "were not measured"),
    }
    words = [f"{size} {verbs[name][size != 1]}" for name, size in counts]
    said = words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
    head = f"Of {len(answers)} claims, {said}."
    if report.quick:
        head += (
            " This was a quick run, on small data: it shows directions, not the paper's numbers."
        )
    return head


def _table(table: Table) -> list[str]:
    """A table as Markdown."""
    lines = [f"**{_cell(table.title)}**", ""]
    if table.caption:
        lines += [_cell(table.caption), ""]
    head = " | ".join(_cell(h) for h in (table.first, *table.head))
    lines += [f"| {head} |", "|" + "---|" * (len(table.head) + 1)]
    for row in table.rows:
        values = [
            " ".join(_cell(t) for t in (v.text, v.more, "≠" if v.differs else "") if t)
            for v in row.values
        ]
        lines.append(f"| {' | '.join([_cell(row.name), *values])} |")
    return [*lines, ""]


def _cell(text: str) -> str:
    """Text that breaks no table and starts no markup."""
    return " ".join(prose(text).split())
