"""Word ids: against scikit-learn's CountVectorizer, and padding against a loop."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from attnaudit.data.records import Text
from attnaudit.errors import DataError, SettingsError
from attnaudit.nets.text.vocabulary import (
    EOS,
    FIRST_WORD,
    PAD,
    SOS,
    UNK,
    Vocabulary,
    build_vocabulary,
    pad_sequences,
)


def record(id_, words):
    units = tuple(words)
    starts = [sum(len(unit) + 1 for unit in units[:k]) for k in range(len(units))]
    offsets = tuple((start, start + len(unit)) for start, unit in zip(starts, units, strict=True))
    return Text(str(id_), " ".join(units), units, offsets)


texts = st.lists(
    st.lists(st.sampled_from(["A", "a", "b", "B", "Été", "c.", "7"]), min_size=1, max_size=6),
    min_size=1,
    max_size=8,
)


@given(texts, st.integers(1, 3), st.booleans())
def test_the_words_kept_are_those_of_count_vectorizer(rows, min_df, lowercase):
    counter = CountVectorizer(
        min_df=min_df, lowercase=lowercase, tokenizer=str.split, token_pattern=None
    )
    records = [record(k, row) for k, row in enumerate(rows)]
    try:
        expected = set(counter.fit([" ".join(row) for row in rows]).vocabulary_)
    except ValueError:  # scikit-learn: no terms remain, or min_df above the number of texts
        with pytest.raises(DataError, match="min_df"):
            build_vocabulary(records, min_df, lowercase)
        return
    assert set(build_vocabulary(records, min_df, lowercase).words) == expected


@given(texts, st.randoms())
def test_order_depends_on_frequency_and_not_on_the_order_of_records(rows, random):
    records = [record(k, row) for k, row in enumerate(rows)]
    words = build_vocabulary(records).words
    frequency = [sum(word in map(str.lower, row) for row in rows) for word in words]
    assert frequency == sorted(frequency, reverse=True)
    shuffled = records.copy()
    random.shuffle(shuffled)
    assert build_vocabulary(shuffled).words == words


def test_special_ids_and_unknown_words():
    vocabulary = Vocabulary(("good", "film"))
    assert (PAD, UNK, SOS, EOS, FIRST_WORD) == (0, 1, 2, 3, 4)
    assert vocabulary.encode(["Film", "GOOD", "nowhere", ""]) == [5, 4, 1, 1]
    assert Vocabulary(("good",), lowercase=False).encode(["Good", "good"]) == [1, 4]
    assert len(vocabulary) == 6


@given(st.lists(st.text(), unique=True), st.booleans())
def test_json_round_trip(words, lowercase):
    vocabulary = Vocabulary(tuple(words), lowercase)
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON.*column 2"),
        ("[]", "must be an object"),
        ('{"words": ["a"]}', "lowercase"),
        (json.dumps({"words": ["a", 3], "lowercase": True}), "word 1 is 3"),
        (json.dumps({"words": ["a", "b", "a"], "lowercase": True}), "'a' more than once"),
    ],
)
def test_damaged_json_is_refused(text, says):
    with pytest.raises(DataError, match=says):
        Vocabulary.from_json(text)


def test_min_df_below_one_is_refused():
    with pytest.raises(SettingsError, match="min_df"):
        build_vocabulary([record("a", ["b"])], min_df=0)


@given(st.lists(st.lists(st.integers(4, 99), max_size=7), min_size=1, max_size=5))
def test_padding_against_a_loop(sequences):
    ids, present, units = pad_sequences(sequences)
    assert ids.shape[1] == max(map(len, sequences)) + 2
    for row, sequence in enumerate(sequences):
        stored = [SOS, *sequence, EOS]
        assert ids[row, : len(stored)].tolist() == stored
        assert (ids[row, len(stored) :] == PAD).all()
        assert present[row].nonzero().flatten().tolist() == list(range(len(stored)))
        assert units[row].nonzero().flatten().tolist() == list(range(1, len(sequence) + 1))


def test_no_sequences_make_an_empty_batch():
    ids, present, units = pad_sequences([])
    assert ids.shape == present.shape == units.shape == (0, 2)
