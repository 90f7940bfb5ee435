"""`attnaudit train` with pretrained encoders, remedies, and other ways of reading."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from attnaudit.data.generated.reviews import generate_review_splits
from attnaudit.models.load import load
from attnaudit.remedies import REMEDIES
from tests.terminal import run
from tests.tiny_transformers import tiny

SMALL = ("--epochs", "1", "--hidden", "8", "--embedding-dim", "8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reviews")
    for name, split in generate_review_splits(n_train=80, n_dev=30, n_test=40, seed=2).items():
        pl.DataFrame(
            {
                "text": [r.text for r in split],
                "label": [split.classes[r.label] for r in split],
            }
        ).write_csv(place / f"{name}.csv")
    return place


def trained(data: Path, out: Path, *more: str) -> str:
    return run("train", str(data), "--out", str(out), *SMALL, *more)


@pytest.mark.parametrize("name", REMEDIES)
def test_a_remedy_is_one_flag(name: str, data: Path, tmp_path: Path) -> None:
    shown = trained(data, tmp_path / "model", "--remedy", name)
    assert "Held out: 40 texts" in shown
    told = run(
        "explain", str(tmp_path / "model"), "not a good film", "--json", "-", "--method", "weights"
    )
    assert sum(json.loads(told)["scores"]["weights"]) == pytest.approx(1, abs=1e-4)


def test_a_remedy_that_does_not_exist(data: Path, tmp_path: Path) -> None:
    shown = run("train", str(data), "--out", str(tmp_path / "x"), "--remedy", "hope", code=2)
    assert all(name in shown for name in REMEDIES)


def test_a_pretrained_encoder_is_one_flag(data: Path, tmp_path: Path) -> None:
    texts = pl.read_csv(data / "train.csv")["text"].to_list()
    encoder = tiny("bert", tmp_path / "encoder", texts=texts, vocabulary=400, positions=200)
    out = tmp_path / "model"
    shown = run("train", str(data), "--out", str(out), "--epochs", "1", "--encoder", str(encoder))
    assert "Held out: 40 texts" in shown
    audited = run("audit", str(out), "--check", "permutation", "--out", str(tmp_path / "run"))
    assert "May these attention weights be shown" in audited
    assert load(str(out)).fingerprint() == load(str(out)).fingerprint()


def test_texts_are_read_as_a_paper_reads_them(data: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(data / "train.csv").with_columns(text=pl.col("text") + " 12 Times")
    frame.write_csv(tmp_path / "some.csv")
    trained(tmp_path / "some.csv", tmp_path / "plain")
    trained(tmp_path / "some.csv", tmp_path / "paper", "--pipeline", "jain2019")
    words = {name: set(load(str(tmp_path / name)).vocabulary.words) for name in ("plain", "paper")}
    assert "12" in words["plain"]
    assert "qqq" in words["paper"]
    assert "12" not in words["paper"]


def test_lengths_are_bounds(data: Path, tmp_path: Path) -> None:
    lengths = pl.read_csv(data / "test.csv")["text"].str.split(" ").list.len()
    bound = int(lengths.median())  # type: ignore[arg-type]
    shown = trained(data, tmp_path / "short", "--max-length", str(bound))
    kept = int(shown.partition("Held out: ")[2].split()[0])
    assert 0 < kept < 40
