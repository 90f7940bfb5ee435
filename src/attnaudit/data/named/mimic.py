"""Discharge summaries of MIMIC-III with labels from the diagnoses of the admission."""

from __future__ import annotations

import csv
import gzip
import hashlib
import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from attnaudit.data.sources.files import long_fields
from attnaudit.data.sources.folders import SplitReader
from attnaudit.data.sources.frames import Table, from_rows
from attnaudit.errors import DataError

_SUMMARY = "Discharge summary"
# Shares of the patients, as Jain & Wallace 2019 cut admissions: 80 : 20, then 85 : 15.
_TEST, _DEV = 0.2, 0.2 + 0.8 * 0.15
_SPLITS = ("train", "dev", "test")

# The ICD-9 codes of an admission to its label, or None where it is not used.
Rule = Callable[[frozenset[str]], str | None]


def diabetes_splits(folder: Path) -> dict[str, SplitReader]:
    """What reads each split of the diabetes task: is the code 250.00 among the diagnoses?

    With the lists `train_50_hadm_ids.csv`, `dev_50_hadm_ids.csv` and `test_50_hadm_ids.csv` of
    Mullenbach et al. 2018 in the folder the admissions are those of the paper; without them all,
    cut by patients.

    Raises:
        DataError: A file is missing.
    """
    return _splits(folder, diabetes_label)


def anemia_splits(folder: Path) -> dict[str, SplitReader]:
    """What reads each split of the anemia task: acute (285.1) or chronic (285.2)?

    The splits are cut by patients, so that nobody is in two of them.

    Raises:
        DataError: A file is missing.
    """
    return _splits(folder, anemia_label, listed=False)


def diabetes_label(codes: frozenset[str]) -> str:
    """The label of an admission with these ICD-9 codes.

    Example:
        >>> diabetes_label(frozenset({"25000", "4019"})), diabetes_label(frozenset({"25001"}))
        ('diabetes', 'no diabetes')
    """
    return "diabetes" if _has(codes, "25000") else "no diabetes"


def anemia_label(codes: frozenset[str]) -> str | None:
    """The label of an admission with these ICD-9 codes; None with both diagnoses or neither.

    Example:
        >>> anemia_label(frozenset({"2851"})), anemia_label(frozenset({"2851", "28521"}))
        ('acute', None)
    """
    acute, chronic = _has(codes, "2851"), _has(codes, "2852")
    if acute == chronic:
        return None
    return "acute" if acute else "chronic"


def split_of_patient(subject: str) -> str:
    """The split of a patient: 68 % train, 12 % dev and 20 % test, by a hash of the number.

    Example:
        >>> [split_of_patient(subject) for subject in ("1", "3", "4")]
        ['train', 'dev', 'dev']
    """
    digest = hashlib.sha256(subject.encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if share < _TEST else "dev" if share < _DEV else "train"


def _splits(folder: Path, rule: Rule, listed: bool = True) -> dict[str, SplitReader]:
    notes, diagnoses = _file(folder, "NOTEEVENTS"), _file(folder, "DIAGNOSES_ICD")
    lists = {split: folder / f"{split}_50_hadm_ids.csv" for split in _SPLITS}
    use = {split: path for split, path in lists.items() if listed and path.is_file()}
    if 0 < len(use) < len(lists):
        absent = next(path.name for path in lists.values() if not path.is_file())
        raise DataError(f"the folder {folder} lacks {absent}: give all three lists, or none")

    def reader(split: str) -> SplitReader:
        def read(limit: int | None, seed: int) -> Table:
            labels = _labels(diagnoses, rule, split, use.get(split))
            # Not every admission has a summary: twice as many are drawn as are asked for, and the
            # draw that follows takes that number of those that have one.
            total = len(labels)
            if limit is not None and 2 * limit < total:
                drawn = random.Random(seed).sample(sorted(labels), 2 * limit)
                labels = {admission: labels[admission] for admission in drawn}
            table = _table(notes, labels, split)
            if len(labels) == total:
                return table
            note = f"looked for a random {len(labels)} of {total} admissions (seed {seed})"
            return replace(table, notes=(note,))

        return read

    return {split: reader(split) for split in _SPLITS}


def _file(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"the folder {folder} holds no {name}.csv or {name}.csv.gz: it needs NOTEEVENTS and "
        "DIAGNOSES_ICD of MIMIC-III"
    )


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """These columns of a CSV file, row by row: the file may be larger than memory.

    Raises:
        DataError: A column is missing, or the file is damaged.
    """
    count = 0
    try:
        with _opened(path) as file, long_fields():
            rows = csv.reader(file, strict=True)
            header = [name.strip().upper() for name in next(rows, [])]
            absent = [column for column in columns if column not in header]
            if absent:
                raise DataError(f"{path} has no column {absent[0]!r}: is it the file of MIMIC-III?")
            places = [header.index(column) for column in columns]
            for row in rows:
                count += 1
                if row:
                    yield tuple([row[place].strip() for place in places])
    except (csv.Error, IndexError, UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged after {count} rows ({error}): it may be cut short, fetch it again"
        ) from error


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return open(path, encoding="utf-8", newline="")


def _labels(diagnoses: Path, rule: Rule, split: str, listed: Path | None) -> dict[str, str]:
    """The label of each admission of a split."""
    rows = _rows(diagnoses, ("SUBJECT_ID", "HADM_ID", "ICD9_CODE"))
    chosen = set(listed.read_text(encoding="utf-8").split()) if listed else None
    codes: dict[tuple[str, str], set[str]] = {}
    for subject, admission, code in rows:
        codes.setdefault((subject, admission), set()).add(code.replace(".", ""))
    labels = {}
    for (subject, admission), found in codes.items():
        inside = admission in chosen if chosen is not None else split_of_patient(subject) == split
        label = rule(frozenset(found)) if inside else None
        if label is not None:
            labels[admission] = label
    return labels


def _table(notes: Path, labels: Mapping[str, str], split: str) -> Table:
    """The summaries of the admissions, one text each: what a summary and its addenda say."""
    texts: dict[str, list[str]] = {}
    columns = ("HADM_ID", "CATEGORY", "ISERROR", "TEXT")
    for admission, category, error, text in _rows(notes, columns):
        # Tables that went through pandas write whole numbers with ".0".
        admission = admission.removesuffix(".0")
        if category == _SUMMARY and admission in labels and error.removesuffix(".0") != "1":
            texts.setdefault(admission, []).append(text)
    name = f"{notes} ({split})"
    if not texts:
        raise DataError(f"{name}: no discharge summary belongs to an admission of this split")
    rows = [
        {"id": admission, "text": "\n".join(parts), "label": labels[admission]}
        for admission, parts in sorted(texts.items())
    ]
    return from_rows(rows, name)


def _has(codes: frozenset[str], start: str) -> bool:
    return any(code.startswith(start) for code in codes)
