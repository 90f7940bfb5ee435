"""Splits: train, dev and test, as they come or cut here, with the same classes in each."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnaudit.data.build import Columns, build_dataset, check_limit, content, draw
from attnaudit.data.labels import Scheme
from attnaudit.data.named.named import NAMED_SETS, make_splits, means_named, named_splits
from attnaudit.data.named.paper import piped
from attnaudit.data.records import Dataset, Text
from attnaudit.data.sources.files import data_suffix, path_exists
from attnaudit.data.sources.folders import folder_splits, split_name
from attnaudit.data.sources.frames import listed
from attnaudit.data.sources.hub import hub_splits, is_hub_name
from attnaudit.data.sources.resolve import (
    Source,
    columns_of,
    load_with,
    read_source,
    split_of_table,
)
from attnaudit.data.texts.lengths import Bounds, within
from attnaudit.errors import DataError, SettingsError

SPLITS = ("train", "dev", "test")
# The share of train that becomes dev where only dev is missing, as in Jain & Wallace 2019.
DEV_FRACTION = 0.15
FRACTIONS = (0.8, 0.1, 0.1)
# Options of `load_data` on how texts are read that are no columns.
_READING = ("pipeline", "min_length", "max_length", "strict_bounds")

_Load = Callable[[str | None, Columns, int | None], Dataset]


def split_dataset(
    data: Dataset, fractions: Sequence[float] = FRACTIONS, seed: int = 0
) -> dict[str, Dataset]:
    """A data set cut into train, dev and test, each label in the same proportion.

    Records with the same text stay together, so that nothing is trained on that is tested on.
    The cut depends on the ids and the seed, not on the order of the records, which is kept.

    Args:
        data: What to cut.
        fractions: The shares of train, dev and test; they sum to 1. A split with share 0 is left
            out of the result.
        seed: For the draw.

    Raises:
        DataError: Too few records for a split.
        SettingsError: Fractions that are no shares.

    Example:
        >>> from attnaudit.data.generated.reviews import generate_reviews
        >>> parts = split_dataset(generate_reviews(50), (0.8, 0.1, 0.1))
        >>> {name: len(part) for name, part in parts.items()}
        {'train': 40, 'dev': 5, 'test': 5}
    """
    shares = dict(zip(SPLITS, fractions, strict=False))
    fair = len(fractions) == len(SPLITS) and all(0 <= share <= 1 for share in fractions)
    if not fair or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise SettingsError(
            f"fractions are the shares of train, dev and test and sum to 1; got {tuple(fractions)}"
        )
    shares = {name: share for name, share in shares.items() if share > 0}
    chosen = _assign(data.records, shares, random.Random(seed))
    parts = {}
    for name in shares:
        records = [record for record in data.records if chosen[record.text] == name]
        if not records:
            raise DataError(_too_few(data, name, shares[name]))
        note = f"{name}: {len(records)} of {len(data)} records, cut with seed {seed}"
        parts[name] = replace(data.select(records, name), notes=(*data.notes, note))
    return parts


def _too_few(data: Dataset, name: str, share: float) -> str:
    """Why a split has no record, and what to do."""
    texts = len({record.text for record in data.records})
    if texts == 1:
        return (
            f"the texts of {data.name} are all equal ({len(data)} records), and equal texts are "
            f"kept in one split, so there is none for {name}: give different texts"
        )
    different = "" if texts == len(data) else f" with {texts} different texts"
    together = "; equal texts are kept in one split" if different else ""
    return (
        f"{data.name} has {len(data)} records{different}, too few for a {name} split of "
        f"{share:.0%}{together}: give more {'different texts' if different else 'data'}, or other "
        "fractions"
    )


def load_splits(
    source: Source, *, limit: int | None = None, seed: int = 0, **options: Any
) -> dict[str, Dataset]:
    """Train, dev and test of a source, with the classes of train in each.

    Where the source has no dev split, 15 % of train becomes one; without splits at all it is cut
    80 : 10 : 10; a missing test split is cut out of train too. Notes say so.

    Args:
        source: As in `load_data`.
        limit: At most so many records in each split, drawn at random; a split that is cut out of
            train is in proportion to what is left there.
        seed: For the limit and the cut.
        **options: Further options of `load_data`, except `split`.

    Raises:
        DataError: No train split, a split that cannot be used, or a class in dev or test that
            train lacks.
        SettingsError: An option that is out of range or means nothing here.

    Example:
        >>> {name: len(data) for name, data in load_splits("reviews", limit=100).items()}
        {'train': 100, 'dev': 100, 'test': 100}
    """
    check_limit(limit)
    if "split" in options:
        raise SettingsError("load_splits takes all splits: leave out split=")
    name, data_dir = options.pop("name", None), options.pop("data_dir", None)
    reading = {key: options.pop(key) for key in _READING if key in options}
    columns = piped(columns_of(**options), source, **reading)
    bounds = columns.bounds
    columns = replace(columns, bounds=Bounds())
    entry = NAMED_SETS[source] if means_named(source, data_dir) else None
    if entry is not None and entry.make is not None:
        splits = make_splits(entry, columns, data_dir)
    else:
        available, load = _opened(source, seed, name, data_dir)
        own_classes = entry is None or not entry.classes
        few = None if bounds.active else limit
        splits = _loaded(available, load, columns, own_classes, few, seed)
    # After the cut, because strict bounds are those of each split.
    splits = {split: within(splits[split], bounds) for split in SPLITS}
    splits = {split: draw(splits[split], limit, seed) for split in SPLITS}
    return {split: _with_overlap(data, splits["train"], name) for split, data in splits.items()}


def _assign(
    records: Sequence[Text], shares: dict[str, float], rng: random.Random
) -> dict[str, str]:
    """The split of each text: label by label, the largest remainders rounded up."""
    groups: dict[str, list[Text]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.id):
        groups[record.text].append(record)
    strata: dict[int, list[str]] = defaultdict(list)
    for text, group in groups.items():
        strata[-1 if group[0].label is None else group[0].label].append(text)
    chosen: dict[str, str] = {}
    # What earlier labels were given too little of goes to the next, so that totals are right too.
    owed = dict.fromkeys(shares, 0.0)
    for label in sorted(strata):
        texts = strata[label]
        rng.shuffle(texts)
        exact = {name: share * len(texts) + owed[name] for name, share in shares.items()}
        sizes = {name: max(0, math.floor(size + 1e-9)) for name, size in exact.items()}
        by_remainder = sorted(exact, key=lambda name: sizes[name] - exact[name])
        for name in by_remainder[: max(0, len(texts) - sum(sizes.values()))]:
            sizes[name] += 1
        places = [name for name, size in sizes.items() for _ in range(size)]
        chosen.update(zip(texts, places, strict=False))
        owed = {name: exact[name] - places[: len(texts)].count(name) for name in shares}
    return chosen


def _opened(
    source: Source, seed: int, name: str | None, data_dir: str | Path | None
) -> tuple[tuple[str, ...], _Load]:
    """The splits of a source (none where it has no such thing) and what loads one of them."""

    def load(split: str | None, columns: Columns, limit: int | None) -> Dataset:
        return load_with(source, columns, split, limit, seed, name, data_dir)

    if means_named(source, data_dir):
        return tuple(split for split in named_splits(source, data_dir) if split != "all"), load
    if isinstance(source, str | Path) and data_dir is None:
        path = Path(source)
        if path_exists(source) and path.is_dir():
            return tuple(split for split in folder_splits(path) if split != "all"), load
        if not path_exists(source) and is_hub_name(str(source)) and data_suffix(path) is None:
            return tuple(hub_splits(str(source))), load
    if data_dir is not None:
        raise SettingsError("data_dir= (--data-dir) goes with a named set")
    # One table for all splits is read once.
    table, found, _, _ = read_source(source, None)

    def load_rows(split: str | None, columns: Columns, limit: int | None) -> Dataset:
        rows = split_of_table(table, found, split)[0]
        return build_dataset(rows, columns, name or found, split or "all", limit, seed)

    if "split" not in table.columns:
        return (), load_rows
    present = {split_name(str(value)) for value in table.column("split", "split")}
    return tuple(sorted(present)), load_rows


def _loaded(
    available: Sequence[str],
    load: _Load,
    columns: Columns,
    own_classes: bool,
    limit: int | None,
    seed: int,
) -> dict[str, Dataset]:
    """All three splits, those that are missing cut out of train.

    Their classes are those of train, unless the set decides on them (`own_classes` is False).
    """
    if available and "train" not in available:
        raise DataError(f"there is no train split: the splits are {listed(available)}")
    shares = _shares(available)
    enough = None if limit is None else math.ceil(limit / shares[0])
    train = load("train" if available else None, columns, enough)
    splits = {"train": train} if shares[0] == 1 else split_dataset(train, shares, seed)
    if own_classes and train.classes and columns.scheme.classes is None:
        columns = replace(columns, scheme=Scheme(train.classes, by_position=False))
    for split in SPLITS[1:]:
        if split in available:
            try:
                splits[split] = load(split, columns, limit)
            except DataError as error:
                hint = f" (the classes are those of train; this is the split {split!r})"
                raise DataError(f"{error}{hint}") from error
    return splits


def _shares(available: Sequence[str]) -> tuple[float, float, float]:
    """The shares of train that stay train, and become dev and test where these are missing."""
    if "dev" not in available and "test" in available:
        return 1 - DEV_FRACTION, DEV_FRACTION, 0.0
    dev = 0.0 if "dev" in available else FRACTIONS[1]
    test = 0.0 if "test" in available else FRACTIONS[2]
    return 1 - dev - test, dev, test


def _with_overlap(data: Dataset, train: Dataset, name: str | None) -> Dataset:
    """A note on texts that are in train too, and the name that was asked for."""
    known = {content(record) for record in train} if data.split != "train" else set()
    shared = sum(content(record) in known for record in data)
    word = "pairs" if data.has_questions else "texts"
    note = (f"{shared} of {len(data)} {word} are in train too",) if shared else ()
    return replace(data, name=name or data.name, notes=(*data.notes, *note))
