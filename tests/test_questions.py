"""Networks that read a question beside the text, from their formulas to a whole audit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnaudit
from attnaudit.checks.declaration import ATTENTION
from attnaudit.checks.registry import CHECKS
from attnaudit.data.records import Dataset, TextPair
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.edits import EDITS
from attnaudit.models.load import load
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.vocabulary import Vocabulary
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train

WORDS = ("anna", "bert", "carl", "red", "blue", "green", "likes", "who")
PAPERS = ("bilstm", "cnn", "average")


def pair(name, text, question, label=None, allowed=None, truth=None):
    base = text_record(name, text, label=label, truth=truth)
    units = tuple(question.split())
    return TextPair(
        base.id,
        base.text,
        base.units,
        base.offsets,
        base.label,
        base.truth,
        question,
        units,
        allowed,
    )


RECORDS = [
    pair("a", "anna likes red", "who likes red"),
    pair("b", "bert likes blue and nobody else does", "red"),
    pair("c", "carl", "who blue green anna bert carl"),
]


def model(encoder="bilstm", attention="additive", classes=3):
    torch.manual_seed(0)
    names = ("anna", "bert", "carl")[:classes]
    config = ClassifierConfig(names, encoder, attention, hidden=8, embedding_dim=5, question=True)
    net = AttentionClassifier(config, 4 + len(WORDS)).double()
    for parameter in net.parameters():
        parameter.data.mul_(2)
    return TextClassifier(net, Vocabulary(WORDS))


@pytest.mark.parametrize("encoder", PAPERS)
@pytest.mark.parametrize("attention", LEARNED)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_decoder_by_hand(encoder, attention, classes):
    """logits = V tanh(W c + b + U q + d) + e, q the last state of a separate encoder."""
    audited = model(encoder, attention, classes)
    net, batch = audited.net, audited.collate(RECORDS)
    with torch.no_grad():
        states = audited.encode(batch)
        weights, outputs = audited.attend(states), audited.forward(batch)
    assert net.question.embedding.weight is not net.embedding.weight
    for row in range(3):
        alone = net.question.encoder(
            net.question.embedding(batch.extra["question"][[row]]),
            batch.extra["question_present"][[row]],
            batch.extra["question_units"][[row]],
        )
        q = net.question.encoder.last_hidden(
            alone, batch.extra["question_present"][[row]], batch.extra["question_units"][[row]]
        )[0]
        c = sum(weights[row, t] * states.hidden[row, t] for t in range(weights.shape[1]))
        head = net.head
        middle = torch.tanh(
            head.of_text.weight @ c
            + head.of_text.bias
            + head.of_question.weight @ q
            + head.of_question.bias
        )
        expected = torch.log_softmax(head.output.weight @ middle + head.output.bias, 0)
        torch.testing.assert_close(outputs[row], expected)


@pytest.mark.parametrize("encoder", PAPERS)
def test_candidates_and_no_linear_form(encoder):
    audited = model(encoder)
    batch = audited.collate(RECORDS)
    with torch.no_grad():
        states = audited.encode(batch)
        candidates = torch.rand(3, 4, batch.units.shape[1], dtype=torch.float64)
        together = audited.decode(states, candidates)
        for k in range(4):
            torch.testing.assert_close(audited.decode(states, candidates[:, k]), together[:, k])
    assert audited.linear(states) is None
    assert audited.leave_one_out(batch, states) is None


@pytest.mark.parametrize("encoder", PAPERS)
@pytest.mark.parametrize("attention", LEARNED)
def test_neighbours_change_nothing(encoder, attention):
    audited = model(encoder, attention)
    together = audited.forward(audited.collate(RECORDS))
    for row, record in enumerate(RECORDS):
        torch.testing.assert_close(together[row], audited.forward(audited.collate([record]))[0])


@given(st.lists(st.sampled_from(WORDS), min_size=2, max_size=6), st.data())
@settings(max_examples=25, deadline=None)
def test_deleting_is_reading_the_shorter_text(words, data):
    audited = model()
    position = data.draw(st.integers(0, len(words) - 1))
    shorter = [word for place, word in enumerate(words) if place != position]
    batch = audited.collate([pair("x", " ".join(words), "who likes")])
    drop = torch.zeros_like(batch.units)
    drop[0, 1 + position] = True
    one = audited.forward(EDITS["delete"](batch, drop, audited))
    other = audited.forward(audited.collate([pair("x", " ".join(shorter), "who likes")]))
    torch.testing.assert_close(one, other)


def test_the_question_moves_the_weights():
    audited = model()
    one = audited.collate([pair("x", "anna likes red", "who likes red")])
    two = audited.collate([pair("x", "anna likes red", "bert blue green")])
    gap = audited.attend(audited.encode(one)) - audited.attend(audited.encode(two))
    assert gap.abs().max() > 1e-3


def test_answers_that_are_not_allowed_have_no_probability():
    audited = model()
    records = [pair("x", "anna likes red", "who", allowed=(0, 2)), RECORDS[1]]
    outputs = audited.forward(audited.collate(records)).exp()
    assert outputs[0, 1] == 0
    free = audited.forward(audited.collate([pair("x", "anna likes red", "who")])).exp()[0]
    torch.testing.assert_close(outputs[0, [0, 2]], free[[0, 2]] / free[[0, 2]].sum())
    torch.testing.assert_close(outputs[1], audited.forward(audited.collate(RECORDS)).exp()[1])
    with pytest.raises(DataError, match="allows the answers"):
        audited.collate([pair("x", "anna", "who", allowed=(7,))])


def test_a_text_without_a_question_is_refused():
    with pytest.raises(DataError, match="--column question="):
        model().collate([text_record("t", "anna likes red")])
    config = ClassifierConfig(("a", "b"), question=True)
    with pytest.raises(SettingsError, match="vocabulary"):
        AttentionClassifier(config, None)


def lookup(count, seed):
    """Each passage says who likes which colour; the question names the colour."""
    generator = torch.Generator().manual_seed(seed)
    people, colours, records = WORDS[:3], WORDS[3:6], []
    for number in range(count):
        who, what = (torch.randperm(3, generator=generator).tolist() for _ in range(2))
        words, truth, asked = [], [], int(torch.randint(3, (1,), generator=generator))
        for p, c in zip(who, what, strict=True):
            words += [people[p], "likes", colours[c]]
            truth += [c == asked] * 3
        answer = who[what.index(asked)]
        records.append(
            pair(
                f"{seed}.{number}",
                " ".join(words),
                f"who likes {colours[asked]}",
                answer,
                truth=truth,
            )
        )
    return Dataset("lookup", tuple(records), people)


def test_training_saving_and_every_check_of_the_audit(tmp_path):
    """A model that looks things up is trained, saved, read and audited: nothing is special."""
    splits = {"train": lookup(600, 0), "dev": lookup(100, 1), "test": lookup(80, 2)}
    done = train(
        splits,
        hidden=24,
        embedding_dim=16,
        progress=False,
        out=tmp_path / "model",
        options=TrainOptions(epochs=25, batch_size=20, learning_rate=5e-3, seed=1),
    )
    assert done.model.net.config.question
    assert done.dev["dev_accuracy"] > 0.95
    read = load(tmp_path / "model")
    assert read.fingerprint() == done.model.fingerprint()
    audit = attnaudit.audit(
        read,
        splits["test"],
        progress=False,
        include_training_texts=True,
        settings=attnaudit.Settings(costly_limit=30, search_steps=40, permutations=20),
    )
    verdicts = {f.check: f.verdict.value for f in audit.findings if f.subject == "weights"}
    assert set(verdicts) == {
        name for name, check in CHECKS.items() if check.group == ATTENTION and not check.gate
    }
    assert "not applicable" not in verdicts.values()
    assert verdicts["permutation"] == "pass"
