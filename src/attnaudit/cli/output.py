"""What several commands print."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.text import Text

from attnaudit.api import Audit
from attnaudit.cli.app import ERR, OUT
from attnaudit.console import visible
from attnaudit.report.terminal import render_terminal


def show_result(result: Audit, folder: Path) -> None:
    """Write the report and the card into the run folder, print the findings and the places."""
    report = result.to_html(folder / "report.html")
    result.to_card(folder / "card.md")
    OUT.print(render_terminal(result.report))
    OUT.print_place("Report", report)
    OUT.print_line(f"Run:    {folder.resolve()}")


@contextmanager
def told() -> Iterator[None]:
    """Warnings of our own as lines for people; those of libraries stay out of the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    said = (w for w in caught if w.category.__module__.startswith("attnaudit."))
    for message in dict.fromkeys(str(w.message) for w in said):
        ERR.print(Text.assemble(("note:", "yellow"), f" {visible(message)}"), soft_wrap=True)
