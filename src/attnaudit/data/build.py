"""From a table to a data set: every row is checked before any long work starts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from attnaudit.data.frames import Table, listed
from attnaudit.data.labels import Scheme, class_indices, found_classes, label_keys
from attnaudit.data.records import Dataset, Text
from attnaudit.data.tokens import Span, cut_record, find_tokenizer, join_units
from attnaudit.data.truth import unit_truth
from attnaudit.errors import DataError, SettingsError

# Text under this column name has been cut into tokens already.
_TOKENS = "tokens"

# Marks a row that is not used; no class has this index.
_LEFT_OUT = -1


@dataclass(frozen=True)
class Columns:
    """What the columns of a table mean, and how its texts are read.

    Attributes:
        text: The column of texts, or of lists of units.
        label: The column of labels, or None for data without labels.
        id: The column of ids, or None for row numbers.
        truth: The column of truth, or None.
        tokenizer: A name in `TOKENIZERS`; None for `whitespace` where the column is called
            `tokens`, else `words`.
        scheme: How labels become classes.
        clean: Applied to each text before it is cut.
        drop_unlabelled: Leave out rows without a label, instead of an error.
        drop_empty: Leave out rows without text, instead of an error.
    """

    text: str = "text"
    label: str | None = "label"
    id: str | None = None
    truth: str | None = None
    tokenizer: str | None = None
    scheme: Scheme = field(default_factory=Scheme)
    clean: Callable[[str], str] | None = None
    drop_unlabelled: bool = False
    drop_empty: bool = False


def build_dataset(
    table: Table,
    columns: Columns,
    name: str,
    split: str = "all",
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A table as a data set: checks first, then the draw, then the cutting into units.

    Raises:
        DataError: A column is missing, or a row cannot be used.
    """
    texts = table.column(columns.text, "text")
    if columns.clean is not None:
        texts = [columns.clean(text) if isinstance(text, str) else text for text in texts]
    truths = table.column(columns.truth, "truth") if columns.truth is not None else None
    labels, classes, notes = _labels(table, columns)
    ids = _ids(table, columns)
    rows = [row for row, label in enumerate(labels) if label != _LEFT_OUT]
    rows, dropped = _with_text(rows, texts, table, columns)
    notes = [*table.notes, *notes, *dropped]
    if not rows:
        raise DataError(f"{table.name}: no row is left to use ({'; '.join(notes)})")
    rows, drawn = _sample(rows, limit, seed)
    notes.extend(drawn)
    records = []
    for row in rows:
        text, offsets = _cut(texts[row], columns)
        flags = None
        if truths is not None:
            place = f"{table.place(row)}, column {columns.truth!r}"
            flags = unit_truth(truths[row], len(offsets), place)
        records.append(cut_record(ids[row], text, offsets, labels[row], flags))
    notes.extend(_observations(records, classes, labels))
    return Dataset(name, tuple(records), classes, split, tuple(notes))


def draw(data: Dataset, limit: int | None, seed: int) -> Dataset:
    """At most `limit` records, drawn at random; they keep their order."""
    rows, notes = _sample(range(len(data)), limit, seed)
    chosen = [data.records[row] for row in rows]
    return replace(data, records=tuple(chosen), notes=(*data.notes, *notes))


def check_limit(limit: int | None) -> None:
    """Refuses a limit that leaves nothing."""
    if limit is not None and limit < 1:
        raise SettingsError(f"limit (--limit) must be 1 or more, got {limit}")


def _labels(table: Table, columns: Columns) -> tuple[list[int | None], tuple[str, ...], list[str]]:
    """Class indices (`_LEFT_OUT` for rows to leave out), the classes, and notes."""
    scheme, column = columns.scheme, columns.label
    if column is None:
        return [None] * table.size, scheme.classes or (), []
    values = table.column(column, "label")
    keys = label_keys(values, column, table.place, table.class_names.get(column, ()))
    notes: list[str] = []
    left_out = {row for row, key in enumerate(keys) if key is None}
    if left_out and not columns.drop_unlabelled:
        raise DataError(
            f"{table.place(min(left_out))}, column {column!r}: the label is missing "
            f"({len(left_out)} of {table.size} rows). Fill it in, or leave such rows out with "
            "drop_unlabelled=True (--drop-unlabelled)"
        )
    if left_out:
        notes.append(f"{len(left_out)} of {table.size} rows have no label and are left out")
    if scheme.rename is not None:
        others = {row for row, key in enumerate(keys) if key and key not in scheme.rename}
        if others:
            notes.append(f"{len(others)} of {table.size} rows of other labels are left out")
        left_out |= others
        keys = [scheme.rename.get(key) if key else None for key in keys]
    if len(left_out) == table.size:
        raise DataError(f"{table.name}: no row has a label of use in column {column!r}")
    classes = scheme.classes or table.class_names.get(column)
    classes = classes or found_classes(keys, column, table.name)
    labels = class_indices(keys, scheme, classes, column, table.place)
    marked = [_LEFT_OUT if row in left_out else label for row, label in enumerate(labels)]
    return marked, classes, notes


def _ids(table: Table, columns: Columns) -> list[str]:
    if columns.id is None:
        return [str(number) for number in table.numbers]
    ids: list[str] = []
    seen: dict[str, int] = {}
    for row, value in enumerate(table.column(columns.id, "id")):
        if value is None or value != value or str(value).strip() == "":
            raise DataError(f"{table.place(row)}, column {columns.id!r}: the id is missing")
        key = str(value)
        if key in seen:
            raise DataError(
                f"{table.place(row)}, column {columns.id!r}: the id {key!r} is also in "
                f"{table.place(seen[key])}. Ids must be unique; without id_column= (--id-column) "
                "the row numbers are used"
            )
        seen[key] = row
        ids.append(key)
    return ids


def _with_text(
    rows: Sequence[int], texts: Sequence[Any], table: Table, columns: Columns
) -> tuple[list[int], list[str]]:
    """The rows that have text, and a note on the others.

    Raises:
        DataError: Something is no text, or there is none and `drop_empty` is not set.
    """
    kept = []
    for row in rows:
        if _has_text(texts[row], f"{table.place(row)}, column {columns.text!r}"):
            kept.append(row)
        elif not columns.drop_empty:
            raise DataError(
                f"{table.place(row)}, column {columns.text!r}: the text is empty. Fill it in, or "
                "leave such rows out with drop_empty=True (--drop-empty)"
            )
    empty = len(rows) - len(kept)
    return kept, [f"{empty} of {len(rows)} rows have no text and are left out"] if empty else []


def _has_text(value: Any, place: str) -> bool:
    if value is None or (isinstance(value, float) and value != value):
        return False
    units = value if isinstance(value, list | tuple) else [value]
    for unit in units:
        if not isinstance(unit, str):
            raise DataError(f"{place}: expected text, found {type(unit).__name__} {unit!r:.40}")
        if not unit.strip() and units is value:
            raise DataError(f"{place}: a unit is empty")
        if not _encodable(unit):
            raise DataError(f"{place}: the text holds half of a character (a lone surrogate)")
    return any(unit.strip() for unit in units)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cut(value: Any, columns: Columns) -> tuple[str, list[Span]]:
    if isinstance(value, list | tuple):
        return join_units(value)
    default = "whitespace" if columns.text == _TOKENS else "words"
    return value, find_tokenizer(columns.tokenizer or default)(value)


def _observations(
    records: Sequence[Text], classes: Sequence[str], labels: Sequence[int | None]
) -> list[str]:
    """Notes on what the records hold."""
    notes = []
    repeated = [count for count in Counter(record.text for record in records).values() if count > 1]
    if repeated:
        notes.append(
            f"{len(repeated)} texts occur more than once, in {sum(repeated)} of {len(records)} "
            "records"
        )
    present = {label for label in labels if label is not None and label != _LEFT_OUT}
    absent = [name for index, name in enumerate(classes) if present and index not in present]
    if absent:
        notes.append(f"no record has the label {listed(absent)}")
    return notes


def _sample(rows: Sequence[int], limit: int | None, seed: int) -> tuple[list[int], list[str]]:
    """At most `limit` of the rows in their order, and a note where some are left out."""
    if limit is None or limit >= len(rows):
        return list(rows), []
    drawn = sorted(random.Random(seed).sample(rows, limit))
    return drawn, [f"a random {limit} of {len(rows)} records (seed {seed})"]
