"""ERASER movie reviews as published: annotations as JSON lines, documents as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnaudit.data.sources.files import read_file, read_text
from attnaudit.data.sources.folders import SplitReader, folder_splits, standard_splits
from attnaudit.data.sources.frames import Table, from_rows, required, shown
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
        other: list[str] = []
        for row in range(table.size):
            id, label, evidences = (columns[name][row] for name in names)
            place = f"{table.place(row)}, column 'evidences'"
            parts = _parts(evidences, str(id), place)
            file = documents / str(id)
            if file.parent != documents or not file.is_file():
                raise DataError(
                    f"{table.place(row)}: there is no document {shown(id)} in {documents}"
                )
            tokens = read_text(file).split()
            other += [place for part in parts if not _says(part, tokens)]
            spans = [[part["start_token"], part["end_token"]] for part in parts]
            rows.append({"id": id, "label": label, "tokens": " ".join(tokens), "rationales": spans})
        found = from_rows(rows, table.name, table.numbers, table.row_word)
        if not other:
            return found
        note = (
            f"{len(other)} pieces of evidence have another text than the tokens at their place, "
            f"first in {other[0]}: the tokens count"
        )
        return replace(found, notes=(*found.notes, note))

    return read


def _parts(evidences: Any, document: str, place: str) -> list[Mapping[str, Any]]:
    """The pieces of evidence of all groups, which are on this document."""
    try:
        parts: list[Mapping[str, Any]] = [part for group in evidences for part in group]
        for part in parts:
            _ = part["start_token"], part["end_token"]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{place}: expected groups of evidence with start_token and end_token"
        ) from error
    for part in parts:
        if part.get("docid", document) != document:
            raise DataError(
                f"{place}: evidence on the document {shown(part['docid'])} stands with "
                f"{shown(document)}, whose tokens it does not count. Put it right, or leave it out"
            )
    return parts


def _says(part: Mapping[str, Any], tokens: Sequence[str]) -> bool:
    """Whether the text of a piece of evidence, where it has one, is that of its tokens."""
    text, start, end = part.get("text"), part["start_token"], part["end_token"]
    if not (isinstance(text, str) and isinstance(start, int) and isinstance(end, int)):
        return True
    return text.split() == list(tokens[max(start, 0) : max(end, 0)])
