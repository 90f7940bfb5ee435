"""Training over the cut, and explainers of a black box."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss
from torch.nn.modules.module import register_module_forward_pre_hook

from attnaudit.data.generated.shortcut_tasks import generate_bow_splits, only_defaults
from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.evidence.judges.reading import read
from attnaudit.models.edits import EDITS
from attnaudit.models.encoded import Encoded
from attnaudit.models.pretrained.model import PretrainedClassifier, pooling_config
from attnaudit.models.selective.model import new_selective, selective_vocabulary
from attnaudit.models.text.model import TextClassifier
from attnaudit.models.wrapped.model import module_fingerprint
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.nets.selective.mask_laws import MaskLaw
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.remedies.explainer import fidelity
from attnaudit.training.fitting import fit_decoder, fit_generator, fit_jointly
from attnaudit.training.options import options_for
from attnaudit.training.parts import PROBED, parts_of, reset
from attnaudit.training.selective import train_selective
from attnaudit.training.text import new_net
from tests.toys import dataset, reader

SPLITS = generate_bow_splits(300, 60, 100, seed=1)
WORDS = selective_vocabulary(SPLITS["train"].records)
TRAIN_FEW = SPLITS["train"].records[:20]
FAST = options_for("selector", epochs=2, batch_size=32)
ALL = MaskLaw("hard", 99)


def selective(seed=0, **options):
    config = SelectiveConfig(SPLITS["train"].classes, hidden=8, embedding_dim=8, **options)
    return new_selective(config, WORDS, seed)


def classifier(attention="additive", encoder="average", seed=0):
    config = ClassifierConfig(SPLITS["train"].classes, encoder, attention, 8, 8)
    return TextClassifier(new_net(config, len(WORDS), seed), WORDS)


def wrapped(seed=0):
    return reader(deep=True, seed=seed)


CASES = {
    "selective": (selective, SPLITS, ("net.embedding", "net.downstream"), ("net.generator",)),
    "hard": (
        lambda: selective(mask="hard", k=2),
        SPLITS,
        ("net.embedding", "net.downstream"),
        ("net.generator",),
    ),
    "classifier": (
        classifier,
        SPLITS,
        ("net.embedding", "net.encoder", "net.head"),
        ("net.attention",),
    ),
    "wrapped": (
        wrapped,
        {"train": dataset(60), "dev": dataset(20, seed=1)},
        ("module.table", "module.rnn", "module.head"),
        ("module.query",),
    ),
}


def split_of(name):
    make, splits, decoder, generator = CASES[name]
    return make(), splits, decoder, generator


def parameters(model):
    """Every parameter, by an implementation of its own: attributes that are modules."""
    part = model.module if hasattr(model, "module") else model.net
    prefix = "module" if hasattr(model, "module") else "net"
    return {f"{prefix}.{name}": value.clone() for name, value in part.named_parameters()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", CASES)
def test_parts_by_differentiation(name):
    model, splits, decoder, generator = split_of(name)
    parts = parts_of(copy.deepcopy(model), splits["train"].records)
    every = parameters(model)
    assert set(parts.decoder) == {key for key in every if key.startswith(decoder)}
    # a constant added to all energies changes no softmax, but it takes part in the computation
    assert set(parts.generator) == {key for key in every if key.startswith(generator)}


@pytest.mark.parametrize("name", CASES)
def test_each_fit_changes_its_part_alone_and_never_what_came_in(name):
    model, splits, decoder, generator = split_of(name)
    train, dev = splits["train"], splits["dev"]
    before, print_before = parameters(model), model.fingerprint()
    judged = fit_decoder(model, train, dev, MaskLaw(), FAST, fresh=False)
    turned = changed(before, parameters(judged.model))
    assert turned
    assert all(key.startswith(decoder) for key in turned)
    assert set(judged.parameters) >= turned
    aimed = fit_generator(judged.model, train, dev, FAST)
    turned = changed(parameters(judged.model), parameters(aimed.model))
    assert turned
    assert all(key.startswith(generator) for key in turned)
    both = changed(before, parameters(fit_jointly(model, train, dev, FAST).model))
    assert any(key.startswith(decoder) for key in both)
    assert any(key.startswith(generator) for key in both)
    assert model.fingerprint() == print_before
    assert type(aimed.model) is type(model)
    part = getattr(aimed.model, "module", None) or aimed.model.net
    assert not any(parameter.requires_grad for parameter in part.parameters())
    assert not any(module.training for module in part.modules()) or name == "classifier"


def test_a_copy_of_a_wrapped_module_runs_on_its_own_parameters():
    model, records = wrapped(), dataset(5).records
    first, second = copy.deepcopy(model), copy.deepcopy(copy.deepcopy(model))
    batch = model.collate(records)
    expected = model.forward(batch)
    for copied in (first, second):
        torch.testing.assert_close(copied.forward(batch), expected)
    other = wrapped(seed=1)
    second.module.load_state_dict(other.module.state_dict())
    torch.testing.assert_close(second.forward(batch), other.forward(batch))
    torch.testing.assert_close(second.embed(batch), other.embed(batch))
    torch.testing.assert_close(first.forward(batch), expected)
    torch.testing.assert_close(model.forward(batch), expected)
    linear = copy.deepcopy(reader())
    linear.module.load_state_dict(reader(seed=2).module.state_dict())
    assert Encoded(linear, linear.collate(records)).outputs.shape == (5, 2)
    torch.testing.assert_close(linear.forward(batch), reader(seed=2).forward(batch))


def test_the_development_scores_are_those_of_the_masks():
    fitted = fit_decoder(selective(), SPLITS["train"], SPLITS["dev"], ALL, FAST)
    model = fitted.model
    batch = model.collate(SPLITS["dev"].records)
    equal = batch.units / batch.units.sum(1, keepdim=True)
    outputs = model.decode(model.encode(batch), equal).double().numpy()
    labels = np.array([record.label for record in SPLITS["dev"]])
    assert fitted.dev["dev_loss"] == pytest.approx(log_loss(labels, softmax(outputs, 1)), abs=1e-5)
    assert fitted.dev["dev_accuracy"] == pytest.approx((outputs.argmax(1) == labels).mean())
    best = min(row["dev_loss"] for row in fitted.history)
    assert fitted.history[fitted.best_epoch - 1]["dev_loss"] == best


class Normed(torch.nn.Module):
    """Batch normalisation of vectors, however many dimensions stand before."""

    def __init__(self, size):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(size, affine=False)

    def forward(self, vectors):
        return self.norm(vectors.reshape(-1, vectors.shape[-1])).view(vectors.shape)


def test_running_means_are_those_of_the_best_epoch():
    model = reader(deep=True)
    # the list that decodes is the module's own
    model.module.head.insert(1, Normed(8).eval())
    train, dev = dataset(80), dataset(60, seed=1)
    fitted = fit_jointly(
        model, train, dev, options_for("selector", epochs=6, patience=None, learning_rate=0.1)
    )
    assert fitted.best_epoch < len(fitted.history)
    outputs = read(fitted.model, dev).log_probabilities
    labels = [record.label for record in dev]
    assert fitted.dev["dev_loss"] == pytest.approx(log_loss(labels, softmax(outputs, 1)), abs=1e-5)
    assert not torch.equal(fitted.model.module.head[1].norm.running_mean, torch.zeros(8))


def test_a_decoder_learns_from_random_masks():
    options = options_for("selector", epochs=25, batch_size=32, learning_rate=1e-2)
    fitted = fit_decoder(selective(), SPLITS["train"], SPLITS["dev"], MaskLaw(), options)
    model, test = fitted.model, SPLITS["test"]
    batch = model.collate(test.records)
    truth = torch.zeros(batch.units.shape)
    truth[batch.units] = torch.tensor([float(t) for r in test for t in r.truth]) / 5
    right = model.decode(model.encode(batch), truth).argmax(1)
    assert (right == torch.tensor([r.label for r in test])).float().mean() > 0.9


def test_a_selective_model_learns_its_task():
    options = options_for(
        "selector", epochs=20, batch_size=16, learning_rate=1e-2, select="accuracy"
    )
    fitted = fit_jointly(
        selective(mask="hard", k=3, dropout=0.1), SPLITS["train"], SPLITS["dev"], options
    )
    assert fitted.dev["dev_accuracy"] > 0.75
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]


def test_equal_seeds_equal_models_whatever_was_drawn_before():
    def made(seed):
        options = replace(FAST, seed=seed, draws=3)
        model = selective(mask="hard", k=2, dropout=0.3)
        judged = fit_decoder(model, SPLITS["train"], SPLITS["dev"], model.net.config.law, options)
        return fit_jointly(judged.model, SPLITS["train"], SPLITS["dev"], options).model

    first = made(3).fingerprint()
    torch.rand(5)
    assert made(3).fingerprint() == first != made(4).fingerprint()


def test_fresh_values_depend_on_the_seed_alone():
    model = selective()
    parts = parts_of(model, SPLITS["train"].records)
    before = parameters(model)
    reset(parts, parts.decoder, 7)
    once = parameters(model)
    assert changed(before, once) == set(parts.decoder)
    assert once["net.embedding.weight"].std() == pytest.approx(1, abs=0.1)
    assert (once["net.embedding.weight"][0] == 0).all()
    reset(parts, parts.decoder, 8)
    assert changed(once, parameters(model)) == set(parts.decoder)
    reset(parts, parts.decoder, 7)
    assert not changed(once, parameters(model))


def test_weights_of_instances():
    train, dev = SPLITS["train"], SPLITS["dev"]
    labels = torch.tensor([record.label for record in train])
    plain = fit_jointly(selective(), train, dev, FAST).model.fingerprint()
    ones = fit_jointly(selective(), train, dev, FAST, weights=torch.ones(300))
    assert ones.model.fingerprint() == plain
    seen = []

    def only_positives(model):
        seen.append(model)
        return 2.0 * labels

    options = replace(FAST, learning_rate=0.05, epochs=3, patience=None)
    one_sided = fit_jointly(selective(), train, dev, options, weights=only_positives)
    assert len(seen) == 3
    assert one_sided.history[-1]["loss"] < 0.1
    assert one_sided.history[-1]["dev_accuracy"] == 0.5


def test_batches_keep_to_the_token_budget():
    sizes = []

    def counted(module, inputs):
        if isinstance(module, torch.nn.Embedding):
            sizes.append((inputs[0].numel(), inputs[0].shape[0]))

    def most(budget):
        sizes.clear()
        options = replace(FAST, epochs=1, token_budget=budget)
        fit_jointly(selective(), SPLITS["train"], SPLITS["dev"], options)
        # passes over few texts find out what depends on what
        return max(size for size, texts in sizes if texts > PROBED)

    with register_module_forward_pre_hook(counted):
        assert most(400) <= 400 < most(1600) <= 1600


def test_what_cannot_be_trained():
    train, dev = SPLITS["train"], SPLITS["dev"]
    with pytest.raises(ModelError, match="no parameters of their own"):
        fit_generator(classifier("uniform"), train, dev, FAST)
    unlabelled = train.select([replace(train.records[0], label=None), *train.records[1:]])
    with pytest.raises(DataError, match="has the label None"):
        fit_decoder(selective(), unlabelled, dev, MaskLaw(), FAST)
    with pytest.raises(ModelError, match="the loss is"):
        fit_jointly(selective(), train, dev, replace(FAST, learning_rate=1e30))
    for wrong in ({"epochs": 0}, {"draws": 0}, {"select": "auc"}, {"learning_rate": 0.0}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            options_for("selector", **wrong)


def test_a_pretrained_encoder_stays_as_it_is(tmp_path):
    pytest.importorskip("transformers", reason="the extra `transformers` is absent")
    from tests.tiny_transformers import tiny

    texts = [record.text for record in TRAIN_FEW]
    encoder = load_transformer(tiny("bert", tmp_path, texts=texts, positions=200), -1)
    config = pooling_config(encoder, SPLITS["train"].classes)
    model = PretrainedClassifier(encoder, new_net(config, None, 0))
    few = SPLITS["train"].select(TRAIN_FEW)
    before = module_fingerprint(encoder.transformer)
    judged = fit_decoder(model, few, few, MaskLaw(), FAST)
    assert set(judged.parameters) == {"net.head.weight", "net.head.bias"}
    aimed = fit_generator(judged.model, few, few, FAST)
    assert all(name.startswith("net.attention") for name in aimed.parameters)
    assert aimed.model.encoder is encoder
    assert module_fingerprint(encoder.transformer) == before
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_question_is_part_of_the_weights():
    pairs = {name: only_defaults(data, 3) for name, data in SPLITS.items()}
    words = selective_vocabulary(pairs["train"].records)
    config = SelectiveConfig(pairs["train"].classes, hidden=8, embedding_dim=8, question=True)
    model = new_selective(config, words, 0)
    parts = parts_of(copy.deepcopy(model), pairs["train"].records)
    assert all(key.startswith("net.generator") for key in parts.generator)
    assert any(key.startswith("net.generator.question") for key in parts.generator)
    options = options_for("selector", epochs=15, batch_size=16, learning_rate=1e-2)
    fitted = fit_jointly(model, pairs["train"], pairs["dev"], options)
    # the values are the same in every record: what is right is read from the weights
    assert fitted.dev["dev_accuracy"] > 0.7


@pytest.fixture(scope="module")
def black_box():
    options = options_for(
        "selector", epochs=12, batch_size=16, learning_rate=1e-2, select="accuracy"
    )
    return fit_jointly(classifier("uniform"), SPLITS["train"], SPLITS["dev"], options).model


@pytest.fixture(scope="module")
def explainer(black_box):
    train, dev = (
        Dataset("unlabelled", tuple(replace(r, label=None) for r in SPLITS[name]), ("a", "b"))
        for name in ("train", "dev")
    )
    options = options_for(
        "selector", epochs=15, batch_size=16, learning_rate=1e-2, select="accuracy"
    )
    splits = {"train": train, "dev": dev}
    return train_selective(splits, options, black_box=black_box, keep=4).model


def test_an_explainer_of_a_black_box(black_box, explainer):
    assert explainer.classes == black_box.classes
    assert explainer.name == "choice of 4 for average+uniform"
    said, own = read(black_box, SPLITS["test"]), read(explainer, SPLITS["test"])
    assert (said.predicted == own.predicted).mean() > 0.7
    assert all((row > 0).sum() == 4 for row in own.weights)


def test_fidelity_against_one_text_at_a_time(black_box, explainer):
    test = SPLITS["test"]
    rows = read(explainer, test).weights
    agreed = {True: [], False: []}
    for record, row in zip(test, rows, strict=True):
        batch = black_box.collate([record])
        full = black_box.forward(batch).argmax()
        for part in agreed:
            gone = torch.zeros_like(batch.units)
            gone[0, 1 : 1 + len(row)] = torch.from_numpy((row > 0) != part)
            rest = EDITS["pad"](batch, gone, black_box)
            agreed[part].append(bool(black_box.forward(rest).argmax() == full))
    found = fidelity(explainer, black_box, test)
    assert found.fs_m.value == pytest.approx(np.mean(agreed[True]))
    assert found.fu_m.value == pytest.approx(np.mean(agreed[False]))
    assert (found.fs_m.n, found.fs_a, found.fu_a) == (100, None, None)
    assert 0.5 <= found.majority < 0.7
    # what was chosen speaks for the black box, and more than what was left
    assert found.fs_m.value > found.fu_m.value


def test_fresh_networks_learn_from_each_part(black_box, explainer):
    options = options_for("selector", epochs=6, batch_size=32, learning_rate=1e-2)
    found = fidelity(
        explainer, black_box, SPLITS["test"], SPLITS["train"], SPLITS["dev"], options=options
    )
    assert found.fs_a.value > 0.6
    assert found.fs_a.low < found.fs_a.value < found.fs_a.high
    assert found.fu_a.n == 100


def test_fidelity_that_cannot_be_measured(black_box, explainer):
    test = SPLITS["test"]
    with pytest.raises(SettingsError, match="no edit"):
        fidelity(explainer, black_box, test, edit="burn")
    with pytest.raises(SettingsError, match="both train and dev"):
        fidelity(explainer, black_box, test, SPLITS["train"])
    with pytest.raises(DataError, match="selects every unit"):
        fidelity(selective(), black_box, test)
