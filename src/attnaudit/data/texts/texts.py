"""Texts and questions of a table: which rows have them, and how they are cut into units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attnaudit.data.faults import also, checked
from attnaudit.data.sources.frames import Table
from attnaudit.data.texts.cleaning import find_cleaner
from attnaudit.data.texts.tokens import Span, find_tokenizer, join_units
from attnaudit.errors import DataError, SettingsError

# Text under this column name has been cut into tokens already.
_TOKENS = "tokens"


@dataclass(frozen=True)
class Cutter:
    """How the texts of a column become units.

    Attributes:
        tokenizer: A name in `TOKENIZERS`.
        cleaner: A name in `CLEANERS`, which then decides on the units; None for none.
    """

    tokenizer: str
    cleaner: str | None = None

    def __call__(self, value: Any, place: str) -> tuple[str, list[Span], list[str] | None]:
        """The text, the places of its units, and the units where they are not as they stand.

        Raises:
            SettingsError: A list of units, which no cleaner may cut again.
        """
        if isinstance(value, list | tuple):
            if self.cleaner is not None:
                raise SettingsError(
                    f"{place}: this is a list of units, and pipeline= (--pipeline) cuts texts "
                    "itself. Give a column of texts, or leave out the pipeline"
                )
            return *join_units(value), None
        if self.cleaner is None:
            return value, find_tokenizer(self.tokenizer)(value), None
        places, units = find_cleaner(self.cleaner)(value)
        return value, places, units

    def question(self, value: Any, place: str) -> tuple[str, list[str]]:
        """A second text, and its units."""
        text, places, units = self(value, place)
        return text, [text[start:end] for start, end in places] if units is None else units


def cutter(column: str, tokenizer: str | None, cleaner: str | None) -> Cutter:
    """The cutter of a column; without a tokenizer its name decides on one."""
    default = "whitespace" if column == _TOKENS else "words"
    return Cutter(tokenizer or default, cleaner)


def rows_with_text(
    rows: Sequence[int],
    values: Sequence[Any],
    table: Table,
    column: str,
    word: str,
    drop_empty: bool,
    instead: str = ", or leave such rows out with drop_empty=True (--drop-empty)",
) -> tuple[list[int], list[str]]:
    """The rows that have text in a column, and a note on the others.

    Raises:
        DataError: Something is no text, or there is none and `drop_empty` is not set.
    """

    def place(row: int) -> str:
        return f"{table.place(row)}, column {column!r}"

    found = checked(rows, lambda row: _has_text(values[row], lambda: place(row)), table.place)
    kept = [row for row, there in zip(rows, found, strict=True) if there]
    if not drop_empty and len(kept) < len(rows):
        absent = [row for row, there in zip(rows, found, strict=True) if not there]
        raise DataError(
            f"{place(absent[0])}: the {word} is empty. Fill it in{instead}"
            f"{also(absent, table.place)}"
        )
    empty = len(rows) - len(kept)
    return kept, [f"{empty} of {len(rows)} rows have no {word} and are left out"] if empty else []


def _has_text(value: Any, place: Callable[[], str]) -> bool:
    if value is None or (isinstance(value, float) and value != value):
        return False
    units = value if isinstance(value, list | tuple) else [value]
    for unit in units:
        if not isinstance(unit, str):
            raise DataError(f"{place()}: expected text, found {type(unit).__name__} {unit!r:.40}")
        if not unit.strip() and units is value:
            raise DataError(f"{place()}: a unit is empty")
        if not _encodable(unit):
            raise DataError(f"{place()}: the text holds half of a character (a lone surrogate)")
    return any(unit.strip() for unit in units)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
