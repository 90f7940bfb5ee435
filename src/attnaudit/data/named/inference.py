"""Inference data that come in a format of their own: e-SNLI, counterfactually augmented SNLI."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnaudit.data.sources.files import read_file
from attnaudit.data.sources.folders import (
    SplitReader,
    data_files,
    folder_splits,
    read_files,
)
from attnaudit.data.sources.frames import Table, from_rows, required
from attnaudit.errors import DataError

RELATIONS = ("contradiction", "entailment", "neutral")
"""The classes of SNLI in the order of Jain & Wallace 2019: alphabetical."""

_KINDS = ("original", "revised_premise", "revised_hypothesis")
_ANNOTATORS = 3


def esnli_splits(folder: Path) -> dict[str, SplitReader]:
    """What reads each split of e-SNLI as published: `esnli_train_1.csv`, …, `esnli_test.csv`.

    Raises:
        DataError: No such files.
    """
    files: dict[str, list[Path]] = {}
    for path in data_files(folder) or data_files(folder / "dataset"):
        match = re.fullmatch(r"esnli_(train|dev|test)(_\d)?\.csv(\.gz)?", path.name.lower())
        if match:
            files.setdefault(match[1], []).append(path)
    if not files:
        raise DataError(
            f"the folder {folder} holds no files of e-SNLI: expected esnli_train_1.csv, "
            "esnli_train_2.csv, esnli_dev.csv and esnli_test.csv"
        )
    return {split: _esnli_reader(paths, f"{folder} ({split})") for split, paths in files.items()}


def marked_spans(sentence: str, marked: str) -> list[tuple[int, int]] | None:
    """Where the words that an annotator marked stand in a sentence; marks beside words not counted.

    Args:
        sentence: The sentence.
        marked: The same with an asterisk at both ends of each marked word.

    Returns:
        `(start, end)` in characters, end exclusive; None where the two sentences differ.

    Example:
        >>> marked_spans("A man, asleep.", "A *man,* *asleep.*")
        [(2, 5), (7, 13)]
    """
    words, copies = list(re.finditer(r"\S+", sentence)), marked.split()
    if len(words) != len(copies):
        return None
    spans = []
    for word, copy in zip(words, copies, strict=True):
        if copy.replace("*", "") != word[0].replace("*", ""):
            return None
        core = re.search(r"\w(?:.*\w)?", word[0])
        if copy.count("*") > word[0].count("*") and core:
            spans.append((word.start() + core.start(), word.start() + core.end()))
    return spans


def cad_splits(folder: Path) -> dict[str, SplitReader]:
    """What reads each split of counterfactually augmented SNLI.

    The folder is `NLI` as published, with one folder for the originals and one for each side that
    was revised; or it holds one file a split with the columns `kind` and `row`.

    Raises:
        DataError: Neither is there.
    """
    root = next((place for place in (folder, folder / "NLI") if (place / _KINDS[0]).is_dir()), None)
    if root is None:
        return {
            split: _cad_reader([("", paths)], f"{folder} ({split})")
            for split, paths in folder_splits(folder).items()
        }
    parts = {kind: folder_splits(root / kind) for kind in _KINDS if (root / kind).is_dir()}
    return {
        split: _cad_reader(
            [(kind, splits[split]) for kind, splits in parts.items() if split in splits],
            f"{folder} ({split})",
        )
        for split in parts[_KINDS[0]]
    }


def _cad_reader(parts: Sequence[tuple[str, list[Path]]], name: str) -> SplitReader:
    def read(limit: int | None, seed: int) -> Table:
        rows: list[dict[str, Any]] = []
        for kind, paths in parts:
            table = read_files(paths, name)
            values = {column: table.column(column, column) for column in table.columns}
            for row in range(table.size):
                one = {column: values[column][row] for column in values}
                one.setdefault("kind", kind)
                one["id"] = f"{one['kind']}-{one.get('row', row)}"
                rows.append(one)
        return from_rows(rows, name)

    return read


def _esnli_reader(paths: Sequence[Path], name: str) -> SplitReader:
    def read(limit: int | None, seed: int) -> Table:
        rows: list[dict[str, Any]] = []
        numbers: list[int] = []
        unclear = 0
        for path in paths:
            table = read_file(path)
            values = _esnli_columns(table)
            for row in range(table.size):
                truth, clear = _premise_truth(values, row)
                unclear += not clear
                rows.append(
                    {
                        "sentence1": values["Sentence1"][row],
                        "sentence2": values["Sentence2"][row],
                        "gold_label": values["gold_label"][row],
                        "truth": truth,
                    }
                )
                numbers.append(table.numbers[row])
        whole = from_rows(rows, name, None if len(paths) > 1 else numbers)
        note = f"{unclear} premises differ from their marked copy; their evidence is unknown"
        return replace(whole, notes=(note,)) if unclear else whole

    return read


def _esnli_columns(table: Table) -> dict[str, list[Any]]:
    names = ["gold_label", "Sentence1", "Sentence2", "Sentence1_marked_1"]
    more = [f"Sentence1_marked_{number}" for number in range(2, _ANNOTATORS + 1)]
    names += [name for name in more if name in table.columns]
    return required(table, names, "e-SNLI")


def _premise_truth(
    values: dict[str, list[Any]], row: int
) -> tuple[list[tuple[int, int]] | None, bool]:
    """The words that at least half of the annotators marked, and whether that could be told.

    Where nothing is marked the evidence is unknown: for neutral pairs nobody was asked to mark
    anything in the premise.
    """
    sentence = values["Sentence1"][row]
    copies = [column[row] for name, column in values.items() if name.startswith("Sentence1_marked")]
    copies = [copy for copy in copies if copy]
    if not sentence or not copies:
        return None, True
    spans = [marked_spans(sentence, copy) for copy in copies]
    votes: dict[tuple[int, int], int] = {}
    for found in spans:
        if found is None:
            return None, False
        for span in found:
            votes[span] = votes.get(span, 0) + 1
    chosen = sorted(span for span, count in votes.items() if 2 * count >= len(copies))
    return chosen or None, True
