"""Labels as they come (integers, booleans, strings) turned into class indices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnaudit.data.frames import listed
from attnaudit.errors import DataError, SettingsError

# More distinct labels than this share of the rows means: the wrong column.
_MOST_DISTINCT = 0.5
_FEW_ROWS = 50
# The hub's sign for "label withheld" in a column that declares its class names.
_WITHHELD = -1


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
) -> list[str | None]:
    """Labels as strings, None where missing.

    Args:
        values: The labels as they come. Whole floats count as integers; None, NaN and empty
            strings as missing.
        column: The name of their column, for messages.
        place: Row index to words, for messages.
        names: Names behind integer labels, where the column declares them.

    Raises:
        DataError: A label that is no class (a fraction, a list), or numbers among strings.

    Example:
        >>> label_keys([1, 0.0, None, float("nan")], "label", str)
        ['1', '0', None, None]
    """
    keys: list[str | None] = []
    first: dict[bool, int] = {}
    for index, value in enumerate(values):
        key = _key(value, names)
        if key is None and not _missing(value, names):
            raise DataError(
                f"{place(index)}, column {column!r}: {_shown(value)} is no class. "
                "A label is an integer, true or false, or a string"
            )
        keys.append(key)
        if key is not None:
            first.setdefault(isinstance(value, str), index)
    if len(first) == 2:
        raise DataError(
            f"column {column!r} mixes strings and numbers: {_shown(values[first[True]])} "
            f"({place(first[True])}) and {_shown(values[first[False]])} ({place(first[False])})"
        )
    return keys


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
            "rows. Is it the label column? Name another with label_column= (--label-column)"
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
    for row, key in enumerate(keys):
        if key is not None and key not in index:
            raise DataError(
                f"{place(row)}, column {column!r}: {key!r} is not one of the classes "
                f"{listed(list(classes))}"
            )
    return [None if key is None else index[key] for key in keys]


def _key(value: Any, names: Sequence[str]) -> str | None:
    """A label as a string; None where it is missing or no label at all."""
    if isinstance(value, str):
        return None if _missing(value, names) else value.strip()
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        return None
    if names:
        return names[value] if 0 <= value < len(names) else None
    return str(value)


def _missing(value: Any, names: Sequence[str]) -> bool:
    if value is None or (isinstance(value, float) and value != value):
        return True
    if isinstance(value, str):
        # A NaN that went through a text file; "none" and "NA" may be names of classes.
        return value.strip().lower() in {"", "nan"}
    return bool(names) and value == _WITHHELD


def _is_integer(key: str) -> bool:
    # Only the usual spelling: "01" is a name, and int() would merge it with "1".
    return key.removeprefix("-").isdecimal() and str(int(key)) == key


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
