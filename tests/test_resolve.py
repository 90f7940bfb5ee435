"""A source is resolved once: checked, read once, told by its content, and sent by its place."""

import pickle

import polars as pl
import pytest

from attnaudit.data.bags.generated import generate_bags
from attnaudit.data.generated.reviews import generate_reviews
from attnaudit.data.reading import parse_columns
from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.errors import DataError, SettingsError

TEXTS = "text,label\n" + "".join(f"word {i} here,{'ab'[i % 2]}\n" for i in range(20))


def written(tmp_path, text, name="x.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def said(source, kind="texts", **options):
    with pytest.raises(DataError) as error:
        resolve(source, kind, **options).data()
    return str(error.value)


def test_a_file_is_read_once(tmp_path):
    path = written(tmp_path, TEXTS)
    source = resolve(path)
    first = source.data()
    path.unlink()
    assert source.data() == first
    assert sum(map(len, source.splits().values())) == len(first)


def test_a_folder_reads_each_split_once(tmp_path):
    for name in ("train", "dev", "test"):
        written(tmp_path, TEXTS, f"{name}.csv")
    source = resolve(tmp_path)
    splits = source.splits()
    (tmp_path / "test.csv").unlink()
    assert source.data("test").fingerprint == splits["test"].fingerprint


def test_another_process_reads_the_same(tmp_path):
    source = resolve(written(tmp_path, TEXTS), limit=7, seed=3, columns={"text": "text"})
    data = source.data()
    again = pickle.loads(pickle.dumps(source))
    assert again.data().fingerprint == data.fingerprint
    assert again.fingerprint == source.fingerprint


def test_fingerprints_tell_content_and_options(tmp_path):
    one = resolve(written(tmp_path, TEXTS)).fingerprint
    assert one == resolve(written(tmp_path, TEXTS, "y.csv")).fingerprint
    assert one != resolve(written(tmp_path, TEXTS + "more,a\n")).fingerprint
    assert one != resolve(written(tmp_path, TEXTS), limit=3).fingerprint
    frames = [pl.DataFrame({"text": ["a", "b"], "label": [0, n]}) for n in (1, 1, 2)]
    prints = [resolve(frame).fingerprint for frame in frames]
    assert prints[0] == prints[1] != prints[2]
    assert resolve("reviews").fingerprint != resolve("polarity").fingerprint
    pairs = [[("a", "b", score)] for score in (1, 1, 2)]
    prints = [resolve(pair, "pairs").fingerprint for pair in pairs]
    assert prints[0] == prints[1] != prints[2]


def test_data_in_memory_are_taken_as_they_are():
    texts, bags = generate_reviews(30), generate_bags("presence", "gaussian", 30)
    assert resolve(texts).data() is texts
    assert resolve(bags).kind == "bags"
    assert {name: len(part) for name, part in resolve(bags).splits().items()} == {
        "train": 24,
        "dev": 3,
        "test": 3,
    }
    with pytest.raises(SettingsError, match=r"limit= .* says how data are read"):
        resolve(texts, limit=3)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("bags", {"tokenizer": "words"}, "tokenizer= .* is about texts, and bags are read here"),
        ("bags", {"columns": {"id": "key"}}, "--column id=.* is about texts and pairs, and bags"),
        ("texts", {"columns": {"bag": "slide"}}, "--column bag=.* is about bags, and texts"),
        ("texts", {"regression": True}, "regression= .* is about bags"),
        ("pairs", {"classes": ("a", "b")}, "classes= .* is about texts and bags, and pairs"),
        ("texts", {"columns": {"txt": "x"}}, "no column can be 'txt'.* Did you mean 'text'"),
        ("text", {}, "unknown kind of data 'text'"),
    ],
)
def test_what_a_kind_does_not_know_is_refused(kind, options, message):
    with pytest.raises(SettingsError, match=message):
        resolve("anything", kind, **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["text"], "does not say which column is what"),
        (["text="], "does not say which column is what"),
        (["txt=a"], "no column can be 'txt': .* Did you mean 'text'"),
        (["text=a", "text=b"], "given twice: 'a' and 'b'"),
    ],
)
def test_columns_of_a_command_line(given, message):
    with pytest.raises(SettingsError, match=message):
        parse_columns(given)


def test_a_column_may_have_an_equals_sign_in_its_name():
    assert parse_columns(["text=a=b", "features=f 1,f=2"]) == {
        "text": "a=b",
        "features": ("f 1", "f=2"),
    }


def test_faults_of_one_kind_are_said_together(tmp_path):
    rows = [{"text": f"word {i}", "label": i % 2, "truth": [1, 0]} for i in range(20)]
    empty = [{**row, "text": "" if i in (3, 4) else row["text"]} for i, row in enumerate(rows)]
    message = said(empty)
    assert message.startswith("the list, row 4, column 'text': the text is empty")
    assert message.endswith("There are 2 such faults: the list, rows 4, 5")
    ragged = [{**row, "truth": [1] * (1 + (i < 13))} for i, row in enumerate(rows)]
    message = said(ragged, columns={"truth": "truth"})
    assert message.endswith("There are 7 such faults: the list, rows 14, 15, 16, 17, 18 and 2 more")
    message = said([{**row, "label": [i] if i > 17 else 0} for i, row in enumerate(rows)])
    assert "There are 2 such faults: the list, rows 19, 20" in message
    known = said(rows, classes=("a", "b", "c"), columns={"label": "text"})
    assert "'word 0' is not one of the classes" in known
    assert "There are 20 such faults: the list, rows 1, 2, 3, 4, 5 and 15 more" in known
    csv = written(tmp_path, "text,label\na,b,c\na,b\na,b,c,d\n")
    assert "There are 2 such faults" in said(csv)
    assert f"{csv}, rows 2, 4" in said(csv)
    lines = written(tmp_path, '{"text": 1\n{"text": "b"}\nnull x\n', "x.jsonl")
    assert f"There are 2 such faults: {lines}, lines 1, 3" in said(lines)
    assert "such fault" not in said(empty[:4])


def test_faults_of_bags_and_pairs_are_said_together():
    rows = [{"bag": i // 2, "label": i // 2 % 2, "f": float(i)} for i in range(12)]
    words = [{**row, "f": "x" if i in (2, 7) else row["f"]} for i, row in enumerate(rows)]
    assert "There are 2 such faults: the list, rows 3, 8" in said(words, "bags")
    blank = [{**row, "bag": None if i in (2, 7) else row["bag"]} for i, row in enumerate(rows)]
    assert "There are 2 such faults: the list, rows 3, 8" in said(blank, "bags")
    unlike = [{**row, "label": i % 2} for i, row in enumerate(rows)]
    assert "There are 6 such faults: bags '0', '1', '2', '3', '4' and 1 more" in said(
        unlike, "bags"
    )
    pairs = [("a", "b", score) for score in (1, None, "x", 2)]
    assert "There are 2 such faults: the list, rows 2, 3" in said(pairs, "pairs")


def test_load_data_is_resolve():
    assert load_data("reviews", limit=20) == resolve("reviews", limit=20).data()
