"""The generated tasks of one text: the latest version decides, and all cues decide alike."""

import re
from collections import Counter

import pytest
from scipy.stats import binom, chi2_contingency, chisquare
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from attnaudit.data.generated.latest import CLASSES, LONGEST, SHORTEST, generate_latest_splits
from attnaudit.data.generated.opinions import general_opinions
from attnaudit.data.generated.polarity import generate_polarity_splits, polarity_ceiling
from attnaudit.errors import SettingsError

# Read by hand, so that the reader below knows nothing of the generator's lists.
BETTER = {
    *("delighted", "impressed", "charmed", "thrilled", "pleased"),
    *("enchanted", "convinced", "amazed", "inspired", "helped"),
}
NUMBERS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
)
VERDICT = re.compile(r"Version ([a-z]+) ([a-z]+) [a-z]+\.")


@pytest.fixture(scope="module")
def latest():
    return generate_latest_splits(1600, 200, 800, seed=3)


@pytest.fixture(scope="module")
def polarity():
    return generate_polarity_splits(1600, 200, 3000, seed=3)


def verdicts(text):
    """Number, whether it is praise, and where the sentence stands, of each verdict in a text."""
    return [
        (NUMBERS.index(match[1]), match[2] in BETTER, match.span())
        for match in VERDICT.finditer(text)
    ]


def word_counts(data):
    """How often each frequent word stands in texts of each label."""
    counts = [Counter(), Counter()]
    for record in data:
        counts[record.label].update(unit.lower() for unit in record.units)
    frequent = [word for word in counts[0] | counts[1] if counts[0][word] + counts[1][word] > 20]
    return [[counts[label][word] for word in frequent] for label in (0, 1)]


def bag_of_words_accuracy(splits):
    model = make_pipeline(CountVectorizer(), LogisticRegression(C=0.1, max_iter=500))
    model.fit([r.text for r in splits["train"]], [r.label for r in splits["train"]])
    return model.score([r.text for r in splits["test"]], [r.label for r in splits["test"]])


def test_the_latest_version_decides_and_truth_marks_its_words(latest):
    for data in latest.values():
        for record in data:
            _, better, (start, end) = max(verdicts(record.text))
            assert CLASSES[record.label] == ("better" if better else "worse")
            for (first, last), unit, is_true in zip(
                record.offsets, record.units, record.truth, strict=True
            ):
                assert is_true == (start <= first and last <= end and unit != ".")


def test_versions_follow_on_each_other_and_verdicts_are_balanced(latest):
    lasts = []
    for record in latest["train"]:
        found = sorted(verdicts(record.text))
        numbers = [number for number, _, _ in found]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert sum(better for _, better, _ in found) == len(found) / 2
        lasts.append(numbers[-1])
    assert set(lasts) == set(range(3, 16))
    assert {len(verdicts(record.text)) for record in latest["train"]} == {4, 6, 8}


def test_lengths_are_between_their_bounds(latest):
    lengths = sorted(len(record.units) for record in latest["train"])
    assert lengths[0] >= SHORTEST
    assert lengths[-1] <= LONGEST
    assert lengths[-160] - lengths[160] > 20


def test_words_say_nothing_on_the_label(latest):
    assert chi2_contingency(word_counts(latest["train"])).pvalue > 0.001
    # Four standard errors of 800 guesses.
    assert abs(bag_of_words_accuracy(latest) - 0.5) < 0.071


def test_the_place_of_the_evidence_says_nothing_on_the_label(latest):
    places = [[0] * 8, [0] * 8]
    for record in latest["train"]:
        found = verdicts(record.text)
        if len(found) == 8:
            places[record.label][found.index(max(found))] += 1
    assert chi2_contingency(places).pvalue > 0.001
    assert chisquare([sum(column) for column in zip(*places, strict=True)]).pvalue > 0.001


@pytest.mark.parametrize("versions", [(), (3,), (4, 10), (0,)])
def test_numbers_of_versions_out_of_range_are_refused(versions):
    with pytest.raises(SettingsError, match="even numbers from 2 to 8"):
        generate_latest_splits(8, 8, 8, versions=versions)


def test_cues_agree_with_the_label_as_often_as_asked(polarity):
    known = general_opinions()
    agreeing = total = 0
    for record in polarity["test"]:
        signs = [known.get(unit.lower()) for unit in record.units]
        label = 1 if record.label else -1
        assert list(record.truth) == [sign == label for sign in signs]
        cues = [sign for sign in signs if sign is not None]
        assert len(record.units) == 3 * len(cues)
        assert 15 <= len(cues) <= 25
        assert len(cues) % 2 == 1
        agreeing, total = agreeing + sum(sign == label for sign in cues), total + len(cues)
    assert abs(agreeing / total - 0.65) < 4 * (0.65 * 0.35 / total) ** 0.5


def test_a_majority_vote_reaches_the_ceiling_and_a_bag_of_words_nearly(polarity):
    ceiling = polarity_ceiling((15, 17, 19, 21, 23, 25), 0.65)
    assert ceiling == pytest.approx(
        sum(binom.sf(n // 2, n, 0.65) for n in (15, 17, 19, 21, 23, 25)) / 6
    )
    assert f"{ceiling:.3f}" in polarity["test"].notes[1]
    known = general_opinions()
    right = sum(
        (sum(known.get(unit.lower(), 0) for unit in record.units) > 0) == record.label
        for record in polarity["test"]
    )
    # Four standard errors of 3000 draws.
    assert abs(right / 3000 - ceiling) < 0.021
    assert ceiling - 0.05 < bag_of_words_accuracy(polarity) < ceiling + 0.021
    # The same statistic that finds nothing in the other task.
    assert chi2_contingency(word_counts(polarity["train"])).pvalue < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cues": ()}, "odd numbers"),
        ({"cues": (4,)}, "odd numbers"),
        ({"cues": (-1,)}, "odd numbers"),
        ({"agreement": 0.5}, "above 0.5"),
        ({"agreement": 1.0}, "above 0.5"),
        ({"agreement": float("nan")}, "above 0.5"),
    ],
)
def test_options_of_polarity_out_of_range_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        generate_polarity_splits(8, 8, 8, **options)
