"""Cells run in the order of what they need, each stored as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO

from attnaudit.errors import RunError
from attnaudit.progress import Report
from attnaudit.runs.cell import Cell, CellRecord, Place, with_needs
from attnaudit.runs.engine import Engine, Event, Inline, Job
from attnaudit.runs.store import Store

PATIENCE = 0.5
"""Seconds between two looks at a cell that another process is working on."""
Watch = Callable[[Event], None]


@dataclass(frozen=True)
class Done:
    """What came of the cells of a run.

    Attributes:
        records: Finished cells, by name.
        failed: Why the others have none, by name.
        fresh: Names of those that were run now.
    """

    records: Mapping[str, CellRecord]
    failed: Mapping[str, str]
    fresh: frozenset[str]

    @property
    def seconds(self) -> float:
        """CPU seconds of all cells, whenever they were run."""
        return sum(record.seconds for record in self.records.values())


def waiting_of(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """The cells, and what they need, that the run folder lacks."""
    return [cell for cell in with_needs(cells) if store.finished(cell) is None]


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    *,
    engine: Engine | None = None,
    device: str = "cpu",
    watch: Watch | None = None,
) -> Done:
    """Run the cells that the run folder lacks; a cell starts as soon as what it needs is there.

    A cell that fails takes nothing down but those that need it, unless it is vital. Ctrl-C and
    errors lose nothing that is finished.

    Args:
        cells: What is asked for; what they need is added.
        store: Where they are stored.
        engine: Where they run; here, one after another, by default.
        device: Where cells train and compute.
        watch: Told of each start, step and end, in this process.

    Raises:
        AttnauditError: A vital cell failed.
        RunError: The plan cannot be run to its end, as `with_needs` says, or the run folder cannot
            be used.
    """
    run = _Run(store, device, watch or _unheard)
    engine = engine or Inline()
    try:
        run.go(with_needs(cells), engine)
    finally:
        engine.close()
        run.release()
    return Done(run.records, run.failed, frozenset(run.fresh))


class _Run:
    """The state of a run: what is waiting, running, done and failed."""

    def __init__(self, store: Store, device: str, watch: Watch) -> None:
        self.store, self.device, self.watch = store, device, watch
        self.records: dict[str, CellRecord] = {}
        self.failed: dict[str, str] = {}
        self.fresh: set[str] = set()
        self._held: dict[str, IO[str]] = {}

    def go(self, cells: Sequence[Cell], engine: Engine) -> None:
        """Start what can start, and hear of it, until nothing is left."""
        waiting = [cell for cell in cells if not self._known(cell)]
        while waiting or self._held:
            waiting = [cell for cell in waiting if not self._broken(cell)]
            ready = [c for c in waiting if all(n.name in self.records for n in c.needs)]
            elsewhere = 0
            for cell in ready:
                if len(self._held) >= engine.slots:
                    break
                taken = self._take(cell, engine)
                elsewhere += taken is None
                if taken is not None:
                    waiting.remove(cell)
            if self._held:
                for event in engine.hear():
                    self._end(event)
            elif elsewhere:
                time.sleep(PATIENCE)
            elif waiting and not ready:
                raise RunError(_stuck(waiting, self.records))

    def release(self) -> None:
        """Give back the cells that are held."""
        for handle in self._held.values():
            handle.close()

    def _known(self, cell: Cell) -> bool:
        record = self.store.finished(cell)
        if record is not None:
            self.records[cell.name] = record
        return record is not None

    def _broken(self, cell: Cell) -> bool:
        """Whether a cell that this one needs has failed."""
        lost = next((needed.name for needed in cell.needs if needed.name in self.failed), None)
        if lost is not None:
            self.failed[cell.name] = f"it needs {lost!r}, which failed"
        return lost is not None

    def _take(self, cell: Cell, engine: Engine) -> bool | None:
        """Start a cell. False where another process has just ended it, None while one runs it."""
        handle = self.store.claim_cell(cell)
        if handle is None:
            return None
        if self._known(cell):
            handle.close()
            return False
        self._held[cell.name] = handle
        self.watch(Event("start", cell))
        needs = {needed.name: self.store.place_of(needed) for needed in cell.needs}
        told = partial(_step, self.watch, cell)
        engine.start(Job(cell, Place(self.store.place_of(cell), needs, self.device, told)))
        return True

    def _end(self, event: Event) -> None:
        record = event.record
        if record is None:
            return
        name = event.cell.name
        self.store.finish(event.cell, record)
        self._held.pop(name).close()
        if record.status == "done":
            self.records[name] = record
            self.fresh.add(name)
        else:
            self.failed[name] = record.reason or "unknown"
        self.watch(event)
        if record.status == "failed" and event.cell.vital:
            raise event.error or RunError(f"{name}: {record.reason}")


def watched(report: Report) -> Watch:
    """What tells a progress function `(stage, done, total)` of the steps of cells."""

    def watch(event: Event) -> None:
        if event.kind == "progress":
            report(event.stage, event.done, event.total)

    return watch


def _stuck(waiting: Sequence[Cell], known: Mapping[str, CellRecord]) -> str:
    lacks = {c.name: [n.name for n in c.needs if n.name not in known] for c in waiting}
    said = "; ".join(f"{name!r} needs {', '.join(map(repr, of))}" for name, of in lacks.items())
    return f"the plan cannot be run: {said}, which nothing in it gives."


def _step(watch: Watch, cell: Cell, stage: str, done: int, total: int) -> None:
    watch(Event("progress", cell, stage, done, total))


def _unheard(event: Event) -> None:
    return None
