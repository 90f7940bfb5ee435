"""`attnaudit study`: a paper's experiments, beside the paper's own numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from attnaudit.api import StudyRun
from attnaudit.cli.app import OUT
from attnaudit.cli.options import EngineNamed
from attnaudit.cli.output import show_result, told, watching
from attnaudit.console import visible
from attnaudit.errors import SettingsError
from attnaudit.findings.wording import spoken_time
from attnaudit.studies import STUDIES
from attnaudit.studies.declaration import Study
from attnaudit.studies.run import (
    Prepared,
    options_of,
    prepare,
    read_reference,
    run_study,
)

Names = Annotated[str | None, typer.Option(help="Names with commas between; see `list`.")]


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
    engine: EngineNamed = None,
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

    Writes claims.json, results.parquet, report.html and card.md into the run folder. The same
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
            chosen,
            options,
            folder,
            data_dir=data_dir,
            quick=quick,
            workers=cells,
            engine=engine,
            again=again,
        )
    _announce(prepared)
    if dry_run:
        return
    with watching(len(prepared.waiting)) as watch:
        finished = StudyRun.of(run_study(prepared, reference=numbers, watch=watch))
    show_result(finished, folder)
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
            f"{prepared.study.name}: {waiting} cells{kept}, about {spoken_time(prepared.seconds)} "
            f"on this machine{workers} ({basis}).",
            soft_wrap=True,
        )
    else:
        what = f"all {cells} cells are finished" if cells else "nothing of it can be measured"
        OUT.print(f"{prepared.study.name}: {what}.")
    for missing in prepared.planned.missing:
        said = f": {visible(missing.what)}: {visible(missing.reason)}"
        OUT.print(Text.assemble(("not measured", "yellow"), said), soft_wrap=True)
