"""Data that are readable and mean something else than they seem: told, refused, or read right."""

import json

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest

from attnaudit.audits.held_out import choose
from attnaudit.data.named.sets import NAMED_SETS
from attnaudit.data.sources.files import read_file
from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.data.splits import split_dataset
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.vocabulary import Vocabulary


def csv_of(tmp_path, labels, name="x.csv"):
    path = tmp_path / name
    path.write_text(
        "text,label\n" + "".join(f"film {i},{label}\n" for i, label in enumerate(labels))
    )
    return path


# --- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [None, ["0", "1"], ["neg", "pos"]])
def test_whole_floats_of_a_csv_are_integers_as_in_a_frame(tmp_path, classes):
    data = load_data(csv_of(tmp_path, ["0.0", "1.0", "1"]), classes=classes)
    assert [record.label for record in data] == [0, 1, 1]
    assert data.classes == tuple(classes or ("0", "1"))


@pytest.mark.parametrize(
    "labels", [["0.5", "1.0", "1.0"], ["v1.0", "1.0", "2.0"], ["01.0", "1", "2"]]
)
def test_other_labels_with_points_are_names(tmp_path, labels):
    assert load_data(csv_of(tmp_path, labels)).classes == tuple(sorted(set(labels)))


def test_classes_that_are_called_as_floats_keep_their_names(tmp_path):
    data = load_data(csv_of(tmp_path, ["0.0", "1.0"]), classes=["1.0", "0.0"])
    assert [record.label for record in data] == [1, 0]


def test_na_of_r_is_a_missing_label(tmp_path):
    path = csv_of(tmp_path, ["0", "1", "NA", ""])
    with pytest.raises(DataError, match=r"row 4, .*missing \(2 of 4.*'NA' stands for.*--classes"):
        load_data(path)
    data = load_data(path, drop_unlabelled=True)
    assert data.class_counts == {"0": 1, "1": 1}
    assert "'NA' stands for a missing value" in " ".join(data.notes)


def test_na_is_a_class_where_it_is_named(tmp_path):
    data = load_data(csv_of(tmp_path, ["DE", "NA", "DE"]), classes=["DE", "NA"])
    assert data.class_counts == {"DE": 2, "NA": 1}


def test_na_of_a_bag(tmp_path):
    rows = [{"bag": i, "label": label, "f": 0.5} for i, label in enumerate(["DE", "NA", "FR"])]
    with pytest.raises(DataError, match=r"row 2, column 'label': .*missing.*'NA' stands for"):
        resolve(rows, "bags").data()
    assert resolve(rows, "bags", classes=["DE", "FR", "NA"]).data().class_counts["NA"] == 1


def test_classes_that_differ_in_case_alone_are_told(tmp_path):
    labels = ["FALSE", "false", "True", "neutral"]
    (note,) = (note for note in load_data(csv_of(tmp_path, labels)).notes if "case" in note)
    assert "'FALSE', 'false'" in note
    bags = resolve(
        [{"bag": i, "label": label, "f": 0.5} for i, label in enumerate(labels)], "bags"
    ).data()
    assert note in bags.notes


@pytest.mark.parametrize(
    "label",
    ["9" * 5000, "-" + "7" * 4400, 10**5000, 10**700],
    ids=["text", "negative", "number", "shorter"],
)
def test_labels_of_thousands_of_digits(label):
    for read in (load_data, lambda rows: resolve(rows, "bags", columns={"features": ["f"]}).data()):
        with pytest.raises(DataError, match=r"row 1, column 'label'"):
            read([{"text": "a", "label": label, "bag": 1, "f": 0.5}])


def test_long_integers_are_sorted_as_they_were():
    rows = [{"text": f"t{i}", "label": label} for i, label in enumerate([10, 9, -1, 2**60 // 10])]
    assert load_data(rows).classes == ("-1", "9", "10", str(2**60 // 10))


# --- half characters ----------------------------------------------------------------------------

HALF = "film \ud800"


@pytest.mark.parametrize("column", ["text", "label", "id", "question"])
def test_half_characters_are_refused_with_their_place(tmp_path, column):
    path = tmp_path / "x.jsonl"
    rows = [{"id": i, "text": "a b", "label": str(i), "question": "q"} for i in range(3)]
    rows[1][column] = HALF
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=rf"line 2, column '{column}'.*half of a character"):
        load_data(path, columns={"id": "id", "question": "question"})


@pytest.mark.parametrize("column", ["bag", "label", "name"])
def test_half_characters_of_bags(column):
    rows = [{"bag": str(i), "label": str(i), "name": "n", "f": 0.5} for i in range(3)]
    rows[2][column] = HALF
    with pytest.raises(DataError, match=rf"row 3, column '{column}'.*half of a character"):
        resolve(rows, "bags").data()


def test_half_characters_in_names():
    with pytest.raises(DataError, match=r"the name of column 2.*half of a character"):
        resolve([{"bag": 1, HALF: 0.5}], "bags", columns={"label": None}).data()
    with pytest.raises(DataError, match="half of a character"):
        load_data([{"text": "a", "label": "b"}], classes=["b", HALF])


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["f", "truth", "key_type", "vector"])
def test_numbers_of_400_digits_among_bags(column):
    rows = [{"bag": i, "label": i, "f": 0.5, "truth": 0, "key_type": 0} for i in range(2)]
    rows[1][column] = 10**400
    options = {}
    if column == "vector":
        rows = [{"bag": i, "label": i, "vector": [0.5, 10 ** (400 * i)]} for i in range(2)]
        options = {"columns": {"features": ["vector"]}}
    with pytest.raises(DataError, match=rf"row 2, column '{column}'"):
        resolve(rows, "bags", **options).data()


def test_numbers_of_400_digits_elsewhere():
    rows = [{"text": "a b", "label": i, "truth": [10**400, 0], "a": "x", "b": "y"} for i in (0, 1)]
    with pytest.raises(DataError, match="row 1, column 'truth'"):
        load_data(rows, columns={"truth": "truth"})
    with pytest.raises(DataError, match="row 1, column 'label'"):
        resolve([{"bag": 1, "label": 10**400, "f": 0.5}], "bags", regression=True).data()
    with pytest.raises(DataError, match="row 1, column 'score'"):
        resolve([{"a": "x", "b": "y", "score": 10**400}], "pairs").data()
    with pytest.raises(DataError, match=r"row 1, column 'text': .* no id"):
        load_data([{"text": ["a"]}], columns={"label": None, "id": "text"})


# --- Python objects -----------------------------------------------------------------------------


def test_a_streamed_data_set_is_told_how_to_be_read():
    rows = {"text": ["good film", "bad film"] * 5, "label": [1, 0] * 5}
    stream = datasets.Dataset.from_dict(rows).to_iterable_dataset()
    for read in (load_data, lambda source: resolve(source).splits()):
        with pytest.raises(DataError, match=r"is streamed \(IterableDataset\).*list\(data.take"):
            read(stream)
    assert load_data(list(stream.take(4))).class_counts == {"0": 2, "1": 2}


def test_columns_that_are_numbered():
    frame = pd.DataFrame({0: ["good film", "bad film"], 1: [1, 0]})
    expected = [
        (record.text, record.label)
        for record in load_data(frame, columns={"text": "0", "label": "1"})
    ]
    assert expected == [("good film", 1), ("bad film", 0)]
    for source in (frame, [{0: "good film", 1: 1}, {0: "bad film", 1: 0}]):
        for text, label in ((0, 1), (np.int64(0), np.int64(1))):
            data = load_data(source, columns={"text": text, "label": label})
            assert [(record.text, record.label) for record in data] == expected
    bags = resolve(
        pd.DataFrame({0: ["a", "b"], 1: [1, 0], 2: [0.5, 1.5]}),
        "bags",
        columns={"bag": 0, "label": 1},
    ).data()
    assert bags.features == ("2",)


@pytest.mark.parametrize("name", [["text"], 1.5, True])
def test_what_is_no_name_of_a_column(name):
    with pytest.raises(SettingsError, match=r"columns\['text'\] is the name of a column"):
        load_data([{"text": "a", "label": 1}], columns={"text": name})


# --- indices of frames --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "csv", "csv twice"])
def test_the_index_of_a_frame_is_no_feature(tmp_path, form):
    frame = pd.DataFrame(
        {"bag": ["a", "a", "b"], "label": [1, 1, 0], "f": [0.5, 1.5, 2.5]}, index=[5, 3, 9]
    )
    path = tmp_path / f"x.{form.split()[0]}"
    if form == "parquet":
        frame.to_parquet(path, index=True)
        polars = pl.read_parquet(path)
        if "__index_level_0__" not in polars.columns:
            polars.with_columns(pl.Series("__index_level_0__", [5, 3, 9])).write_parquet(path)
    else:
        frame.to_csv(path)
        if form == "csv twice":
            pd.read_csv(path).to_csv(path, index=False)
    data = resolve(path, "bags").data()
    assert data.features == ("f",)
    assert "is the index of a frame" in " ".join(data.notes)
    index = next(column for column in read_file(path).columns if column not in frame.columns)
    assert resolve(path, "bags", columns={"features": ["f", index]}).data().features == ("f", index)


# --- a folder that is called as a set is --------------------------------------------------------


def test_a_folder_with_data_is_meant_where_a_set_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "reviews" in NAMED_SETS
    generated = load_data("reviews").fingerprint
    (tmp_path / "reviews").mkdir()
    assert load_data("reviews").fingerprint == generated
    for split in ("train", "test"):
        csv_of(tmp_path / "reviews", [0, 1] * 20, f"{split}.csv")
    data = load_data("reviews")
    assert len(data) == 40
    assert "the folder 'reviews' here was read" in " ".join(data.notes)
    parts = resolve("reviews").splits()
    assert {name: len(part) for name, part in parts.items()} == {"train": 34, "dev": 6, "test": 40}
    assert "the folder 'reviews' here was read" in " ".join(parts["test"].notes)


def test_a_folder_with_bags_is_meant_where_generated_bags_have_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "presence-gaussian").mkdir()
    (tmp_path / "presence-gaussian" / "test.csv").write_text("bag,label,f\na,0,1\nb,1,2\n")
    data = resolve("presence-gaussian", "bags").data()
    assert len(data) == 2
    assert "the folder 'presence-gaussian' here was read" in " ".join(data.notes)


# --- texts --------------------------------------------------------------------------------------


def test_equal_texts_are_named_where_they_cannot_be_split():
    same = load_data([{"text": "same text", "label": i % 2} for i in range(40)])
    with pytest.raises(DataError, match=r"are all equal \(40 records\).*kept in one split"):
        split_dataset(same)
    two = load_data([{"text": f"text {i % 2}", "label": i % 2} for i in range(40)])
    with pytest.raises(DataError, match=r"with 2 different texts.*kept in one split"):
        split_dataset(two)


def test_texts_of_one_unit_are_told():
    def notes(texts):
        return " ".join(load_data([{"text": t, "label": i % 2} for i, t in enumerate(texts)]).notes)

    assert "2 of 2 texts are one unit each" in notes(["ฉันชอบกินข้าว", "ฉันไม่ชอบ"])
    assert "one unit each" not in notes(["good film", "bad", "not a good film"])


def test_texts_without_a_known_word_are_told():
    vocabulary = Vocabulary(("good", "film"))
    config = ClassifierConfig(("neg", "pos"), hidden=4, embedding_dim=4)
    model = TextClassifier(AttentionClassifier(config, len(vocabulary)), vocabulary)
    rows = [{"text": "good film", "label": "pos"}, {"text": "kein Wort", "label": "neg"}]
    (note,) = (note for note in choose(model, rows).data.notes if "no word" in note)
    assert note.startswith("1 of 2 texts hold no word that the model knows, first '2'")
    assert "no word" not in " ".join(
        choose(model, [*rows[:1], {**rows[0], "label": "neg"}]).data.notes
    )


# --- evidence -----------------------------------------------------------------------------------


def movies(tmp_path, evidence):
    (tmp_path / "docs").mkdir()
    for name, text in (("A.txt", "the film was awful and long"), ("B.txt", "a superb film")):
        (tmp_path / "docs" / name).write_text(text)
    rows = [
        {
            "annotation_id": "B.txt",
            "classification": "POS",
            "evidences": [[{"docid": "B.txt", "start_token": 1, "end_token": 2, "text": "superb"}]],
        },
        {"annotation_id": "A.txt", "classification": "NEG", "evidences": [[evidence]]},
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lambda: load_data("eraser_movies", data_dir=tmp_path, split="test")


def test_evidence_on_another_document_is_refused(tmp_path):
    read = movies(tmp_path, {"docid": "B.txt", "start_token": 1, "end_token": 2, "text": "superb"})
    with pytest.raises(
        DataError, match=r"line 2, column 'evidences': .*'B\.txt' stands with 'A\.txt'"
    ):
        read()


@pytest.mark.parametrize("text", ["awful", "long"])
def test_evidence_whose_text_differs_from_its_tokens_is_told(tmp_path, text):
    data = movies(tmp_path, {"docid": "A.txt", "start_token": 3, "end_token": 4, "text": text})()
    assert [
        unit
        for unit, flag in zip(data.records[1].units, data.records[1].truth, strict=True)
        if flag
    ] == ["awful"]
    told = "1 pieces of evidence have another text" in " ".join(data.notes)
    assert told == (text == "long")
    assert not told or "line 2" in " ".join(data.notes)
