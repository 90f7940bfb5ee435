"""Folders that hold one file a split, under the names in use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from attnaudit.data.files import SUFFIXES, data_stem, data_suffix, read_file
from attnaudit.data.frames import Table, joined, listed
from attnaudit.errors import DataError

# The names of a split that people use, under the name used here.
SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "dev": ("dev", "val", "valid", "validate", "validation"),
    "test": ("test", "testing"),
}
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


def folder_splits(folder: Path) -> dict[str, list[Path]]:
    """The data files of a folder by split; several where a split comes in shards.

    A file belongs to a split that its name is (`test.csv`) or starts with (`train_subset.jsonl`,
    `train-00000-of-00002.parquet`); a name that is the split goes first. A folder without data
    files of its own may hold them in `data/`.

    Raises:
        DataError: No data files, two for one split, or a shard missing.
    """
    files = _data_files(folder) or _data_files(folder / "data")
    if not files:
        raise DataError(
            f"the folder {folder} holds no data files: expected one a split, such as "
            f"train.jsonl or test.csv ({', '.join(SUFFIXES)}; text formats also with .gz)"
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


def read_folder(folder: Path, split: str | None) -> tuple[Table, str, str]:
    """One split of a folder: its table, its name, and a note on the choice or an empty string.

    Raises:
        DataError: No such split, or files that cannot be read.
    """
    splits = folder_splits(folder)
    chosen, note = choose_split(f"the folder {folder}", split, list(splits))
    tables = [read_file(path) for path in splits[chosen]]
    table = tables[0] if len(tables) == 1 else joined(tables, f"{folder} ({chosen})")
    return table, chosen, note


def _data_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and data_suffix(path))


def _files_of(files: Sequence[Path], names: Sequence[str], split: str) -> list[Path]:
    stems = {path: data_stem(path).lower() for path in files}
    exact = [path for path, stem in stems.items() if stem in names]
    shards = [path for path, stem in stems.items() if _SHARD.sub("", stem) in names]
    starts = tuple(name + sign for name in names for sign in "-_.")
    other = [path for path, stem in stems.items() if stem.startswith(starts)]
    if not exact and shards:
        return _checked_shards(shards, split)
    found = exact or other
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
