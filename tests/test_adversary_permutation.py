import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures import adversary_permutation
from attnaudit.measures.adversary_exact import exact_adversary
from attnaudit.measures.adversary_permutation import permutation_adversary, reversed_order
from attnaudit.measures.divergence import jensen_shannon
from tests.ragged import distributions

EPSILON = st.sampled_from([0.0, 0.005, 0.05, 0.3, 1.0])


def output_change(scores, bias, weights, other):
    one = torch.sigmoid(bias + (weights * scores).sum(-1))
    return (torch.sigmoid(bias + (other * scores).sum(-1)) - one).abs()


def brute_force(scores, bias, weights, epsilon):
    """The largest divergence over all orders of one instance."""
    orders = torch.tensor(list(itertools.permutations(range(len(weights)))))
    other = weights[orders]
    fits = output_change(scores, bias, weights, other) <= epsilon + 1e-12
    return jensen_shannon(other, weights).masked_fill(~fits, 0.0).max().item()


def assert_sound(scores, bias, weights, mask, epsilon, found):
    for row in range(len(mask)):
        given_, chosen = weights[row, mask[row]], found.weights[row, mask[row]]
        assert torch.equal(given_.sort().values, chosen.sort().values)
    assert (found.weights[~mask] == 0).all()
    change = output_change(scores.nan_to_num() * mask, bias, weights, found.weights)
    assert torch.allclose(change, found.output_change, atol=1e-14)
    assert (change <= epsilon + 1e-12).all()
    assert torch.allclose(jensen_shannon(found.weights, weights), found.jsd, atol=1e-15)
    assert (found.jsd >= 0).all()
    assert (found.jsd <= found.upper).all()
    assert (found.upper <= found.attainable + 1e-9).all()


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.integers(0, 10_000),
    EPSILON,
    st.floats(0, 3),
)
def test_short_instances_reach_the_optimum(lengths, seed, epsilon, sharpness):
    scores, weights, mask = distributions(lengths, seed, sharpness)
    found = permutation_adversary(scores, 0.3, weights, mask, epsilon)
    assert_sound(scores, 0.3, weights, mask, epsilon, found)
    for row in range(len(lengths)):
        best = brute_force(scores[row, mask[row]], 0.3, weights[row, mask[row]], epsilon)
        assert found.jsd[row].item() == pytest.approx(best, abs=1e-9)
        assert found.upper[row] >= best - 1e-12


@pytest.mark.parametrize(("n", "least"), [(4, 0.97), (5, 0.94), (6, 0.9), (7, 0.8)])
def test_the_way_for_longer_instances_is_bounded_and_mostly_optimal(n, least, monkeypatch):
    """The dual and the swaps alone, where all orders can still be counted."""
    monkeypatch.setattr(adversary_permutation, "EXHAUSTIVE", 1)
    count = 60 if n < 7 else 30
    hits, gaps = 0, []
    for epsilon in (0.01, 0.05):
        scores, weights, mask = distributions([n] * count, n, 2.0)
        found = permutation_adversary(scores, 0.0, weights, mask, epsilon)
        assert_sound(scores, 0.0, weights, mask, epsilon, found)
        for row in range(count):
            best = brute_force(scores[row, mask[row]], 0.0, weights[row, mask[row]], epsilon)
            assert found.upper[row] >= best - 1e-9
            gaps.append(best - found.jsd[row].item())
            hits += gaps[-1] < 1e-9
    assert hits / len(gaps) >= least
    assert np.mean(gaps) < 0.02


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(8, 40), min_size=1, max_size=4), st.integers(0, 10_000), EPSILON)
def test_bounds_hold_against_random_orders_and_any_weights(lengths, seed, epsilon):
    scores, weights, mask = distributions(lengths, seed)
    found = permutation_adversary(scores, -0.2, weights, mask, epsilon)
    assert_sound(scores, -0.2, weights, mask, epsilon, found)
    anything = exact_adversary(scores, -0.2, weights, mask, epsilon)
    assert (found.jsd <= anything.jsd + 1e-6).all()
    generator = torch.Generator().manual_seed(seed)
    for row, length in enumerate(lengths):
        a, s = weights[row, mask[row]], scores[row, mask[row]]
        orders = torch.stack([torch.randperm(length, generator=generator) for _ in range(200)])
        jsd, fits = jensen_shannon(a[orders], a), output_change(s, -0.2, a, a[orders]) <= epsilon
        assert jsd.max() <= found.attainable[row] + 1e-12
        assert jsd.masked_fill(~fits, 0.0).max() <= found.upper[row] + 1e-9


@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(0, 10_000))
def test_the_opposite_order_diverges_most(lengths, seed):
    _, weights, mask = distributions(lengths, seed)
    opposite = reversed_order(weights, mask)
    for row in range(len(lengths)):
        a, b = weights[row, mask[row]], opposite[row, mask[row]]
        assert torch.equal(b.sort().values, a.sort().values)
        best = brute_force(torch.zeros_like(a), 0.0, a, 1.0)
        assert jensen_shannon(b, a).item() == pytest.approx(best, abs=1e-12)
    whole = permutation_adversary(torch.zeros_like(weights), 0.0, weights, mask, 0.0)
    assert torch.allclose(whole.jsd, whole.attainable)


def test_uniform_weights_have_no_other_order():
    mask = torch.arange(9) < torch.tensor([[9], [4], [1]])
    weights = mask / mask.sum(-1, keepdim=True).double()
    scores = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    found = permutation_adversary(scores, 0.0, weights, mask, 0.05)
    assert found.jsd.tolist() == [0.0] * 3
    assert found.attainable.tolist() == [0.0] * 3


@pytest.mark.parametrize("n", [201, 600])
def test_long_instances_come_close_to_what_is_attainable(n):
    scores, weights, mask = distributions([n] * 4, n)
    found = permutation_adversary(scores, 0.0, weights, mask, 0.02)
    assert_sound(scores, 0.0, weights, mask, 0.02, found)
    assert (found.jsd > 0.97 * found.attainable).all()


def test_long_and_short_ways_agree_where_they_meet(monkeypatch):
    scores, weights, mask = distributions([60] * 6, 3)
    dual = permutation_adversary(scores, 0.0, weights, mask, 0.02)
    monkeypatch.setattr(adversary_permutation, "ASSIGNMENT_LIMIT", 30)
    long = permutation_adversary(scores, 0.0, weights, mask, 0.02)
    assert_sound(scores, 0.0, weights, mask, 0.02, long)
    assert (long.jsd <= dual.upper + 1e-9).all()
    assert (dual.jsd - long.jsd).abs().max() < 0.01


def test_the_bound_is_close_on_realistic_instances():
    scores, weights, mask = distributions([18] * 60, 5)
    found = permutation_adversary(scores, 0.1, weights, mask, 0.05)
    assert (found.upper - found.jsd).mean() < 0.01


def test_padding_and_batch_have_no_influence():
    lengths = [5, 12, 7, 30, 1, 8]
    scores, weights, mask = distributions(lengths, 6)
    bias = torch.linspace(-1, 1, 6)
    whole = permutation_adversary(scores.masked_fill(~mask, math.nan), bias, weights, mask, 0.02)
    for row in range(6):
        some, units = slice(row, row + 1), mask[row]
        alone = permutation_adversary(
            scores[some, units], bias[row], weights[some, units], mask[some, units], 0.02
        )
        assert alone.jsd.item() == pytest.approx(whole.jsd[row].item(), abs=1e-9)
        assert alone.upper.item() == pytest.approx(whole.upper[row].item(), abs=1e-9)


@pytest.mark.parametrize("size", [1e-9, 1e3, 1e9])
def test_extreme_scores_stay_feasible(size):
    scores, weights, mask = distributions([9] * 10, 7)
    found = permutation_adversary(size * scores, 0.0, weights, mask, 0.05)
    assert (output_change(size * scores, 0.0, weights, found.weights) <= 0.05 + 1e-9).all()
    assert (found.jsd <= found.upper).all()


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused():
    scores, weights, mask = distributions([4, 4], 0)
    with pytest.raises(SettingsError, match=r"epsilon is 2\.0"):
        permutation_adversary(scores, 0.0, weights, mask, 2.0)
    with pytest.raises(DataError, match="scores has shape"):
        permutation_adversary(scores[:, :3], 0.0, weights, mask, 0.05)
    with pytest.raises(DataError, match="bool"):
        reversed_order(weights, mask.double())


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_instance_is_undefined_and_alone(broken):
    scores, weights, mask = distributions([9, 9, 9], 8)
    whole = permutation_adversary(scores, 0.0, weights, mask, 0.01)
    scores[1, mask[1].nonzero()[0]] = broken
    found = permutation_adversary(scores, 0.0, weights, mask, 0.01)
    for value in (found.jsd, found.output_change, found.upper, found.attainable):
        assert value.isnan().tolist() == [False, True, False]
    assert torch.equal(found.jsd[[0, 2]], whole.jsd[[0, 2]])
