"""Encoders: against plain loops, and against the same text without its padding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attnaudit.errors import SettingsError
from attnaudit.nets.text.encoders import ENCODERS, KERNELS, CNNEncoder, compaction

DIM = 5


def encoder(name, hidden=8):
    torch.manual_seed(0)
    return ENCODERS[name](DIM, hidden).double()


def texts(lengths, seed=0):
    """Random embedded texts with markers, on the left."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    embedded = torch.randn(len(lengths), longest, DIM, generator=generator, dtype=torch.float64)
    position, length = torch.arange(longest), torch.tensor(lengths).unsqueeze(1)
    return embedded, position < length, (position > 0) & (position < length - 1)


def lstm_by_hand(lstm, inputs):
    """One text, one step at a time."""
    cell = nn.LSTMCell(lstm.input_size, lstm.hidden_size).double()
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in lstm.state_dict().items()})
    state = torch.zeros(2, 1, lstm.hidden_size, dtype=torch.float64)
    steps = []
    for row in inputs:
        state = cell(row.unsqueeze(0), tuple(state))
        steps.append(state[0][0])
    return torch.stack(steps)


def test_bilstm_against_a_cell_at_a_time():
    model = encoder("bilstm")
    embedded, present, units = texts([7, 4, 3])
    hidden = model(embedded, present, units)
    assert hidden.shape == (3, 7, model.width)
    for row, length in enumerate([7, 4, 3]):
        text = embedded[row, :length]
        forwards = lstm_by_hand(model.forwards, text)
        backwards = lstm_by_hand(model.backwards, text.flip(0)).flip(0)
        expected = torch.cat([forwards, backwards], dim=-1)
        torch.testing.assert_close(hidden[row, :length], expected)
        last = model.last_hidden(hidden, present, units)[row]
        torch.testing.assert_close(last, torch.cat([forwards[-1], backwards[0]]))


def test_cnn_against_windows_by_hand():
    model = encoder("cnn")
    embedded, present, units = texts([9, 4])
    hidden = model(embedded, present, units)
    for row, length in enumerate([9, 4]):
        for position in range(9):
            expected = torch.zeros(8, dtype=torch.float64)
            if 0 < position < length - 1:
                for group, convolution in enumerate(model.convolutions):
                    total = convolution.bias.clone()
                    for tap in range(KERNELS[group]):
                        place = position + tap - KERNELS[group] // 2
                        if 0 <= place < length:
                            total = total + convolution.weight[:, :, tap] @ embedded[row, place]
                    expected[2 * group : 2 * group + 2] = total.clamp(min=0)
            torch.testing.assert_close(hidden[row, position], expected)
    largest = model.last_hidden(hidden, present, units)
    torch.testing.assert_close(largest[1], hidden[1, 1:3].amax(dim=0))


def test_average_is_a_map_of_each_token():
    model = encoder("average")
    embedded, present, units = texts([6, 3])
    hidden = model(embedded, present, units)
    weight, bias = model.projection.weight, model.projection.bias
    torch.testing.assert_close(hidden[1, :3], torch.tanh(embedded[1, :3] @ weight.T + bias))
    assert (hidden[1, 3:] == 0).all()
    last = model.last_hidden(hidden, present, units)
    torch.testing.assert_close(last[1], hidden[1, :3].mean(dim=0))


@pytest.mark.parametrize("name", ENCODERS)
@given(lengths=st.lists(st.integers(2, 12), min_size=1, max_size=5), data=st.data())
@settings(max_examples=20, deadline=None)
def test_positions_not_present_leave_no_trace(name, lengths, data):
    """Padding, and gaps in the middle, change nothing, whatever stands there."""
    model = encoder(name)
    embedded, present, units = texts(lengths)
    for row in range(len(lengths)):
        for position in data.draw(st.sets(st.integers(0, lengths[row] - 2), max_size=3)):
            present[row, position] = units[row, position] = False
    embedded[~present] = torch.nan
    hidden = model(embedded, present, units)
    assert (hidden[~present] == 0).all()
    for row in range(len(lengths)):
        keep = present[row]
        alone = model(
            embedded[row : row + 1, keep],
            torch.ones(1, int(keep.sum())).bool(),
            units[[row]][:, keep],
        )
        torch.testing.assert_close(hidden[row, keep], alone[0])
        last = model.last_hidden(hidden, present, units)[row]
        everywhere = torch.ones_like(alone[..., 0]).bool()
        expected = model.last_hidden(alone, everywhere, units[[row]][:, keep])[0]
        torch.testing.assert_close(last, expected)


@pytest.mark.parametrize("name", ENCODERS)
def test_context_free_is_what_it_says(name):
    model = encoder(name)
    embedded, present, units = texts([9])
    other = embedded.clone()
    other[0, 4] += 1.0
    moved = (model(other, present, units) - model(embedded, present, units))[0].abs().sum(-1) > 1e-9
    assert moved[4]
    assert (moved.sum() == 1) == (name in ("average", "identity"))


@pytest.mark.parametrize("name", ENCODERS)
def test_gradients_are_finite_for_an_empty_text(name):
    model = encoder(name)
    embedded, present, units = texts([5, 3])
    present[1] = units[1] = False
    embedded.requires_grad_()
    hidden = model(embedded, present, units)
    assert (hidden[1] == 0).all()
    (hidden.sum() + model.last_hidden(hidden, present, units).sum()).backward()
    assert torch.isfinite(embedded.grad).all()
    assert (embedded.grad[1] == 0).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_declarations(name):
    model = encoder(name)
    assert model.name == name
    assert model.description
    assert model.width == {"bilstm": 16, "orthogonal": 16, "identity": DIM}.get(name, 8)


def test_cnn_needs_a_multiple_of_four():
    with pytest.raises(SettingsError, match="multiple of 4"):
        CNNEncoder(DIM, 6)


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4))
def test_compaction_against_a_loop(rows):
    present = torch.tensor(rows)
    order = compaction(present)
    expected = [[p for p in range(6) if r[p]] + [p for p in range(6) if not r[p]] for r in rows]
    assert (torch.arange(6).repeat(len(rows), 1) if order is None else order).tolist() == expected
