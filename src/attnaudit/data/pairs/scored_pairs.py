"""Pairs of texts with a score that people gave them, for models of similarity."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnaudit.data.build import check_limit
from attnaudit.data.sources.files import data_suffix, path_exists
from attnaudit.data.sources.folders import data_files, folder_splits, split_name, unknown_split
from attnaudit.data.sources.frames import Table, id_of, listed, shown
from attnaudit.data.sources.hub import hub_splits, is_hub_name
from attnaudit.data.sources.resolve import Source, read_source, split_of_table
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
        score: As it comes: 0 to 5 in the STS benchmark.
    """

    id: str
    a: str
    b: str
    score: float


PairSource = Source | Sequence[ScoredPair]
"""What `load_scored_pairs` reads."""


def load_scored_pairs(
    source: PairSource,
    *,
    a_column: str | None = None,
    b_column: str | None = None,
    score_column: str | None = None,
    id_column: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> tuple[ScoredPair, ...]:
    """Scored pairs, from wherever they are.

    Args:
        source: A file (.csv, .tsv, .jsonl, .ndjson, .json, .parquet; text formats also with .gz),
            a folder with one file a split, a data frame, a list of dictionaries, of `(a, b, score)`
            or of `ScoredPair`, a name of `PAIR_SETS`, or a set on the hub (`owner/name`).
        a_column: The first text; by default the first of `FIRST` that there is.
        b_column: The second text; likewise of `SECOND`.
        score_column: The score; likewise of `SCORE`.
        id_column: Ids; without it a pair is called by its row number.
        split: `train`, `dev` or `test`, where there are several; by default the test split, or
            all rows of one table.
        limit: At most so many pairs, drawn at random; they keep their order.
        seed: For `limit`.
        data_dir: Where the files of a named set lie; without it they come from the hub.

    Raises:
        DataError: The source cannot be used; the message names the file, row and column.
        MissingExtra: A hub set without the package `datasets`.
        SettingsError: An option that is out of range or means nothing here.

    Example:
        >>> load_scored_pairs([("A cat sleeps.", "A cat is asleep.", 4.8)])
        (ScoredPair(id='1', a='A cat sleeps.', b='A cat is asleep.', score=4.8),)
    """
    check_limit(limit)
    names = (a_column, b_column, score_column, id_column)
    place = _place(source, data_dir)
    pairs = _pairs(read_source(place, split)[0], *names)
    return _drawn(pairs, limit, seed)


def load_text_pairs(
    source: Source,
    *,
    a_column: str | None = None,
    b_column: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> list[tuple[str, str]]:
    """Pairs of texts that need no score; all as in `load_scored_pairs`.

    Example:
        >>> load_text_pairs([{"a": "A cat sleeps.", "b": "A cat is asleep."}])
        [('A cat sleeps.', 'A cat is asleep.')]
    """
    check_limit(limit)
    first, second = _texts(read_source(_place(source, None), split)[0], a_column, b_column)
    pairs = list(zip(first, second, strict=True))
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[row] for row in sorted(random.Random(seed).sample(range(len(pairs)), limit))]


def load_scored_splits(
    source: PairSource,
    *,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    a_column: str | None = None,
    b_column: str | None = None,
    score_column: str | None = None,
    id_column: str | None = None,
) -> dict[str, tuple[ScoredPair, ...]]:
    """Train, dev and test of a source; those that it lacks are cut out of train, 10 % each.

    The same two texts are never in two of the parts that are cut here.

    Args:
        source: As in `load_scored_pairs`.
        limit: At most so many pairs in each split.
        seed: For the limit and the cut.
        data_dir: As in `load_scored_pairs`.
        a_column: As in `load_scored_pairs`.
        b_column: As in `load_scored_pairs`.
        score_column: As in `load_scored_pairs`.
        id_column: As in `load_scored_pairs`.

    Raises:
        DataError: As `load_scored_pairs`; there is no train split, or too few pairs to cut it.

    Example:
        >>> pairs = [(f"text {i}", f"other {i}", i % 6) for i in range(20)]
        >>> {name: len(part) for name, part in load_scored_splits(pairs).items()}
        {'train': 16, 'dev': 2, 'test': 2}
    """
    check_limit(limit)
    names = (a_column, b_column, score_column, id_column)
    parts = {split: _pairs(table, *names) for split, table in _tables(_place(source, data_dir))}
    if "train" not in parts:
        raise DataError(f"there is no train split: the splits are {listed(sorted(parts))}")
    missing = {
        name: share for name, share in zip(SPLITS, FRACTIONS, strict=True) if name not in parts
    }
    parts |= _cut(parts["train"], missing, seed)
    return {split: _drawn(parts[split], limit, seed) for split in SPLITS}


def read_scored_split(source: PairSource, split: str) -> tuple[ScoredPair, ...]:
    """One split of a source that has splits, all pairs of one that has none.

    Raises:
        DataError: The source cannot be used, or lacks the split.

    Example:
        >>> len(read_scored_split([("a", "b", 1.0), ("c", "d", 0.0)], "train"))
        2
    """
    parts = dict(_tables(_place(source, None)))
    if split not in parts and len(parts) > 1:
        raise unknown_split(str(source), split, parts)
    return _pairs(parts[split] if split in parts else next(iter(parts.values())))


def _place(source: PairSource, data_dir: str | Path | None) -> Source:
    """What `read_source` takes."""
    if isinstance(source, str) and source in PAIR_SETS:
        if data_dir is None:
            # a folder here of that name is what is meant
            return source if data_files(Path(source)) else PAIR_SETS[source]
        own = Path(data_dir) / source
        return own if own.is_dir() else Path(data_dir)
    if data_dir is not None:
        raise SettingsError(
            f"data_dir= (--data-dir) goes with a named set: {listed(list(PAIR_SETS))}"
        )
    if isinstance(source, list | tuple):
        return [_as_row(item, place) for place, item in enumerate(source, start=1)]
    return source


def _as_row(item: Any, place: int) -> Any:
    if isinstance(item, ScoredPair):
        return {"id": item.id, "a": item.a, "b": item.b, "score": item.score}
    if isinstance(item, list | tuple):
        if len(item) != 3:
            raise DataError(
                f"the list, row {place}: expected (text, text, score), found {len(item)} values"
            )
        return dict(zip(("a", "b", "score"), item, strict=True))
    return item


def _tables(source: Source) -> list[tuple[str, Table]]:
    """The splits of a source; all is train where there are none."""
    if isinstance(source, str | Path):
        path = Path(source)
        names: Sequence[str] = ()
        if path_exists(source):
            names = tuple(folder_splits(path)) if path.is_dir() else ()
        elif is_hub_name(str(source)) and data_suffix(path) is None:
            names = tuple(hub_splits(str(source)))
        if names and names != ("all",):
            return [(name, read_source(source, name)[0]) for name in names]
    table, name, *_ = read_source(source, None)
    if "split" not in table.columns:
        return [("train", table)]
    found = {split_name(str(value)) for value in table.column("split", "split")}
    known = [split for split in SPLITS if split in found]
    if not known:
        raise unknown_split(table.name, "train", found)
    return [(split, split_of_table(table, name, split)[0]) for split in known]


def _pairs(
    table: Table,
    a: str | None = None,
    b: str | None = None,
    score: str | None = None,
    id: str | None = None,
) -> tuple[ScoredPair, ...]:
    """The rows of a table, all of them checked."""
    first, second = _texts(table, a, b)
    name = score or _found(table, SCORE, "score")
    scores = [
        _score(value, f"{table.place(row)}, column {name!r}")
        for row, value in enumerate(table.column(name, "score"))
    ]
    ids = [str(number) for number in table.numbers]
    if id is not None:
        ids = [
            id_of(value, f"{table.place(row)}, column {id!r}")
            for row, value in enumerate(table.column(id, "id"))
        ]
        if len(set(ids)) < len(ids):
            raise DataError(f"{table.name}, column {id!r}: ids must be unique; leave out id_column")
    return tuple(map(ScoredPair, ids, first, second, scores))


def _texts(table: Table, a: str | None, b: str | None) -> tuple[list[str], list[str]]:
    """The first and the second texts, all of them checked."""
    columns = {
        "first text": a or _found(table, FIRST, "a"),
        "second text": b or _found(table, SECOND, "b"),
    }
    found = []
    for word, name in columns.items():
        # the short name is that of the option, --a-column
        values = table.column(name, "a" if word == "first text" else "b")
        for row, value in enumerate(values):
            if not isinstance(value, str | None):
                raise DataError(
                    f"{table.place(row)}, column {name!r}: expected a text, found "
                    f"{type(value).__name__}"
                )
        try:
            rows_with_text(range(table.size), values, table, name, word, drop_empty=False)
        except DataError as error:
            # there is no such option for pairs
            raise DataError(str(error).partition(" Fill it in")[0] + " Fill it in") from None
        found.append([str(value) for value in values])
    return found[0], found[1]


def _found(table: Table, names: Sequence[str], purpose: str) -> str:
    # the first name stands for all where there is none, so that the message is the usual one
    return next((name for name in names if name in table.columns), names[0])


def _score(value: Any, place: str) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{place}: the score is {shown(value)}, which is no finite number. Fill it in, or "
            "leave the row out"
        )
    return number


def _cut(
    pairs: Sequence[ScoredPair], missing: Mapping[str, float], seed: int
) -> dict[str, tuple[ScoredPair, ...]]:
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


def _drawn(pairs: tuple[ScoredPair, ...], limit: int | None, seed: int) -> tuple[ScoredPair, ...]:
    if limit is None or limit >= len(pairs):
        return pairs
    rows = sorted(random.Random(seed).sample(range(len(pairs)), limit))
    return tuple(pairs[row] for row in rows)
