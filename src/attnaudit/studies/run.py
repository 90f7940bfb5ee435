"""A study from options to claims: plan, run what is not finished, conclude, store."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from attnaudit.errors import DataError, RunError, SettingsError
from attnaudit.files import read_json
from attnaudit.manifest import known_manifest
from attnaudit.runs.code import code_fingerprint
from attnaudit.runs.folders import check_run, claim
from attnaudit.studies.declaration import Cell, Options, Place, Planned, Results, Study
from attnaudit.studies.executor import Event, Job, Watch, run_cells
from attnaudit.studies.schema import (
    CellLine,
    CellRecord,
    ClaimList,
    Missing,
    StudyReport,
)
from attnaudit.studies.store import CELLS, StudyStore
from attnaudit.version import __version__

TABLE = "results.parquet"


@dataclass(frozen=True)
class Prepared:
    """A study that is ready to run.

    Attributes:
        finished: Cells that the run folder holds already, by key.
        seconds: How long the others will take, roughly, on the workers asked for.
        measured: Whether that rests on cells measured here, and not on the declared cost alone.
    """

    study: Study
    options: Options
    planned: Planned
    store: StudyStore
    data_dir: Path | None
    quick: bool
    workers: int
    finished: Mapping[str, CellRecord]
    seconds: float
    measured: bool

    @property
    def dated(self) -> int:
        """How many finished cells were measured by other code than this."""
        return sum(
            record.code != code_fingerprint(self.study.measure.__module__)
            for record in self.finished.values()
        )

    @property
    def waiting(self) -> tuple[Cell, ...]:
        """Cells that are still to be run."""
        return tuple(c for c in self.planned.cells if c.key(self.study) not in self.finished)


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
    study: Study, given: Mapping[str, Any], *, data_dir: Path | None = None, quick: bool = False
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
        again: Run finished cells again.

    Raises:
        DataError: `data_dir` is no folder.
        SettingsError: An option names nothing, or `workers` is below 1.
        RunError: The folder cannot be written, or holds something else.
    """
    if workers < 1:
        raise SettingsError(f"workers is {workers}; it must be 1 or more.")
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(
            f"{data_dir} is no folder: --data-dir is one with a sub-folder a data set, such as "
            "sst, with its splits."
        )
    check_run(out, "study", reads=(data_dir,))
    before = known_manifest(out).plan
    if before not in ("", study.name):
        raise RunError(f"{out} holds the study {before}. Choose another folder.")
    planned = study.plan(options, data_dir)
    store = StudyStore(out, study)
    records = [record for cell in planned.cells if (record := store.read(cell))]
    finished = {} if again else {record.key: record for record in records}
    left = sum(c.cost for c in planned.cells if c.key(study) not in finished)
    expected = sum(record.cost for record in records)
    ratio = sum(record.seconds for record in records) / expected if expected else 1.0
    return Prepared(
        study,
        options,
        planned,
        store,
        data_dir,
        quick,
        workers,
        finished,
        seconds=ratio * left / workers,
        measured=bool(expected),
    )


def run_study(
    prepared: Prepared,
    *,
    reference: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> Finished:
    """Run the cells that are not finished, then conclude and store everything.

    Every cell is stored as it ends, so a crash or Ctrl-C loses none that is finished.

    Raises:
        RunError: The run folder cannot be used.
    """
    study, store = prepared.study, prepared.store
    outcomes = dict(prepared.finished)

    def heard(event: Event) -> None:
        if event.record is not None:
            store.write(event.cell, event.record)
            outcomes[event.record.key] = event.record
        if watch is not None:
            watch(event)

    with store.locked():
        claim(store.folder, "study", study.name)
        jobs = [
            Job(
                cell,
                Place(store.folder_of(cell), prepared.data_dir, prepared.options.device, _silent),
            )
            for cell in prepared.waiting
        ]
        run_cells(study, jobs, prepared.workers, heard)
        results = _results(
            prepared, [outcomes[c.key(study)] for c in prepared.planned.cells], reference or {}
        )
        report = _report(prepared, results)
        store.write_report(report, ClaimList(study=study.name, claims=report.claims))
        content = io.BytesIO()
        results.frame.write_parquet(content)
        store.write_table(TABLE, content.getvalue())
    return Finished(report, results)


def read_reference(path: Path) -> Mapping[str, Any]:
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


def _results(
    prepared: Prepared, records: Sequence[CellRecord], reference: Mapping[str, Any]
) -> Results:
    failed = tuple(r for r in records if r.status == "failed")
    missing = (
        *prepared.planned.missing,
        *(Missing(what=r.name, reason=r.reason or "unknown") for r in failed),
    )
    return Results(
        study=prepared.study,
        options=prepared.options,
        folder=prepared.store.folder,
        records=tuple(r for r in records if r.status == "done"),
        failed=failed,
        missing=missing,
        reference=reference,
    )


def _report(prepared: Prepared, results: Results) -> StudyReport:
    study = prepared.study
    order = {cell.key(study): cell for cell in prepared.planned.cells}
    known = {r.key: r for r in (*results.records, *results.failed)}
    return StudyReport(
        study=study.name,
        title=study.title,
        paper=study.paper,
        attnaudit_version=__version__,
        created=datetime.now(UTC),
        quick=prepared.quick,
        options=prepared.options.model_dump(mode="json"),
        cells=tuple(
            CellLine(
                name=known[key].name,
                folder=f"{CELLS}/{cell.folder(study)}",
                status=known[key].status,
                reason=known[key].reason,
                seconds=known[key].seconds,
            )
            for key, cell in order.items()
        ),
        missing=results.missing,
        claims=study.conclude(results),
    )


def _silent(stage: str, done: int, total: int) -> None:
    return None
