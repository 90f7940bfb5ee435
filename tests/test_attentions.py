"""Attention scorers against their formulas, and the masked softmax against SciPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import softmax

from attnaudit.nets.text.attentions import (
    ATTENTIONS,
    LEARNED,
    POSITIONS,
    REMOVED,
    AdditiveAttention,
    DotAttention,
    Sizes,
    masked_softmax,
)

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
    module = AdditiveAttention(Sizes(6))
    hidden = torch.randn(2, 5, 6)
    W, b, v = module.projection.weight, module.projection.bias, module.vector.weight
    assert (W.shape, b.shape, v.shape) == ((3, 6), (3,), (1, 3))
    assert module.vector.bias is None
    with torch.no_grad():
        expected = [[(v[0] @ torch.tanh(W @ h + b)).item() for h in text] for text in hidden]
        torch.testing.assert_close(module(hidden, hidden[..., 0] > 9, {}), torch.tensor(expected))


def test_dot_formula():
    torch.manual_seed(0)
    module = DotAttention(Sizes(6))
    hidden = torch.randn(2, 5, 6)
    assert module.query.bias is None
    with torch.no_grad():
        query = module.query.weight[0]
        expected = [[(query @ h).item() / math.sqrt(6) for h in text] for text in hidden]
        torch.testing.assert_close(module(hidden, hidden[..., 0] > 9, {}), torch.tensor(expected))


@pytest.mark.parametrize("name", LEARNED)
def test_the_quick_scorer_differs_by_a_constant_only(name):
    torch.manual_seed(0)
    module = ATTENTIONS[name](Sizes(8)).double()
    for parameter in module.parameters():
        parameter.data.mul_(4)
    hidden = 3 * torch.randn(1, 50, 8, dtype=torch.float64)
    with torch.no_grad():
        scorer = module.scorer()
        energies = module(hidden, torch.ones(1, 50, dtype=torch.bool), {})[0]
        gap = scorer(hidden[0] @ scorer.weight.T + scorer.bias) - energies
    assert energies.std() > 0.1
    torch.testing.assert_close(gap, gap[:1].expand(50))


def question_case(name, width=6):
    torch.manual_seed(1)
    module = ATTENTIONS[name](Sizes(width, 4, 20, question=True)).double()
    hidden = torch.randn(3, 5, width, dtype=torch.float64)
    query = torch.randn(3, width, dtype=torch.float64)
    return module, hidden, query, torch.ones(3, 5, dtype=torch.bool)


def test_additive_with_a_question():
    module, hidden, query, units = question_case("additive")
    W, b, v, U = (
        module.projection.weight,
        module.projection.bias,
        module.vector.weight[0],
        module.asked.weight,
    )
    with torch.no_grad():
        energies = module(hidden, units, {"query": query})
        for row in range(3):
            for t in range(5):
                by_hand = v @ torch.tanh(W @ hidden[row, t] + b + U @ query[row])
                torch.testing.assert_close(energies[row, t], by_hand)
    assert module.scorer() is None


def test_dot_with_a_question_has_no_parameters():
    module, hidden, query, units = question_case("dot")
    assert not list(module.parameters())
    energies = module(hidden, units, {"query": query})
    torch.testing.assert_close(energies[1, 2], hidden[1, 2] @ query[1] / math.sqrt(6))


UNITS = torch.tensor([[False, True, True, True, False], [False, False, True, False, True]])


def control(name):
    torch.manual_seed(0)
    return ATTENTIONS[name](Sizes(6, 4, 20))


def test_uniform_weights_are_one_over_n():
    weights = control("uniform").weights(torch.randn(2, 5, 6), UNITS, {})
    torch.testing.assert_close(weights, UNITS / UNITS.sum(1, keepdim=True))


@pytest.mark.parametrize("name", ["random", "position"])
def test_scores_by_position_follow_the_units(name):
    module = control(name)
    if name == "position":
        module.scores.data.normal_()
    weights = module.weights(torch.randn(2, 5, 6), UNITS, {})
    expected = [torch.softmax(module.scores[:n], 0) for n in (3, 2)]
    for row in range(2):
        torch.testing.assert_close(weights[row][UNITS[row]], expected[row])
    long = torch.ones(1, POSITIONS + 3, dtype=torch.bool)
    assert torch.isfinite(module.weights(torch.zeros(1, POSITIONS + 3, 6), long, {})).all()


def test_random_scores_are_not_trained():
    assert not list(control("random").parameters())
    assert not list(control("word").parameters())


def test_own_token_sees_the_vector_alone():
    module = control("own_token")
    embedded = torch.randn(2, 5, 4)
    one = module.weights(torch.randn(2, 5, 6), UNITS, {"embedded": embedded})
    two = module.weights(torch.randn(2, 5, 6), UNITS, {"embedded": embedded})
    assert torch.equal(one, two)
    embedded[0, 2] += 1
    assert not torch.equal(
        one[0], module.weights(torch.randn(2, 5, 6), UNITS, {"embedded": embedded})[0]
    )


def test_word_scores_and_words_without_any():
    module = control("word")
    module.scores.copy_(torch.arange(20.0))
    module.scores[[5, 6]] = REMOVED
    ids = torch.tensor([[0, 5, 9, 8, 0], [0, 0, 5, 0, 6]])
    weights = module.weights(torch.randn(2, 5, 6), UNITS, {"ids": ids})
    torch.testing.assert_close(weights[0, 1:4], torch.tensor([0.0, *softmax([9.0, 8.0])]).float())
    # all words are removed ones: equal weights rather than NaN
    assert weights[1].tolist() == [0, 0, 0.5, 0, 0.5]


def test_given_weights_are_taken_as_they_are():
    given_weights = torch.tensor([[0.0, 0.25, 0.75, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]])
    weights = control("given").weights(torch.randn(2, 5, 6), UNITS, {"given": given_weights})
    assert torch.equal(weights, given_weights)
