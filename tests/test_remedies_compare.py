"""Remedies before and after: against audits done one by one, and the rules of the outcome."""

import numpy as np
import polars as pl
import pytest

from attnaudit.api import audit
from attnaudit.data.generated.reviews import generate_review_splits
from attnaudit.errors import SettingsError
from attnaudit.findings.findings import Estimate, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.remedies import REMEDIES
from attnaudit.remedies.compare import PLAIN, compare, conicity_of
from attnaudit.remedies.effects import (
    LEAST_SEEDS,
    QUANTITIES,
    TITLES,
    Row,
    _outcome,
    _sign,
    effect_of,
    spread_of,
)
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train

SETTINGS = Settings(resamples=200, costly_limit=30, permutations=20)
SMALL = {"hidden": 4, "embedding_dim": 8}


@pytest.fixture(scope="module")
def reviews():
    return generate_review_splits(120, 40, 50, seed=2, difficulty=0.0)


@pytest.fixture(scope="module")
def compared(reviews):
    return compare(
        reviews,
        ("diversity", "orthogonal"),
        seeds=(0, 1),
        weights={"diversity": 2.0},
        options=TrainOptions(epochs=2),
        settings=SETTINGS,
        **SMALL,
    )


def one_by_one(reviews, name, seed):
    change = {}
    if name != PLAIN:
        change = REMEDIES[name].training(weight=2.0 if name == "diversity" else None)
    model = train(
        reviews, options=TrainOptions(epochs=2, seed=seed), progress=False, **SMALL, **change
    ).model
    found = audit(model, reviews["test"], settings=SETTINGS)
    frame = found.instances.sort("index")
    return {
        "accuracy": (frame["label"] == frame["predicted"]).cast(pl.Float64).to_numpy(),
        "conicity": conicity_of(model, reviews["test"]),
        "tau_leave_one_out": frame["agreement/tau.weights~leave_one_out"].to_numpy(),
        "permutation": frame["permutation/median_tvd"].to_numpy(),
        "truth_auroc": frame["ground_truth/auroc.weights"].to_numpy(),
    }, found.verdict


def test_against_audits_one_by_one(reviews, compared):
    assert [row.remedy for row in compared.rows] == [PLAIN, "diversity", "orthogonal"]
    alone = {
        name: [one_by_one(reviews, name, seed) for seed in (0, 1)] for name in (PLAIN, "orthogonal")
    }
    rows = {row.remedy: row for row in compared.rows}
    for name, found in alone.items():
        assert rows[name].verdicts == tuple(verdict for _, verdict in found)
        for quantity in found[0][0]:
            expected = np.nanmean((found[0][0][quantity] + found[1][0][quantity]) / 2)
            estimate = rows[name].estimates[quantity]
            assert estimate.value == pytest.approx(expected, abs=1e-6)
            assert estimate.low <= estimate.value <= estimate.high
    effect = compared.effects[1]
    for quantity in alone[PLAIN][0][0]:
        by_seed = [
            np.nanmean(after[0][quantity] - before[0][quantity])
            for after, before in zip(alone["orthogonal"], alone[PLAIN], strict=True)
        ]
        assert effect.by_seed[quantity] == pytest.approx(by_seed, abs=1e-6)
        assert effect.differences[quantity].value == pytest.approx(np.mean(by_seed), abs=1e-6)
        one, two = (found[0][quantity] for found in alone[PLAIN])
        assert effect.spread[quantity] == pytest.approx(abs(np.nanmean(one - two)), abs=1e-6)
    costly = rows[PLAIN].estimates["comprehensiveness"]
    assert costly.n + costly.undefined == 50
    assert costly.n <= 30
    assert 0 < rows[PLAIN].estimates["conicity"].null < 1


def test_the_table_and_the_sentences(compared):
    frame = compared.frame
    assert len(frame) == 3 * len(QUANTITIES)
    plain = frame.filter(pl.col("remedy") == PLAIN)
    assert plain["difference_value"].null_count() == len(QUANTITIES)
    assert frame.filter(pl.col("remedy") != PLAIN)["difference_value"].null_count() == 0
    for effect in compared.effects:
        assert REMEDIES[effect.remedy].title in effect.sentence
        assert effect.outcome == "not certain"  # two seeds decide nothing
        assert f"Whether {REMEDIES[effect.remedy].title} helped is not certain" in effect.sentence
        assert "2 seeds" in effect.sentence
        assert "rose" not in effect.sentence
        for title in TITLES.values():
            assert effect.sentence.count(title) == 1  # every quantity, once


def test_one_seed_is_not_certain_even_of_a_remedy_that_does_nothing(reviews):
    """λ = 0 trains the very same network: every difference is 0."""
    found = compare(
        reviews,
        ("diversity",),
        seeds=(0,),
        weights={"diversity": 0.0},
        settings=SETTINGS,
        options=TrainOptions(epochs=1),
        limit=20,
        **SMALL,
    )
    effect = found.effects[0]
    assert {estimate.value for estimate in effect.differences.values()} == {0.0}
    assert effect.outcome == "not certain"
    assert effect.sentence.startswith(
        "Whether Diversity LSTM helped is not certain: it was tried with one seed, and it takes 3"
    )
    assert "rose" not in effect.sentence
    assert "seeds alone" not in effect.sentence  # not known from one
    assert np.isnan(list(effect.spread.values())).all()
    assert effect.sentence.endswith(
        f"The audit says {found.rows[0].verdicts[0]} with it as without."
    )
    assert found.rows[0].estimates["accuracy"].n == 20
    assert found.rows[0].verdicts == found.rows[1].verdicts


@pytest.mark.parametrize(
    ("low", "high", "by_seed", "spread", "sign"),
    [
        (0.1, 0.2, (0.1, 0.2, 0.15), 0.1, 1),
        (0.1, 0.2, (0.1, 0.2, 0.15), 0.16, 0),  # no more than what seeds alone make
        (0.1, 0.2, (0.1, 0.2, 0.15), float("nan"), 0),
        (0.1, 0.2, (0.1, 0.2), 0.0, 0),  # two seeds decide nothing
        (0.1, 0.2, (0.4, -0.1, 0.15), 0.0, 0),
        (-0.2, -0.1, (-0.1, -0.2, -0.15), 0.1, -1),
        (-0.2, -0.1, (-0.1, -0.2, -0.15), 0.2, 0),
        (-0.2, 0.1, (-0.1, -0.1, -0.1), 0.0, 0),
        (None, None, (float("nan"),) * 3, 0.0, 0),
        (-0.2, -0.1, (-0.3, 0.1, -0.2), 0.0, 0),
    ],
)
def test_a_change_needs_its_interval_and_all_seeds(low, high, by_seed, spread, sign):
    value = None if low is None else (low + high) / 2
    estimate = Estimate(statistic="x", subject="y", value=value, low=low, high=high, n=9)
    assert _sign(estimate, by_seed, spread) == sign


def test_outcomes():
    assert _outcome(better=True, price=False, worse=False) == "helped"
    assert _outcome(better=True, price=True, worse=False) == "helped at a price"
    assert _outcome(better=True, price=True, worse=True) == "helped at a price"
    assert _outcome(better=False, price=True, worse=True) == "did harm"
    assert _outcome(better=False, price=False, worse=False) == "did not help"


def _row(remedy, verdict=Verdict.FAIL, seeds=LEAST_SEEDS):
    return Row(remedy, {}, (verdict,) * seeds)


def _frames(apart=0.0, seeds=LEAST_SEEDS, **shifts):
    """Forty instances a seed, with the same noise whatever the shifts of the quantities.

    From one seed to the next every quantity moves by `apart`.
    """
    draw = np.random.default_rng(0)
    return [
        pl.DataFrame(
            {n: 0.5 + s + apart * seed + draw.normal(0, 0.01, 40) for n, s in shifts.items()}
        )
        for seed in range(seeds)
    ]


def test_what_seeds_alone_make_is_no_effect():
    """The same fall of agreement: harm beyond the spread of seeds, and nothing within it."""
    names = [q.name for q in QUANTITIES if q.name != "truth_auroc"]
    still = dict.fromkeys(names, 0.0)
    shifts = {**still, "tau_gradient": -0.2}
    outcomes = {}
    for apart in (0.0, 0.05, 0.2):
        effect = effect_of(
            _row(PLAIN), _row("tying"), _frames(apart, **still), _frames(apart, **shifts), SETTINGS
        )
        assert effect.spread["tau_gradient"] == pytest.approx(2 * apart, abs=0.01)
        assert effect.differences["tau_gradient"].value == pytest.approx(-0.2, abs=0.01)
        assert f"seeds alone {effect.spread['tau_gradient']:.3f}" in effect.sentence
        outcomes[apart] = effect.outcome
    assert outcomes == {0.0: "did harm", 0.05: "did harm", 0.2: "did not help"}
    few = effect_of(
        _row(PLAIN, seeds=2),
        _row("tying", seeds=2),
        _frames(seeds=2, **still),
        _frames(seeds=2, **shifts),
        SETTINGS,
    )
    assert few.outcome == "not certain"
    assert "fell" not in few.sentence


def test_the_spread_is_the_largest_difference_of_two_seeds():
    frames = [pl.DataFrame({"a": values}) for values in ([0.1, None], [0.5, 0.2], [0.2, 0.9])]
    # pairs: |0.1 - 0.5|, |0.1 - 0.2| on the first instance, |(0.5 + 0.2) - (0.2 + 0.9)| / 2
    assert spread_of(frames, "a") == pytest.approx(0.4)
    assert np.isnan(spread_of(frames[:1], "a"))


def test_known_evidence_takes_the_place_of_the_yardsticks():
    """Agreement falls, evidence is found: harm where nothing else is known, help where it is."""
    names = [quantity.name for quantity in QUANTITIES]
    still = dict.fromkeys(names, 0.0)
    shifts = {**still, "tau_gradient": -0.2, "truth_auroc": 0.1}
    effect = effect_of(
        _row(PLAIN),
        _row("tying", Verdict.PASS),
        _frames(**still),
        _frames(**shifts),
        SETTINGS,
    )
    assert effect.outcome == "helped"
    assert "rose: agreement with the known evidence 0." in effect.sentence
    assert "fell: agreement with gradient -0." in effect.sentence
    assert effect.sentence.endswith("The audit says pass with it and fail without.")
    for shown in (still, shifts):
        shown.pop("truth_auroc")
    effect = effect_of(_row(PLAIN), _row("tying"), _frames(**still), _frames(**shifts), SETTINGS)
    assert effect.outcome == "did harm"
    assert "evidence" not in effect.sentence


def test_bad_settings_are_refused_before_any_training(reviews):
    with pytest.raises(SettingsError, match=r"'snake oil'.*diversity, orthogonal, tying"):
        compare(reviews, ("snake oil",))
    with pytest.raises(SettingsError, match="'oil', which is not compared"):
        compare(reviews, ("tying",), weights={"oil": 1.0})
    with pytest.raises(SettingsError, match="no seed"):
        compare(reviews, seeds=())
    with pytest.raises(SettingsError, match=r"\(0, 0, 1\); name each seed once"):
        compare(reviews, seeds=(0, 0, 1))
    with pytest.raises(SettingsError, match=r"'erasure'.*put it back"):
        compare(reviews, settings=Settings(checks=("agreement", "permutation")))
    with pytest.raises(SettingsError, match="'delete'"):
        compare(reviews, settings=Settings(operators=("mask",)))
    with pytest.raises(SettingsError, match="cnn"):
        compare(reviews, ("tying",), encoder="cnn")
