"""Named sets: found in a folder or on the hub, and read as their declaration says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from attnaudit.data.build import Columns, build_dataset, check_limit, draw
from attnaudit.data.labels import Scheme
from attnaudit.data.named.sets import NAMED_SETS, NamedSet, strip_line_breaks
from attnaudit.data.records import Dataset
from attnaudit.data.sources.folders import SPLIT_NAMES, choose_split, data_files
from attnaudit.data.sources.frames import Table, listed
from attnaudit.data.sources.hub import hub_splits, read_hub
from attnaudit.data.texts.lengths import within
from attnaudit.errors import DataError, SettingsError

__all__ = [
    "NAMED_SETS",
    "NamedSet",
    "columns_for",
    "find_named",
    "load_named",
    "load_named_with",
    "make_splits",
    "means_named",
    "named_splits",
    "strip_line_breaks",
]


def load_named(
    name: str,
    data_dir: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """One split of a named set.

    Args:
        name: A key of `NAMED_SETS`.
        data_dir: A folder with one file a split; without it the set comes from the hub.
        split: `train`, `dev` or `test`; by default the test split.
        limit: At most so many records, drawn at random.
        seed: For `limit`. It does not change the set itself.

    Raises:
        DataError: The set or the split is not to be had.
        MissingExtra: The hub is needed and the package `datasets` is absent.
        SettingsError: No such name.
    """
    check_limit(limit)
    return load_named_with(name, Columns(), data_dir, split, limit, seed)


def load_named_with(
    name: str,
    columns: Columns,
    data_dir: str | Path | None,
    split: str | None,
    limit: int | None,
    seed: int,
) -> Dataset:
    """`load_named` with the options of `load_data`; those that the set decides are refused."""
    entry = find_named(name)
    _refuse_overrides(entry, columns)
    if entry.make is not None:
        splits = make_splits(entry, columns, data_dir)
        chosen, note = choose_split(f"the set {name!r}", split, list(splits))
        data = draw(within(splits[chosen], columns.bounds), limit, seed)
    else:
        # Bounds leave out some of what is read, so that no less than all will do.
        few = None if columns.bounds.active else limit
        table, chosen, note = _read(entry, data_dir, split, few, seed)
        found = columns_for(entry, table, columns)
        data = build_dataset(table, found, name, chosen, limit, seed)
        data = _with_classes(data, columns.scheme.classes)
    return replace(data, notes=(note, *data.notes)) if note else data


def means_named(source: object, data_dir: str | Path | None = None) -> TypeGuard[str]:
    """Whether a source is a named set, and not a folder here of the same name that holds data."""
    if not isinstance(source, str) or source not in NAMED_SETS:
        return False
    folder = Path(source)
    return data_dir is not None or not (data_files(folder) or data_files(folder / "data"))


def make_splits(
    entry: NamedSet, columns: Columns, data_dir: str | Path | None
) -> dict[str, Dataset]:
    """All splits of a set that is generated.

    Raises:
        SettingsError: It is given options that mean nothing for it.
    """
    _refuse_overrides(entry, columns)
    if entry.make is None:
        raise SettingsError(f"the set {entry.name!r} is not generated")
    if data_dir is not None:
        raise SettingsError(f"the set {entry.name!r} is generated: leave out data_dir=")
    made = entry.make()
    return {name: _with_classes(data, columns.scheme.classes) for name, data in made.items()}


def named_splits(name: str, data_dir: str | Path | None = None) -> tuple[str, ...]:
    """The splits that a named set has, there where it would be loaded from.

    Raises:
        DataError: Its files or the hub cannot be read.
    """
    entry = find_named(name)
    if entry.make is not None:
        return tuple(SPLIT_NAMES)
    if data_dir is not None:
        return tuple(entry.read(_folder(entry, data_dir)))
    return tuple(hub_splits(_hub(entry)))


def find_named(name: str) -> NamedSet:
    """The named set of that name.

    Raises:
        SettingsError: There is none.
    """
    if name not in NAMED_SETS:
        raise SettingsError(f"unknown named set {name!r}: choose one of {listed(list(NAMED_SETS))}")
    return NAMED_SETS[name]


def _read(
    entry: NamedSet, data_dir: str | Path | None, split: str | None, limit: int | None, seed: int
) -> tuple[Table, str, str]:
    if data_dir is not None:
        folder = _folder(entry, data_dir)
        readers = entry.read(folder)
        chosen, note = choose_split(f"the folder {folder}", split, list(readers))
        return readers[chosen](limit, seed), chosen, note
    try:
        return read_hub(_hub(entry), split)
    except DataError as error:
        raise DataError(
            f"{error}. For {entry.name!r}, give the folder that holds its splits "
            "with data_dir= (--data-dir)"
        ) from error


def _hub(entry: NamedSet) -> str:
    """Its name on the hub.

    Raises:
        SettingsError: It is not there.
    """
    if entry.hub is None:
        raise SettingsError(
            f"the set {entry.name!r} is not on the hub: get {entry.obtain}, and give the folder "
            "that holds it with data_dir= (--data-dir)"
        )
    return entry.hub


def _folder(entry: NamedSet, data_dir: str | Path) -> Path:
    folder = Path(data_dir)
    if not folder.is_dir():
        needed = entry.obtain or "a file a split, such as train.jsonl.gz and test.jsonl.gz"
        raise DataError(f"{folder} is no folder: the set {entry.name!r} needs one with {needed}")
    return folder


def columns_for(entry: NamedSet, table: Table, asked: Columns | None = None) -> Columns:
    """How a table of a named set is read, whether it is the layout of its files or of the hub.

    Of the columns that were asked for, the tokenizer, the cleaner and the bounds count, and the
    classes where the set leaves them to its data.
    """
    asked = asked or Columns()
    present = {column.lower(): column for column in reversed(table.columns)}

    def first(names: Sequence[str]) -> str | None:
        return next((present[name.lower()] for name in names if name.lower() in present), None)

    def needed(names: Sequence[str]) -> str | None:
        # Where none is there, the first one is missed by name.
        return first(names) or (names[0] if names else None)

    return Columns(
        text=needed(entry.text_columns) or "text",
        label=needed(entry.label_columns),
        id=first(entry.id_columns),
        truth=first(entry.truth_columns),
        question=needed(entry.question_columns),
        allowed=first(entry.allowed_columns),
        tokenizer=asked.tokenizer or entry.tokenizer,
        cleaner=asked.cleaner or entry.cleaner,
        bounds=asked.bounds,
        truth_in=entry.truth_in,
        scheme=Scheme(
            entry.classes or asked.scheme.classes,
            by_position=False,
            rename=entry.rename or None,
        ),
        clean=None if asked.cleaner == "keras" else entry.clean,
        drop_unlabelled=True,
        drop_empty=True,
    )


def _refuse_overrides(entry: NamedSet, columns: Columns) -> None:
    free = {"scheme", "bounds", "drop_unlabelled", "drop_empty"}
    free |= set() if entry.make else {"tokenizer", "cleaner"}
    default = Columns()
    for name, value in vars(columns).items():
        if name not in free and value != getattr(default, name):
            option = "pipeline" if name == "cleaner" else name
            raise SettingsError(
                f"the named set {entry.name!r} decides on its {option} itself: leave "
                "out that option, or give the set's file or folder as the source"
            )


def _with_classes(data: Dataset, classes: tuple[str, ...] | None) -> Dataset:
    """The same records with their labels as indices into classes in the order of a model, say.

    Raises:
        SettingsError: A class of the set is not among them.
    """
    if classes is None or classes == data.classes:
        return data
    absent = [name for name in data.classes if name not in classes]
    if absent:
        raise SettingsError(
            f"the named set {data.name!r} has the classes {listed(data.classes)}; the classes "
            f"asked for, {listed(classes)}, lack {listed(absent)}"
        )
    labels = [classes.index(name) for name in data.classes]
    records = [
        record if record.label is None else replace(record, label=labels[record.label])
        for record in data
    ]
    return replace(data, records=tuple(records), classes=classes)
