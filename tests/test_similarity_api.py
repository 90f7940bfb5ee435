"""Similarities from the command line and from Python."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from sentence_transformers import SentenceTransformer

from attnaudit import explain, similarities
from tests.terminal import run
from tests.tiny_siamese import tiny_siamese

A, B, C = "not a good film but well made", "a good film", "unbelievably bad acting"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("similarity")
    tiny_siamese(place / "parts").save(str(place / "model"))
    return str(place / "model")


def test_two_texts_in_the_terminal(folder: str) -> None:
    shown = run("explain", folder, A, B)
    score = float(
        SentenceTransformer(folder, device="cpu").similarity(
            *SentenceTransformer(folder, device="cpu").encode([A, B])
        )
    )
    assert f"{score:.3f}".replace("-", "−") in shown
    assert "adds up" in shown
    for word in (*A.split(), *B.split()):
        assert word in shown


def test_a_query_and_several_texts(folder: str, tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "new" / "page.html"
    run("explain", folder, A, B, C, "--json", str(out), "--html", str(page))
    found = json.loads(out.read_text())
    assert [(one["a"], one["b"]) for one in found] == [(A, B), (A, C)]
    for one in found:
        assert sum(map(sum, one["table"])) == pytest.approx(one["sum"])
        assert one["sum"] + one["residual"] == pytest.approx(one["score"])
        assert len(one["table"]) == len(one["tokens_a"]) + 1
        assert all(
            a["token"] == one["a"][a["start"] : a["end"]]
            for a in one["tokens_a"]
            if not a["special"]
        )
    assert C in page.read_text()


def test_pairs_of_a_file(folder: str, tmp_path: Path) -> None:
    pairs = [(A, B), (B, C), (A, C), (C, C)]
    rows = pl.DataFrame({"one": [a for a, _ in pairs], "two": [b for _, b in pairs]})
    rows.write_csv(tmp_path / "pairs.csv")
    words = ["explain", folder, "--data", str(tmp_path / "pairs.csv"), "--column", "a=one"]
    out = tmp_path / "out.json"
    shown = run(*words, "--column", "b=two", "--layer", "1", "--json", str(out))
    assert "1 more pairs" in shown
    assert [(one["a"], one["b"]) for one in json.loads(out.read_text())] == pairs
    assert "two" in run(*words, code=2)


def test_a_cut_text_is_told(folder: str) -> None:
    assert "have no part in the score" in run("explain", folder, " ".join([A] * 30), B)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{model}", A], "two texts"),
        (["{model}", A, B, "--data", "x.csv"], "not both"),
        (["{model}", A, " "], "empty"),
        (["{model}", A, B, "--score", "euclidean"], "cosine or dot"),
        (["{model}", A, B, "--layer", "7"], "from 0 to 1"),
        (["{model}", A, B, "--tolerance", "2"], "tolerance"),
        (["{model}", A, B, "--reference", "not a token"], "none of padding"),
        (["{model}", "--data", "nowhere.csv"], "nowhere.csv"),
        (["/nowhere/at/all", A, B], "no such folder"),
    ],
)
def test_what_cannot_be_done_is_said(folder: str, words: list[str], said: str) -> None:
    shown = run("explain", *(word.format(model=folder) for word in words), code=2)
    assert said in shown.replace("\n", " ")
    assert "Traceback" not in shown


def test_the_object_has_frame_plot_and_page(folder: str, tmp_path: Path) -> None:
    found = explain(folder, A, B, layer=1)
    frame = found.frame
    assert frame["value"].sum() == pytest.approx(found.total)
    assert frame.height == (len(found.table.a) + 1) * (len(found.table.b) + 1)
    assert found.score == pytest.approx(found.total + found.residual)
    words = found.words(phrases_a=["good film"])
    assert "good film" in words.table.a.shown
    assert words.total == pytest.approx(found.total)
    assert found.top(3).height == 3
    assert found.side("b")["score"].sum() == pytest.approx(found.total)
    assert json.loads(found.to_json())["score"] == pytest.approx(found.score)
    assert "<iframe" in found._repr_html_()
    assert found.plot().to_dict()["mark"]["type"] == "rect"
    assert found.to_html(tmp_path / "page.html").stat().st_size > 5_000


def test_many_pairs_are_a_stream(folder: str) -> None:
    first, second = similarities(folder, iter([(A, B), (B, A)]))
    assert first.score == pytest.approx(second.score)
