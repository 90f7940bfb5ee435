"""The application: its commands, imported when they are run, and errors as one clear line."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from attnaudit.console import Plain, visible
from attnaudit.errors import INTERRUPTED, AttnauditError
from attnaudit.version import __version__

OUT, ERR = Plain(), Plain(stderr=True)
ASK, MAKE, SEE = "Ask", "Make", "Look around"


@dataclass(frozen=True)
class Listed:
    """A command as the list of commands shows it.

    Attributes:
        place: Module and function.
        panel: The group it stands in.
        help: Its first line; the same as that of the function.
        stopped: What is true of the work when it is stopped from the keyboard.
    """

    place: str
    panel: str
    help: str
    stopped: str = ""


COMMANDS = {
    "demo": Listed(
        "demo:demo",
        ASK,
        "Train two models on built-in reviews and audit both: about a minute, no other input.",
        "The demo starts anew when it is run again.",
    ),
    "audit": Listed(
        "audit:audit",
        ASK,
        "Check whether attention weights, or a similarity, may be shown as an explanation.",
        "Finished work is kept: run the same command (without --overwrite) to go on.",
    ),
    "explain": Listed(
        "explain:explain",
        ASK,
        "Explain one prediction, or the similarity of texts.",
        "With --cache FOLDER, texts that are finished are kept.",
    ),
    "study": Listed(
        "study:study",
        ASK,
        "Repeat a paper's experiments and say which of its claims hold.",
        "Finished cells are kept: run the same command to go on.",
    ),
    "train": Listed(
        "train:train",
        MAKE,
        "Train a model and save it.",
        "No model was saved: run the same command to start again.",
    ),
    "report": Listed(
        "report:report", SEE, "Write the report of a finished run again, or compare two audits."
    ),
    "list": Listed(
        "listing:list_",
        SEE,
        "List checks, attributions, models, data sets, and what there is for bags.",
    ),
    "doctor": Listed(
        "doctor:doctor", SEE, "Show versions and devices, and say which extras are missing."
    ),
}
"""The commands; a module is imported when its command is run, since some take seconds."""


class Commands(TyperGroup):
    """The commands, each of which can be stopped from the keyboard with a word on what is left."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {
            name: TyperCommand(name, help=listed.help, rich_help_panel=listed.panel)
            for name, listed in COMMANDS.items()
        }

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the list."""
        return list(self.commands)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; what is wrong with it is said without characters that steer."""
        with _said_plainly():
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is asked for, with its module imported."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, command_of(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            with _said_plainly():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            # caught here, because typer ends without a word; a second Ctrl-C finds nothing to stop
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            listed = COMMANDS.get(ctx.invoked_subcommand)
            left = "" if listed is None else listed.stopped
            ERR.print_line(f"attnaudit: stopped. {left}".rstrip())
            raise typer.Exit(INTERRUPTED) from None


def command_of(name: str) -> TyperCommand:
    """A command in full."""
    module, function = COMMANDS[name].place.split(":")
    call: Callable[..., None] = getattr(import_module(f"attnaudit.cli.{module}"), function)
    single = typer.Typer(
        add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False
    )
    single.command(name)(call)
    made = typer.main.get_command(single)
    # typer reads help as markup: "[head]" would be a style, and not be printed
    made.help = re.sub(r"(?<!\n)\n(?!\n)", " ", escape(made.help or ""))
    for parameter in made.params:
        if getattr(parameter, "help", None):
            parameter.help = escape(parameter.help)  # type: ignore[attr-defined]
    return made  # type: ignore[return-value] # of one command


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    """Errors of typer, which prints them itself, repeat what was typed."""
    try:
        yield
    except Exception as error:
        # typer keeps the class of these errors to itself; others have messages of their own
        if type(error).__module__.startswith(("typer", "click")) and hasattr(error, "message"):
            error.message = visible(str(error.message))
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
    message = message.replace("columns={'label': None}", "--column label=none")
    message = re.sub(r"columns=\{[^}]*\} \((--column [a-z_]+=[^)]*)\)", r"\1", message)
    return re.sub(r"\b[a-z_]+=\w* \((--[a-z-]+)\)", r"\1", message)
