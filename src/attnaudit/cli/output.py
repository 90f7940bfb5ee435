"""What several commands print."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape

from attnaudit.api import Audit
from attnaudit.cli.app import ERR, OUT
from attnaudit.report.terminal import render_terminal


def show_result(result: Audit, folder: Path) -> None:
    """Write the report and the card into the run folder, print the findings and the places."""
    report = result.to_html(folder / "report.html")
    result.to_card(folder / "card.md")
    OUT.print(render_terminal(result.report))
    OUT.print(f"Report: {report.resolve()}", soft_wrap=True, markup=False)
    OUT.print(f"Run:    {folder.resolve()}", soft_wrap=True, markup=False)


@contextmanager
def told() -> Iterator[None]:
    """Warnings of our own as lines for people; those of libraries stay out of the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    said = (w for w in caught if w.category.__module__.startswith("attnaudit."))
    for message in dict.fromkeys(str(w.message) for w in said):
        ERR.print(f"[yellow]note:[/yellow] {escape(message)}", soft_wrap=True)
