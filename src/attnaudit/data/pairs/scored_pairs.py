"""Pairs of texts with a score that people gave them, for models of similarity."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnaudit.data.drawing import drawn_rows
from attnaudit.data.faults import checked
from attnaudit.data.reading import Reading, column_option
from attnaudit.data.sources.folders import data_files
from attnaudit.data.sources.frames import Table, id_of, listed, shown
from attnaudit.data.sources.opening import Opened, Place, open_place
from attnaudit.data.splits import FRACTIONS, SPLITS
from attnaudit.data.texts.texts import rows_with_text
from attnaudit.errors import DataError, SettingsError

PAIR_SETS: Mapping[str, str] = {"stsb": "mteb/stsbenchmark-sts"}
"""Named sets of scored pairs, with where the hub has them. `stsb`: the English STS benchmark,
scores 0 to 5 (Cer et al. 2017)."""
FIRST = ("sentence1", "text1", "sentence_a", "text_a", "a")
SECOND = ("sentence2", "text2", "sentence_b", "text_b", "b")
SCORE = ("score", "similarity", "similarity_score", "label")


@dataclass(frozen=True)
class ScoredPair:
    """Two texts and how similar people find them.

    Attributes:
        id: Unique in its split.
        a: The first text.
        b: The second text.
        score: As it comes: 0 to 5 in the STS benchmark; NaN where it was not asked for.
    """

    id: str
    a: str
    b: str
    score: float = math.nan


ScoredPairs = tuple[ScoredPair, ...]


@dataclass(frozen=True)
class Pairs:
    """Pairs of a source that is opened.

    Attributes:
        opened: What reads its splits.
        reading: How it is read.
    """

    opened: Opened
    reading: Reading

    def data(self, split: str | None) -> ScoredPairs:
        """One split; without its name the test split of several, or all rows of a table."""
        return self._drawn(self._built(split))

    def part(self, split: str) -> ScoredPairs:
        """One split of a source that has several, all pairs of one that has not."""
        return self.data(split if len(self.opened.splits) > 1 else None)

    def splits(self) -> dict[str, ScoredPairs]:
        """Train, dev and test; those that the source lacks are cut out of train, 10 % each.

        The same two texts are never in two of the parts that are cut here.
        """
        available = self.opened.splits
        if available and "train" not in available:
            raise DataError(f"there is no train split: the splits are {listed(available)}")
        parts = {split: self._built(split) for split in SPLITS if split in available}
        parts = parts or {"train": self._built(None)}
        missing = {
            name: share for name, share in zip(SPLITS, FRACTIONS, strict=True) if name not in parts
        }
        parts |= _cut(parts["train"], missing, self.reading.seed)
        return {split: self._drawn(parts[split]) for split in SPLITS}

    def _built(self, split: str | None) -> ScoredPairs:
        return _pairs(self.opened.read(split).table, self.reading)

    def _drawn(self, pairs: ScoredPairs) -> ScoredPairs:
        return tuple(drawn_rows(pairs, self.reading.limit, self.reading.seed)[0])


def open_pairs(place: Place, reading: Reading) -> Pairs:
    """A source of pairs: also a name of `PAIR_SETS`, or a list of pairs or of `(a, b, score)`.

    Raises:
        DataError: It cannot be read.
        SettingsError: `data_dir` with what is no named set.
    """
    if isinstance(place, str) and place in PAIR_SETS:
        if reading.data_dir is not None:
            own = Path(reading.data_dir) / place
            place = own if own.is_dir() else Path(reading.data_dir)
        elif not data_files(Path(place)):
            place = PAIR_SETS[place]  # a folder here of that name is what would be meant
    elif reading.data_dir is not None:
        raise SettingsError(
            f"data_dir= (--data-dir) goes with a named set: {listed(list(PAIR_SETS))}"
        )
    if isinstance(place, list | tuple):
        place = [_as_row(item, number) for number, item in enumerate(place, start=1)]
    return Pairs(open_place(place, PAIR_SETS), reading)


def _as_row(item: object, place: int) -> object:
    if isinstance(item, ScoredPair):
        return {"id": item.id, "a": item.a, "b": item.b, "score": item.score}
    if isinstance(item, list | tuple):
        if len(item) != 3:
            raise DataError(
                f"the list, row {place}: expected (text, text, score), found {len(item)} values"
            )
        return dict(zip(("a", "b", "score"), item, strict=True))
    return item


def _pairs(table: Table, reading: Reading) -> ScoredPairs:
    """The rows of a table, all of them checked."""
    first = _texts(table, reading, "a", FIRST)
    second = _texts(table, reading, "b", SECOND)
    scores = [math.nan] * table.size
    name = reading.column("score", _found(table, SCORE))
    if name is not None:
        values = table.column(name, "score")
        scores = checked(
            range(table.size),
            lambda row: _score(values[row], f"{table.place(row)}, column {name!r}"),
            table.place,
        )
    ids = [str(number) for number in table.numbers]
    own = reading.column("id")
    if own is not None:
        keys = table.column(own, "id")
        ids = checked(
            range(table.size),
            lambda row: id_of(keys[row], f"{table.place(row)}, column {own!r}"),
            table.place,
        )
        if len(set(ids)) < len(ids):
            raise DataError(
                f"{table.name}, column {own!r}: ids must be unique; leave out {column_option('id')}"
            )
    return tuple(map(ScoredPair, ids, first, second, scores))


def _texts(table: Table, reading: Reading, role: str, usual: Sequence[str]) -> list[str]:
    """The texts of one side, all of them checked."""
    name = reading.column(role, _found(table, usual)) or role
    values, word = table.column(name, role), f"{'first' if role == 'a' else 'second'} text"

    def text(row: int) -> str:
        value = values[row]
        if not isinstance(value, str | None):
            raise DataError(
                f"{table.place(row)}, column {name!r}: expected a text, found "
                f"{type(value).__name__}"
            )
        return str(value)

    found = checked(range(table.size), text, table.place)
    rows_with_text(range(table.size), values, table, name, word, drop_empty=False, instead="")
    return found


def _found(table: Table, names: Sequence[str]) -> str:
    # the first name stands for all where there is none, so that the message is the usual one
    return next((name for name in names if name in table.columns), names[0])


def _score(value: object, place: str) -> float:
    try:
        known = isinstance(value, str | int | float) and not isinstance(value, bool)
        number = float(value) if known else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{place}: the score is {shown(value)}, which is no finite number. Fill it in, or "
            "leave the row out"
        )
    return number


def _cut(pairs: ScoredPairs, missing: Mapping[str, float], seed: int) -> dict[str, ScoredPairs]:
    """Train without what is cut out of it, and the parts that are."""
    if not missing:
        return {}
    keys = sorted({(pair.a, pair.b) for pair in pairs})
    random.Random(seed).shuffle(keys)
    chosen: dict[tuple[str, str], str] = {}
    start = 0
    for name, share in missing.items():
        stop = start + round(share * len(keys))
        if stop == start:
            raise DataError(
                f"{len(keys)} different pairs are too few for a {name} split of {share:.0%}: give "
                "more, or give a file a split"
            )
        chosen |= dict.fromkeys(keys[start:stop], name)
        start = stop
    where = [chosen.get((pair.a, pair.b), "train") for pair in pairs]
    return {
        name: tuple(pair for pair, place in zip(pairs, where, strict=True) if place == name)
        for name in ("train", *missing)
    }
