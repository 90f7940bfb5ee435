"""The text pipeline of Jain & Wallace 2019: units, bounds, and the counts measured in its code."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.data.named.english import english
from attnaudit.data.named.paper import PAPER_SETTINGS
from attnaudit.data.named.sets import NAMED_SETS
from attnaudit.data.reading import Reading
from attnaudit.data.records import Dataset
from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.data.texts.cleaning import (
    CLEANERS,
    find_cleaner,
    general,
    keras,
    newsgroups,
    notes,
    sst,
)
from attnaudit.data.texts.columns import text_columns
from attnaudit.data.texts.lengths import Bounds, within
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError, SettingsError
from tests.shared import shared_dir

PIECES = (
    "The don't it's well-made 3.50 U.S. , . ... -- 's ( ) \" ' a.b x-2 cannot [**2101-3-4**] "
    "[**Name**] * ** -LRB- -RRB- _ naïve 1st $5 e@f.org <br /> ---- = ="
)
english_like = st.lists(
    st.sampled_from(PIECES.split()) | st.text(max_size=4),
    max_size=12,
).flatmap(lambda parts: st.sampled_from([" ", "", "\n"]).map(lambda sign: sign.join(parts)))


def read(cleaner, text):
    return find_cleaner(cleaner)(text)[1]


# --- units --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLEANERS)
@settings(deadline=None)
@given(text=english_like)
def test_units_stand_in_order_in_the_original_text(name, text):
    places, units = find_cleaner(name)(text)
    assert len(places) == len(units)
    assert all(unit and not unit.isspace() for unit in units)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(a[1] <= b[0] for a, b in pairwise(places))
    for (start, end), unit in zip(places, units, strict=True):
        original = text[start:end]
        if unit == "qqq":
            assert any(sign.isdigit() for sign in original) or original.lower() == "qqq"
        elif unit == "<DE>":
            assert original.startswith("[") or original == "<DE>"
        elif unit not in (original, original.lower()):
            # A run of one mark, or a cut unit whose lower case has another length.
            assert unit[0] in original.lower()


@settings(deadline=None)
@given(english_like)
def test_nothing_but_blanks_is_lost_by_the_english_tokenizer(text):
    spans = english(text)
    assert "".join(text[a:b] for a, b in spans) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Won't they've he's I'd we'll", "Wo n't they 've he 's I 'd we 'll"),
        ("can’t it’s", "ca n’t it ’s"),
        ("dont im cannot gonna", "do nt i m can not gon na"),
        ("state-of-the-art, 3.50 (7:30)!", "state - of - the - art , 3.50 ( 7:30 ) !"),
        ("Mr. Lee of the U.S. at 5 p.m.", "Mr. Lee of the U.S. at 5 p.m."),
        ("Wait... what--no", "Wait ... what -- no"),
        ("O'Brien's rock'n'roll", "O'Brien 's rock'n'roll"),
        ("see http://a.org/b?c=1, me@x.org.", "see http://a.org/b?c=1 , me@x.org ."),
    ],
)
def test_english_units(text, units):
    assert [text[a:b] for a, b in english(text)] == units.split()


def test_the_default_leaves_texts_as_they_are():
    rows = [{"text": "Don't pay $20", "label": 0}, {"text": "OK", "label": 1}]
    assert load_data(rows).records[0].units == ("Don't", "pay", "$", "20")
    piped_units = load_data(rows, pipeline="jain2019").records[0]
    assert piped_units.units == ("do", "n't", "pay", "$", "qqq")
    assert [piped_units.text[a:b] for a, b in piped_units.offsets] == [
        "Do",
        "n't",
        "pay",
        "$",
        "20",
    ]


@settings(deadline=None)
@given(english_like)
def test_sst_is_lower_case_words_without_marks(text):
    plain = re.sub(r"\W", " ", text.replace("-LRB-", " ").replace("-RRB-", " "))
    units = sst(text)[1]
    assert "".join(units) == "".join(word.lower() for word in plain.split())


@settings(deadline=None)
@given(english_like)
def test_newsgroups_keeps_the_last_sign_of_each_run(text):
    joined = " ".join(general(text)[1])
    assert newsgroups(text)[1] == re.sub(r"(\W)+", r" \1 ", joined).split()


@settings(deadline=None)
@given(english_like)
def test_notes_squeezes_repeated_marks(text):
    pieces = re.split(r"(\[\s*\*\s*\*.*?\*\s*\*\s*\])", text, flags=re.DOTALL)
    units = []
    for number, piece in enumerate(pieces):
        cut = [piece[a:b].lower() for a, b in english(piece)]
        units += ["<DE>"] if number % 2 else cut
    # A run of one mark, whether in one unit or in several, is that mark once.
    marks = [unit[0] if not unit[0].isalnum() and len(set(unit)) == 1 else None for unit in units]
    expected = []
    for unit, mark, before in zip(units, marks, [None, *marks], strict=False):
        if mark is None:
            expected.append("qqq" if any(sign.isdigit() for sign in unit) else unit)
        elif mark != before:
            expected.append(mark)
    assert notes(text)[1] == expected


def test_a_note_over_several_lines():
    text = "Admitted [**2101-3-4**]\nby [**First Name8 (NamePattern2) **]\n=====\nBP: 120/80 . . ."
    places, units = notes(text)
    assert units == ["admitted", "<DE>", "by", "<DE>", "=", "bp", ":", "qqq", "."]
    assert text[slice(*places[3])] == "[**First Name8 (NamePattern2) **]"
    assert text[slice(*places[-1])] == ". . ."


def test_imdb_keeps_its_line_breaks_as_words():
    assert keras("Bad.<br /><br />Don't!")[1] == ["bad", "br", "br", "don't"]


# --- bounds -------------------------------------------------------------------------------------


def data_of(lengths):
    records = [text_record(str(i), " ".join("a" * n)) for i, n in enumerate(lengths)]
    return Dataset("demo", tuple(records), (), "train")


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=30),
    st.none() | st.integers(1, 8),
    st.none() | st.integers(8, 14),
    st.booleans(),
)
def test_bounds_are_those_of_the_paper_by_brute_force(lengths, low, high, strict):
    bounds = Bounds(low, high, strict)
    # The paper's bounds are strict; one that is missing is the split's own extreme.
    under = low - 1 if low is not None else (min(lengths) if strict else 0)
    over = high + 1 if high is not None else (max(lengths) if strict else 99)
    expected = [str(i) for i, n in enumerate(lengths) if under < n < over]
    if not expected:
        with pytest.raises(DataError, match=r"demo \(train\): no record is left"):
            within(data_of(lengths), bounds)
        return
    kept = within(data_of(lengths), bounds)
    assert [record.id for record in kept] == expected
    told = sum(int(note.split()[0]) for note in kept.notes)
    assert told == len(lengths) - len(expected)


@pytest.mark.parametrize(("low", "high"), [(0, None), (None, 0), (5, 4), (-1, 3)])
def test_bounds_that_exclude_each_other(low, high):
    with pytest.raises(SettingsError, match="are no bounds"):
        load_data([{"text": "a", "label": 0}], min_length=low, max_length=high)


def test_bounds_come_before_the_limit():
    rows = [{"text": "word " * (1 + i % 10), "label": i % 2} for i in range(200)]
    data = load_data(rows, min_length=6, limit=50)
    assert len(data) == 50
    assert min(len(record.units) for record in data) == 6
    assert "100 of 200 records have fewer than 6 units and are left out" in data.notes


def test_strict_bounds_are_those_of_each_split():
    rows = [{"text": f"x{i} " * (2 + i % 20), "label": i % 2} for i in range(400)]
    splits = resolve(rows, strict_bounds=True, seed=1).splits()
    whole = resolve(rows, seed=1).splits()
    for name, data in splits.items():
        lengths = [len(record.units) for record in whole[name]]
        expected = [n for n in lengths if min(lengths) < n < max(lengths)]
        assert [len(record.units) for record in data] == expected
    generated = resolve("reviews", strict_bounds=True, min_length=20).splits()
    assert min(len(record.units) for record in generated["dev"]) >= 20
    assert len(load_data("reviews", split="dev", min_length=20)) < 500


def test_strict_bounds_do_not_concern_pairs():
    rows = [{"text": "word " * n, "ask": "what", "label": n % 2} for n in range(1, 9)]
    assert len(load_data(rows, columns={"question": "ask"}, strict_bounds=True)) == 8
    kept = load_data(rows, columns={"question": "ask"}, strict_bounds=True, min_length=3)
    assert len(kept) == 6


# --- the option ---------------------------------------------------------------------------------


def test_the_pipeline_is_looked_up_by_name():
    assert set(PAPER_SETTINGS) <= set(NAMED_SETS)
    assert all(entry.cleaner in CLEANERS for entry in PAPER_SETTINGS.values())
    columns = text_columns(Reading(pipeline="jain2019", max_length=50), "newsgroups_sports")
    assert (columns.cleaner, columns.bounds) == ("newsgroups", Bounds(7, 50))
    assert text_columns(Reading(pipeline="jain2019"), "mine.csv").cleaner == "general"
    with pytest.raises(SettingsError, match="unknown pipeline 'jain': choose one of jain2019"):
        load_data([{"text": "a", "label": 0}], pipeline="jain")
    with pytest.raises(SettingsError, match="'reviews' decides on its pipeline itself"):
        load_data("reviews", pipeline="jain2019")
    with pytest.raises(SettingsError, match="unknown cleaner 'x': choose one of general"):
        find_cleaner("x")


def test_lists_of_units_are_not_cut_again():
    rows = [{"tokens": ["New York", "2"], "label": 0}, {"tokens": ["a"], "label": 1}]
    with pytest.raises(SettingsError, match=r"row 1: this is a list of units, and pipeline="):
        load_data(rows, columns={"text": "tokens"}, pipeline="jain2019")


def test_truth_is_counted_in_the_tokenizer_and_moved_to_the_units():
    rows = [
        {"text": "Don't go-now, friend", "label": 0, "why": [1, 0, 0, 1]},
        {"text": "ok", "label": 1, "why": None},
    ]
    data = load_data(rows, columns={"truth": "why"}, pipeline="jain2019")
    assert data.records[0].units == ("do", "n't", "go", "-", "now", ",", "friend")
    assert data.records[0].truth == (True, True, False, False, False, False, True)
    rows[0]["why"] = [1, 0]
    with pytest.raises(DataError, match="row 1, column 'why': 2 truth values for 4 units"):
        load_data(rows, columns={"truth": "why"}, pipeline="jain2019")


def test_texts_of_which_nothing_is_left(tmp_path):
    lines = ["label2,text", "0,good film indeed", "1,! ?", "1,so bad"]
    (tmp_path / "test.csv").write_text("\n".join(lines))
    data = load_data("sst", data_dir=tmp_path, pipeline="jain2019", min_length=1)
    assert [record.id for record in data] == ["2", "4"]
    assert "1 of 3 rows hold no unit after cleaning and are left out" in data.notes
    (tmp_path / "test.csv").write_text("\n".join(lines[:1] + lines[2:3]))
    with pytest.raises(DataError, match=r"no row is left to use .*hold no unit after cleaning"):
        load_data("sst", data_dir=tmp_path, pipeline="jain2019", min_length=1)


# Measured by running the released code: records kept, vocabulary with four special words, classes.
SST = {
    "train": (6355, {"negative": 3034, "positive": 3321}, 18.7),
    "dev": (821, None, None),
    "test": (1725, {"negative": 863, "positive": 862}, 18.2),
}


def test_sst_has_the_measured_counts():
    folder = shared_dir("data/sst")
    splits = resolve("sst", data_dir=folder, pipeline="jain2019", strict_bounds=True).splits()
    for name, (count, classes, mean) in SST.items():
        data = splits[name]
        assert len(data) == count
        assert classes in (None, data.class_counts)
        lengths = [len(record.units) for record in data]
        assert mean is None or round(sum(lengths) / len(lengths), 1) == mean
    whole = load_data("sst", data_dir=folder, split="train", pipeline="jain2019", min_length=1)
    assert len({unit for record in whole for unit in record.units}) + 4 == 13826
    assert "564 of 6920 records have fewer than 6 units and are left out" in splits["train"].notes


@pytest.mark.parametrize(("task", "size"), [(1, 24), (2, 38), (3, 39)])
def test_babi_has_the_published_vocabulary(task, size):
    folder = shared_dir("data/babi")
    data = load_data(f"babi_{task}", data_dir=folder, split="train", pipeline="jain2019")
    found = {unit for pair in data for unit in (*pair.units, *pair.question_units)}
    assert len(found) + 4 == size


@pytest.mark.parametrize("seed", [0, 1])
def test_eraser_keeps_its_share_of_evidence(seed):
    folder = shared_dir("data/eraser_movies")
    options = {"data_dir": folder, "split": "test", "limit": 5, "seed": seed}
    plain = load_data("eraser_movies", **options)
    cleaned = load_data("eraser_movies", pipeline="jain2019", **options)
    for a, b in zip(plain, cleaned, strict=True):
        assert a.text == b.text
        marked = {
            i for (x, y), true in zip(a.offsets, a.truth, strict=True) if true for i in range(x, y)
        }
        for (x, y), true in zip(b.offsets, b.truth, strict=True):
            assert true == bool(marked & set(range(x, y)))
