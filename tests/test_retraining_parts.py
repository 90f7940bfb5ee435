"""The parts of retraining against plain loops, scipy and scikit-learn."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from attnaudit.checks.registry import CHECKS, groups
from attnaudit.errors import DataError, RunError, SettingsError
from attnaudit.evidence.trainings.calibration import Calibration, calibration_of, read_calibration
from attnaudit.evidence.trainings.design import (
    GUIDE_LAMBDA,
    Recipe,
    Variants,
    recipe_of,
    seed_of,
)
from attnaudit.evidence.trainings.objective import adversarial
from attnaudit.evidence.trainings.outputs import Outputs, between, read_outputs
from attnaudit.evidence.trainings.timing import costs_of, in_words, spoken_time
from attnaudit.findings.metrics import accuracy, difference, f1, performance, roc_auc
from attnaudit.findings.settings import Settings, TrainingSettings, read_settings
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.nets.text.inputs import examples_of
from attnaudit.nets.text.vocabulary import build_vocabulary
from attnaudit.training.options import TrainOptions
from attnaudit.training.text import new_net
from tests.retraining_data import plain

FEW = Settings(resamples=200)


def random_outputs(lengths: list[int], classes: int, seed: int) -> Outputs:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(lengths), classes, generator=draw)
    weights = tuple(torch.rand(n, generator=draw).pow(4) for n in lengths)
    return Outputs(torch.log_softmax(logits, -1), tuple(w / w.sum() for w in weights))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_objective_is_the_formula_instance_by_instance(classes: int) -> None:
    splits = plain({"train": 9, "dev": 3, "test": 3}, classes=classes)
    records = splits["train"].records
    vocabulary = build_vocabulary(records)
    config = ClassifierConfig(splits["train"].classes, "average", "additive", 4, 4)
    net = new_net(config, len(vocabulary), 1)
    labels = torch.zeros(len(records), dtype=torch.long)
    examples = examples_of(records, vocabulary, labels, classes)
    base = random_outputs(examples.lengths, classes, 2)
    rows, strength = torch.tensor([5, 0, 8, 3]), 0.3
    passed = net.run(examples.batch(rows.tolist()))
    loss = adversarial(base.log_probabilities.exp(), base.weights, strength)(passed, rows)

    wanted = 0.0
    for place, row in enumerate(rows.tolist()):
        logit = passed.logits[place].detach()
        if classes == 2:
            p = 1 / (1 + math.exp(-float(logit)))
            tvd = abs(p - float(base.probabilities[row, 1]))
        else:
            tvd = 0.5 * np.abs(torch.softmax(logit, -1).numpy() - base.probabilities[row]).sum()
        mine = passed.weights[place][passed.units[place]].detach().numpy()
        kl = scipy.stats.entropy(mine, base.weights[row].numpy())
        wanted += tvd - strength * kl
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)


def test_the_objective_has_finite_gradients_where_base_weights_are_zero() -> None:
    splits = plain({"train": 4, "dev": 2, "test": 2})
    records = splits["train"].records
    vocabulary = build_vocabulary(records)
    net = new_net(ClassifierConfig(splits["train"].classes, "cnn", "dot", 4, 4), len(vocabulary), 0)
    examples = examples_of(records, vocabulary, torch.zeros(4, dtype=torch.long), 2)
    weights = [torch.eye(n)[0] for n in examples.lengths]
    loss = adversarial(torch.full((4, 2), 0.5), weights, 0.1)(
        net.run(examples.batch(range(4))), torch.arange(4)
    )
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_distances_between_two_models_are_those_of_scipy() -> None:
    lengths = [1, 5, 9, 2] * 3
    a, b = random_outputs(lengths, 3, 0), random_outputs(lengths, 3, 1)
    tvd, jsd = between(a, b)
    for i in range(len(lengths)):
        assert tvd[i] == pytest.approx(0.5 * np.abs(a.probabilities[i] - b.probabilities[i]).sum())
        far = scipy.spatial.distance.jensenshannon(a.weights[i].double(), b.weights[i].double())
        assert jsd[i] == pytest.approx(far**2, abs=1e-7)  # float32 weights


def test_outputs_are_stored_exactly_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    found = random_outputs([3, 1, 4], 2, 0)
    found.save(tmp_path / "o.safetensors")
    again = read_outputs(tmp_path / "o.safetensors")
    assert torch.equal(again.log_probabilities, found.log_probabilities)
    assert all(torch.equal(a, b) for a, b in zip(again.weights, found.weights, strict=True))
    (tmp_path / "o.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match="not what was written"):
        read_outputs(tmp_path / "o.safetensors")
    with pytest.raises(RunError, match="holds no outputs"):
        read_outputs(tmp_path / "absent")


@effort(max_examples=30, deadline=None)
@given(
    st.integers(2, 40),
    st.sampled_from([2, 3]),
    st.integers(0, 999),
    st.booleans(),
)
def test_metrics_of_draws_are_those_of_the_drawn_instances(
    n: int, classes: int, seed: int, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    probabilities = rng.dirichlet(np.ones(classes), n)
    if ties and classes == 2:
        second = probabilities[:, 1].round(1)
        probabilities = np.stack([1 - second, second], 1)
    chosen = rng.integers(0, n, n)
    draws = np.bincount(chosen, minlength=n)[None].astype(float)
    y, p = labels[chosen], probabilities[chosen]
    predicted = p.argmax(1)
    assert accuracy(labels, probabilities, draws)[0] == pytest.approx(accuracy_score(y, predicted))
    if classes == 2:
        assert f1(labels, probabilities, draws)[0] == pytest.approx(
            f1_score(y, predicted, zero_division=0)
        )
        found = roc_auc(labels, probabilities, draws)[0]
        if len(set(y)) == 2:
            assert found == pytest.approx(roc_auc_score(y, p[:, 1]))
        else:
            assert math.isnan(found)
    else:
        wanted = f1_score(y, predicted, average="macro", labels=np.unique(labels), zero_division=0)
        assert f1(labels, probabilities, draws)[0] == pytest.approx(wanted)


def test_differences_are_paired_and_performance_is_the_mean_over_seeds() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    right = np.eye(2)[labels] * 0.8 + 0.1
    worse = right.copy()
    worse[:40] = worse[:40, ::-1]
    noise = rng.dirichlet([1, 1], 400)
    found = {e.statistic: e for e in difference(labels, [right], [worse], FEW, "x")}
    lost = found["accuracy_difference"]
    assert lost.value == pytest.approx(0.1)
    assert 0.06 < lost.low < 0.1 < lost.high < 0.14
    assert lost.null == 0
    mean = performance(labels, [right, noise], FEW, "x")[0]
    assert mean.value == pytest.approx((1 + (noise.argmax(1) == labels).mean()) / 2)
    single = performance(labels, [right], FEW, "x")[0]
    assert single.value == 1
    assert 0.98 < single.low < 1  # an interval with a width, though every label is right
    same = difference(labels, [noise], [noise], FEW, "x")
    assert all((e.low, e.value, e.high) == (0, 0, 0) for e in same)


def test_calibration_sets_a_divergence_beside_those_of_seeds(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    jsd = draw.uniform(0, 0.5, (50, 4))
    found = Calibration(jsd)
    for value in (0.0, 0.1, 0.49, 0.6):
        wanted = scipy.stats.percentileofscore(jsd.ravel(), value, kind="weak")
        assert found.percentile(value) == pytest.approx(wanted)
    assert "beyond anything that another seed does" in found.says(0.55)
    assert "of 0.25 is at the" in found.says(0.25, "an adversary's JSD")
    means = jsd.mean(0)
    for value in (0.0, float(np.median(means)), 0.6):
        said = found.says_mean(value, "its mean")
        assert f"above that of {int((means < value).sum())} of 4 other seeds" in said
    assert Calibration(jsd[:, :1]).says_mean(1.0).count("1 of 1 other seed (") == 1
    # a mean that lies above every seed's is no more than ordinary among single values
    assert "4 of 4" in found.says_mean(0.3)
    assert found.percentile(0.3) < 65
    # one more seed is beyond all others as often as the null says
    more = draw.uniform(0, 0.5, 20000)
    often = Calibration(draw.uniform(0, 0.5, (20000, 4))).beyond(more).mean()
    assert found.beyond_null == pytest.approx(1 / 5) == pytest.approx(often, abs=0.015)
    assert found.beyond(jsd.max(1)).sum() == 0
    assert found.beyond(jsd.max(1) + 0.01).all()
    for bad in (np.zeros(3), np.zeros((0, 2)), np.array([[math.nan]])):
        with pytest.raises(DataError, match="divergences between seeds"):
            Calibration(bad)
    with pytest.raises(RunError, match="check `seeds`"):
        read_calibration(tmp_path)
    with pytest.raises(RunError, match="holds no other seeds"):
        calibration_of(__import__("polars").DataFrame({"uniform/jsd": [0.1]}))


def test_trainings_are_shared_and_know_what_they_need() -> None:
    design = Variants(Recipe(options=TrainOptions(seed=7)), TrainingSettings(seeds=2, repeats=2))
    adversary = design.adversary(GUIDE_LAMBDA)
    assert adversary == design.guided()["adversary"].guide  # trained once for both checks
    assert design.learned(1).options.seed == seed_of(7, "seed", 1)
    assert design.replaced("uniform", 1).options.seed == design.learned(1).options.seed
    assert design.learned(1).name == "seed 1"
    assert [t.name for t in design.guided()["adversary"].needs] == [adversary.name]
    assert [t.name for t in adversary.needs] == ["base"]
    assert adversary.options.select == "loss"
    assert adversary.options.patience == 10
    assert adversary.options.seed != design.base.options.seed
    context_free = Variants(Recipe("average"), TrainingSettings())
    assert context_free.guided()["own"] == context_free.base
    assert context_free.guided()["uniform"] == context_free.replaced("uniform")


def test_neighbouring_seeds_share_no_further_ones() -> None:
    designs = [
        Variants(Recipe(options=TrainOptions(seed=base)), TrainingSettings()) for base in range(20)
    ]
    used = [
        training.options.seed
        for design in designs
        for training in (*(design.learned(k) for k in range(9)), design.adversary(0.1))
    ]
    assert len(set(used)) == len(used) == 200
    assert all(0 <= seed < 2**31 for seed in used)


def test_further_seeds_are_the_same_in_every_process() -> None:
    asked = (
        "from attnaudit.evidence.trainings.design import seed_of; print(seed_of(5, 'adversary', 3))"
    )
    said = subprocess.run(
        [sys.executable, "-c", asked],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    ).stdout
    assert int(said) == seed_of(5, "adversary", 3)


def test_the_guiding_strength_is_the_papers_in_units_of_this_loss() -> None:
    """½ TVD − λ KL, as the released code has it, is half of our loss at 2 λ."""
    splits = plain({"train": 6, "dev": 2, "test": 2})
    records = splits["train"].records
    vocabulary = build_vocabulary(records)
    net = new_net(ClassifierConfig(splits["train"].classes, "cnn", "dot", 4, 4), len(vocabulary), 0)
    examples = examples_of(records, vocabulary, torch.zeros(6, dtype=torch.long), 2)
    base = random_outputs(examples.lengths, 2, 3)
    passed, rows = net.run(examples.batch(range(6))), torch.arange(6)
    ours = adversarial(base.log_probabilities.exp(), base.weights, GUIDE_LAMBDA)(passed, rows)
    released = 0.0
    for i in range(6):
        p = 1 / (1 + math.exp(-float(passed.logits[i].detach())))
        mine = passed.weights[i][passed.units[i]].detach().numpy()
        kl = scipy.stats.entropy(mine, base.weights[i].numpy())
        released += 0.5 * abs(p - float(base.probabilities[i, 1])) - 0.001 * kl
    assert float(ours.detach()) == pytest.approx(2 * released, rel=1e-5)
    assert GUIDE_LAMBDA in TrainingSettings().lambdas


def test_time_is_said_from_a_few_batches() -> None:
    splits = plain({"train": 64, "dev": 16, "test": 16})
    recipe = Recipe("average", "dot", 4, 4, options=TrainOptions(epochs=2, batch_size=8))
    design = Variants(recipe, TrainingSettings(adversary_epochs=6))
    trainings = {t.name: t for t in (design.base, design.adversary(0.1))}
    costs = costs_of(trainings.values(), recipe, splits)
    assert costs["adversary 0.1"] == pytest.approx(3 * costs["base"])
    assert 0 < costs["base"] < 30
    said = in_words({"base": 100.0, "adversary 0.1": 300.0}, trainings, 2)
    assert said == (
        "at most 5 minutes, 2 at a time: 1 training of about 2 minutes, 1 training of at most "
        "5 minutes"
    )
    assert [spoken_time(s) for s in (3, 64, 6000)] == ["10 seconds", "1 minute", "1.7 hours"]


def test_the_page_of_the_docs_names_every_check_and_bar() -> None:
    page = (Path(__file__).parents[1] / "docs" / "controls.md").read_text(encoding="utf-8")
    for name in groups()["retraining"]:
        assert f"**`{name}`:" in page
        for bar in CHECKS[name].bars:
            if bar.name not in ("epsilon", "adversary_jsd", "least_instances"):
                assert f"| `{bar.name}` | {bar.value:g} |".replace(" 0.", " .") in page


def test_the_recipe_of_a_model_is_what_it_tells_of_itself() -> None:
    vocabulary = build_vocabulary(plain({"train": 9})["train"].records)
    config = ClassifierConfig(("a", "b"), "cnn", "dot", 4, 6)
    model = TextClassifier(new_net(config, len(vocabulary), 0), vocabulary)
    assert recipe_of(model) == Recipe("cnn", "dot", 4, 6)
    options = TrainOptions(epochs=3, seed=5)
    assert recipe_of(model, options).options == options
    assert recipe_of(model, options).about()["seed"] == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": 0}, "seeds"),
        ({"repeats": 0}, "repeats"),
        ({"adversary_epochs": 0}, "adversary_epochs"),
        ({"lambdas": ()}, "lambdas"),
        ({"lambdas": (-0.1,)}, "lambdas"),
        ({"lambdas": (math.nan,)}, "lambdas"),
        ({"replacements": ("additive",)}, "replacements"),
    ],
)
def test_settings_out_of_range_are_refused(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"trainings": change}))
    with pytest.raises(SettingsError, match=rf"trainings\.{said}|not valid JSON|NaN"):
        read_settings(tmp_path / "settings.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": "lstm"}, "encoder 'lstm' is unknown"),
        ({"attention": "uniform"}, "'uniform' is not learned"),
        ({"hidden": 0}, "hidden is 0"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Recipe(**change)
