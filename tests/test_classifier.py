"""The classifier: its two links, its linear form, and its configuration."""

import itertools

import pytest
import torch
from scipy.special import expit
from scipy.special import log_softmax as scipy_log_softmax

from attnaudit.errors import SettingsError
from attnaudit.models.cut import LinearDecode
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig, log_probabilities
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.nets.text.vocabulary import pad_sequences

KINDS = list(itertools.product(ENCODERS, LEARNED, (2, 4)))


def network(encoder="bilstm", attention="additive", classes=2):
    torch.manual_seed(0)
    config = ClassifierConfig(
        tuple(f"c{k}" for k in range(classes)), encoder, attention, hidden=8, embedding_dim=5
    )
    return AttentionClassifier(config, 12).double()


@pytest.fixture
def batch():
    return pad_sequences([[4, 5, 6, 7, 11], [8], [], [9, 1, 4]])


def test_two_classes_are_a_sigmoid():
    logits = torch.tensor([[-800.0], [-2.0], [0.0], [3.0], [800.0]], dtype=torch.float64)
    expected = torch.from_numpy(expit(logits.numpy()))
    outputs = log_probabilities(logits)
    torch.testing.assert_close(outputs.exp(), torch.cat([1 - expected, expected], dim=1))
    assert torch.isfinite(outputs).all()


def test_several_classes_are_a_softmax():
    logits = torch.randn(7, 3, dtype=torch.float64)
    expected = torch.from_numpy(scipy_log_softmax(logits.numpy(), axis=-1))
    torch.testing.assert_close(log_probabilities(logits), expected)


@pytest.mark.parametrize(("encoder", "attention", "classes"), KINDS)
def test_the_network_is_its_parts(batch, encoder, attention, classes):
    net = network(encoder, attention, classes)
    ids, present, units = batch
    with torch.no_grad():
        hidden = net.encode(net.embed(ids), present, units)
        weights = net.attend(hidden, units)
        outputs = net(ids, present, units)
    assert net.head.out_features == (1 if classes == 2 else classes)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1, 0, 1]).double())
    assert (weights[~units] == 0).all()
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(4).double())
    for row in range(4):
        context = sum(weights[row, t] * hidden[row, t] for t in range(ids.shape[1]))
        logits = net.head.weight @ context + net.head.bias
        torch.testing.assert_close(outputs[row], log_probabilities(logits))


@pytest.mark.parametrize(("encoder", "attention", "classes"), KINDS)
def test_linear_form_and_candidates(batch, encoder, attention, classes):
    net = network(encoder, attention, classes)
    ids, present, units = batch
    with torch.no_grad():
        hidden = net.encode(net.embed(ids), present, units)
        candidates = torch.rand(4, 3, ids.shape[1], dtype=torch.float64) * units.unsqueeze(1)
        outputs = net.decode(hidden, candidates)
        linear = LinearDecode(*net.linear_decode(hidden))
        torch.testing.assert_close(linear(candidates), outputs)
        for k in range(3):
            torch.testing.assert_close(net.decode(hidden, candidates[:, k]), outputs[:, k])
            torch.testing.assert_close(linear(candidates[:, k]), outputs[:, k])
    if classes == 2:
        assert (linear.scores[..., 0] == 0).all()
        assert linear.bias[0] == 0
    assert linear.scores.shape[-1] == classes


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_and_neighbours_change_nothing(batch, encoder):
    net = network(encoder)
    ids, present, units = batch
    together = net(ids, present, units)
    for row, sequence in enumerate([[4, 5, 6, 7, 11], [8], [], [9, 1, 4]]):
        torch.testing.assert_close(together[row], net(*pad_sequences([sequence]))[0])


@pytest.mark.parametrize(("encoder", "attention", "classes"), KINDS)
def test_all_gradients_are_finite_with_an_empty_text(batch, encoder, attention, classes):
    net = network(encoder, attention, classes)
    net(*batch)[:, 0].sum().backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    assert (net.embedding.weight.grad[0] == 0).all()


def test_two_networks_of_one_seed_are_equal():
    one, two = network().state_dict(), network().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"encoder": "gru"}, "encoder 'gru' is unknown; choose one of bilstm, cnn, average"),
        ({"attention": "none"}, "attention 'none' is unknown"),
        ({"hidden": 0}, "hidden is 0"),
        ({"embedding_dim": -1}, "embedding_dim is -1"),
        ({"classes": ("only",)}, "two or more"),
    ],
)
def test_bad_configurations_are_refused(options, says):
    with pytest.raises(SettingsError, match=says):
        ClassifierConfig(**{"classes": ("a", "b"), **options})


def test_vocabulary_below_the_special_ids_is_refused():
    with pytest.raises(SettingsError, match="vocabulary_size"):
        AttentionClassifier(ClassifierConfig(("a", "b")), 3)
