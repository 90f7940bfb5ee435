"""Trainings in order of what they need, each stored as it ends, several at a time if asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attnaudit.evidence.trainings.cell import OUTPUTS, cells_of, store_model, study_of
from attnaudit.evidence.trainings.design import Design, Training
from attnaudit.evidence.trainings.outputs import Outputs, read_outputs
from attnaudit.evidence.trainings.timing import costs_of, forecast
from attnaudit.models.text.model import TextClassifier
from attnaudit.runs.folders import claim
from attnaudit.training.text import Splits

if TYPE_CHECKING:
    from attnaudit.studies.declaration import Cell, Study
    from attnaudit.studies.executor import Event, Watch
    from attnaudit.studies.schema import CellRecord
    from attnaudit.studies.store import StudyStore


@dataclass(frozen=True)
class Work:
    """Trainings that are ready to run.

    Attributes:
        splits: The data.
        design: What was asked.
        trainings: By name, in an order in which they can be run.
        cells: The same as units of the executor.
        study: How one is measured.
        store: Where they are stored.
        finished: The records of those that the folder holds already, by name.
        base: The base model, where it was trained elsewhere.
        cautions: How that model is not like the others, or may not be.
        plan: A hash of data and recipe, by which another run is told from this one.
    """

    splits: Splits
    design: Design
    trainings: Mapping[str, Training]
    cells: Mapping[str, Cell]
    study: Study
    store: StudyStore
    finished: Mapping[str, CellRecord]
    base: TextClassifier | None = None
    cautions: tuple[str, ...] = ()
    plan: str = ""

    @property
    def waiting(self) -> dict[str, Training]:
        """Trainings that are still to be run."""
        return {n: t for n, t in self.trainings.items() if n not in self.finished}

    def forecast(self, workers: int = 1) -> str:
        """How long the waiting trainings will take, in words, from a few timed batches.

        Raises:
            DataError: The data cannot be trained on.
        """
        ahead = {
            name: training
            for name, training in self.waiting.items()
            if self.base is None or training != self.design.base
        }
        if not ahead:
            return f"all {len(self.trainings)} trainings are finished"
        said = forecast(costs_of(ahead.values(), self.design.recipe, self.splits), ahead, workers)
        kept = f" ({len(self.finished)} finished before)" if self.finished else ""
        return said + kept

    def outputs(self, name: str) -> Outputs | None:
        """What a finished training says of the test split."""
        return read_outputs(self.store.folder_of(self.cells[name]) / OUTPUTS)


def prepare_work(
    splits: Splits,
    design: Design,
    trainings: Mapping[str, Training],
    folder: Path,
    base: TextClassifier | None = None,
    cautions: tuple[str, ...] = (),
    plan: str = "",
) -> Work:
    """Look at what is finished; runs nothing.

    Raises:
        RunError: The folder cannot be used.
    """
    from attnaudit.studies.store import StudyStore  # here, since studies use controls

    study = study_of(splits, design.recipe)
    fingerprint = None if base is None else base.fingerprint()
    cells = cells_of(trainings, design, splits, study, fingerprint)
    store = StudyStore(folder, study)
    finished = {}
    for name, cell in cells.items():
        record = store.read(cell)
        if record is not None and read_outputs(store.folder_of(cell) / OUTPUTS) is not None:
            finished[name] = record
    return Work(splits, design, trainings, cells, study, store, finished, base, cautions, plan)


def run_work(
    work: Work, workers: int = 1, watch: Watch | None = None
) -> tuple[dict[str, CellRecord], dict[str, str]]:
    """Run all trainings that are not finished.

    Each has one thread, so the number of workers changes no number. One that fails takes nothing
    down but those that need it.

    Returns:
        The records of finished trainings, and why the others failed, by name.

    Raises:
        RunError: The folder cannot be used.
    """
    from attnaudit.studies.declaration import Place
    from attnaudit.studies.executor import Job, run_cells

    done, failed = dict(work.finished), dict[str, str]()

    def heard(event: Event) -> None:
        record = event.record
        if record is not None:
            work.store.write(event.cell, record)
            if record.status == "done":
                done[event.cell.name] = record
            else:
                failed[event.cell.name] = record.reason or "unknown"
        if watch is not None:
            watch(event)

    device = work.design.recipe.options.device
    with work.store.locked():
        claim(work.store.folder, "control", work.plan)
        waiting = work.waiting
        while waiting:
            broken = {
                name: needed.name
                for name, training in waiting.items()
                for needed in training.needs
                if needed.name in failed
            }
            failed |= {
                name: f"it needs {needed!r}, which failed" for name, needed in broken.items()
            }
            waiting = {n: t for n, t in waiting.items() if n not in broken}
            ready = [n for n, t in waiting.items() if all(p.name in done for p in t.needs)]
            folders = {name: work.store.folder_of(work.cells[name]) for name in ready}
            if work.base is not None and work.design.base.name in ready:
                store_model(folders[work.design.base.name], work.base, {"given": True})
            jobs = [Job(work.cells[n], Place(folders[n], None, device, _silent)) for n in ready]
            run_cells(work.study, jobs, workers, heard)
            waiting = {n: t for n, t in waiting.items() if n not in ready}
    return done, failed


def _silent(stage: str, done: int, total: int) -> None:
    return None
