"""Scores equal but for rounding are tied; all others keep their order and their values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnaudit.errors import DataError
from attnaudit.measures.rank import kendall_tau, spearman
from attnaudit.measures.ties import ROUNDING, settled

EVERY = torch.ones(1, 5, dtype=torch.bool)


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=5), st.integers(0, 99))
def test_rounding_changes_no_rank(values: list[float], seed: int) -> None:
    # the grid keeps distinct scores far apart; the noise is that of float32 sums
    exact = (torch.tensor([values], dtype=torch.float64) * 50).round() / 50
    noise = torch.rand(1, 5, generator=torch.Generator().manual_seed(seed)).double() * 2e-7
    size = exact.abs().max()
    one, other = settled(exact + noise * size, EVERY), settled(exact - noise * size, EVERY)
    for measure in (
        lambda x, y: kendall_tau(x, y, EVERY).value,
        lambda x, y: spearman(x, y, EVERY),
    ):
        rival = torch.arange(5.0).double().unsqueeze(0)
        torch.testing.assert_close(measure(one, rival), measure(other, rival), equal_nan=True)
        torch.testing.assert_close(measure(one, rival), measure(exact, rival), equal_nan=True)


def test_a_grid_has_edges_and_runs_have_none() -> None:
    # 1.5 tolerances from a grid of that width, on either side of a line
    close = torch.tensor([[1.0, 0.500005 - 1e-7, 0.500005 + 1e-7, 0.2, 0.1]], dtype=torch.float64)
    found = settled(close, EVERY)
    assert found[0, 1] == found[0, 2]
    assert found[0, [0, 3, 4]].tolist() == close[0, [0, 3, 4]].tolist()


def test_small_weights_are_as_exact_as_large_ones() -> None:
    weights = torch.tensor([[1 - 6e-7, 3e-7, 2e-7, 1e-7, 1e-7 * (1 + 1e-7)]], dtype=torch.float64)
    own = settled(weights, EVERY, "own")
    assert len(own.unique()) == 4
    assert len(settled(weights, EVERY).unique()) == 2


def test_dense_scores_do_not_run_into_one() -> None:
    dense = torch.linspace(0, 1, 300_001, dtype=torch.float64).unsqueeze(0)
    assert ROUNDING > 1 / 300_000
    mask = torch.ones_like(dense, dtype=torch.bool)
    assert torch.equal(settled(dense, mask), dense)


@pytest.mark.usefixtures("unchecked")
def test_padding_and_broken_rows_stay_as_they_are() -> None:
    scores = torch.tensor([[0.3, 0.3 + 1e-8, 7.0], [float("nan"), 1.0, 1.0 + 1e-7]]).double()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    found = settled(scores, mask)
    assert found[0, 0] == found[0, 1]
    assert found[0, 2] == 7.0
    assert torch.equal(found[1, 1:], scores[1, 1:])
    with pytest.raises(DataError, match="bool"):
        settled(scores, mask.long())
    assert settled(scores[:, :0], mask[:, :0]).shape == (2, 0)
