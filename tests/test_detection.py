import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from attnaudit.errors import DataError
from attnaudit.measures.detection import (
    auroc,
    average_precision,
    coverage,
    mass_on_truth,
    roc_auc,
    token_f1,
    top_one_hit,
)
from tests.ragged import ragged

RANKING = (auroc, average_precision, token_f1, top_one_hit)
EVERY = (*RANKING, mass_on_truth, coverage)
SCORES = st.one_of(st.integers(0, 3).map(float), st.floats(0, 100, width=32))
ROWS = st.lists(st.lists(st.tuples(SCORES, st.booleans()), max_size=12), min_size=1, max_size=5)


def batch(rows, dtype=torch.float64, seed=0):
    scores, mask = ragged([[s for s, _ in row] for row in rows], dtype, seed)
    truth = torch.rand(mask.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    for index, row in enumerate(rows):
        truth[index, mask[index]] = torch.tensor([t for _, t in row], dtype=torch.bool)
    return scores, truth, mask


def expected_f1(scores, truth):
    """The mean F1 over all orders of the units with equal scores."""
    size = sum(truth)
    boundary = sorted(scores, reverse=True)[size - 1]
    above = [i for i, s in enumerate(scores) if s > boundary]
    tied = [i for i, s in enumerate(scores) if s == boundary]
    hits = [
        sum(truth[i] for i in (*above, *some))
        for some in itertools.combinations(tied, size - len(above))
    ]
    return np.mean(hits) / size


@given(ROWS, st.sampled_from([torch.float32, torch.float64]), st.integers(0, 5))
def test_every_instance_equals_its_reference(rows, dtype, seed):
    scores, truth, mask = batch(rows, dtype, seed)
    found = {measure: measure(scores, truth, mask) for measure in EVERY}
    for index, row in enumerate(rows):
        s, t = [v for v, _ in row], [flag for _, flag in row]
        if len(set(t)) < 2:
            assert all(value[index].isnan() for value in found.values())
            continue
        best = max(s)
        total = sum(s)
        expected = {
            auroc: roc_auc_score(t, s),
            average_precision: average_precision_score(t, s),
            token_f1: expected_f1(s, t),
            top_one_hit: np.mean([flag for v, flag in row if v == best]),
            mass_on_truth: sum(v for v, flag in row if flag) / total if total else math.nan,
        }
        for measure, value in expected.items():
            assert found[measure][index].item() == pytest.approx(value, abs=1e-12, nan_ok=True)


@given(ROWS)
def test_ranking_measures_see_only_the_order_and_the_mask(rows):
    scores, truth, mask = batch(rows)
    plain, flags, whole = batch(rows, seed=None)
    order = torch.randperm(mask.shape[1], generator=torch.Generator().manual_seed(2))
    for measure in RANKING:
        value = measure(scores, truth, mask).nan_to_num(9.0)
        moved = measure(scores[:, order], truth[:, order], mask[:, order]).nan_to_num(9.0)
        assert torch.allclose(value, moved, atol=1e-12)
        shifted = measure(4 * plain, flags, whole).nan_to_num(9.0)
        assert torch.allclose(value, shifted, atol=1e-12)
    opposite = auroc(-plain, flags, whole).nan_to_num(9.0)
    both = auroc(plain, flags, whole).nan_to_num(-8.0) + opposite
    assert torch.allclose(both, torch.ones_like(both))


def test_the_truth_itself_finds_the_truth_and_chance_is_chance():
    truth = torch.tensor([[True, False, False, True, False]])
    mask = torch.ones(1, 5, dtype=torch.bool)
    for measure in EVERY:
        assert measure(truth.float(), truth, mask).item() == 1.0
    flat = torch.full((1, 5), 0.2)
    chance = {m: m(flat, truth, mask).item() for m in EVERY}
    assert chance[auroc] == 0.5
    assert chance[coverage] == 0.0
    for measure in (average_precision, token_f1, top_one_hit, mass_on_truth):
        assert chance[measure] == pytest.approx(0.4)


def test_coverage_sees_weights_that_collapse_on_one_key():
    truth = torch.tensor([[True, True, True, False, False]])
    mask = torch.ones(1, 5, dtype=torch.bool)
    collapsed = torch.tensor([[0.96, 0.01, 0.01, 0.01, 0.01]])
    assert top_one_hit(collapsed, truth, mask).item() == 1.0
    assert coverage(collapsed, truth, mask).item() == pytest.approx(1 / 3)


def test_values_that_cannot_be_ranked_are_undefined():
    truth, mask = torch.tensor([[True, False]]).expand(3, 2), torch.ones(3, 2, dtype=torch.bool)
    scores = torch.tensor([[math.nan, 1.0], [math.inf, 1.0], [0.5, 0.5]])
    for measure in EVERY:
        assert measure(scores, truth, mask).isnan().tolist() == [True, True, False]
    weights = torch.tensor([[-0.5, 1.5], [0.0, 0.0], [0.25, 0.75]])
    assert mass_on_truth(weights, truth, mask).isnan().tolist() == [True, True, False]


def test_no_instances_and_no_units():
    for shape in ((0, 3), (2, 0)):
        nothing = torch.zeros(shape)
        for measure in EVERY:
            value = measure(nothing, nothing.bool(), nothing.bool())
            assert value.shape == shape[:1]
            assert value.isnan().all()


@given(st.lists(st.tuples(st.integers(0, 1), SCORES), min_size=1, max_size=30))
def test_auc_of_one_sample_equals_sklearn(pairs):
    labels, scores = (np.array(values) for values in zip(*pairs, strict=True))
    if len(set(labels)) < 2:
        assert math.isnan(roc_auc(labels, scores))
    else:
        assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused():
    scores, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(DataError, match="truth must be a bool tensor"):
        auroc(scores, scores, mask)
    with pytest.raises(DataError, match=r"truth has shape \(2, 2\)"):
        token_f1(scores, mask[:, :2], mask)
    with pytest.raises(DataError, match="labels have shape"):
        roc_auc([0, 1], [0.5])
