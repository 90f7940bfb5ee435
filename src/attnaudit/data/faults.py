"""Faults of data: all of one kind are said in one message, with the places of the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from attnaudit.errors import DataError

Item = TypeVar("Item")
Made = TypeVar("Made")

MOST = 5
"""Places that a message names; how many more there are is said as a number."""


def checked(
    items: Iterable[Item], check: Callable[[Item], Made], place: Callable[[Item], str]
) -> list[Made]:
    """What a check makes of each item, once all have passed it.

    Args:
        items: The rows to check.
        check: What to make of one; raises `DataError` where it cannot be used.
        place: Where an item stands, for messages: `reviews.csv, row 3`.

    Raises:
        DataError: Some cannot be used: what is wrong with the first, and the places of others.

    Example:
        >>> checked([1, 2], lambda row: 2 * row, "row {}".format)
        [2, 4]
    """
    made: list[Made] = []
    wrong: list[Item] = []
    first: DataError | None = None
    for item in items:
        try:
            made.append(check(item))
        except DataError as error:
            first = first or error
            wrong.append(item)
    if first is not None:
        raise DataError(str(first) + also(wrong, place)) from first
    return made


def also(wrong: Sequence[Item], place: Callable[[Item], str]) -> str:
    """The end of a message on the first of some faults: how many there are, and where.

    Example:
        >>> also([3], "x.csv, row {}".format), also([3, 5, 9], "x.csv, row {}".format)
        ('', '. There are 3 such faults: x.csv, rows 3, 5, 9')
    """
    if len(wrong) < 2:
        return ""
    places = [place(item) for item in wrong[:MOST]]
    stems = {name.rpartition(" ")[0] for name in places}
    if len(stems) == 1:
        listed = f"{stems.pop()}s " + ", ".join(name.rpartition(" ")[2] for name in places)
    else:
        listed = "; ".join(places)
    more = f" and {len(wrong) - MOST:,} more" if len(wrong) > MOST else ""
    return f". There are {len(wrong):,} such faults: {listed}{more}"
