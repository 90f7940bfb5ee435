"""What several commands print."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from attnaudit.api import Audit, StudyRun
from attnaudit.cli.app import ERR, OUT
from attnaudit.console import Plain, visible
from attnaudit.findings.wording import duration
from attnaudit.report.terminal import render_terminal
from attnaudit.runs.engine import Event
from attnaudit.runs.execute import Watch
from attnaudit.studies.page import ANSWERS, measured_words

TONES = {"pass": "green", "fail": "red", "inconclusive": "yellow", "not-applicable": "dim"}


def show_result(result: Audit | StudyRun, folder: Path) -> None:
    """Write the report and the card into the run folder, print the findings and the places."""
    report = result.to_html(folder / "report.html")
    result.to_card(folder / "card.md")
    if isinstance(result, Audit):
        OUT.print(render_terminal(result.report))
    else:
        show_claims(result)
    OUT.print_place("Report", report)
    if (folder / "model").is_dir():
        OUT.print_place("Model", folder / "model")
    OUT.print_line(f"Run:    {folder.resolve()}")


def show_claims(finished: StudyRun) -> None:
    """Every claim with its answer, what was measured and what the paper says."""
    table = Table(title=finished.report.title, title_justify="left", show_lines=True)
    table.add_column("answer", no_wrap=True)
    table.add_column("claim")
    for claim in finished.report.claims:
        answer, tone = ANSWERS[claim.holds]
        here = f"here: {measured_words(claim.measured)}\n" if claim.measured else ""
        table.add_row(
            Text(answer, style=TONES[tone]),
            Text.assemble(visible(claim.claim), "\n", (f"{here}paper: {claim.paper}", "dim")),
        )
    OUT.print(table)
    for record in finished.results.failed:
        said = f": {visible(record.name)}: {visible(record.reason or '')}"
        OUT.print(Text.assemble(("failed", "red"), said), soft_wrap=True)


@contextmanager
def told() -> Iterator[None]:
    """Warnings of our own as lines for people; those of libraries stay out of the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    said = (w for w in caught if w.category.__module__.startswith("attnaudit."))
    for message in dict.fromkeys(str(w.message) for w in said):
        ERR.print(Text.assemble(("note:", "yellow"), f" {visible(message)}"), soft_wrap=True)


@contextmanager
def watching(cells: int, *, lines: bool = True) -> Iterator[Watch]:
    """Bars of running cells where somebody looks, and a line per finished cell.

    Args:
        cells: How many will be run.
        lines: Whether a finished cell is worth a line.
    """
    console = Plain(stderr=True)
    ended = 0

    def line(event: Event) -> None:
        nonlocal ended
        if event.record is None:
            return
        ended += 1
        state = ("done", ""), f" in {duration(event.record.seconds)}"
        if event.record.status == "failed":
            state = ("failed", "red"), f": {visible(event.record.reason or '')}"
        elif not lines:
            return
        begun = f"{ended} of {cells}: {visible(event.cell.name)}: "
        console.print(Text.assemble(begun, *state), soft_wrap=True)

    if not console.is_terminal:
        yield line
        return
    name, what = (
        TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[what]")
    )
    columns = (name, BarColumn(), what, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        whole = progress.add_task("cells", total=cells, what=f"0 of {cells}")
        tasks: dict[str, TaskID] = {}

        def bars(event: Event) -> None:
            name = event.cell.name
            if event.kind == "start":
                tasks[name] = progress.add_task(visible(name), total=None, what="")
            elif event.kind == "progress":
                progress.update(
                    tasks[name], completed=event.done, total=event.total, what=visible(event.stage)
                )
            else:
                progress.remove_task(tasks.pop(name))
                line(event)
                progress.update(whole, completed=ended, what=f"{ended} of {cells}")

        yield bars
