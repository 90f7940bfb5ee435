"""Text classifiers under the contract of the cut."""

import itertools

import pytest
import torch

from attnaudit.data.records import Text
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError
from attnaudit.models.edits import EDITS
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text import deletion
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.nets.text.vocabulary import EOS, PAD, SOS, UNK, Vocabulary

KINDS = list(itertools.product(ENCODERS, LEARNED, (2, 3)))
WORDS = ("a", "good", "bad", "film", "not", "very")


def model(encoder="bilstm", attention="additive", classes=2, seed=0, **options):
    torch.manual_seed(seed)
    names = ("neg", "pos", "mixed")[:classes]
    config = ClassifierConfig(names, encoder, attention, hidden=8, embedding_dim=5)
    net = AttentionClassifier(config, 4 + len(WORDS)).double()
    for parameter in net.parameters():
        parameter.data.mul_(2)
    return TextClassifier(net, Vocabulary(WORDS), **options)


RECORDS = [
    text_record("r0", "a very good film"),
    text_record("r1", "Bad"),
    text_record("r2", "not a film of words nobody knows"),
    Text("r3", "", (), ()),
]


def test_collate():
    batch = model().collate(RECORDS)
    assert batch.ids == ("r0", "r1", "r2", "r3")
    assert batch.inputs.tolist() == [
        [SOS, 4, 9, 5, 7, EOS, PAD, PAD, PAD],
        [SOS, 6, EOS, PAD, PAD, PAD, PAD, PAD, PAD],
        [SOS, 8, 4, 7, UNK, UNK, UNK, UNK, EOS],
        [SOS, EOS, PAD, PAD, PAD, PAD, PAD, PAD, PAD],
    ]
    assert batch.present.sum(1).tolist() == [6, 3, 9, 2]
    assert batch.units.sum(1).tolist() == [4, 1, 7, 0]
    with pytest.raises(DataError, match="at least one record"):
        model().collate([])


@pytest.mark.parametrize(("encoder", "attention", "classes"), KINDS)
def test_the_cut_is_the_network(encoder, attention, classes):
    audited = model(encoder, attention, classes)
    batch = audited.collate(RECORDS)
    states = audited.encode(batch)
    weights = audited.attend(states)
    outputs = audited.net(batch.inputs, batch.present, batch.units)
    torch.testing.assert_close(audited.forward(batch), outputs)
    torch.testing.assert_close(audited.decode(states, weights), outputs)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1, 1, 0]).double())
    assert audited.classes == ("neg", "pos", "mixed")[:classes]
    assert outputs.shape == (4, classes)
    again = audited.encode_embedded(batch, audited.embed(batch))
    assert torch.equal(again.hidden, states.hidden)
    uniform = batch.units / batch.units.sum(1, keepdim=True).clamp(min=1)
    both = torch.stack([weights, uniform.double()], dim=1)
    torch.testing.assert_close(audited.decode(states, both)[:, 0], outputs)
    torch.testing.assert_close(audited.linear(states)(both), audited.decode(states, both))


@pytest.mark.parametrize(("encoder", "attention", "classes"), KINDS)
def test_leave_one_out_is_the_delete_edit_and_a_new_run(encoder, attention, classes):
    audited = model(encoder, attention, classes)
    batch = audited.collate(RECORDS)
    with torch.inference_mode():
        fast = audited.leave_one_out(batch, audited.encode(batch))
        assert (fast is None) == (encoder not in deletion.DELETIONS)
        if fast is None:
            return
        for row, position in batch.units.nonzero().tolist():
            one = batch.take(torch.tensor([row]))
            drop = torch.zeros_like(one.units)
            drop[0, position] = True
            expected = audited.forward(EDITS["delete"](one, drop, audited))[0]
            torch.testing.assert_close(fast[row, position], expected)


def test_no_fast_way_is_none(monkeypatch):
    audited = model("cnn")
    monkeypatch.delitem(deletion.DELETIONS, "cnn")
    batch = audited.collate(RECORDS)
    assert audited.leave_one_out(batch, audited.encode(batch)) is None


@pytest.mark.parametrize("encoder", ENCODERS)
def test_gradients_against_finite_differences(encoder):
    audited = model(encoder)
    batch = audited.collate(RECORDS)
    embedded = audited.embed(batch).requires_grad_()

    def outputs(inputs):
        states = audited.encode_embedded(batch, inputs)
        return audited.decode(states, audited.attend(states))

    assert torch.autograd.gradcheck(outputs, embedded, atol=1e-6)
    (slope,) = torch.autograd.grad(outputs(embedded)[:, 0].sum(), embedded)
    assert (slope[~batch.present] == 0).all()
    assert (slope[0, batch.units[0]].abs().sum(-1) > 0).all()


def test_nothing_needs_gradients_but_what_is_asked_for():
    audited = model()
    assert not audited.encode(audited.collate(RECORDS)).hidden.requires_grad


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_text_of_five_thousand_words(encoder):
    audited = model(encoder)
    long = text_record("long", "good bad " * 2500)
    batch = audited.collate([long, RECORDS[1]])
    assert batch.inputs.shape == (2, 5002)
    outputs = audited.forward(batch)
    torch.testing.assert_close(outputs[1], audited.forward(audited.collate(RECORDS[1:2]))[0])
    assert torch.isfinite(outputs).all()


def test_edit_values_are_declared():
    assert (TextClassifier.pad_value, TextClassifier.mask_value) == (PAD, UNK)


def test_fingerprint_sees_parameters_configuration_and_words():
    base = model().fingerprint()
    assert model().fingerprint() == base
    assert model(name="another name").fingerprint() == base
    changed = model()
    changed.net.head.bias.data[0] = torch.nextafter(
        changed.net.head.bias.data[0], torch.tensor(9.0, dtype=torch.float64)
    )
    other_words = TextClassifier(model().net, Vocabulary((*WORDS[:-1], "quite")))
    others = [changed, other_words, model(seed=1), model(attention="dot"), model("cnn")]
    prints = {base, *(other.fingerprint() for other in others)}
    assert len(prints) == 6


def test_names():
    assert model("cnn", "dot").name == "cnn+dot"
    assert model(name="mine").name == "mine"


def test_a_vocabulary_of_another_size_is_refused():
    with pytest.raises(DataError, match="9 ids, but the network has 10"):
        TextClassifier(model().net, Vocabulary(WORDS[:-1]))


def test_to_moves_the_model_and_its_batches():
    audited = model()
    assert audited.to("meta") is audited
    assert audited.device.type == "meta"
    assert audited.collate(RECORDS).inputs.device.type == "meta"
