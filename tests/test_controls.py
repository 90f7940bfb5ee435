"""Controls from data to verdict: what is trained, stored, resumed, compared and said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.spatial.distance
import torch

from attnaudit.controls.registry import CONTROLS
from attnaudit.controls.run import (
    ControlReport,
    finish_controls,
    open_controls,
    prepare_controls,
    run_controls,
)
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import pair_record
from attnaudit.errors import DataError, RunError, SettingsError
from attnaudit.evidence.trainings import cell as cells
from attnaudit.evidence.trainings.calibration import read_calibration
from attnaudit.evidence.trainings.design import Design, Recipe
from attnaudit.evidence.trainings.outputs import outputs_of
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.models.text.model import load_classifier
from attnaudit.report.controls import render_controls
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.control_data import highest, plain

QUICK = Settings(resamples=200)
SIZES = {"train": 96, "dev": 40, "test": 48}
OPTIONS = TrainOptions(epochs=3, learning_rate=0.02, seed=3)
RECIPE = Recipe("cnn", "additive", 8, 8, options=OPTIONS)
ASKED = {"seeds": 2, "lambdas": (0.0, 1e-3, 0.05), "adversary_epochs": 4, "settings": QUICK}


@pytest.fixture(scope="module")
def splits() -> dict[str, Dataset]:
    return plain(SIZES)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controls")


@pytest.fixture(scope="module")
def report(splits: dict[str, Dataset], place: Path) -> ControlReport:
    """All controls, one training after another."""
    return run_controls(splits, RECIPE, out=place, progress=False, **ASKED)


def folder_of(report: ControlReport, place: Path, name: str) -> Path:
    return place / next(t.folder for t in report.report.trainings if t.name == name)


def test_every_control_finds_something_with_its_numbers(report: ControlReport) -> None:
    assert {finding.check for finding in report.findings} == set(CONTROLS)
    for finding in report.findings:
        assert finding.thresholds
        assert finding.headline is None or finding.headline in finding.estimates
        for estimate in finding.estimates:
            if "_q" not in estimate.statistic and estimate.n > 1:  # bins may be empty
                assert estimate.low is not None
                assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
    assert report.judgement.count(";") == len(CONTROLS) - 1
    assert report.frame.filter(pl.col("control") == "performance").height > 0


def test_a_run_is_stored_and_read_again(report: ControlReport, place: Path) -> None:
    again = open_controls(place)
    assert again.report == report.report
    assert again.instances.equals(report.instances)
    assert pl.read_parquet(place / "estimates.parquet").height == report.frame.height
    assert json.loads((place / "findings.json").read_text())["schema_version"] == 1
    assert read_calibration(place).jsd.shape == (48, 2)
    with pytest.raises(RunError, match="holds no finished controls"):
        open_controls(place / "cells")


def test_uniform_weights_are_uniform_in_training_and_test(
    report: ControlReport, place: Path, splits: dict[str, Dataset]
) -> None:
    model = load_classifier(folder_of(report, place, "uniform") / "model")
    assert model.net.config.attention == "uniform"
    assert not list(model.net.attention.parameters())
    for part in ("train", "test"):
        for weights, record in zip(
            outputs_of(model, splits[part]).weights, splits[part], strict=True
        ):
            assert torch.allclose(weights, torch.full((len(record.units),), 1 / len(record.units)))


def test_the_guided_model_is_trained_on_the_weights_of_the_base(
    report: ControlReport, place: Path, splits: dict[str, Dataset]
) -> None:
    base, guided = (
        load_classifier(folder_of(report, place, name) / "model") for name in ("base", "guide base")
    )
    spec = (
        prepare_controls(splits, Design(RECIPE, lambdas=(1e-3,)), ["guide"], place)
        .cells["guide base"]
        .spec
    )
    options = replace(OPTIONS, **{n: v for n, v in spec.items() if hasattr(OPTIONS, n)})
    own = {name: outputs_of(base, data).weights for name, data in splits.items()}
    equal = {name: [torch.full_like(w, 1 / len(w)) for w in rows] for name, rows in own.items()}

    def trained(given: dict[str, list[torch.Tensor]]) -> torch.Tensor:
        parts = {name: splits[name] for name in ("train", "dev")}
        done = train(
            parts,
            encoder=spec["encoder"],
            attention=spec["attention"],
            hidden=spec["hidden"],
            embedding_dim=spec["embedding_dim"],
            options=options,
            given=given,
            progress=False,
        )
        return outputs_of(done.model, splits["test"], own["test"]).log_probabilities

    stored = outputs_of(guided, splits["test"], own["test"]).log_probabilities
    torch.testing.assert_close(stored, trained(own), atol=1e-5, rtol=0)
    assert (stored - trained(equal)).abs().max() > 1e-3


def test_stored_outputs_of_a_guide_are_pooled_by_the_base_weights(
    report: ControlReport, place: Path
) -> None:
    base, guided = (
        cells.read_outputs(folder_of(report, place, name) / "outputs.safetensors")
        for name in ("base", "guide base")
    )
    assert all(torch.equal(a, b) for a, b in zip(base.weights, guided.weights, strict=True))


def test_distances_in_the_table_are_those_of_scipy(report: ControlReport, place: Path) -> None:
    base, seed = (
        cells.read_outputs(folder_of(report, place, name) / "outputs.safetensors")
        for name in ("base", "seed 2")
    )
    jsd = report.instances["seed 2/jsd"].to_numpy()
    tvd = report.instances["seed 2/tvd"].to_numpy()
    for i, (a, b) in enumerate(zip(base.weights, seed.weights, strict=True)):
        far = scipy.spatial.distance.jensenshannon(a.double(), b.double()) ** 2
        assert jsd[i] == pytest.approx(far, abs=1e-7)
        change = abs(base.probabilities[i, 1] - seed.probabilities[i, 1])
        assert tvd[i] == pytest.approx(change, abs=1e-7)  # float32 probabilities
    pair = np.stack([jsd, report.instances["seed 1/jsd"].to_numpy()])
    headline = report.finding("seeds").headline
    assert headline.value == pytest.approx(np.median(pair, 0).mean())


def models_in(place: Path) -> dict[Path, int]:
    """The trained models in a run folder, with when they were written."""
    paths = (path for path in place.rglob("*.safetensors") if path.parent.name == "model")
    return {path: path.stat().st_mtime_ns for path in paths}


def test_nothing_is_trained_twice_and_a_lost_training_is_made_up(
    report: ControlReport, splits: dict[str, Dataset], place: Path
) -> None:
    before = models_in(place)

    def trained() -> set[Path]:
        now = models_in(place)
        new = {path.parents[1] for path, when in now.items() if before.get(path) != when}
        before.update(now)
        return new

    again = run_controls(splits, RECIPE, out=place, progress=False, **ASKED)
    assert trained() == set()
    assert again.findings == report.findings
    (folder_of(report, place, "random") / "cell.json").unlink()
    (folder_of(report, place, "random") / "history.json").unlink()
    assert run_controls(splits, RECIPE, out=place, progress=False, **ASKED).findings == (
        report.findings
    )
    assert trained() == {folder_of(report, place, "random")}
    more = {**ASKED, "seeds": 3}
    wider = run_controls(splits, RECIPE, ["seeds"], out=place, progress=False, **more)
    assert trained() == {folder_of(wider, place, "seed 3")}


def in_the_way(found: ControlReport, place: Path, *names: str) -> None:
    """Files where these trainings would put their models, so that they cannot be done again."""
    for name in names:
        folder = folder_of(found, place, name)
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "model").write_text("in the way")


def test_a_training_that_fails_takes_nothing_else_down(
    splits: dict[str, Dataset], tmp_path: Path
) -> None:
    asked = {**ASKED, "lambdas": (2e-3,)}
    whole = run_controls(splits, RECIPE, out=tmp_path / "run", progress=False, **asked)
    in_the_way(whole, tmp_path / "run", "position", "adversary 0.002")
    shutil.rmtree(folder_of(whole, tmp_path / "run", "guide adversary"))
    found = run_controls(splits, RECIPE, out=tmp_path / "run", progress=False, **asked)
    assert found.finding("uniform").headline is not None
    assert found.finding("uniform", "position").verdict is Verdict.NOT_APPLICABLE
    assert "cannot be written" in found.finding("uniform", "position").notes[0]
    assert found.finding("guide", "weights").headline is not None
    assert found.finding("guide", "adversary").verdict is Verdict.NOT_APPLICABLE
    assert found.finding("trained_adversary").verdict is Verdict.NOT_APPLICABLE
    lines = {line.name: line.failed for line in found.report.trainings}
    assert lines["guide adversary"] == "it needs 'adversary 0.002', which failed"
    in_the_way(whole, tmp_path / "run", "base")
    with pytest.raises(DataError, match=r"the model itself could not be trained: .*be written"):
        run_controls(splits, RECIPE, out=tmp_path / "run", progress=False, **asked)


def test_a_model_that_is_trained_already_is_the_base(
    report: ControlReport, splits: dict[str, Dataset], place: Path
) -> None:
    folder = folder_of(report, place, "base") / "model"
    asked = ["uniform", "seeds"]
    found = run_controls(splits, RECIPE, asked, base=folder, progress=False, **ASKED)
    assert found.finding("uniform") == report.finding("uniform")
    (note,) = found.report.gate.notes
    assert note == "which texts the base model was trained on is not known"
    assert next(t for t in found.report.trainings if t.name == "base").epochs is None
    with pytest.raises(SettingsError, match="the base model has the hidden 8"):
        run_controls(splits, replace(RECIPE, hidden=16), base=folder, progress=False)
    with pytest.raises(SettingsError, match="give a recipe"):
        run_controls(splits, progress=False)


def test_a_base_model_that_has_learnt_the_test_texts_is_refused(
    splits: dict[str, Dataset], tmp_path: Path
) -> None:
    swapped = {"train": splits["test"], "dev": splits["dev"], "test": splits["train"]}
    small = {
        "encoder": "cnn",
        "hidden": 8,
        "embedding_dim": 8,
        "progress": False,
        "options": replace(OPTIONS, epochs=1),
    }
    cheat = train(swapped, out=tmp_path / "cheat", **small).model
    honest = train(splits, out=tmp_path / "honest", **small).model
    design = Design(RECIPE)
    for base in (cheat, tmp_path / "cheat"):
        with pytest.raises(DataError, match=r"test texts, the first 'test0', were in the base"):
            prepare_controls(splits, design, ["uniform"], tmp_path / "run", base=base)
    for base in (honest, tmp_path / "honest"):
        prepare_controls(splits, design, ["uniform"], tmp_path / "run", base=base)
    # a text that stands in train and test of the data themselves favours nobody
    doubled = replace(
        splits["test"], records=(*splits["test"].records[:-1], splits["train"].records[0])
    )
    twice = splits | {"test": doubled}
    prepare_controls(twice, design, ["uniform"], tmp_path / "run", base=honest)


def test_a_base_model_of_another_recipe_is_told_of(
    splits: dict[str, Dataset], tmp_path: Path
) -> None:
    fewer = splits | {"train": splits["train"].select(splits["train"].records[:4])}
    base = train(
        fewer,
        encoder="cnn",
        hidden=8,
        embedding_dim=6,
        progress=False,
        options=replace(OPTIONS, epochs=1),
    ).model
    found = run_controls(
        splits,
        RECIPE,
        ["uniform"],
        base=base,
        progress=False,
        out=tmp_path,
        **{**ASKED, "settings": QUICK},
    )
    said = " | ".join(found.report.gate.notes)
    assert "6 numbers a word, the others 8" in said
    assert "words, the others" in said
    assert "trained on 4 texts, the others on 96" in said
    assert "epochs the base model was trained is not known; the others have 3" in said
    assert "6 numbers a word" in render_controls(found)
    own = run_controls(splits, RECIPE, ["uniform"], progress=False, **ASKED)
    assert own.report.gate.notes == ()


def test_epochs_of_a_base_model_are_read_from_its_history(
    report: ControlReport, splits: dict[str, Dataset], place: Path, tmp_path: Path
) -> None:
    folder = folder_of(report, place, "base") / "model"
    longer = Design(replace(RECIPE, options=replace(OPTIONS, epochs=5)))
    work = prepare_controls(splits, longer, ["uniform"], tmp_path, base=folder)
    assert "the base model was trained for 3 epochs, the others for 5" in work.cautions


def test_the_verdicts_differ_where_attention_is_needed_and_where_it_is_not(tmp_path: Path) -> None:
    options = TrainOptions(epochs=10, learning_rate=0.02)
    recipe = Recipe("average", "additive", 16, 16, options=options)
    design = Design(recipe, replacements=("uniform", "position"))
    sizes = {"train": 300, "dev": 80, "test": 300}
    needed, useless = (
        finish_controls(prepare_controls(data, design, ["uniform"], tmp_path / name), ["uniform"])
        for name, data in (("needed", highest(sizes)), ("useless", plain(sizes)))
    )
    assert needed.finding("uniform").verdict is Verdict.PASS
    assert "attention matters here" in needed.finding("uniform").sentence
    assert needed.judgement == "Attention matters here."
    assert useless.finding("uniform").verdict is Verdict.FAIL
    assert "not needed for this task" in useless.finding("uniform").sentence
    # which word decides is told by the word: where it stands does not help
    assert needed.finding("uniform", "position").verdict is Verdict.PASS


def test_a_model_near_chance_decides_nothing(splits: dict[str, Dataset]) -> None:
    nonsense = {
        name: data.select([replace(r, label=(i // 2) % 2) for i, r in enumerate(data)])
        for name, data in splits.items()
    }
    found = run_controls(nonsense, RECIPE, ["uniform", "seeds"], progress=False, **ASKED)
    assert found.report.gate.verdict is not Verdict.PASS
    assert {f.verdict for f in found.findings} == {Verdict.INCONCLUSIVE}
    assert "near chance" in found.findings[0].sentence


def test_pairs_and_several_classes_are_controlled_too() -> None:
    def pairs(split: str, size: int) -> Dataset:
        records = [
            pair_record(
                f"{split}{i}",
                f"a w{i % 3} b w{(i + 1) % 3}",
                "ab"[i % 2],
                label=(i % 3 if i % 2 == 0 else (i + 1) % 3),
                allowed=(0, 1, 2),
            )
            for i in range(size)
        ]
        return Dataset("pairs", tuple(records), ("w0", "w1", "w2", "w3"), split)

    data = {name: pairs(name, size) for name, size in SIZES.items()}
    recipe = replace(RECIPE, encoder="average", options=replace(OPTIONS, epochs=2))
    found = run_controls(data, recipe, progress=False, **{**ASKED, "seeds": 1})
    assert {f.check for f in found.findings} == set(CONTROLS)
    assert all(f.verdict is not Verdict.NOT_APPLICABLE for f in found.findings)
    statistics = {e.statistic for e in found.finding("uniform").estimates}
    assert "f1_difference" in statistics
    assert "roc_auc_difference" not in statistics


def test_input_that_cannot_be_used_is_refused_before_anything_is_trained(
    splits: dict[str, Dataset], tmp_path: Path
) -> None:
    kept: dict[str, object] = {"out": tmp_path, "progress": False}
    without = {name: splits[name] for name in ("train", "dev")}
    with pytest.raises(DataError, match="there is no split 'test'"):
        run_controls(without, RECIPE, **kept)
    train = splits["train"]
    for part in ("train", "test"):
        one = splits | {part: train.select([r for r in train if r.label == 1])}
        with pytest.raises(DataError, match="are of class 'c1'"):
            run_controls(one, RECIPE, **kept)
    bare = splits | {"test": train.select([replace(train.records[0], label=None)])}
    with pytest.raises(DataError, match="has the label None"):
        run_controls(bare, RECIPE, **kept)
    for workers in (0, -1):
        with pytest.raises(SettingsError, match=f"workers is {workers}"):
            run_controls(splits, RECIPE, workers=workers, **kept)
    with pytest.raises(SettingsError, match="no control is called 'unifrom'; there are: uniform"):
        run_controls(splits, RECIPE, ["unifrom"], **kept)
    with pytest.raises(SettingsError, match="no control was asked for"):
        run_controls(splits, RECIPE, [], **kept)
    assert not list(tmp_path.rglob("*.safetensors"))
