import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures import bootstrap
from attnaudit.measures.bootstrap import (
    Interval,
    bootstrap_interval,
    bootstrap_metric,
    wilson_interval,
)
from attnaudit.measures.detection import roc_auc

NUMBERS = st.floats(-1e3, 1e3, width=32)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("n", [20, 41, 300])
def test_interval_agrees_with_scipy(statistic, n):
    values = np.random.default_rng(n).exponential(size=n)
    found = bootstrap_interval(values, statistic, resamples=20_000, seed=1)
    expected = scipy.stats.bootstrap(
        (values,), getattr(np, statistic), n_resamples=20_000, method="percentile", rng=2
    ).confidence_interval
    width = expected.high - expected.low
    assert found.value == pytest.approx(getattr(np, statistic)(values))
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)


@pytest.mark.parametrize("n", [5, 6])
def test_medians_have_the_exact_bootstrap_distribution(n):
    """All nⁿ resamples of distinct values, against the draws through order statistics."""
    values = np.arange(float(n))
    places = np.indices((n,) * n).reshape(n, -1)
    every, counts = np.unique(np.median(values[places], axis=0), return_counts=True)
    drawn = bootstrap._medians(values, 100_000, np.random.default_rng(0))
    got = np.array([(drawn == v).sum() for v in every])
    assert got.sum() == len(drawn)
    assert scipy.stats.chisquare(got, counts / counts.sum() * len(drawn)).pvalue > 1e-3


def test_interval_of_a_mean_is_the_normal_one_for_many_values():
    values = np.random.default_rng(0).normal(3, 2, size=5000)
    found = bootstrap_interval(values, resamples=10_000)
    half = 1.96 * values.std() / math.sqrt(5000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.06 * half)


@pytest.mark.parametrize("shape", ["normal", "skewed", "one giant", "two values"])
def test_the_way_for_very_many_values_agrees_with_drawing_every_one(shape, monkeypatch):
    rng = np.random.default_rng(3)
    values = {
        "normal": rng.normal(size=9000),
        "skewed": rng.lognormal(sigma=2, size=9000),
        "one giant": np.append(rng.normal(size=8999), 5e4),
        "two values": (rng.random(9000) < 0.02).astype(float),
    }[shape]
    every = bootstrap_interval(values, resamples=8000, seed=1)
    monkeypatch.setattr(bootstrap, "EVERY_VALUE", 100)
    short = bootstrap_interval(values, resamples=8000, seed=2)
    width = every.high - every.low
    # A giant makes the ends lattice points of its own count; both ways must find the same ones.
    assert short.low == pytest.approx(every.low, abs=0.06 * width)
    assert short.high == pytest.approx(every.high, abs=0.06 * width)


def test_a_million_values():
    values = np.random.default_rng(0).exponential(size=1_000_000)
    for statistic, spread in (("mean", 1.0), ("median", 1.0)):
        found = bootstrap_interval(values, statistic)
        half = 1.96 * spread / 1000  # of an exponential both have the standard error 1/√n
        assert found.n == 1_000_000
        assert found.high - found.low == pytest.approx(2 * half, rel=0.12)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_coverage_of_a_normal_centre(statistic):
    rng = np.random.default_rng(7)
    covered = []
    for seed in range(300):
        found = bootstrap_interval(rng.normal(2, 3, size=40), statistic, resamples=500, seed=seed)
        covered.append(found.low <= 2 <= found.high)
    assert 0.90 <= np.mean(covered) <= 0.985


@given(
    st.lists(NUMBERS, min_size=2, max_size=30), st.randoms(), st.sampled_from(["mean", "median"])
)
def test_order_has_no_influence_and_the_interval_is_equivariant(values, random, statistic):
    array = np.array(values, dtype=np.float64)
    found = bootstrap_interval(array, statistic, resamples=50)
    mixed = list(values)
    random.shuffle(mixed)
    assert bootstrap_interval(mixed, statistic, resamples=50) == found
    assert array.min() <= found.low <= found.high <= array.max() or found.low == pytest.approx(
        found.high
    )
    moved = bootstrap_interval(4 * array + 1, statistic, resamples=50)
    assert moved.low == pytest.approx(4 * found.low + 1, abs=1e-6)


def test_portions_have_no_influence(monkeypatch):
    values = np.random.default_rng(0).normal(size=333)
    whole = bootstrap_interval(values)
    for portion in (1, 1000, 333 * 7):
        monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", portion)
        assert bootstrap_interval(values) == whole


def test_undefined_values_are_counted_and_left_out():
    known = [0.5, 0.25, 0.75]
    found = bootstrap_interval([math.nan, *known, math.nan], seed=3)
    alone = bootstrap_interval(known, seed=3)
    assert (found.undefined, found.n) == (2, 3)
    assert (found.value, found.low, found.high) == (alone.value, alone.low, alone.high)
    assert bootstrap_interval([]) == Interval(None, None, None, 0, 0)
    assert bootstrap_interval([math.nan]) == Interval(None, None, None, 0, 1)
    assert bootstrap_interval([2.0, math.nan]) == Interval(2.0, None, None, 1, 1)


@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.8, 0.95, 0.99]),
)
def test_wilson_equals_scipy(counts, confidence):
    successes, n = counts
    found = wilson_interval(successes, n, confidence)
    expected = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_metric_interval_agrees_with_scipy():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 120)
    scores = rng.normal(size=120) + labels
    found = bootstrap_metric(labels, scores, roc_auc, resamples=4000, seed=1)
    expected = scipy.stats.bootstrap(
        (labels, scores),
        roc_auc_score,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=2,
    ).confidence_interval
    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.low == pytest.approx(expected.low, abs=0.012)
    assert found.high == pytest.approx(expected.high, abs=0.012)
    order = rng.permutation(120)
    assert bootstrap_metric(labels[order], scores[order], roc_auc, resamples=4000, seed=1) == found


def test_metric_skips_resamples_of_one_class():
    seen = []

    def metric(labels, scores):
        seen.append(len(np.unique(labels)))
        return float(np.mean(labels == scores))

    found = bootstrap_metric([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], metric, resamples=400)
    assert set(seen) == {2}
    assert 200 < len(seen) < 350  # a resample of five misses the one positive with p = .328
    assert found.low <= found.value <= found.high
    assert bootstrap_metric([1, 1], [0.1, 0.2], metric).value is None
    assert bootstrap_metric([], [], metric) == Interval(None, None, None, 0, 0)
    with_gap = bootstrap_metric([0, 1, 1], [0.0, 1.0, math.nan], metric)
    assert (with_gap.n, with_gap.undefined) == (2, 1)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused():
    with pytest.raises(DataError, match=r"\(2, 2\)"):
        bootstrap_interval(np.zeros((2, 2)))
    with pytest.raises(DataError, match="1 of 2 values are infinite"):
        bootstrap_interval([1.0, math.inf])
    with pytest.raises(SettingsError, match="statistic"):
        bootstrap_interval([1.0], "mode")
    with pytest.raises(SettingsError, match="confidence"):
        bootstrap_interval([1.0], confidence=95)
    with pytest.raises(SettingsError, match="resamples"):
        bootstrap_interval([1.0], resamples=0)
    with pytest.raises(DataError, match="4 successes of 3"):
        wilson_interval(4, 3)
    with pytest.raises(DataError, match=r"\(3,\)"):
        bootstrap_metric([1, 0], [1, 2, 3], roc_auc)


def test_many_pairs_give_the_interval_of_the_plain_bootstrap() -> None:
    """Beyond 20,000 pairs, 20,000 of n are drawn and distances scaled."""
    draw = np.random.default_rng(3)
    n = 60_000
    labels = draw.integers(0, 2, n)
    said = np.where(draw.random(n) < 0.7, labels, 1 - labels)

    def accuracy(y: np.ndarray, p: np.ndarray) -> float:
        return float((y == p).mean())

    found = bootstrap_metric(labels, said, accuracy, resamples=400, seed=1)
    plain = [
        accuracy(labels[index], said[index])
        for index in (draw.integers(0, n, n) for _ in range(400))
    ]
    low, high = np.quantile(plain, (0.025, 0.975))
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(high - low, rel=0.25)
    assert found.value == pytest.approx((found.low + found.high) / 2, abs=1e-3)
