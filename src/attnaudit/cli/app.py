"""The application: shared options, and errors as one clear line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from attnaudit.data.tokens import TOKENIZERS
from attnaudit.errors import AttnauditError
from attnaudit.version import __version__

OUT, ERR = Console(), Console(stderr=True)

app = typer.Typer(
    name="attnaudit",
    help="May these attention weights be shown as an explanation? attnaudit checks, and says so "
    "in plain words.\n\nStart with [bold]attnaudit demo[/bold]; then train or load a model and "
    "[bold]attnaudit audit[/bold] it on your data.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

TextColumn = Annotated[str, typer.Option(help="Column that holds the text.")]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column that holds the label; 'none' for data without labels.")
]
TruthColumn = Annotated[
    str | None, typer.Option(help="Column that says which units are evidence: 0/1 per unit.")
]
IdColumn = Annotated[str | None, typer.Option(help="Column that holds ids; else row numbers.")]
Split = Annotated[str | None, typer.Option(help="Split of the data: train, dev, test.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use this many records, drawn by the seed.")]
Tokens = Annotated[
    str | None, typer.Option(help=f"How texts are cut into units: {', '.join(TOKENIZERS)}.")
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
DropUnlabelled = Annotated[
    bool, typer.Option("--drop-unlabelled", help="Leave out records without a label.")
]
DropEmpty = Annotated[bool, typer.Option("--drop-empty", help="Leave out records without text.")]
DataDir = Annotated[
    str | None, typer.Option(help="Folder with your copy of a named data set (see `list data`).")
]


def label_of(column: str | None) -> str | None:
    """A label column, or None where the user says there is none."""
    return None if column in (None, "", "none") else column


def _version(asked: bool) -> None:
    if asked:
        OUT.print(f"attnaudit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """May these attention weights be shown as an explanation?"""


def main() -> None:
    """Run the command line; errors of ours end with one line and exit code 2."""
    try:
        app()
    except AttnauditError as error:
        ERR.print(f"[bold red]attnaudit:[/bold red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        ERR.print("attnaudit: stopped. Finished instances are kept; run the same command to go on.")
        sys.exit(130)
