"""Sources opened: files, folders, frames, lists and sets of the hub become tables, once each."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import polars as pl

from attnaudit.data.sources.files import SUFFIXES, data_stem, data_suffix, path_exists, read_file
from attnaudit.data.sources.folders import (
    SplitReader,
    choose_split,
    file_splits,
    split_name,
    unknown_split,
)
from attnaudit.data.sources.frames import (
    Arrays,
    Table,
    from_pandas,
    from_polars,
    from_rows,
    listed,
)
from attnaudit.data.sources.hub import from_hub, hub_splits, is_hub_name
from attnaudit.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Place: TypeAlias = "str | Path | pl.DataFrame | pd.DataFrame | Sequence[Any] | object"
"""Where data are: a file, a folder, a name; or the data themselves, in a frame or a list."""


@dataclass(frozen=True)
class Opened:
    """A source whose splits are known, each read when it is asked for, and once.

    Attributes:
        name: What the data are called.
        what: What messages call the source.
        readers: What reads each split; none where a table holds all.
        table: The table of all rows, whose column `split` may say to which split each belongs.
        note: What was decided on the way, or nothing.
    """

    name: str
    what: str
    readers: Mapping[str, SplitReader] = field(default_factory=dict)
    table: Table | None = None
    note: str = ""

    @functools.cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are; none where all is one."""
        if self.table is None:
            return tuple(split for split in self.readers if split != "all")
        return tuple(sorted(set(self._rows)))

    @functools.cached_property
    def _rows(self) -> list[str]:
        """The split of each row of the table; nothing where it has no such column."""
        if self.table is None or "split" not in self.table.columns:
            return []
        return [split_name(str(value)) for value in self.table.column("split", "split")]

    def read(self, split: str | None, limit: int | None = None, seed: int = 0) -> Read:
        """One split; without its name the test split of several, or all rows of a table.

        Raises:
            DataError: It cannot be read, or there is no such split.
        """
        if self.table is None:
            chosen, note = choose_split(self.what, split, list(self.readers))
            return Read(
                self._table(chosen, limit, seed), chosen, tuple(filter(None, (self.note, note)))
            )
        notes = tuple(filter(None, (self.note,)))
        if split in (None, "all"):
            together = f"all splits together: {listed(self.splits)}"
            return Read(self.table, "all", (*notes, together) if self.splits else notes)
        if not self.splits:
            raise DataError(
                f"{self.table.name} has no column 'split', so there is no split {split!r}: leave "
                "out split= (--split), or give a folder with one file a split"
            )
        chosen = split_name(str(split))
        rows = [row for row, value in enumerate(self._rows) if value == chosen]
        if not rows:
            raise unknown_split(self.table.name, str(split), self.splits)
        return Read(self.table.take(rows), chosen, notes)

    @functools.cached_property
    def _table(self) -> Callable[[str, int | None, int], Table]:
        return functools.cache(lambda split, limit, seed: self.readers[split](limit, seed))


@dataclass(frozen=True)
class Read:
    """A table, the split that it is, and notes on the choice."""

    table: Table
    split: str
    notes: tuple[str, ...]


def open_place(place: Place, names: Collection[str], known: Sequence[str] = SUFFIXES) -> Opened:
    """A source that is no set known by a name.

    Args:
        place: A file, a folder with one file a split, a frame, a `datasets.Dataset`, a list of
            dictionaries, an object with `X` and `obs` such as AnnData, or a name on the hub.
        names: The sets that are known by a name, for messages.
        known: The suffixes of files that can be read.

    Raises:
        DataError: It cannot be read.
    """
    if isinstance(place, str | Path):
        path = Path(place)
        if path_exists(place) and path.is_dir():
            known_name = str(place) in names
            note = (
                f"the folder {str(place)!r} here was read, not the set that is known by this name"
            )
            readers = file_splits(path, known)
            return Opened(
                path.resolve().name,
                f"the folder {path}",
                readers,
                note=note if known_name else "",
            )
        if path_exists(place):
            return Opened(data_stem(path), str(path), table=read_file(path, known))
        if isinstance(place, str) and is_hub_name(place) and data_suffix(path, known) is None:
            return Opened(place, place, hub_splits(place))
        raise DataError(_nowhere(str(place), path, names))
    table, name = _in_memory(place)
    return Opened(name, table.name, table=table)


def _in_memory(place: object) -> tuple[Table, str]:
    library = type(place).__module__.partition(".")[0]
    if isinstance(place, Table):
        return place, place.name
    if isinstance(place, pl.DataFrame):
        return from_polars(place, "the data frame"), "data frame"
    if library == "pandas":
        return from_pandas(cast("pd.DataFrame", place), "the data frame"), "data frame"
    if library == "datasets":
        return from_hub(place, "the data set"), "data set"
    if isinstance(place, list | tuple):
        return from_rows(place, "the list"), "records"
    if hasattr(place, "X") and hasattr(place, "obs"):
        return _annotated(place), "AnnData"
    raise DataError(
        f"cannot read data from {type(place).__name__}: give a path, a named set, a hub name, a "
        "polars or pandas data frame, or a list of dictionaries"
    )


def _annotated(place: Any) -> Table:
    """An object such as AnnData: the columns of `obs` beside the values `X`, sparse or not."""
    table = from_pandas(place.obs, "obs")
    values = np.asarray(place.X.toarray() if hasattr(place.X, "toarray") else place.X)
    if values.ndim != 2 or len(values) != table.size:
        raise DataError(f"X has the shape {values.shape}, and obs has {table.size} rows")
    width = values.shape[1]
    known = getattr(place, "var_names", None)
    features = tuple(str(name) for name in (range(width) if known is None else known))
    if len(features) != width:
        raise DataError(f"X has {width} columns, and var_names {len(features)}")
    names = [str(key) for key in place.obs.index]
    return replace(table, arrays=Arrays(values, "X", features, names=names))


def _nowhere(source: str, path: Path, names: Collection[str]) -> str:
    """The message for a source that is nowhere, with the nearest name."""
    try:
        beside = [entry.name for entry in path.parent.iterdir()] if source else []
    except (OSError, ValueError):
        beside = []
    near = difflib.get_close_matches(path.name, beside, n=1)
    near += difflib.get_close_matches(source, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"there is no file or folder {source!r}.{hint} Named sets are: {listed(list(names))}; "
        "a set on the hub is written owner/name"
    )
