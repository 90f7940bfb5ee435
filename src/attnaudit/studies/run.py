"""A study from options to claims: plan, run what is not finished, conclude, store."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue, ValidationError

from attnaudit.errors import DataError, RunError, SettingsError
from attnaudit.files import read_json
from attnaudit.runs.cell import Cell
from attnaudit.runs.engines import engine_of
from attnaudit.runs.execute import Done, Watch, run_cells
from attnaudit.runs.folders import check_run
from attnaudit.runs.store import Store
from attnaudit.studies.declaration import Options, Planned, Results, Study, run_cell
from attnaudit.studies.schema import (
    CellLine,
    ClaimList,
    Missing,
    StudyPlan,
    StudyReport,
)
from attnaudit.version import __version__

FINDINGS, CLAIMS, TABLE = "findings.json", "claims.json", "results.parquet"


@dataclass(frozen=True)
class Prepared:
    """A study that is ready to run.

    Attributes:
        cells: Its cells, as they are run.
        waiting: Names of those that the run folder lacks.
        seconds: How long these will take, roughly, on the workers asked for.
        measured: Whether that rests on cells measured here, and not on the declared cost alone.
        engine: Where they run, as `engine_of` takes it.
    """

    study: Study
    options: Options
    planned: Planned
    store: Store
    cells: tuple[Cell, ...]
    quick: bool
    workers: int
    waiting: tuple[str, ...]
    seconds: float
    measured: bool
    engine: str | None = None


@dataclass(frozen=True)
class Finished:
    """A study that has run.

    Attributes:
        report: What `study.json` holds.
        results: The cells behind it, for the page.
    """

    report: StudyReport
    results: Results

    @property
    def complete(self) -> bool:
        """Whether no cell failed and at least one was measured."""
        return not self.results.failed and bool(self.results.records)


def options_of(
    study: Study, given: Mapping[str, object], *, data_dir: Path | None = None, quick: bool = False
) -> Options:
    """The options of a study: its defaults, the quick ones, and over both what is given.

    Raises:
        SettingsError: No such option, or a value that it cannot have.
    """
    values = {**(study.quick(data_dir) if quick else {}), **given}
    try:
        return study.options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its options"
        known = ", ".join(study.options.model_fields)
        raise SettingsError(
            f"the study {study.name}: {where}: {first['msg']}. Its options are: {known}."
        ) from error


def prepare(
    study: Study,
    options: Options,
    out: Path,
    *,
    data_dir: Path | None = None,
    quick: bool = False,
    workers: int = 1,
    engine: str | None = None,
    again: bool = False,
) -> Prepared:
    """Plan a study and look at what is finished; runs nothing.

    Args:
        study: Which one.
        options: What of it.
        out: The run folder.
        data_dir: The folder of data sets, or None.
        quick: Whether the options are quick ones.
        workers: How many cells at a time.
        engine: Where they run, as `engine_of` takes it.
        again: Run finished cells again.

    Raises:
        DataError: `data_dir` is no folder.
        SettingsError: An option names nothing, or `workers` is below 1.
        RunError: The folder cannot be written, or holds something else.
    """
    engine_of(workers).close()  # refuses less than one
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(
            f"{data_dir} is not a folder: --data-dir has one sub-folder per data set, such as sst, "
            "with its splits."
        )
    check_run(out, "study", reads=(data_dir,))
    store = Store(out, "study")
    before = store.known_plan(StudyPlan)
    difference = None if before is None else _plan(study, options).difference(before)
    if difference:
        raise RunError(f"{out} holds another study: {difference}. Choose another folder.")
    planned = study.plan(options, data_dir)
    cells = tuple(run_cell(study, cell, data_dir) for cell in planned.cells)
    records = [record for cell in cells if (record := store.finished(cell))]
    finished = set() if again else {record.name for record in records}
    left = sum(cell.cost for cell in cells if cell.name not in finished)
    expected = sum(record.cost for record in records)
    ratio = sum(record.seconds for record in records) / expected if expected else 1.0
    return Prepared(
        study,
        options,
        planned,
        store,
        cells,
        quick,
        workers,
        tuple(cell.name for cell in cells if cell.name not in finished),
        seconds=ratio * left / workers,
        measured=bool(expected),
        engine=engine,
    )


def run_study(
    prepared: Prepared,
    *,
    reference: Mapping[str, JsonValue] | None = None,
    watch: Watch | None = None,
) -> Finished:
    """Run the cells that are not finished, then conclude and store everything.

    Every cell is stored as it ends, so a crash or Ctrl-C loses none that is finished.

    Raises:
        RunError: The run folder cannot be used.
    """
    study, store = prepared.study, prepared.store
    store.open(_plan(study, prepared.options))
    for cell in prepared.cells:
        if cell.name in prepared.waiting:
            store.forget(cell)
    done = run_cells(
        prepared.cells,
        store,
        engine=engine_of(prepared.workers, prepared.engine),
        device=prepared.options.device,
        watch=watch,
    )
    results = _results(prepared, done, reference or {})
    report = _report(prepared, results)
    content = io.BytesIO()
    results.frame.write_parquet(content)
    with store.held():
        store.write(TABLE, content.getvalue())
        store.write(CLAIMS, ClaimList(study=study.name, claims=report.claims))
        store.write(FINDINGS, report)
    return Finished(report, results)


def open_study(folder: Path, studies: Mapping[str, Study]) -> Finished:
    """A finished study from its run folder.

    Args:
        folder: The run folder.
        studies: The studies that there are, by name.

    Raises:
        RunError: The folder holds no finished study, or a damaged one.
    """
    store = Store(folder, "study")
    report = store.read(FINDINGS, StudyReport)
    study = studies.get(report.study)
    if study is None:
        raise RunError(f"{folder} holds the study {report.study!r}, which this attnaudit lacks.")
    records = [store.record(line.folder) for line in report.cells]
    known = [record for record in records if record is not None]
    results = Results(
        study=study,
        options=study.options.model_validate(report.options),
        folder=folder,
        records=tuple(r for r in known if r.status == "done"),
        places={line.name: line.folder for line in report.cells},
        failed=tuple(r for r in known if r.status == "failed"),
        missing=report.missing,
        reference=report.reference,
    )
    return Finished(report, results)


def _plan(study: Study, options: Options) -> StudyPlan:
    return StudyPlan(study=study.name, options=options.model_dump(mode="json"))


def read_reference(path: Path) -> Mapping[str, JsonValue]:
    """A paper's own numbers from a JSON file.

    Raises:
        DataError: The file cannot be read or is no JSON object.
    """
    try:
        found = read_json(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is not a JSON object: give the file of the paper's own numbers.")
    return found


def _results(prepared: Prepared, done: Done, reference: Mapping[str, JsonValue]) -> Results:
    lost = [cell for cell in prepared.cells if cell.name in done.failed]
    failed = tuple(r for cell in lost if (r := prepared.store.record(cell.place)) is not None)
    missing = (
        *prepared.planned.missing,
        *(Missing(what=cell.name, reason=done.failed[cell.name]) for cell in lost),
    )
    return Results(
        study=prepared.study,
        options=prepared.options,
        folder=prepared.store.folder,
        records=tuple(done.records[c.name] for c in prepared.cells if c.name in done.records),
        places={cell.name: cell.place for cell in prepared.cells},
        failed=failed,
        missing=missing,
        reference=reference,
    )


def _report(prepared: Prepared, results: Results) -> StudyReport:
    study = prepared.study
    known = {r.name: r for r in (*results.records, *results.failed)}
    return StudyReport(
        study=study.name,
        title=study.title,
        paper=study.paper,
        attnaudit_version=__version__,
        created=datetime.now(UTC),
        quick=prepared.quick,
        options=prepared.options.model_dump(mode="json"),
        reference=dict(results.reference),
        cells=tuple(
            CellLine(
                name=name,
                folder=results.places[name],
                status=record.status,
                reason=record.reason,
                seconds=record.seconds,
            )
            for name, record in known.items()
        ),
        missing=results.missing,
        claims=study.conclude(results),
    )
