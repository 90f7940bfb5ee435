"""`attnaudit report`: the report of a finished run, written again or read in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from attnaudit import api
from attnaudit.api import Audit
from attnaudit.cli.app import OUT
from attnaudit.cli.output import show_result
from attnaudit.console import harmless
from attnaudit.errors import SettingsError
from attnaudit.report.comparison import compared, comparison_page, comparison_table
from attnaudit.report.files import check_output, write_text
from attnaudit.version import __version__


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    other: Annotated[
        Path | None,
        typer.Argument(help="Another one: both side by side.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the HTML report here instead of into the folder.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another file at --out.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the card for a model card instead.")
    ] = False,
) -> None:
    """Write the report of a finished run again, or compare two audits.

    The run may be an audit or a study; its findings are printed, and nothing is computed again.

    Example: attnaudit report runs/audit --markdown

    Example: attnaudit report runs/before runs/after --out compared.html
    """
    if out is not None and not markdown:
        check_output(out, "--out", overwrite=overwrite)
    result = api.open_run(run)
    if other is not None:
        _compare(result, api.open_run(other), (run, other), out)
    elif markdown:
        OUT.print(Text(harmless(result.card())), soft_wrap=True)
    elif out is not None:
        OUT.print_place("Report", result.to_html(out))
    else:
        show_result(result, run)


def _compare(first: object, second: object, places: tuple[Path, Path], out: Path | None) -> None:
    if not isinstance(first, Audit) or not isinstance(second, Audit):
        raise SettingsError("two audits can be compared; a study compares its own cells")
    names = [place.name for place in places]
    if names[0] == names[1]:
        names = [str(place) for place in places]
    found = compared([first, second], names)
    for name, about in zip(found.names, found.abouts, strict=True):
        OUT.print_line(f"{name}: {about}")
    OUT.print(comparison_table(found))
    for note in found.notes:
        OUT.print_line(note)
    if out is not None:
        OUT.print_place("Report", write_text(out, comparison_page(found, __version__)))
