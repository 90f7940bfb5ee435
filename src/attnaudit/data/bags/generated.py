"""Generated bags: a rule of key types and what instances are made of, with the truth known.

The tasks follow Haab et al. (2022) in kind: bags whose key instances are known, so that weights
can be graded as a detector of keys. Which rules and modalities they had is not known in detail.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from attnaudit.data.bags.ceiling import bayes_ceiling
from attnaudit.data.bags.modalities import Modality, find_modality
from attnaudit.data.bags.records import Bag, BagDataset, bag_record
from attnaudit.data.bags.rules import Rule, find_rule
from attnaudit.errors import SettingsError

MEAN_SIZE, SIZE_DEVIATION, SMALLEST = 10.0, 2.0, 3
"""Sizes of bags: a rounded normal, as in Ilse et al. (2018), but 3 or more."""
_AT_ONCE, _MOST_DRAWS = 1_000, 1_000_000


def generate_bags(
    rule: str | Rule = "presence",
    modality: str | Modality = "digits",
    n_bags: int = 200,
    *,
    mean_size: float = MEAN_SIZE,
    size_deviation: float = SIZE_DEVIATION,
    smallest: int = SMALLEST,
    key_rate: float | None = None,
    seed: int = 0,
    split: str = "all",
    **options: Any,
) -> BagDataset:
    """Bags with balanced labels, truth and key types.

    The size of a bag is drawn first; then key types are drawn at its instances until they give
    the label that is due, so that sizes say nothing on labels. Labels take turns. The first bags
    are the same however many there are.

    Args:
        rule: A key of `RULES`, a short name (`T1` … `T8`), or a `Rule`.
        modality: A key of `MODALITIES`, or a `Modality`.
        n_bags: How many, one of each class at least.
        mean_size: Mean of the normal from which sizes are drawn and rounded.
        size_deviation: Its standard deviation; 0 for bags of one size.
        smallest: Sizes below are raised to it.
        key_rate: How probable each key type is at an instance before bags are chosen by label;
            None for the rule's own.
        seed: Same seed, same bags, in any process.
        split: `train`, `dev`, `test` or `all`: other draws, and other images of digits. What is
            trained on and what is tested on come from different splits.
        **options: Of the modality: `delta` and `dimensions` of `gaussian`, for example.

    Raises:
        SettingsError: An option out of range, or bags with some label that are too rare to find.

    Example:
        >>> data = generate_bags("conjunction", "gaussian", 4, seed=1, delta=3.0)
        >>> data.class_counts, data.shape
        ({'negative': 2, 'positive': 2}, (10,))
        >>> bag = data.bags[1]
        >>> sorted(set(bag.key_types.tolist())), bool((bag.truth == (bag.key_types > 0)).all())
        ([0, 1, 2], True)
    """
    rule, modality = find_rule(rule), find_modality(modality, **options)
    rate = rule.key_rate if key_rate is None else key_rate
    _check(rule, modality, n_bags, rate, mean_size, size_deviation, smallest)
    bags = []
    for number in range(n_bags):
        rng = _generator(seed, split, rule.name, modality.name, number)
        size = max(smallest, round(rng.normal(mean_size, size_deviation)))
        label = number % len(rule.classes)
        kinds = _kinds(rng, rule, rate, size, label)
        instances, names = modality.draw(rng, kinds, rule.types, split)
        bags.append(bag_record(f"{split}-{number}", instances, label, None, kinds, None, names))
    notes = _notes(bags, rule, modality, rate, seed)
    name = f"{rule.name}-{modality.name}"
    return BagDataset(name, tuple(bags), rule.classes, modality.shape, split, notes)


def generate_bag_splits(
    rule: str | Rule = "presence",
    modality: str | Modality = "digits",
    n_train: int = 200,
    n_dev: int = 100,
    n_test: int = 500,
    **options: Any,
) -> dict[str, BagDataset]:
    """`generate_bags` in three splits.

    Args:
        rule: As in `generate_bags`.
        modality: As in `generate_bags`.
        n_train: Bags of the training split.
        n_dev: Bags of the development split; with 0 there is none.
        n_test: Bags of the test split.
        **options: Further options of `generate_bags`, except `split`.

    Raises:
        SettingsError: As `generate_bags`.

    Example:
        >>> splits = generate_bag_splits("T1", "digits", 4, 2, 6)
        >>> {name: len(data) for name, data in splits.items()}
        {'train': 4, 'dev': 2, 'test': 6}
    """
    sizes: Mapping[str, int] = {"train": n_train, "dev": n_dev, "test": n_test}
    return {
        split: generate_bags(rule, modality, n, split=split, **options)
        for split, n in sizes.items()
        if n or split != "dev"
    }


def _kinds(
    rng: np.random.Generator, rule: Rule, rate: float, size: int, label: int
) -> npt.NDArray[np.int64]:
    """Key types of a bag of this label, by rejection: counts first, then their places."""
    chances = [*[rate] * rule.types, max(0.0, 1 - rate * rule.types)]
    for _ in range(_MOST_DRAWS // _AT_ONCE):
        counts = rng.multinomial(size, chances, _AT_ONCE)[:, : rule.types]
        hits = np.flatnonzero(rule.labels(counts, size) == label)
        if len(hits):
            found = counts[hits[0]]
            kinds = np.zeros(size, np.int64)
            kinds[: found.sum()] = np.repeat(np.arange(1, rule.types + 1), found)
            return rng.permutation(kinds)
    raise SettingsError(
        f"no bag of {size} instances with the label {rule.classes[label]!r} was found in "
        f"{_MOST_DRAWS:,} draws with a key rate of {rate:g}: choose another key_rate, or sizes"
    )


def _generator(seed: int, *parts: object) -> np.random.Generator:
    key = "\x1f".join(map(str, (seed, *parts)))
    return np.random.default_rng(
        int.from_bytes(blake2b(key.encode(), digest_size=16).digest(), "little")
    )


def _check(
    rule: Rule, modality: Modality, n_bags: int, rate: float, mean: float, sd: float, smallest: int
) -> None:
    if rule.types > modality.types:
        raise SettingsError(
            f"the rule {rule.name!r} needs {rule.types} key types, and {modality.name!r} has "
            f"{modality.types}"
        )
    if n_bags < len(rule.classes):
        raise SettingsError(f"{len(rule.classes)} or more bags are needed, got {n_bags}")
    if not (0 < rate < 1 and rate * rule.types <= 1):
        raise SettingsError(
            f"key_rate is above 0 and below 1, and at most 1 for all {rule.types} key types "
            f"together; got {rate}"
        )
    if not (mean > 0 and sd >= 0 and np.isfinite(mean + sd)) or smallest < 1:
        raise SettingsError(
            f"sizes need mean_size above 0, size_deviation 0 or more and smallest 1 or more; got "
            f"{mean}, {sd} and {smallest}"
        )


def _notes(
    bags: list[Bag], rule: Rule, modality: Modality, rate: float, seed: int
) -> tuple[str, ...]:
    shares = [
        float((bag.key_types > 0).double().mean()) for bag in bags if bag.key_types is not None
    ]
    with_keys = [share for share in shares if share > 0]
    sizes = [len(bag) for bag in bags]
    ceiling = bayes_ceiling(rule, modality)
    best = f"; the best AUROC of an instance score is {ceiling:.3f}" if ceiling is not None else ""
    return (
        f"generated: {rule.code}, {rule.title}; seed {seed}",
        f"instances: {modality.title}{best}",
        f"keys: {np.mean(with_keys or [0.0]):.0%} of the instances on average in the "
        f"{len(with_keys)} of {len(bags)} bags that have any; key rate {rate:g}",
        f"sizes: {np.mean(sizes):.1f} instances on average, from {min(sizes)} to {max(sizes)}",
    )
