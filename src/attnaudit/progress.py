"""Progress bars on standard error, where somebody is looking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from attnaudit.console import Plain, visible

Report = Callable[[str, int, int], None]


@contextlib.contextmanager
def bars(show: bool | None = None) -> Iterator[Report | None]:
    """A function `(stage, done, total)` that draws bars; None where nobody looks.

    Args:
        show: True or False to force; None draws where standard error is a terminal.
    """
    console = Plain(stderr=True)
    if not (console.is_terminal if show is None else show):
        yield None
        return
    columns = (
        TextColumn("{task.description}", style="progress.description", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(visible(stage), total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield report
