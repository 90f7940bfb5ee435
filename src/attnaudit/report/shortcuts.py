"""The shortcut check for people: one page, and one table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from attnaudit.console import visible
from attnaudit.findings.findings import Estimate, Finding
from attnaudit.findings.wording import (
    count,
    duration,
    interval_of,
    null_of,
    spoken,
    statistic,
    threshold,
    typeset,
    value_of,
)
from attnaudit.report.blocks import Block, Picture, Row, StudySection, StudyTable, Value
from attnaudit.report.charts import Figure, Guide, IntervalRow
from attnaudit.report.controls import ControlSummary, FindingRow, _intervals
from attnaudit.report.files import write_text
from attnaudit.report.page import render_page
from attnaudit.report.terminal import STYLES
from attnaudit.shortcuts.schema import ShortcutReport, ShortcutVerdict

TITLES = {
    "performance": "Is the model good enough to audit?",
    "leak": "Do the weights alone tell the label?",
    "weights_only": "What does the decoder read when the content is gone?",
    "swaps": "Do predictions follow the weights of another record?",
    "gap": "Does the model need its own code?",
}
ABOUT = {
    "leak": (
        "Bai et al. 2021",
        "cross-fitted balanced accuracy of the best probe that sees the weights and no word, above "
        "chance or a probe of the number of units, whichever is better",
        "A probe of the form misses a code that lies in which words are chosen: see the gap.",
    ),
    "weights_only": (
        "Bai et al. 2021; protocol ours",
        "balanced accuracy above chance, with a mean vector in the place of every word",
        "A decoder that sums its states sees nothing when all of them are one vector; the mean of "
        "the place keeps default tokens apart.",
    ),
    "swaps": (
        "Bai et al. 2021; protocol ours",
        "share of predictions changed by weights of another predicted class, less the share "
        "changed by weights of the same class",
        "Weights of other records miss the units that matter; only the difference speaks.",
    ),
    "gap": (
        "Bai et al. 2021; EVAL-X of Jethani et al. 2021",
        "balanced accuracy of the model less the mean of judges that learnt with masks which tell "
        "nothing of the label, and read the same weights; paired by record",
        "Where no weights independent of the label can be read at all, the informed decoder shows "
        "that the training of the judges has power.",
    ),
}
STYLE = {
    ShortcutVerdict.CLEAN: "green",
    ShortcutVerdict.LEAKS: "yellow",
    ShortcutVerdict.RELIES: "red",
    ShortcutVerdict.UNCERTAIN: "yellow",
    ShortcutVerdict.POOR: "dim",
}


def summarise_shortcuts(report: ShortcutReport) -> ControlSummary:
    """The plain data of the page. Picks and words; computes no statistic."""
    return ControlSummary(
        title=f"{report.model} on {report.data}",
        version=report.attnaudit_version,
        headline=headline_of(report),
        subtitle=(
            ("model", report.model),
            ("records", ", ".join(f"{n} {count(s)}" for n, s in report.sizes.items())),
            ("time", duration(sum(report.seconds.values()))),
            ("finished", f"{report.created.day} {report.created:%B %Y}"),
        ),
        findings=tuple(_row(f) for f in (report.gate, *report.findings)),
        sections=tuple(_sections(report)),
    )


def headline_of(report: ShortcutReport) -> str:
    """The verdict and its sentence."""
    word = report.verdict.value
    return f"{word[0].upper()}{word[1:]}. {typeset(report.sentence)}"


def render_shortcuts(report: ShortcutReport) -> str:
    """The page as one HTML document; every text is escaped, nothing is loaded."""
    summary = summarise_shortcuts(report)
    return render_page("shortcuts.html.j2", summary.figures, styles=("study.css",), s=summary)


def write_shortcuts(report: ShortcutReport, path: Path) -> Path:
    """Write the page whole or not at all, and say where.

    Raises:
        RunError: It cannot be written.
    """
    return write_text(path, render_shortcuts(report))


def shortcut_table(report: ShortcutReport) -> Table:
    """One row a finding, for the terminal."""
    title = f"Shortcuts: {report.model} on {report.data}"
    table = Table(title=visible(title), title_justify="left", show_lines=True)
    for column in ("check", "verdict", "headline"):
        table.add_column(column, no_wrap=column == "verdict")
    table.add_column("finding", ratio=1)
    for finding in (report.gate, *report.findings):
        style = STYLES[finding.verdict]
        notes = "".join(f"\n{visible(typeset(note))}" for note in finding.notes)
        table.add_row(
            finding.check.replace("_", " "),
            Text(finding.verdict.value, style=style),
            "" if finding.headline is None else spoken(finding.headline),
            Text.assemble(visible(typeset(finding.sentence)), (notes, "dim")),
        )
    return table


def _row(finding: Finding) -> FindingRow:
    about: list[tuple[str, str]] = []
    if finding.check in ABOUT:
        paper, what, caveat = ABOUT[finding.check]
        about += [("paper", paper), ("statistic", what)]
    if finding.headline is not None:
        about.append(
            ("headline", f"{value_of(finding.headline)} ({interval_of(finding.headline)})")
        )
    about += [(name.replace("_", " "), threshold(v)) for name, v in finding.thresholds.items()]
    if finding.check in ABOUT:
        about.append(("when not to trust it", caveat))
    return FindingRow(
        title=TITLES.get(finding.check, finding.check),
        verdict=finding.verdict.value,
        sentence=typeset(finding.sentence),
        notes=tuple(typeset(n) for n in finding.notes),
        about=tuple((name, typeset(text)) for name, text in about),
    )


def _sections(report: ShortcutReport) -> Iterator[StudySection]:
    gap, leak = report.finding("gap"), report.finding("leak")
    yield StudySection(
        "gap",
        "Model and judges",
        "What is predicted from the same held-out records.",
        (
            *_accuracies(gap.estimates, "judges", "Accuracy: the model, and means of judges"),
            _numbers(gap),
        ),
    )
    yield StudySection(
        "leak",
        "What the weights tell",
        "Cross-fitted probes that see weights and no word.",
        (
            *_accuracies(leak.estimates, "probes", "Accuracy of probes"),
            *_defaults(leak),
            *([_numbers(leak)] if leak.estimates else []),
        ),
    )
    others = [report.finding(name) for name in ("weights_only", "swaps")]
    yield StudySection(
        "forward",
        "Interventions",
        "No layer is trained again: weights or content are replaced in the forward pass.",
        tuple(_numbers(f) for f in others if f.estimates),
    )
    rows = tuple(
        Row(name.replace("_", " "), (Value(duration(s)),)) for name, s in report.seconds.items()
    )
    yield StudySection(
        "cost",
        "Cost",
        "CPU time of each part; the judges are trained within the gap.",
        (StudyTable("Time", "", "part", ("CPU time",), rows),),
    )


def _accuracies(estimates: Sequence[Estimate], name: str, title: str) -> Iterator[Block]:
    some = [e for e in estimates if e.statistic == "accuracy" and e.low is not None]
    rows = [IntervalRow(e.subject, (e,)) for e in some]
    if rows:
        null = next((e.null for e in some if e.null is not None), None)
        guides = () if null is None else (Guide(null, "larger class"),)
        yield Picture(_figure(name, title, rows, guides))


def _figure(name: str, title: str, rows: Sequence[IntervalRow], guides: Sequence[Guide]) -> Figure:
    return _intervals(name, title, rows, "accuracy", "With intervals over records.", guides)


def _defaults(leak: Finding) -> Iterator[Block]:
    some = [e for e in leak.estimates if e.statistic == "default_mass"]
    if some:
        yield StudyTable(
            "Weight on default tokens",
            "They stand in every text and mean nothing: a difference between classes is a message.",
            "texts",
            ("mean weight", "interval", "n", "mean even share"),
            tuple(
                Row(
                    e.group,
                    (
                        Value(value_of(e)),
                        Value(interval_of(e)),
                        Value(count(e.n)),
                        Value(null_of(e)),
                    ),
                )
                for e in some
            ),
        )


def _numbers(finding: Finding) -> StudyTable:
    rows = [
        Row(
            f"{statistic(e.statistic).title}: {e.subject}"
            + ("" if e.group == "all" else f", {e.group}"),
            (Value(value_of(e)), Value(interval_of(e)), Value(count(e.n)), Value(null_of(e))),
        )
        for e in finding.estimates
        if e.value is not None
    ]
    return StudyTable(
        f"All numbers: {TITLES.get(finding.check, finding.check)}",
        "",
        "what",
        ("value", "interval", "n", "null"),
        tuple(rows),
        folded=True,
    )
