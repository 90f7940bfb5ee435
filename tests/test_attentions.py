"""Attention scorers against their formulas, and the masked softmax against SciPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import softmax

from attnaudit.nets.attentions import ATTENTIONS, AdditiveAttention, DotAttention, masked_softmax

energies = arrays.arrays(np.float64, (4, 6), elements=st.floats(-1e6, 1e6))
masks = arrays.arrays(np.bool_, (4, 6))


@given(energies, masks)
def test_masked_softmax_against_scipy(values, mask):
    weights = masked_softmax(torch.from_numpy(values), torch.from_numpy(mask)).numpy()
    assert (weights[~mask] == 0).all()
    for row in range(4):
        if mask[row].any():
            expected = softmax(values[row][mask[row]])
            np.testing.assert_allclose(weights[row][mask[row]], expected, atol=1e-12)
        else:
            assert (weights[row] == 0).all()


@given(energies, masks)
@settings(max_examples=30)
def test_gradients_are_finite_and_zero_off_the_units(values, mask):
    leaf = torch.from_numpy(values).requires_grad_()
    weights = masked_softmax(leaf, torch.from_numpy(mask))
    (weights * torch.arange(6.0)).sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad.numpy()[~mask] == 0).all()


def test_masked_softmax_of_float32_extremes():
    values = torch.tensor([[3e38, -3e38, 0.0]])
    weights = masked_softmax(values, torch.tensor([[False, True, True]]))
    assert weights.tolist() == [[0.0, 0.0, 1.0]]


def test_additive_formula():
    torch.manual_seed(0)
    module = AdditiveAttention(6)
    hidden = torch.randn(2, 5, 6)
    W, b, v = module.projection.weight, module.projection.bias, module.vector.weight
    assert (W.shape, b.shape, v.shape) == ((3, 6), (3,), (1, 3))
    assert module.vector.bias is None
    with torch.no_grad():
        expected = [[(v[0] @ torch.tanh(W @ h + b)).item() for h in text] for text in hidden]
        torch.testing.assert_close(module(hidden), torch.tensor(expected))


def test_dot_formula():
    torch.manual_seed(0)
    module = DotAttention(6)
    hidden = torch.randn(2, 5, 6)
    assert module.query.bias is None
    with torch.no_grad():
        query = module.query.weight[0]
        expected = [[(query @ h).item() / math.sqrt(6) for h in text] for text in hidden]
        torch.testing.assert_close(module(hidden), torch.tensor(expected))


@pytest.mark.parametrize("name", ATTENTIONS)
def test_the_quick_scorer_differs_by_a_constant_only(name):
    torch.manual_seed(0)
    module = ATTENTIONS[name](8).double()
    for parameter in module.parameters():
        parameter.data.mul_(4)
    hidden = 3 * torch.randn(50, 8, dtype=torch.float64)
    with torch.no_grad():
        scorer = module.scorer()
        quick = scorer(hidden @ scorer.weight.T + scorer.bias)
        gap = quick - module(hidden)
    assert module(hidden).std() > 0.1
    torch.testing.assert_close(gap, gap[:1].expand(50))
