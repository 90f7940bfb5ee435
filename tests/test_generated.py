"""Generated reviews: truth decides the label, and nothing else does."""

import re
import subprocess
import sys

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from attnaudit.data.generated.opinions import NEGATORS
from attnaudit.data.generated.reviews import (
    LONGEST,
    SHORTEST,
    generate_review_splits,
    generate_reviews,
    opinion_words,
)
from attnaudit.data.generated.topics import TOPICS
from attnaudit.data.texts.tokens import words
from attnaudit.errors import SettingsError

DIFFICULTIES = (0.0, 0.3, 0.6, 1.0)
POLARITY = opinion_words()
# Longest first, so that "by no means" is not taken for "no".
NEGATION = re.compile("|".join(sorted(map(re.escape, NEGATORS), key=len, reverse=True)))


@pytest.fixture(scope="module")
def by_difficulty():
    return {
        difficulty: generate_review_splits(1500, 2, 600, seed=5, difficulty=difficulty)
        for difficulty in DIFFICULTIES
    }


def accuracy(splits, analyse):
    """Of a bag of words, by logistic regression, on the test split."""
    model = make_pipeline(CountVectorizer(analyzer=analyse), LogisticRegression(max_iter=1000))
    labels = {name: [record.label for record in data] for name, data in splits.items()}
    model.fit(splits["train"].records, labels["train"])
    return model.score(splits["test"].records, labels["test"])


def all_units(record):
    return [unit.lower() for unit in record.units]


def units_without_truth(record):
    return [
        unit.lower()
        for unit, is_true in zip(record.units, record.truth, strict=True)
        if not is_true
    ]


def opinions_in_truth(record):
    """The polarity of each opinion that truth marks, after negation."""
    found, before = [], []
    for unit, is_true in zip(record.units, record.truth, strict=True):
        if not is_true:
            continue
        word = unit.lower()
        if word not in POLARITY:
            before.append(word)
            continue
        negator = " ".join(before)
        assert not negator or NEGATION.fullmatch(negator), (negator, record.text)
        found.append(-POLARITY[word] if negator else POLARITY[word])
        before = []
    assert not before, record.text
    return found


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_truth_decides_the_label_of_every_review(by_difficulty, difficulty):
    for record in by_difficulty[difficulty]["train"]:
        opinions = opinions_in_truth(record)
        assert opinions
        assert {label_of(opinion) for opinion in opinions} == {record.label}


def label_of(polarity):
    return 1 if polarity > 0 else 0


@pytest.mark.parametrize("difficulty", [0.0, 0.3])
def test_what_is_no_truth_says_nothing_on_the_label(by_difficulty, difficulty):
    # 600 test reviews: chance lies within 0.5 ± 0.06 in 997 of 1000 draws.
    assert abs(accuracy(by_difficulty[difficulty], units_without_truth) - 0.5) < 0.06


def test_harder_sets_are_harder_for_a_bag_of_words(by_difficulty):
    scores = [accuracy(by_difficulty[difficulty], all_units) for difficulty in DIFFICULTIES]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.93
    assert 0.7 < scores[1] < 0.93
    assert 0.5 < scores[-1] < 0.7


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_labels_are_balanced_and_texts_are_different(by_difficulty, difficulty):
    splits = by_difficulty[difficulty]
    for data in splits.values():
        counts = data.class_counts
        assert abs(counts["negative"] - counts["positive"]) <= 1
    texts = [record.text for data in splits.values() for record in data]
    assert len(set(texts)) == len(texts) == 2102
    assert {name: len(data) for name, data in splits.items()} == {
        "train": 1500,
        "dev": 2,
        "test": 600,
    }


def test_lengths_are_broad(by_difficulty):
    lengths = sorted(len(record.units) for record in by_difficulty[0.3]["train"])
    assert SHORTEST <= lengths[0] <= 6
    assert 50 <= lengths[-1] <= LONGEST
    first, last = lengths[len(lengths) // 10], lengths[-len(lengths) // 10]
    assert first < 12
    assert last > 40


def test_units_offsets_and_truth_fit_together(by_difficulty):
    for record in by_difficulty[1.0]["train"]:
        assert list(record.offsets) == words(record.text)
        assert len(record.truth) == len(record.units)
        # Marks and slots are gone, and articles agree with what follows.
        assert not re.search(r"[\x00-\x1f{}\[\]*]|  ", record.text)
        assert not re.search(r"(?i)\ba [aeiou]|\ban [^aeiou]", record.text)
        assert record.text[0].isupper()


def test_words_of_opinion_stand_outside_truth_too(by_difficulty):
    def share_with_opinion_outside(difficulty):
        data = by_difficulty[difficulty]["train"]
        hits = [
            any(unit in POLARITY or unit in NEGATORS for unit in units_without_truth(record))
            for record in data
        ]
        return sum(hits) / len(hits)

    assert 0.2 < share_with_opinion_outside(0.3) < share_with_opinion_outside(1.0)


def test_no_word_is_praise_here_and_blame_there():
    seen = {}
    for topic in TOPICS.values():
        for kind in (topic.adjectives, *(side.adjectives for side in topic.sides)):
            for word, polarity in kind.polarities():
                assert seen.setdefault(word, polarity) == polarity == POLARITY[word]


def test_plain_facts_hold_no_word_of_opinion(by_difficulty):
    for topic in TOPICS.values():
        for fact in topic.facts:
            found = {unit.lower() for unit in re.findall(r"[\w-]+", fact)} & set(POLARITY)
            assert not found, (found, fact)


def test_the_vocabulary_has_several_hundred_words(by_difficulty):
    words_used = {unit.lower() for record in by_difficulty[0.3]["train"] for unit in record.units}
    assert 600 < len(words_used) < 1500


def test_the_share_of_evidence_is_in_the_notes():
    data = generate_reviews(40, seed=2)
    shares = [sum(record.truth) / len(record.units) for record in data]
    assert any(f"{sum(shares) / len(shares):.0%}" in note for note in data.notes)
    assert data.has_truth


def test_same_seed_same_reviews_in_another_process():
    code = (
        "from attnaudit.data.generated.reviews import generate_reviews;"
        "print(generate_reviews(50, seed=7, difficulty=0.8).fingerprint)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert other == generate_reviews(50, seed=7, difficulty=0.8).fingerprint
    assert other != generate_reviews(50, seed=8, difficulty=0.8).fingerprint


def test_one_topic_alone():
    data = generate_reviews(60, seed=0, topics=["hotel"])
    text = " ".join(record.text for record in data)
    assert "hotel" in text
    assert "novel" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 1}, "2 or more"),
        ({"difficulty": 1.1}, "from 0 to 1"),
        ({"difficulty": float("nan")}, "from 0 to 1"),
        ({"topics": ["cars"]}, "topics must be some of film"),
        ({"topics": []}, "topics must be some of film"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        generate_reviews(**options)
