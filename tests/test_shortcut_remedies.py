"""Random attention pretraining and instance weighting."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from attnaudit.data.generated.shortcut_tasks import generate_bow_splits
from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.judges.reading import read
from attnaudit.models.selective.model import new_selective, selective_vocabulary
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.selective.mask_laws import MaskLaw
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.remedies.instance_weighting import (
    ESTIMATORS,
    fit_mask_neutral,
    mask_neutral_weights,
)
from attnaudit.remedies.random_pretraining import random_attention_pretrain
from attnaudit.training.fitting import fit_decoder, fit_generator
from attnaudit.training.options import options_for
from attnaudit.training.parts import parameters_of, parts_of
from attnaudit.training.text import new_net
from tests.toys import dataset, reader

SPLITS = generate_bow_splits(300, 60, 100, seed=1)
TRAIN, DEV = SPLITS["train"], SPLITS["dev"]
WORDS = selective_vocabulary(TRAIN.records)
FAST = options_for("selector", epochs=2, batch_size=32)
HARD = MaskLaw("hard", 3)


def selective(**options):
    config = SelectiveConfig(TRAIN.classes, mask="hard", k=3, hidden=8, embedding_dim=8, **options)
    return new_selective(config, WORDS, 0)


def classifier():
    config = ClassifierConfig(TRAIN.classes, "average", "additive", 8, 8)
    return TextClassifier(new_net(config, len(WORDS), 0), WORDS)


def telling(n=600, strength=1.0, seed=0, classes=2):
    """Masks of three numbers, the first of which tells the label."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    masks = rng.normal(size=(n, 3))
    masks[:, 0] += strength * y
    return masks, y


def test_weights_against_the_formula_fold_by_fold():
    masks, y = telling(strength=1.5)
    found = mask_neutral_weights(masks, y, folds=4, seed=3, clip=(0.2, 3.0))
    own, told = np.empty(len(y)), np.empty(len(y))
    for fit, rest in StratifiedKFold(4, shuffle=True, random_state=3).split(masks, y):
        scale = StandardScaler().fit(masks[fit])
        line = LogisticRegression(max_iter=1000).fit(scale.transform(masks[fit]), y[fit])
        chances = line.predict_proba(scale.transform(masks[rest]))
        own[rest], told[rest] = chances[np.arange(len(rest)), y[rest]], chances[:, 1]
    weights = 1 / own
    for step in ("divide", "clip", "divide"):
        if step == "clip":
            weights = weights.clip(0.2, 3.0)
        else:
            for label in (0, 1):
                weights[y == label] /= weights[y == label].mean()
    np.testing.assert_allclose(found.weights, weights, rtol=1e-9)
    assert found.auc == pytest.approx(roc_auc_score(y, told))
    assert found.weighted_auc == pytest.approx(roc_auc_score(y, told, sample_weight=weights))
    assert found.effective_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert found.poor_overlap == pytest.approx((own < 0.05).mean())


def test_with_the_true_chances_label_and_mask_become_independent():
    """The theorem, by exact sums over a small joint distribution of mask, value and label."""
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.ones(3 * 4 * 2)).reshape(3, 4, 2)  # mask, value, label
    mask_label = joint.sum(1)
    given_mask = mask_label / mask_label.sum(1, keepdims=True)
    weights = mask_label.sum(0) / given_mask
    loss = rng.normal(size=joint.shape)
    weighted = (weights[:, None, :] * joint * loss).sum()
    value_given = joint / mask_label[:, None, :]
    neutral = mask_label.sum(1)[:, None, None] * mask_label.sum(0)[None, None, :] * value_given
    assert neutral.sum() == pytest.approx(1)
    assert weighted == pytest.approx((neutral * loss).sum())


@settings(deadline=None, max_examples=25)
@given(
    strength=st.floats(0, 4),
    seed=st.integers(0, 99),
    classes=st.integers(2, 4),
    low=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    high=st.sampled_from([1.0, 2.0, 20.0]),
)
def test_weights_keep_the_classes_as_they_are(strength, seed, classes, low, high):
    masks, y = telling(120, strength, seed, classes)
    found = mask_neutral_weights(masks, y, folds=2, clip=(low, high), seed=seed)
    for label in range(classes):
        assert found.weights[y == label].mean() == pytest.approx(1)
    assert (found.weights >= 0).all()
    assert 1 <= found.effective_size <= len(y) * (1 + 1e-9)
    assert 0 <= found.poor_overlap <= 1
    if low == high == 1:
        np.testing.assert_allclose(found.weights, 1)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_removes_what_it_sees(estimator):
    masks, y = telling(500)
    found = mask_neutral_weights(masks, y, estimator)
    assert found.auc > 0.7
    # by what really tells the label, not by the estimate of it
    telltale = roc_auc_score(y, masks[:, 0], sample_weight=found.weights)
    assert abs(telltale - 0.5) < abs(roc_auc_score(y, masks[:, 0]) - 0.5) / 2
    blind, y = telling(500, 0.0)
    assert mask_neutral_weights(blind, y, estimator).auc == pytest.approx(0.5, abs=0.08)


def test_what_is_wrong_with_weights_is_said():
    assert mask_neutral_weights(*telling(400, 0.5)).warnings == ()
    masks, y = telling(400, 20.0)
    y[:8] = 1 - y[:8]  # a few whose mask says the opposite get all the weight
    found = mask_neutral_weights(masks, y, clip=(0.0, 1e9))
    assert "of 400 instances: a few decide" in found.warnings[0]
    assert found.effective_size < 80
    # of thirty classes that masks say nothing of, each has a probability of 3 %
    found = mask_neutral_weights(*telling(600, 0.0, classes=30))
    assert found.poor_overlap > 0.5
    assert "all but rules out" in found.warnings[-1]


def test_rows_of_weights_are_seen_from_both_ends():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    rows = []
    for label in y:  # the label is told by the last unit of texts of every length
        row = rng.random(rng.integers(3, 40))
        row[-1] = 2.0 * label
        rows.append(row / row.sum())
    assert mask_neutral_weights(rows, y).auc > 0.95


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"estimator": "tree"}, SettingsError, "no estimator is called 'tree'"),
        ({"folds": 1}, SettingsError, "folds is 1"),
        ({"clip": (2.0, 3.0)}, SettingsError, "holds 1"),
        ({"y": [0, 1]}, DataError, "4 masks but 2 labels"),
        ({"y": [0, 0, 0, 0]}, DataError, "two classes"),
        ({"y": [0, 0, 0, 1], "folds": 2}, DataError, "one a fold"),
    ],
)
def test_weights_that_cannot_be_had(options, error, message):
    with pytest.raises(error, match=message):
        mask_neutral_weights(**{"masks": np.zeros((4, 2)), "y": [0, 1, 0, 1], **options})


@pytest.mark.parametrize("make", [selective, classifier])
def test_mask_neutral_training(make):
    model = make()
    before = model.fingerprint()
    fitted = fit_mask_neutral(model, TRAIN, DEV, replace(FAST, epochs=3), folds=3)
    assert len(fitted.neutral) == len(fitted.history) == 3
    assert all(len(step.weights) == len(TRAIN) for step in fitted.neutral)
    assert model.fingerprint() == before != fitted.model.fingerprint()
    # each epoch has the weights of the masks as they were before it
    again = fit_mask_neutral(model, TRAIN, DEV, replace(FAST, epochs=1), folds=3)
    labels = np.array([record.label for record in TRAIN])
    second = mask_neutral_weights(read(again.model, TRAIN).weights, labels, folds=3, seed=1)
    np.testing.assert_allclose(fitted.neutral[1].weights, second.weights, rtol=1e-6)


def values(model):
    return {name: value.clone() for name, value in parameters_of(model).items()}


@pytest.mark.parametrize(("make", "law"), [(selective, HARD), (classifier, MaskLaw())])
def test_the_decoder_is_frozen_before_the_weights_are_trained(make, law):
    done = random_attention_pretrain(make(), TRAIN, DEV, law, FAST)
    parts = parts_of(copy.deepcopy(done.model), TRAIN.records)
    decoder, final = values(done.decoder.model), values(done.model)
    assert all(torch.equal(decoder[name], final[name]) for name in parts.decoder)
    assert any(not torch.equal(decoder[name], final[name]) for name in parts.generator)
    assert set(done.generator.parameters) == set(parts.generator)
    assert (done.held_out, done.finetuned) == (None, None)
    tuned = random_attention_pretrain(make(), TRAIN, DEV, law, FAST, finetune=True)
    assert tuned.generator.model.fingerprint() == done.model.fingerprint()
    assert tuned.model is tuned.finetuned.model
    assert tuned.model.fingerprint() != done.model.fingerprint()


@pytest.mark.parametrize(("make", "law"), [(selective, HARD), (classifier, MaskLaw())])
def test_a_decoder_that_the_generator_has_not_seen(make, law):
    done = random_attention_pretrain(make(), TRAIN, DEV, law, FAST, held_out=2)
    parts = parts_of(copy.deepcopy(done.model), TRAIN.records)
    first, other, final = map(values, (done.decoder.model, done.held_out.model, done.model))
    for name in parts.decoder:
        assert torch.equal(final[name], other[name])
        assert torch.equal(final[name], first[name]) == (name in parts.shared)
    aimed = values(done.generator.model)
    assert all(torch.equal(final[name], aimed[name]) for name in parts.generator)
    outputs = softmax(read(done.model, DEV).log_probabilities, 1)
    labels = [record.label for record in DEV]
    assert done.generator.dev["dev_loss"] == pytest.approx(log_loss(labels, outputs), abs=1e-5)
    slow = replace(FAST, learning_rate=1e-9)
    kept = random_attention_pretrain(make(), TRAIN, DEV, law, slow, held_out=2, fresh=False)
    for name, value in values(make()).items():
        torch.testing.assert_close(values(kept.model)[name], value, atol=1e-6, rtol=0)
    with pytest.raises(SettingsError, match="held_out is -1"):
        random_attention_pretrain(make(), TRAIN, DEV, law, FAST, held_out=-1)
    with pytest.raises(SettingsError, match="choose one"):
        random_attention_pretrain(make(), TRAIN, DEV, law, FAST, held_out=2, finetune=True)


def test_several_read_and_several_judge():
    readers = [
        fit_decoder(selective(), TRAIN, DEV, HARD, replace(FAST, seed=s)).model for s in (0, 1)
    ]
    judges = [
        fit_decoder(selective(), TRAIN, DEV, HARD, replace(FAST, seed=s)).model for s in (2, 3)
    ]
    still = replace(FAST, learning_rate=1e-12, epochs=1)
    fitted = fit_generator(readers[0], TRAIN, DEV, still, readers=readers, judges=judges)
    batch = fitted.model.collate(DEV.records)
    weights = fitted.model.attend(fitted.model.encode(batch))
    labels = torch.tensor([record.label for record in DEV])
    outputs = [judge.decode(judge.encode(batch), weights) for judge in judges]
    losses = [float(torch.nn.functional.nll_loss(some, labels)) for some in outputs]
    assert fitted.dev["dev_loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    rights = [float((some.argmax(1) == labels).double().mean()) for some in outputs]
    assert fitted.dev["dev_accuracy"] == pytest.approx(np.mean(rights))
    alone = [
        fit_generator(readers[0], TRAIN, DEV, still, readers=[reader]).history[0]["loss"]
        for reader in readers
    ]
    assert fitted.history[0]["loss"] == pytest.approx(np.mean(alone), abs=1e-4)


def test_both_remedies_for_a_module_that_is_not_ours():
    train, dev = dataset(60), dataset(30, seed=1)
    model = reader()
    before = model.fingerprint()
    done = random_attention_pretrain(model, train, dev, MaskLaw(), FAST, held_out=2)
    neutral = fit_mask_neutral(model, train, dev, FAST, folds=2)
    assert model.fingerprint() == before
    for remedied in (done.model, neutral.model):
        assert remedied.fingerprint() != before
        assert all(abs(row.sum() - 1) < 1e-5 for row in read(remedied, dev).weights)
