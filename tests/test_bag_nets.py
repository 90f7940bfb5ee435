"""Networks for bags: what pools compute, how they are cut, and seeds trained side by side."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from attnaudit.data.bags.generated import generate_bags
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.errors import DataError, ModelError, NotApplicable, SettingsError
from attnaudit.models.cut import LinearDecode
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig, new_bag_net
from attnaudit.nets.bags.encoders import BAG_ENCODERS
from attnaudit.nets.bags.inputs import bag_tensors
from attnaudit.nets.bags.pooling import weights_of_heads
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.training.bags import bag_loss, train_bags, train_many
from attnaudit.training.evaluation import score
from attnaudit.training.options import TrainOptions, options_for

WEIGHTED = [name for name, pool in BAG_POOLS.items() if pool.weights != "none"]
HEADED = [name for name, pool in BAG_POOLS.items() if pool.multi_head]
CLASSES = ("no", "yes")


def net_of(pool: str, *, seed: int = 0, **options) -> BagClassifier:
    """A small network in double precision, with parameters large enough for unequal weights."""
    options = {"classes": CLASSES, "shape": (3,), "hidden": 4, "attention": 5, "heads": 2} | options
    net = new_bag_net(BagConfig(pool=pool, **options), seed, torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 2.0
    return net


def bags(*sizes: int, seed: int = 0, width: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Instances with NaN on padding, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(sizes)) < torch.tensor(sizes).unsqueeze(-1)
    values = torch.randn(*mask.shape, width, dtype=torch.float64, generator=generator)
    return values.masked_fill(~mask.unsqueeze(-1), torch.nan), mask


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("pool", BAG_POOLS)
@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_order_padding_and_company_change_nothing(pool: str, sizes: list[int], seed: int) -> None:
    net = net_of(pool, seed=seed)
    values, mask = bags(*sizes, seed=seed)
    whole = net.run(values, mask)
    if whole.weights is not None:
        assert bool((whole.weights[~mask] == 0).all())
        assert bool((whole.weights >= 0).all())
        close(whole.weights.sum(-1), torch.ones(len(sizes), dtype=torch.float64))
    order = np.random.default_rng(seed)
    for row, size in enumerate(sizes):
        moved = torch.from_numpy(order.permutation(size))
        alone = net.run(values[row : row + 1, moved], mask[row : row + 1, moved])
        close(alone.logits[0], whole.logits[row])
        if whole.weights is not None:
            close(alone.weights[0], whole.weights[row, moved])


@pytest.mark.parametrize("pool", ["additive", "gated"])
def test_formula_of_additive_and_gated_attention(pool: str) -> None:
    net = net_of(pool, encoder="identity")
    values, mask = bags(5)
    p = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    h = values[0].numpy()
    inner = np.tanh(h @ p["pool.inner.weight"].T + p["pool.inner.bias"])
    if pool == "gated":
        inner = inner * expit(h @ p["pool.gate.weight"].T + p["pool.gate.bias"])
    weights = softmax(inner @ p["pool.vector.weight"][0] + p["pool.vector.bias"])
    chance = expit(weights @ h @ p["head.weight"][0] + p["head.bias"][0])
    found = net.run(values, mask)
    np.testing.assert_allclose(found.weights[0].detach(), weights, atol=1e-12)
    outputs = net(values, mask)[0].exp().detach()
    np.testing.assert_allclose(outputs, [1 - chance, chance], atol=1e-12)
    assert weights.max() > 1.5 * weights.min()


def test_formula_of_several_heads() -> None:
    net = net_of("multi_head", encoder="identity", heads=3)
    values, mask = bags(4)
    p = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    h = values[0].numpy()
    inner = np.tanh(h @ p["pool.inner.weight"].T + p["pool.inner.bias"])
    heads = softmax(inner @ p["pool.vectors.weight"].T + p["pool.vectors.bias"], axis=0).T
    logit = (heads @ h).reshape(-1) @ p["head.weight"][0] + p["head.bias"][0]
    found = net.run(values, mask)
    np.testing.assert_allclose(found.weights[0].detach(), heads.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.logits[0, 0].item(), logit, atol=1e-12)


def test_self_attention_is_that_of_torch() -> None:
    net = net_of("self_attention", encoder="identity")
    values, mask = bags(5, 2)
    layer = net.pool.between
    torch_layer = torch.nn.MultiheadAttention(3, 1, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        parts = (layer.query, layer.key, layer.value)
        torch_layer.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        torch_layer.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    torch_layer.out_proj.load_state_dict(layer.output.state_dict())
    filled = values.nan_to_num()
    expected = filled + torch_layer(filled, filled, filled, key_padding_mask=~mask)[0]
    hidden, _ = net.encode(values, mask)
    close(hidden[mask], expected[mask])


def test_pma_and_transmil_are_attention_of_torch() -> None:
    values, mask = bags(5, 3)
    pma = net_of("pma")
    encoded = pma.encoder(values.nan_to_num().flatten(0, 1)).reshape(2, 5, 4)
    rows = torch.relu(pma.pool.rows(encoded))
    query = pma.pool.query(pma.pool.seed).expand(2, 1, 4)
    read, weights = _reference(query, pma.pool.key(rows), pma.pool.value(rows), mask)
    state = query + read
    logits = pma.head(state + torch.relu(pma.pool.output(state))).squeeze(1)
    found = pma.run(values, mask)
    close(found.weights, weights.mean(1).squeeze(1))
    close(found.logits, logits)

    net = net_of("transmil")
    pool, encoded = net.pool, net.encoder(values.nan_to_num().flatten(0, 1)).reshape(2, 5, 4)
    x = torch.cat([pool.token.expand(2, 1, 4), torch.relu(pool.rows(encoded))], 1)
    some = torch.cat([torch.ones(2, 1).bool(), mask], 1)
    for layer, norm in ((pool.first, pool.first_norm), (pool.last, pool.last_norm)):
        y = norm(x)
        read, weights = _reference(layer.query(y), layer.key(y), layer.value(y), some)
        x = x + layer.output(read)
    found = net.run(values, mask)
    close(found.logits, net.head(pool.output_norm(x[:, 0])))
    on_instances = weights[:, :, 0, 1:]
    close(found.weights, (on_instances / on_instances.sum(-1, keepdim=True)).mean(1))


def _reference(query, key, value, mask, heads=2):
    """Multi-head attention by torch's own function, and its weights by hand."""
    cut = lambda x: x.unflatten(-1, (heads, -1)).transpose(1, 2)  # noqa: E731
    q, k, v = cut(query), cut(key), cut(value)
    read = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask[:, None, None])
    energies = q @ k.mT / math.sqrt(q.shape[-1])
    weights = energies.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
    return read.transpose(1, 2).flatten(2), weights


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("pool", WEIGHTED)
def test_decode_takes_own_weights_and_alternatives(pool: str, head: str) -> None:
    for shown in [None, 0, 1] if pool in HEADED else [None]:
        net = net_of(pool, head=head, shown=shown)
        values, mask = bags(5, 1, 3)
        hidden, extra = net.encode(values, mask)
        own = net.attend(hidden, mask, extra)
        close(net.decode(hidden, own, extra), net(values, mask))
        other = torch.rand(3, 4, 5, dtype=torch.float64) * mask.unsqueeze(1)
        other[:, 0] = own
        other[:, 1] = torch.eye(5, dtype=torch.float64)[0]
        other /= other.sum(-1, keepdim=True)
        many = net.decode(hidden, other, extra)
        assert many.shape == (3, 4, 2)
        for k in range(4):
            close(many[:, k], net.decode(hidden, other[:, k], extra))
        close(many[:, 0], net(values, mask))
        assert bool(((many[0, 1] - many[0, 0]).abs() > 1e-6).any())
        form = net.linear_decode(hidden, extra)
        linear = head == "linear" and (
            pool not in HEADED or (pool == "multi_head" and shown is not None)
        )
        assert (form is not None) == linear
        if form is not None:
            close(LinearDecode(*form)(other), many)
            close(LinearDecode(*form)(other[:, 2]), many[:, 2])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(1, 6), scale=st.sampled_from([1.0, 30.0]))
def test_weights_of_heads_are_distributions(seed: int, size: int, scale: float) -> None:
    net = net_of("multi_head", seed=seed, heads=3)
    values, mask = bags(size, seed=seed)
    hidden, extra = net.encode(values * scale, mask)
    own = net.attend(hidden, mask, extra).unsqueeze(1)
    close(weights_of_heads(own, extra, None).squeeze(1), extra["heads"], 1e-9)
    single = torch.eye(size, dtype=torch.float64).unsqueeze(0)
    close(weights_of_heads(single, extra, None), single.unsqueeze(2).expand(-1, -1, 3, -1))
    drawn = torch.rand(1, 5, size, dtype=torch.float64).softmax(-1)
    heads = weights_of_heads(drawn, extra, None)
    assert bool((heads >= 0).all())
    close(heads.sum(-1), torch.ones(1, 5, 3, dtype=torch.float64))
    one = weights_of_heads(drawn, extra, 1)
    close(one[:, :, 1], drawn)
    close(one[:, 4, 2], extra["heads"][:, 2])


def test_pools_without_attention() -> None:
    values, mask = bags(4, 2)
    mean, largest = net_of("mean", encoder="identity"), net_of("max", encoder="identity")
    close(mean.run(values, mask).weights[1], torch.tensor([0.5, 0.5, 0, 0]).double())
    hidden, extra = largest.encode(values, mask)
    close(extra["pooled"][1], values[1, :2].amax(0))
    with pytest.raises(NotApplicable, match="no weights"):
        largest.attend(hidden, mask, extra)
    with pytest.raises(NotApplicable, match="no weights"):
        largest.decode(hidden, mask.double(), extra)


@pytest.mark.parametrize("pool", BAG_POOLS)
def test_gradients_are_finite_with_padding_and_empty_bags(pool: str) -> None:
    net = net_of(pool)
    values, mask = bags(3, 1, 2)
    mask[2] = False
    found = net.run(values, mask)
    bag_loss(net(values, mask), torch.tensor([0, 1, 0]), "clamped", torch.ones(2)).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)
    if found.weights is not None:
        assert found.weights[2].tolist() == [0.0, 0.0, 0.0]


def test_cnn_of_the_paper_and_for_small_digits() -> None:
    paper = BAG_ENCODERS["mnist_cnn"]((1, 28, 28), 500)
    assert paper.output[0].in_features == 800
    assert paper(torch.zeros(2, 784)).shape == (2, 500)
    config = BagConfig(CLASSES, (1, 8, 8), encoder="mnist_cnn", hidden=6)
    net = new_bag_net(config, 0)
    images, mask = torch.rand(2, 3, 1, 8, 8), torch.ones(2, 3, dtype=torch.bool)
    close(net(images, mask), net(images.flatten(2), mask))
    assert sum(p.numel() for p in paper.parameters()) == 520 + 25_050 + 400_500


def toy(count: int, split: str, **options) -> BagDataset:
    return generate_bags(
        "presence", "gaussian", count, split=split, mean_size=5, seed=1, delta=4.0, **options
    )


@pytest.mark.parametrize("pool", BAG_POOLS)
def test_seeds_at_once_are_seeds_one_by_one(pool: str) -> None:
    train, dev = toy(14, "train"), toy(8, "dev")
    head = "mlp" if pool == "gated" else "linear"
    config = BagConfig(CLASSES, (10,), pool=pool, head=head, hidden=4, attention=3, heads=2)
    config = BagConfig(**{**vars(config), "classes": train.classes})
    _same(
        config,
        train,
        dev,
        options_for("bags", epochs=3, batch_size=5, dtype="float64", loss="balanced"),
    )


def test_seeds_at_once_with_images_and_early_stops() -> None:
    train = generate_bags("presence", "digits", 10, split="train", mean_size=4)
    dev = generate_bags("presence", "digits", 8, split="dev", mean_size=4)
    config = BagConfig(train.classes, train.shape, encoder="mnist_cnn", hidden=4, attention=3)
    options = options_for(
        "bags",
        epochs=6,
        batch_size=4,
        dtype="float64",
        patience=1,
        learning_rate=0.01,
        loss="clamped",
    )
    many = _same(config, train, dev, options)
    assert any(len(fit.history) < 6 for fit in many)


def _same(config: BagConfig, train: BagDataset, dev: BagDataset, options: TrainOptions):
    seeds = [3, 0, 7]
    many = train_many(config, train, dev, seeds, options, at_once=2)
    for seed, fit in zip(seeds, many, strict=True):
        alone = train_bags(config, train, dev, replace(options, seed=seed))
        assert (fit.best_epoch, len(fit.history)) == (alone.best_epoch, len(alone.history))
        assert [row["loss"] for row in fit.history] == pytest.approx(
            [row["loss"] for row in alone.history], abs=1e-9
        )
        assert fit.dev == pytest.approx(alone.dev)
        for name, value in alone.model.state_dict().items():
            close(fit.model.state_dict()[name], value, 1e-8)
    first, other = (fit.model.head.parameters() for fit in many[:2])
    assert not torch.equal(next(first), next(other))
    return many


def test_gated_attention_learns_presence() -> None:
    train, dev, test = toy(100, "train"), toy(50, "dev"), toy(100, "test")
    config = BagConfig(train.classes, train.shape)
    options = options_for("bags", epochs=20, learning_rate=0.01)
    rows: list[int] = []
    told = replace(options, report=lambda stage, done, total: rows.append(done))
    fits = train_many(config, train, dev, [0, 1], told)
    assert rows == list(range(1, 20 * 7 + 1))
    tensors = bag_tensors(test, config, "test")
    values, mask, labels = tensors.take(torch.arange(100))
    for fit in fits:
        found = fit.model.run(values, mask)
        assert score(fit.model(values, mask).detach(), labels)["roc_auc"] >= 0.93
        places = found.weights.argmax(-1).tolist()
        keys = [bag.truth[top] for bag, top in zip(test, places, strict=True) if bag.label]
        assert float(torch.stack(keys).double().mean()) >= 0.9
        assert fit.history[-1]["loss"] < fit.history[0]["loss"]
        assert fit.dev["dev_roc_auc"] == max(row["dev_roc_auc"] for row in fit.history)


def test_losses() -> None:
    outputs = torch.tensor([[0.2, 0.8], [0.6, 0.4], [0.0, 1.0]], dtype=torch.float64).log()
    labels = torch.tensor([1, 0, 0])
    weights = torch.tensor([0.75, 1.5], dtype=torch.float64)
    expected = -(math.log(0.8) + math.log(0.6) + math.log(1e-5)) / 3
    assert bag_loss(outputs, labels, "clamped", torch.ones(2)).item() == pytest.approx(expected)
    expected = -(1.5 * math.log(0.8) + 0.75 * math.log(0.6)) / 2
    assert bag_loss(outputs[:2], labels[:2], "balanced", weights).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "nope"}, "pool 'nope' is unknown; choose one of additive"),
        ({"encoder": "nope"}, "encoder 'nope' is unknown"),
        ({"head": "nope"}, "head 'nope' is unknown"),
        ({"hidden": 0}, "hidden is 0"),
        ({"classes": ("one",)}, "two or more"),
        ({"shape": ()}, "shape is"),
        ({"shown": 0}, "one head"),
        ({"pool": "pma", "shown": 4}, "0 to 3"),
        ({"pool": "pma", "hidden": 6}, "do not divide"),
        ({"encoder": "mnist_cnn"}, "reads images"),
    ],
)
def test_settings_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        BagClassifier(BagConfig(**{"classes": CLASSES, "shape": (3,), **options}))


@pytest.mark.usefixtures("unchecked")
def test_input_that_cannot_be() -> None:
    net = net_of("gated")
    for shape in [(0, 2, 3), (2, 0, 3), (2, 2, 4), (1, 2, 3)]:
        mask = torch.ones(2 if shape[0] == 1 else shape[0], shape[1], dtype=torch.bool)
        with pytest.raises(DataError, match="shape"):
            net(torch.zeros(shape, dtype=torch.float64), mask)
    with pytest.raises(DataError, match="must be bool"):
        net(torch.zeros(1, 2, 3).double(), torch.ones(1, 2))


def test_training_that_cannot_be() -> None:
    train, dev = toy(6, "train"), toy(4, "dev")
    config = BagConfig(train.classes, train.shape)
    with pytest.raises(SettingsError, match=r"epochs is 0.*loss is x"):
        options_for("bags", epochs=0, loss="x")
    for seeds in ([], [1, 1]):
        with pytest.raises(SettingsError, match="each once"):
            train_many(config, train, dev, seeds)
    with pytest.raises(DataError, match="the network is for"):
        train_bags(BagConfig(train.classes, (4,)), train, dev)
    unlabelled = train.select([bag_record("x", torch.zeros(1, 10))])
    with pytest.raises(DataError, match=r"'x'.*has no label"):
        train_bags(config, unlabelled, dev)
    negative = train.select([bag for bag in train if bag.label == 0])
    with pytest.raises(DataError, match="all 3 training bags are of class"):
        train_bags(config, negative, dev)
    with pytest.raises(DataError, match="ROC-AUC is undefined"):
        train_bags(config, train, negative)
    huge = options_for("bags", epochs=3, learning_rate=1e30)
    with pytest.raises(ModelError, match=r"seed 5.*diverged"):
        train_many(config, train, dev, [5], huge)
