"""Sources of bags: .npz files, tables with one row an instance, AnnData, the classic sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attnaudit.data.bags.arrays import array_rows
from attnaudit.data.bags.build import Array, Rows, build_bags
from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.sets import BAG_SETS, load_bag_set
from attnaudit.data.sources.files import SUFFIXES, path_exists
from attnaudit.data.sources.frames import Table, column_name, from_pandas, listed, shown
from attnaudit.data.sources.resolve import Source, read_source
from attnaudit.errors import DataError, SettingsError

_USUAL = ("bag", "label", "truth", "key_type", "name", "split")
"""Columns that are no features, unless they are asked for."""
_INDEX = re.compile(r"|__index_level_\d+__|Unnamed: \d+")
"""What the index of a pandas frame is called once it has been written: to Parquet, to CSV (where it
has no name), and to CSV and back. It is no feature, unless it is asked for."""
CLAM = (".h5", ".hdf5", ".pt")
CLAM_RECIPE = (
    "this is not read. CLAM keeps the bag of one slide per file: gather them into one .npz with "
    "numpy.savez(path, instances=, coordinates=, bag=, label=), where instances and coordinates "
    "are the arrays `features` and `coords` of all files one below the other (numpy.concatenate), "
    "bag is the name of the slide once per instance, and label its label once per instance. Bags "
    f"are read from .npz, {', '.join(SUFFIXES)}"
)


@dataclass(frozen=True)
class BagColumns:
    """What the columns of a table with one row an instance mean.

    Attributes:
        bag: The bag of each instance.
        label: The label of its bag; None for data without labels.
        features: Numbers, in order; None for all columns that mean nothing else.
        truth: 1 for key instances, else 0.
        key_type: 0 for no key, else the type of the key.
        coordinates: Two columns, x and y.
        name: What reports call the instance.
    """

    bag: str = "bag"
    label: str | None = "label"
    features: tuple[str, ...] | None = None
    truth: str | None = None
    key_type: str | None = None
    coordinates: tuple[str, str] | None = None
    name: str | None = None


def load_bags(
    source: Source,
    *,
    bag_column: str = "bag",
    label_column: str | None = "label",
    feature_columns: Sequence[str] | None = None,
    truth_column: str | None = None,
    key_type_column: str | None = None,
    coordinate_columns: Sequence[str] | None = None,
    name_column: str | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    regression: bool = False,
    name: str | None = None,
    data_dir: str | Path | None = None,
) -> BagDataset:
    """Bags with labels, from wherever they are.

    Args:
        source: An .npz file (layout: see `attnaudit.data.bags.arrays`); a table with one row an
            instance (.csv, .tsv, .jsonl, .json, .parquet, a polars or pandas frame, a list of
            dictionaries); an object with `X` and `obs`, such as AnnData; or a key of `BAG_SETS`.
        bag_column: The bag of each instance. Rows of a bag need not stand together.
        label_column: The label of the bag, the same in all its rows: integers, booleans or
            strings. None for data without labels.
        feature_columns: Columns of numbers, in order, or one column of lists of numbers. By default
            all that mean nothing else; with AnnData these are the columns of `X`.
        truth_column: 1 for key instances, else 0. By default a column `truth`, where there is one.
        key_type_column: 0 for no key, else the type of the key. By default `key_type`.
        coordinate_columns: Two names, x to the right and y down. By default `x` and `y`, where
            both are there.
        name_column: What reports call an instance. By default `name`; with AnnData the index.
        split: Rows of this split by a column `split`; None for all rows.
        classes: The names of the classes in index order; by default those found, sorted.
        regression: Labels are quantities: floats, without classes.
        name: What reports call the data.
        data_dir: The folder of a classic set.

    Raises:
        DataError: The source cannot be used; the message names file, row and column.
        SettingsError: An option that is out of range or means nothing here.

    Example:
        >>> rows = [
        ...     {"bag": "a", "label": 1, "truth": 1, "f": 0.5},
        ...     {"bag": "b", "label": 0, "truth": 0, "f": 0.1},
        ...     {"bag": "a", "label": 1, "truth": 0, "f": 0.2},
        ... ]
        >>> data = load_bags(rows)
        >>> [(bag.id, bag.label, len(bag), bag.truth.tolist()) for bag in data]
        [('a', 1, 2, [True, False]), ('b', 0, 1, [False])]
    """
    if coordinate_columns is not None and len(coordinate_columns) != 2:
        raise SettingsError(f"coordinate_columns are two names, got {tuple(coordinate_columns)}")
    columns = BagColumns(
        column_name(bag_column, "bag_column"),
        _optional(label_column, "label_column"),
        None
        if feature_columns is None
        else tuple(column_name(name, "feature_columns") for name in feature_columns),
        _optional(truth_column, "truth_column"),
        _optional(key_type_column, "key_type_column"),
        None
        if coordinate_columns is None
        else (
            column_name(coordinate_columns[0], "coordinate_columns"),
            column_name(coordinate_columns[1], "coordinate_columns"),
        ),
        _optional(name_column, "name_column"),
    )
    if isinstance(source, str) and source in BAG_SETS:
        if data_dir is None:
            raise SettingsError(f"the set {source!r} needs the folder of its files: data_dir=")
        _no_options(f"the set {source!r}", columns, split, classes, regression)
        return replace(load_bag_set(source, data_dir), name=name or source)
    if data_dir is not None:
        raise SettingsError(f"data_dir= goes with a classic set: one of {listed(list(BAG_SETS))}")
    if isinstance(source, str | Path) and Path(source).suffix.lower() == ".npz":
        _only_file(source)
        _no_options("an .npz file", replace(columns, label="label"), split)
        rows, stored = array_rows(Path(source), label_column is not None)
        given = stored if classes is None and not regression else classes
        return build_bags(rows, name or Path(source).stem, "all", given, regression)
    # A frame may have columns of these names.
    if hasattr(source, "X") and hasattr(source, "obs") and not hasattr(source, "columns"):
        _no_options("an object with X and obs", BagColumns(), split)
        rows = _rows(from_pandas(source.obs, "obs"), columns, source)
        return build_bags(rows, name or "AnnData", "all", classes, regression)
    if isinstance(source, str | Path):
        _only_file(source)
    table, found, part, note = read_source(source, split)
    rows = _rows(table, columns)
    data = build_bags(rows, name or found, part, classes, regression)
    return replace(data, notes=(note, *data.notes)) if note else data


def _optional(name: object, option: str) -> str | None:
    return None if name is None else column_name(name, option)


def _no_options(
    what: str,
    columns: BagColumns,
    split: str | None,
    classes: Sequence[str] | None = None,
    regression: bool = False,
) -> None:
    """Refuses options that a source has no use for."""
    if split not in (None, "all"):
        raise SettingsError(f"{what} has no splits: leave out split=, and cut it with split_bags()")
    if columns != BagColumns() or classes is not None or regression:
        raise SettingsError(
            f"{what} says itself what is in it: leave out the names of columns"
            f"{', classes= and regression=' if classes is not None or regression else ''}"
        )


def _only_file(source: str | Path) -> None:
    if path_exists(source) and Path(source).suffix.lower() in CLAM:
        raise DataError(f"{source}: {CLAM_RECIPE}")
    if not path_exists(source) or Path(source).is_dir():
        raise DataError(
            f"there is no file {str(source)!r}. Bags are read from .npz, {', '.join(SUFFIXES)}; "
            f"classic sets are {listed(list(BAG_SETS))}"
        )


def _rows(table: Table, columns: BagColumns, annotated: Any = None) -> Rows:
    """A table as rows; features are those of `annotated.X` where that is given."""
    used = set(columns.features or ())

    def optional(asked: str | None, usual: str, purpose: str) -> str | None:
        if asked is None and (usual not in table.columns or usual in used):
            return None
        found = asked or usual
        if found not in table.columns:
            table.column(found, purpose)  # raises, and says which columns there are
        return found

    places = columns.coordinates
    if places is None and all(axis in table.columns and axis not in used for axis in "xy"):
        places = ("x", "y")
    known = {
        "bag": optional(columns.bag, "bag", "bag"),
        "label": None if columns.label is None else optional(columns.label, "label", "label"),
        "truth": optional(columns.truth, "truth", "truth"),
        "key_type": optional(columns.key_type, "key_type", "key_type"),
        "name": optional(columns.name, "name", "name"),
        "x": places and optional(places[0], "x", "coordinate"),
        "y": places and optional(places[1], "y", "coordinate"),
    }
    taken = {column for column in known.values() if column is not None}
    notes = table.notes
    if annotated is None:
        free = [name for name in table.columns if name not in taken and name not in _USUAL]
        index = [name for name in free if _INDEX.fullmatch(name)]
        names = columns.features or tuple(name for name in free if name not in index)
        if index and columns.features is None:
            notes = (*notes, f"the column {listed(index)} is the index of a frame, and no feature")
        values = _numbers(table, names)
    else:
        values, names = _matrix(annotated, table, columns.features)
    features = tuple(names) if values.shape[1:] == (len(names),) else ()
    if len(names) == 1 < values.shape[1]:
        names = tuple(f"{names[0]}[{place}]" for place in range(values.shape[1]))

    def column(what: str) -> list[Any] | None:
        found = known[what]
        return None if found is None else table.column(found, what)

    labels = column("name")
    if labels is None and annotated is not None:
        labels = [str(key) for key in annotated.obs.index]
    return Rows(
        name=table.name,
        place=table.place,
        bags=column("bag") or (),
        values=values,
        value_name=lambda position: names[position[0]],
        labels=column("label"),
        truth=column("truth"),
        key_types=column("key_type"),
        coordinates=None if places is None else _numbers(table, places).astype(np.float64),
        names=labels,
        columns=tuple((what, name) for what, name in known.items() if name is not None),
        notes=notes,
        features=features,
    )


def _numbers(table: Table, names: Sequence[str]) -> Array:
    """Columns of numbers as `(n, columns)` float64; missing values are NaN."""
    if not names:
        raise DataError(
            f"{table.name} has no column of features: its columns are {listed(table.columns)}"
        )
    if len(names) == 1 and isinstance(table.column(names[0], "feature")[0], list):
        return _lists(table, names[0])
    values = np.empty((table.size, len(names)))
    for place, name in enumerate(names):
        column = table.column(name, "feature")
        try:
            values[:, place] = [np.nan if value is None else value for value in column]
        except (TypeError, ValueError, OverflowError) as error:
            for row, value in enumerate(column):
                if not _is_number(value):
                    raise DataError(
                        f"{table.place(row)}, column {name!r}: {shown(value)} is no number. "
                        "Features are numbers; name their columns with feature_columns="
                    ) from error
            raise
    return values


def _lists(table: Table, name: str) -> Array:
    """A column of lists of numbers, all of one length, as `(n, length)` float64."""
    column = table.column(name, "feature")
    width = len(column[0])
    for row, value in enumerate(column):
        if not isinstance(value, list) or len(value) != width:
            raise DataError(
                f"{table.place(row)}, column {name!r}: expected a list of {width} numbers, as in "
                f"{table.place(0)}"
            )
    try:
        return np.array(column, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        row = next((row for row, value in enumerate(column) if not _all_numbers(value)), 0)
        raise DataError(
            f"{table.place(row)}, column {name!r}: {shown(column[row])} holds something that is no "
            "number"
        ) from error


def _all_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float | None) and _is_number(value) for value in values)


def _is_number(value: Any) -> bool:
    try:
        float(value) if value is not None else 0.0
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _matrix(
    annotated: Any, table: Table, features: tuple[str, ...] | None
) -> tuple[Array, tuple[str, ...]]:
    """The values `X` of an object such as AnnData, sparse or not, and the names of its columns."""
    matrix = annotated.X
    values = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)
    if values.ndim != 2 or len(values) != table.size:
        raise DataError(f"X has the shape {values.shape}, and obs has {table.size} rows")
    width = values.shape[1]
    known = getattr(annotated, "var_names", None)
    names = tuple(str(name) for name in (range(width) if known is None else known))
    if len(names) != width:
        raise DataError(f"X has {width} columns, and var_names {len(names)}")
    if features is None:
        return values, names
    absent = [name for name in features if name not in names]
    if absent:
        raise DataError(f"X has no column {absent[0]!r}; its columns are: {listed(names)}")
    return values[:, [names.index(name) for name in features]], features
