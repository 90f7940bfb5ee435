"""Weights against key instances: scikit-learn, plain loops, and what cannot be defined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.detection import mass_on_truth
from attnaudit.measures.instances import key_type_mass, least_type_share, lift, pooled_auroc

TYPES = 3


def drawn(seed: int, bags: int = 12, longest: int = 9):
    """Weights, key types and mask of random bags; padding holds numbers that must not be read."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, longest + 1, bags)
    units = torch.from_numpy(np.arange(longest) < sizes[:, None])
    weights = torch.from_numpy(rng.dirichlet(np.ones(longest), bags))
    kinds = torch.from_numpy(rng.integers(0, TYPES + 1, (bags, longest)))
    return weights, kinds, units


@given(st.integers(0, 10_000))
def test_against_plain_loops(seed: int) -> None:
    weights, kinds, units = drawn(seed)
    mass = key_type_mass(weights, kinds, units, TYPES)
    least = least_type_share(weights, kinds, units, TYPES)
    lifts = lift(weights, kinds > 0, units)
    for row in range(len(weights)):
        real = units[row].numpy()
        w, k = weights[row].numpy()[real], kinds[row].numpy()[real]
        expected = [
            w[k == t].sum() / w.sum() if (k == t).any() else math.nan for t in range(1, TYPES + 1)
        ]
        assert mass[row].tolist() == pytest.approx(expected, nan_ok=True)
        present = [m for m in expected if not math.isnan(m)]
        share = min(present) / sum(present) if len(present) > 1 else math.nan
        assert float(least[row]) == pytest.approx(share, nan_ok=True)
        both = (k > 0).any() and (k == 0).any()
        expected_lift = w[k > 0].sum() / w.sum() / (k > 0).mean() if both else math.nan
        assert float(lifts[row]) == pytest.approx(expected_lift, nan_ok=True)


@given(st.integers(0, 10_000))
def test_types_sum_to_the_mass_on_keys(seed: int) -> None:
    weights, kinds, units = drawn(seed)
    total = key_type_mass(weights, kinds, units, TYPES).nansum(-1)
    known = mass_on_truth(weights, kinds > 0, units)
    defined = ~known.isnan()
    assert torch.allclose(total[defined], known[defined])


@given(st.integers(0, 10_000))
def test_pooled_auroc_is_that_of_scikit_learn(seed: int) -> None:
    scores, kinds, units = drawn(seed)
    scores = (scores * 8).round()  # ties
    found = pooled_auroc(scores, kinds > 1, units)
    assert found == pytest.approx(roc_auc_score((kinds > 1)[units], scores[units]))


def test_equal_weights_have_lift_one() -> None:
    _, kinds, units = drawn(3)
    found = lift(units / units.sum(-1, keepdim=True), kinds > 0, units)
    assert torch.allclose(found[~found.isnan()], torch.tensor(1.0, dtype=torch.float64))


def test_undefined_bags() -> None:
    weights = torch.tensor([[0.5, 0.5], [math.nan, 1.0], [0.0, 0.0], [-0.5, 1.5], [1.0, 0.0]])
    kinds = torch.tensor([[1, 1], [1, 2], [1, 2], [1, 2], [1, 2]])
    units = torch.ones_like(kinds, dtype=torch.bool)
    mass = key_type_mass(weights, kinds, units, 2)
    assert mass.isnan().tolist() == [[False, True], [True] * 2, [True] * 2, [True] * 2, [False] * 2]
    least = least_type_share(weights, kinds, units, 2)
    assert least.isnan().tolist() == [True, True, True, True, False]
    assert float(least[4]) == 0.0
    assert lift(weights, kinds > 0, units).isnan().all()  # all instances are keys


def test_weight_on_no_key_has_no_least_share() -> None:
    weights, kinds = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1, 2, 0]])
    assert least_type_share(weights, kinds, torch.ones(1, 3) > 0, 2).isnan().all()


def test_pooled_auroc_without_bags_or_with_one_kind() -> None:
    nothing = torch.zeros(0, 3)
    assert math.isnan(pooled_auroc(nothing, nothing > 0, nothing > 0))
    scores = torch.tensor([[0.1, 0.9], [math.nan, 1.0]])
    truth = torch.tensor([[False, True], [True, False]])
    assert pooled_auroc(scores, truth, torch.ones(2, 2) > 0) == 1.0
    assert math.isnan(pooled_auroc(scores, torch.ones(2, 2) > 0, torch.ones(2, 2) > 0))


@pytest.mark.usefixtures("unchecked")
def test_bad_input() -> None:
    weights, kinds, units = drawn(0)
    with pytest.raises(DataError, match="key types run from 0 to 3"):
        key_type_mass(weights, kinds, torch.ones_like(units), 2)
    with pytest.raises(SettingsError, match="1 key type or more"):
        key_type_mass(weights, kinds, units, 0)
    with pytest.raises(DataError, match="shape"):
        key_type_mass(weights[:, :2], kinds, units, TYPES)
    with pytest.raises(DataError, match="bool"):
        pooled_auroc(weights, kinds, units)
