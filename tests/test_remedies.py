"""Remedies: their loss terms by hand, what they do to a network, and their declarations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.data.generated.reviews import generate_review_splits
from attnaudit.errors import SettingsError
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.nets.text.inputs import Inputs
from attnaudit.nets.text.vocabulary import pad_sequences
from attnaudit.remedies import REMEDIES
from attnaudit.remedies.compare import conicity_of
from attnaudit.remedies.declaration import as_the_loss
from attnaudit.remedies.diversity import diversity_penalty
from attnaudit.remedies.tying import orthonormal, tying_penalty
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train

TEXTS = [[5, 6, 7], [8, 9], [4, 4, 5, 6], [7]]
ROWS = torch.arange(len(TEXTS))


def passed(classes=2, hidden=4, embedding_dim=6):
    torch.manual_seed(0)
    config = ClassifierConfig(
        tuple(f"c{i}" for i in range(classes)), hidden=hidden, embedding_dim=embedding_dim
    )
    net = AttentionClassifier(config, 12).double()
    return net.run(Inputs(*pad_sequences(TEXTS))), net


def cosine(a, b):
    return abs(float(a @ b)) / math.sqrt(float(a @ a) * float(b @ b))


@pytest.mark.parametrize("classes", [2, 3])
def test_diversity_by_hand(classes):
    """Summed for one logit as the loss is, else averaged; a text of one word adds nothing."""
    run, net = passed(classes)
    values = []
    for row, text in enumerate(TEXTS):
        states = run.hidden[row, 1 : 1 + len(text)].detach().numpy()
        mean = states.mean(0)
        values.append(np.mean([cosine(s, mean) for s in states]) if len(text) > 1 else 0.0)
    expected = 0.7 * (sum(values) if classes == 2 else sum(values) / len(values))
    found = diversity_penalty(0.7)(run, ROWS)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    found.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())
    # markers have no part in it, and neither have the weights
    assert (net.embedding.weight.grad[4:10] != 0).any()
    assert all(p.grad is None for p in net.attention.parameters())


@pytest.mark.parametrize(("hidden", "embedding_dim"), [(4, 6), (2, 6), (4, 8)])
@pytest.mark.parametrize("classes", [2, 3])
def test_tying_by_hand(classes, hidden, embedding_dim):
    """Wider, narrower and equal states."""
    run, net = passed(classes, hidden, embedding_dim)
    matrix = orthonormal(2 * hidden, embedding_dim, 3).double().numpy()
    values = []
    for row, text in enumerate(TEXTS):
        apart = []
        for place, word in enumerate(text, start=1):
            wanted = matrix @ net.embedding.weight[word].detach().numpy()
            apart.append(((run.hidden[row, place].detach().numpy() - wanted) ** 2).mean())
        values.append(np.mean(apart))
    expected = 0.3 * (sum(values) if classes == 2 else sum(values) / len(values))
    found = tying_penalty(0.3, seed=3)(run, ROWS)
    assert found.item() == pytest.approx(expected, rel=1e-6)
    found.backward()
    assert (net.embedding.weight.grad[4:10] != 0).any()
    assert (net.encoder.forwards.weight_hh_l0.grad != 0).any()


def test_tying_is_at_its_least_where_states_are_the_words():
    run, _ = passed(2, 4, 8)  # both have eight numbers: the map is the identity
    same = type(run)(run.inputs, run.embedded, run.embedded, run.extra, run.weights, run.logits)
    assert tying_penalty(1.0)(same, ROWS).item() == 0
    assert tying_penalty(1.0)(run, ROWS).item() > 0


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 99))
@settings(deadline=None)
def test_orthonormal_keeps_lengths_and_angles(rows, columns, seed):
    matrix = orthonormal(rows, columns, seed).double()
    gram = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    torch.testing.assert_close(gram, torch.eye(min(rows, columns)).double(), atol=1e-6, rtol=0)
    assert torch.equal(matrix, orthonormal(rows, columns, seed).double())
    if rows != columns:
        assert not torch.equal(matrix, orthonormal(rows, columns, seed + 1).double()) or (
            min(rows, columns) == max(rows, columns) == 1
        )


def test_undefined_values_count_for_nothing():
    run, _ = passed()
    values = torch.tensor([1.0, math.nan, 2.0, 3.0], requires_grad=True)
    total = as_the_loss(values, run)
    assert total.item() == 6
    total.backward()
    assert values.grad.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("name", [name for name in REMEDIES if REMEDIES[name].penalty])
def test_the_weight_of_a_penalty_is_the_one_asked_for(name):
    run, _ = passed()
    remedy = REMEDIES[name]
    usual = remedy.training()["penalty"](run, ROWS).item()
    assert usual > 0
    doubled = remedy.training(weight=2 * remedy.weight)["penalty"](run, ROWS).item()
    assert doubled == pytest.approx(2 * usual, rel=1e-6)
    assert remedy.training(weight=0.0)["penalty"](run, ROWS).item() == 0


def test_what_training_with_a_remedy_makes():
    made = {name: REMEDIES[name].training("bilstm") for name in REMEDIES}
    assert made["orthogonal"] == {"encoder": "orthogonal", "remedy": "orthogonal"}
    assert {name for name in made if "penalty" in made[name]} == {"diversity", "tying"}
    for name, arguments in made.items():
        if "refit" in arguments:
            assert arguments["encoder"] == "bilstm"
            assert arguments["refit"] is REMEDIES[name].refit
        assert arguments["encoder"] in ENCODERS


def test_a_remedy_refuses_what_it_is_not_for():
    for remedy in REMEDIES.values():
        if remedy.refit is not None:
            assert remedy.training("average")["encoder"] == "average"
            continue
        with pytest.raises(SettingsError, match="for the encoder bilstm, not for 'average'"):
            remedy.training("average")
    with pytest.raises(SettingsError, match="has no weight"):
        REMEDIES["orthogonal"].training(weight=0.5)
    for weight in (-1.0, math.nan):
        with pytest.raises(SettingsError, match="0 or more"):
            REMEDIES["diversity"].training(weight=weight)


@pytest.fixture(scope="module")
def reviews():
    return generate_review_splits(160, 40, 60, seed=1, difficulty=0.0)


def trained(reviews, change):
    options = TrainOptions(epochs=3, learning_rate=1e-2)
    return train(
        reviews, hidden=8, embedding_dim=10, options=options, progress=False, **change
    ).model


def test_what_remedies_do_to_states(reviews):
    """Conicity falls with two of them, and states come near to their words with the third."""
    plain = trained(reviews, {})
    before = conicity_of(plain, reviews["test"])
    for name in ("diversity", "orthogonal"):
        after = conicity_of(trained(reviews, REMEDIES[name].training()), reviews["test"])
        assert np.nanmean(after - before) < -0.1, name

    def apart(model):
        batch = model.collate(reviews["test"].records[:20])
        run = model.net.run(Inputs(batch.inputs, batch.present, batch.units))
        return tying_penalty(1.0)(run, ROWS).item()

    tied = trained(reviews, REMEDIES["tying"].training(weight=10.0))
    assert apart(tied) < 0.9 * apart(plain)


def test_conicity_of_is_in_the_order_of_the_data(reviews):
    model = trained(reviews, {})
    together = conicity_of(model, reviews["test"])
    alone = [conicity_of(model, reviews["test"].select([r]))[0] for r in reviews["test"]]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert len(set(together.round(6))) > 50
