"""Tables: what every source is turned into before records are made of it."""

from __future__ import annotations

import difflib
import itertools
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from attnaudit.errors import DataError, SettingsError

if TYPE_CHECKING:
    import pandas as pd

_LONGEST_NAME = 40
_MOST_NAMES = 20
# Bits: Python refuses to write much longer numbers.
_LONGEST_NUMBER = 2048
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST_NAME
_SHORT.fillvalue = "…"


@dataclass(frozen=True, eq=False)
class Arrays:
    """What stands beside the columns of a table as arrays, one row for each of its rows.

    Attributes:
        values: `(n, *shape)`, numbers: the instances of bags.
        name: What messages call them.
        features: Names of the features, or nothing.
        coordinates: `(n, 2)`, or None.
        classes: Names of the classes in index order, where they are stored.
        names: What the rows are called, or None.
    """

    values: npt.NDArray[Any]
    name: str = "instances"
    features: tuple[str, ...] = ()
    coordinates: npt.NDArray[Any] | None = None
    classes: tuple[str, ...] | None = None
    names: Sequence[str] | None = None

    def take(self, rows: Sequence[int]) -> Arrays:
        """The rows of these indices, in that order."""
        return replace(
            self,
            values=self.values[list(rows)],
            coordinates=None if self.coordinates is None else self.coordinates[list(rows)],
            names=None if self.names is None else _pick(self.names, rows),
        )


@dataclass(frozen=True)
class Table:
    """Named columns of plain Python values, with the place that messages give each row.

    Attributes:
        name: What messages call it: a file name, a hub name.
        columns: The names of the columns.
        size: How many rows.
        values: A column's values, `size` of them; None where missing.
        numbers: The number of each row, as messages count.
        row_word: What a row is called: `row`, or `line` for JSON lines.
        class_names: Names behind integer labels, for the columns that declare them.
        notes: What was decided while reading.
        parts: The tables that this one was joined from.
        arrays: What stands beside the columns as arrays, where instances do.
    """

    name: str
    columns: tuple[str, ...]
    size: int
    values: Callable[[str], list[Any]]
    numbers: Sequence[int]
    row_word: str = "row"
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: tuple[Table, ...] = ()
    arrays: Arrays | None = None

    def __post_init__(self) -> None:
        for number, column in enumerate(self.columns, start=1):
            storable(column, f"{self.name}, the name of column {number}")

    def place(self, index: int) -> str:
        """Where row `index` is, in words: `reviews.csv, row 3`."""
        for part in self.parts:
            if index < part.size:
                return part.place(index)
            index -= part.size
        return f"{self.name}, {self.row_word} {self.numbers[index]}"

    def column(self, name: str, purpose: str) -> list[Any]:
        """The values of a column, with scalars and arrays of NumPy made plain.

        Raises:
            DataError: There is no such column; the message lists those there are.
        """
        if name not in self.columns:
            raise DataError(missing_column(self, name, purpose))
        return [_plain(value) for value in self.values(name)]

    def take(self, rows: Sequence[int]) -> Table:
        """The rows of these indices, in that order."""
        return replace(
            self,
            size=len(rows),
            values=lambda name: _pick(self.values(name), rows),
            numbers=[self.numbers[row] for row in rows],
            parts=(),
            arrays=self.arrays and self.arrays.take(rows),
        )


def storable(value: str, place: str) -> str:
    """The string, which files and reports can hold.

    Raises:
        DataError: It holds half of a character (a lone surrogate), as a broken escape of JSON may.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: {shown(value)} holds half of a character (a lone surrogate) at position "
            f"{error.start}. Write the file again as UTF-8"
        ) from None
    return value


def shown(value: object) -> str:
    """A value for a message, cut where it is long or deep.

    Example:
        >>> shown(10**5000), shown([[1], "a"])
        ('a number of 16610 bits', "[[1], 'a']")
    """
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    return _SHORT.repr(value)


def id_of(value: object, place: str) -> str:
    """The id of a record, or the bag of an instance, as a string.

    Raises:
        DataError: It is a list or an object, too long, or cannot be stored.
    """
    if isinstance(value, list | tuple | Mapping):
        raise DataError(f"{place}: {shown(value)} is no id. An id is a string or a number")
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        raise DataError(f"{place}: {shown(value)} is too long for an id")
    return storable(str(value), place)


def column_name(value: object, option: str) -> str:
    """The name of a column as tables have it: pandas also numbers columns.

    Raises:
        SettingsError: It is neither a string nor a number.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(int(value))
    raise SettingsError(f"{option} is the name of a column, got {shown(value)}")


def required(table: Table, names: Sequence[str], format: str) -> dict[str, list[Any]]:
    """The columns that every file of a published format has.

    Raises:
        DataError: One is missing.
    """
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise DataError(
            f"{table.name} has no column {absent[0]!r}, which files of {format} have. Its columns "
            f"are: {listed(table.columns)}"
        )
    return {name: table.column(name, name) for name in names}


def missing_column(table: Table, name: str, purpose: str) -> str:
    """The message for a column that is not there."""
    near = difflib.get_close_matches(name.lower(), [c.lower() for c in table.columns], n=1)
    meant = [column for column in table.columns if near and column.lower() == near[0]]
    hint = f" Did you mean {meant[0]!r}?" if meant else ""
    none = "; data without labels have columns={'label': None}" if purpose == "label" else ""
    return (
        f"{table.name} has no column {name!r} for the {purpose}. "
        f"Its columns are: {listed(table.columns)}.{hint} Name it with "
        f"columns={{{purpose!r}: …}} (--column {purpose}=…){none}"
    )


def listed(names: Sequence[str]) -> str:
    """Names for a message, cut where they are long or many."""
    shown = [
        repr(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…")
        for name in names[:_MOST_NAMES]
    ]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "") if shown else "none"


def from_rows(
    rows: Sequence[Mapping[str, Any]],
    name: str,
    numbers: Sequence[int] | None = None,
    row_word: str = "row",
) -> Table:
    """A list of mappings as a table; a key that a row lacks is missing there.

    Raises:
        DataError: There are no rows, or a row is no mapping.
    """
    counted = numbers or range(1, len(rows) + 1)
    # a key need not be a string, and is looked up as it came
    keys: dict[str, Any] = {}
    for number, row in zip(counted, rows, strict=True):
        if not isinstance(row, Mapping):
            raise DataError(
                f"{name}, {row_word} {number}: expected names with values such as "
                f'{{"text": …, "label": …}}, found {type(row).__name__}'
            )
        keys.update({str(key): key for key in row})
    if not rows:
        raise DataError(f"{name} is empty: there are no rows")
    return Table(
        name=name,
        columns=tuple(keys),
        size=len(rows),
        values=lambda column: [row.get(keys[column]) for row in rows],
        numbers=counted,
        row_word=row_word,
    )


def from_polars(frame: pl.DataFrame, name: str) -> Table:
    """A polars frame as a table; rows count from 1.

    Raises:
        DataError: The frame has no rows.
    """
    if frame.is_empty():
        raise DataError(f"{name} is empty: there are no rows")
    return Table(
        name=name,
        columns=tuple(frame.columns),
        size=frame.height,
        values=lambda column: frame[column].to_list(),
        numbers=range(1, frame.height + 1),
    )


def from_pandas(frame: pd.DataFrame, name: str) -> Table:
    """A pandas frame as a table, without importing pandas; rows count from 1.

    Raises:
        DataError: No rows, or two columns of one name.
    """
    columns = tuple(str(column) for column in frame.columns)
    if len(set(columns)) < len(columns):
        raise DataError(f"{name} has two columns of one name: rename one of {listed(columns)}")
    if not len(frame):
        raise DataError(f"{name} is empty: there are no rows")

    def values(column: str) -> list[Any]:
        series = frame.iloc[:, columns.index(column)]
        # Every kind of missing value (NaN, NaT, NA) becomes None.
        return [
            None if missing else value
            for value, missing in zip(series.tolist(), series.isna().tolist(), strict=True)
        ]

    return Table(name, columns, len(frame), values, range(1, len(frame) + 1))


def joined(tables: Sequence[Table], name: str) -> Table:
    """Tables of the same columns one after the other: the shards of one split.

    Raises:
        DataError: A table lacks a column of the first.
    """
    first = tables[0]
    for table in tables[1:]:
        for column in first.columns:
            if column not in table.columns:
                raise DataError(f"{table.name} has no column {column!r}, unlike {first.name}")
    size = sum(table.size for table in tables)
    return Table(
        name=name,
        columns=first.columns,
        size=size,
        values=lambda column: list(itertools.chain(*(table.values(column) for table in tables))),
        numbers=range(1, size + 1),
        class_names=first.class_names,
        notes=tuple(note for table in tables for note in table.notes),
        parts=tuple(tables),
    )


def _pick(values: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    return [values[row] for row in rows]


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python values."""
    return value.tolist() if hasattr(value, "tolist") else value
