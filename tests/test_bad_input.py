"""Unusable input: refused in one line that says what, where and what to do; or survived."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from attnaudit import api
from attnaudit.data.generated.reviews import generate_review_splits, generate_reviews
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import AttnauditError, ModelError
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.models.text.model import TextClassifier
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.terminal import run

FAST = Settings(costly_limit=40, resamples=200, permutations=20)


@pytest.fixture(scope="module")
def model() -> TextClassifier:
    splits = generate_review_splits(n_train=300, n_dev=60, n_test=60)
    options = TrainOptions(epochs=1)
    return train(splits, hidden=8, embedding_dim=8, options=options, progress=False).model


@pytest.fixture
def saved(model: TextClassifier, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def broken(folder: Path, how: str) -> None:
    path = folder / "model.safetensors"
    if how == "nan":
        state = load_file(path)
        state["head.weight"][0, 0] = torch.nan
        save_file(state, path)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "garbage":
        path.write_bytes(bytes(range(256)) * 10)
    elif how == "missing":
        path.unlink()


@pytest.mark.parametrize("how", ["nan", "truncated", "garbage", "missing"])
def test_broken_checkpoints(saved: Path, how: str, tmp_path: Path) -> None:
    broken(saved, how)
    with pytest.raises(ModelError, match=r"model\.safetensors|head\.weight"):
        api.audit(saved, generate_reviews(20), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


FILES = {
    "empty": ("x.csv", b"", "empty"),
    "header only": ("x.csv", b"text,label\n", "row"),
    "wrong column": ("x.csv", b"txt,label\ngood,positive\n", "txt"),
    "missing label": ("x.csv", b"text,label\ngood film,positive\nbad film,\n", "drop-unlabelled"),
    "binary": ("x.csv", bytes(range(128, 256)), "UTF-8"),
    "broken json": ("x.jsonl", b'{"text": "a", "label": "positive"}\n{"text": ', "2"),
    "truncated gz": ("x.jsonl.gz", b"\x1f\x8b\x08\x00\x00", "gz"),
    "parquet": ("x.parquet", b"PAR1 no more", "parquet"),
    "unknown class": ("x.csv", b"text,label\ngood film,splendid\nbad,positive\n", "splendid"),
}


@pytest.mark.parametrize("case", FILES)
def test_unusable_files(saved: Path, case: str, tmp_path: Path) -> None:
    name, content, hint = FILES[case]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AttnauditError) as refused:
        api.audit(saved, path, out=tmp_path / "run")
    assert name in str(refused.value)
    assert hint in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_the_command_line_says_it_in_one_line(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\ngood film,positive\nbad film,negative\n")
    said = run("audit", str(saved), str(path), "--split", "validate", code=2)
    assert said.startswith("attnaudit: ")
    assert "split" in said
    assert "no such" in run("audit", str(tmp_path / "nothing"), str(path), code=2)
    assert "x.nope" in run("audit", str(saved), str(tmp_path / "x.nope"), code=2)


def test_strange_texts_are_audited_among_others(model: TextClassifier, tmp_path: Path) -> None:
    strange = [
        text_record("one", "splendid", label=1),
        text_record("long", "the film was good and " * 1000, label=1),
        text_record("unknown", "zxcv qwer uiop hjkl", label=0),
        text_record("script", "<script>alert('x')</script> was bad", label=0),
        text_record("rtl", "הסרט היה טוב מאוד", label=1),
        text_record("emoji", "👩‍👩‍👧‍👦 loved it 🎉 e\u0301", label=1),
    ]
    data = generate_reviews(60, seed=9)
    mixed = Dataset("strange", (*data.records, *strange), data.classes)
    audit = api.audit(model, mixed, settings=FAST, out=tmp_path / "run", progress=False)
    assert set(audit.instances["id"]) >= {record.id for record in strange}
    agreement = next(f for f in audit.findings if f.check == "agreement")
    tau = next(e for e in agreement.estimates if e.statistic == "kendall_tau" and e.group == "all")
    assert tau.undefined >= 1
    page = audit.to_html(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert('x')" not in page


def test_unlabelled_data_is_audited_with_a_caution(model: TextClassifier) -> None:
    data = generate_reviews(60, seed=9)
    bare = Dataset("bare", tuple(text_record(r.id, r.text) for r in data), ())
    audit = api.audit(model, bare, settings=FAST, progress=False)
    assert audit.report.performance.verdict is Verdict.NOT_APPLICABLE
    assert audit.report.judgement.cautions
