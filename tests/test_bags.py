"""Bags as records: what is refused, padding, batches, splits, folds and scaling."""

import pickle
from collections import Counter
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from attnaudit.data.bags.batches import padded
from attnaudit.data.bags.records import Bag, BagDataset, bag_record
from attnaudit.data.bags.scaling import standardised
from attnaudit.data.bags.splits import bag_folds, split_bags
from attnaudit.errors import DataError, SettingsError

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=25)


def bags_of(sizes, shape=(2,), labels=None):
    rng = np.random.default_rng(0)
    labels = labels or [place % 2 for place in range(len(sizes))]
    return tuple(
        bag_record(f"b{place}", rng.normal(size=(n, *shape)), label)
        for place, (n, label) in enumerate(zip(sizes, labels, strict=True))
    )


def data_of(n, classes=("no", "yes"), labels=None):
    return BagDataset("demo", bags_of([1 + i % 5 for i in range(n)], labels=labels), classes, (2,))


VALUES = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bag("p7", torch.ones(0, 3)), "'p7' is empty"),
        (lambda: Bag("p7", torch.ones(2, 0)), "'p7' is empty"),
        (lambda: Bag("p7", torch.tensor(1.0)), "'p7' is empty"),
        (lambda: Bag("p7", VALUES.double()), "'p7': instances must be a tensor of torch.float32"),
        (lambda: Bag("p7", [[1.0]]), "found list"),
        (lambda: Bag("p7", VALUES.where(VALUES < 0, torch.nan)), r"value at \[0, 0\] is nan"),
        (lambda: Bag("p7", VALUES * torch.inf), "is inf"),
        (lambda: Bag("p7", VALUES, float("nan")), "'p7': the label is nan"),
        (lambda: Bag("p7", VALUES, truth=torch.ones(3, dtype=torch.bool)), r"'p7': truth has .*3"),
        (lambda: Bag("p7", VALUES, truth=torch.ones(2)), "truth must be a tensor of torch.bool"),
        (lambda: Bag("p7", VALUES, key_types=torch.tensor([-1, 0])), "one is negative"),
        (lambda: Bag("p7", VALUES, coordinates=torch.ones(2, 3)), "'p7': coordinates has .*2, 3"),
        (lambda: Bag("p7", VALUES, names=("a",)), "'p7': 1 names for 2 instances"),
        (lambda: bag_record("p7", [[1], [2]], truth=[1, 0], key_types=[0, 1]), "mark different"),
        (lambda: bag_record("p7", [[1], [2]], truth=[1, 0.5]), "truth: the values must be 0 or 1"),
        (lambda: bag_record("p7", [[1], [2, 3]]), "'p7': instances are no numbers"),
        (lambda: bag_record("p7", [["a"]]), "'p7': instances are no numbers"),
        (lambda: bag_record("p7", None), "'p7' has no instances"),
    ],
)
def test_a_bag_that_cannot_be_used_is_refused_by_name(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bags": ()}, "holds no bag"),
        ({"bags": (bag_record("a", [[1, 2]], 0),) * 2}, "two bags have the id 'a'"),
        ({"bags": (bag_record("a", [[1]], 0),)}, r"'a': its instances have the shape \(1,\)"),
        ({"bags": (bag_record("a", [[1, 2]], 2),)}, "'a': the label 2 is no index into the 2"),
        ({"bags": (bag_record("a", [[1, 2]], 0.5),)}, "'a': the label 0.5 is no index"),
        ({"classes": ()}, "is no index into the 0 classes"),
    ],
)
def test_bags_that_do_not_fit_together_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        replace(data_of(4), **change)


def test_a_bag_is_a_record():
    bag = bag_record("a", [[1], [2]], np.int64(1), key_types=[2, 0], names=["x", "y"])
    assert (bag.units, bag.truth.tolist(), bag.label, len(bag)) == (("x", "y"), [True, False], 1, 2)
    with pytest.raises(FrozenInstanceError):
        bag.label = 0
    again = pickle.loads(pickle.dumps(bag))
    assert torch.equal(again.instances, bag.instances)
    data = BagDataset("demo", (bag,), ("no", "yes"), (1,))
    assert (data.records, data.has_truth, sum(map(len, data))) == ((bag,), True, 2)
    assert data.fingerprint == replace(data, bags=(again,)).fingerprint
    for other in (
        replace(bag, instances=bag.instances + 1),
        replace(bag, truth=None),
        replace(bag, key_types=torch.tensor([1, 0])),
        replace(bag, label=0),
        replace(bag, names=None),
        replace(bag, coordinates=torch.zeros(2, 2)),
    ):
        assert replace(data, bags=(other,)).fingerprint != data.fingerprint


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_padding_keeps_every_instance_and_adds_zeros(sizes):
    bags = bags_of(sizes, (2, 3))
    instances, mask = padded(bags)
    assert instances.shape == (len(sizes), max(sizes), 2, 3)
    assert mask.sum(1).tolist() == sizes
    assert not instances[~mask].any()
    for row, bag in enumerate(bags):
        assert torch.equal(instances[row][mask[row]], bag.instances)
        assert mask[row, : len(bag)].all()


def test_padding_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="no bag to pad"):
        padded([])
    with pytest.raises(
        DataError, match=r"'b' has instances of the shape \(2,\), bag 'a' of \(1,\)"
    ):
        padded([bag_record("a", [[1]]), bag_record("b", [[1, 2]])])


@pytest.mark.parametrize("n", [60, 200])
def test_splits_are_stratified_and_do_not_depend_on_order(n):
    labels = [int(place % 4 == 0) for place in range(n)]
    data = data_of(n, labels=labels)
    parts = split_bags(data, (0.6, 0.2, 0.2), seed=3)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": round(0.6 * n),
        "dev": round(0.2 * n),
        "test": round(0.2 * n),
    }
    assert sorted(bag.id for part in parts.values() for bag in part) == sorted(
        bag.id for bag in data
    )
    for name, part in parts.items():
        assert part.split == name
        assert abs(part.class_counts["yes"] - len(part) / 4) <= 1
    turned = split_bags(data.select(data.bags[::-1]), (0.6, 0.2, 0.2), seed=3)
    for name, part in parts.items():
        assert {bag.id for bag in part} == {bag.id for bag in turned[name]}
    other = split_bags(data, (0.6, 0.2, 0.2), seed=4)
    assert {bag.id for bag in parts["test"]} != {bag.id for bag in other["test"]}


def test_quantities_are_cut_at_random_and_a_share_of_0_is_left_out():
    labels = [place / 7 for place in range(20)]
    parts = split_bags(data_of(20, (), labels), (0.5, 0, 0.5))
    assert {name: len(part) for name, part in parts.items()} == {"train": 10, "test": 10}


@pytest.mark.parametrize(
    ("n", "fractions", "error", "message"),
    [
        (20, (0.5, 0.6, 0), SettingsError, "sum to 1"),
        (20, (0.5, 0.5), SettingsError, "sum to 1"),
        (3, (0.8, 0.1, 0.1), DataError, "3 bags, too few for a dev split of 10%"),
        (4, (0.5, 0.25, 0.25), DataError, "all classes in each"),
    ],
)
def test_splits_that_cannot_be_are_refused(n, fractions, error, message):
    with pytest.raises(error, match=message):
        split_bags(data_of(n), fractions)


def test_folds_test_every_bag_once_in_each_repetition():
    labels = [int(place % 3 == 0) for place in range(45)]
    data = data_of(45, labels=labels)
    folds = list(bag_folds(data, 5, repeats=3, seed=1))
    assert [(fold.repeat, fold.fold) for fold in folds] == [
        (r, f) for r in range(3) for f in range(5)
    ]
    for repeat in range(3):
        tested = Counter(bag.id for f in folds if f.repeat == repeat for bag in f.test)
        assert tested == {bag.id: 1 for bag in data}
    for fold in folds:
        assert fold.test.class_counts == {"no": 6, "yes": 3}
        assert not {bag.id for bag in fold.train} & {bag.id for bag in fold.test}
        assert len(fold.train) + len(fold.test) == 45
        assert (fold.train.split, fold.test.split) == ("train", "test")
    turned = list(bag_folds(data.select(data.bags[::-1]), 5, repeats=3, seed=1))
    for a, b in zip(folds, turned, strict=True):
        assert {bag.id for bag in a.test} == {bag.id for bag in b.test}
    first, second = ({bag.id for bag in folds[place].test} for place in (0, 5))
    assert first != second


def test_folds_that_cannot_be_are_refused():
    with pytest.raises(SettingsError, match="folds are 2 or more"):
        next(bag_folds(data_of(20), 1))
    with pytest.raises(DataError, match="5 bags of its rarest class, fewer than 6 folds"):
        next(bag_folds(data_of(10), 6))
    assert len(list(bag_folds(data_of(10, (), [0.5] * 10), 10))) == 10


def test_scaling_is_that_of_the_training_instances_alone():
    train, test = data_of(12), data_of(6)
    test = replace(test, bags=tuple(replace(b, instances=b.instances * 9) for b in test))
    scaler = StandardScaler().fit(torch.cat([bag.instances for bag in train]).double())
    for before, after in zip((train, test), standardised(train, test), strict=True):
        for old, new in zip(before, after, strict=True):
            expected = scaler.transform(old.instances.double())
            np.testing.assert_allclose(new.instances, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match=r"instances of \(3,\), and train \(2,\)"):
        standardised(train, BagDataset("other", bags_of([2], (3,)), ("no", "yes"), (3,)))
