"""Where a study's data sets are, and whether they can be had."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from attnaudit.data.drawing import draw
from attnaudit.data.named.named import find_named, named_splits
from attnaudit.data.records import Dataset
from attnaudit.data.sources.files import SUFFIXES
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import AttnauditError, DataError
from attnaudit.studies.schema import Missing

FOLDERS = {
    "ag_news_binary": "ag_news",
    **dict.fromkeys([f"babi_{task}{size}" for task in (1, 2, 3) for size in ("", "_10k")], "babi"),
    **dict.fromkeys(("diabetes", "anemia"), "mimic"),
}
"""Sub-folders of the folder of data sets that may be called otherwise than the set."""
GENERATED = "generated"
GIVE = "Give the folder that holds your copies of data sets with --data-dir"


def folder_of(name: str, data_dir: Path | None) -> Path | None:
    """The folder of a named set below `data_dir`, or None where it is had otherwise."""
    if data_dir is None or find_named(name).make is not None:
        return None
    own = data_dir / name
    return own if own.exists() or name not in FOLDERS else data_dir / FOLDERS[name]


def source_of(name: str, data_dir: Path | None) -> str:
    """What a cell's specification says of where its data comes from.

    Files are told by their content, so that other files are another cell.

    Raises:
        AttnauditError: No such name, or the set cannot be had.
    """
    if find_named(name).make is not None:
        return GENERATED
    folder = folder_of(name, data_dir)
    named_splits(name, folder)
    return f"hub {find_named(name).hub}" if folder is None else digest_of_file(folder)


def splits_of(
    name: str,
    data_dir: Path | None,
    train_limit: int | None = None,
    test_limit: int | None = None,
    **reading: Any,
) -> dict[str, Dataset]:
    """Train, dev and test of a named set, at most so many texts of each.

    Dev is limited as train is, in proportion, but not below 100. The last set is kept, because
    cells of one set follow each other.

    Args:
        name: A named set.
        data_dir: The folder of data sets, or None.
        train_limit: At most so many training texts, drawn with seed 0.
        test_limit: At most so many test texts.
        reading: Further options of `resolve`: `pipeline`, `min_length`, ...

    Raises:
        AttnauditError: The set cannot be had or used.
    """
    splits = _loaded(name, folder_of(name, data_dir), tuple(sorted(reading.items())))
    share = 1.0 if train_limit is None else min(1.0, train_limit / len(splits["train"]))
    dev = None if share == 1 else max(100, round(share * len(splits["dev"])))
    limits = {"train": train_limit, "dev": dev, "test": test_limit}
    return {split: draw(data, limits[split], 0) for split, data in splits.items()}


def known_sets(names: Sequence[str], data_dir: Path | None) -> tuple[dict[str, str], list[Missing]]:
    """The sets that can be had, with where each comes from, and those that cannot, with why.

    Raises:
        SettingsError: A name that no set has.
    """
    found: dict[str, str] = {}
    missing: list[Missing] = []
    offline = False
    for name in dict.fromkeys(names):
        hub = find_named(name).hub
        try:
            if offline and hub is not None and folder_of(name, data_dir) is None:
                raise DataError(f"the hub cannot be reached, where it is called {hub!r}. {GIVE}")
            found[name] = source_of(name, data_dir)
        except (AttnauditError, OSError) as error:
            # asking again for every set takes half a minute each
            offline = offline or _unreachable(error)
            reason = str(error).replace("data_dir= (--data-dir)", "--data-dir")
            missing.append(Missing(what=name, reason=reason))
    return found, missing


def _unreachable(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionError):
            return True
        error = error.__cause__
    return False


@lru_cache(maxsize=1)
def _loaded(
    name: str, folder: Path | None, reading: tuple[tuple[str, Any], ...]
) -> dict[str, Dataset]:
    where: dict[str, Any] = {} if folder is None else {"data_dir": folder}
    return resolve(name, **where, **dict(reading)).splits()


def digest_of_file(folder: Path) -> str:
    """A digest of the data files of a folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.name.lower().removesuffix(".gz")
        if path.is_file() and name.endswith(tuple(SUFFIXES)):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"files {digest.hexdigest()[:16]}"
