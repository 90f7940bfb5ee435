"""From a table to a data set: every row is checked before any long work starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attnaudit.data.drawing import content, draw, drawn_rows
from attnaudit.data.faults import also, checked
from attnaudit.data.labels import (
    class_indices,
    found_classes,
    label_keys,
    missing_label,
    near_doubles,
    unseen,
)
from attnaudit.data.reading import column_option
from attnaudit.data.records import Dataset, Text, TextPair
from attnaudit.data.sources.frames import Table, id_of, listed
from attnaudit.data.texts.answers import Allowed, allowed_answers, allowed_indices, named_answers
from attnaudit.data.texts.columns import Columns
from attnaudit.data.texts.lengths import within
from attnaudit.data.texts.texts import Cutter, cutter, rows_with_text
from attnaudit.data.texts.tokens import Span, as_pair, cut_record, find_tokenizer
from attnaudit.data.texts.truth import char_spans, marked_units, unit_truth
from attnaudit.errors import DataError, SettingsError

# Marks a row that is not used; no class has this index.
_LEFT_OUT = -1
# More texts of one unit than this share are no accident.
_MOST_SINGLE = 0.5


def build_dataset(
    table: Table,
    columns: Columns,
    name: str,
    split: str = "all",
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A table as a data set: checks first, then the draw, then the cutting into units.

    Bounds on the number of units come before the draw, so that `limit` records are left.

    Raises:
        DataError: A column is missing, or a row cannot be used.
    """
    values = _values(table, columns)
    labels, classes, notes = _labels(table, columns, named_answers(values.answers or ()))
    ids = _ids(table, columns)
    rows = [row for row, label in enumerate(labels) if label != _LEFT_OUT]
    notes = [*table.notes, *notes]
    for column, word, texts in values.read(columns):
        rows, dropped = rows_with_text(rows, texts, table, column, word, columns.drop_empty)
        notes.extend(dropped)
    if not rows:
        raise DataError(f"{table.name}: no row is left to use ({'; '.join(notes)})")
    if not columns.bounds.active:
        rows, drawn = drawn_rows(rows, limit, seed)
        notes.extend(drawn)
    cut = cutter(columns.text, columns.tokenizer, columns.cleaner)

    def record_of(row: int) -> Text | None:
        place = table.place(row)
        record = _record(ids[row], row, values, labels[row], cut, columns, place)
        if record is not None and values.questions is not None:
            return _beside(record, row, values, classes, cut, place)
        return record

    made = checked(rows, record_of, table.place)
    records = [record for record in made if record is not None]
    if len(records) < len(rows):
        left = len(rows) - len(records)
        notes.append(f"{left} of {len(rows)} rows hold no unit after cleaning and are left out")
    if not records:
        raise DataError(f"{table.name}: no row is left to use ({'; '.join(notes)})")
    data = Dataset(name, tuple(records), classes, split, tuple(notes))
    if columns.bounds.active:
        data = draw(within(data, columns.bounds), limit, seed)
    return replace(data, notes=(*data.notes, *_observations(data.records, classes, labels)))


def _labels(
    table: Table, columns: Columns, named: set[str]
) -> tuple[list[int | None], tuple[str, ...], list[str]]:
    """Class indices (`_LEFT_OUT` for rows to leave out), the classes, and notes.

    `named` are classes by being allowed answers, whether or not any row has them.
    """
    scheme, column = columns.scheme, columns.label
    if column is None:
        return [None] * table.size, scheme.classes or (), []
    values = table.column(column, "label")
    known = {*(scheme.classes or ()), *(scheme.rename or ()), *named}
    keys = label_keys(values, column, table.place, table.class_names.get(column, ()), known)
    notes: list[str] = []
    left_out = {row for row, key in enumerate(keys) if key is None}
    if left_out and not columns.drop_unlabelled:
        raise DataError(
            f"{table.place(min(left_out))}, column {column!r}: the label is missing "
            f"({len(left_out)} of {table.size} rows).{missing_label(values, left_out)} Fill it "
            "in, or leave such rows out with drop_unlabelled=True (--drop-unlabelled)"
            f"{also(sorted(left_out), table.place)}"
        )
    if left_out:
        about = missing_label(values, left_out).removesuffix(".")
        notes.append(
            f"{len(left_out)} of {table.size} rows have no label and are left out"
            + (f";{about}" if about else "")
        )
    if scheme.rename is not None:
        others = {row for row, key in enumerate(keys) if key and key not in scheme.rename}
        if others:
            notes.append(f"{len(others)} of {table.size} rows of other labels are left out")
        left_out |= others
        keys = [scheme.rename.get(key) if key else None for key in keys]
    if len(left_out) == table.size:
        raise DataError(f"{table.name}: no row has a label of use in column {column!r}")
    classes = scheme.classes or table.class_names.get(column)
    if classes is not None and columns.question is not None:
        # A question may have an answer that training never had; a text has the label it has.
        new = unseen(keys, classes)
        if new:
            notes.append(
                f"{len(new)} of {table.size} rows have an answer that is none of the classes and "
                "are left out"
            )
        left_out |= new
        keys = [None if row in new else key for row, key in enumerate(keys)]
    if not classes:
        classes = found_classes(keys, column, table.name, named)
        notes.extend(near_doubles(classes))
    labels = class_indices(keys, scheme, classes, column, table.place)
    marked = [_LEFT_OUT if row in left_out else label for row, label in enumerate(labels)]
    return marked, classes, notes


def _ids(table: Table, columns: Columns) -> list[str]:
    if columns.id is None:
        return [str(number) for number in table.numbers]
    seen: dict[str, int] = {}
    values = table.column(columns.id, "id")

    def id_at(row: int) -> str:
        place, value = f"{table.place(row)}, column {columns.id!r}", values[row]
        if value is None or value != value or str(value).strip() == "":
            raise DataError(f"{place}: the id is missing")
        key = id_of(value, place)
        if seen.setdefault(key, row) != row:
            raise DataError(
                f"{place}: the id {key!r} is also in {table.place(seen[key])}. Ids must be unique; "
                f"without {column_option('id')} the row numbers are used"
            )
        return key

    return checked(range(table.size), id_at, table.place)


@dataclass(frozen=True)
class _Values:
    """What a table holds, column by column."""

    texts: Sequence[Any]
    truths: Sequence[Any] | None
    questions: Sequence[Any] | None
    answers: Sequence[Allowed | None] | None

    def read(self, columns: Columns) -> Iterator[tuple[str, str, Sequence[Any]]]:
        """The columns that are read as text: name, what it is, and its values."""
        yield columns.text, "text", self.texts
        if columns.question is not None and self.questions is not None:
            yield columns.question, "question", self.questions


def _values(table: Table, columns: Columns) -> _Values:
    texts = table.column(columns.text, "text")
    if columns.clean is not None:
        texts = [columns.clean(text) if isinstance(text, str) else text for text in texts]
    answers = None
    if columns.allowed is not None:
        if columns.question is None:
            raise SettingsError(
                "a column of allowed answers says what a question allows: name the column of "
                f"questions with {column_option('question')}"
            )
        found = table.column(columns.allowed, "allowed")
        answers = allowed_answers(found, columns.allowed, table.place)
    return _Values(
        texts,
        table.column(columns.truth, "truth") if columns.truth else None,
        table.column(columns.question, "question") if columns.question else None,
        answers,
    )


def _record(
    id: str,
    row: int,
    values: _Values,
    label: int | None,
    cut: Cutter,
    columns: Columns,
    place: str,
) -> Text | None:
    """The text of a row as a record; None where cleaning leaves no unit of it."""
    text, offsets, units = cut(values.texts[row], place)
    if not offsets:
        return None
    flags = None
    if values.truths is not None:
        counted = columns.truth_in or (cut.tokenizer if cut.cleaner else None)
        place = f"{place}, column {columns.truth!r}"
        flags = _truth(values.truths[row], text, offsets, counted, place)
    return cut_record(id, text, offsets, label, flags, units)


def _beside(
    record: Text, row: int, values: _Values, classes: Sequence[str], cut: Cutter, place: str
) -> TextPair | None:
    """The record with the question of its row; None where cleaning leaves no unit of that."""
    question, units = cut.question((values.questions or ())[row], place)
    answers = values.answers[row] if values.answers is not None else None
    chosen = allowed_indices(answers, classes, record.label, place)
    return as_pair(record, question, units, chosen) if units else None


def _truth(
    value: Any, text: str, offsets: Sequence[Span], counted: str | None, place: str
) -> tuple[bool, ...] | None:
    """One bool per unit, from truth that is counted in characters or in units of a tokenizer.

    `counted` is None where it is counted in the units that stand at `offsets`.
    """
    if value is None or counted is None:
        return unit_truth(value, len(offsets), place)
    if counted == "characters":
        return marked_units(char_spans(value, len(text), place), offsets)
    units = find_tokenizer(counted)(text)
    flags = unit_truth(value, len(units), place)
    if flags is None or units == offsets:
        return flags
    return marked_units([span for span, flag in zip(units, flags, strict=True) if flag], offsets)


def _observations(
    records: Sequence[Text], classes: Sequence[str], labels: Sequence[int | None]
) -> list[str]:
    """Notes on what the records hold."""
    notes = []
    repeated = [count for count in Counter(map(content, records)).values() if count > 1]
    if repeated:
        what = "pairs" if any(isinstance(record, TextPair) for record in records) else "texts"
        notes.append(
            f"{len(repeated)} {what} occur more than once, in {sum(repeated)} of {len(records)} "
            "records"
        )
    single = sum(len(record.units) == 1 for record in records)
    if single > _MOST_SINGLE * len(records):
        notes.append(
            f"{single} of {len(records)} texts are one unit each, whose weight is always 1. "
            "Scripts without blanks between words (Thai, Lao, Khmer) need a list of units in "
            "the text column"
        )
    present = {label for label in labels if label is not None and label != _LEFT_OUT}
    absent = [name for index, name in enumerate(classes) if present and index not in present]
    if absent:
        notes.append(f"no record has the label {listed(absent)}")
    return notes
