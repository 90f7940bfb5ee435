"""`attnaudit study`: a paper's experiments, beside the paper's own numbers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from attnaudit.cli.app import OUT, app
from attnaudit.cli.output import told
from attnaudit.console import Plain, visible
from attnaudit.errors import SettingsError
from attnaudit.findings.wording import duration
from attnaudit.studies import STUDIES
from attnaudit.studies.declaration import Study
from attnaudit.studies.executor import Event, Watch
from attnaudit.studies.page import ANSWERS, measured_words, write_study
from attnaudit.studies.run import (
    Finished,
    Prepared,
    options_of,
    prepare,
    read_reference,
    run_study,
)

TONES = {"pass": "green", "fail": "red", "inconclusive": "yellow", "not-applicable": "dim"}
Names = Annotated[str | None, typer.Option(help="Names with commas between; see `list`.")]


@app.command()
def study(
    name: Annotated[str, typer.Argument(help=f"{', '.join(STUDIES)}, or 'list' to see them.")],
    out: Annotated[
        Path | None, typer.Option(help="Run folder, runs/NAME by default; finished cells stay.")
    ] = None,
    data: Names = None,
    encoder: Names = None,
    attention: Names = None,
    seeds: Annotated[str | None, typer.Option(help="Numbers with commas between.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with one sub-folder a data set, such as sst.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="At most 5 minutes on two cores; needs no data.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Cells at a time, 1 by default, 2 if quick; numbers stay equal."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Training texts a set.")] = None,
    test_limit: Annotated[int | None, typer.Option(min=1, help="Test texts a set.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="JSON file with the paper's own numbers, to show beside.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the study as NAME=VALUE; repeat.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run finished cells again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run and how long; run nothing.")
    ] = False,
) -> None:
    """Repeat a paper's experiments and say which of its claims hold.

    Writes claims.json, results.parquet, report.html and summary.md into the run folder. The same
    command goes on where it stopped. Exit code 1 means that a cell failed.

    Example: attnaudit study jain2019 --quick --workers 2
    """
    if name == "list":
        _list_studies()
        return
    chosen = _named(name)
    flags = {
        "data": _listed(data),
        "encoders": _listed(encoder),
        "attentions": _listed(attention),
        "seeds": _listed(seeds),
        "train_limit": limit,
        "test_limit": test_limit,
        "device": device,
    }
    given = {k: v for k, v in flags.items() if v is not None} | _pairs(set_ or [])
    options = options_of(chosen, given, data_dir=data_dir, quick=quick)
    numbers = read_reference(reference) if reference else {}
    folder = out or Path("runs") / name
    cells = workers or (min(2, os.cpu_count() or 1) if quick else 1)
    with told():
        prepared = prepare(
            chosen, options, folder, data_dir=data_dir, quick=quick, workers=cells, again=again
        )
    _announce(prepared)
    if dry_run:
        return
    with _watched(len(prepared.waiting)) as watch:
        finished = run_study(prepared, reference=numbers, watch=watch)
    places = write_study(finished)
    _show(finished)
    for what, path in (*places.items(), ("Run", folder)):
        OUT.print_place(what, path)
    if not finished.complete:
        raise typer.Exit(1)


def _named(name: str) -> Study:
    if name not in STUDIES:
        raise SettingsError(f"no study is called {name!r}; there are: {', '.join(STUDIES)}.")
    return STUDIES[name]


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _pairs(given: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` as options; a value with commas is several."""
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(f"--set {pair}: write NAME=VALUE, such as --set epochs=4.")
        found[name.strip()] = value.split(",") if "," in value else value
    return found


def _list_studies() -> None:
    """Every study with its data sets and the options that `--set` takes."""
    flags = ("data", "encoders", "attentions", "seeds")
    for one in STUDIES.values():
        default = one.options()  # type: ignore[call-arg]
        others = ", ".join(field for field in one.options.model_fields if field not in flags)
        OUT.print(Text.assemble((one.name, "bold"), f"  {one.title}  ({one.paper})"))
        for what, names in (("data", ", ".join(default.data)), ("--set", others)):
            line = Table.grid(padding=(0, 2))
            line.add_row(f"  {what:6}", names)
            OUT.print(line)


def _announce(prepared: Prepared) -> None:
    """What will be run, how long it will take, and what cannot be measured."""
    cells, waiting = len(prepared.planned.cells), len(prepared.waiting)
    kept = f", {cells - waiting} of {cells} finished before" if cells > waiting else ""
    basis = "from the cells measured here" if prepared.measured else "a rough estimate"
    workers = f", {prepared.workers} at a time" if prepared.workers > 1 else ""
    if waiting:
        OUT.print(
            f"{prepared.study.name}: {waiting} cells{kept}, about {_about(prepared.seconds)} on "
            f"this machine{workers} ({basis}).",
            soft_wrap=True,
        )
    else:
        what = f"all {cells} cells are finished" if cells else "nothing of it can be measured"
        OUT.print(f"{prepared.study.name}: {what}.")
    if prepared.dated:
        OUT.print(
            f"{prepared.dated} finished cells were measured by other code than this; "
            "--again runs them again.",
            soft_wrap=True,
        )
    for missing in prepared.planned.missing:
        said = f": {visible(missing.what)}: {visible(missing.reason)}"
        OUT.print(Text.assemble(("not measured", "yellow"), said), soft_wrap=True)


def _about(seconds: float) -> str:
    """A stretch of time as an estimate: no digits that it does not have.

    Example:
        >>> _about(41), _about(130), _about(9000)
        ('40 seconds', '2 minutes', '2.5 hours')
    """
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


@contextlib.contextmanager
def _watched(cells: int) -> Iterator[Watch]:
    """Bars where somebody looks, else a line a finished cell."""
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


def _show(finished: Finished) -> None:
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
