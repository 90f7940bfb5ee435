"""Tokenizers lose nothing, tear nothing apart, and say where each unit stands."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnaudit.data.texts.tokens import (
    _ASCII_WORDS,
    TOKENIZERS,
    _word_pattern,
    join_units,
    text_record,
    whitespace,
    words,
)
from attnaudit.errors import DataError, SettingsError

# Plain letters beside what is difficult: marks, joiners, flags, other scripts, odd blanks.
ODD = (
    "aZ0.,:'’-_ \t\n\u00a0\u1680\u2028\u0301\u200b\u200d\u20e3\ufe0f\u05d0ם我ひกé½²"
    "👍🏽🇩🇪👩♂\x00\x1c"
)
texts = st.one_of(st.text(), st.text(alphabet=ODD))


def units(text, tokenizer=words):
    return [text[start:end] for start, end in tokenizer(text)]


@given(texts, st.sampled_from(sorted(TOKENIZERS)))
def test_offsets_increase_and_only_whitespace_is_left_out(text, name):
    record = text_record("a", text, tokenizer=name)
    position = 0
    for unit, (start, end) in zip(record.units, record.offsets, strict=True):
        assert position <= start < end
        assert text[start:end] == unit
        assert not any(character.isspace() for character in unit)
        assert text[position:start].strip() == ""
        position = end
    assert text[position:].strip() == ""


@given(texts)
def test_whitespace_agrees_with_str_split(text):
    assert units(text, whitespace) == text.split()


@given(st.text(alphabet=[chr(code) for code in range(128)]))
def test_the_short_cut_for_ascii_agrees_with_the_full_pattern(text):
    short = [match.span() for match in _ASCII_WORDS.finditer(text)]
    assert short == [match.span() for match in _word_pattern().finditer(text)]


@given(st.text(alphabet="aeiouns ñéöÅç'-.,").map(lambda text: unicodedata.normalize("NFC", text)))
def test_decomposed_letters_give_the_same_units(text):
    decomposed = units(unicodedata.normalize("NFD", text))
    assert [unicodedata.normalize("NFC", unit) for unit in decomposed] == units(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's a well-made film.", ["It's", "a", "well-made", "film", "."]),
        ("Don’t! ‘Really’?", ["Don’t", "!", "‘", "Really", "’", "?"]),
        ("the dogs' tails", ["the", "dogs", "'", "tails"]),
        ("rock'n'roll, state-of-the-art", ["rock'n'roll", ",", "state-of-the-art"]),
        ("wait -- what...", ["wait", "-", "-", "what", ".", ".", "."]),
        ("$1,000.50 at 10:30", ["$", "1,000.50", "at", "10:30"]),
        ("10/10, 5% (3.)", ["10", "/", "10", ",", "5", "%", "(", "3", ".", ")"]),
        ("snake_case _so_", ["snake_case", "_", "so", "_"]),
        ("a\u0301e\u0308", ["a\u0301e\u0308"]),
        ("हिन्दी में।", ["हिन्दी", "में", "।"]),
        ("می‌خواهم بروم؟", ["می‌خواهم", "بروم", "؟"]),
        ("שלום, צה״ל!", ["שלום", ",", "צה״ל", "!"]),
        ("我喜欢。カタカナ", ["我", "喜", "欢", "。", "カタカナ"]),
        ("naïve café", ["naïve", "café"]),
        ("", []),
        (" \n\t\u00a0", []),
    ],
)
def test_words(text, expected):
    assert units(text) == expected


@pytest.mark.parametrize(
    "emoji",
    [
        "😀",
        "👍🏽",
        "❤️",
        "❤️‍🔥",
        "👨‍👩‍👧‍👦",
        "👩🏽‍🚀",
        "🏳️‍🌈",
        "🧔🏿‍♂️",
        "🇩🇪",
        "#️⃣",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "🙂‍↔️",
    ],
)
def test_an_emoji_sequence_is_one_unit(emoji):
    assert units(f"good{emoji}! {emoji}{emoji} x") == ["good", emoji, "!", emoji, emoji, "x"]


def test_keycaps_are_units_where_no_word_goes_before():
    assert units("1️⃣2️⃣ go") == ["1️⃣", "2️⃣", "go"]


@pytest.mark.parametrize("piece", ["a-", "'", "1.", "\u0301", "\u200d👩", "a\u0301-", "🇩🇪"])
def test_long_runs_are_cut_like_short_ones(piece):
    """In quadratic time this would take hours."""
    found, short = units(piece * 200_000), units(piece * 4)
    assert "".join(found) == piece * 200_000
    # one run with its end, or units that repeat
    assert len(found) in (len(short), len(short) * 50_000)


def test_text_record_carries_label_and_truth():
    record = text_record("a", "Never boring.", 1, [True, True, False])
    assert (record.units, record.offsets) == (("Never", "boring", "."), ((0, 5), (6, 12), (12, 13)))
    assert (record.label, record.truth) == (1, (True, True, False))


def test_truth_of_another_length_is_refused():
    with pytest.raises(DataError, match=r"'a' has 2 units and 3 truth values"):
        text_record("a", "two units", truth=[True, False, True])


def test_an_unknown_tokenizer_is_refused_with_those_there_are():
    with pytest.raises(SettingsError, match="'bpe': choose one of words, whitespace"):
        text_record("a", "x", tokenizer="bpe")


@given(st.lists(st.text(min_size=1), min_size=1))
def test_joined_units_are_found_again(given_units):
    text, offsets = join_units(given_units)
    assert [text[start:end] for start, end in offsets] == given_units
    assert text == " ".join(given_units)
