"""Splits keep labels in proportion, equal texts together, and classes the same."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.data.generated.reviews import generate_reviews
from attnaudit.data.records import Dataset
from attnaudit.data.sources.resolve import resolve
from attnaudit.data.splits import split_dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError, SettingsError
from tests.shared import shared_dir


def dataset(labels, texts=None):
    texts = texts or [f"text {i}" for i in range(len(labels))]
    records = [
        text_record(str(i), text, label)
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    return Dataset("demo", tuple(records), ("a", "b", "c"))


def write_lines(folder, name, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


def rows(n, labels=("neg", "pos"), word="text"):
    return [{"text": f"{word} {i}", "label": labels[i % len(labels)]} for i in range(n)]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 2), min_size=30, max_size=120), st.integers(0, 5))
def test_labels_are_in_proportion_and_nothing_is_lost(labels, seed):
    data = dataset(labels)
    parts = split_dataset(data, (0.8, 0.1, 0.1), seed)
    ids = [record.id for part in parts.values() for record in part]
    assert sorted(ids, key=int) == [record.id for record in data]
    for name, share in zip(("train", "dev", "test"), (0.8, 0.1, 0.1), strict=True):
        records = parts[name].records
        assert [int(record.id) for record in records] == sorted(
            int(record.id) for record in records
        )
        assert abs(len(records) - share * len(labels)) <= 1
        counts = Counter(record.label for record in records)
        for label, total in Counter(labels).items():
            assert abs(counts[label] - share * total) <= 2


def test_the_cut_depends_on_ids_and_seed_and_not_on_the_order():
    data = generate_reviews(200, seed=1)
    backwards = data.select(data.records[::-1])
    first, second = split_dataset(data, seed=3), split_dataset(backwards, seed=3)
    for name in first:
        assert {record.id for record in first[name]} == {record.id for record in second[name]}
    other = split_dataset(data, seed=4)
    assert {r.id for r in first["test"]} != {r.id for r in other["test"]}


def test_equal_texts_stay_together():
    data = dataset([i % 2 for i in range(200)], [f"text {i // 4}" for i in range(200)])
    parts = split_dataset(data, (0.5, 0.25, 0.25), seed=0)
    texts = [{record.text for record in part} for part in parts.values()]
    assert sum(map(len, texts)) == len(set().union(*texts)) == 50


def test_a_share_of_nothing_is_left_out():
    parts = split_dataset(dataset([0, 1] * 20), (0.75, 0, 0.25))
    assert {name: len(part) for name, part in parts.items()} == {"train": 30, "test": 10}


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (0.5, 0.5), (1, 0, 0, 0)]
)
def test_fractions_must_be_shares(fractions):
    with pytest.raises(SettingsError, match="sum to 1"):
        split_dataset(dataset([0, 1]), fractions)


def test_too_few_records_for_a_split():
    with pytest.raises(DataError, match=r"demo has 3 records, too few for a (dev|test) split"):
        split_dataset(dataset([0, 1, 0]))


def test_a_folder_with_all_splits(tmp_path):
    for name, n in (("train", 20), ("val", 6), ("test", 8)):
        write_lines(tmp_path, f"{name}.jsonl", rows(n, word=name))
    splits = resolve(tmp_path).splits()
    assert {name: len(data) for name, data in splits.items()} == {"train": 20, "dev": 6, "test": 8}
    assert {data.split for data in splits.values()} == {"train", "dev", "test"}
    assert {data.classes for data in splits.values()} == {("neg", "pos")}


@pytest.mark.parametrize(
    ("files", "sizes"),
    [
        ({"train": 200, "test": 10}, {"train": 170, "dev": 30, "test": 10}),
        ({"train": 200, "dev": 10}, {"train": 180, "dev": 10, "test": 20}),
        ({"train": 200}, {"train": 160, "dev": 20, "test": 20}),
    ],
)
def test_missing_splits_are_cut_out_of_train(tmp_path, files, sizes):
    for name, n in files.items():
        write_lines(tmp_path, f"{name}.jsonl", rows(n, word=name))
    splits = resolve(tmp_path, seed=2).splits()
    assert {name: len(data) for name, data in splits.items()} == sizes
    for name in set(sizes) - set(files):
        counts = splits[name].class_counts
        assert counts["neg"] == counts["pos"]
        assert any("of 200 records, cut with seed 2" in note for note in splits[name].notes)


def test_one_file_is_cut_and_a_split_column_is_used(tmp_path):
    write_lines(tmp_path, "all.jsonl", rows(100))
    sizes = {name: len(data) for name, data in resolve(tmp_path / "all.jsonl").splits().items()}
    assert sizes == {"train": 80, "dev": 10, "test": 10}
    assert {name: len(data) for name, data in resolve(tmp_path).splits().items()} == sizes
    marked = [{**row, "split": "test" if i >= 60 else "train"} for i, row in enumerate(rows(100))]
    splits = resolve(marked, name="mine").splits()
    assert {name: len(data) for name, data in splits.items()} == {"train": 51, "dev": 9, "test": 40}
    assert {data.name for data in splits.values()} == {"mine"}


def test_classes_are_those_of_train(tmp_path):
    write_lines(tmp_path, "train.jsonl", rows(20, ("neg", "neutral", "pos")))
    write_lines(tmp_path, "dev.jsonl", rows(4, ("pos",), "dev"))
    write_lines(tmp_path, "test.jsonl", rows(4, ("pos", "neg"), "test"))
    splits = resolve(tmp_path).splits()
    assert {data.classes for data in splits.values()} == {("neg", "neutral", "pos")}
    assert [record.label for record in splits["test"]] == [2, 0, 2, 0]
    write_lines(tmp_path, "test.jsonl", rows(4, ("pos", "mixed"), "test"))
    with pytest.raises(DataError, match=r"test.jsonl, line 2.*'mixed' is not one.*those of train"):
        resolve(tmp_path).splits()


def test_numbers_do_not_stand_for_the_named_classes_of_train(tmp_path):
    write_lines(tmp_path, "train.jsonl", rows(20))
    write_lines(tmp_path, "test.jsonl", rows(4, (0, 1)))
    with pytest.raises(DataError, match="'0' is not one of the classes 'neg', 'pos'"):
        resolve(tmp_path).splits()
    splits = resolve(tmp_path, classes=["neg", "pos"]).splits()
    assert [record.label for record in splits["test"]] == [0, 1, 0, 1]


def test_texts_of_train_in_test_are_noted(tmp_path):
    write_lines(tmp_path, "train.jsonl", rows(40))
    write_lines(tmp_path, "test.jsonl", [*rows(3), *rows(2, word="new")])
    test = resolve(tmp_path).splits()["test"]
    assert sum("texts are in train too" in note for note in test.notes) == 1


def test_a_limit_holds_for_each_split(tmp_path):
    write_lines(tmp_path, "train.jsonl", rows(400))
    write_lines(tmp_path, "test.jsonl", rows(100, word="test"))
    splits = resolve(tmp_path, limit=50).splits()
    assert {name: len(data) for name, data in splits.items()} == {"train": 50, "dev": 9, "test": 50}


def test_unlabelled_rows_can_be_split_too(tmp_path):
    write_lines(tmp_path, "all.jsonl", [{"text": f"text {i}"} for i in range(50)])
    splits = resolve(tmp_path, columns={"label": None}).splits()
    assert {name: len(data) for name, data in splits.items()} == {"train": 40, "dev": 5, "test": 5}


def test_no_train_split_is_refused(tmp_path):
    write_lines(tmp_path, "test.jsonl", rows(4))
    write_lines(tmp_path, "dev.jsonl", rows(4))
    with pytest.raises(DataError, match="no train split: the splits are 'dev', 'test'"):
        resolve(tmp_path).splits()


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("nowhere.csv", {}, DataError, "no file or folder 'nowhere.csv'"),
        ("a whole text, given by mistake. " * 200, {}, DataError, "no file or folder"),
        ([], {}, DataError, "is empty"),
        ("reviews", {"split": "test"}, SettingsError, "leave out split="),
        ([{"text": "a", "label": 0}], {"data_dir": "x"}, SettingsError, "goes with a named set"),
        ([{"text": "a", "label": 0}], {"limit": 0}, SettingsError, "limit"),
    ],
)
def test_bad_sources_and_options(source, options, error, message):
    with pytest.raises(error, match=message):
        resolve(source, **options).splits()


def test_imdb_gets_a_dev_split_that_shares_no_text_with_train():
    folder = shared_dir("data/imdb")
    splits = resolve("imdb", data_dir=folder, limit=300).splits()
    assert {name: len(data) for name, data in splits.items()} == {
        "train": 300,
        "dev": 53,
        "test": 300,
    }
    assert not {r.text for r in splits["train"]} & {r.text for r in splits["dev"]}
