"""The engine `ray`: cells as tasks of a Ray cluster.

Cells travel with what they need by name: models and data by fingerprint and where they are loaded
from, results by the run folder, which every node must see. A worker loads each model once and
keeps it. A task whose worker or node is lost runs again elsewhere; what had been stored is stored.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from attnaudit.errors import MissingExtra, RunError, first_line
from attnaudit.runs.cell import CellRecord
from attnaudit.runs.engine import (
    OFTEN,
    Event,
    Job,
    attempt,
    failed_record,
    portable,
    silent,
)

RETRIES = 3
"""How often a task is run again after its worker or node was lost."""
PATIENCE = 0.5
"""Seconds between two looks at the board of progress."""


class RayEngine:
    """Cells as Ray tasks.

    Args:
        slots: How many cells may be taken at a time; 0 for as many as the cluster has CPUs.
        address: Of a running cluster, or `auto`; by default one is started on this machine.

    Raises:
        MissingExtra: The package ray is absent.
        RunError: There is no cluster at that address.
    """

    remote = True

    def __init__(self, slots: int = 0, address: str | None = None) -> None:
        try:
            self._ray = importlib.import_module("ray")
        except ImportError as error:
            raise MissingExtra("ray", "ray", "The engine 'ray'") from error
        self._ours = False
        if not self._ray.is_initialized():
            self._ours = True
            try:
                self._ray.init(
                    address=address,
                    num_cpus=None if address else (slots or None),
                    log_to_driver=False,
                    include_dashboard=False,
                    configure_logging=False,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise RunError(
                    f"there is no Ray cluster at {address}: {first_line(error)}. Start one with "
                    "`ray start --head`, or leave the address out"
                ) from error
        cpus = int(self._ray.cluster_resources().get("CPU", 1))
        self.slots = slots or max(1, cpus)
        self._running: dict[Any, Job] = {}
        self._board = self._ray.remote(_Board).options(num_cpus=0, max_restarts=-1).remote()
        self._task = self._ray.remote(_run)

    def start(self, job: Job) -> None:
        """Submit a cell."""
        sent = Job(job.cell, replace(job.place, progress=silent))
        gpus = 1 if job.place.device.startswith("cuda") else 0
        task = self._task.options(
            num_cpus=1, num_gpus=gpus, name=job.cell.name, max_retries=RETRIES
        )
        self._running[task.remote(sent, self._board)] = job

    def hear(self) -> Iterator[Event]:
        """The cells that have ended; until one has, their steps."""
        ready: list[Any] = []
        while not ready:
            ready, _ = self._ray.wait(list(self._running), timeout=PATIENCE)
            self._tell()
        for task in ready:
            job = self._running.pop(task)
            record, error = self._result(task, job)
            yield Event("end", job.cell, record=record, error=error)

    def _result(self, task: Any, job: Job) -> tuple[CellRecord, BaseException | None]:
        try:
            found: tuple[CellRecord, BaseException | None] = self._ray.get(task)
        # of Ray: a worker that died again and again, a node that is gone, a task that was cancelled
        except Exception as error:
            return failed_record(job.cell, f"lost on the cluster: {first_line(error)}"), None
        return found

    def _tell(self) -> None:
        # the board may be on a node that was lost; progress is then told again when it is back
        with contextlib.suppress(Exception):
            said = self._ray.get(self._board.taken.remote(), timeout=PATIENCE)
            for job in self._running.values():
                for step in said.get(job.cell.name, ()):
                    job.place.progress(*step)

    def close(self) -> None:
        """Cancel what is still running, and end a cluster that was started here."""
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running = {}
        with contextlib.suppress(Exception):
            self._ray.kill(self._board)
        if self._ours:
            self._ray.shutdown()


class _Board:
    """Where tasks write how far they are; the last step of each cell."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[str, int, int]] = {}

    def write(self, cell: str, step: tuple[str, int, int]) -> None:
        """A step of a cell."""
        self.steps[cell] = step

    def taken(self) -> dict[str, list[tuple[str, int, int]]]:
        """What was written since."""
        found = {cell: [step] for cell, step in self.steps.items()}
        self.steps = {}
        return found


def _run(job: Job, board: Any) -> tuple[CellRecord, BaseException | None]:
    """One cell on a worker."""
    torch.set_num_threads(1)
    last = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= OFTEN or done == total:
            last = now
            board.write.remote(job.cell.name, (stage, done, total))

    record, error = attempt(Job(job.cell, replace(job.place, progress=progress)))
    return record, portable(error)
