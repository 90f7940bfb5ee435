"""The application: shared options, and errors as one clear line."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text
from typer.core import TyperGroup

from attnaudit.console import Plain, visible
from attnaudit.data.named.paper import PIPELINES
from attnaudit.data.reading import Column, parse_columns
from attnaudit.data.texts.tokens import TOKENIZERS
from attnaudit.errors import INTERRUPTED, AttnauditError
from attnaudit.version import __version__

OUT, ERR = Plain(), Plain(stderr=True)
STOPPED = {
    "audit": "Finished instances are kept: run the same command (without --overwrite) to go on.",
    "demo": "The demo starts anew when it is run again.",
    "shortcut": "Nothing was written: run the same command to start again.",
    "similarity": "With --cache FOLDER, texts that are finished are kept.",
    "study": "Finished cells are kept: run the same command to go on.",
    "train": "No model was saved: run the same command to start again.",
}
"""What is true of the work when a command is stopped from the keyboard."""


class Commands(TyperGroup):
    """The commands, each of which can be stopped from the keyboard with a word on what is left."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for command in self.commands.values():
            # typer reads help as markup: "[head]" would be a style, and not be printed
            command.help = escape(command.help or "")
            for parameter in command.params:
                if getattr(parameter, "help", None):
                    parameter.help = escape(parameter.help)  # type: ignore[attr-defined]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; what is wrong with it is said without characters that steer."""
        with _said_plainly():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            with _said_plainly():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            # caught here, because typer ends without a word; a second Ctrl-C finds nothing to stop
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            left = STOPPED.get(ctx.invoked_subcommand, "")
            ERR.print_line(f"attnaudit: stopped. {left}".rstrip())
            raise typer.Exit(INTERRUPTED) from None


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    """Errors of typer, which prints them itself, repeat what was typed."""
    try:
        yield
    except Exception as error:
        # typer keeps the class of these errors to itself
        if isinstance(getattr(error, "message", None), str):
            error.message = visible(error.message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="attnaudit",
    cls=Commands,
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
QuestionColumn = Annotated[
    str | None, typer.Option(help="Column with a question (or hypothesis) read beside the text.")
]
AllowedColumn = Annotated[
    str | None, typer.Option(help="Column that lists the answers that a question allows.")
]
Pipeline = Annotated[
    str | None, typer.Option(help=f"Read texts as a paper does: {', '.join(PIPELINES)}.")
]
MinLength = Annotated[int | None, typer.Option(min=1, help="Leave out texts of fewer units.")]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Leave out texts of more units.")]
StrictBounds = Annotated[
    bool, typer.Option("--strict-bounds", help="With the side effect of the paper's code.")
]
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


def columns_of(**roles: str | None) -> dict[str, Column]:
    """The columns that were named, by role."""
    given = {role: name for role, name in roles.items() if name is not None}
    return parse_columns(f"{role}={name or 'none'}" for role, name in given.items())


def _version(asked: bool) -> None:
    if asked:
        OUT.print_line(f"attnaudit {__version__}")
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
    warnings.showwarning = _warned
    try:
        app()
    except AttnauditError as error:
        # a name with a line feed must not look like a line of ours
        said = visible(options_only(str(error)))
        ERR.print(Text.assemble(("attnaudit:", "bold red"), f" {said}"), soft_wrap=True)
        sys.exit(2)


def _warned(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """A warning that no command has taken for itself; it may name files and columns."""
    ERR.print(Text(f"{category.__name__}: {visible(str(message))}"), soft_wrap=True)


def options_only(message: str) -> str:
    """A message that names a Python argument and its option, with the option alone.

    Example:
        >>> options_only("leave such rows out with drop_empty=True (--drop-empty)")
        'leave such rows out with --drop-empty'
    """
    message = message.replace("label_column=None", "--label-column none")
    return re.sub(r"\b[a-z_]+=\w* \((--[a-z-]+)\)", r"\1", message)
