"""ERASER movie reviews as published: annotations as JSON lines, documents as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attnaudit.data.files import read_file, read_text
from attnaudit.data.folders import SplitReader, folder_splits, standard_splits
from attnaudit.data.frames import Table, from_rows, required
from attnaudit.errors import DataError


def movie_splits(folder: Path) -> dict[str, SplitReader]:
    """What reads each split.

    The folder is `movies` as published, with `train.jsonl`, … and the texts in `docs`; or it holds
    one file a split with the columns `tokens` and `rationales`.

    Raises:
        DataError: Neither is there.
    """
    for root in (folder, folder / "movies"):
        if (root / "docs").is_dir():
            return {
                split: _reader(paths[0], root / "docs")
                for split, paths in folder_splits(root).items()
            }
    return standard_splits(folder)


def _reader(path: Path, documents: Path) -> SplitReader:
    def read(limit: int | None, seed: int) -> Table:
        table = read_file(path)
        names = ("annotation_id", "classification", "evidences")
        columns = required(table, names, "ERASER")
        rows = []
        for row in range(table.size):
            id, label, evidences = (columns[name][row] for name in names)
            spans = _spans(evidences, table.place(row))
            file = documents / str(id)
            if file.parent != documents or not file.is_file():
                raise DataError(
                    f"{table.place(row)}: there is no document {str(id)!r} in {documents}"
                )
            tokens = " ".join(read_text(file).split())
            rows.append({"id": id, "label": label, "tokens": tokens, "rationales": spans})
        return from_rows(rows, table.name, table.numbers, table.row_word)

    return read


def _spans(evidences: Any, place: str) -> list[list[int]]:
    """Evidence of all groups as spans of tokens."""
    try:
        return [[part["start_token"], part["end_token"]] for group in evidences for part in group]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{place}, column 'evidences': expected groups of evidence with start_token and "
            "end_token"
        ) from error
