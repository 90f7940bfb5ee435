"""Sources: files, folders, data frames, lists, named sets and the hub become data sets."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from attnaudit.data.build import Columns, build_dataset, check_limit
from attnaudit.data.labels import Scheme
from attnaudit.data.named.named import NAMED_SETS, load_named_with, means_named
from attnaudit.data.named.paper import piped
from attnaudit.data.records import Dataset
from attnaudit.data.sources.files import data_stem, data_suffix, path_exists, read_file
from attnaudit.data.sources.folders import read_folder, split_name, unknown_split
from attnaudit.data.sources.frames import (
    Table,
    column_name,
    from_pandas,
    from_polars,
    from_rows,
    listed,
    storable,
)
from attnaudit.data.sources.hub import from_hub, is_hub_name, read_hub
from attnaudit.data.texts.tokens import find_tokenizer
from attnaudit.errors import DataError, SettingsError

Source = str | Path | pl.DataFrame | Sequence[Mapping[str, Any]] | Any


def load_data(
    source: Source,
    *,
    text_column: str = "text",
    label_column: str | None = "label",
    id_column: str | None = None,
    truth_column: str | None = None,
    question_column: str | None = None,
    allowed_column: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    drop_unlabelled: bool = False,
    drop_empty: bool = False,
    tokenizer: str | None = None,
    pipeline: str | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    strict_bounds: bool = False,
    name: str | None = None,
    data_dir: str | Path | None = None,
) -> Dataset:
    """Texts with labels, from wherever they are.

    Args:
        source: A file (.csv, .tsv, .jsonl, .ndjson, .json, .parquet; text formats also with .gz),
            a folder with one file a split, a polars or pandas frame, a `datasets.Dataset`, a list
            of dictionaries, a named set (`reviews`, see `NAMED_SETS`), or a set on the hub
            (`owner/name`, `owner/name:configuration`).
        text_column: Texts, or lists of units that are taken as they are.
        label_column: Labels: integers, booleans or strings. None for data without labels.
        id_column: Ids; without it a record is called by its row number, as messages count.
        truth_column: Which units are evidence: one 0 or 1 per unit, or spans `[start, end]` of
            units, end exclusive.
        question_column: A second text that is read beside the first: a question, a hypothesis. The
            weights stand on the text column. Rows become `TextPair`; labels are the answers, and a
            row whose answer is none of `classes` is left out with a note.
        allowed_column: The answers that a question allows: a list of class names or indices, or
            nothing where all are allowed. Names in it are classes.
        split: `train`, `dev` or `test` of a folder, hub set, named set, or of a file with a column
            `split`. None takes the test split where there are several, and says so in the notes;
            all rows of a single file.
        limit: At most so many records, drawn at random; they keep their order.
        seed: For `limit`.
        classes: The names of the classes in index order; by default those found, sorted, integers
            as numbers. Integer labels 0, 1, … may stand for named classes in order.
        drop_unlabelled: Leave out rows without a label, instead of an error.
        drop_empty: Leave out rows without text, instead of an error.
        tokenizer: A name in `TOKENIZERS`; by default `words`, but `whitespace` where the text
            column is called `tokens`.
        pipeline: `jain2019` reads texts as the released code of "Attention is not Explanation"
            does: lower case, `qqq` for what holds a digit, English contractions taken apart, and
            the bounds below as that paper sets them for the named sets that it uses. A unit may
            then differ from the text at its place. None leaves texts as they are.
        min_length: Records of fewer units are left out, with a note; before `limit`.
        max_length: Records of more units are left out.
        strict_bounds: Where one of these two is missing, leave out all of the shortest, or of the
            longest, texts of the split, as a side effect of that released code does. Pairs are
            not concerned.
        name: What reports call the data.
        data_dir: Where the files of a named set lie; without it they come from the hub.

    Raises:
        DataError: The source cannot be used; the message names the file, row and column.
        MissingExtra: A hub set without the package `datasets`.
        SettingsError: An option that is out of range or means nothing here.

    Example:
        >>> rows = [{"text": "good film", "label": "pos"}, {"text": "bad film", "label": "neg"}]
        >>> data = load_data(rows)
        >>> data.classes, [record.label for record in data]
        (('neg', 'pos'), [1, 0])
    """
    columns = columns_of(
        text_column=text_column,
        label_column=label_column,
        id_column=id_column,
        truth_column=truth_column,
        question_column=question_column,
        allowed_column=allowed_column,
        classes=classes,
        drop_unlabelled=drop_unlabelled,
        drop_empty=drop_empty,
        tokenizer=tokenizer,
    )
    columns = piped(columns, source, pipeline, min_length, max_length, strict_bounds)
    return load_with(source, columns, split, limit, seed, name, data_dir)


def columns_of(
    *,
    text_column: str = "text",
    label_column: str | None = "label",
    id_column: str | None = None,
    truth_column: str | None = None,
    question_column: str | None = None,
    allowed_column: str | None = None,
    classes: Sequence[str] | None = None,
    drop_unlabelled: bool = False,
    drop_empty: bool = False,
    tokenizer: str | None = None,
) -> Columns:
    """The options of `load_data` that say how a table is read, gathered and checked.

    Raises:
        SettingsError: Unknown tokenizer, or fewer than two classes.
    """
    if isinstance(classes, str):
        raise SettingsError(f"classes is a list of names, got the string {classes!r}")
    if tokenizer is not None:
        find_tokenizer(tokenizer)

    def named(column: object, option: str) -> str | None:
        return None if column is None else column_name(column, option)

    for name in classes or ():
        storable(str(name), "classes")
    return Columns(
        text=column_name(text_column, "text_column"),
        label=named(label_column, "label_column"),
        id=named(id_column, "id_column"),
        truth=named(truth_column, "truth_column"),
        question=named(question_column, "question_column"),
        allowed=named(allowed_column, "allowed_column"),
        tokenizer=tokenizer,
        scheme=Scheme(tuple(classes) if classes is not None else None),
        drop_unlabelled=drop_unlabelled,
        drop_empty=drop_empty,
    )


def load_with(
    source: Source,
    columns: Columns,
    split: str | None,
    limit: int | None,
    seed: int,
    name: str | None = None,
    data_dir: str | Path | None = None,
) -> Dataset:
    """`load_data` with its options gathered in `columns`."""
    check_limit(limit)
    if means_named(source, data_dir):
        data = load_named_with(source, columns, data_dir, split, limit, seed)
        return replace(data, name=name or data.name)
    if data_dir is not None:
        raise SettingsError(
            f"data_dir= (--data-dir) goes with a named set: one of {listed(list(NAMED_SETS))}"
        )
    table, found_name, found_split, note = read_source(source, split)
    data = build_dataset(table, columns, name or found_name, found_split, limit, seed)
    return replace(data, notes=(note, *data.notes)) if note else data


def read_source(source: Source, split: str | None) -> tuple[Table, str, str, str]:
    """A source that is no named set as a table, with its name, its split and a note (or "").

    Raises:
        DataError: It cannot be read, or has no such split.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if path_exists(source):
            if path.is_dir():
                table, chosen, note = read_folder(path, split)
                notes = [*([folder_note(str(source))] if str(source) in NAMED_SETS else ()), note]
                return table, path.resolve().name, chosen, "; ".join(filter(None, notes))
            return split_of_table(read_file(path), data_stem(path), split)
        if isinstance(source, str) and is_hub_name(source) and data_suffix(path) is None:
            table, chosen, note = read_hub(source, split)
            return table, source, chosen, note
        raise DataError(_no_source(str(source), path))
    table, name = _in_memory(source)
    return split_of_table(table, name, split)


def folder_note(name: str) -> str:
    """The note on a folder that is called as a known set is."""
    return f"the folder {name!r} here was read, not the set that is known by this name"


def _in_memory(source: Any) -> tuple[Table, str]:
    library = type(source).__module__.partition(".")[0]
    if isinstance(source, pl.DataFrame):
        return from_polars(source, "the data frame"), "data frame"
    if library == "pandas":
        return from_pandas(source, "the data frame"), "data frame"
    if library == "datasets":
        return from_hub(source, "the data set"), "data set"
    if isinstance(source, list | tuple):
        return from_rows(source, "the list"), "records"
    raise DataError(
        f"cannot read data from {type(source).__name__}: give a path, a named set, a hub name, a "
        "polars or pandas data frame, or a list of dictionaries"
    )


def split_of_table(table: Table, name: str, split: str | None) -> tuple[Table, str, str, str]:
    """The rows of a split by the column `split`, with name, split and a note; all for None.

    Raises:
        DataError: No such split, or no such column.
    """
    if "split" not in table.columns:
        if split not in (None, "all"):
            raise DataError(
                f"{table.name} has no column 'split', so there is no split {split!r}: leave out "
                "split= (--split), or give a folder with one file a split"
            )
        return table, name, "all", ""
    names = [split_name(str(value)) for value in table.column("split", "split")]
    if split in (None, "all"):
        return table, name, "all", f"all splits together: {listed(sorted(set(names)))}"
    rows = [row for row, value in enumerate(names) if value == split_name(str(split))]
    if not rows:
        raise unknown_split(table.name, str(split), set(names))
    return table.take(rows), name, split_name(str(split)), ""


def _no_source(source: str, path: Path) -> str:
    """The message for a source that is nowhere, with the nearest name."""
    try:
        beside = [entry.name for entry in path.parent.iterdir()] if source else []
    except (OSError, ValueError):
        beside = []
    near = difflib.get_close_matches(path.name, beside, n=1)
    near += difflib.get_close_matches(source, NAMED_SETS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"there is no file or folder {source!r}.{hint} Named sets are: {listed(list(NAMED_SETS))}; "
        "a set on the hub is written owner/name"
    )
