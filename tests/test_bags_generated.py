"""Generated bags: labels follow from key types, truth marks what can decide, ceilings hold."""

import gzip
import itertools
import math
import subprocess
import sys
from collections import Counter
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from attnaudit.data.bags.batches import padded
from attnaudit.data.bags.ceiling import bayes_bag_scores, bayes_ceiling
from attnaudit.data.bags.generated import generate_bag_splits, generate_bags
from attnaudit.data.bags.images import DEVIATION, MEAN, idx_images, sklearn_digits
from attnaudit.data.bags.modalities import MODALITIES, MOTIFS, digits, gaussian, motifs
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.data.bags.rules import NO_LABEL, RULES, find_rule, multi_class, proportion, threshold
from attnaudit.data.bags.sentences import KINDS, VOCABULARY, count_words
from attnaudit.data.generated.opinions import ADJECTIVES, NEGATIVE, POSITIVE
from attnaudit.data.texts.tokens import words
from attnaudit.errors import DataError, NotApplicable, SettingsError
from attnaudit.measures.detection import auroc
from tests.shared import shared_dir

BUILT_IN = ("gaussian", "digits", "motifs", "sentences")


def label_by_hand(code, kinds):
    """The label of a bag, from a list of key types, one instance at a time; None for none."""
    ones, twos = (sum(kind == wanted for kind in kinds) for wanted in (1, 2))
    if code == "T8":
        present = {kind for kind in kinds if kind}
        return None if len(present) > 1 else next(iter(present), 0)
    return int(
        {
            "T1": ones >= 1,
            "T2": ones >= 2,
            "T3": ones and twos,
            "T4": ones or twos,
            "T5": bool(ones) != bool(twos),
            "T6": not ones,
            "T7": ones * 2 > len(kinds),
        }[code]
        and 1
    )


@pytest.mark.parametrize("modality", BUILT_IN)
@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**9), split=st.sampled_from(["all", "train", "dev", "test"]))
def test_every_label_follows_from_the_key_types(rule, modality, seed, split):
    data = generate_bags(rule, modality, 9, seed=seed, split=split)
    for bag in data:
        kinds = bag.key_types.tolist()
        assert bag.label == label_by_hand(RULES[rule].code, kinds)
        assert max(kinds) <= RULES[rule].types
        assert bag.truth.tolist() == [kind > 0 for kind in kinds]
        assert len(bag) >= 3
        assert bag.instances.shape == (len(bag), *data.shape)
    counts = data.class_counts.values()
    assert max(counts) - min(counts) <= 1
    assert data.classes == RULES[rule].classes


@pytest.mark.parametrize("code", [rule.code for rule in RULES.values()])
def test_keys_are_those_whose_replacement_could_change_the_label(code):
    # Among all bags of up to 4 instances: is there one in which an ordinary instance in the place
    # of one of this type gives another label? Truth says so of the types of the rule, and no other.
    rule = find_rule(code)
    decides = set()
    for size in range(1, 5):
        for others in itertools.product(range(rule.types + 1), repeat=size - 1):
            plain = label_by_hand(code, [0, *others])
            for kind in range(rule.types + 1):
                label = label_by_hand(code, [kind, *others])
                if None not in (label, plain) and label != plain:
                    decides.add(kind)
    assert decides == set(range(1, rule.types + 1))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
def test_rules_count_as_by_hand(kinds, data):
    rule = data.draw(st.sampled_from(list(RULES.values())))
    kinds = [kind if kind <= rule.types else 0 for kind in kinds]
    counts = np.array([[kinds.count(kind) for kind in range(1, rule.types + 1)]])
    label = rule.labels(counts, len(kinds)).tolist()[0]
    assert label == (NO_LABEL if (found := label_by_hand(rule.code, kinds)) is None else found)


def test_rules_with_other_numbers():
    assert threshold(4).labels(np.array([[3], [4]]), 9).tolist() == [0, 1]
    # 0.3 * 10 is a little less than 3 in floats, and 3 of 10 are not more than 0.3.
    assert proportion(0.3).labels(np.array([[3], [4]]), 10).tolist() == [0, 1]
    data = generate_bags(multi_class(5), "gaussian", 60)
    assert set(data.class_counts.values()) == {10}
    assert data.classes[3] == "type 3"
    for make in (lambda: threshold(0), lambda: proportion(1.0), lambda: multi_class(1)):
        with pytest.raises(SettingsError):
            make()


def test_sizes_are_a_rounded_normal_and_say_nothing_on_labels():
    data = generate_bags("presence", "gaussian", 3000, dimensions=1)
    sizes = np.array([len(bag) for bag in data])
    labels = np.array([bag.label for bag in data])
    # Five standard errors: of a mean 2 / √3000, of a deviation 2 / √6000.
    assert abs(sizes.mean() - 10) < 0.19
    assert abs(sizes.std() - math.sqrt(4 + 1 / 12)) < 0.14
    assert sizes.min() >= 3
    assert abs(roc_auc_score(labels, sizes) - 0.5) < 0.055


def test_key_rate_and_sizes_can_be_chosen():
    data = generate_bags("T1", "gaussian", 400, mean_size=50, size_deviation=0, key_rate=0.02)
    assert {len(bag) for bag in data} == {50}
    share = np.mean([bag.truth.double().mean() for bag in data if bag.label])
    # A binomial of 50 and 0.02, given that it is not 0.
    assert abs(share - 0.02 / (1 - 0.98**50)) < 0.002
    assert "key rate 0.02" in data.notes[2]


def test_the_share_of_keys_is_reported():
    data = generate_bags("presence", "digits", 300)
    shares = [float(bag.truth.double().mean()) for bag in data if bag.label]
    assert (
        f"keys: {np.mean(shares):.0%} of the instances on average in the 150 of 300"
        in data.notes[2]
    )
    assert 0.13 < np.mean(shares) < 0.19


def test_the_first_bags_are_the_same_however_many_there_are():
    few, many = (generate_bags("T5", "digits", n, seed=2) for n in (6, 20))
    assert few.fingerprint == many.select(many.bags[:6]).fingerprint
    assert generate_bags("T5", "digits", 6, seed=3).fingerprint != few.fingerprint
    splits = generate_bag_splits("T5", "gaussian", 6, 0, 6)
    assert set(splits) == {"train", "test"}
    assert not torch.equal(splits["train"].bags[0].instances, splits["test"].bags[0].instances)


def test_same_seed_same_bags_in_another_process():
    code = (
        "from attnaudit.data.bags.generated import generate_bags as g;"
        f"print(*(g(r, m, 8, seed=7).fingerprint for r in ('T3', 'T8') for m in {BUILT_IN}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    here = [generate_bags(r, m, 8, seed=7).fingerprint for r in ("T3", "T8") for m in BUILT_IN]
    assert other == here
    assert len(set(here)) == len(here)


@pytest.mark.parametrize("delta", [1.5, 2.0, 3.0])
def test_the_best_instance_score_reaches_the_ceiling_and_others_do_not(delta):
    data = generate_bags("presence", "gaussian", 2000, seed=1, delta=delta)
    bags = [bag for bag in data if bag.label]
    instances, mask = padded(bags)
    truth = torch.nn.utils.rnn.pad_sequence([bag.truth for bag in bags], batch_first=True)
    best = auroc(instances[..., 0], truth, mask)
    best = best[~best.isnan()]
    ceiling = bayes_ceiling("presence", "gaussian", delta=delta)
    assert ceiling == NormalDist().cdf(delta / math.sqrt(2))
    error = float(best.std() / math.sqrt(len(best)))
    # An interval of four standard errors on either side, about ± 0.02 at delta 2.
    assert error < 0.007
    assert abs(float(best.mean()) - ceiling) < 4 * error
    # Half of the signal lost to noise of another axis is visibly worse.
    worse = auroc(instances[..., 0] + instances[..., 1], truth, mask).nanmean()
    assert float(worse) < ceiling - 4 * error
    assert f"the best AUROC of an instance score is {ceiling:.3f}" in data.notes[1]


def test_ceilings_are_known_where_they_can_be():
    assert round(bayes_ceiling("T1", gaussian(1.5)), 3) == 0.856
    assert round(bayes_ceiling("T7", gaussian(2)), 3) == 0.921
    assert bayes_ceiling("T1", gaussian(0)) == 0.5
    assert bayes_ceiling("T5", "gaussian") is None
    assert bayes_ceiling("T1", "digits") is None
    assert bayes_ceiling("T8", "sentences") == 1


def by_enumeration(values, rule, rate, delta):
    """P(positive | bag) from every way to make instances keys, labels balanced."""
    density = NormalDist().pdf
    joint, prior = [0.0, 0.0], [0.0, 0.0]
    for kinds in itertools.product((0, 1), repeat=len(values)):
        label = label_by_hand(rule.code, kinds)
        chance = math.prod(rate if kind else 1 - rate for kind in kinds)
        prior[label] += chance
        joint[label] += chance * math.prod(
            density(value - delta * kind) for value, kind in zip(values, kinds, strict=True)
        )
    odds = [joint[label] / prior[label] for label in (0, 1)]
    return odds[1] / sum(odds)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-4, 4), min_size=3, max_size=7),
    st.sampled_from(["T1", "T2", "T6", "T7"]),
    st.floats(0.05, 0.6),
    st.floats(0.0, 3.0),
)
def test_the_best_bag_score_is_that_of_all_ways_to_choose_keys(values, code, rate, delta):
    values = [float(np.float32(value)) for value in values]
    bag = bag_record("a", [[value] for value in values], 0)
    data = BagDataset("demo", (bag,), ("negative", "positive"), (1,))
    (score,) = bayes_bag_scores(data, code, gaussian(delta, 1), rate)
    assert score == pytest.approx(by_enumeration(values, find_rule(code), rate, delta), rel=1e-9)


def test_the_best_bag_score_is_calibrated_and_better_than_the_largest_value():
    data = generate_bags("presence", "gaussian", 4000, seed=3, delta=2.0)
    labels = np.array([bag.label for bag in data])
    scores = bayes_bag_scores(data, "presence", delta=2.0)
    for low in (0.0, 0.25, 0.5, 0.75):
        part = (scores >= low) & (scores < low + 0.25)
        error = math.sqrt(0.25 / part.sum())
        assert abs(labels[part].mean() - scores[part].mean()) < 4 * error
    largest = np.array([float(bag.instances[:, 0].max()) for bag in data])
    assert roc_auc_score(labels, scores) > roc_auc_score(labels, largest)
    for rule, modality in (("T3", "gaussian"), ("T8", "gaussian"), ("T1", "digits")):
        with pytest.raises(NotApplicable, match="not for"):
            bayes_bag_scores(data, rule, modality)


def test_digits_are_the_right_images_and_splits_share_none():
    source = load_digits()
    known = {
        image.tobytes(): digit
        for image, digit in zip((source.images / 16).astype(np.float32), source.target, strict=True)
    }
    data = generate_bags("conjunction", "digits", 40)
    for bag in data:
        shown = [known[image.numpy().tobytes()] for image in bag.instances]
        assert bag.names == tuple(map(str, shown))
        assert bag.key_types.tolist() == [{9: 1, 7: 2}.get(digit, 0) for digit in shown]
    # With one key type, the other digits are ordinary.
    one = Counter(name for bag in generate_bags("presence", "digits", 100) for name in bag.names)
    assert set(one) == set("0123456789")
    images = sklearn_digits()
    pools = {name: {i.tobytes() for i in images.pools[name][0]} for name in images.pools}
    assert {name: len(images.pools[name][1]) for name in pools} == {
        "train": 1000,
        "dev": 200,
        "test": 597,
    }
    assert not any(pools[a] & pools[b] for a, b in itertools.combinations(pools, 2))
    for split, data in generate_bag_splits("T1", "digits", 20, 20, 20).items():
        assert all(i.numpy().tobytes() in pools[split] for bag in data for i in bag.instances)


def test_strings_hold_the_motif_of_their_type_and_no_other():
    data = generate_bags("multi_class", "motifs", 40)
    letters = "ACDEFGHIKLMNPQRSTVWY"
    places = Counter()
    for bag in data:
        for string, code, kind in zip(
            bag.names, bag.instances, bag.key_types.tolist(), strict=True
        ):
            assert [motif in string for motif in MOTIFS] == [kind == n for n in (1, 2, 3, 4)]
            assert code.sum(1).tolist() == [1.0] * 12
            assert "".join(letters[place] for place in code.argmax(1)) == string
            if kind:
                places[string.index(MOTIFS[kind - 1])] += 1
    assert set(places) == set(range(9))
    assert generate_bags("T1", "motifs", 4, length=6, motifs=["AC"]).shape == (6, 20)


def test_sentences_of_a_type_alone_have_its_words():
    marks = {
        "praise": set(ADJECTIVES.common(POSITIVE)),
        "blame": set(ADJECTIVES.common(NEGATIVE)),
        "price": {"euros"},
    }
    for bag in generate_bags("multi_class", "sentences", 80):
        for text, kind in zip(bag.names, bag.key_types.tolist(), strict=True):
            units = {text[start:end].lower() for start, end in words(text)}
            assert [bool(units & marks[name]) for name in KINDS] == [kind == n for n in (1, 2, 3)]
    # Nothing that is written lacks a place in the vocabulary.
    texts = [text for bag in generate_bags("T4", "sentences", 60) for text in bag.names]
    units = [sum(t[a:b][0].isalnum() for a, b in words(t)) for t in texts]
    assert count_words(texts).sum(1).tolist() == units
    assert len(set(VOCABULARY)) == len(VOCABULARY) < 600


def idx(array):
    header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder, part, n, zipped=False):
    rng = np.random.default_rng(n)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = rng.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
    for kind, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True):
        raw = gzip.compress(idx(array)) if zipped else idx(array)
        (folder / f"{part}-{kind}-ubyte{'.gz' if zipped else ''}").write_bytes(raw)
    return arrays


def test_mnist_is_read_from_its_files(tmp_path):
    raw, _ = write_mnist(tmp_path / "MNIST" / "raw", "t10k", 100, zipped=True)
    images = idx_images(tmp_path)
    assert {name: len(pool[1]) for name, pool in images.pools.items()} == {
        "test": 20,
        "dev": 10,
        "train": 70,
    }
    expected = {((image / 255 - MEAN) / DEVIATION).astype(np.float32).tobytes() for image in raw}
    assert {image.tobytes() for image in images.pool("all")[0]} == expected
    data = generate_bags("T1", "mnist", 6, folder=tmp_path, split="test")
    assert data.shape == (1, 28, 28)

    both = tmp_path / "both"
    test, _ = write_mnist(both, "t10k", 30)
    write_mnist(both, "train", 60)
    images = idx_images(both)
    assert {name: len(pool[1]) for name, pool in images.pools.items()} == {
        "test": 30,
        "dev": 10,
        "train": 50,
    }
    np.testing.assert_allclose(images.pools["test"][0][:, 0], (test / 255 - 0.1307) / 0.3081, 1e-5)


def test_mnist_files_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="holds no t10k-images-idx3-ubyte"):
        idx_images(tmp_path)
    write_mnist(tmp_path / "a", "t10k", 20)
    images = tmp_path / "a" / "t10k-images-idx3-ubyte"
    whole = images.read_bytes()
    for content, message in (
        (whole[:-1], "cut short"),
        (b"\0\0\0\0" + whole[4:], "no IDX file"),
        (whole[:7], "no IDX file"),
        (gzip.compress(whole)[:-9], "damaged gzip file"),
        (idx(np.zeros((3, 28, 28))), "has 3 images, .* 20 labels"),
    ):
        images.write_bytes(content)
        with pytest.raises(DataError, match=message):
            idx_images(tmp_path / "a")
    images.unlink()
    with pytest.raises(DataError, match="without its partner"):
        idx_images(tmp_path / "a")


def test_the_real_mnist():
    data = generate_bag_splits("T1", "mnist", 8, 2, 8, folder=shared_dir("data/mnist_t10k"))
    pixels = torch.cat([bag.instances for bag in data["train"]])
    # Standardised by the figures of the training images, so not exactly 0 and 1.
    assert abs(float(pixels.mean())) < 0.15
    assert abs(float(pixels.std()) - 1) < 0.15


def test_every_modality_is_registered_with_its_options():
    assert set(MODALITIES) == {*BUILT_IN, "mnist"}
    assert [find_rule(f"t{number}").name for number in range(1, 9)] == list(RULES)
    assert (
        generate_bags("T1", digits([3]), 4).fingerprint
        == generate_bags("T1", "digits", 4, key_digits=[3]).fingerprint
    )


@pytest.mark.parametrize(
    ("rule", "modality", "options", "message"),
    [
        ("T9", "digits", {}, "unknown rule 'T9': choose one of presence .T1."),
        ("T1", "voices", {}, "unknown modality 'voices': choose one of gaussian, digits"),
        ("T1", "gaussian", {"sigma": 1}, "no option 'sigma'; it has: delta, dimensions"),
        ("T1", "sentences", {"sigma": 1}, "it has: none"),
        ("T1", "mnist", {}, "needs folder="),
        ("T1", "gaussian", {"delta": -1}, "delta is 0 or more"),
        ("T1", "gaussian", {"delta": math.nan}, "delta is 0 or more"),
        ("T1", gaussian(), {"delta": 1}, "a Modality takes no options"),
        ("T3", "gaussian", {"dimensions": 1}, "needs 2 key types, and 'gaussian' has 1"),
        ("T8", "digits", {"key_digits": [1, 2]}, "needs 3 key types"),
        ("T1", "digits", {"key_digits": [1, 1]}, "different digits"),
        ("T1", "digits", {"key_digits": [10]}, "different digits"),
        ("T1", "motifs", {"motifs": ["ABBA"]}, "of the letters"),
        ("T1", "motifs", {"motifs": ["ACD", "AC"]}, "stands in another one"),
        ("T1", "digits", {"n_bags": 1}, "2 or more bags are needed, got 1"),
        ("T8", "digits", {"n_bags": 3}, "4 or more bags"),
        ("T1", "digits", {"key_rate": 0}, "key_rate is above 0"),
        ("T3", "digits", {"key_rate": 0.6}, "at most 1 for all 2 key types"),
        ("T1", "digits", {"mean_size": 0}, "mean_size above 0"),
        ("T1", "digits", {"smallest": 0}, "smallest 1 or more"),
        ("T1", "digits", {"split": "extra"}, "splits 'test', 'dev', 'train' and 'all'"),
        ("T1", "gaussian", {"mean_size": 10_000}, "no bag of .* the label 'negative' was found"),
    ],
)
def test_options_that_cannot_be_are_refused(rule, modality, options, message):
    with pytest.raises(SettingsError, match=message):
        generate_bags(rule, modality, **{"n_bags": 4, **options})


def test_a_motif_that_is_always_there_is_refused():
    with pytest.raises(SettingsError, match="stands in another one"):
        motifs(12, ["WKDF", "WKDF"])
