"""The cloze questions on CNN articles of Hermann et al. 2015, in their published format."""

from __future__ import annotations

import os
import random
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnaudit.data.sources.files import decode
from attnaudit.data.sources.folders import SPLIT_NAMES, SplitReader, split_name, standard_splits
from attnaudit.data.sources.frames import Table, from_rows
from attnaudit.data.sources.unpacking import most_bytes, read_whole, too_large
from attnaudit.errors import DataError

_SUFFIX = ".question"
_ENTITY = "@entity"


def cloze_splits(folder: Path) -> dict[str, SplitReader]:
    """What reads each split.

    The folder holds `cnn.tgz` as published, or what is in it: `questions` with the folders
    `training`, `validation` and `test`, each with one `.question` file an instance. Only as many
    files as are asked for are kept in memory.

    Raises:
        DataError: Neither is there.
    """
    for root in (folder, folder / "questions", folder / "cnn" / "questions"):
        found = {
            split: place
            for split, names in SPLIT_NAMES.items()
            for place in (root / name for name in names)
            if place.is_dir() and any(entry.name.endswith(_SUFFIX) for entry in os.scandir(place))
        }
        if found:
            return {split: _folder_reader(place) for split, place in found.items()}
    archives = [path for path in sorted(folder.iterdir()) if _is_archive(path)]
    if archives:
        return {split: _archive_reader(archives[0], split) for split in SPLIT_NAMES}
    return dict(standard_splits(folder))


def read_question(text: str, name: str) -> dict[str, Any]:
    r"""One `.question` file: address, passage, question, answer and entities, blank lines between.

    The answers that are allowed are the entities that stand in the passage.

    Raises:
        DataError: It has another form, or the answer is no entity of the passage.

    Example:
        >>> text = "url\n\n@entity1 met @entity0\n\nwhom did @placeholder meet\n\n@entity0\n"
        >>> read_question(text, "demo")["allowed"]
        ['@entity0', '@entity1']
    """
    parts = [part.strip() for part in text.replace("\r\n", "\n").strip().split("\n\n")]
    if len(parts) < 4 or not all(parts[1:4]):
        raise DataError(
            f"{name}: expected an address, a passage, a question, an answer and entities, with "
            f"blank lines between; found {len(parts)} parts"
        )
    _, passage, question, answer = parts[:4]
    allowed = sorted({word for word in passage.split() if word.startswith(_ENTITY)})
    if answer not in allowed:
        raise DataError(f"{name}: the answer {answer!r:.40} is no entity of the passage")
    return {"text": passage, "question": question, "answer": answer, "allowed": allowed}


def _folder_reader(folder: Path) -> SplitReader:
    def read(limit: int | None, seed: int) -> Table:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(_SUFFIX))
        total = len(names)
        if limit is not None and limit < total:
            names = sorted(random.Random(seed).sample(names, limit))
        files = ((str(folder / name), read_whole(folder / name)) for name in names)
        return _table(files, str(folder), total, seed)

    return read


def _archive_reader(archive: Path, split: str) -> SplitReader:
    def read(limit: int | None, seed: int) -> Table:
        files, total = _drawn(_members(archive, split), limit, seed)
        return _table(files, f"{archive} ({split})", total, seed)

    return read


def _members(archive: Path, split: str) -> Iterator[tuple[str, bytes]]:
    """The question files of a split, one after the other, as they stand in the archive."""
    total = 0
    try:
        packed = archive.stat().st_size
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                place = Path(member.name)
                if place.suffix == _SUFFIX and split_name(place.parent.name) == split:
                    file = tar.extractfile(member)
                    if file is not None:
                        total += member.size
                        if total > most_bytes(packed):
                            raise too_large(archive, packed)
                        yield f"{archive}, {member.name}", file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive} is a damaged archive ({error}): fetch it again") from error


def _drawn(
    files: Iterable[tuple[str, bytes]], limit: int | None, seed: int
) -> tuple[list[tuple[str, bytes]], int]:
    """At most `limit` of the files, each as likely as the others, in one pass; and their number."""
    rng = random.Random(seed)
    kept: list[tuple[str, bytes]] = []
    count = 0
    for count, file in enumerate(files, start=1):
        if limit is None or len(kept) < limit:
            kept.append(file)
        elif (place := rng.randrange(count)) < limit:
            kept[place] = file
    return sorted(kept), count


def _table(files: Iterable[tuple[str, bytes]], name: str, total: int, seed: int) -> Table:
    rows = [read_question(decode(raw, place), place) for place, raw in files]
    table = from_rows(rows, name)
    if len(rows) == total:
        return table
    return replace(table, notes=(f"a random {len(rows)} of {total} files (seed {seed})",))


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith((".tgz", ".tar.gz", ".tar"))
