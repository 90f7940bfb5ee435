"""How long batches will take, from a few instances."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnaudit.evidence.batch.chunks import ChunkWork
from attnaudit.findings.wording import spoken_time
from attnaudit.models.batches import by_length
from attnaudit.runs.cell import Cell

PROBED = 3
"""Instances that are timed: of the lengths at the quarters."""
SAID = 5.0
"""Seconds from which on it is said how long batches will take."""


@dataclass(frozen=True)
class Rate:
    """What instances cost on this machine.

    Attributes:
        each: Seconds of every instance.
        costly: Further seconds of an instance that is drawn for costly work.
        limit: How many of these there are at most.
        instances: How many instances are waiting.
        workers: Chunks at a time.
    """

    each: float
    costly: float
    limit: int
    instances: int
    workers: int

    def seconds(self, instances: int) -> float:
        """Seconds of so many instances."""
        return (instances * self.each + min(instances, self.limit) * self.costly) / self.workers

    def fitting(self, seconds: float) -> int:
        """How many instances fit into so many seconds; at least one."""
        room = seconds * self.workers
        with_costly = room / max(self.each + self.costly, 1e-9)
        if with_costly > self.limit:
            with_costly = (room - self.limit * self.costly) / max(self.each, 1e-9)
        return max(1, min(self.instances, math.floor(with_costly)))


def rate_of(waiting: Sequence[Cell], workers: int) -> Rate | None:
    """What the instances that are waiting cost, timed on three of them; None where none is."""
    works = [cell.work for cell in waiting if isinstance(cell.work, ChunkWork)]
    if not works:
        return None
    work = works[0]
    data, settings = work.data.get(), work.settings
    order = by_length(data.records)
    size = min(len(order), len(works) * settings.chunk)
    places = sorted({int(q * (len(order) - 1)) for q in (0.25, 0.5, 0.75)})
    records = [data.records[order[place]] for place in places][:PROBED]
    found = []
    # the first run warms up; it is the cheap one
    for chosen in (False, False, True):
        start = time.perf_counter()
        work.measured(records, np.arange(len(records)), np.full(len(records), chosen), None)
        found.append((time.perf_counter() - start) / len(records))
    each = found[1]
    limit = min(settings.costly_limit, len(order))
    return Rate(each, max(0.0, found[2] - each), limit, size, max(1, workers))


def forecast_of_batches(rate: Rate | None, instances: str) -> str | None:
    """How many instances will be measured and how long that will take, in words.

    Args:
        rate: What they cost.
        instances: The noun for them.

    Returns:
        None where none is waiting, or it takes no time worth saying.
    """
    if rate is None or rate.seconds(rate.instances) < SAID:
        return None
    seconds = rate.seconds(rate.instances)
    return (
        f"{rate.instances:,} {instances} will be measured: about {spoken_time(seconds)} on this "
        f"machine, timed on {PROBED} of them"
    )
