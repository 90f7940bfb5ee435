"""`attnaudit report`: the report of a finished run, written again or read in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from attnaudit import api
from attnaudit.cli.app import OUT
from attnaudit.cli.output import show_result
from attnaudit.console import harmless
from attnaudit.report.files import check_output


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
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
    """Write the report of a finished run again, and print its findings.

    The run may be an audit or a study; nothing is computed again.

    Example: attnaudit report runs/audit --markdown
    """
    if out is not None and not markdown:
        check_output(out, "--out", overwrite=overwrite)
    result = api.open_run(run)
    if markdown:
        OUT.print(Text(harmless(result.card())), soft_wrap=True)
    elif out is not None:
        OUT.print_place("Report", result.to_html(out))
    else:
        show_result(result, run)
