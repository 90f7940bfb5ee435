import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures import adversary_exact
from attnaudit.measures.adversary_exact import (
    TOLERANCE,
    bounds_multiclass,
    exact_adversary,
    slab,
)
from attnaudit.measures.divergence import LN2, jensen_shannon, total_variation
from tests.golden import golden_batches, golden_model
from tests.ragged import distributions

PROBLEMS = st.tuples(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.001, 0.05, 0.3, 1.0]),
    st.floats(0.0, 3.0),
    st.floats(-3.0, 3.0),
)


def output_change(scores, bias, weights, other):
    one = torch.sigmoid(bias + (weights * scores).sum(-1))
    return (torch.sigmoid(bias + (other * scores).sum(-1)) - one).abs()


def feasible_points(scores, bias, weights, epsilon, rng, count=400):
    """Random feasible weights of one instance: inner points, mixes of few units, and mixes on the
    edge of the slab."""
    n = len(weights)
    raw = torch.from_numpy(rng.dirichlet(np.full(n, rng.choice([0.05, 0.3, 1.0])), size=count))
    # From the weights (always feasible) as far towards the raw point as the output allows.
    low, high = torch.zeros(count, dtype=torch.float64), torch.ones(count, dtype=torch.float64)
    high = torch.where(output_change(scores, bias, weights, raw) <= epsilon, 1.0, high)
    step = high.clone()
    fits = output_change(scores, bias, weights, raw) <= epsilon
    for _ in range(50):
        middle = (low + high) / 2
        mixed = torch.lerp(weights.expand(count, -1), raw, middle.unsqueeze(-1))
        inside = output_change(scores, bias, weights, mixed) <= epsilon
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    step = torch.where(fits, 1.0, low)
    return torch.lerp(weights.expand(count, -1), raw, step.unsqueeze(-1))


@settings(deadline=None, max_examples=60)
@given(PROBLEMS)
def test_no_feasible_weights_are_better(problem):
    lengths, seed, epsilon, sharpness, bias = problem
    scores, weights, mask = distributions(lengths, seed, sharpness)
    found = exact_adversary(scores, bias, weights, mask, epsilon)
    assert (found.weights[~mask] == 0).all()
    assert (found.weights >= 0).all()
    assert torch.allclose(found.weights.sum(-1), torch.ones(len(lengths)).double(), atol=1e-12)
    change = output_change(scores, bias, weights, found.weights)
    assert torch.allclose(change, found.output_change, atol=1e-15)
    assert (change <= epsilon + TOLERANCE).all()
    assert torch.allclose(jensen_shannon(found.weights, weights), found.jsd, atol=1e-15)
    rng = np.random.default_rng(seed)
    for row, length in enumerate(lengths):
        some = mask[row]
        s, a = scores[row, some], weights[row, some]
        points = feasible_points(s, bias, a, epsilon, rng)
        assert jensen_shannon(points, a).max() <= found.jsd[row] + 1e-7
        if length == 1:
            assert found.jsd[row] == 0


@pytest.mark.parametrize("seed", range(8))
def test_equals_a_fine_grid_over_the_simplex(seed):
    scores, weights, mask = distributions([3], seed, width=3)
    epsilon, steps = 0.05, 600
    i, j = torch.meshgrid(torch.arange(steps + 1), torch.arange(steps + 1), indexing="ij")
    keep = i + j <= steps
    grid = torch.stack((i[keep], j[keep], steps - i[keep] - j[keep]), -1).double() / steps
    fits = output_change(scores, 0.3, weights, grid) <= epsilon
    best = jensen_shannon(grid, weights).masked_fill(~fits, 0.0).max()
    found = exact_adversary(scores, 0.3, weights, mask, epsilon)
    assert found.jsd.item() >= best - 1e-12
    assert found.jsd.item() == pytest.approx(best.item(), abs=0.02)


def test_without_a_limit_the_lightest_unit_gets_everything():
    scores, weights, mask = distributions([7, 2, 12], 4)
    found = exact_adversary(scores, 0.0, weights, mask, 1.0)
    lightest = weights.masked_fill(~mask, math.inf).argmin(-1)
    assert torch.equal(found.weights.argmax(-1), lightest)
    assert (found.weights.max(-1).values == 1).all()


def test_a_vertex_has_at_most_two_units_and_more_room_never_hurts():
    scores, weights, mask = distributions([9] * 30, 5)
    last = torch.zeros(30, dtype=torch.float64)
    for epsilon in (0.0, 0.01, 0.05, 0.2, 0.9):
        found = exact_adversary(scores, 0.5, weights, mask, epsilon)
        assert ((found.weights > 0).sum(-1) <= 2).all()
        assert (found.jsd >= last - 1e-9).all()
        last = found.jsd


def test_one_unit_no_unit_and_nothing_feasible_keep_the_weights():
    scores = torch.tensor([[2.0, 9.0], [2.0, 9.0], [1.0, 5.0]])
    weights = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.6, 0.4]])
    mask = torch.tensor([[True, False], [False, False], [True, True]])
    found = exact_adversary(scores, 0.0, weights, mask, 0.0)
    assert torch.allclose(found.weights, weights.double())
    assert torch.allclose(found.jsd, torch.zeros(3).double(), atol=1e-12)
    assert (found.output_change <= TOLERANCE).all()


def test_equal_scores_make_every_distribution_feasible():
    _, weights, mask = distributions([5, 8], 6)
    found = exact_adversary(torch.full(mask.shape, 1.7), 0.2, weights, mask, 0.0)
    least = weights.masked_fill(~mask, math.inf).min(-1).values
    expected = LN2 + 0.5 * (least * least.log() - (1 + least) * torch.log1p(least))
    assert torch.allclose(found.jsd, expected, atol=1e-9)


@pytest.mark.parametrize("size", [1e-12, 1e2, 1e6, 1e12])
@pytest.mark.parametrize("bias", [0.0, 40.0, -800.0])
@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 0.05])
def test_extreme_scores_stay_feasible(size, bias, epsilon):
    scores, weights, mask = distributions([6] * 40, 7)
    found = exact_adversary(size * scores, bias, weights, mask, epsilon)
    change = output_change(size * scores, bias, weights, found.weights)
    assert (change <= epsilon + TOLERANCE).all()
    assert ((found.jsd >= 0) & (found.jsd <= LN2)).all()
    assert torch.isfinite(found.weights).all()


@given(st.floats(-900, 900), st.floats(0, 1))
def test_slab_holds_the_logit_and_maps_to_the_output_change(logit, epsilon):
    low, high = slab(torch.tensor([logit], dtype=torch.float64), epsilon)
    assert low <= logit <= high
    p = 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
    for end in (low.item(), high.item()):
        if math.isfinite(end):
            moved = 1 / (1 + math.exp(-end)) if end > -700 else 0.0
            assert abs(abs(moved - p) - epsilon) <= 1e-12


def test_portions_padding_and_batch_have_no_influence(monkeypatch):
    lengths = [3, 17, 1, 9, 40, 2]
    scores, weights, mask = distributions(lengths, 8)
    whole = exact_adversary(scores, 0.1, weights, mask, 0.05)
    junk = scores.masked_fill(~mask, math.nan)
    for row in range(len(lengths)):
        some = mask[row : row + 1, mask[row]]
        alone = exact_adversary(
            junk[row : row + 1, mask[row]], 0.1, weights[row : row + 1, mask[row]], some, 0.05
        )
        assert alone.jsd.item() == pytest.approx(whole.jsd[row].item(), abs=1e-12)
        assert torch.allclose(alone.weights[0], whole.weights[row, mask[row]], atol=1e-9)
    monkeypatch.setattr(adversary_exact, "PAIRS_AT_ONCE", 1)
    small = exact_adversary(junk, torch.full((6,), 0.1), weights, mask, 0.05)
    assert torch.allclose(small.jsd, whole.jsd, atol=1e-12)


def test_a_very_long_instance():
    scores, weights, mask = distributions([5000], 9, width=5000)
    found = exact_adversary(scores, 0.0, weights, mask, 0.001)
    assert found.output_change <= 0.001 + TOLERANCE
    assert found.jsd > 0.69


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_takes_both_precisions(dtype):
    scores, weights, mask = distributions([8] * 5, 10)
    expected = exact_adversary(scores, 0.0, weights, mask, 0.05).jsd
    found = exact_adversary(
        scores.to(dtype), torch.zeros(5, dtype=dtype), weights.to(dtype), mask, 0.05
    )
    assert found.jsd.dtype == torch.float64
    assert torch.allclose(found.jsd, expected, atol=1e-5)


def test_beats_every_published_adversary_of_the_golden_run():
    from tests.golden import golden_instances

    model, instances = golden_model(), golden_instances()
    reached = []
    for part, batch in list(golden_batches(256))[::3]:
        with torch.no_grad():
            states = model.encode(batch)
            linear, weights = model.linear(states), model.attend(states)
        scores = linear.scores[..., 1] - linear.scores[..., 0]
        bias = linear.bias[..., 1] - linear.bias[..., 0]
        found = exact_adversary(scores, bias, weights, batch.units, 0.05)
        reached.append(found.jsd)
        rows = instances[part]
        for row, (candidates, probabilities, base) in enumerate(
            zip(
                rows["adversary_attention"],
                rows["adversary_probabilities"],
                rows["probability"],
                strict=True,
            )
        ):
            theirs = torch.tensor(candidates.to_list(), dtype=torch.float64)
            change = (torch.tensor(probabilities.to_list()) - base).abs()
            own = weights[row, : theirs.shape[1]].double()
            jsd = jensen_shannon(theirs, own).masked_fill(change > 0.05, 0.0)
            assert jsd.max() <= found.jsd[row] + 1e-4
    assert torch.cat(reached).mean() > 0.6


def multiclass(lengths, seed, classes, size=2.0):
    scores, weights, mask = distributions(lengths, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    scores = size * torch.randn(*mask.shape, classes, dtype=torch.float64, generator=generator)
    return scores, torch.randn(classes, dtype=torch.float64, generator=generator), weights, mask


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.integers(0, 10_000),
    st.integers(2, 5),
    st.sampled_from([0.0, 0.01, 0.05, 0.4, 1.0]),
)
def test_bounds_are_feasible_and_in_order(lengths, seed, classes, epsilon):
    scores, bias, weights, mask = multiclass(lengths, seed, classes)
    found = bounds_multiclass(scores, bias, weights, mask, epsilon)
    assert (found.lower <= found.upper).all()
    assert (found.weights >= 0).all()
    assert (found.weights[~mask] == 0).all()
    assert torch.allclose(found.weights.sum(-1), torch.ones(len(lengths)).double(), atol=1e-9)
    outputs = [
        torch.softmax(torch.einsum("bt,btc->bc", w, scores) + bias, -1)
        for w in (weights, found.weights)
    ]
    change = total_variation(*outputs)
    assert torch.allclose(change, found.output_change, atol=1e-12)
    assert (change <= epsilon + TOLERANCE).all()
    assert torch.allclose(jensen_shannon(found.weights, weights), found.lower, atol=1e-15)
    if epsilon == 1.0:
        assert torch.allclose(found.lower, found.upper, atol=1e-12)
    # Any distribution at all stays below the upper bound.
    rng = np.random.default_rng(seed)
    for row, length in enumerate(lengths):
        points = torch.from_numpy(rng.dirichlet(np.full(length, 0.1), size=50))
        own = weights[row, mask[row]]
        assert jensen_shannon(points, own).max() <= found.upper[row] + 1e-12


def test_bounds_of_two_classes_reach_the_exact_maximum():
    scores, weights, mask = distributions([2, 5, 9, 14, 20, 30] * 10, 11)
    exact = exact_adversary(scores, 0.4, weights, mask, 0.05)
    two = torch.stack((torch.zeros_like(scores), scores), -1)
    found = bounds_multiclass(two, torch.tensor([0.0, 0.4]), weights, mask, 0.05)
    assert (found.lower <= exact.jsd + 1e-6).all()
    assert (found.upper >= exact.jsd - 1e-12).all()
    missed = exact.jsd - found.lower
    assert (missed < 1e-6).double().mean() > 0.9
    assert missed.mean() < 1e-3


def test_bounds_of_three_classes_are_not_beaten_by_random_search():
    scores, bias, weights, mask = multiclass([6] * 20, 12, 3)
    found = bounds_multiclass(scores, bias, weights, mask, 0.05)
    rng = np.random.default_rng(0)
    beaten = 0
    for row in range(20):
        s, a = scores[row, mask[row]], weights[row, mask[row]]
        points = torch.from_numpy(
            np.concatenate([rng.dirichlet(np.full(6, c), size=20_000) for c in (0.05, 0.2, 1.0)])
        )
        base = torch.softmax(a @ s + bias, -1)
        fits = total_variation(torch.softmax(points @ s + bias, -1), base) <= 0.05
        best = jensen_shannon(points, a).masked_fill(~fits, 0.0).max()
        beaten += int(best > found.lower[row] + 1e-9)
    assert beaten <= 1


def test_bounds_do_not_depend_on_the_batch():
    lengths = [3, 30, 12, 1, 24, 25]
    scores, bias, weights, mask = multiclass(lengths, 13, 4)
    whole = bounds_multiclass(scores, bias, weights, mask, 0.05)
    for row in range(len(lengths)):
        some = slice(row, row + 1)
        alone = bounds_multiclass(
            scores[some, mask[row]], bias, weights[some, mask[row]], mask[some, mask[row]], 0.05
        )
        assert alone.lower.item() == pytest.approx(whole.lower[row].item(), abs=1e-6)
        assert alone.upper.item() == pytest.approx(whole.upper[row].item(), abs=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused():
    scores, weights, mask = distributions([4, 4], 0)
    for epsilon in (-0.1, 1.1, math.nan):
        with pytest.raises(SettingsError, match="epsilon is"):
            exact_adversary(scores, 0.0, weights, mask, epsilon)
        with pytest.raises(SettingsError, match="epsilon is"):
            bounds_multiclass(scores.unsqueeze(-1), torch.zeros(1), weights, mask, epsilon)
    with pytest.raises(DataError, match="weights has shape"):
        exact_adversary(scores, 0.0, weights[:, :2], mask, 0.05)
    with pytest.raises(DataError, match=r"give scores \(B, T, C\)"):
        bounds_multiclass(scores, torch.zeros(2), weights, mask, 0.05)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_instance_is_undefined_and_alone(broken):
    scores, weights, mask = distributions([5, 5, 5], 14)
    whole = exact_adversary(scores, 0.0, weights, mask, 0.05)
    scores[1, mask[1].nonzero()[0]] = broken
    found = exact_adversary(scores, 0.0, weights, mask, 0.05)
    two = torch.stack((torch.zeros_like(scores), scores), -1)
    bounds = bounds_multiclass(two, torch.zeros(2), weights, mask, 0.05)
    for value in (found.jsd, found.output_change, bounds.lower, bounds.upper, bounds.output_change):
        assert value.isnan().tolist() == [False, True, False]
    assert torch.equal(found.jsd[[0, 2]], whole.jsd[[0, 2]])
