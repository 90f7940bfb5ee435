"""Splits of bags: train, dev and test, and repeated cross-validation, by bag and stratified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold, train_test_split

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.splits import FRACTIONS, shares_of
from attnaudit.errors import DataError, SettingsError


@dataclass(frozen=True)
class BagFold:
    """One part of a cross-validation.

    Attributes:
        repeat: Which repetition, from 0.
        fold: Which fold of it, from 0.
        train: The bags to train on, split `train`.
        test: The others, split `test`.
    """

    repeat: int
    fold: int
    train: BagDataset
    test: BagDataset


def split_bags(
    data: BagDataset, fractions: Sequence[float] = FRACTIONS, seed: int = 0
) -> dict[str, BagDataset]:
    """Bags cut into train, dev and test, each class in the same proportion.

    A bag is never divided. The cut depends on the ids and the seed, not on the order of the bags,
    which is kept. Quantities and unknown labels are cut at random.

    Args:
        data: What to cut.
        fractions: The shares of train, dev and test; they sum to 1. A split with share 0 is left
            out of the result.
        seed: For the draw.

    Raises:
        DataError: Too few bags, or too few of a class, for a split.
        SettingsError: Fractions that are no shares.

    Example:
        >>> from attnaudit.data.bags.records import bag_record
        >>> bags = tuple(bag_record(str(i), [[float(i)]], label=i % 2) for i in range(20))
        >>> parts = split_bags(BagDataset("demo", bags, ("no", "yes"), (1,)), (0.6, 0.2, 0.2))
        >>> {name: part.class_counts for name, part in parts.items()}
        {'train': {'no': 6, 'yes': 6}, 'dev': {'no': 2, 'yes': 2}, 'test': {'no': 2, 'yes': 2}}
    """
    shares = shares_of(fractions)
    left, strata = _strata(data)
    kept, *others = shares
    chosen: dict[str, list[int]] = {}
    for name in others:
        size = round(shares[name] * len(data))
        if not 0 < size < len(left):
            raise DataError(
                f"{data.name} has {len(data)} bags, too few for a {name} split of "
                f"{shares[name]:.0%}: give more, or other fractions"
            )
        known = None if strata is None else [strata[row] for row in left]
        try:
            left, chosen[name] = train_test_split(
                left, test_size=size, stratify=known, random_state=seed
            )
        except ValueError as error:
            raise DataError(
                f"{data.name} cannot be cut into {kept}, {', '.join(others)} with all classes in "
                f"each (bags of each class: {data.class_counts}): give more, or other fractions"
            ) from error
    chosen[kept] = left
    return {
        name: _part(
            data,
            chosen[name],
            name,
            f"{name}: {len(chosen[name])} of {len(data)} bags, cut with seed {seed}",
        )
        for name in shares
    }


def bag_folds(
    data: BagDataset, folds: int = 10, repeats: int = 1, seed: int = 0
) -> Iterator[BagFold]:
    """Repeated cross-validation by bag: in each repetition every bag is tested once.

    Folds have each class in the same proportion; where labels are quantities or unknown, folds
    are drawn at random. They depend on the ids and the seed, not on the order of the bags.

    Args:
        data: What to cut.
        folds: How many, 2 or more.
        repeats: How often, each time with another draw.
        seed: For the draws.

    Raises:
        DataError: A class, or all of the data, has fewer bags than there are folds.
        SettingsError: `folds` or `repeats` is out of range.

    Example:
        >>> from attnaudit.data.bags.records import bag_record
        >>> bags = tuple(bag_record(str(i), [[float(i)]], label=i % 2) for i in range(20))
        >>> parts = list(bag_folds(BagDataset("demo", bags, ("no", "yes"), (1,)), 5, repeats=2))
        >>> len(parts), parts[-1].repeat, parts[-1].fold, len(parts[-1].test)
        (10, 1, 4, 4)
    """
    if folds < 2 or repeats < 1:
        raise SettingsError(f"folds are 2 or more and repeats 1 or more, got {folds} and {repeats}")
    order, strata = _strata(data)
    rarest = len(data) if strata is None else min(Counter(strata).values())
    if rarest < folds:
        raise DataError(
            f"{data.name} has {rarest} bags{'' if strata is None else ' of its rarest class'}, "
            f"fewer than {folds} folds: give more, or fewer folds"
        )
    kind = RepeatedKFold if strata is None else RepeatedStratifiedKFold
    cuts = kind(n_splits=folds, n_repeats=repeats, random_state=seed)
    rows = np.asarray(order)
    labels = None if strata is None else [strata[row] for row in order]
    for number, (train, test) in enumerate(cuts.split(rows, labels)):
        repeat, fold = divmod(number, folds)
        note = f"fold {fold + 1} of {folds}, repetition {repeat + 1} of {repeats}, seed {seed}"
        yield BagFold(
            repeat,
            fold,
            _part(data, rows[train].tolist(), "train", note),
            _part(data, rows[test].tolist(), "test", note),
        )


def _strata(data: BagDataset) -> tuple[list[int], list[int] | None]:
    """The rows in the order of their ids, and the class of each row where all have one."""
    order = sorted(range(len(data)), key=lambda row: data.bags[row].id)
    labels = [bag.label for bag in data.bags if isinstance(bag.label, int)]
    return order, labels if len(labels) == len(data) else None


def _part(data: BagDataset, rows: Sequence[int], split: str, note: str) -> BagDataset:
    part = data.select([data.bags[row] for row in sorted(rows)], split)
    return replace(part, notes=(*data.notes, note))
