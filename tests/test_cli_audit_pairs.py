"""`attnaudit audit-pairs` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from attnaudit.data.generated.pairs import generate_scored_pairs
from attnaudit.pair_checks.registry import PAIR_CHECKS
from tests.terminal import run
from tests.tiny_siamese import tiny_siamese


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    tiny_siamese(folder / "parts").save(str(folder / "model"))
    pairs = generate_scored_pairs(32, seed=1)
    pl.DataFrame({"a": [p.a for p in pairs], "b": [p.b for p in pairs]}).write_csv(
        folder / "pairs.csv"
    )
    return folder


def test_it_leaves_findings_pairs_and_a_card(place: Path) -> None:
    out = place / "run"
    shown = run(
        "audit-pairs",
        str(place / "model"),
        str(place / "pairs.csv"),
        "--out",
        str(out),
        "--tolerance",
        "0.01",
    )
    assert "May these token pairs be shown" in shown
    found = json.loads((out / "findings.json").read_text())
    assert {f["check"] for f in found["findings"]} == set(PAIR_CHECKS)
    assert found["judgement"]["verdict"] in shown
    assert pl.read_parquet(out / "pairs.parquet").height == found["sizes"]["audited"]
    card = (out / "card.md").read_text()
    for check in PAIR_CHECKS.values():
        assert check.title in shown
        assert check.title in card


def test_few_pairs_decide_nothing(place: Path) -> None:
    words = ["audit-pairs", str(place / "model"), str(place / "pairs.csv"), "--limit", "5"]
    shown = run(*words, "--check", "deletion", "--out", str(place / "few"), "--tolerance", "0.01")
    assert "inconclusive" in shown


def test_what_cannot_be_done_is_said(place: Path) -> None:
    model, pairs = str(place / "model"), str(place / "pairs.csv")
    assert "deletion" in run("audit-pairs", model, pairs, "--check", "hope", code=2)
    assert "there is no file" in run("audit-pairs", model, str(place / "nowhere.csv"), code=2)
    (place / "file").write_text("")
    words = ["audit-pairs", model, pairs, "--limit", "2", "--check", "completeness"]
    assert "cannot write" in run(*words, "--out", str(place / "file"), code=2)
