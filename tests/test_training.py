"""Training: it learns, it repeats itself, it keeps the best epoch, it refuses bad input."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score

from attnaudit.data.records import Dataset, Text
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.nets.text.inputs import Examples
from attnaudit.nets.text.vectors import load_vectors
from attnaudit.nets.text.vocabulary import build_vocabulary, pad_sequences
from attnaudit.training.evaluation import predict, score, selection_metric
from attnaudit.training.loop import noisy_batches
from attnaudit.training.options import TrainOptions
from attnaudit.training.text import new_net, train_text

FILLER = tuple(f"f{k}" for k in range(20))


def records(count, classes=2, seed=0):
    """Filler with one telling word `k…` a class; every class is frequent."""
    random = np.random.default_rng(seed)
    made = []
    for row in range(count):
        label = row % classes
        units = [*random.choice(FILLER, size=random.integers(2, 9)), f"k{label}"]
        random.shuffle(units)
        spans = tuple((3 * place, 3 * place + 2) for place in range(len(units)))
        made.append(Text(f"r{row}", " ".join(units), tuple(map(str, units)), spans, label))
    return made


def unlabelled(sequences):
    return Examples(sequences, torch.zeros(len(sequences), dtype=torch.long))


def config(classes=2, encoder="average", **options):
    names = tuple(f"c{k}" for k in range(classes))
    return ClassifierConfig(names, encoder, **{"hidden": 8, "embedding_dim": 6, **options})


def train(config, train, dev, options, **more):
    """`train_text` on records, with the network of a configuration."""
    splits = {
        name: Dataset("made", tuple(some), config.classes, name)
        for name, some in (("train", train), ("dev", dev))
    }
    sizes = {"hidden": config.hidden, "embedding_dim": config.embedding_dim}
    return train_text(splits, options, encoder=config.encoder, **sizes, **more)


FAST = TrainOptions(epochs=8, batch_size=16, learning_rate=0.03)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns_a_telling_word(encoder, classes):
    result = train(config(classes, encoder), records(160, classes), records(60, classes, 1), FAST)
    test = records(60, classes, seed=2)
    sequences = [result.model.vocabulary.encode(record.units) for record in test]
    outputs = predict(result.model.net, unlabelled(sequences))
    labels = np.array([record.label for record in test])
    assert accuracy_score(labels, outputs.argmax(1)) > 0.95
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_equal_seeds_give_equal_parameters_and_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    data = records(60), records(20, seed=1)
    options = TrainOptions(epochs=2, seed=3)
    torch.manual_seed(5)
    one = train(config(), *data, options)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    two = train(config(), *data, options)
    assert torch.equal(before, torch.get_rng_state())
    other = train(config(), *data, TrainOptions(epochs=2, seed=4))
    for (name, a), b, c in zip(
        one.model.net.state_dict().items(),
        two.model.net.state_dict().values(),
        other.model.net.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(a, b), name
        assert not torch.equal(a, c), name
    assert one.history == two.history
    torch.set_rng_state(state)


def adam(parameter, gradient, state, lr=1e-3, decay=0.0, betas=(0.9, 0.999), eps=1e-8):
    """One step of Adam with AMSGrad and L2 (Reddi et al. 2018; PyTorch's bias terms)."""
    gradient = gradient + decay * parameter
    state["t"] += 1
    state["m"] = betas[0] * state["m"] + (1 - betas[0]) * gradient
    state["v"] = betas[1] * state["v"] + (1 - betas[1]) * gradient**2
    state["max"] = torch.maximum(state["max"], state["v"])
    step = state["m"] / (1 - betas[0] ** state["t"])
    scale = (state["max"] / (1 - betas[1] ** state["t"])).sqrt() + eps
    return parameter - lr * step / scale


def test_the_first_epoch_against_the_recipe_by_hand():
    """Sum of cross-entropies with positives weighted, AMSGrad, no decay on the attention."""
    data, dev = records(40)[:35], records(10, seed=1)
    options = TrainOptions(epochs=1, batch_size=10, seed=7)
    result = train(config(), data, dev, options)
    vocabulary = build_vocabulary(data)
    assert result.model.vocabulary == vocabulary
    torch.manual_seed(7)
    net = AttentionClassifier(config(), len(vocabulary))
    labels = torch.tensor([record.label for record in data])
    weight = (labels == 0).sum() / (labels == 1).sum()
    names = [name for name, _ in net.named_parameters()]
    states = {
        name: {"t": 0, "m": 0 * p, "v": 0 * p, "max": 0 * p} for name, p in net.state_dict().items()
    }
    generator = torch.Generator().manual_seed(7)
    total = 0.0
    for rows in noisy_batches([len(r.units) for r in data], 10, generator):
        ids, present, units = pad_sequences([vocabulary.encode(data[row].units) for row in rows])
        p = net(ids, present, units)
        y = labels[rows]
        loss = -(weight * y * p[:, 1] + (1 - y) * p[:, 0]).sum()
        total += loss.item()
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for name, parameter, gradient in zip(names, net.parameters(), gradients, strict=True):
                decay = 0.0 if name.startswith("attention") else 1e-5
                parameter.copy_(adam(parameter, gradient, states[name], decay=decay))
    assert result.history[0]["loss"] == pytest.approx(total / 35, rel=1e-5)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(result.model.net.state_dict()[name], value, atol=2e-5, rtol=1e-4)


def test_the_best_epoch_is_kept_and_patience_stops():
    """Labels are noise, so later epochs do no better: the best of the history is kept."""
    random = np.random.default_rng(0)
    noise = [Text(r.id, r.text, r.units, r.offsets, int(random.integers(2))) for r in records(120)]
    options = TrainOptions(epochs=30, learning_rate=0.01, patience=3)
    result = train(config(), noise[:60], noise[60:], options)
    scores = [row["dev_roc_auc"] for row in result.history]
    assert result.best_epoch == int(np.argmax(scores)) + 1
    assert len(scores) == result.best_epoch + 3 < 30
    sequences = [result.model.vocabulary.encode(record.units) for record in noise[60:]]
    labels = [record.label for record in noise[60:]]
    area = roc_auc_score(labels, predict(result.model.net, unlabelled(sequences))[:, 1].exp())
    assert area == pytest.approx(max(scores)) == pytest.approx(result.dev["dev_roc_auc"])


def test_steps_are_counted():
    calls = []
    options = TrainOptions(epochs=2, batch_size=10, report=lambda *call: calls.append(call))
    train(config(), records(35), records(8), options)
    assert calls == [("training", step, 8) for step in range(1, 9)]


def test_a_penalty_moves_the_weights_away_from_what_it_forbids():
    """Pruthi et al. 2020: −λ log(1 − Σ of the weights on forbidden words)."""
    data = records(160)
    vocabulary = build_vocabulary(data)
    telling = {vocabulary.ids["k0"], vocabulary.ids["k1"]}
    ids, _, _ = pad_sequences([vocabulary.encode(record.units) for record in data])
    forbidden = sum(ids == word for word in telling).bool()

    def mass(net):
        ids, present, units = pad_sequences([vocabulary.encode(r.units) for r in data])
        with torch.no_grad():
            weights = net.attend(net.encode(net.embed(ids), present, units), units)
        return float((weights * forbidden).sum(1).mean())

    shapes = []

    def deceive(passed, rows):
        weights, units = passed.weights, passed.units
        shapes.append((weights.shape, units.shape, len(rows)))
        assert torch.equal(units, forbidden[rows][:, : units.shape[1]] | units)
        held = (weights * forbidden[rows][:, : weights.shape[1]]).sum(1)
        return -10 * torch.log((1 - held).clamp(min=1e-6)).sum()

    options = TrainOptions(epochs=6, batch_size=16, learning_rate=0.03)
    honest = train(config(encoder="bilstm"), data, data, options)
    deceptive = train(config(encoder="bilstm"), data, data, options, penalty=deceive)
    assert mass(deceptive.model.net) < 0.02 < mass(honest.model.net)
    assert deceptive.dev["dev_accuracy"] > 0.9
    assert all(weights == units and len(weights) == 2 for weights, units, _ in shapes)


def test_vectors_are_the_start_and_padding_stays_zero(tmp_path):
    data = records(20)
    vocabulary = build_vocabulary(data)
    words = {word for record in data for word in record.units}
    rows = [f"{word} {' '.join(str(x) for x in torch.randn(6).tolist())}" for word in sorted(words)]
    (tmp_path / "some.vec").write_text("\n".join(rows))
    options = TrainOptions(epochs=1, learning_rate=1e-9)
    done = train(config(), data, data, options, vectors=tmp_path / "some.vec")
    vectors, _ = load_vectors(tmp_path / "some.vec", vocabulary, seed=0)
    assert done.coverage.found == len(words)
    weight = done.model.net.embedding.weight
    torch.testing.assert_close(weight[1:], vectors[1:], atol=1e-6, rtol=0)
    assert (weight[0] == 0).all()
    with pytest.raises(DataError, match=r"vectors have shape \(3, 6\)"):
        new_net(config(), len(vocabulary), 0, vectors[:3])


def test_clipping_bounds_the_gradient(monkeypatch):
    norms = []
    original = torch.nn.utils.clip_grad_norm_

    def spy(parameters, bound):
        parameters = list(parameters)
        original(parameters, bound)
        norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in parameters)))

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    train(config(), records(40), records(10), TrainOptions(epochs=1, clip=0.01))
    assert norms
    assert max(norms) <= 0.01 + 1e-6
    norms.clear()
    train(config(), records(40), records(10), TrainOptions(epochs=1))
    assert not norms


def test_texts_without_units_are_no_obstacle():
    data = [*records(20), Text("empty", "", (), (), 1)]
    result = train(config(encoder="bilstm"), data, data, TrainOptions(epochs=1))
    assert math.isfinite(result.history[0]["loss"])


def relabelled(label):
    return [Text(r.id, r.text, r.units, r.offsets, label) for r in records(6)]


@pytest.mark.parametrize(
    ("data", "dev", "says"),
    [
        ([], records(4), "no training records"),
        (records(4), [], "no development records"),
        (relabelled(1), records(4), "all 6 training records are of class 'c1'"),
        (records(4), relabelled(0), "no development record is of class c1"),
        (relabelled(None), records(4), r"record 'r0' \(row 0\) has the label None"),
        (relabelled(2), records(4), "has the label 2; it must be 0 to 1"),
    ],
)
def test_unusable_records_are_refused(data, dev, says):
    with pytest.raises(DataError, match=says):
        train(config(), data, dev, TrainOptions(epochs=1))


def test_divergence_names_the_epoch():
    with pytest.raises(ModelError, match="the loss is nan in epoch 1"):
        train(
            config(),
            records(20),
            records(20),
            TrainOptions(epochs=1),
            penalty=lambda passed, rows: passed.weights.sum() * math.nan,
        )
    with pytest.raises(ModelError, match=r"is (nan|inf) in epoch \d+: training has diverged"):
        train(config(), records(40), records(20), TrainOptions(epochs=20, learning_rate=1e38))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"patience": 0},
        {"clip": 0.0},
        {"select": "f1"},
        {"device": "abacus"},
        {"device": "cpu:x"},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        TrainOptions(**wrong)


def test_batches_hold_every_row_once_and_similar_lengths():
    lengths = np.random.default_rng(0).integers(1, 200, size=500).tolist()
    generator = torch.Generator().manual_seed(0)
    one, two = (noisy_batches(lengths, 32, generator) for _ in range(2))
    assert sorted(row for rows in one for row in rows) == list(range(500))
    assert one != two
    assert sorted(map(len, one)) == [500 % 32] + [32] * (500 // 32)
    for rows in one:
        found = [lengths[row] for row in rows]
        # Noise of ±10 % on sorted lengths: neighbours differ by that and by their spacing.
        assert max(found) <= min(found) * (1.1 / 0.9) * 1.35 + 16
    means = [np.mean([lengths[row] for row in rows]) for rows in one]
    assert means != sorted(means)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_against_scikit_learn(classes):
    random = np.random.default_rng(0)
    labels = random.integers(classes, size=50)
    outputs = torch.log_softmax(torch.from_numpy(random.normal(size=(50, classes))), -1).float()
    scores = score(outputs, torch.from_numpy(labels))
    probabilities = torch.softmax(outputs.double(), -1).numpy()
    area = (
        roc_auc_score(labels, probabilities[:, 1])
        if classes == 2
        else np.mean([roc_auc_score(labels == k, probabilities[:, k]) for k in range(classes)])
    )
    assert scores["roc_auc"] == pytest.approx(area)
    assert scores["accuracy"] == accuracy_score(labels, probabilities.argmax(1))
    one_class = score(outputs, torch.zeros(50, dtype=torch.long))
    assert set(one_class) == {"accuracy"}


def test_the_metric_of_selection():
    three = ("a", "b", "c")
    assert selection_metric("auto", torch.tensor([0, 1, 2]), three) == "roc_auc"
    assert selection_metric("auto", torch.tensor([0, 1, 1]), three) == "accuracy"
    assert selection_metric("accuracy", torch.tensor([0, 1, 1]), three) == "accuracy"
    with pytest.raises(DataError, match="class c"):
        selection_metric("roc_auc", torch.tensor([0, 1, 1]), three)


def test_predictions_keep_the_order_of_the_sequences():
    net = AttentionClassifier(config(), 30)
    sequences = [[4] * 3, [5], [], [6, 7] * 5, [8, 9]]
    expected = torch.cat([net(*pad_sequences([ids])) for ids in sequences])
    torch.testing.assert_close(predict(net, unlabelled(sequences)), expected.detach())
    assert predict(net, unlabelled([])).shape == (0, 2)


def test_several_classes_use_the_mean_cross_entropy():
    data = records(30, 3)
    done = train(config(3), data, data, TrainOptions(epochs=1, learning_rate=1e-12))
    words = done.model.vocabulary
    outputs = predict(done.model.net, unlabelled([words.encode(record.units) for record in data]))
    expected = -np.mean([outputs[row, record.label] for row, record in enumerate(data)])
    assert done.history[0]["loss"] == pytest.approx(expected, rel=1e-5)
