"""Labels as they come (integers, booleans, strings) turned into class indices."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnaudit.data.faults import checked
from attnaudit.data.reading import column_option
from attnaudit.data.sources.frames import listed, shown, storable
from attnaudit.errors import DataError, SettingsError

# More distinct labels than this share of the rows means: the wrong column.
_MOST_DISTINCT = 0.5
_FEW_ROWS = 50
# The hub's sign for "label withheld" in a column that declares its class names.
_WITHHELD = -1
# A longer label is a text, or damage; reports show the names of classes.
_LONGEST = 1000
# Only the usual spelling, and no more digits than are compared as numbers: "01" is a name.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_WHOLE = re.compile(r"(-?[0-9]+)\.0+")
_OF_R = "NA"
"""How R writes a missing value."""


@dataclass(frozen=True)
class Scheme:
    """How labels become classes.

    Attributes:
        classes: The names in index order, or None for those found, sorted.
        by_position: Whether integers below `len(classes)` may stand for the classes in order.
        rename: From labels as they come to class names; labels that it lacks are left out.
    """

    classes: tuple[str, ...] | None = None
    by_position: bool = True
    rename: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.classes is None:
            return
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise SettingsError(f"classes needs two or more different names, got {self.classes}")


def label_keys(
    values: Sequence[Any],
    column: str,
    place: Callable[[int], str],
    names: Sequence[str] = (),
    known: Collection[str] = (),
) -> list[str | None]:
    """Labels as strings, None where missing.

    Args:
        values: The labels as they come. Whole floats count as integers; None, NaN and empty
            strings as missing, and so does `NA`, which R writes, where no known class is called
            so. Where all are strings of whole numbers, `1.0` is `1`, as it is in a frame.
        column: The name of their column, for messages.
        place: Row index to words, for messages.
        names: Names behind integer labels, where the column declares them.
        known: The classes, where they are known before the labels are read.

    Raises:
        DataError: A label that is no class (a fraction, a list, a text), or numbers among strings.

    Example:
        >>> label_keys([1, 0.0, None, float("nan")], "label", str)
        ['1', '0', None, None]
    """
    first: dict[bool, int] = {}

    def key_of(row: int) -> str | None:
        value = values[row]
        if _missing(value, names, known):
            return None
        key = _key(value, names)
        if key is None:
            raise DataError(
                f"{place(row)}, column {column!r}: {shown(value)} is no class. "
                "A label is an integer, true or false, or a string"
            )
        _check_name(key, lambda: f"{place(row)}, column {column!r}")
        first.setdefault(isinstance(value, str), row)
        return key

    keys = checked(range(len(values)), key_of, place)
    if len(first) == 2:
        raise DataError(
            f"column {column!r} mixes strings and numbers: {shown(values[first[True]])} "
            f"({place(first[True])}) and {shown(values[first[False]])} ({place(first[False])})"
        )
    return _as_integers(keys, known)


def found_classes(
    keys: Sequence[str | None], column: str, name: str, more: Collection[str] = ()
) -> tuple[str, ...]:
    """The distinct labels in order: as numbers where all are integers, else as strings.

    `more` are classes too, whether or not a row has them.

    Raises:
        DataError: Fewer than two, or so many that they can be no classes.

    Example:
        >>> found_classes(["10", "9", None, "9"], "label", "demo")
        ('9', '10')
    """
    given = [key for key in keys if key is not None]
    distinct = set(given)
    if len(given) >= _FEW_ROWS and len(distinct) > _MOST_DISTINCT * len(given):
        raise DataError(
            f"{name}: column {column!r} holds {len(distinct)} different labels in {len(given)} "
            f"rows. Is it the label column? Name another with {column_option('label')}"
        )
    distinct |= set(more)
    if len(distinct) == 1:
        raise DataError(
            f"{name} has only one class, {given[0]!r}, in column {column!r}: nothing can be "
            "classified. Give data of two or more, or name them all with classes= (--classes)"
        )
    if all(_is_integer(key) for key in distinct):
        return tuple(sorted(distinct, key=int))
    return tuple(sorted(distinct))


def near_doubles(classes: Sequence[str]) -> list[str]:
    """Notes on classes that are one but for upper and lower case.

    Example:
        >>> near_doubles(["Pos", "neg", "pos"])
        ["the classes 'Pos', 'pos' differ in upper and lower case alone: if they are one, spell..."]
    """
    spelt: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        spelt[name.casefold()].append(name)
    return [
        f"the classes {listed(group)} differ in upper and lower case alone: if they are one, spell "
        "it one way"
        for group in spelt.values()
        if len(group) > 1
    ]


def missing_label(values: Sequence[Any], rows: Collection[int]) -> str:
    """What to know of labels that are missing in these rows: a sentence, or nothing.

    Example:
        >>> missing_label(["NA", "DE"], [0])
        " 'NA' stands for a missing value, as R writes it; if it is a class, name all..."
    """
    if not any(isinstance(values[row], str) and values[row].strip() == _OF_R for row in rows):
        return ""
    return (
        f" {_OF_R!r} stands for a missing value, as R writes it; if it is a class, name all "
        "classes with classes= (--classes)."
    )


def unseen(keys: Sequence[str | None], classes: Collection[str]) -> set[int]:
    """The rows whose label is none of the classes; empty where no label is, as with positions.

    Example:
        >>> unseen(["hall", "cellar", None], ["garden", "hall"]), unseen(["0", "1"], ["a", "b"])
        ({1}, set())
    """
    known = set(classes)
    rows = {row for row, key in enumerate(keys) if key is not None and key not in known}
    return rows if len(rows) < sum(key is not None for key in keys) else set()


def class_indices(
    keys: Sequence[str | None],
    scheme: Scheme,
    classes: Sequence[str],
    column: str,
    place: Callable[[int], str],
) -> list[int | None]:
    """Labels as indices into `classes`.

    Raises:
        DataError: A label that is none of the classes.
    """
    index = {name: number for number, name in enumerate(classes)}
    positions = {str(number): number for number in range(len(classes))}
    by_name = all(key is None or key in index for key in keys)
    # Classes that are integers themselves are meant by name only.
    positional = scheme.by_position and not any(_is_integer(name) for name in classes)
    if not by_name and positional and all(key is None or key in positions for key in keys):
        index = positions

    def index_of(row: int) -> int | None:
        key = keys[row]
        if key is not None and key not in index:
            raise DataError(
                f"{place(row)}, column {column!r}: {key!r} is not one of the classes "
                f"{listed(list(classes))}"
            )
        return None if key is None else index[key]

    return checked(range(len(keys)), index_of, place)


def _key(value: Any, names: Sequence[str]) -> str | None:
    """A label as a string; None where it is missing or no label at all."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        return None
    if names:
        return names[value] if 0 <= value < len(names) else None
    return str(value) if value.bit_length() < 2048 else None


def _missing(value: Any, names: Sequence[str], known: Collection[str]) -> bool:
    if value is None or (isinstance(value, float) and value != value):
        return True
    if isinstance(value, str):
        # A NaN that went through a text file; "none" may be the name of a class.
        text = value.strip()
        return text.lower() in {"", "nan"} or (text == _OF_R and text not in (*names, *known))
    return bool(names) and value == _WITHHELD


def _is_integer(key: str) -> bool:
    return _INTEGER.fullmatch(key) is not None


def _check_name(key: str, place: Callable[[], str]) -> None:
    """Refuse a label that cannot be the name of a class."""
    if len(key) > _LONGEST:
        raise DataError(
            f"{place()}: {shown(key)} has {len(key):,} characters, more than the {_LONGEST:,} that "
            f"a class may have. Is it the label column? Name another with {column_option('label')}"
        )
    if not key.isascii():
        storable(key, place())


def _as_integers(keys: list[str | None], known: Collection[str]) -> list[str | None]:
    """Keys where `1.0` is `1`, if all are whole numbers and no class is called otherwise."""
    given = {key for key in keys if key is not None}
    whole = {key: match[1] for key in given if (match := _WHOLE.fullmatch(key))}
    if (
        not whole
        or whole.keys() & set(known)
        or any(not _is_integer(whole.get(key, key)) for key in given)
    ):
        return keys
    return [None if key is None else whole.get(key, key) for key in keys]
