"""Consoles that print text of data as text: it steers no terminal and is no markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.highlighter import JSONHighlighter
from rich.segment import Segment
from rich.text import Text

STEERING = re.compile(
    # C0 but tab and line feed, DEL and C1, marks and controls of direction, lone surrogates
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
BREAKS = re.compile("[\t\n\u2028\u2029]")
UNPRINTABLE = re.compile(f"{STEERING.pattern[:-1]}\u2028\u2029\ufeff]")


def visible(text: str) -> str:
    r"""One line without characters that steer a terminal or the reading direction.

    Example:
        >>> visible("a\x1b[31mb\u202ec\nd")
        'a�[31mb�c d'
    """
    return harmless(BREAKS.sub(" ", text))


def harmless(text: str) -> str:
    r"""The same with its tabs and line feeds: for texts of several lines.

    Example:
        >>> harmless("a\r\n\u2066b")
        'a�\n�b'
    """
    return STEERING.sub("�", text)


def printable_json(value: object, indent: int | None = 2) -> str:
    r"""A value as JSON that a terminal shows as it is and that parses to the same value.

    Example:
        >>> print(printable_json(["\x1b", "\x9b", "é"]))
        [
          "\u001b",
          "\u009b",
          "é"
        ]
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # line feeds between the values are the only ones: inside texts they are escaped already
    return re.sub(UNPRINTABLE, lambda found: f"\\u{ord(found[0]):04x}", text)


class Plain(Console):
    """A console without markup, through which no control character passes but our own styles.

    Everything printed, in tables, bars and errors too, goes through one of the two methods.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Plain text, made harmless before it is laid out."""
        return super().render_str(harmless(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """What is printed, made harmless wherever it came from; rich's own control codes pass."""
        for segment in super().render(renderable, options):
            if segment.control or not STEERING.search(segment.text):
                yield segment
            else:
                yield Segment(harmless(segment.text), segment.style)

    def print_line(self, text: str, style: str = "") -> None:
        """One line of text that names things of the user's, not broken to the width."""
        self.print(Text(visible(text), style=style), soft_wrap=True)

    def print_place(self, what: str, path: Path) -> None:
        """Where something was written."""
        self.print_line(f"{what}: {path.resolve()}")

    def print_value(self, value: object) -> None:
        """A value as JSON, for programs."""
        self.print(JSONHighlighter()(printable_json(value)), soft_wrap=True)
