"""Known truth: which units of a text are evidence for its label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnaudit.data.sources.frames import shown
from attnaudit.errors import DataError
from attnaudit.files import parse_json

CHARACTERS = "characters of the text. A span is [start, end], counted from 0, end exclusive"
UNITS = (
    "units. A span is [start, end], counted from 0, end exclusive, in the same units as the text "
    "(--tokenizer)"
)


def unit_truth(value: Any, n: int, place: str) -> tuple[bool, ...] | None:
    """One bool per unit, from what a truth column holds.

    Args:
        value: `n` values of 0, 1, False or True; or spans `[start, end]` of units, end exclusive;
            or either as a JSON string, as text files hold it; None where unknown.
        n: How many units the text has.
        place: Where the value stands, for messages.

    Raises:
        DataError: It is neither, or does not fit `n` units.

    Example:
        >>> unit_truth([[1, 3]], 4, "row 1"), unit_truth("[0, 1]", 2, "row 2")
        ((False, True, True, False), (False, True))
    """
    value = from_json(value, place, "truth values")
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise DataError(f"{place}: truth is a list, with one value per unit or spans of units")
    value = [item.tolist() if hasattr(item, "tolist") else item for item in value]
    if all(isinstance(item, list | tuple) for item in value):
        truth = [False] * n
        # Human annotations hold empty spans; they mark nothing.
        for start, end in _spans(value, n, place, UNITS):
            truth[start:end] = [True] * (end - start)
        return tuple(truth)
    return _from_flags(value, n, place)


def char_spans(value: Any, n: int, place: str) -> list[tuple[int, int]]:
    """Spans `[start, end]` in characters of a text of `n` characters, end exclusive.

    Raises:
        DataError: They are something else, or reach beyond the text.
    """
    return _spans(value if isinstance(value, list | tuple) else [value], n, place, CHARACTERS)


def from_json(value: Any, place: str, what: str) -> Any:
    """The value, read where it is JSON in a string, as text files hold lists.

    Raises:
        DataError: It is a string that is not valid JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError as error:
        raise DataError(f"{place}: {shown(value)} is no list of {what} ({error})") from error


def marked_units(
    spans: Sequence[Sequence[int]], places: Sequence[tuple[int, int]]
) -> tuple[bool, ...]:
    """One bool per unit: does it share a character with one of the spans of the text?

    Args:
        spans: `(start, end)` in characters, end exclusive.
        places: Where each unit stands, in order.

    Example:
        >>> marked_units([(4, 9)], [(0, 3), (4, 8), (8, 9), (10, 12)])
        (False, True, True, False)
    """
    return tuple(any(low < end and start < high for low, high in spans) for start, end in places)


def _from_flags(flags: Sequence[Any], n: int, place: str) -> tuple[bool, ...]:
    for flag in flags:
        if not isinstance(flag, bool | int | float) or flag not in (0, 1):
            raise DataError(
                f"{place}: {shown(flag)} is no truth value; give 0 or 1 per unit, or spans"
            )
    if len(flags) != n:
        raise DataError(
            f"{place}: {len(flags)} truth values for {n} units. They must be counted in the same "
            "units: give the units as a list column, or name their tokenizer (--tokenizer)"
        )
    return tuple(bool(flag) for flag in flags)


def _spans(spans: Sequence[Any], n: int, place: str, of: str) -> list[tuple[int, int]]:
    for span in spans:
        whole = isinstance(span, list | tuple) and len(span) == 2
        ends = [end for end in span if type(end) is int] if whole else []
        if len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= n:
            found = list(span) if isinstance(span, list | tuple) else span
            raise DataError(f"{place}: {shown(found)} is no span of the {n} {of}")
    return [(start, end) for start, end in spans]
