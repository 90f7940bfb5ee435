"""What every command that ends in an audit prints."""

from __future__ import annotations

from pathlib import Path

from attnaudit.api import Audit
from attnaudit.cli.app import OUT
from attnaudit.report.terminal import render_terminal


def show_result(result: Audit, folder: Path) -> None:
    """Write the report and the card into the run folder, print the findings and the places."""
    report = result.to_html(folder / "report.html")
    result.to_card(folder / "card.md")
    OUT.print(render_terminal(result.report))
    OUT.print(f"Report: {report.resolve()}", soft_wrap=True, markup=False)
    OUT.print(f"Run:    {folder.resolve()}", soft_wrap=True, markup=False)
