"""The attained share: 0 for random orders, 1 at best, blind to what does nothing."""

from __future__ import annotations

from itertools import permutations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from attnaudit.measures.attained import attained_share

SIZES = st.floats(0, 10, width=32)


def share(weights: list[float], effects: list[float]) -> float:
    units = torch.ones(1, len(weights), dtype=torch.bool)
    value = attained_share(torch.tensor([weights]), torch.tensor([effects]), units)
    return float(value)


@given(st.lists(st.tuples(SIZES, SIZES), min_size=2, max_size=6))
def test_random_orders_give_0_on_average_and_the_best_gives_1(pairs):
    total = sum(w for w, _ in pairs)
    weights = [w / total for w, _ in pairs] if total else [0.0] * len(pairs)
    effects = [e for _, e in pairs]
    values = [
        share([weights[i] for i in order], effects) for order in permutations(range(len(pairs)))
    ]
    if any(v != v for v in values):
        assert all(v != v for v in values)
        assert max(weights) - min(weights) < 1e-3 or max(effects) - min(effects) < 1e-3
        return
    assert sum(values) / len(values) == pytest.approx(0.0, abs=1e-3 + 1e-4 * max(map(abs, values)))
    assert max(values) == pytest.approx(1.0, abs=1e-6)


@given(
    st.lists(st.tuples(SIZES, SIZES), min_size=2, max_size=8), st.floats(0.1, 10), st.floats(0, 5)
)
def test_the_scale_and_the_zero_of_effects_do_not_matter(pairs, scale, zero):
    weights, effects = [w for w, _ in pairs], [e for _, e in pairs]
    if max(weights) - min(weights) < 1e-2 or max(effects) - min(effects) < 1e-2:
        return
    total = sum(weights)
    weights = [w / total for w in weights]
    value = share(weights, effects)
    assert share(weights, [scale * e + zero for e in effects]) == pytest.approx(value, abs=1e-2)


def test_padding_has_no_part_in_it():
    weights = torch.tensor([[0.6, 0.3, 0.1, 0.0], [0.0, 0.6, 0.3, 0.1]])
    effects = torch.tensor([[1.0, 3.0, 0.5, 9.0], [-9.0, 1.0, 3.0, 0.5]])
    units = torch.tensor([[True, True, True, False], [False, True, True, True]])
    first, second = attained_share(weights, effects, units).tolist()
    assert first == pytest.approx(second)
    assert first == pytest.approx(share([0.6, 0.3, 0.1], [1.0, 3.0, 0.5]))


def test_negative_effects_are_effects_like_others():
    assert share([0.8, 0.1, 0.1], [0.0, -1.0, -1.0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("weights", "effects"),
    [
        ([0.5, 0.5], [1.0, 0.0]),
        ([0.9, 0.1], [1.0, 1.0]),
        ([1.0], [1.0]),
        ([0.9, 0.1], [1.0, torch.nan]),
    ],
)
def test_where_nothing_is_ordered_nothing_is_said(weights, effects):
    assert share(weights, effects) != share(weights, effects)
