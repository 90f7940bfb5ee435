"""Cells: the units of work that yield evidence, keyed by all that decides their result."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from attnaudit.errors import RunError
from attnaudit.files import digest_of
from attnaudit.findings.findings import Estimate
from attnaudit.progress import Report
from attnaudit.runs.code import code_fingerprint
from attnaudit.version import __version__

CELL_SCHEMA = 1
Facts: TypeAlias = Mapping[str, Any]
"""Plain values as JSON holds them."""


@dataclass(frozen=True)
class Place:
    """Where a cell works, and what does not decide its numbers.

    Attributes:
        folder: Its own folder; what lies there comes from an interrupted try at the same cell.
        needs: The folders of the cells that it needs, by name.
        device: Where to train and compute.
        progress: Told `(stage, done, total)`.
    """

    folder: Path
    needs: Mapping[str, Path]
    device: str
    progress: Report


@dataclass(frozen=True)
class Outcome:
    """What a cell found, besides the files that it left in its folder."""

    rows: Sequence[Estimate] = ()
    facts: Facts = field(default_factory=dict)
    notes: Sequence[str] = ()


Work: TypeAlias = Callable[["Cell", Place], Outcome]
"""What a cell does. It can be pickled, so that other processes can do it."""


@dataclass(frozen=True)
class Cell:
    """One unit of work.

    Attributes:
        name: What it is, in words; unique in the run.
        work: What it does.
        spec: All that decides its numbers, as JSON values; code and needs are added to it.
        needs: The cells that must be finished before, and whose results it reads.
        cost: Expected CPU seconds.
        code: Modules whose source decides its numbers, besides that of `work`.
        version: Told apart from others by it: what the work is called, and a number that is raised
            whenever it would give other numbers for the same specification.
        room: The folder of the run in which its own folder lies.
        vital: Whether the run ends where it fails; the others go on without it.
        single: Whether it has one thread, so that no number depends on how many there are.
    """

    name: str
    work: Work
    spec: Facts
    needs: tuple[Cell, ...] = ()
    cost: float = 0.0
    code: tuple[str, ...] = ()
    version: str = ""
    room: str = "cells"
    vital: bool = False
    single: bool = True

    @cached_property
    def source(self) -> str:
        """A hash of the code that decides its numbers, found from imports."""
        return code_fingerprint(home_of(self.work), *self.code)

    @cached_property
    def key(self) -> str:
        """A SHA-256 of all that decides the result: equal keys, equal numbers."""
        known = [
            CELL_SCHEMA,
            __version__,
            self.source,
            self.version,
            dict(self.spec),
            [needed.key for needed in self.needs],
        ]
        return digest_of(known)

    @property
    def place(self) -> str:
        """Its folder in the run folder; another key has another one."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return f"{self.room}/{slug[:60]}-{self.key[:8]}"


class CellRecord(BaseModel):
    """What came of a cell: the file `cell.json` in its folder.

    Attributes:
        name: What it is, in words.
        key: A hash of all that decides the numbers.
        spec: What decides them, but for code and needs.
        status: `failed` cells are run again.
        reason: Why it failed.
        cost: Expected CPU seconds.
        seconds: CPU seconds of its process.
        attnaudit_version: The version that ran it.
        code: A hash of the source files that decide the numbers.
        created: When it ended.
        rows: Every estimate.
        facts: What else is needed to read them: sizes, history, names of classes.
        notes: What a reader must know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = CELL_SCHEMA
    name: str
    key: str
    spec: dict[str, Any]
    status: Literal["done", "failed"]
    reason: str | None = None
    cost: float
    seconds: float
    attnaudit_version: str = __version__
    code: str
    created: datetime
    rows: tuple[Estimate, ...] = ()
    facts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


def home_of(work: Callable[..., object]) -> str:
    """The module in which a function, a partial of one, or a callable object is defined.

    Example:
        >>> home_of(home_of), home_of(functools.partial(home_of))
        ('attnaudit.runs.cell', 'attnaudit.runs.cell')
    """
    if isinstance(work, functools.partial):
        return home_of(work.func)
    named = work if hasattr(work, "__qualname__") else type(work)
    return named.__module__


def with_needs(cells: Sequence[Cell]) -> list[Cell]:
    """Cells and all that they need, each once, in an order in which they can be run.

    Raises:
        RunError: Cells that need each other in a circle, or of which not each has a name and a key
            of its own: what needs one of them would wait for ever.
    """
    found: dict[str, Cell] = {}
    names: dict[str, str] = {}
    seen: set[int] = set()

    def add(cell: Cell, above: tuple[str, ...]) -> None:
        if cell.name in above:
            circle = " needs ".join(map(repr, (*above[above.index(cell.name) :], cell.name)))
            raise RunError(f"the plan cannot be run: {circle}.")
        if id(cell) in seen:
            return
        for needed in cell.needs:
            add(needed, (*above, cell.name))
        seen.add(id(cell))
        same = found.setdefault(cell.key, cell)
        if same.name != cell.name:
            raise RunError(
                f"the plan cannot be run: {same.name!r} and {cell.name!r} are the same work; give "
                "them one name."
            )
        if names.setdefault(cell.name, cell.key) != cell.key:
            raise RunError(
                f"the plan cannot be run: two cells with different work are called {cell.name!r}; "
                "give each a name of its own."
            )

    for cell in cells:
        add(cell, ())
    return list(found.values())
