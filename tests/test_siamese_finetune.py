"""Fine-tuning of the exact model, how it is measured, and its command."""

from __future__ import annotations

import copy
import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

pytest.importorskip("sentence_transformers", reason="sentence-transformers is absent")

from attnaudit.data.pairs.scored_pairs import ScoredPair
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.models.siamese.shifted import ShiftedTransformer, load_shifted
from attnaudit.models.siamese.spearman import similarities, spearman_of
from attnaudit.training.options import options_for
from attnaudit.training.result import Trained
from attnaudit.training.siamese import finetune
from attnaudit.training.train import train
from tests.terminal import run
from tests.tiny_siamese import learnable, tiny_siamese, without_dropout

OPTIONS: dict[str, Any] = {"learning_rate": 3e-3, "epochs": 3}


def tuned(model: Any, pairs: Any, dev: Any = None, top: float | None = None, **options: Any) -> Any:
    """`finetune` with options by name."""
    pairs = resolve(pairs, "pairs").data()
    splits = {"train": pairs} if dev is None else {"train": pairs, "dev": dev}
    return finetune(splits, options_for("siamese", **options), encoder=model, top=top)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_siamese(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def done(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained[Any]:
    out = tmp_path_factory.mktemp("out") / "exact"
    splits = {"train": learnable(), "dev": learnable(30, seed=1)}
    return train(splits, kind="siamese", encoder=model, out=out, progress=False, **OPTIONS)


def test_training_raises_the_correlation(model: Any) -> None:
    steps = []
    still = without_dropout(copy.deepcopy(model))
    done = tuned(
        still,
        learnable(),
        learning_rate=3e-3,
        epochs=10,
        batch_size=8,
        report=lambda stage, n, total: steps.append((stage, n, total)),
    )
    assert not done.dev
    assert done.best_epoch == 10
    assert done.scores["shifted"].n == 48
    assert done.scores["shifted"].value is not None
    assert done.scores["trained"].value is not None
    assert done.scores["trained"].value > done.scores["shifted"].value + 0.2
    assert done.history[-1]["loss"] < done.history[0]["loss"] / 2
    assert steps == [("training", n, 60) for n in range(1, 61)]
    assert isinstance(done.model[0], ShiftedTransformer)
    assert not done.model[0].auto_model.training
    assert (done.model.encode([""]) == 0).all()


def test_the_best_epoch_on_dev_is_kept(done: Trained[Any]) -> None:
    reached = [row["dev_spearman"] for row in done.history]
    assert done.best_epoch == int(np.argmax(reached)) + 1
    assert done.scores["trained"].value == pytest.approx(max(reached))
    assert done.scores["given"].n == 30
    assert "48 training pairs; a score of 5 stands for a similarity of 1" in done.notes[0]
    assert "those on dev" in done.notes[0]


def test_an_epoch_that_is_worse_is_not_kept(model: Any) -> None:
    opposite = [ScoredPair(p.id, p.a, p.b, 5 - p.score) for p in learnable()]
    still = without_dropout(copy.deepcopy(model))
    done = tuned(still, learnable(), dev=opposite, batch_size=8, **OPTIONS | {"epochs": 6})
    reached = [row["dev_spearman"] for row in done.history]
    assert done.best_epoch == int(np.argmax(reached)) + 1 < 6
    assert done.scores["trained"].value == pytest.approx(max(reached))


def test_equal_seeds_give_equal_weights(model: Any, done: Trained[Any]) -> None:
    again = tuned(model, learnable(), dev=learnable(30, seed=1), **OPTIONS)
    other = tuned(model, learnable(), dev=learnable(30, seed=1), seed=1, **OPTIONS)
    states = [made.model.state_dict() for made in (done, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert again.history == done.history


def test_a_finetuned_model_can_be_trained_further(done: Trained[Any]) -> None:
    further = tuned(done.model, learnable(), epochs=1)
    assert further.scores["shifted"] == further.scores["given"]


def test_dot_is_fitted_too(model: Any) -> None:
    still = without_dropout(copy.deepcopy(model))
    done = tuned(still, learnable(), loss="dot", **OPTIONS | {"epochs": 10})
    assert done.model.similarity_fn_name == "dot"
    assert done.scores["trained"].value is not None
    assert done.scores["shifted"].value is not None
    assert done.scores["trained"].value > done.scores["shifted"].value


def test_similarities_and_their_correlation(model: Any) -> None:
    pairs = learnable(25, seed=3)
    a = model.encode([p.a for p in pairs]).astype(float)
    b = model.encode([p.b for p in pairs]).astype(float)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(similarities(model, pairs), cosine, atol=1e-6)
    np.testing.assert_allclose(similarities(model, pairs, kind="dot"), (a * b).sum(1), atol=1e-6)
    found = spearman_of(model, pairs, resamples=200)
    expected = scipy.stats.spearmanr([p.score for p in pairs], cosine.round(6)).statistic
    assert found.value == pytest.approx(expected)
    assert found.low is not None
    assert found.high is not None
    assert found.low < expected < found.high
    assert spearman_of(model, [("a", "a", 1), ("film", "film", 2)], resamples=9).value is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"warmup": 1.0}, "warmup"),
        ({"loss": "triplet"}, "cosine, dot"),
    ],
)
def test_options_out_of_range(model: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        tuned(model, learnable(), **change)


def test_bad_scores_and_folders(model: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scores lie from 1 to 7, and none of 1 and 5"):
        tuned(model, [("a", "b", 7), ("c", "d", 1)])
    with pytest.raises(DataError, match=r"top= \(--top\) is 4"):
        tuned(model, [("a", "b", 5), ("c", "d", 1)], top=4)
    with pytest.raises(DataError, match="all 2 scores are 1"):
        tuned(model, [("a", "b", 1), ("c", "d", 1)])
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="the model cannot be written"):
        train(learnable(), kind="siamese", encoder=model, out=tmp_path / "file" / "model")
    with pytest.raises(ModelError, match="training has diverged"):
        tuned(model, learnable(), learning_rate=math.inf, epochs=2)


def test_the_command(model: Any, tmp_path: Path) -> None:
    model.save(str(tmp_path / "plain"), create_model_card=False)
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("sentence1", "sentence2", "score"))
        rows.writerows((p.a, p.b, p.score) for p in learnable(40))
    said = run(
        "train",
        str(tmp_path / "pairs.csv"),
        "--kind",
        "siamese",
        "--encoder",
        str(tmp_path / "plain"),
        "--out",
        str(tmp_path / "exact"),
    )
    for word in ("32 training pairs", "as given", "before training", "after epoch 1", "on test"):
        assert word in said
    assert str(tmp_path / "exact") in said
    again = load_shifted(tmp_path / "exact")
    assert (again.encode([""]) == 0).all()
    failed = run(
        "train",
        str(tmp_path / "pairs.csv"),
        "--kind",
        "siamese",
        "--column",
        "score=stars",
        "--out",
        str(tmp_path / "other"),
        code=2,
    )
    assert "no column 'stars'" in failed
