"""The orthogonal LSTM: against one text, one direction and one step at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attnaudit.nets.text.encoders import ENCODERS, OrthogonalLSTMEncoder
from attnaudit.nets.text.orthogonal import EPSILON

DIM = 5


def encoder(hidden=4, seed=0):
    torch.manual_seed(seed)
    model = OrthogonalLSTMEncoder(DIM, hidden).double()
    for parameter in model.parameters():  # larger, so that the gates are not all about ½
        parameter.data *= 3
    return model


def texts(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embedded = torch.randn(len(lengths), max(lengths), DIM, generator=generator).double()
    position, length = torch.arange(max(lengths)), torch.tensor(lengths).unsqueeze(1)
    return embedded, position < length, (position > 0) & (position < length - 1)


def by_hand(lstm, inputs):
    """The definition of the paper, with PyTorch's own cell."""
    cell = nn.LSTMCell(lstm.input_size, lstm.hidden_size).double()
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in lstm.state_dict().items()})
    state = memory = torch.zeros(1, lstm.hidden_size).double()
    states = []
    for step, row in enumerate(inputs):
        state, memory = cell(row.unsqueeze(0), (state, memory))
        mean = sum(states, torch.zeros_like(state)) / (step + 1)
        state = state - (state @ mean.T) / (mean @ mean.T + EPSILON) * mean
        states.append(state)
    return torch.cat(states)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    hidden=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_against_a_step_at_a_time(lengths, hidden, seed):
    model = encoder(hidden, seed)
    embedded, present, units = texts(lengths, seed)
    embedded[~present] = torch.nan
    found = model(embedded, present, units)
    for row, length in enumerate(lengths):
        text = embedded[row, :length]
        backwards = by_hand(model.backwards, text.flip(0)).flip(0)
        expected = torch.cat([by_hand(model.forwards, text), backwards], dim=-1)
        torch.testing.assert_close(found[row, :length], expected)
        assert (found[row, length:] == 0).all()


def test_states_are_orthogonal_to_the_mean_of_earlier_ones():
    model = encoder(hidden=8)
    embedded, present, units = texts([20])
    states = model(embedded, present, units)[0]
    plain = ENCODERS["bilstm"](DIM, 8).double()
    plain.load_state_dict(model.state_dict())
    parallel = plain(embedded, present, units)[0]
    for step in range(1, 20):
        for half, earlier, here in (
            (slice(8), slice(step), step),
            (slice(8, None), slice(20 - step, None), 19 - step),
        ):
            cosines = [
                torch.cosine_similarity(found[here, half], found[earlier, half].mean(0), dim=0)
                for found in (states, parallel)
            ]
            assert abs(cosines[0]) < 1e-3 < abs(cosines[1])


def test_gradients_against_differences():
    model = encoder(hidden=2)
    embedded, present, units = texts([4, 3])
    embedded.requires_grad_()
    inputs = (embedded, *model.parameters())
    assert torch.autograd.gradcheck(lambda *given: model(embedded, present, units), inputs)


def test_forward_mode_agrees_with_backward_mode():
    """Attributions differentiate forwards where units are few."""
    model = encoder()
    embedded, present, units = texts([5])
    direction = torch.randn_like(embedded)

    def score(vectors):
        return model(vectors, present, units).sum()

    _, forwards = torch.func.jvp(score, (embedded,), (direction,))
    backwards = (torch.func.grad(score)(embedded) * direction).sum()
    torch.testing.assert_close(forwards, backwards)


def test_parameters_are_those_of_the_bilstm():
    """A checkpoint fits both, and so does what is known of the one's initial values."""
    ours, theirs = ENCODERS["orthogonal"](DIM, 4), ENCODERS["bilstm"](DIM, 4)
    assert {n: p.shape for n, p in ours.named_parameters()} == {
        n: p.shape for n, p in theirs.named_parameters()
    }
    assert ours.width == theirs.width == 8


@pytest.mark.parametrize("length", [400])
def test_long_texts_stay_finite(length):
    model = encoder(hidden=3)
    embedded, present, units = texts([length])
    embedded.requires_grad_()
    hidden = model(embedded, present, units)
    hidden.square().sum().backward()
    assert torch.isfinite(hidden).all()
    assert torch.isfinite(embedded.grad).all()
