"""Fast leave-one-out against building every shorter text and running it."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.errors import NotApplicable
from attnaudit.nets.selective import readout
from attnaudit.nets.text import deletion
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig, log_probabilities
from attnaudit.nets.text.deletion import DELETIONS, leave_one_out
from tests.deletion_reference import brute_force, plain

KINDS = list(itertools.product(DELETIONS, LEARNED, (2, 3)))
DIM = 5


def network(encoder, attention, classes, dtype=torch.float64):
    torch.manual_seed(1)
    names = tuple(f"c{k}" for k in range(classes))
    net = AttentionClassifier(ClassifierConfig(names, encoder, attention, 8, DIM), 9).to(dtype)
    for parameter in net.parameters():
        parameter.data.mul_(2)  # enough for deletions to be felt
    return net


def texts(lengths, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    embedded = torch.randn(len(lengths), longest, DIM, generator=generator, dtype=dtype)
    position, length = torch.arange(longest), torch.tensor(lengths).unsqueeze(1)
    return embedded, position < length, (position > 0) & (position < length - 1)


def both(net, embedded, present, units):
    with torch.inference_mode():
        fast = leave_one_out(net, embedded, present, units, net.encode(embedded, present, units))
        return fast, brute_force(net, embedded, present, units)


@pytest.mark.parametrize(("encoder", "attention", "classes"), KINDS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_against_brute_force(encoder, attention, classes, dtype, error):
    net = network(encoder, attention, classes, dtype)
    fast, slow = both(net, *texts([3, 15, 9, 4, 5, 12, 2, 8], dtype))
    torch.testing.assert_close(fast, slow, atol=error, rtol=0, equal_nan=True)
    assert fast.dtype == dtype
    longest = fast[1, 1:14].exp()
    assert longest.std(dim=0).max() > 1e-3, "deletions must be felt for the comparison to count"


@pytest.mark.parametrize("encoder", DELETIONS)
@given(lengths=st.lists(st.integers(0, 11), min_size=1, max_size=5), data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_units_and_any_gaps(encoder, lengths, data):
    """Units anywhere, markers in the middle, positions already taken out, garbage in padding."""
    net = network(encoder, "additive", 2)
    embedded, present, units = texts([length + 2 for length in lengths])
    flags = st.lists(st.booleans(), min_size=units.numel(), max_size=units.numel())
    present &= torch.tensor(data.draw(flags)).view_as(present)
    units = present & torch.tensor(data.draw(flags)).view_as(present)
    embedded[~present] = torch.nan
    fast, slow = both(net, embedded, present, units)
    torch.testing.assert_close(fast, slow, atol=1e-10, rtol=0, equal_nan=True)


@pytest.mark.parametrize(("encoder", "attention", "classes"), KINDS)
def test_the_only_unit_leaves_the_bias(encoder, attention, classes):
    net = network(encoder, attention, classes)
    embedded, present, units = texts([3, 6])
    units[1] = False
    units[1, 2] = True
    fast, _ = both(net, embedded, present, units)
    expected = log_probabilities(net.head.bias.detach())
    torch.testing.assert_close(fast[0, 1], expected)
    torch.testing.assert_close(fast[1, 2], expected)


@pytest.mark.parametrize("encoder", DELETIONS)
def test_rows_of_other_positions_are_nan(encoder):
    net = network(encoder, "dot", 2)
    embedded, present, units = texts([7, 4])
    units[0, 3] = False
    fast, _ = both(net, embedded, present, units)
    assert torch.equal(fast.isnan().all(-1), ~units)
    assert torch.equal(fast.isnan().any(-1), ~units)


@pytest.mark.parametrize("encoder", DELETIONS)
def test_no_units_at_all(encoder):
    net = network(encoder, "additive", 2)
    embedded, present, units = texts([2, 2])
    fast, _ = both(net, embedded, present, units)
    assert fast.shape == (2, 2, 2)
    assert fast.isnan().all()


@pytest.mark.parametrize("encoder", DELETIONS)
def test_a_small_memory_budget_changes_nothing(encoder, monkeypatch):
    net = network(encoder, "additive", 3)
    inputs = texts([9, 14, 3])
    whole, _ = both(net, *inputs)
    for module in (readout, deletion.bilstm_deletions.__globals__):
        if isinstance(module, dict):
            monkeypatch.setitem(module, "BUDGET", 500)
        else:
            monkeypatch.setattr(module, "BUDGET", 500)
    torch.testing.assert_close(both(net, *inputs)[0], whole, equal_nan=True)


@pytest.mark.parametrize("encoder", DELETIONS)
def test_the_procedure_of_the_released_code_agrees(encoder):
    net = network(encoder, "additive", 2)
    inputs = texts([9, 14, 3])
    with torch.no_grad():
        reference = plain(net, *inputs)
    torch.testing.assert_close(both(net, *inputs)[0], reference, equal_nan=True)


@pytest.mark.parametrize("encoder", DELETIONS)
def test_parameters_that_need_gradients_and_inputs_stay_as_they_are(encoder):
    net = network(encoder, "additive", 2)
    embedded, present, units = texts([6, 4])
    hidden = net.encode(embedded, present, units)
    before = [tensor.clone() for tensor in (embedded, hidden, *net.parameters())]
    outputs = leave_one_out(net, embedded, present, units, hidden)
    assert not outputs.requires_grad
    for old, new in zip(before, (embedded, hidden, *net.parameters()), strict=True):
        assert torch.equal(old, new)


def test_an_encoder_without_a_fast_way_says_so(monkeypatch):
    net = network("cnn", "additive", 2)
    monkeypatch.delitem(deletion.DELETIONS, "cnn")
    with pytest.raises(NotApplicable, match="no fast leave-one-out"):
        both(net, *texts([5]))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.sampled_from([0.1, 1.0, 10.0, 80.0, 1e4]), st.integers(0, 10**6))
def test_means_without_a_unit_equal_a_softmax_over_the_others(length, peak, seed):
    generator = torch.Generator().manual_seed(seed)
    energies = torch.randn(3, length, generator=generator, dtype=torch.float64) * peak
    scores = torch.randn(3, length, 2, generator=generator, dtype=torch.float64)
    units = torch.rand(3, length, generator=generator) < 0.7
    closed = readout.means_without(energies.float(), scores.float(), units).double()
    for row, place in units.nonzero().tolist():
        kept = units[row].clone()
        kept[place] = False
        direct = torch.softmax(energies[row, kept].float().double(), 0) @ scores[row, kept]
        torch.testing.assert_close(closed[row, place], direct, rtol=0, atol=2e-6)


def test_a_very_long_text_without_context_takes_no_square_of_its_length():
    # an array of length times length would take 160 GB here
    energies, scores = torch.zeros(1, 200_000), torch.ones(1, 200_000, 1)
    pooled = readout.means_without(energies, scores, scores[..., 0] > 0)
    torch.testing.assert_close(pooled, scores, rtol=0, atol=1e-4)
