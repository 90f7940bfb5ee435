"""Every kind of source gives the same data set, and bad input is refused with its place."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnaudit.data.sources.files import read_file
from attnaudit.data.sources.folders import SPLIT_NAMES
from attnaudit.data.sources.resolve import load_data
from attnaudit.errors import AttnauditError, DataError, MissingExtra, SettingsError
from tests.shared import shared_dir

ROWS = [
    {"text": "a good film", "label": "pos", "n": 1},
    {"text": 'bad, "very" bad', "label": "neg", "n": 2},
    {"text": "naïve 👍🏽 — fine", "label": "pos", "n": 3},
    {"text": "two\nlines", "label": "neg", "n": 4},
]


def as_csv(rows, delimiter=","):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows):
    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out)
    return out.getvalue()


WRITERS = {
    "d.csv": as_csv,
    "d.tsv": lambda rows: as_csv(rows, "\t"),
    "d.jsonl": as_lines,
    "d.ndjson": as_lines,
    "d.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "lines.json": as_lines,
    "d.parquet": as_parquet,
    "d.jsonl.gz": lambda rows: gzip.compress(as_lines(rows)),
    "d.csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "BIG.CSV": as_csv,
    "bom.csv": lambda rows: b"\xef\xbb\xbf" + as_csv(rows),
    "bom.jsonl": lambda rows: b"\xef\xbb\xbf" + as_lines(rows),
    "semicolons.csv": lambda rows: as_csv(rows, ";"),
}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def content_of(data):
    return [(record.text, record.units, record.label) for record in data], data.classes


# --- what can be read ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_records(tmp_path, name):
    path = write(tmp_path, name, WRITERS[name](ROWS))
    assert content_of(load_data(path)) == content_of(load_data(ROWS))
    assert content_of(load_data(str(path))) == content_of(load_data(ROWS))


def test_frames_give_the_same_records():
    pandas = pytest.importorskip("pandas")
    expected = content_of(load_data(ROWS))
    assert content_of(load_data(pl.DataFrame(ROWS))) == expected
    assert content_of(load_data(pandas.DataFrame(ROWS, index=[7, 7, 8, 9]))) == expected


def test_missing_values_of_pandas_are_missing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b", "c"], "label": [1.0, float("nan"), 0.0]})
    data = load_data(frame, drop_unlabelled=True)
    assert [record.label for record in data] == [1, 0]
    assert data.classes == ("0", "1")


def test_a_data_set_of_the_hub_library_keeps_its_class_names():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    source = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features)
    data = load_data(source, drop_unlabelled=True)
    assert data.classes == ("neg", "pos")
    assert [record.label for record in data] == [1, 0]
    with pytest.raises(DataError, match="row 3, column 'label': the label is missing"):
        load_data(source)


cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(cell.filter(str.strip), min_size=2, max_size=6))
def test_any_text_survives_the_text_formats(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("any")
    rows = [{"text": text, "label": index % 2} for index, text in enumerate(texts)]
    for name in ("d.csv", "d.jsonl", "d.parquet"):
        path = write(folder, name, WRITERS[name](rows))
        assert [record.text for record in load_data(path)] == texts


def test_a_tsv_with_loose_quotation_marks_is_read_as_it_stands(tmp_path):
    path = write(tmp_path, "d.tsv", 'text\tlabel\n"quote at the start\t0\nnone\t1\nanother "\t0\n')
    assert [record.text for record in load_data(path)] == [
        '"quote at the start',
        "none",
        'another "',
    ]


def test_a_text_longer_than_the_csv_module_allows(tmp_path):
    before = csv.field_size_limit()
    long = "word " * 60_000
    path = write(tmp_path, "d.csv", as_csv([{"text": long, "label": 0}, {"text": "b", "label": 1}]))
    assert len(load_data(path).records[0].units) == 60_000
    assert csv.field_size_limit() == before


# --- splits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_folders_know_every_name_of_a_split(tmp_path, split):
    for number, name in enumerate(SPLIT_NAMES[split]):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, f"{name.capitalize()}.csv", as_csv(ROWS))
        write(folder, "README.md", "no data")
        for asked in SPLIT_NAMES[split]:
            assert load_data(folder, split=asked).split == split


def test_a_folder_falls_back_on_its_test_split_and_says_so(tmp_path):
    for name in ("train", "test"):
        write(tmp_path, f"{name}.jsonl", as_lines(ROWS if name == "train" else ROWS[:2]))
    data = load_data(tmp_path)
    assert (data.split, len(data)) == ("test", 2)
    assert any("the test split was taken" in note for note in data.notes)


def test_shards_are_joined_in_order_and_errors_name_the_shard(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for number in (0, 1):
        rows = ROWS[2 * number : 2 * number + 2]
        write(data, f"train-0000{number}-of-00002.parquet", as_parquet(rows))
    assert content_of(load_data(tmp_path)) == content_of(load_data(ROWS))
    write(data, "train-00001-of-00002.parquet", as_parquet([{**ROWS[2], "label": None}, ROWS[3]]))
    with pytest.raises(DataError, match=r"train-00001-of-00002.parquet, row 1, column 'label'"):
        load_data(tmp_path)
    (data / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match="holds 1 of 2 shards of the split 'train'"):
        load_data(tmp_path)


def test_a_split_column_selects_rows():
    rows = [{**row, "split": "validation" if row["n"] > 2 else "train"} for row in ROWS]
    data = load_data(rows, split="dev")
    assert [record.id for record in data] == ["3", "4"]
    assert data.split == "dev"
    assert len(load_data(rows)) == 4


# --- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 10], ("9", "10")),
        (["10", "9", "10"], ("9", "10")),
        ([1.0, 0.0, 1.0], ("0", "1")),
        ([True, False, True], ("False", "True")),
        (["pos", " neg", "pos "], ("neg", "pos")),
        (["b", "a", "10"], ("10", "a", "b")),
        ([-1, 1, 1], ("-1", "1")),
    ],
)
def test_classes_are_sorted(labels, classes):
    data = load_data([{"text": "x", "label": label} for label in labels])
    assert data.classes == classes
    names = [str(int(x)) if isinstance(x, float) else str(x).strip() for x in labels]
    assert [classes[record.label] for record in data] == names


def test_classes_given_by_name_or_by_position():
    by_name = load_data(ROWS, classes=["pos", "neg"])
    assert [record.label for record in by_name] == [0, 1, 0, 1]
    numbered = [{"text": "x", "label": label} for label in (1, 0)]
    by_position = load_data(numbered, classes=["neg", "pos"])
    assert [record.label for record in by_position] == [1, 0]


def test_integer_classes_are_never_taken_by_position():
    rows = [{"text": "x", "label": label} for label in (0, 1)]
    with pytest.raises(DataError, match="row 1, column 'label': '0' is not one of the classes"):
        load_data(rows, classes=["1", "2"])


def test_one_class_is_enough_where_all_are_named():
    data = load_data(ROWS[:1], classes=["neg", "pos"])
    assert [record.label for record in data] == [1]
    assert any("no record has the label 'neg'" in note for note in data.notes)


def test_data_without_labels():
    data = load_data([{"text": "x"}, {"text": "y"}], columns={"label": None})
    assert [record.label for record in data] == [None, None]
    assert data.classes == ()


# --- the draw, ids, notes -----------------------------------------------------------------------


def test_a_limit_draws_at_random_and_keeps_the_order():
    rows = [{"text": f"text {i}", "label": int(i >= 500)} for i in range(1000)]
    data = load_data(rows, limit=100, seed=3)
    ids = [int(record.id) for record in data]
    assert ids == sorted(ids)
    # Sorted by label as they are, the first 100 would be of one class.
    assert min(data.class_counts.values()) > 30
    assert any("a random 100 of 1000 records (seed 3)" in note for note in data.notes)
    assert load_data(rows, limit=100, seed=3).fingerprint == data.fingerprint
    assert load_data(rows, limit=100, seed=4).fingerprint != data.fingerprint
    assert len(load_data(rows, limit=5000)) == 1000


def test_ids_are_row_numbers_as_messages_count_or_a_column(tmp_path):
    path = write(tmp_path, "d.csv", as_csv(ROWS))
    assert [record.id for record in load_data(path)] == ["2", "3", "4", "5"]
    assert [record.id for record in load_data(ROWS)] == ["1", "2", "3", "4"]
    assert [record.id for record in load_data(ROWS, columns={"id": "n"})] == ["1", "2", "3", "4"]


def test_repeated_texts_are_counted():
    rows = [{"text": text, "label": i % 2} for i, text in enumerate("aabbbc")]
    assert "2 texts occur more than once, in 5 of 6 records" in load_data(rows).notes


def test_the_name_is_that_of_the_file_unless_given(tmp_path):
    path = write(tmp_path, "my.set.csv.gz", gzip.compress(as_csv(ROWS)))
    assert load_data(path).name == "my.set"
    assert load_data(path, name="mine").name == "mine"


# --- truth and given units ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "truth",
    [
        [0, 1, 1],
        [False, True, True],
        [0.0, 1.0, 1.0],
        [[1, 3]],
        [(1, 2), (2, 3)],
        "[0, 1, 1]",
        "[[1, 3]]",
    ],
)
def test_truth_as_flags_or_spans(truth):
    rows = [
        {"text": "a good film", "label": 1, "why": truth},
        {"text": "x", "label": 0, "why": None},
    ]
    data = load_data(rows, columns={"truth": "why"})
    assert [record.truth for record in data] == [(False, True, True), None]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ([0, 1], "2 truth values for 3 units"),
        ([0, 2, 1], "2 is no truth value"),
        ([[1, 4]], r"\[1, 4\] is no span of the 3 units"),
        ([[2, 1]], r"\[2, 1\] is no span"),
        ([[0, 1, 2]], r"\[0, 1, 2\] is no span"),
        ([["a", "b"]], "is no span"),
        ("yes", "'yes' is no list"),
        (3, "truth is a list"),
    ],
)
def test_truth_that_does_not_fit_is_refused(truth, message):
    rows = [{"text": "x", "label": 0}, {"text": "a good film", "label": 1, "why": truth}]
    with pytest.raises(DataError, match=f"the list, row 2, column 'why': .*{message}"):
        load_data(rows, columns={"truth": "why"})


def test_units_in_a_list_are_taken_as_given(tmp_path):
    rows = [
        {"tokens": ["New York", "is", "n't", "big", "!"], "label": 0, "why": [[1, 3]]},
        {"tokens": ["ok"], "label": 1, "why": []},
    ]
    path = write(tmp_path, "d.parquet", as_parquet(rows))
    for source in (rows, path):
        data = load_data(source, columns={"text": "tokens", "truth": "why"})
        record = data.records[0]
        assert record.units == ("New York", "is", "n't", "big", "!")
        assert record.text == "New York is n't big !"
        assert [record.text[start:end] for start, end in record.offsets] == list(record.units)
        assert record.truth == (False, True, True, False, False)
        assert data.records[1].truth == (False,)


def test_a_string_of_tokens_is_cut_at_blanks_unless_told_otherwise():
    rows = [{"tokens": "do n't !", "label": 0}, {"tokens": "x", "label": 1}]
    assert load_data(rows, columns={"text": "tokens"}).records[0].units == ("do", "n't", "!")
    cut = load_data(rows, columns={"text": "tokens"}, tokenizer="words").records[0].units
    assert cut == ("do", "n't", "!")
    rows[0]["tokens"] = "great!!"
    assert load_data(rows, columns={"text": "tokens"}).records[0].units == ("great!!",)
    cut = load_data(rows, columns={"text": "tokens"}, tokenizer="words").records[0].units
    assert cut == ("great", "!", "!")


def test_eraser_movies_through_the_generic_columns():
    path = shared_dir("data/eraser_movies") / "test.jsonl.gz"
    options = {"columns": {"text": "tokens", "truth": "rationales", "id": "id"}}
    data = load_data(path, **options)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(data) == len(rows) == 199
    for record, row in zip(data, rows, strict=True):
        assert record.id == row["id"]
        assert list(record.units) == row["tokens"].split(" ")
        marked = {unit for start, end in row["rationales"] for unit in range(start, end)}
        assert {unit for unit, is_true in enumerate(record.truth) if is_true} == marked


# --- bad input ----------------------------------------------------------------------------------

BAD_FILES = {
    "empty.csv": (b"", "is empty"),
    "blank.jsonl": (b" \n\n", "is empty"),
    "none.json": (b"[]", "is empty: there are no rows"),
    "header.csv": (b"text,label\n", "has a header .'text', 'label'. and no rows"),
    "garbage.csv": (bytes(range(256)) * 20, "is binary, not text: byte 0 is zero"),
    "garbage.parquet": (b"\x00\x01garbage" * 9, "no readable Parquet file"),
    "garbage.jsonl.gz": (b"garbage", "no gzip file, although its name ends in .gz"),
    "bomlatin.csv": (b"\xef\xbb\xbftext,label\n\xe9,1\n", "line 2: byte 0xe9 at position 14"),
    "latin.csv": (
        "text,label\nok,1\ncafé,0\n".encode("latin-1"),
        "line 3: byte 0xe9 at position 19",
    ),
    "utf16.csv": ("text,label\na,1\n".encode("utf-16"), "UTF-16: save it as UTF-8"),
    "cut.jsonl.gz": (gzip.compress(as_lines(ROWS * 99))[:-30], "damaged gzip file"),
    "flipped.csv.gz": (gzip.compress(as_csv(ROWS))[:-8] + bytes(8), "damaged gzip file"),
    "cut.parquet": (as_parquet(ROWS)[:-40], "no readable Parquet file"),
    "broken.jsonl": (as_lines(ROWS) + b'{"text": "x", \n', "line 5: not valid JSON"),
    "number.jsonl": (b'{"text": "x", "label": 1}\n7\n', "line 2: expected names with values"),
    "list.json": (b'[{"text": "x", "label": 1}, "y"]', "row 2: expected names with values"),
    "deep.jsonl": (b"[" * 100_000, "line 1: (JSON that cannot be read|not valid JSON)"),
    "ragged.csv": (b"text,label\na,1\nb,c,0\n", "row 3: 3 fields, but the header has 2"),
    "short.csv": (b"text,label\na,1\nb\n", "row 3: 1 fields, but the header has 2"),
    "open.csv": (b'text,label\na,1\n"b,0\n', "row 3: unexpected end of data"),
    "twice.csv": (b"text,text\na,1\n", "two columns of one name"),
    "unlabelled.csv": (b"text,label\na,1\nb,\n", "row 3, column 'label': the label is missing"),
    "nan.csv": (b"text,label\na,1\nb,NaN\n", "row 3, column 'label': the label is missing"),
    "nan.jsonl": (
        b'{"text": "a", "label": 1}\n\n{"text": "b", "label": NaN}\n',
        "line 3, column 'label': the label is missing",
    ),
    "null.jsonl": (b'{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2, column 'label'"),
    "one.csv": (b"text,label\na,pos\nb,pos\n", "only one class, 'pos'"),
    "blanktext.csv": (b"text,label\na,1\n ,0\n", "row 3, column 'text': the text is empty"),
    "notext.jsonl": (b'{"label": 1}\n{"text": "a", "label": 0}\n', "line 1, column 'text'"),
    "numbers.jsonl": (
        b'{"text": 5, "label": 1}\n{"text": "a", "label": 0}\n',
        "line 1, column 'text': expected text, found int",
    ),
    "surrogate.jsonl": (
        b'{"text": "\\ud83d", "label": 1}\n{"text": "a", "label": 0}\n',
        "line 1.*half of a character",
    ),
    "mixed.jsonl": (
        b'{"text": "a", "label": 1}\n{"text": "b", "label": "pos"}\n',
        "mixes strings and numbers: 'pos' .*line 2",
    ),
    "half.jsonl": (b'{"text": "a", "label": 0.5}\n', "line 1, column 'label': 0.5 is no class"),
    "lists.jsonl": (b'{"text": "a", "label": [1, 2]}\n', r"line 1.*\[1, 2\] is no class"),
    "text.xlsx": (b"PK", "no suffix that can be read"),
    "nosuffix": (b"a", "no suffix that can be read"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_with_their_place(tmp_path, name):
    content, message = BAD_FILES[name]
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as caught:
        load_data(path)
    if name != "mixed.jsonl":
        assert name in str(caught.value)


@pytest.mark.parametrize("cut", [1, 7, 50, 200, 400])
def test_a_parquet_file_cut_anywhere_is_refused(tmp_path, cut):
    whole = as_parquet(ROWS)
    path = write(tmp_path, "d.parquet", whole[: max(0, len(whole) - cut)])
    with pytest.raises(DataError, match=r"d\.parquet"):
        load_data(path)


@given(st.binary(max_size=60), st.sampled_from(sorted(WRITERS)))
def test_no_bytes_lead_to_another_error(tmp_path_factory, content, name):
    path = write(tmp_path_factory.mktemp("bytes"), name, content)
    try:
        table = read_file(path)
    except DataError as error:
        message = str(error)
    else:
        assert all(len(table.values(column)) == table.size for column in table.columns)
        message = table.name
    assert name in message


def test_a_missing_file_suggests_the_nearest(tmp_path):
    write(tmp_path, "reviews_2024.csv", as_csv(ROWS))
    with pytest.raises(DataError, match=r"no file or folder .*Did you mean 'reviews_2024.csv'"):
        load_data(tmp_path / "review_2024.csv")
    with pytest.raises(DataError, match="Did you mean 'imdb'"):
        load_data("imbd")
    with pytest.raises(DataError, match="no file or folder ''"):
        load_data("")


def test_a_missing_column_lists_those_there_are(tmp_path):
    path = write(tmp_path, "d.csv", as_csv(ROWS))
    with pytest.raises(DataError, match=r"no column 'lable' .*'text', 'label', 'n'.* mean 'label'"):
        load_data(path, columns={"label": "lable"})
    with pytest.raises(DataError, match=r"no column 'Text' .*Did you mean 'text'.*--column text="):
        load_data(path, columns={"text": "Text"})
    with pytest.raises(DataError, match="no column 'why' for the truth"):
        load_data(path, columns={"truth": "why"})


def test_unknown_splits_list_those_there_are(tmp_path):
    write(tmp_path, "train.csv", as_csv(ROWS))
    with pytest.raises(DataError, match=r"no split 'test'\. Its splits are: 'train'"):
        load_data(tmp_path, split="test")
    with pytest.raises(DataError, match="no column 'split', so there is no split 'test'"):
        load_data(tmp_path / "train.csv", split="test")
    rows = [{**row, "split": "train"} for row in ROWS]
    with pytest.raises(DataError, match=r"no split 'test'\. Its splits are: 'train'"):
        load_data(rows, split="test")
    write(tmp_path, "dev.csv", as_csv(ROWS))
    with pytest.raises(DataError, match="has the splits 'train', 'dev': say which one"):
        load_data(tmp_path)


def test_folders_that_cannot_be_understood(tmp_path):
    with pytest.raises(DataError, match="holds no data files"):
        load_data(tmp_path)
    write(tmp_path, "a.csv", as_csv(ROWS))
    assert len(load_data(tmp_path)) == 4
    write(tmp_path, "b.csv", as_csv(ROWS))
    with pytest.raises(DataError, match=r"'a\.csv', 'b\.csv', and none is named after a split"):
        load_data(tmp_path)
    write(tmp_path, "test.csv", as_csv(ROWS))
    write(tmp_path, "test.jsonl", as_lines(ROWS))
    with pytest.raises(
        DataError, match=r"several files for the split 'test': 'test\.csv', 'test\.j"
    ):
        load_data(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write(tmp_path, "d.csv", as_csv(ROWS))
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        load_data(path)


def test_ids_must_be_unique_and_there():
    rows = [{**row, "id": key} for row, key in zip(ROWS, "abab", strict=True)]
    with pytest.raises(
        DataError, match="row 3, column 'id': the id 'a' is also in the list, row 1"
    ):
        load_data(rows, columns={"id": "id"})
    rows[2]["id"] = None
    with pytest.raises(DataError, match="row 3, column 'id': the id is missing"):
        load_data(rows, columns={"id": "id"})


def test_a_column_of_texts_is_no_label_column():
    rows = [{"text": f"text {i}", "label": f"label {i}"} for i in range(60)]
    with pytest.raises(DataError, match=r"60 different labels in 60 rows\. Is it the label column"):
        load_data(rows)


def test_rows_can_be_left_out_on_request():
    rows = [*ROWS, {"text": "x", "label": None}, {"text": " ", "label": "pos"}]
    data = load_data(rows, drop_unlabelled=True, drop_empty=True)
    assert len(data) == 4
    assert "1 of 6 rows have no label and are left out" in data.notes
    assert "1 of 5 rows have no text and are left out" in data.notes
    with pytest.raises(DataError, match="no row has a label"):
        load_data([{"text": "x", "label": None}], drop_unlabelled=True)
    with pytest.raises(DataError, match="no row is left to use"):
        load_data(
            [{"text": " ", "label": 0}, {"text": "", "label": 1}],
            drop_empty=True,
        )


def test_an_empty_unit_is_refused():
    rows = [{"text": ["a", ""], "label": 0}, {"text": ["b"], "label": 1}]
    with pytest.raises(DataError, match="row 1, column 'text': a unit is empty"):
        load_data(rows)


@pytest.mark.parametrize("source", [5, None, {"text": ["a"]}, iter(ROWS)])
def test_other_objects_are_refused(source):
    with pytest.raises(DataError, match="cannot read data from"):
        load_data(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit"),
        ({"tokenizer": "bpe"}, "unknown tokenizer 'bpe'"),
        ({"classes": ["pos"]}, "two or more"),
        ({"classes": ["pos", "pos"]}, "two or more"),
        ({"classes": "pos"}, "list of names"),
        ({"data_dir": "x"}, "goes with a named set"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        load_data(ROWS, **options)


# --- the hub ------------------------------------------------------------------------------------


def test_the_hub_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r'pip install "\.\[hub\]"'):
        load_data("owner/name")


def test_the_hub_offline_is_one_clear_error():
    pytest.importorskip("datasets")
    code = (
        "from attnaudit.data import load_data\n"
        "from attnaudit.errors import DataError\n"
        "try: load_data('nobody-here/no-such-set', split='test')\n"
        "except DataError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert "'nobody-here/no-such-set' could not be loaded from the hub" in result.stdout
    assert "Offline" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_hub_that_cannot_be_reached_is_asked_once():
    pytest.importorskip("datasets")
    code = (
        "from attnaudit.data import load_data\n"
        "from attnaudit.errors import DataError\n"
        "try: load_data('nobody-here/no-such-set', split='test')\n"
        "except DataError as error: print(error)"
    )
    # nothing listens on the port of a discarded message
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert "'nobody-here/no-such-set' could not be loaded from the hub" in result.stdout
    assert "Retrying" not in result.stderr


def test_every_error_is_of_the_one_hierarchy():
    assert issubclass(DataError, AttnauditError)
    assert issubclass(MissingExtra, AttnauditError)
