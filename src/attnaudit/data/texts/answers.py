"""Answers: which classes may be the answer of an instance, and answers that nobody trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attnaudit.data.faults import checked
from attnaudit.data.sources.frames import listed, shown, storable
from attnaudit.data.texts.truth import from_json
from attnaudit.errors import DataError

Allowed = tuple[str, ...] | tuple[int, ...]


def allowed_answers(
    values: Sequence[Any], column: str, place: Callable[[int], str]
) -> list[Allowed | None]:
    """What a column of allowed answers holds: class names or indices per row, None for all.

    Args:
        values: Lists of names or of indices, also as JSON strings; None where all may be.
        column: The name of the column, for messages.
        place: Row index to words, for messages.

    Raises:
        DataError: A value is something else, or a list is empty.

    Example:
        >>> allowed_answers([["a", "b"], "[0, 2]", None], "allowed", str)
        [('a', 'b'), (0, 2), None]
    """
    return checked(
        range(len(values)),
        lambda row: _allowed(values[row], f"{place(row)}, column {column!r}"),
        place,
    )


def named_answers(answers: Sequence[Allowed | None]) -> set[str]:
    """All names among allowed answers: each of them is a class."""
    return {name for row in answers if row for name in row if isinstance(name, str)}


def allowed_indices(
    answers: Allowed | None, classes: Sequence[str], label: int | None, place: str
) -> tuple[int, ...] | None:
    """Allowed answers as sorted indices into `classes`; names that are no class are left out.

    Raises:
        DataError: An index is out of range, no class is left, or the label is not among them.
    """
    if answers is None:
        return None
    index = {name: number for number, name in enumerate(classes)}
    found = {index.get(answer) if isinstance(answer, str) else answer for answer in answers}
    chosen = sorted(number for number in found if number is not None)
    if not chosen:
        raise DataError(
            f"{place}: none of the allowed answers {listed(_shown(answers))} is a class"
        )
    if not 0 <= chosen[0] <= chosen[-1] < len(classes):
        raise DataError(
            f"{place}: {shown(chosen)} is no list of class indices; there are {len(classes)} "
            "classes, counted from 0"
        )
    if label is not None and label not in chosen:
        raise DataError(
            f"{place}: the label {classes[label]!r} is not among the allowed answers "
            f"{listed(_shown(answers))}"
        )
    return tuple(chosen)


def _allowed(value: Any, place: str) -> Allowed | None:
    value = from_json(value, place, "allowed answers")
    if value is None:
        return None
    if isinstance(value, list | tuple) and value:
        if all(isinstance(item, str) for item in value):
            return tuple(storable(item.strip(), place) for item in value)
        if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
            return tuple(value)
    raise DataError(
        f"{place}: {shown(value)} is no list of allowed answers. Give class names, or class "
        "indices counted from 0; leave it empty where every class is allowed"
    )


def _shown(answers: Allowed) -> list[str]:
    return [str(answer) for answer in answers]
