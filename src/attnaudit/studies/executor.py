"""Cells, one after another or in several processes, with the same numbers either way."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from attnaudit.errors import AttnauditError
from attnaudit.runs.code import code_fingerprint
from attnaudit.studies.declaration import Cell, Place, Progress, Study
from attnaudit.studies.schema import CellRecord
from attnaudit.version import __version__

OFTEN = 0.2
"""Seconds between two messages of a worker on how far it is."""


@dataclass(frozen=True)
class Job:
    """A cell and where it works."""

    cell: Cell
    place: Place


@dataclass(frozen=True)
class Event:
    """What happened to a cell: `start`, `progress`, or `end` with its record."""

    kind: str
    cell: Cell
    stage: str = ""
    done: int = 0
    total: int = 0
    record: CellRecord | None = None


Watch = Callable[[Event], None]


def run_cells(study: Study, jobs: Sequence[Job], workers: int, watch: Watch) -> None:
    """Run every cell; `watch` hears of each start, step and end, in this process.

    A cell that raises has failed, with the reason in its record, and the others go on. So do they
    where a worker dies. Each cell has one thread, so the number of workers changes no number.
    """
    if workers > 1 and len(jobs) > 1:
        _Pool(study, min(workers, len(jobs)), watch).run(jobs)
        return
    with _one_thread():
        for job in jobs:
            watch(Event("start", job.cell))
            place = replace(job.place, progress=_steps(job.cell, watch))
            record = attempt(study, job.cell, place)
            watch(Event("end", job.cell, record=record))


def attempt(study: Study, cell: Cell, place: Place) -> CellRecord:
    """Run one cell: its record, whether it is done or has failed."""
    started = time.process_time()
    found: dict[str, Any] = {}
    try:
        with torch.random.fork_rng(devices=[]):
            # nothing should draw from the global state; where something does, it is the cell's own
            torch.manual_seed(int(cell.key(study)[:8], 16))
            outcome = study.measure(cell, place)
        found = {
            "rows": tuple(outcome.rows),
            "facts": dict(outcome.facts),
            "notes": tuple(outcome.notes),
        }
    except AttnauditError as error:
        found = {"status": "failed", "reason": str(error)}
    except Exception as error:  # a cell may fail in any way; the others must not
        found = {"status": "failed", "reason": f"{type(error).__name__}: {error}{_where(error)}"}
    return CellRecord.model_validate(
        {"status": "done", **_about(study, cell), "seconds": time.process_time() - started, **found}
    )


def _about(study: Study, cell: Cell) -> dict[str, Any]:
    return {
        "study": study.name,
        "name": cell.name,
        "key": cell.key(study),
        "spec": dict(cell.spec),
        "cost": cell.cost,
        "attnaudit_version": __version__,
        "code": code_fingerprint(study.measure.__module__),
        "created": datetime.now(UTC),
    }


def _where(error: Exception) -> str:
    """The line that raised, for faults that no message of ours explains."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"


def _steps(cell: Cell, watch: Watch) -> Progress:
    return lambda stage, done, total: watch(Event("progress", cell, stage, done, total))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Pool:
    """Processes that take one cell after another, each over a pipe of its own.

    With no lock or queue in common, a worker that is killed takes nothing down but its own cell.
    """

    def __init__(self, study: Study, workers: int, watch: Watch) -> None:
        self.study, self.workers, self.watch = study, workers, watch
        self.busy: dict[Connection, tuple[BaseProcess, Job]] = {}
        self.context = multiprocessing.get_context("spawn")

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all jobs, then end the workers; on an error or Ctrl-C end them at once."""
        waiting = list(reversed(jobs))
        try:
            for _ in range(self.workers):
                self._give(*self._hire(), waiting.pop())
            while self.busy:
                for ready in wait(list(self.busy)):
                    self._hear(ready, waiting)  # type: ignore[arg-type]
        finally:
            for pipe, (process, _) in self.busy.items():
                process.terminate()
                process.join()
                pipe.close()

    def _hire(self) -> tuple[Connection, BaseProcess]:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, self.study), daemon=True)
        with _deaf():
            process.start()
        theirs.close()
        return ours, process

    def _give(self, pipe: Connection, process: BaseProcess, job: Job) -> None:
        self.busy[pipe] = (process, job)
        with contextlib.suppress(OSError):  # it died already: `_hear` finds the end of the pipe
            pipe.send((job.cell, replace(job.place, progress=_silent)))
        self.watch(Event("start", job.cell))

    def _hear(self, pipe: Connection, waiting: list[Job]) -> None:
        process, job = self.busy[pipe]
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            del self.busy[pipe]
            process.join()
            self.watch(Event("end", job.cell, record=_died(self.study, job.cell, process)))
            if waiting:
                self._give(*self._hire(), waiting.pop())
            return
        if not isinstance(message, CellRecord):
            self.watch(Event("progress", job.cell, *message))
            return
        self.watch(Event("end", job.cell, record=message))
        if waiting:
            self._give(pipe, process, waiting.pop())
            return
        del self.busy[pipe]
        pipe.close()
        process.join()


def _died(study: Study, cell: Cell, process: BaseProcess) -> CellRecord:
    code = process.exitcode
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = f"killed by signal {-code}"
    if code == -signal.SIGKILL:
        how += ", often for want of memory: try fewer workers, or --limit"
    return CellRecord(
        **_about(study, cell),
        status="failed",
        seconds=0.0,
        reason=f"the process of this cell ended ({how}).",
    )


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C is ignored, and by processes that start now, from their first import on.

    It reaches the whole group; the parent decides and ends its workers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: Connection, study: Study) -> None:
    """A worker: cells from the pipe, records into it, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):  # the parent has ended, or was killed
        while True:
            cell, place = pipe.recv()
            pipe.send(attempt(study, cell, replace(place, progress=_told(pipe))))


def _end_with_parent() -> None:
    """End this process, whatever it is at, as soon as its parent has ended.

    A parent that is killed cannot end its workers, and what they find nobody would store.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _told(pipe: Connection) -> Progress:
    last = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= OFTEN or done == total:
            last = now
            pipe.send((stage, done, total))

    return progress


def _silent(stage: str, done: int, total: int) -> None:
    return None
