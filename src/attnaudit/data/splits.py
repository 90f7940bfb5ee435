"""Splits: train, dev and test, as they come or cut here, with the same classes in each."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from attnaudit.data.records import Dataset, Text
from attnaudit.errors import DataError, SettingsError

SPLITS = ("train", "dev", "test")
FRACTIONS = (0.8, 0.1, 0.1)


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
    shares = shares_of(fractions)
    chosen = _assign(data.records, shares, random.Random(seed))
    parts = {}
    for name in shares:
        records = [record for record in data.records if chosen[record.text] == name]
        if not records:
            raise DataError(_too_few(data, name, shares[name]))
        note = f"{name}: {len(records)} of {len(data)} records, cut with seed {seed}"
        parts[name] = replace(data.select(records, name), notes=(*data.notes, note))
    return parts


def shares_of(fractions: Sequence[float]) -> dict[str, float]:
    """The share of each split that has any.

    Raises:
        SettingsError: They are no shares of train, dev and test.
    """
    fair = len(fractions) == len(SPLITS) and all(0 <= share <= 1 for share in fractions)
    if not fair or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise SettingsError(
            f"fractions are the shares of train, dev and test and sum to 1; got {tuple(fractions)}"
        )
    return {name: share for name, share in zip(SPLITS, fractions, strict=True) if share > 0}


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
