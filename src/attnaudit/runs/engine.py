"""Engines: where cells run: here, one after another, or in processes; room for a cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol, cast

import torch

from attnaudit.errors import AttnauditError
from attnaudit.progress import Report
from attnaudit.runs.cell import Cell, CellRecord, Place

OFTEN = 0.2
"""Seconds between two messages of a worker on how far it is."""


@dataclass(frozen=True)
class Job:
    """A cell and where it works."""

    cell: Cell
    place: Place


@dataclass(frozen=True)
class Event:
    """What happened to a cell: `start`, `progress`, or `end` with its record.

    Attributes:
        error: What it raised, where it failed.
    """

    kind: str
    cell: Cell
    stage: str = ""
    done: int = 0
    total: int = 0
    record: CellRecord | None = None
    error: BaseException | None = None


class Engine(Protocol):
    """Where cells run.

    Attributes:
        slots: How many cells can run at a time.
        remote: Whether cells run in other processes, to which models and data must be sent.
    """

    slots: int
    remote: bool

    def start(self, job: Job) -> None:
        """Take a cell; at most `slots` are taken and not ended."""

    def hear(self) -> Iterator[Event]:
        """What happened to the cells taken; waits until something has."""

    def close(self) -> None:
        """End what is still running."""


class Inline:
    """Cells one after another, in this process."""

    slots, remote = 1, False

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()

    def start(self, job: Job) -> None:
        """Take a cell; it is run when `hear` is asked."""
        self._waiting.append(job)

    def hear(self) -> Iterator[Event]:
        """Run the next cell; its steps reach the watcher of its place."""
        job = self._waiting.popleft()
        with _one_thread() if job.cell.single else contextlib.nullcontext():
            record, error = attempt(job)
        yield Event("end", job.cell, record=record, error=error)

    def close(self) -> None:
        """Forget what was not run."""
        self._waiting.clear()


class Processes:
    """Processes that take one cell after another, each over a pipe of its own.

    With no lock or queue in common, a worker that is killed takes nothing down but its own cell.
    """

    remote = True

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._busy: dict[Connection, tuple[BaseProcess, Job]] = {}
        self._idle: list[tuple[Connection, BaseProcess]] = []
        self._context = multiprocessing.get_context("spawn")

    def start(self, job: Job) -> None:
        """Give a cell to a worker, a new one if none is idle."""
        pipe, process = self._idle.pop() if self._idle else self._hire()
        self._busy[pipe] = (process, job)
        sent = replace(job.place, progress=silent)
        with contextlib.suppress(OSError):  # it died already: `hear` finds the end of the pipe
            pipe.send((job.cell, sent))

    def hear(self) -> Iterator[Event]:
        """The next messages of workers."""
        for ready in wait(list(self._busy)):
            pipe = cast("Connection", ready)
            process, job = self._busy[pipe]
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                del self._busy[pipe]
                process.join()
                yield Event("end", job.cell, record=_died(job.cell, process))
                continue
            if isinstance(message[0], CellRecord):
                del self._busy[pipe]
                self._idle.append((pipe, process))
                yield Event("end", job.cell, record=message[0], error=message[1])
            else:
                job.place.progress(*message)

    def close(self) -> None:
        """End the workers at once."""
        for pipe, process in (*self._idle, *((p, b[0]) for p, b in self._busy.items())):
            process.terminate()
            process.join()
            pipe.close()
        self._idle, self._busy = [], {}

    def _hire(self) -> tuple[Connection, BaseProcess]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        with _deaf():
            process.start()
        theirs.close()
        return ours, process


def attempt(job: Job) -> tuple[CellRecord, BaseException | None]:
    """Run one cell: its record, whether it is done or has failed, and what it raised."""
    cell, started = job.cell, time.process_time()
    try:
        with torch.random.fork_rng(devices=[]):
            # nothing should draw from the global state; where something does, it is the cell's own
            torch.manual_seed(int(cell.key[:8], 16))
            outcome = cell.work(cell, job.place)
    except AttnauditError as error:
        return _record(cell, started, "failed", reason=str(error)), error
    except Exception as error:  # a cell may fail in any way; the others must not
        reason = f"{type(error).__name__}: {error}{_where(error)}"
        return _record(cell, started, "failed", reason=reason), error
    done = _record(
        cell, started, "done", rows=outcome.rows, facts=dict(outcome.facts), notes=outcome.notes
    )
    return done, None


def _record(cell: Cell, started: float, status: str, **found: object) -> CellRecord:
    return CellRecord.model_validate(
        {
            "name": cell.name,
            "key": cell.key,
            "spec": dict(cell.spec),
            "cost": cell.cost,
            "code": cell.source,
            "created": datetime.now(UTC),
            "seconds": time.process_time() - started,
            "status": status,
            **found,
        }
    )


def _where(error: Exception) -> str:
    """The line that raised, for faults that no message of ours explains."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def failed_record(cell: Cell, reason: str) -> CellRecord:
    """The record of a cell that was lost with its worker."""
    return _record(cell, time.process_time(), "failed", reason=reason)


def _died(cell: Cell, process: BaseProcess) -> CellRecord:
    code = process.exitcode
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = f"killed by signal {-code}"
    if code == -signal.SIGKILL:
        how += ", often for want of memory: try fewer workers, or --limit"
    reason = f"the process of this cell ended ({how})."
    return failed_record(cell, reason)


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


def _work(pipe: Connection) -> None:
    """A worker: cells from the pipe, records into it, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):  # the parent has ended, or was killed
        while True:
            cell, place = pipe.recv()
            record, error = attempt(Job(cell, replace(place, progress=_told(pipe))))
            pipe.send((record, portable(error)))


def portable(error: BaseException | None) -> BaseException | None:
    """An error of ours that another process can raise again; None for any other."""
    if not isinstance(error, AttnauditError):
        return None
    try:
        found: object = pickle.loads(pickle.dumps(error))
    except Exception:  # an error with arguments of its own
        return AttnauditError(str(error))
    return found if isinstance(found, AttnauditError) else None


def _end_with_parent() -> None:
    """End this process, whatever it is at, as soon as its parent has ended.

    A parent that is killed cannot end its workers, and what they find nobody would store.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _told(pipe: Connection) -> Report:
    last = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= OFTEN or done == total:
            last = now
            pipe.send((stage, done, total))

    return progress


def silent(stage: str, done: int, total: int) -> None:
    """Tells nobody."""
