"""From one row an instance to bags: rows of a bag gathered, labels made classes, all checked."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.data.bags.rows import Rows
from attnaudit.data.faults import also, checked
from attnaudit.data.labels import (
    Scheme,
    class_indices,
    found_classes,
    label_keys,
    missing_label,
    near_doubles,
)
from attnaudit.data.sources.frames import id_of, shown, storable
from attnaudit.errors import DataError

_MOST_KINDS = 1_000_000
"""Types of keys; what exceeds it is damage."""


def build_bags(
    rows: Rows,
    name: str,
    split: str = "all",
    classes: Sequence[str] | None = None,
    regression: bool = False,
) -> BagDataset:
    """Bags in the order in which they first occur, their instances in the order of the rows.

    Args:
        rows: What was read.
        name: Of the data set.
        split: Which split it is.
        classes: The names of the classes in index order; None for those found, sorted.
        regression: Labels are quantities, and there are no classes.

    Raises:
        DataError: A row cannot be used; the message names source, row and column.
    """
    values = _finite(rows)
    coordinates = _coordinates(rows)
    truth = _whole(rows, rows.truth, "truth", most=1)
    key_types = _whole(rows, rows.key_types, "key_type")
    if truth is not None and key_types is not None:
        unlike = np.flatnonzero((truth > 0) != (key_types > 0)).tolist()
        for row in unlike[:1]:
            raise DataError(
                f"{rows.at(row, 'key_type')}: the key type is {key_types[row]} and the truth "
                f"{truth[row]}; a key instance has a type from 1, and others have 0"
                f"{also(unlike, rows.place)}"
            )
    members = _members(rows)
    labels, names_of_classes = _labels(rows, members, classes, regression)
    names = [
        storable(str(value), rows.at(row, "name")) for row, value in enumerate(rows.names or ())
    ]
    bags = []
    for number, (bag, index) in enumerate(members.items()):
        part = np.asarray(index)
        bags.append(
            bag_record(
                bag,
                values[part],
                labels[number],
                None if truth is None else truth[part],
                None if key_types is None else key_types[part],
                None if coordinates is None else coordinates[part],
                None if rows.names is None else [names[row] for row in index],
            )
        )
    doubles = near_doubles(names_of_classes) if classes is None else []
    notes = (*rows.notes, *doubles)
    return BagDataset(
        name, tuple(bags), names_of_classes, values.shape[1:], split, notes, rows.features
    )


def _members(rows: Rows) -> dict[str, list[int]]:
    """The rows of each bag."""
    members: dict[str, list[int]] = {}

    def add(row: int) -> None:
        value = rows.bags[row]
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a column of whole numbers with a gap somewhere
        if value is None or value != value or str(value).strip() == "":
            raise DataError(f"{rows.at(row, 'bag')}: the bag is missing; every instance is in one")
        members.setdefault(id_of(value, rows.at(row, "bag")), []).append(row)

    checked(range(len(rows.bags)), add, rows.place)
    return members


def _labels(
    rows: Rows,
    members: dict[str, list[int]],
    classes: Sequence[str] | None,
    regression: bool,
) -> tuple[list[Any], tuple[str, ...]]:
    """The label of each bag, and the classes."""
    if rows.labels is None:
        return [None] * len(members), tuple(classes or ())
    column = dict(rows.columns).get("label", "label")
    firsts = [index[0] for index in members.values()]

    def place(number: int) -> str:
        return rows.place(firsts[number])

    if regression:
        numbers = checked(range(len(rows.labels)), lambda row: _number(rows, row), rows.place)
        _agree(rows, members, numbers)
        return [numbers[row] for row in firsts], ()
    known = tuple(classes or ())
    _agree(rows, members, label_keys(rows.labels, column, rows.place, known=known))
    given = [rows.labels[row] for row in firsts]
    keys = label_keys(given, column, place, known=known)
    absent = [number for number, key in enumerate(keys) if key is None]
    if absent:
        raise DataError(
            f"{place(absent[0])}, column {column!r}: the label is missing."
            f"{missing_label(given, absent)} Fill it in, or read bags without labels with "
            f"columns={{'label': None}}{also(absent, place)}"
        )
    scheme = Scheme(None if classes is None else tuple(classes))
    found = scheme.classes or found_classes(keys, column, rows.name)
    return class_indices(keys, scheme, found, column, place), found


def _agree(rows: Rows, members: dict[str, list[int]], labels: Sequence[Hashable]) -> None:
    """Refuses a bag whose rows have different labels."""

    def agree(bag: str) -> None:
        index = members[bag]
        for row in index:
            if labels[row] != labels[index[0]]:
                raise DataError(
                    f"{rows.at(row, 'label')}: bag {bag!r} has the label {labels[row]!r} here and "
                    f"{labels[index[0]]!r} in {rows.place(index[0])}. A bag has one label; what "
                    "is known of single instances goes into a column 'truth'"
                )

    checked(members, agree, lambda bag: f"bag {bag!r}")


def _number(rows: Rows, row: int) -> float:
    value = (rows.labels or ())[row]
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{rows.at(row, 'label')}: {shown(value)} is no finite number")
    return number


def _finite(rows: Rows) -> npt.NDArray[np.float32]:
    if rows.values.dtype.kind not in "biuf":
        raise DataError(f"{rows.name}: the instances are no numbers ({rows.values.dtype})")
    if rows.values.ndim < 2 or 0 in rows.values.shape:
        raise DataError(
            f"{rows.name}: the instances have the shape {rows.values.shape}; one row an instance, "
            "with one feature or more, was expected"
        )
    with np.errstate(over="ignore"):
        values = rows.values.astype(np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, *position = bad[0].tolist()
        what = rows.value_name(tuple(position))
        raise DataError(
            f"{rows.place(row)}, column {what!r}: {rows.values[tuple(bad[0])]} cannot be used "
            f"({len(bad)} values are missing, not finite or too large). Fill in numbers, or leave "
            f"such rows out{also(np.unique(bad[:, 0]).tolist(), rows.place)}"
        )
    return values


def _coordinates(rows: Rows) -> npt.NDArray[np.float32] | None:
    if rows.coordinates is None:
        return None
    if rows.coordinates.shape != (len(rows.bags), 2) or rows.coordinates.dtype.kind not in "biuf":
        raise DataError(f"{rows.name}: coordinates are two numbers for each instance, x and y")
    found = rows.coordinates.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(found).all(1)).tolist()
    for row in bad[:1]:
        raise DataError(
            f"{rows.at(row, 'x')} or 'y': the coordinate is missing or not finite"
            f"{also(bad, rows.place)}"
        )
    return found


def _whole(
    rows: Rows, values: Sequence[Any] | None, what: str, most: int | None = None
) -> npt.NDArray[np.int64] | None:
    """Whole numbers from 0, also as text; `most` is the largest."""
    if values is None:
        return None

    def whole(row: int) -> int:
        number = _as_whole(values[row])
        if number is None or number > (_MOST_KINDS if most is None else most):
            known = "0 or 1" if most == 1 else "0 for no key, or 1, 2, … for the type of a key"
            raise DataError(
                f"{rows.at(row, what)}: {shown(values[row])} cannot be used; give {known}"
            )
        return number

    return np.array(checked(range(len(values)), whole, rows.place), np.int64)


def _as_whole(value: Any) -> int | None:
    if isinstance(value, str):
        words = {"true": 1, "false": 0}
        text = value.strip().lower()
        return int(text) if text.isdecimal() and len(text) < 19 else words.get(text)
    try:
        return int(value) if value == int(value) and value >= 0 else None
    except (TypeError, ValueError, OverflowError):
        return None
