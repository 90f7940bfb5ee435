"""Two texts to a record: from a table to splits, with answers that are classes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.data.records import TextPair
from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.data.texts.tokens import pair_record, words
from attnaudit.errors import DataError, SettingsError

ROWS = [
    {"text": "Mary went home.", "ask": "Where's Mary?", "label": "home"},
    {"text": "John left the hall.", "ask": "Who left?", "label": "John"},
    {"text": "Ann has a cup.", "ask": "Where is Ann?", "label": "hall"},
]
PAIRS = {"columns": {"question": "ask"}}


def asked(**roles):
    """The columns of questions, and of more."""
    return {"columns": {"question": "ask", **roles}}


def write_lines(folder, name, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


def with_row(changes, row=1):
    return [{**one, **changes} if index == row else one for index, one in enumerate(ROWS)]


def test_a_question_column_makes_pairs():
    data = load_data(ROWS, **PAIRS)
    assert data.has_questions
    assert data.classes == ("John", "hall", "home")
    first = data.records[0]
    assert isinstance(first, TextPair)
    assert (first.text, first.question) == ("Mary went home.", "Where's Mary?")
    assert first.units == ("Mary", "went", "home", ".")
    assert first.question_units == ("Where's", "Mary", "?")
    assert (first.label, first.allowed, first.truth) == (2, None, None)
    assert not load_data(ROWS).has_questions


def test_both_texts_are_cut_by_the_same_tokenizer():
    data = load_data(ROWS, tokenizer="whitespace", **PAIRS)
    assert data.records[0].units == ("Mary", "went", "home.")
    assert data.records[0].question_units == ("Where's", "Mary?")
    rows = [{**row, "tokens": row["text"]} for row in ROWS]
    data = load_data(rows, **asked(text="tokens"))
    assert data.records[0].question_units == ("Where's", "Mary?")
    lists = [{**row, "text": row["text"].split(), "ask": ["New York", "?"]} for row in ROWS]
    record = load_data(lists, **PAIRS).records[0]
    assert (record.question, record.question_units) == ("New York ?", ("New York", "?"))


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_a_pair_keeps_both_texts_as_they_came(text, question):
    record = pair_record("a", text, question)
    assert (record.text, record.question) == (text, question)
    assert record.question_units == tuple(question[a:b] for a, b in words(question))
    assert [record.text[a:b] for a, b in record.offsets] == list(record.units)


def test_truth_is_about_the_text_and_not_the_question():
    rows = [{**row, "why": [1] + [0] * len(words(row["text"])[1:])} for row in ROWS]
    data = load_data(rows, **asked(truth="why"))
    assert data.records[0].truth == (True, False, False, False)


@pytest.mark.parametrize("empty", [None, "", "  ", float("nan")])
def test_an_empty_question_is_refused_or_left_out(empty):
    rows = with_row({"ask": empty})
    with pytest.raises(DataError, match=r"row 2, column 'ask': the question is empty.*drop_empty"):
        load_data(rows, **PAIRS)
    data = load_data(rows, drop_empty=True, **PAIRS)
    assert [record.id for record in data] == ["1", "3"]
    assert "1 of 3 rows have no question and are left out" in data.notes


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"ask": 3}, {}, "row 2, column 'ask': expected text, found int"),
        ({"ask": "\ud83d"}, {}, "row 2, column 'ask': the text holds half of a character"),
        ({}, {"columns": {"question": "aks"}}, "no column 'aks' for the question.*mean 'ask'"),
        ({"may": ["cellar"]}, {"classes": ["John", "hall", "home"]}, "none of the allowed answers"),
        ({"may": ["hall"]}, {}, "row 2: the label 'John' is not among the allowed answers 'hall'"),
        ({"may": [0, 9]}, {}, r"row 2: \[0, 9\] is no list of class indices; there are 3 classes"),
        ({"may": [-1, 0]}, {}, r"row 2: \[-1, 0\] is no list of class indices"),
        ({"may": []}, {}, "row 2, column 'may': .* is no list of allowed answers"),
        ({"may": [0, "hall"]}, {}, "row 2, column 'may': .* is no list of allowed answers"),
        ({"may": [True]}, {}, "row 2, column 'may': .* is no list of allowed answers"),
        ({"may": "hall"}, {}, "row 2, column 'may': 'hall' is no list of allowed answers"),
    ],
)
def test_bad_questions_and_answers_are_refused(changes, options, message):
    rows = with_row({"may": None, **changes})
    with pytest.raises(DataError, match=message):
        load_data(rows, **{**asked(allowed="may"), **options})


def test_allowed_answers_without_questions_make_no_sense():
    with pytest.raises(SettingsError, match="name the column of questions"):
        load_data([{**row, "may": None} for row in ROWS], columns={"allowed": "may"})


@pytest.mark.parametrize("may", [["home", "cellar"], '["cellar", "home"]', ["home", "cellar "]])
def test_allowed_names_are_classes(may):
    data = load_data(with_row({"may": may}, row=0), **asked(allowed="may"))
    assert data.classes == ("John", "cellar", "hall", "home")
    assert [record.allowed for record in data] == [(1, 3), None, None]


def test_allowed_indices_and_given_classes():
    rows = with_row({"may": [2, 0]}, row=0)
    assert load_data(rows, **asked(allowed="may")).records[0].allowed == (0, 2)
    # Names that a model does not know cannot be its answer.
    rows = with_row({"may": ["home", "cellar"]}, row=0)
    given = load_data(rows, classes=["home", "hall", "John"], **asked(allowed="may"))
    assert given.records[0].allowed == (0,)


def test_fingerprints_know_questions_and_allowed_answers():
    prints = {
        load_data(rows, **asked(allowed="may")).fingerprint
        for rows in (
            with_row({"may": None}),
            with_row({"may": ["John", "hall"]}),
            with_row({"may": None, "ask": "Who?"}),
        )
    }
    assert len(prints) == 3


def test_answers_that_are_no_class_are_left_out_with_a_note():
    data = load_data(ROWS, classes=["home", "John"], **PAIRS)
    assert [record.id for record in data] == ["1", "2"]
    assert any("1 of 3 rows have an answer that is none of the classes" in n for n in data.notes)
    # A text has the label it has: there the same is an error.
    with pytest.raises(DataError, match="row 3, column 'label': 'hall' is not one of the classes"):
        load_data(ROWS, classes=["home", "John"])
    with pytest.raises(DataError, match="'home' is not one of the classes 'a', 'b'"):
        load_data(ROWS, classes=["a", "b"], **PAIRS)


def test_integers_stand_for_the_classes_in_order():
    rows = [{**row, "label": index} for index, row in enumerate(ROWS)]
    data = load_data(rows, classes=["a", "b", "c"], **PAIRS)
    assert [record.label for record in data] == [0, 1, 2]


def questions(n, answers, word="text"):
    return [
        {"text": f"{word} {i}", "ask": f"what {i}", "label": answers[i % len(answers)]}
        for i in range(n)
    ]


def test_splits_have_the_classes_of_train(tmp_path):
    write_lines(tmp_path, "train.jsonl", questions(40, ["b", "a", "c"]))
    write_lines(tmp_path, "test.jsonl", questions(8, ["a", "z"], "new"))
    splits = resolve(tmp_path, **PAIRS).splits()
    assert {name: len(data) for name, data in splits.items()} == {"train": 34, "dev": 6, "test": 4}
    assert {data.classes for data in splits.values()} == {("a", "b", "c")}
    assert any("4 of 8 rows have an answer" in note for note in splits["test"].notes)
    write_lines(tmp_path, "test.jsonl", questions(8, ["y", "z"], "new"))
    with pytest.raises(DataError, match=r"'y' is not one of the classes.*those of train"):
        resolve(tmp_path, **PAIRS).splits()


def test_many_classes_can_be_split(tmp_path):
    answers = [f"entity{i}" for i in range(40)]
    write_lines(tmp_path, "all.jsonl", questions(400, answers))
    splits = resolve(tmp_path, **PAIRS).splits()
    assert {name: len(data) for name, data in splits.items()} == {
        "train": 320,
        "dev": 40,
        "test": 40,
    }
    assert splits["test"].classes == tuple(sorted(answers))
    assert set(splits["train"].class_counts.values()) <= {7, 8, 9}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 50), st.integers(1, 4))
def test_a_passage_is_never_in_two_splits(seed, repeats):
    rows = [
        {"text": f"passage {i // repeats}", "ask": f"what {i}", "label": i % 3} for i in range(60)
    ]
    splits = resolve(rows, seed=seed, **PAIRS).splits()
    texts = [{record.text for record in data} for data in splits.values()]
    assert sum(map(len, texts)) == len(set().union(*texts))
    assert sum(len(data) for data in splits.values()) == 60


def test_pairs_are_the_same_where_text_and_question_are(tmp_path):
    rows = [{"text": "p", "ask": f"what {i // 2}", "label": i % 2} for i in range(6)]
    data = load_data([*rows, {"text": "q", "ask": "what 0", "label": 0}], **PAIRS)
    assert "3 pairs occur more than once, in 6 of 7 records" in data.notes
    write_lines(tmp_path, "train.jsonl", [*questions(20, ["a", "b"]), *questions(2, ["a"], "p")])
    write_lines(tmp_path, "dev.jsonl", questions(4, ["a"], "dev"))
    other = {"text": "text 0", "ask": "what else", "label": "a"}
    write_lines(tmp_path, "test.jsonl", [*questions(3, ["a"]), other])
    assert "3 of 4 pairs are in train too" in resolve(tmp_path, **PAIRS).splits()["test"].notes
