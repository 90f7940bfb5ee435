"""Named sets have the sizes of the literature, from a folder or from the hub."""

import gzip
import json

import pytest

from attnaudit.data.named.named import columns_for
from attnaudit.data.named.sets import NAMED_SETS, strip_line_breaks
from attnaudit.data.sources.hub import from_hub
from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.data.texts.build import build_dataset
from attnaudit.data.texts.cleaning import CLEANERS
from attnaudit.data.texts.tokens import TOKENIZERS
from attnaudit.errors import DataError, SettingsError
from tests.shared import shared_dir

# Sizes and classes as published, or as their folder says where rows were left out.
SIZES = {
    ("sst", "sst", "train"): {"negative": 3310, "positive": 3610},
    ("sst", "sst", "dev"): {"negative": 428, "positive": 444},
    ("sst", "sst", "test"): {"negative": 912, "positive": 909},
    ("imdb", "imdb", "test"): {"negative": 12500, "positive": 12500},
    ("ag_news", "ag_news", "test"): dict.fromkeys(
        ("World", "Sports", "Business", "Sci/Tech"), 1900
    ),
    ("ag_news_binary", "ag_news", "test"): {"World": 1900, "Business": 1900},
    # The sizes by date are 597 and 600; two posts have no body.
    ("newsgroups_sports", "newsgroups_sports", "train"): {"baseball": 596, "hockey": 599},
    ("newsgroups_sports", "newsgroups_sports", "test"): {"baseball": 397, "hockey": 399},
    ("eraser_movies", "eraser_movies", "train"): {"negative": 800, "positive": 800},
    ("eraser_movies", "eraser_movies", "test"): {"negative": 100, "positive": 99},
    ("snli", "snli_devtest_esnli_text", "test"): {
        "contradiction": 3237,
        "entailment": 3368,
        "neutral": 3219,
    },
}


@pytest.mark.parametrize(("name", "folder", "split"), SIZES)
def test_sizes_and_classes(name, folder, split):
    data = load_data(name, data_dir=shared_dir(f"data/{folder}"), split=split)
    assert data.class_counts == SIZES[name, folder, split]
    assert (data.name, data.split, data.classes) == (name, split, NAMED_SETS[name].classes)
    assert len({record.id for record in data}) == len(data)


def test_sst_keeps_the_tokens_of_the_treebank():
    folder = shared_dir("data/sst")
    data = load_data("sst", data_dir=folder, split="dev")
    with gzip.open(folder / "dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = {row["sent_id"]: row for row in map(json.loads, lines)}
    assert any("229 of 1101 rows have no label" in note for note in data.notes)
    for record in data:
        row = rows[int(record.id)]
        assert list(record.units) == row["text"].split(" ")
        assert record.label == row["label2"]


def test_imdb_loses_its_line_breaks_and_keeps_its_offsets():
    folder = shared_dir("data/imdb")
    data = load_data("imdb", data_dir=folder, split="test", limit=200, seed=1)
    assert len(data) == 200
    assert min(data.class_counts.values()) > 60
    with gzip.open(folder / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
        originals = {str(number): json.loads(line)["text"] for number, line in enumerate(lines, 1)}
    assert any("<br />" in originals[record.id] for record in data)
    for record in data:
        assert "<br" not in record.text
        for unit, (start, end) in zip(record.units, record.offsets, strict=True):
            assert originals[record.id][start:end] == unit


def test_line_breaks_become_as_many_blanks():
    assert strip_line_breaks("a<br /><br />b") == "a" + " " * 12 + "b"


def hub_rows(datasets, names, labels):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    texts = [f"text {label}" for label in labels]
    return datasets.Dataset.from_dict({"text": texts, "label": labels}, features)


def test_the_layouts_of_the_hub_fit_too():
    datasets = pytest.importorskip("datasets")
    integers = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]})
    groups = datasets.Dataset.from_dict(
        {
            "text": ["a", "b", "c", ""],
            "label": [9, 10, 0, 10],
            "label_text": ["rec.sport.baseball", "rec.sport.hockey", "sci.med", "rec.sport.hockey"],
        }
    )
    topics = ["World", "Sports", "Business", "Sci/Tech"]
    expected = {
        "sst": (integers, [1, 0]),
        "imdb": (hub_rows(datasets, ["neg", "pos"], [1, 0]), [1, 0]),
        "ag_news": (hub_rows(datasets, topics, [3, 0, 1]), [3, 0, 1]),
        "ag_news_binary": (hub_rows(datasets, topics, [3, 2, 0]), [1, 0]),
        "newsgroups_sports": (groups, [0, 1]),
    }
    for name, (rows, labels) in expected.items():
        table = from_hub(rows, name)
        data = build_dataset(table, columns_for(NAMED_SETS[name], table), name)
        assert [record.label for record in data] == labels
        assert data.classes == NAMED_SETS[name].classes


def test_a_text_of_line_breaks_alone_is_left_out(tmp_path):
    rows = [("<br /><br />", 0), ("fine", 1), ("bad", 0)]
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    data = load_data("imdb", data_dir=tmp_path)
    assert [record.units for record in data] == [("fine",), ("bad",)]


def test_reviews_need_no_files():
    splits = resolve("reviews").splits()
    assert {name: len(data) for name, data in splits.items()} == {
        "train": 3000,
        "dev": 500,
        "test": 1000,
    }
    for name, data in splits.items():
        assert all(record.truth for record in data)
        assert load_data("reviews", split=name).fingerprint == data.fingerprint
    test = load_data("reviews", limit=50, seed=4)
    assert (test.split, len(test)) == ("test", 50)
    assert {record.text for record in test} <= {record.text for record in splits["test"]}
    assert any("the test split was taken" in note for note in test.notes)


def test_every_entry_can_be_listed_and_read():
    for name, entry in NAMED_SETS.items():
        assert entry.name == name
        assert all((entry.title, entry.paper, entry.terms, entry.keep))
        assert entry.tokenizer in TOKENIZERS
        # Each comes from the hub, is made here, or says what to get.
        assert sum((entry.hub is not None, entry.make is not None, entry.obtain != "")) == 1
        assert entry.where
        assert set(entry.rename.values()) <= set(entry.classes)
        assert entry.make is not None or set(entry.rename.values()) == set(entry.classes)
        assert entry.make is not None or entry.truth == bool(entry.truth_columns)
        assert entry.truth_in in (None, "characters", *TOKENIZERS)
        assert entry.cleaner is None or entry.cleaner in CLEANERS


@pytest.mark.parametrize(
    "classes",
    [["negative", "positive"], ["positive", "negative"], ["positive", "mixed", "negative"]],
)
def test_classes_come_in_the_order_asked_for(classes):
    usual = load_data("reviews", split="dev")
    data = load_data("reviews", split="dev", classes=classes)
    assert data.classes == tuple(classes)
    for record, same in zip(data, usual, strict=True):
        assert record.text == same.text
        assert data.classes[record.label] == usual.classes[same.label]
    splits = resolve("reviews", classes=classes).splits()
    assert splits["dev"].fingerprint == data.fingerprint


def test_a_tokenizer_can_be_chosen():
    folder = shared_dir("data/newsgroups_sports")
    data = load_data("newsgroups_sports", data_dir=folder, tokenizer="whitespace", limit=5)
    assert all(list(record.units) == record.text.split() for record in data)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": {"label": "x"}}, SettingsError, "'reviews' decides on its label itself"),
        (
            {"classes": ["a", "positive"]},
            SettingsError,
            "asked for, 'a', 'positive', lack 'negative'",
        ),
        ({"tokenizer": "whitespace"}, SettingsError, "decides on its tokenizer itself"),
        ({"data_dir": "x"}, SettingsError, "'reviews' is generated"),
        ({"split": "extra"}, DataError, "no split 'extra'"),
        ({"limit": -1}, SettingsError, "limit"),
    ],
)
def test_what_a_named_set_decides_cannot_be_changed(options, error, message):
    with pytest.raises(error, match=message):
        load_data("reviews", **options)
    options.pop("split", None)
    if error is SettingsError:
        with pytest.raises(error, match=message):
            resolve("reviews", **options).splits()


def test_unknown_names_and_folders(tmp_path):
    with pytest.raises(DataError, match=r"'sst5'\. Did you mean 'sst.*Named sets are: 'reviews'"):
        load_data("sst5")
    with pytest.raises(DataError, match=r"nowhere is no folder: the set 'sst' needs one"):
        load_data("sst", data_dir=tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no data files"):
        load_data("sst", data_dir=tmp_path)
    (tmp_path / "test.jsonl").write_text('{"sentence": "a", "label": 1}\n')
    with pytest.raises(DataError, match="has no column 'text'"):
        load_data("sst", data_dir=tmp_path)
