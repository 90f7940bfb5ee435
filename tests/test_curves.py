import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.curves import area_over_fractions, removal_order, selected
from tests.ragged import ragged

SCORES = st.one_of(
    st.integers(-2, 2).map(float), st.floats(-9, 9), st.sampled_from([math.inf, -math.inf])
)
ROWS = st.lists(st.lists(SCORES, max_size=12), min_size=1, max_size=4)


@given(ROWS, st.integers(0, 5))
def test_order_is_a_stable_sort_of_the_units(rows, seed):
    scores, mask = ragged(rows, seed=seed)
    ranks = removal_order(scores, mask)
    for index, row in enumerate(rows):
        expected = sorted(range(len(row)), key=lambda i, r=row: (-r[i], i))
        assert ranks[index][mask[index]].argsort().tolist() == expected
    assert (ranks[~mask] == mask.shape[1]).all()


@given(ROWS, st.floats(0.01, 1.0))
def test_selected_are_the_first_units_and_grow_with_the_fraction(rows, fraction):
    scores, mask = ragged(rows, seed=1)
    ranks = removal_order(scores, mask)
    some, more = selected(ranks, fraction, mask), selected(ranks, min(1.0, fraction * 1.5), mask)
    assert not (some & ~more).any()
    assert not (more & ~mask).any()
    assert torch.equal(selected(ranks, 1.0, mask), mask)
    for index, row in enumerate(rows):
        wanted = min(len(row), max(1, math.ceil(fraction * len(row) - 1e-9)))
        assert some[index].sum() == wanted
        if row:
            first = scores[index][some[index]]
            rest = scores[index][mask[index] & ~some[index]]
            assert not len(rest) or first.min() >= rest.max()


@pytest.mark.parametrize(
    ("n", "fraction", "count"),
    [
        (30, 0.1, 3),
        (10, 0.7, 7),
        (100, 0.07, 7),
        (4, 0.01, 1),
        (19, 0.5, 10),
        (1, 0.2, 1),
    ],
)
def test_exact_products_take_no_unit_more(n, fraction, count):
    mask = torch.ones(1, n, dtype=torch.bool)
    assert selected(torch.arange(n).unsqueeze(0), fraction, mask).sum() == count


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_area_is_the_mean_over_fractions(curves):
    found = area_over_fractions(torch.tensor(curves, dtype=torch.float64), (0.1, 0.2, 0.5))
    assert found.tolist() == pytest.approx([sum(c) / 3 for c in curves], abs=1e-12)


def test_an_undefined_point_makes_the_area_undefined():
    values = torch.tensor([[0.5, math.nan], [0.5, 0.25]])
    assert area_over_fractions(values, (0.1, 0.5)).isnan().tolist() == [True, False]


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused():
    scores, mask = torch.tensor([[0.0, 1.0], [math.nan, 1.0]]), torch.ones(2, 2, dtype=torch.bool)
    with pytest.raises(DataError, match="instance 1 of the batch"):
        removal_order(scores, mask)
    assert removal_order(scores, mask & ~scores.isnan()).tolist() == [[1, 0], [2, 0]]
    with pytest.raises(DataError, match="ranks has shape"):
        selected(torch.zeros(2, 3), 0.5, mask)
    for fraction in (0, -0.1, 1.01, math.nan):
        with pytest.raises(SettingsError, match="share of the units"):
            selected(torch.zeros(2, 2), fraction, mask)
    with pytest.raises(DataError, match=r"\(2, 2\), but there are 3 fractions"):
        area_over_fractions(scores, (0.1, 0.2, 0.3))
    with pytest.raises(DataError, match="at least one"):
        area_over_fractions(torch.zeros(2, 0), ())
