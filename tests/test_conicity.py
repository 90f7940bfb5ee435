"""Conicity: against loops over single states, closed forms and draws of random states."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.conicity import conicity, random_conicity


def by_hand(states):
    """One instance, one state at a time."""
    states = [np.asarray(s, dtype=float) for s in states]
    mean = sum(states) / len(states)
    cosines = [
        abs(float(s @ mean)) / (np.linalg.norm(s) * np.linalg.norm(mean))
        for s in states
        if np.linalg.norm(s) > 0
    ]
    return sum(cosines) / len(cosines)


@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=4),
    width=st.integers(1, 7),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_against_a_loop(lengths, width, seed):
    """Units scattered among NaN, some of their states 0."""
    rng = np.random.default_rng(seed)
    longest = max(lengths) + 3
    hidden = torch.full((len(lengths), longest, width), torch.nan, dtype=torch.float64)
    units = torch.zeros(len(lengths), longest, dtype=torch.bool)
    expected = []
    for row, length in enumerate(lengths):
        places = np.sort(rng.choice(longest, length, replace=False))
        states = rng.standard_normal((length, width)) * 10.0 ** rng.integers(-3, 4)
        if length > 2:
            states[rng.integers(length)] = 0.0
        hidden[row, places], units[row, places] = torch.from_numpy(states), True
        expected.append(by_hand(states))
    found = conicity(hidden, units)
    assert found.tolist() == pytest.approx(expected, abs=1e-9)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize(
    ("states", "value"),
    [
        ([[1, 0], [5, 0], [0.1, 0]], 1.0),
        ([[1, 0], [0, 1]], math.sqrt(0.5)),
        ([[3, 0], [-1, 0]], 1.0),  # the sign of the cosine does not count
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 1 / math.sqrt(3)),
    ],
)
def test_closed_forms(states, value):
    hidden = torch.tensor([states], dtype=torch.float64)
    found = conicity(hidden, torch.ones(hidden.shape[:2]).bool())
    assert found.item() == pytest.approx(value, abs=1e-12)


def test_scale_and_rotation_of_all_states_change_nothing():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 8, 5, dtype=torch.float64, generator=generator)
    units = torch.ones(3, 8).bool()
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=generator))[0]
    reference = conicity(hidden, units)
    for other in (hidden * 1e-200, hidden * 1e200, hidden @ turn):
        torch.testing.assert_close(conicity(other, units), reference)
    # scaling one state moves the mean, and so does count
    scaled = hidden.clone()
    scaled[:, 0] *= 100
    assert (conicity(scaled, units) - reference).abs().min() > 1e-3


def test_what_has_no_direction_is_undefined_and_has_no_gradient():
    hidden = torch.tensor(
        [
            [[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]],  # one state with a direction
            [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
            [[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]],  # they cancel
            [[1.0, 2.0], [3.0, 1.0], [0.0, 0.0]],
        ],
        requires_grad=True,
    )
    units = torch.tensor([[True, True, False], [True] * 3, [True] * 3, [True] * 3])
    found = conicity(hidden, units)
    assert found.isnan().tolist() == [True, True, True, False]
    found[3].backward(retain_graph=True)
    torch.nan_to_num(found).sum().backward()
    assert torch.isfinite(hidden.grad).all()
    assert (hidden.grad[:3] == 0).all()
    assert (hidden.grad[3, :2] != 0).any()
    assert conicity(torch.zeros(0, 3, 2), torch.zeros(0, 3).bool()).shape == (0,)
    assert conicity(torch.ones(2, 0, 2), torch.zeros(2, 0).bool()).isnan().all()


def test_gradients_against_differences():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    units = torch.tensor([[True] * 5, [True, False, True, True, False]])
    assert torch.autograd.gradcheck(lambda h: conicity(h, units), (hidden,))


@pytest.mark.parametrize(("length", "width"), [(2, 2), (3, 5), (7, 16), (20, 128), (50, 3)])
def test_random_conicity_against_draws(length, width):
    generator = torch.Generator().manual_seed(length * width)
    states = torch.randn(20_000 // length, length, width, generator=generator, dtype=torch.float64)
    drawn = conicity(states, torch.ones(states.shape[:2]).bool())
    error = float(drawn.std()) / math.sqrt(len(drawn))
    expected = random_conicity(torch.tensor([length]), width).item()
    assert abs(float(drawn.mean()) - expected) < 4 * error
    assert error < 0.01


def test_random_conicity_at_its_ends():
    assert random_conicity(torch.tensor([0, 1]), 8).isnan().all()
    assert random_conicity(torch.tensor([2, 9]), 1).tolist() == [1.0, 1.0]
    many = random_conicity(torch.tensor([10**8]), 512).item()
    assert many == pytest.approx(math.sqrt(2 / (math.pi * 512)), rel=1e-3)
    # two directions at a right angle, as all pairs are in many dimensions
    assert random_conicity(torch.tensor([2]), 4096).item() == pytest.approx(0.5**0.5, abs=1e-3)
    by_length = random_conicity(torch.arange(2, 60), 64)
    assert (by_length.diff() < 0).all()


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused():
    with pytest.raises(DataError, match="units"):
        conicity(torch.zeros(2, 3, 4), torch.zeros(2, 4).bool())
    with pytest.raises(DataError, match="bool"):
        conicity(torch.zeros(2, 3, 4), torch.zeros(2, 3))
    with pytest.raises(SettingsError, match="width"):
        random_conicity(torch.tensor([3]), 0)
