import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures import rank
from attnaudit.measures.masks import by_length
from attnaudit.measures.rank import (
    average_ranks,
    expected_top_k_overlap,
    kendall_null,
    kendall_tau,
    spearman,
    top_k_kendall_distance,
    top_k_overlap,
)
from tests.ragged import aligned, ragged
from tests.shared import shared_dir

VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32))
PAIRS = st.lists(st.lists(st.tuples(VALUES, VALUES), max_size=45), min_size=1, max_size=6)


def split(rows):
    return [[x for x, _ in row] for row in rows], [[y for _, y in row] for row in rows]


def assert_like_scipy(rows, dtype, seed):
    xs, ys = split(rows)
    x, mask = ragged(xs, dtype, seed)
    y = aligned(ys, mask, dtype)
    tau, rho = kendall_tau(x, y, mask), spearman(x, y, mask)
    for index in range(len(rows)):
        a, b = x[index][mask[index]].numpy(), y[index][mask[index]].numpy()
        if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
            assert not tau.defined[index]
            assert math.isnan(tau.value[index])
            assert math.isnan(tau.p_value[index])
            assert math.isnan(rho[index])
            continue
        expected = scipy.stats.kendalltau(a, b)
        assert tau.defined[index]
        assert tau.value[index].item() == pytest.approx(expected.statistic, abs=1e-14)
        assert tau.p_value[index].item() == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
        rho_expected = scipy.stats.spearmanr(a, b).statistic
        assert rho[index].item() == pytest.approx(rho_expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.sampled_from([torch.float32, torch.float64]), st.integers(0, 9))
def test_correlations_equal_scipy(rows, dtype, seed):
    assert_like_scipy(rows, dtype, seed)


def test_every_length_around_the_change_of_method_equals_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 3, 4, 5, 12, 32, 33, 34, 35, 60):
        rows = [[(float(a), float(b)) for a, b in rng.normal(size=(n, 2))] for _ in range(6)]
        order = [float(v) for v in range(n)]
        rows.append(list(zip(order, order, strict=True)))
        rows.append(list(zip(order, order[::-1], strict=True)))
        swapped = [order[1], order[0], *order[2:]]
        rows.append(list(zip(order, swapped, strict=True)))
        rows.append(list(zip(order, swapped[::-1], strict=True)))
        assert_like_scipy(rows, torch.float64, None)


def test_long_instances_equal_scipy_beside_short_ones():
    rng = np.random.default_rng(1)
    rows = [
        [(float(a), float(b)) for a, b in rng.integers(0, 40, size=(n, 2))]
        for n in (3, 900, 150, 601, 600, 1)
    ]
    assert_like_scipy(rows, torch.float64, 3)


def test_kendall_uses_bounded_memory_and_any_portions(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 40, 25, generator=generator)
    mask = torch.rand(40, 25, generator=generator) > 0.3
    whole = kendall_tau(x, y, mask)
    monkeypatch.setattr(rank, "PAIRS_AT_ONCE", 1)
    one_by_one = kendall_tau(x, y, mask)
    assert torch.equal(whole.value, one_by_one.value)
    assert torch.equal(whole.p_value, one_by_one.p_value)


def test_values_that_are_not_finite_are_undefined():
    x = torch.tensor([[1.0, 2.0, math.nan], [1.0, 2.0, math.inf], [1.0, 2.0, 3.0]])
    y = torch.tensor([[1.0, 2.0, 3.0]]).expand(3, 3)
    mask = torch.ones(3, 3, dtype=torch.bool)
    for a, b in ((x, y), (y, x)):
        assert kendall_tau(a, b, mask).defined.tolist() == [False, False, True]
        assert spearman(a, b, mask).isnan().tolist() == [True, True, False]
        assert top_k_overlap(a, b, mask, 1).isnan().tolist() == [True, True, False]
    long = torch.arange(700.0).expand(2, -1).clone()
    long[0, 5] = math.inf
    everything = torch.ones(2, 700, dtype=torch.bool)
    assert kendall_tau(long, long, everything).defined.tolist() == [False, True]


@given(PAIRS)
def test_kendall_is_antisymmetric_and_sees_only_order(rows):
    xs, ys = split(rows)
    x, mask = ragged(xs)
    y = aligned(ys, mask, torch.float64).nan_to_num()
    tau = kendall_tau(x, y, mask).value.nan_to_num(9.0)
    ranked = kendall_tau(average_ranks(x, mask), y, mask).value.nan_to_num(9.0)
    assert torch.equal(tau, ranked)
    assert torch.allclose(tau, kendall_tau(y, x, mask).value.nan_to_num(9.0), atol=1e-15)
    negative = kendall_tau(-x, y, mask).value.nan_to_num(-9.0)
    assert torch.equal(tau, -negative)


def test_no_instances_and_no_units():
    nothing = torch.zeros(0, 4)
    assert kendall_tau(nothing, nothing, nothing.bool()).value.shape == (0,)
    assert spearman(nothing, nothing, nothing.bool()).shape == (0,)
    empty = torch.zeros(2, 0)
    assert kendall_tau(empty, empty, empty.bool()).defined.tolist() == [False, False]
    assert top_k_overlap(empty, empty, empty.bool(), 3).isnan().all()
    assert top_k_kendall_distance(empty, empty, empty.bool(), 3).isnan().all()


@given(st.lists(st.lists(VALUES, max_size=20), min_size=1, max_size=4), st.integers(0, 9))
def test_average_ranks_equal_scipy(rows, seed):
    x, mask = ragged(rows, seed=seed)
    ranks = average_ranks(x, mask)
    for index, row in enumerate(rows):
        expected = scipy.stats.rankdata(row) if row else []
        assert ranks[index][mask[index]].tolist() == list(expected)
    assert (ranks[~mask] == 0).all()


def test_average_ranks_of_infinities_and_nan():
    x = torch.tensor([[math.inf, -math.inf, 0.0], [math.nan, 1.0, 2.0]])
    ranks = average_ranks(x, torch.ones(2, 3, dtype=torch.bool))
    assert ranks[0].tolist() == [3.0, 1.0, 2.0]
    assert ranks[1].isnan().all()


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_null_is_the_spread_of_tau_over_all_orders(n):
    orders = torch.tensor(list(itertools.permutations(range(n)))).double()
    tau = kendall_tau(
        orders, torch.arange(n).double().expand_as(orders), torch.ones_like(orders).bool()
    )
    null = kendall_null(torch.tensor([n, 1, 0]))
    assert tau.value.mean().item() == pytest.approx(null.mean, abs=1e-12)
    assert tau.value.std(correction=0).item() == pytest.approx(null.sd[0].item())
    assert null.sd[1:].isnan().all()


def brute_overlap(x, y, k):
    """The mean overlap over all ways to break ties in both."""

    def sets(v):
        order = sorted(v, reverse=True)
        above = [i for i, s in enumerate(v) if s > order[k - 1]]
        tied = [i for i, s in enumerate(v) if s == order[k - 1]]
        return [set(above) | set(c) for c in itertools.combinations(tied, k - len(above))]

    return float(np.mean([len(a & b) / k for a in sets(x) for b in sets(y)]))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=7),
    st.integers(1, 9),
)
def test_overlap_is_the_mean_over_random_tie_breaking(row, k):
    x, y = ([float(v[i]) for v in row] for i in (0, 1))
    values, mask = ragged([x], seed=1)
    found = top_k_overlap(values, aligned([y], mask, torch.float64), mask, k)
    assert found.item() == pytest.approx(brute_overlap(x, y, min(k, len(row))))


def test_expected_overlap_is_hypergeometric_and_what_a_constant_has():
    lengths = torch.tensor([3, 8, 20])
    common = np.arange(5)
    expected = [
        float(common @ scipy.stats.hypergeom.pmf(common, n, k, k) / k)
        for n, k in ((3, 3), (8, 4), (20, 4))
    ]
    assert expected_top_k_overlap(lengths, 4).tolist() == pytest.approx(expected)
    mask = torch.arange(20) < lengths.unsqueeze(1)
    scores = torch.rand(3, 20, generator=torch.Generator().manual_seed(0))
    flat = top_k_overlap(scores, torch.ones(3, 20), mask, 4)
    assert flat.tolist() == pytest.approx(expected)


def test_a_share_takes_the_rounded_up_number_of_units():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 1, 30, generator=generator)
    mask = torch.ones(1, 30, dtype=torch.bool)
    assert torch.equal(top_k_overlap(x, y, mask, 0.1), top_k_overlap(x, y, mask, 3))
    assert torch.equal(top_k_overlap(x, y, mask, 0.11), top_k_overlap(x, y, mask, 4))
    assert top_k_overlap(x, y, mask, 1.0).item() == 1.0


def brute_distance(x, y, k, p, form):
    k = min(k, len(x))
    a = set(sorted(range(len(x)), key=lambda i: (-x[i], i))[:k])
    b = set(sorted(range(len(y)), key=lambda i: (-y[i], i))[:k])
    common = sorted(a & b)
    extra = sum(x[i] < x[j] for i in common for j in a - b)
    extra += sum(y[i] < y[j] for i in common for j in b - a)
    missing = 2 * p * math.comb(k - len(common), 2)
    if form == "jain2019":
        first = 0.0
        if len(common) > 1:
            tau = scipy.stats.kendalltau([x[i] for i in common], [y[i] for i in common]).statistic
            first = 0.0 if math.isnan(tau) else (0.5 - tau / 2) * len(common) ** 2
        return (first + extra + missing) / len(a | b) ** 2
    opposite = sum((x[i] - x[j]) * (y[i] - y[j]) < 0 for i, j in itertools.combinations(common, 2))
    largest = k * k + p * k * (k - 1)
    return (opposite + extra + missing + len(a - b) * len(b - a)) / largest


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from(["jain2019", "fagin2003"]),
)
def test_top_k_distance_equals_its_definition(row, k, p, form):
    x, y = ([float(v[i]) for v in row] for i in (0, 1))
    values, mask = ragged([x, x[:1]], seed=2)
    other = aligned([y, y[:1]], mask, torch.float64)
    found = top_k_kendall_distance(values, other, mask, k, penalty=p, form=form)
    assert found[0].item() == pytest.approx(brute_distance(x, y, k, p, form), abs=1e-12)
    assert 0 <= found[0] <= 1
    same = top_k_kendall_distance(values, values, mask, k, penalty=p, form=form)
    assert same.tolist() == [0.0, 0.0]


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_with_shapes():
    x, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(DataError, match=r"y has shape \(2, 4\).*\(2, 3\)"):
        kendall_tau(x, torch.zeros(2, 4), mask)
    with pytest.raises(DataError, match="bool"):
        spearman(x, x, mask.float())
    for k in (0, -2, 0.0, 1.5, math.nan):
        with pytest.raises(SettingsError, match="k is"):
            top_k_overlap(x, x, mask, k)
    with pytest.raises(SettingsError, match="penalty"):
        top_k_kendall_distance(x, x, mask, 2, penalty=2.0)
    with pytest.raises(SettingsError, match="form"):
        top_k_kendall_distance(x, x, mask, 2, form="other")


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 3000), st.integers(1, 2))
def test_groups_by_length_hold_every_instance_once(lengths, at_once, power):
    rows = []
    for some, width in by_length(torch.tensor(lengths, dtype=torch.long), at_once, power):
        assert max(lengths[row] for row in some.tolist()) == width
        assert len(some) == 1 or len(some) * width**power <= at_once
        rows += some.tolist()
    assert sorted(rows) == [i for i, n in enumerate(lengths) if n > 0]


def test_the_published_run_has_the_same_correlations():
    import polars as pl

    frame = pl.read_parquet(shared_dir("golden/sst-bilstm-additive") / "instances.parquet")
    columns = {name: frame[name].to_list() for name in ("attention", "gradient")}
    loo = zip(frame["leave_one_out_probability"].to_list(), frame["probability"], strict=True)
    columns["leave_one_out"] = [[abs(p - base) for p in row] for row, base in loo]
    inner = {name: [row[1:-1] for row in rows] for name, rows in columns.items()}
    attention, mask = ragged(inner["attention"], torch.float32)
    gradient = aligned(inner["gradient"], mask, torch.float32)
    effect = aligned(inner["leave_one_out"], mask, torch.float32)
    for a, b, mean, sd, share in (
        (attention, gradient, 0.2142, 0.1990, 0.24),
        (attention, effect, 0.2712, 0.1924, 0.32),
        (gradient, effect, 0.3185, 0.1971, 0.43),
    ):
        tau = kendall_tau(a, b, mask)
        assert tau.defined.all()
        assert tau.value.mean().item() == pytest.approx(mean, abs=2e-4)
        assert tau.value.std(correction=0).item() == pytest.approx(sd, abs=2e-4)
        assert (tau.p_value <= 0.05).double().mean().item() == pytest.approx(share, abs=0.006)
