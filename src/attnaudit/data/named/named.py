"""Named sets: found in a folder or on the hub, and read as their declaration says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnaudit.data.labels import Scheme
from attnaudit.data.named.sets import NAMED_SETS, NamedSet
from attnaudit.data.reading import Reading
from attnaudit.data.records import Dataset
from attnaudit.data.sources.folders import SPLIT_NAMES, data_files
from attnaudit.data.sources.frames import Table, listed
from attnaudit.data.sources.hub import hub_splits
from attnaudit.data.sources.opening import Opened
from attnaudit.data.texts.columns import Columns
from attnaudit.errors import DataError, SettingsError

_FREE = ("split", "limit", "seed", "name", "data_dir", "classes", "drop_unlabelled", "drop_empty")
_CUTTING = ("tokenizer", "pipeline")
_BOUNDS = ("min_length", "max_length", "strict_bounds")


def named_set(place: object, reading: Reading) -> NamedSet | None:
    """The set that a source names; None for a folder here of the same name that holds data.

    Raises:
        SettingsError: It names one, and an option is given that the set decides.
    """
    if not isinstance(place, str) or place not in NAMED_SETS:
        return None
    folder = Path(place)
    if reading.data_dir is None and (data_files(folder) or data_files(folder / "data")):
        return None
    entry = NAMED_SETS[place]
    free = {*_FREE, *_BOUNDS, *(() if entry.make else _CUTTING)}
    for name in reading.given:
        if name not in free:
            raise SettingsError(
                f"the named set {entry.name!r} decides on its {name} itself: leave "
                "out that option, or give the set's file or folder as the source"
            )
    if entry.make is not None and reading.data_dir is not None:
        raise SettingsError(f"the set {entry.name!r} is generated: leave out data_dir=")
    return entry


def find_named(name: str) -> NamedSet:
    """The named set of that name.

    Raises:
        SettingsError: There is none.
    """
    if name not in NAMED_SETS:
        raise SettingsError(f"unknown named set {name!r}: choose one of {listed(list(NAMED_SETS))}")
    return NAMED_SETS[name]


def named_splits(name: str, data_dir: str | Path | None = None) -> tuple[str, ...]:
    """The splits that a named set has, there where it would be loaded from.

    Raises:
        DataError: Its files or the hub cannot be read.
    """
    entry = find_named(name)
    return tuple(SPLIT_NAMES) if entry.make else tuple(open_named(entry, data_dir).readers)


def open_named(entry: NamedSet, data_dir: str | Path | None) -> Opened:
    """A set that is not generated, in a folder or on the hub.

    Raises:
        DataError: Its files or the hub cannot be read.
        SettingsError: It is not on the hub.
    """
    if data_dir is not None:
        folder = Path(data_dir)
        if not folder.is_dir():
            needed = entry.obtain or "a file a split, such as train.jsonl.gz and test.jsonl.gz"
            raise DataError(
                f"{folder} is no folder: the set {entry.name!r} needs one with {needed}"
            )
        return Opened(entry.name, f"the folder {folder}", entry.read(folder))
    if entry.hub is None:
        raise SettingsError(
            f"the set {entry.name!r} is not on the hub: get {entry.obtain}, and give the folder "
            "that holds it with data_dir= (--data-dir)"
        )
    try:
        return Opened(entry.name, entry.hub, hub_splits(entry.hub))
    except DataError as error:
        raise DataError(
            f"{error}. For {entry.name!r}, give the folder that holds its splits "
            "with data_dir= (--data-dir)"
        ) from error


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


def with_classes(data: Dataset, classes: tuple[str, ...] | None) -> Dataset:
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
    found = [None if record.label is None else labels[record.label] for record in data]
    return data.relabelled(found, classes)
