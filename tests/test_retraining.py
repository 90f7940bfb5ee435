"""Checks that retrain, from data to verdict: what is trained, stored, resumed, compared, said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial.distance
import torch

from attnaudit.audits.result import AuditResult, open_audit
from attnaudit.checks.registry import groups
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import pair_record
from attnaudit.errors import DamagedWarning, DataError, RunError, SettingsError
from attnaudit.evidence.contract import Design
from attnaudit.evidence.trainings.asked import Trainings
from attnaudit.evidence.trainings.base import epochs_of
from attnaudit.evidence.trainings.calibration import read_calibration
from attnaudit.evidence.trainings.design import Recipe, Variants
from attnaudit.evidence.trainings.outputs import outputs_of, read_outputs
from attnaudit.evidence.trainings.timing import forecast
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings, TrainingSettings
from attnaudit.models.load import load
from attnaudit.models.text.model import load_classifier
from attnaudit.runs.execute import waiting_of
from attnaudit.runs.inputs import holding
from attnaudit.runs.store import Store
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.retraining_data import finding, folder_of, highest, plain, retrained

SIZES = {"train": 96, "dev": 40, "test": 48}
OPTIONS = TrainOptions(epochs=3, learning_rate=0.02, seed=3)
RECIPE = Recipe("cnn", "additive", 8, 8, options=OPTIONS)
ASKED = {"seeds": 2, "lambdas": (0.0, 1e-3, 0.05), "adversary_epochs": 4}
CHECKS = ("uniform", "seeds", "guide", "trained_adversary")


@pytest.fixture(scope="module")
def splits() -> dict[str, Dataset]:
    return plain(SIZES)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "run"


@pytest.fixture(scope="module")
def report(splits: dict[str, Dataset], place: Path) -> AuditResult:
    """All checks that retrain, one training after another."""
    return retrained(splits, RECIPE, out=place, **ASKED)


def test_every_check_finds_something_with_its_numbers(report: AuditResult) -> None:
    assert tuple(groups()["retraining"]) == CHECKS
    assert {found.check for found in report.report.findings} == set(CHECKS)
    for found in report.report.findings:
        assert found.thresholds
        assert found.headline is None or found.headline in found.estimates
        for estimate in found.estimates:
            if "_q" not in estimate.statistic and estimate.n > 1:  # bins may be empty
                assert estimate.low is not None
                assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
    assert {reason.check for reason in report.report.judgement.reasons} == set(CHECKS)
    # a task that needs attention does not make weights faithful: these are cautions alone
    assert "nothing decided it" in report.report.judgement.headline
    assert report.report.performance.headline is not None
    assert set(report.pictures) <= set(CHECKS)


def test_a_run_is_stored_and_read_again(report: AuditResult, place: Path) -> None:
    again = open_audit(place)
    assert again.report == report.report
    assert again.pictures == report.pictures
    assert again.frames["trainings"].equals(report.frames["trainings"])
    assert read_calibration(place).jsd.shape == (48, 2)
    facts = next(cell.facts for cell in again.report.cells if cell.name == "adversary 0.05")
    assert (facts["encoder"], facts["attention"], facts["strength"]) == ("cnn", "additive", 0.05)
    assert facts["epochs"] == 4


def test_uniform_weights_are_uniform_in_training_and_test(
    report: AuditResult, place: Path, splits: dict[str, Dataset]
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
    report: AuditResult, place: Path, splits: dict[str, Dataset]
) -> None:
    base, guided = (
        load_classifier(folder_of(report, place, name) / "model") for name in ("base", "guide base")
    )
    training = Variants(RECIPE, TrainingSettings()).guided()["base"]
    own = {name: outputs_of(base, data).weights for name, data in splits.items()}
    equal = {name: [torch.full_like(w, 1 / len(w)) for w in rows] for name, rows in own.items()}

    def trained(given: dict[str, list[torch.Tensor]]) -> torch.Tensor:
        parts = {name: splits[name] for name in ("train", "dev")}
        done = train(
            parts,
            encoder=training.encoder,
            attention=training.attention,
            hidden=RECIPE.hidden,
            embedding_dim=RECIPE.embedding_dim,
            options=training.options,
            given=given,
            progress=False,
        )
        return outputs_of(done.model, splits["test"], own["test"]).log_probabilities

    stored = outputs_of(guided, splits["test"], own["test"]).log_probabilities
    torch.testing.assert_close(stored, trained(own), atol=1e-5, rtol=0)
    assert (stored - trained(equal)).abs().max() > 1e-3


def test_stored_outputs_of_a_guide_are_pooled_by_the_base_weights(
    report: AuditResult, place: Path
) -> None:
    base, guided = (
        read_outputs(folder_of(report, place, name) / "outputs.safetensors")
        for name in ("base", "guide base")
    )
    assert all(torch.equal(a, b) for a, b in zip(base.weights, guided.weights, strict=True))


def test_distances_in_the_table_are_those_of_scipy(report: AuditResult, place: Path) -> None:
    base, seed = (
        read_outputs(folder_of(report, place, name) / "outputs.safetensors")
        for name in ("base", "seed 2")
    )
    jsd = report.frames["trainings"]["seed 2/jsd"].to_numpy()
    tvd = report.frames["trainings"]["seed 2/tvd"].to_numpy()
    for i, (a, b) in enumerate(zip(base.weights, seed.weights, strict=True)):
        far = scipy.spatial.distance.jensenshannon(a.double(), b.double()) ** 2
        assert jsd[i] == pytest.approx(far, abs=1e-7)
        change = abs(base.probabilities[i, 1] - seed.probabilities[i, 1])
        assert tvd[i] == pytest.approx(change, abs=1e-7)  # float32 probabilities
    pair = np.stack([jsd, report.frames["trainings"]["seed 1/jsd"].to_numpy()])
    headline = finding(report, "seeds").headline
    assert headline.value == pytest.approx(np.median(pair, 0).mean())


def models_in(place: Path) -> dict[Path, int]:
    """The trained models in a run folder, with when they were written."""
    paths = (path for path in place.rglob("*.safetensors") if path.parent.name == "model")
    return {path: path.stat().st_mtime_ns for path in paths}


def test_nothing_is_trained_twice_and_a_lost_training_is_made_up(
    report: AuditResult, splits: dict[str, Dataset], place: Path
) -> None:
    before = models_in(place)

    def trained() -> set[Path]:
        now = models_in(place)
        new = {path.parents[1] for path, when in now.items() if before.get(path) != when}
        before.update(now)
        return new

    again = retrained(splits, RECIPE, out=place, **ASKED)
    assert trained() == set()
    assert again.report == report.report
    (folder_of(report, place, "random") / "cell.json").unlink()
    (folder_of(report, place, "own_token") / "model" / "model.safetensors").write_bytes(b"no")
    with pytest.warns(DamagedWarning, match=r"cell.json is gone|not what was written"):
        mended = retrained(splits, RECIPE, out=place, **ASKED)
    assert mended.report.findings == report.report.findings
    assert trained() == {folder_of(report, place, name) for name in ("random", "own_token")}
    more = {**ASKED, "seeds": 3}
    with pytest.raises(RunError, match="holds another run: with other settings"):
        retrained(splits, RECIPE, CHECKS, out=place, **more)
    with pytest.raises(RunError, match="holds another run: of the model 'a recipe'"):
        retrained(splits, replace(RECIPE, hidden=9), out=place, **ASKED)
    wider = retrained(splits, RECIPE, CHECKS, out=place, overwrite=True, **more)
    assert trained() == {folder_of(wider, place, "seed 3")}


def in_the_way(found: AuditResult, place: Path, *names: str) -> None:
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
    place = tmp_path / "run"
    whole = retrained(splits, RECIPE, out=place, **asked)
    in_the_way(whole, place, "uniform", "adversary 0.002")
    shutil.rmtree(folder_of(whole, place, "guide adversary"))
    found = retrained(splits, RECIPE, out=place, **asked)
    assert finding(found, "uniform", "position").headline is not None
    assert finding(found, "uniform", "uniform").verdict is Verdict.NOT_APPLICABLE
    assert "cannot be written" in finding(found, "uniform", "uniform").notes[0]
    (lost, *_) = found.pictures["uniform"]
    assert [row.label for row in lost.chart.rows] == [
        "fixed random weights",
        "the position alone",
        "the word alone",
    ]
    assert finding(found, "guide", "weights").headline is not None
    assert finding(found, "guide", "adversary").verdict is Verdict.NOT_APPLICABLE
    assert finding(found, "trained_adversary").verdict is Verdict.NOT_APPLICABLE
    lines = {line.name: line.reason for line in found.report.cells}
    assert lines["guide adversary"] == "it needs 'adversary 0.002', which failed"
    in_the_way(whole, place, "base")
    with pytest.raises(DataError, match=r"the model itself could not be trained: .*be written"):
        retrained(splits, RECIPE, out=place, **asked)


def test_a_model_that_is_trained_already_is_the_base(
    report: AuditResult, splits: dict[str, Dataset], place: Path
) -> None:
    folder = folder_of(report, place, "base") / "model"
    base = load(folder)
    asked = ("uniform", "seeds")
    found = retrained(splits, RECIPE, asked, base=base, folder=folder, **ASKED)
    assert finding(found, "uniform") == finding(report, "uniform")
    caution = "which texts the base model was trained on is not known"
    assert found.report.judgement.cautions[0] == caution
    assert not any("epochs" in said for said in found.report.judgement.cautions)
    assert "epochs" not in next(c.facts for c in found.report.cells if c.name == "base")
    with pytest.raises(SettingsError, match="the base model has the hidden 8"):
        retrained(splits, replace(RECIPE, hidden=16), base=base, **ASKED)
    with pytest.raises(SettingsError, match="give a recipe"):
        retrained(splits, **ASKED)


def test_epochs_of_a_base_model_are_read_from_its_record(
    report: AuditResult, splits: dict[str, Dataset], place: Path
) -> None:
    folder = folder_of(report, place, "base") / "model"
    assert epochs_of(folder).run == 3
    assert epochs_of(place) is None
    longer = replace(RECIPE, options=replace(OPTIONS, epochs=5))
    one = {**ASKED, "replacements": ("uniform",)}
    found = retrained(splits, longer, ("uniform",), base=load(folder), folder=folder, **one)
    said = "the base model was trained for 3 epochs, the others for 5"
    assert said in found.report.judgement.cautions


def test_the_verdicts_differ_where_attention_is_needed_and_where_it_is_not() -> None:
    options = TrainOptions(epochs=10, learning_rate=0.02)
    recipe = Recipe("average", "additive", 16, 16, options=options)
    sizes = {"train": 300, "dev": 80, "test": 300}
    needed, useless = (
        retrained(data, recipe, ("uniform",), replacements=("uniform", "position"))
        for data in (highest(sizes), plain(sizes))
    )
    assert finding(needed, "uniform").verdict is Verdict.PASS
    assert "attention matters here" in finding(needed, "uniform").sentence
    assert finding(useless, "uniform").verdict is Verdict.FAIL
    assert "not needed for this task" in finding(useless, "uniform").sentence
    # which word decides is told by the word: where it stands does not help
    assert finding(needed, "uniform", "position").verdict is Verdict.PASS


def test_what_will_be_trained_is_foretold_and_nothing_is_trained(
    report: AuditResult, splits: dict[str, Dataset], place: Path, tmp_path: Path
) -> None:
    settings = Settings(trainings=TrainingSettings(seeds=2))
    wanted = Trainings(lambda variants: (variants.base, *variants.seeds))
    with holding(splits, "splits") as some:
        design = Design(settings, None, None, some, (RECIPE,))
        cells = Trainings.cells(design, {"seeds": wanted})
        store, done = Store(tmp_path / "new", "audit"), Store(place, "audit")
        assert [cell.name for cell in waiting_of(cells, store)] == ["base", "seed 1", "seed 2"]
        said = forecast(cells, waiting_of(cells, store))
        assert "3 trainings of about" in said
        assert forecast(cells, []) == "all 3 trainings are finished"
        assert "1 training of about" in forecast(cells, cells[2:])
        assert forecast(cells, cells[2:]).endswith("(2 finished before)")
        assert waiting_of(cells, done) == []
        assert forecast([], []) is None
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_model_near_chance_decides_nothing(splits: dict[str, Dataset]) -> None:
    nonsense = {
        name: data.select([replace(r, label=(i // 2) % 2) for i, r in enumerate(data)])
        for name, data in splits.items()
    }
    found = retrained(nonsense, RECIPE, ("uniform", "seeds"), **ASKED)
    assert found.report.performance.verdict is not Verdict.PASS
    assert {f.verdict for f in found.report.findings} == {Verdict.INCONCLUSIVE}
    assert "near chance" in found.report.findings[0].sentence


def test_pairs_and_several_classes_are_retrained_too() -> None:
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
    found = retrained(data, recipe, **{**ASKED, "seeds": 1})
    assert {f.check for f in found.report.findings} == set(CHECKS)
    assert all(f.verdict is not Verdict.NOT_APPLICABLE for f in found.report.findings)
    statistics = {e.statistic for e in finding(found, "uniform").estimates}
    assert "f1_difference" in statistics
    assert "roc_auc_difference" not in statistics


def test_input_that_cannot_be_used_is_refused_before_anything_is_trained(
    splits: dict[str, Dataset], tmp_path: Path
) -> None:
    def tried(parts: dict[str, Dataset], **more: object) -> Callable[[], object]:
        return lambda: retrained(parts, RECIPE, out=tmp_path / "run", **{**ASKED, **more})

    train = splits["train"]
    bare = splits | {"test": train.select([replace(train.records[0], label=None)])}
    without = {name: splits[name] for name in ("train", "dev")}
    wrong = [
        (tried(without), DataError, "there is no split 'test'"),
        *(
            (
                tried(splits | {part: train.select([r for r in train if r.label == 1])}),
                DataError,
                "are of class 'c1'",
            )
            for part in ("train", "test")
        ),
        (tried(bare), DataError, "has the label None"),
        (tried(splits, workers=0), SettingsError, "workers is 0"),
        (tried(splits, checks=("unifrom",)), SettingsError, "no check is called 'unifrom'"),
    ]
    for attempt, kind, said in wrong:
        with pytest.raises(kind, match=said):
            attempt()
    assert not list(tmp_path.rglob("*.safetensors"))
