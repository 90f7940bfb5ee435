"""Parity with the reference implementation on all 1,725 sentences."""

import numpy as np
import pytest
import torch

from tests.golden import golden_batches, golden_instances, golden_model

ERROR = 1e-5


@pytest.fixture(scope="module")
def results():
    """Per sentence: probability, weights and leave-one-out probabilities, over stored positions."""
    model, found = golden_model(), []
    with torch.inference_mode():
        for _, batch in golden_batches():
            states = model.encode(batch)
            weights = model.attend(states)
            outputs = model.decode(states, weights).exp()[:, 1].tolist()
            deleted = model.leave_one_out(batch, states).exp()[..., 1].numpy()
            for row, length in enumerate(batch.present.sum(1).tolist()):
                found.append((outputs[row], weights[row, :length].numpy(), deleted[row, :length]))
    return found


def test_all_sentences_are_there(results):
    assert len(results) == len(golden_instances()) == 1725


def test_probabilities(results):
    expected = golden_instances()["probability"].to_numpy()
    np.testing.assert_allclose([p for p, _, _ in results], expected, atol=ERROR, rtol=0)


def test_attention(results):
    for (_, weights, _), expected in zip(results, golden_instances()["attention"], strict=True):
        np.testing.assert_allclose(weights, expected.to_numpy(), atol=ERROR, rtol=0)
        assert weights[0] == weights[-1] == 0


def test_leave_one_out(results):
    expected = golden_instances()["leave_one_out_probability"]
    for (_, _, deleted), row in zip(results, expected, strict=True):
        np.testing.assert_allclose(deleted[1:-1], row.to_numpy()[1:-1], atol=ERROR, rtol=0)
        assert np.isnan(deleted[[0, -1]]).all()


def test_gradient():
    """|e · dp/de| with the weights held fixed, over its sum."""
    model = golden_model()
    expected = golden_instances()["gradient"].to_list()
    for part, batch in golden_batches(64):
        embedded = model.embed(batch).requires_grad_()
        states = model.encode_embedded(batch, embedded)
        outputs = model.decode(states, model.attend(states).detach())
        (slope,) = torch.autograd.grad(outputs[:, 1].exp().sum(), embedded)
        scores = (embedded * slope).sum(-1).abs().detach()
        scores = (scores / scores.sum(1, keepdim=True)).numpy()
        for row, reference in enumerate(expected[part]):
            found = scores[row, : len(reference)]
            np.testing.assert_allclose(found, reference, atol=ERROR, rtol=0)
