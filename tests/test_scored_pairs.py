"""Scored pairs from every kind of source, and what is said of bad ones."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from attnaudit.data.pairs.scored_pairs import ScoredPair, open_pairs
from attnaudit.data.reading import Reading
from attnaudit.data.sources.hub import is_hub_name
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import DataError, SettingsError
from tests.shared import shared_dir

ROWS = [
    {"sentence1": "A cat.", "sentence2": "The cat.", "score": 4.5},
    {"sentence1": "Rain, rain", "sentence2": 'A "dog"', "score": 0},
    {"sentence1": "Été", "sentence2": "Summer", "score": 3},
]
PAIRS = tuple(
    ScoredPair(str(n), row["sentence1"], row["sentence2"], float(row["score"]))  # type: ignore[arg-type]
    for n, row in enumerate(ROWS, start=1)
)


def written(folder: Path, suffix: str) -> Path:
    path, frame = folder / f"pairs{suffix}", pl.DataFrame(ROWS, strict=False)
    if suffix == ".csv":
        frame.write_csv(path)
    elif suffix == ".tsv":
        frame.write_csv(path, separator="\t")
    elif suffix == ".parquet":
        frame.write_parquet(path)
    else:
        text = "\n".join(map(json.dumps, ROWS)).encode()
        path.write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".jsonl.gz", ".parquet"])
def test_files(suffix: str, tmp_path: Path) -> None:
    found = resolve(written(tmp_path, suffix), "pairs").data()
    # ids are those of lines as messages count them, and the first line of a CSV names columns
    first = 2 if suffix in (".csv", ".tsv") else 1
    assert found == tuple(replace(pair, id=str(n)) for n, pair in enumerate(PAIRS, start=first))


@pytest.mark.parametrize(
    "source",
    [
        ROWS,
        list(PAIRS),
        PAIRS,
        [(p.a, p.b, p.score) for p in PAIRS],
        pl.DataFrame(ROWS, strict=False),
        pd.DataFrame(ROWS),
    ],
    ids=["rows", "pairs", "tuple", "triples", "polars", "pandas"],
)
def test_things_in_memory(source: Any) -> None:
    assert resolve(source, "pairs").data() == PAIRS
    assert open_pairs(source, Reading()).part("train") == PAIRS


def test_columns_by_name() -> None:
    rows = [{"key": "x", "left": "A", "right": "B", "stars": "2.5", "score": "nan"}]
    named = {"id": "key", "a": "left", "b": "right", "score": "stars"}
    assert resolve(rows, "pairs", columns=named).data() == (ScoredPair("x", "A", "B", 2.5),)


def test_limit_keeps_the_order() -> None:
    pairs = [(f"a{i}", f"b{i}", i) for i in range(30)]
    drawn = resolve(pairs, "pairs", limit=10).data()
    assert [int(p.score) for p in drawn] == sorted(int(p.score) for p in drawn)
    assert len(drawn) == 10
    assert drawn == resolve(pairs, "pairs", limit=10).data()
    assert drawn != resolve(pairs, "pairs", limit=10, seed=1).data()


def test_splits_of_a_folder_and_of_a_column(tmp_path: Path) -> None:
    for name in ("train", "validation", "test"):
        pl.DataFrame([{"a": name, "b": "x", "score": 1.0}]).write_csv(tmp_path / f"{name}.csv")
    splits = resolve(tmp_path, "pairs").splits()
    assert {name: part[0].a for name, part in splits.items()} == {
        "train": "train",
        "dev": "validation",
        "test": "test",
    }
    assert open_pairs(tmp_path, Reading()).part("dev") == splits["dev"]
    frame = pl.DataFrame(
        {
            "a": ["1", "2", "3"],
            "b": ["x"] * 3,
            "score": [1, 2, 3],
            "split": ["test", "train", "val"],
        }
    )
    assert [
        resolve(frame, "pairs").splits()[name][0].a for name in ("train", "dev", "test")
    ] == list("231")
    assert open_pairs(frame, Reading()).part("train")[0].a == "2"
    with pytest.raises(DataError, match="no split 'dev'"):
        open_pairs(frame.filter(pl.col("split") != "val"), Reading()).part("dev")
    with pytest.raises(DataError, match="no train split"):
        resolve(frame.filter(pl.col("split") == "test"), "pairs").splits()


def test_what_is_cut_out_of_train_shares_no_pair() -> None:
    pairs = [(f"a{i % 40}", "b", i % 5) for i in range(80)]
    splits = resolve(pairs, "pairs").splits()
    keys = {name: {(p.a, p.b) for p in part} for name, part in splits.items()}
    assert {name: len(key) for name, key in keys.items()} == {"train": 32, "dev": 4, "test": 4}
    assert sum(map(len, splits.values())) == 80
    assert not keys["train"] & keys["dev"] | keys["train"] & keys["test"]
    assert splits == resolve(pairs, "pairs").splits()
    with pytest.raises(DataError, match="3 different pairs are too few for a dev split"):
        resolve(pairs[:3], "pairs").splits()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": float("nan")}, r"the list, row 2, column 'score': the score is nan"),
        ({"score": None}, r"row 2, column 'score': the score is None"),
        ({"score": "high"}, r"the score is 'high', which is no finite number"),
        ({"score": True}, r"the score is True"),
        ({"sentence1": " "}, r"row 2, column 'sentence1': the first text is empty"),
        ({"sentence2": None}, r"row 2, column 'sentence2': the second text is empty"),
        ({"sentence2": 3}, r"row 2, column 'sentence2': expected a text, found int"),
    ],
)
def test_bad_rows(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as found:
        resolve([ROWS[0], ROWS[1] | change], "pairs").data()
    assert "drop_empty" not in str(found.value)


def test_bad_sources(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'sentence2' for the b.*--column b="):
        resolve([{"sentence1": "x", "score": 1}], "pairs").data()
    with pytest.raises(DataError, match=r"no column 'stars' for the score"):
        resolve(ROWS, "pairs", columns={"score": "stars"}).data()
    with pytest.raises(DataError, match=r"the list, row 1: expected \(text, text, score\)"):
        resolve([("a", "b")], "pairs").data()
    with pytest.raises(DataError, match="ids must be unique"):
        resolve([("a", "b", 1), ("a", "b", 1)], "pairs", columns={"id": "score"}).data()
    with pytest.raises(DataError, match="no file or folder"):
        resolve(tmp_path / "none.csv", "pairs").data()
    with pytest.raises(SettingsError, match="data_dir"):
        resolve(ROWS, "pairs", data_dir=tmp_path).data()
    with pytest.raises(SettingsError, match="limit"):
        resolve(ROWS, "pairs", limit=0).splits()


def test_the_sts_benchmark() -> None:
    splits = resolve("stsb", "pairs", data_dir=shared_dir("data")).splits()
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 5749,
        "dev": 1500,
        "test": 1379,
    }
    assert {min(p.score for p in part) for part in splits.values()} == {0.0}
    assert {max(p.score for p in part) for part in splits.values()} == {5.0}
    assert resolve("stsb", "pairs", data_dir=shared_dir("data/stsb")).data() == splits["test"]


def test_text_pairs_need_no_score(tmp_path: Path) -> None:
    rows = [{"left": f"a {i}", "right": f"b {i}"} for i in range(20)]
    pairs = [(row["left"], row["right"]) for row in rows]

    def load_text_pairs(source: Any, **options: Any) -> list[tuple[str, str]]:
        columns = {**options.pop("columns", {}), "score": None}
        found = resolve(source, "pairs", columns=columns, **options).data()
        assert all(math.isnan(pair.score) for pair in found)
        return [(pair.a, pair.b) for pair in found]

    names: dict[str, Any] = {"columns": {"a": "left", "b": "right"}}
    assert load_text_pairs(rows, **names) == pairs
    assert load_text_pairs(rows, **names, limit=20) == pairs
    some = load_text_pairs(rows, **names, limit=5, seed=1)
    assert len(some) == 5
    assert some == [pair for pair in pairs if pair in some]
    assert some == load_text_pairs(rows, **names, limit=5, seed=1)
    assert some != load_text_pairs(rows, **names, limit=5, seed=2)
    (tmp_path / "pairs.csv").write_text("a,b\nso,good\n,bad\n")
    with pytest.raises(DataError, match="row 3, column 'a': the first text is empty"):
        load_text_pairs(tmp_path / "pairs.csv")
    with pytest.raises(DataError, match="expected a text, found int"):
        load_text_pairs([{"a": 1, "b": "x"}])
    with pytest.raises(SettingsError, match="limit"):
        load_text_pairs(rows, **names, limit=0)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("owner/name", True),
        ("own-er/na.me_1", True),
        ("owner/name:part.1", True),
        ("name", False),
        ("a/b/c", False),
        ("../name", False),
        ("./name", False),
        ("/name", False),
        ("owner/", False),
        ("owner/name:", False),
        ("owner/na me", False),
        ("~/name", False),
        ("owner/name\n", False),
        ("owner/.name", False),
        ("", False),
    ],
)
def test_names_of_the_hub(name: str, is_one: bool) -> None:
    assert is_hub_name(name) is is_one
