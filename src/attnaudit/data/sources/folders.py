"""Folders that hold one file a split, under the names in use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attnaudit.data.sources.files import SUFFIXES, data_stem, data_suffix, read_file
from attnaudit.data.sources.frames import Table, joined, listed
from attnaudit.errors import DataError

# The names of a split that people use, under the name used here.
SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "dev": ("dev", "val", "valid", "validate", "validation"),
    "test": ("test", "testing"),
}
# What reads one split, given how many rows are asked for (None for all) and the seed of the draw:
# only the sources that are too large to be read whole draw themselves, the others read all.
SplitReader = Callable[[int | None, int], Table]
FolderReader = Callable[[Path], Mapping[str, SplitReader]]
# Columns that say to which split a row belongs.
_SPLIT_COLUMNS = ("split", "exp_split")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")


def split_name(name: str) -> str:
    """The name used here for a split: `train`, `dev`, `test`, or the name itself.

    Example:
        >>> split_name("validation"), split_name("extra")
        ('dev', 'extra')
    """
    for known, names in SPLIT_NAMES.items():
        if name.strip().lower() in names:
            return known
    return name


def unknown_split(name: str, split: str, splits: Iterable[str]) -> DataError:
    """The error for a split that is not there, with those that are."""
    return DataError(
        f"{name} has no split {split!r}. Its splits are: {listed(sorted(splits))}. "
        "Choose one with split= (--split)"
    )


def choose_split(name: str, split: str | None, splits: Sequence[str]) -> tuple[str, str]:
    """Which of the splits to take, and a note where the choice was made here.

    With `split=None` that is the test split, or the only one there is.

    Raises:
        DataError: The split is not there, or there is no test split to fall back on.
    """
    if split is not None:
        if split_name(split) in splits:
            return split_name(split), ""
        raise unknown_split(name, split, splits)
    if len(splits) == 1:
        return splits[0], ""
    if "test" in splits:
        return "test", f"no split was named, so the test split was taken of {listed(splits)}"
    raise DataError(f"{name} has the splits {listed(splits)}: say which one with split= (--split)")


def folder_splits(folder: Path, known: Sequence[str] = SUFFIXES) -> dict[str, list[Path]]:
    """The data files of a folder by split; several where a split comes in shards.

    A file belongs to a split that its name is (`test.csv`), starts with (`train_subset.jsonl`,
    `train-00000-of-00002.parquet`) or ends with (`snli_1.0_train.jsonl`), in that order. A folder
    without data files of its own may hold them in `data/`.

    Raises:
        DataError: No data files, two for one split, or a shard missing.
    """
    files = data_files(folder, known) or data_files(folder / "data", known)
    if not files:
        raise DataError(
            f"the folder {folder} holds no data files: expected one a split, such as "
            f"train.jsonl or test.csv ({', '.join(known)}; text formats also with .gz)"
        )
    splits = {}
    for split, names in SPLIT_NAMES.items():
        found = _files_of(files, names, split)
        if found:
            splits[split] = found
    if not splits and len(files) == 1:
        return {"all": files}
    if not splits:
        raise DataError(
            f"the folder {folder} holds {listed([file.name for file in files])}, and none is named "
            "after a split (train, dev, test): name one file"
        )
    return splits


def file_splits(folder: Path, known: Sequence[str] = SUFFIXES) -> dict[str, SplitReader]:
    """What reads each split of a folder with one file a split.

    Raises:
        DataError: As `folder_splits`.
    """

    def reader(split: str, paths: Sequence[Path]) -> SplitReader:
        return lambda limit, seed: read_files(paths, f"{folder} ({split})", known)

    return {split: reader(split, paths) for split, paths in folder_splits(folder, known).items()}


def read_files(paths: Sequence[Path], name: str, known: Sequence[str] = SUFFIXES) -> Table:
    """Files of the same columns as one table.

    Raises:
        DataError: One cannot be read, or lacks a column of the first.
    """
    tables = [read_file(path, known) for path in paths]
    return tables[0] if len(tables) == 1 else joined(tables, name)


def standard_splits(folder: Path) -> dict[str, SplitReader]:
    """What reads each split of a folder with one file a split, or with one file that names them.

    Raises:
        DataError: As `folder_splits`.
    """
    readers = file_splits(folder)
    if list(readers) != ["all"]:
        return readers
    table = readers["all"](None, 0)
    return {split: _whole(part) for split, part in (_by_column(table) or {"all": table}).items()}


def _by_column(table: Table) -> dict[str, Table]:
    """The rows of each split, where a column names the splits; else nothing."""
    column = next((name for name in _SPLIT_COLUMNS if name in table.columns), None)
    if column is None:
        return {}
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(table.column(column, "split")):
        rows.setdefault(split_name(str(value)), []).append(row)
    return {name: table.take(chosen) for name, chosen in rows.items()}


def _whole(table: Table) -> SplitReader:
    return lambda limit, seed: table


def data_files(folder: Path, known: Sequence[str] = SUFFIXES) -> list[Path]:
    """The files of a folder that can be read, by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and data_suffix(path, known))


def _files_of(files: Sequence[Path], names: Sequence[str], split: str) -> list[Path]:
    stems = {path: data_stem(path).lower() for path in files}
    exact = [path for path, stem in stems.items() if stem in names]
    shards = [path for path, stem in stems.items() if _SHARD.sub("", stem) in names]
    starts = tuple(name + sign for name in names for sign in "-_.")
    other = [path for path, stem in stems.items() if stem.startswith(starts)]
    if not exact and shards:
        return _checked_shards(shards, split)
    ends = tuple(sign + name for name in names for sign in "-_.")
    found = exact or other or [path for path, stem in stems.items() if stem.endswith(ends)]
    if len(found) > 1:
        raise DataError(
            f"{found[0].parent} holds several files for the split {split!r}: "
            f"{listed([path.name for path in found])}. Keep one, or name one file"
        )
    return found


def _checked_shards(shards: list[Path], split: str) -> list[Path]:
    expected = {_SHARD.search(data_stem(path).lower()) for path in shards}
    totals = {int(match[2]) for match in expected if match}
    if totals != {len(shards)}:
        raise DataError(
            f"{shards[0].parent} holds {len(shards)} of {max(totals)} shards of the split "
            f"{split!r}: fetch the others"
        )
    return shards
