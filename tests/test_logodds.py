"""Log-odds: the regression against its conditions of optimality, experiments against loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.metrics import roc_auc_score

from attnaudit.data.generated.reviews import generate_review_splits, opinion_words
from attnaudit.data.records import Dataset, TextPair
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import NotApplicable, SettingsError
from attnaudit.findings.settings import Settings
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.inputs import Inputs
from attnaudit.nets.text.vocabulary import FIRST_WORD, UNK, Vocabulary, pad_sequences
from attnaudit.remedies.logodds import LogOdds, fit_log_odds, log_odds_penalty
from attnaudit.studies.jain2019.logodds import log_odds_experiments, post_hoc, substitution
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.toys import reader

SETTINGS = Settings(resamples=200)
OPTIONS = TrainOptions(epochs=10, learning_rate=1e-2)


@pytest.fixture(scope="module")
def reviews():
    return generate_review_splits(160, 40, 60, seed=4, difficulty=0.0)


@pytest.fixture(scope="module")
def odds(reviews):
    return fit_log_odds(reviews["train"], strength=3.0)


@pytest.fixture(scope="module")
def trained(reviews):
    return train(
        reviews, encoder="average", hidden=8, embedding_dim=8, progress=False, options=OPTIONS
    )


def toy_odds():
    vocabulary = Vocabulary(("the", "good", "fine", "bad", "film"))
    values = [math.nan] * FIRST_WORD + [math.nan, 2.0, 0.5, -3.0, 0.0]
    return LogOdds(vocabulary, torch.tensor(values, dtype=torch.float64), ("neg", "pos"))


def test_the_regression_is_at_its_optimum(reviews, odds):
    """Subgradient conditions of ‖w‖₁ + |b| + C Σ weight · log(1 + exp(−y(w·x + b))), C = 3."""
    data = reviews["train"]
    words = odds.vocabulary.words
    kept = [word for word in words if word not in ENGLISH_STOP_WORDS]
    x = np.zeros((len(data), len(kept)))
    for row, record in enumerate(data):
        bag = {unit.lower() for unit in record.units}
        for column, word in enumerate(kept):
            x[row, column] = word in bag
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.array([1 if record.label else -1 for record in data])
    balance = np.where(y > 0, len(y) / (2 * (y > 0).sum()), len(y) / (2 * (y < 0).sum()))
    w = odds.coefficients[[FIRST_WORD + words.index(word) for word in kept]].numpy()
    assert np.isfinite(w).all()

    def loss(b):
        return abs(b) + 3 * (balance * np.logaddexp(0, -y * (x @ w + b))).sum()

    b = minimize_scalar(loss, bounds=(-10, 10), method="bounded", options={"xatol": 1e-9}).x
    gradient = -3 * x.T @ (balance * y / (1 + np.exp(y * (x @ w + b))))
    used = w != 0
    assert 5 < used.sum() < len(kept) / 2
    np.testing.assert_allclose(gradient[used], -np.sign(w[used]), atol=0.05)
    assert (np.abs(gradient[~used]) < 1.05).all()


def test_stop_words_and_special_ids_have_no_coefficient(reviews, odds):
    removed = [
        w for w, k in zip(odds.vocabulary.words, odds.kept[FIRST_WORD:], strict=True) if not k
    ]
    assert removed == [word for word in odds.vocabulary.words if word in ENGLISH_STOP_WORDS]
    assert "the" in removed
    assert not odds.kept[:FIRST_WORD].any()
    everything = fit_log_odds(reviews["train"], stop_words=())
    assert everything.kept[FIRST_WORD:].all()
    assert odds.coefficients.shape == (len(odds.vocabulary),)
    polarity = opinion_words()
    for positive, sign in ((True, 1), (False, -1)):
        assert [polarity.get(word) for word in odds.extremes(8, positive)].count(sign) >= 7


def test_weights_by_hand():
    odds = toy_odds()
    records = [
        text_record("a", "The good bad film"),
        text_record("b", "the unknown the"),
        text_record("c", "fine"),
    ]
    units = torch.tensor([[0, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 1, 0, 0, 0]]).bool()
    weights, none = odds.weights(records, units)
    powers = np.exp([2.0, 3.0, 0.0])
    expected = [0, 0, *(powers / powers.sum())]
    np.testing.assert_allclose(weights[0].numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(weights[1].numpy(), [0, 1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)
    assert weights[2].tolist() == [0, 1, 0, 0, 0]
    assert none.tolist() == [False, True, False]


def test_the_attention_word_gives_the_same_weights():
    odds = toy_odds()
    config = ClassifierConfig(("neg", "pos"), "average", "word", hidden=4, embedding_dim=4)
    net = AttentionClassifier(config, len(odds.vocabulary))
    net.attention.scores.copy_(odds.table)
    ids, present, units = pad_sequences([[4, 5, 7, 8], [4, UNK], [6]])
    weights, _ = odds.weights_of(ids, units)
    torch.testing.assert_close(net.run(Inputs(ids, present, units)).weights, weights)


def test_extremes():
    odds = toy_odds()
    assert odds.extremes(2, positive=True) == ("good", "fine")
    assert odds.extremes(1, positive=False) == ("bad",)
    with pytest.raises(NotApplicable, match="only 1 words speak for 'neg'"):
        odds.extremes(2, positive=False)


def test_the_penalty_by_hand():
    odds = toy_odds()
    torch.manual_seed(0)
    net = AttentionClassifier(
        ClassifierConfig(("neg", "pos"), "average", hidden=4, embedding_dim=4), len(odds.vocabulary)
    )
    run = net.run(Inputs(*pad_sequences([[5, 7], [4, 8, 5], [4, 4]])))
    wanted = [
        torch.softmax(torch.tensor([2.0, 3.0]), 0),
        torch.softmax(torch.tensor([-math.inf, 0.0, 2.0]), 0),
        torch.tensor([0.5, 0.5]),
    ]
    distances = [
        jensen_shannon(w, run.weights[row, 1 : 1 + len(w)]) for row, w in enumerate(wanted)
    ]
    found = log_odds_penalty(odds, 5.0)(run, torch.arange(3))
    torch.testing.assert_close(found, 5 * torch.stack(distances).mean())
    found.backward()
    assert (net.attention.vector.weight.grad != 0).any()
    with pytest.raises(SettingsError, match="0 or more"):
        log_odds_penalty(odds, -1.0)


def test_post_hoc_against_a_loop(reviews, trained, odds):
    model, test = trained.model, reviews["test"]
    found = post_hoc(model, test, odds, SETTINGS)
    jsd, change, new, old = [], [], [], []
    for record in test:
        batch = model.collate([record])
        states = model.encode(batch)
        own = model.attend(states)[0, 1:-1]
        scores = torch.tensor(
            [
                -math.inf if not odds.kept[i] else abs(float(odds.coefficients[i]))
                for i in odds.vocabulary.encode(record.units)
            ]
        )
        given = torch.softmax(scores, 0)
        outputs = [
            model.decode(states, torch.nn.functional.pad(w, (1, 1)).unsqueeze(0)).exp()[0, 1].item()
            for w in (given, own)
        ]
        jsd.append(jensen_shannon(given, own).item())
        change.append(abs(outputs[0] - outputs[1]))
        new.append(outputs[0])
        old.append(outputs[1] > 0.5)
    labels = np.array([record.label for record in test])
    frame = found.instances
    assert frame["id"].to_list() == [record.id for record in test]
    np.testing.assert_allclose(frame["jsd"], jsd, atol=1e-5)
    np.testing.assert_allclose(frame["change"], change, atol=1e-5)
    assert found["accuracy"].value == pytest.approx(((np.array(new) > 0.5) == labels).mean())
    assert found["roc_auc"].value == pytest.approx(roc_auc_score(labels, new), abs=1e-6)
    assert found["own_accuracy"].value == pytest.approx(((np.array(new) > 0.5) == old).mean())
    assert found["own_roc_auc"].value == pytest.approx(roc_auc_score(old, new), abs=1e-6)
    assert found["jsd"].value == pytest.approx(np.mean(jsd), abs=1e-6)
    assert found["spearman"].value == pytest.approx(spearmanr(jsd, change).statistic, abs=1e-3)
    bins = [e for e in found.estimates if e.statistic == "jsd" and e.group.startswith("max weight")]
    assert sum(e.n for e in bins) == len(test)
    assert not found.notes
    with pytest.raises(KeyError):
        found["nothing"]


def test_post_hoc_counts_texts_without_words(trained, odds):
    records = [text_record("a", "the of and", label=0), text_record("b", "great film", label=1)]
    found = post_hoc(trained.model, Dataset("two", tuple(records), odds.classes), odds, SETTINGS)
    assert found.notes == ("1 of 2 texts have no word with a score and get equal weights.",)
    assert found.instances["without_words"].to_list() == [True, False]


def test_substitution_against_a_loop(reviews, trained, odds):
    model, test = trained.model, reviews["test"]
    found = substitution(model, test, odds, replaced=6, settings=SETTINGS)
    flips, moved, short = [], [], 0
    for record in test:
        batch = model.collate([record])
        before = model.forward(batch).exp()[0, 1].item()
        weights = model.attend(model.encode(batch))[0, 1:-1]
        words = odds.extremes(6, positive=before <= 0.5)
        units = list(record.units)
        for word, place in zip(words, weights.argsort(descending=True).tolist(), strict=False):
            units[place] = word
        after = model.forward(model.collate([replace(record, units=tuple(units))]))
        after = after.exp()[0, 1].item()
        if len(units) > 6:
            flips.append((before > 0.5) != (after > 0.5))
            moved.append(abs(before - after))
        else:
            short += 1
    assert found["flip_top"].value == pytest.approx(np.mean(flips))
    assert found["flip_top"].n == len(flips)
    assert found["flip_top"].undefined == short > 0
    assert found.notes == (f"{short} of 60 texts have 6 units or fewer.",)
    frame = found.instances
    np.testing.assert_allclose(frame["change_top"].drop_nulls(), moved, atol=1e-5)
    gain = (frame["flip_top"] - frame["flip_random"]).mean()
    assert found["flip_gain"].value == pytest.approx(gain)
    assert 0 < found["flip_random"].value <= 1
    again = substitution(model, test, odds, replaced=6, settings=SETTINGS)
    assert again.instances.equals(frame)
    other = substitution(
        model, test, odds, replaced=6, settings=Settings(resamples=200, seed=1)
    ).instances
    assert other["change_top"].equals(frame["change_top"])
    assert not other["change_random"].equals(frame["change_random"])


def test_all_four_experiments(reviews, trained, odds):
    found = log_odds_experiments(
        reviews,
        settings=SETTINGS,
        learned=trained,
        replaced=2,
        weight=200.0,
        strength=3.0,
        encoder="average",
        hidden=8,
        embedding_dim=8,
        options=OPTIONS,
    )
    assert found.models["learned"] is trained
    torch.testing.assert_close(found.odds.coefficients, odds.coefficients, equal_nan=True)
    # fixed weights are the log-odds weights, and the loss term pulls towards them
    assert found.fixed["jsd"].value == pytest.approx(0, abs=1e-6)
    assert found.regularised["jsd"].value < 0.7 * found.learned["jsd"].value
    assert found.models["fixed"].model.net.config.attention == "word"
    assert found.models["fixed"].model.vocabulary == trained.model.vocabulary
    for name in ("learned", "fixed", "regularised"):
        measured = getattr(found, name)
        assert measured["accuracy"].n == len(reviews["test"])
        batch = found.models[name].model.collate(reviews["test"].records)
        predicted = found.models[name].model.forward(batch).argmax(1).tolist()
        right = np.mean([p == r.label for p, r in zip(predicted, reviews["test"], strict=True)])
        assert measured["accuracy"].value == pytest.approx(right)
    assert found.post_hoc["jsd"] == found.learned["jsd"]
    assert found.substitution["flip_top"].n > 0


def test_a_model_that_is_not_ours():
    """Any model under the cut, here one with words of its own."""
    records = [text_record(f"r{i}", "w1 w2 w3 w4", label=i % 2) for i in range(4)]
    data = Dataset("toy", tuple(records), ("neg", "pos"))
    words = tuple(f"w{i}" for i in range(6))
    coefficients = torch.tensor([math.nan] * 4 + [1.0, -1, 2, -2, 0, 3], dtype=torch.float64)
    odds = LogOdds(Vocabulary(words), coefficients, data.classes)
    assert post_hoc(reader(), data, odds, SETTINGS)["jsd"].n == 4
    assert substitution(reader(), data, odds, replaced=2, settings=SETTINGS)["flip_top"].n == 4


def test_what_is_not_applicable_is_refused(reviews, odds):
    three = Dataset("three", (text_record("a", "x", label=2),), ("a", "b", "c"))
    with pytest.raises(NotApplicable, match="3 classes"):
        fit_log_odds(three)
    with pytest.raises(NotApplicable, match="3 classes"):
        post_hoc(reader(3), three, odds)
    pair = TextPair("a", "x", ("x",), ((0, 1),), 0, None, "q", ("q",))
    with pytest.raises(NotApplicable, match="pairs"):
        fit_log_odds(Dataset("pairs", (pair,), ("a", "b")))
    with pytest.raises(NotApplicable, match="3 classes"):
        log_odds_experiments({"train": three, "dev": three, "test": three})
    with pytest.raises(SettingsError, match="strength"):
        fit_log_odds(reviews["train"], strength=0.0)
    with pytest.raises(SettingsError, match="1 or more"):
        substitution(reader(), reviews["test"], odds, replaced=0)
