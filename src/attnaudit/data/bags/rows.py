"""A table with one row per instance as the rows that bags are made of."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from attnaudit.data.faults import checked
from attnaudit.data.reading import Reading, column_option
from attnaudit.data.sources.frames import Arrays, Table, listed, shown
from attnaudit.errors import DataError

Array = npt.NDArray[Any]
_USUAL = ("bag", "label", "truth", "key_type", "name", "split")
"""Columns that are no features, unless they are asked for."""
_INDEX = re.compile(r"|__index_level_\d+__|Unnamed: \d+")
"""What the index of a pandas frame is called once it has been written: to Parquet, to CSV (where it
has no name), and to CSV and back. It is no feature, unless it is asked for."""


@dataclass(frozen=True)
class Rows:
    """Instances as a source has them, one a row.

    Attributes:
        name: What messages call the source.
        place: Row index to words, for messages.
        bags: The bag of each row, `n` of them; rows of a bag need not stand together.
        values: `(n, *shape)`, numbers.
        value_name: From a position in `shape` to the name of that feature.
        labels: The label of each row, the same in all rows of a bag; None for unlabelled data.
        truth: 0 or 1 for each row, or None.
        key_types: 0, 1, 2, … for each row, or None.
        coordinates: `(n, 2)`, or None.
        names: The name of each row, or None.
        columns: What messages call what is here, where its name is another: `label`, `truth`, …
        notes: What was decided while reading.
        features: The names of the features, or nothing.
    """

    name: str
    place: Callable[[int], str]
    bags: Sequence[Any]
    values: Array
    value_name: Callable[[tuple[int, ...]], str]
    labels: Sequence[Any] | None = None
    truth: Sequence[Any] | None = None
    key_types: Sequence[Any] | None = None
    coordinates: Array | None = None
    names: Sequence[Any] | None = None
    columns: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def at(self, row: int, what: str) -> str:
        """Where a value stands: `bags.csv, row 3, column 'truth'`."""
        return f"{self.place(row)}, column {dict(self.columns).get(what, what)!r}"


def bag_rows(table: Table, reading: Reading) -> Rows:
    """A table as rows, its instances from columns of numbers, or from the arrays beside it.

    Raises:
        DataError: A column is missing, or features are no numbers.
    """
    asked = reading.several("features")
    used = set(asked or ())

    def optional(role: str, needed: bool = False) -> str | None:
        found = reading.column(role)
        usual = role not in reading.columns and role in table.columns and role not in used
        return found or (role if needed or usual else None)

    places = reading.several("coordinates")
    if places is None and all(axis in table.columns and axis not in used for axis in "xy"):
        places = ("x", "y")
    unlabelled = "label" in reading.columns and reading.column("label") is None
    x, y = places or (None, None)
    known: dict[str, str | None] = {
        "bag": optional("bag", needed=True),
        "label": None if unlabelled else optional("label", needed=True),
        "truth": optional("truth"),
        "key_type": optional("key_type"),
        "name": optional("name"),
        "x": x,
        "y": y,
    }
    columns = {
        role: table.column(name, "coordinates" if role in "xy" else role)
        for role, name in known.items()
        if name is not None
    }
    notes = table.notes
    beside = table.arrays
    if beside is None:
        taken = {column for column in known.values() if column is not None}
        free = [name for name in table.columns if name not in taken and name not in _USUAL]
        index = [name for name in free if _INDEX.fullmatch(name)]
        names = asked or tuple(name for name in free if name not in index)
        if index and asked is None:
            notes = (*notes, f"the column {listed(index)} is the index of a frame, and no feature")
        values = _numbers(table, names)
    else:
        values, names = _chosen(beside, asked)
    coordinates = beside.coordinates if beside and places is None else None
    return Rows(
        name=table.name,
        place=table.place,
        bags=columns["bag"],
        values=values,
        value_name=_named(beside, names, values.shape[1:]),
        labels=columns.get("label"),
        truth=columns.get("truth"),
        key_types=columns.get("key_type"),
        coordinates=_numbers(table, places).astype(np.float64) if places else coordinates,
        names=columns.get("name", beside.names if beside else None),
        columns=tuple((what, name) for what, name in known.items() if name is not None),
        notes=notes,
        features=tuple(names) if values.shape[1:] == (len(names),) else (),
    )


def _named(
    beside: Arrays | None, names: Sequence[str], shape: Sequence[int]
) -> Callable[[tuple[int, ...]], str]:
    """From a position in an instance to the name of that feature."""
    if tuple(shape) == (len(names),):
        return lambda position: names[position[0]]
    stem = f"{beside.name}[…, " if beside else f"{names[0]}["
    return lambda position: f"{stem}{', '.join(map(str, position))}]"


def _chosen(beside: Arrays, asked: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
    """The instances with the features that are asked for, and their names."""
    if asked is None:
        return beside.values, beside.features
    absent = [name for name in asked if name not in beside.features]
    if absent:
        raise DataError(
            f"{beside.name} has no column {absent[0]!r}; its columns are: {listed(beside.features)}"
        )
    return beside.values[:, [beside.features.index(name) for name in asked]], asked


def _numbers(table: Table, names: Sequence[str]) -> Array:
    """Columns of numbers as `(n, columns)` float64; missing values are NaN."""
    if not names:
        raise DataError(
            f"{table.name} has no column of features: its columns are {listed(table.columns)}"
        )
    first = table.column(names[0], "features")
    if len(names) == 1 and isinstance(first[0], list):
        return _lists(table, names[0], first)
    values = np.empty((table.size, len(names)))
    for place, name in enumerate(names):
        column = table.column(name, "features")
        try:
            values[:, place] = [np.nan if value is None else value for value in column]
        except (TypeError, ValueError, OverflowError):
            check = functools.partial(_number, table, name, column)
            values[:, place] = checked(range(table.size), check, table.place)
    return values


def _number(table: Table, name: str, column: Sequence[Any], row: int) -> float:
    try:
        return float("nan" if column[row] is None else column[row])
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{table.place(row)}, column {name!r}: {shown(column[row])} is no number. "
            f"Features are numbers; name their columns with {column_option('features')}"
        ) from error


def _lists(table: Table, name: str, column: Sequence[Any]) -> Array:
    """A column of lists of numbers, all of one length, as `(n, length)` float64."""
    width = len(column[0])

    def numbers(row: int) -> Array:
        place, value = f"{table.place(row)}, column {name!r}", column[row]
        if not isinstance(value, list) or len(value) != width:
            raise DataError(f"{place}: expected a list of {width} numbers, as in {table.place(0)}")
        try:
            return np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{place}: {shown(value)} holds something that is no number") from error

    return np.stack(checked(range(table.size), numbers, table.place))
