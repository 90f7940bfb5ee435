"""Bags under the cut: the model, the ensemble, the audit, and what a user meets."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

import attnaudit
from attnaudit.attribution.leave_one_out import _one_by_one
from attnaudit.audits.run import run_audit
from attnaudit.checks.declaration import ATTENTION
from attnaudit.checks.registry import CHECKS
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.data.bags.scaling import scaled, scaling_of
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import DataError, ModelError, NotApplicable, SettingsError
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.measures.divergence import total_variation
from attnaudit.models.bags.model import BagModel
from attnaudit.models.encoded import Encoded
from attnaudit.models.ensemble import Ensemble
from attnaudit.models.load import load
from attnaudit.models.seen import seen_texts, text_hash
from attnaudit.nets.bags.classifier import BagConfig, new_bag_net
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.report.heat import Unit
from attnaudit.report.heat_map import heat_map
from attnaudit.training.options import TrainOptions, options_for
from attnaudit.training.train import train
from tests.terminal import run

FAST = Settings(costly_limit=20, resamples=200, permutations=20)
WEIGHTED = tuple(name for name, pool in BAG_POOLS.items() if pool.weights != "none")


def bags(sizes=(3, 1, 5, 4), features=4, seed=0, classes=("no", "yes")):
    rng = np.random.default_rng(seed)
    made = [
        bag_record(str(i), rng.normal(size=(n, features)), i % len(classes), rng.random(n) < 0.4)
        for i, n in enumerate(sizes)
    ]
    return BagDataset("made", tuple(made), classes, (features,))


def net(pool="gated", seed=0, **more):
    config = BagConfig(("no", "yes"), (4,), pool=pool, hidden=6, attention=3, heads=2, **more)
    return new_bag_net(config, seed, torch.float64)


@pytest.fixture(scope="module")
def trained():
    return train("presence-digits", kind="bags", pool="gated", epochs=25, progress=False)


@pytest.mark.parametrize("pool", WEIGHTED)
def test_the_cut_is_the_network(pool):
    model, data = BagModel(net(pool)), bags()
    batch = model.collate(data.bags)
    states = model.encode(batch)
    weights = model.attend(states)
    own = model.decode(states, weights)
    alone = [
        model.net(bag.instances.double().unsqueeze(0), torch.ones(1, len(bag)) > 0) for bag in data
    ]
    torch.testing.assert_close(own, torch.cat(alone))
    torch.testing.assert_close(weights.sum(1), torch.ones(len(data)).double())
    twice = torch.stack([weights, weights], 1)
    torch.testing.assert_close(model.decode(states, twice)[:, 1], own)


@pytest.mark.parametrize("pool", ["additive", "gated", "mean"])
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_leave_one_out_is_that_of_deleting(pool, head):
    model = BagModel(net(pool, head=head))
    batch = model.collate(bags().bags)
    encoded = Encoded(model, batch)
    fast = model.leave_one_out(batch, encoded.states)
    slow = _one_by_one(model, batch, encoded.outputs, 2048)
    several = batch.units & (batch.units.sum(1, keepdim=True) > 1)
    torch.testing.assert_close(fast[several], slow[several])
    assert fast[~batch.units].isnan().all()


def test_a_sure_weight_leaves_the_ratio_of_the_others():
    # a weight that rounds to 1 leaves nothing to divide, if weights are all one has
    model = BagModel(net("additive"))
    model.net.pool.vector.weight.data *= 1e4
    batch = model.collate(bags((6,)).bags)
    encoded = Encoded(model, batch)
    assert encoded.weights.max() > 1 - 1e-12
    slow = _one_by_one(model, batch, encoded.outputs, 2048)
    torch.testing.assert_close(model.leave_one_out(batch, encoded.states), slow)


def test_states_that_read_each_other_have_no_fast_way():
    model = BagModel(net("self_attention"))
    batch = model.collate(bags().bags)
    assert model.leave_one_out(batch, model.encode(batch)) is None


def test_without_weights_there_is_nothing_to_audit():
    with pytest.raises(NotApplicable, match="no weights"):
        run_audit(BagModel(net("max")), bags(), FAST)


def test_saved_models_are_the_same_models(tmp_path):
    data = bags()
    for scaling in (None, scaling_of(data)):
        model = BagModel(net().float(), "mine", scaling)
        model.save(tmp_path / "m", overwrite=True)
        again = load(tmp_path / "m")
        assert again.fingerprint() == model.fingerprint()
        assert again.name == "mine"
        batches = model.collate(data.bags), again.collate(data.bags)
        torch.testing.assert_close(
            model.forward(batches[0]), again.forward(batches[1]), atol=1e-6, rtol=1e-5
        )
    other = BagModel(net(seed=1).float(), "mine", scaling)
    assert other.fingerprint() != model.fingerprint()


def test_scaling_is_inside_the_model():
    data = bags((9, 8, 7, 6))
    scaling = scaling_of(data)
    inside, outside = BagModel(net(), scaling=scaling), BagModel(net())
    given = scaled(data, scaling)
    torch.testing.assert_close(
        inside.collate(data.bags).inputs, outside.collate(given.bags).inputs, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 7}, "format version 7"),
        ({"config": {"classes": ["a"], "shape": [4]}}, "classes"),
        ({"scaled": True}, "missing .*deviation"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, change, says):
    BagModel(net().float()).save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=says):
        load(tmp_path)


@pytest.mark.usefixtures("unchecked")
def test_texts_and_other_shapes_are_refused():
    from attnaudit.data.texts.tokens import text_record

    model = BagModel(net())
    with pytest.raises(DataError, match="is a text"):
        model.collate([text_record("a", "good film")])
    with pytest.raises(DataError, match=r"\(3,\).*trained on \(4,\)"):
        model.collate(bags(features=3).bags)


# the ensemble


@pytest.mark.parametrize("rule", ["mean", "ranks"])
@pytest.mark.parametrize("pool", ["gated", "multi_head", "self_attention", "transmil"])
def test_an_ensemble_answers_with_its_members_mean(rule, pool):
    members = [BagModel(net(pool, seed)) for seed in range(3)]
    ensemble = Ensemble(members, rule)
    batch = ensemble.collate(bags().bags)
    states = ensemble.encode(batch)
    weights = ensemble.attend(states)
    mean = torch.stack([m.forward(batch).exp() for m in members]).mean(0)
    torch.testing.assert_close(ensemble.decode(states, weights).exp(), mean)
    torch.testing.assert_close(weights.sum(1), torch.ones(4).double())
    assert (weights[~batch.units] == 0).all()
    own = torch.stack([m.attend(m.encode(batch)) for m in members])
    if rule == "mean":
        torch.testing.assert_close(weights, own.mean(0))


def test_all_weight_on_one_instance_puts_every_member_there():
    members = [BagModel(net(seed=seed)) for seed in range(3)]
    ensemble = Ensemble(members)
    batch = ensemble.collate(bags((4,)).bags)
    states = ensemble.encode(batch)
    single = torch.eye(4).double().unsqueeze(0)
    wanted = torch.stack([m.decode(m.encode(batch), single).exp() for m in members]).mean(0)
    torch.testing.assert_close(ensemble.decode(states, single).exp(), wanted)


def test_mean_ranks_by_hand():
    members = [BagModel(net(seed=seed)) for seed in range(2)]
    ensemble = Ensemble(members, "ranks")
    batch = ensemble.collate(bags((3,)).bags)
    own = [m.attend(m.encode(batch))[0].tolist() for m in members]
    ranks = [[sorted(w).index(v) + 1 for v in w] for w in own]
    mean = np.mean(ranks, 0)
    found = ensemble.attend(ensemble.encode(batch))[0].numpy()
    np.testing.assert_allclose(found, mean / mean.sum())


def test_gradients_of_an_ensemble_are_those_of_its_output():
    ensemble = Ensemble([BagModel(net(seed=seed)) for seed in range(2)])
    batch = ensemble.collate(bags((3,)).bags)
    encoded = Encoded(ensemble, batch, trace=True)
    leaf, states = encoded.traced
    output = ensemble.decode(states, ensemble.attend(states))[0, 1].exp()
    (gradient,) = torch.autograd.grad(output, leaf)
    step = 1e-6
    moved = batch.inputs.clone()
    moved[0, 1, 2] += step
    change = ensemble.forward(replace(batch, inputs=moved))[0, 1].exp() - output
    # both members read the same number, so that their parts add up
    assert (change / step).item() == pytest.approx(
        (gradient[0, 1, 2] + gradient[0, 1, 4 + 2]).item(), rel=1e-4
    )


def test_an_ensemble_of_texts(tmp_path):

    members = [
        attnaudit.train(
            "reviews",
            encoder="average",
            hidden=8,
            embedding_dim=8,
            progress=False,
            limit=60,
            options=TrainOptions(epochs=2, seed=seed),
        ).model
        for seed in (0, 1)
    ]
    ensemble = Ensemble(members)
    ensemble.save(tmp_path / "e")
    assert load(tmp_path / "e").fingerprint() == ensemble.fingerprint()
    few = FAST.model_copy(update={"checks": ("permutation",)})
    result = attnaudit.audit(ensemble, "reviews", limit=10, settings=few, progress=False)
    assert len(result.instances) == 10


def test_members_that_do_not_fit_are_refused(tmp_path):
    one, two = BagModel(net()), BagModel(net(seed=1))
    with pytest.raises(SettingsError, match="two members"):
        Ensemble([one])
    with pytest.raises(SettingsError, match="unknown"):
        Ensemble([one, two], "median")
    wide = BagModel(new_bag_net(BagConfig(("no", "yes"), (4,), hidden=9), 0, torch.float64))
    batch = one.collate(bags().bags)
    with pytest.raises(ModelError, match="different widths"):
        Ensemble([one, wide]).encode(batch)
    three = BagModel(new_bag_net(BagConfig(("a", "b", "c"), (4,), hidden=6), 0))
    with pytest.raises(ModelError, match="equal classes"):
        Ensemble([one, three])
    other = BagModel(net(), scaling=scaling_of(bags()))
    with pytest.raises(ModelError, match="read '0' differently"):
        Ensemble([one, other]).collate(bags().bags)
    ensemble = Ensemble([BagModel(net().float()), BagModel(net(seed=1).float())])
    ensemble.save(tmp_path)
    header = json.loads((tmp_path / "config.json").read_text())
    for name in ("../elsewhere", "/etc", ".."):
        bad = {**header, "members": [name, "member-01"]}
        (tmp_path / "config.json").write_text(json.dumps(bad))
        with pytest.raises(ModelError, match="lies elsewhere"):
            load(tmp_path)


# the audit


def test_every_check_runs_on_bags(trained):
    result = run_audit(trained.model, trained.splits["test"], FAST)
    found = {f.check: f for f in result.report.findings if f.subject == "weights"}
    assert set(found) == {
        name for name, check in CHECKS.items() if check.group == ATTENTION and not check.gate
    }
    assert all(f.headline is not None for f in found.values())
    assert result.report.plan.data.reads == "bags"
    truth = found["ground_truth"]
    assert truth.verdict is Verdict.PASS
    assert truth.headline.n == 250


def test_ground_truth_statistics_by_hand(trained):
    data = trained.splits["test"].select(trained.splits["test"].bags[:40])
    result = run_audit(trained.model, data, replace_settings(checks=("ground_truth",)))
    estimates = {
        e.statistic: e.value
        for f in result.report.findings
        if f.subject == "weights"
        for e in f.estimates
        if e.subject in ("weights", "truth")
    }
    tops, lifts, covers, pooled = [], [], [], ([], [])
    for bag in data:
        weights = trained.model.attend(trained.model.encode(trained.model.collate([bag])))[0]
        weights, truth = weights.numpy().astype(float), bag.truth.numpy()
        pooled[0].extend(truth)
        pooled[1].extend(weights)
        if not truth.any() or truth.all():
            continue
        tops.append(truth[weights.argmax()])
        lifts.append(weights[truth].sum() / truth.mean())
        covers.append((weights[truth] > 1 / len(bag)).mean())
    from sklearn.metrics import roc_auc_score

    assert estimates["top_one"] == pytest.approx(np.mean(tops))
    assert estimates["lift"] == pytest.approx(np.mean(lifts), rel=1e-5)
    assert estimates["coverage"] == pytest.approx(np.mean(covers))
    assert estimates["pooled_auroc"] == pytest.approx(roc_auc_score(*pooled))


def replace_settings(**more):
    return Settings.model_validate({**FAST.model_dump(), **more})


def test_a_kind_of_key_that_is_passed_over_is_named():
    data = resolve("conjunction-gaussian", "bags", generator={"n_bags": 60, "delta": 4.0}).data()
    # weights on the first kind alone: an energy along its axis
    config = BagConfig(data.classes, data.shape, encoder="identity", pool="additive", attention=1)
    model = BagModel(new_bag_net(config, 0))
    kinds = torch.cat([bag.key_types for bag in data])
    values = torch.cat([bag.instances for bag in data])
    axis = values[kinds == 1].mean(0) - values[kinds == 2].mean(0)
    model.net.pool.inner.weight.data = axis.unsqueeze(0)
    model.net.pool.vector.weight.data = torch.full((1, 1), 30.0)
    result = run_audit(model, data, replace_settings(checks=("ground_truth",)))
    (finding,) = [f for f in result.report.findings if f.subject == "weights"]
    by_name = {(e.statistic, e.group): e for e in finding.estimates}
    assert by_name["key_type_mass", "type 1"].value > by_name["key_type_mass", "type 2"].value
    assert by_name["least_type_share", "all"].value < 0.1
    assert "stand on one of them" in finding.sentence


def test_results_depend_on_no_batch_size(trained):
    data = trained.splits["test"].select(trained.splits["test"].bags[:30])
    one, two = (
        run_audit(trained.model, data, replace_settings(token_budget=budget)).instances
        for budget in (30, 4000)
    )
    for column in ("scores.weights", "scores.leave_one_out"):
        a, b = (np.concatenate([np.array(v) for v in f[column].to_list()]) for f in (one, two))
        np.testing.assert_allclose(a, b, atol=1e-6)


# bags that are strange


def test_bags_of_one_and_of_equal_instances():
    same = [bag_record(f"s{i}", np.ones((4, 4)), i % 2, [1, 0, 0, 0]) for i in range(6)]
    single = [bag_record(f"one{i}", np.full((1, 4), float(i)), i % 2, [1]) for i in range(6)]
    data = BagDataset("strange", (*same, *single), ("no", "yes"), (4,))
    result = run_audit(BagModel(net()), data, FAST)
    assert len(result.instances) == 12
    weights = result.instances.filter(pl.col("id").str.starts_with("s"))["scores.weights"]
    np.testing.assert_allclose(np.stack(weights.to_list()), 0.25, atol=1e-12)
    (truth,) = [
        f for f in result.report.findings if f.check == "ground_truth" and f.subject == "weights"
    ]
    # equal weights order nothing; a bag of one key has no other instance
    assert truth.headline.value == pytest.approx(0.5)
    assert truth.headline.n == 6


def test_bags_without_keys_are_left_out_of_the_mean():
    data = bags((4, 4, 4, 4))
    none = data.select([replace(b, truth=torch.zeros(4, dtype=torch.bool)) for b in data])
    result = run_audit(BagModel(net()), none, FAST)
    found = [f for f in result.report.findings if f.check == "ground_truth"]
    assert all(f.verdict is Verdict.NOT_APPLICABLE for f in found)


def test_a_bag_of_ten_thousand(trained):
    model = trained.model
    rng = np.random.default_rng(0)
    shape = trained.splits["test"].shape
    large = bag_record("large", rng.random((10_000, *shape)), 1, rng.random(10_000) < 0.01)
    data = trained.splits["test"].select([*trained.splits["test"].bags[:4], large])
    settings = replace_settings(checks=("permutation", "ground_truth"))
    result = run_audit(model, data, settings)
    scores = result.instances.filter(pl.col("id") == "large")["scores.leave_one_out"][0]
    assert len(scores) == 10_000
    batch = model.collate([large])
    states = model.encode(batch)
    outputs = model.forward(batch)
    for place in (0, 7_777):
        keep = [i for i in range(10_000) if i != place]
        less = model.forward(
            model.collate([replace(large, instances=large.instances[keep], truth=None)])
        )
        change = total_variation(less.exp(), outputs.exp()).item()
        assert abs(scores[place]) == pytest.approx(change, abs=2e-6)
    assert model.leave_one_out(batch, states).shape == (1, 10_000, 2)


def test_labels_that_are_quantities_are_refused():
    data = BagDataset("q", tuple(replace(b, label=0.5) for b in bags()), (), (4,))
    with pytest.raises(DataError, match="quantities"):
        run_audit(BagModel(net()), data, FAST)


def test_labels_are_numbered_as_the_model_does():
    data = bags(classes=("yes", "no"))
    frame = run_audit(BagModel(net()), data, FAST).instances.sort("index")
    assert frame["label"].to_list() == [1, 0, 1, 0]
    with pytest.raises(DataError, match="'maybe'"):
        run_audit(BagModel(net()), bags(classes=("no", "maybe")), FAST)


# what it was trained on


def test_bags_seen_in_training_are_known():
    data = bags()
    seen = seen_texts({"train": data})
    first = data.bags[0]
    turned = replace(first, id="x", instances=first.instances.flip(0), truth=None)
    assert turned in seen
    assert text_hash(turned) == text_hash(first)
    assert replace(first, instances=first.instances + 1e-3) not in seen


# from the keyboard


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "slides.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["slide", "label", "x", "y", *(f"f{i}" for i in range(6))])
        for slide in range(160):
            ill = slide % 2
            for i in range(4):
                for j in range(4):
                    values = rng.normal(size=6) + (3 * ill if (i, j) == (1, 2) else 0)
                    name = "tumour" if ill else "normal"
                    out.writerow([f"s{slide}", name, 256 * i, 256 * j, *values.round(3)])
    return path


def test_slides_without_labels_of_patches(slides, tmp_path):
    model, out, held = str(tmp_path / "model"), tmp_path / "run", tmp_path / "held"
    told = ("--kind", "bags", "--column", "bag=slide", "--epochs", "15")
    said = run("train", str(slides), *told, "--out", model)
    assert "Held out: 16 bags" in said
    said = run(
        "audit",
        model,
        str(slides),
        "--column",
        "bag=slide",
        "--include-training-texts",
        "--out",
        str(out),
        "--limit",
        "40",
    )
    assert "(40 bags)" in said
    page = (out / "report.html").read_text()
    assert '<svg class="map"' in page
    assert "Bags to look at" in page
    run("audit", model, "--out", str(held))
    frame = pl.read_parquet(next(held.rglob("instances.parquet")))
    assert frame["coordinates"].list.len().to_list() == [16] * len(frame)
    options = ("--tokenizer", "words", "--out", str(tmp_path / "no"))
    assert "bags are read here" in run("audit", model, str(slides), *options, code=2)


def test_generated_ensembles_from_the_keyboard(tmp_path):
    model, check = str(tmp_path / "model"), ("--check", "permutation")
    run(
        "train",
        "presence-gaussian",
        "--kind",
        "bags",
        "--members",
        "2",
        "--limit",
        "60",
        "--epochs",
        "3",
        "--out",
        model,
    )
    assert isinstance(load(model), Ensemble)
    run("audit", model, "--out", str(tmp_path / "run"), *check)
    said = run(
        "audit",
        model,
        "presence-gaussian",
        "--limit",
        "30",
        "--out",
        str(tmp_path / "again"),
        *check,
    )
    assert "presence-gaussian, test (30 bags)" in said


def test_folders_and_columns_of_splits(tmp_path):
    parts = resolve("presence-gaussian", "bags", limit=20).splits()
    from attnaudit.data.bags.arrays import save_bags

    for name, part in parts.items():
        save_bags(part, tmp_path / f"{'validation' if name == 'dev' else name}.npz")
    again = resolve(tmp_path, "bags").splits()
    assert {n: p.fingerprint for n, p in again.items()} == {
        n: p.fingerprint for n, p in parts.items()
    }
    assert resolve(tmp_path, "bags", split="dev").data().split == "dev"
    (tmp_path / "dev.csv").write_text("bag,label,f\n")
    with pytest.raises(DataError, match="several files for the split 'dev'"):
        resolve(tmp_path, "bags").splits()
    rows = [
        {"bag": f"{split}{b}", "label": "ab"[b % 2], "split": split, "f": float(b + i)}
        for split in ("train", "test")
        for b in range(20)
        for i in range(2)
    ]
    cut = resolve(rows, "bags").splits()
    assert {name: len(part) for name, part in cut.items()} == {"train": 17, "dev": 3, "test": 20}
    with pytest.raises(DataError, match="no train split"):
        resolve([row for row in rows if row["split"] == "test"], "bags").splits()


# maps


def test_maps_put_units_in_their_places():
    units = [Unit("a", shade=0.2), Unit("b", shade=-0.9), Unit("c", shade=0.5)]
    made = heat_map([[10, 5], [30, 5], [10, 25]], units)
    assert (made.width, made.height, made.side) == (40, 40, 20)
    assert [(c.unit.text, c.x, c.y) for c in made.cells] == [
        ("a", 0, 0),
        ("c", 0, 20),
        ("b", 20, 0),
    ]
    assert heat_map([[1, 1], [1, 1], [1, 1]], units) is None
    assert heat_map([[1, 1]], units) is None
    close = heat_map([[0, 0], [0.001, 0], [1000, 0]], units)
    assert close.side == pytest.approx(2.5)


# what a review found


def test_the_share_of_keys_is_that_of_the_bags_that_are_graded():
    data = bags((4, 4, 4, 4))
    some = [
        replace(b, truth=torch.tensor([i < 2, False, False, False])) for i, b in enumerate(data)
    ]
    model = BagModel(net("mean"))
    result = run_audit(model, data.select(some), replace_settings(checks=("ground_truth",)))
    (own,) = [f for f in result.report.findings if f.subject == "weights"]
    by_name = {e.statistic: e for e in own.estimates if e.subject in ("weights", "truth")}
    # equal weights put exactly the share of the keys on them
    assert by_name["mass_on_evidence"].value == pytest.approx(0.25)
    assert by_name["mass_on_evidence"].null == pytest.approx(0.25)
    assert by_name["evidence_share"].n == by_name["mass_on_evidence"].n == 2


def test_all_weight_on_a_unit_that_a_member_ignores():
    members = [BagModel(net("additive", seed).float()) for seed in range(2)]
    for member, sign in zip(members, (1e4, -1e4), strict=True):
        member.net.pool.vector.weight.data *= sign
    ensemble = Ensemble(members)
    batch = ensemble.collate(bags((5,)).bags)
    states = ensemble.encode(batch)
    single = torch.eye(5).unsqueeze(0)
    wanted = torch.stack([m.decode(m.encode(batch), single).exp() for m in members]).mean(0)
    torch.testing.assert_close(ensemble.decode(states, single).exp(), wanted)


def test_splits_of_an_ensemble_are_of_that_ensemble(tmp_path):
    options = {"hidden": 4, "attention_size": 2, "limit": 40, "progress": False}
    train(
        "presence-gaussian",
        kind="bags",
        members=3,
        out=tmp_path,
        options=options_for("bags", epochs=1),
        **options,
    )
    assert load(tmp_path).trained_on is not None
    other = train("presence-gaussian", kind="bags", members=2, epochs=1, seed=7, **options)
    splits = (tmp_path / "splits.json").read_bytes()
    other.model.save(tmp_path, overwrite=True)
    assert sorted(p.name for p in tmp_path.glob("member-*")) == ["member-00", "member-01"]
    assert load(tmp_path).trained_on is None
    (tmp_path / "splits.json").write_bytes(splits)
    with pytest.raises(ModelError, match="another model"):
        load(tmp_path)


def table(names=("f", "g"), shift=3.0, rows=3, **more):
    rng = np.random.default_rng(5)
    return [
        {
            "bag": f"b{b}",
            "label": "ab"[b % 2],
            **more,
            **dict(zip(names, (rng.normal() + shift * (b % 2), rng.normal()), strict=True)),
        }
        for b in range(60)
        for _ in range(rows)
    ]


def test_features_are_known_by_name(tmp_path):
    rows = table()
    done = train(
        rows, kind="bags", options=options_for("bags", epochs=10), out=tmp_path, progress=False
    )
    turned = [{k: row[k] for k in ("g", "label", "f", "bag")} for row in rows]
    model = load(tmp_path)
    assert model.features == ("f", "g")
    settings = replace_settings(checks=("permutation",))
    one, two = (
        attnaudit.audit(model, data, settings=settings, include_training_texts=True, progress=False)
        for data in (rows, turned)
    )
    assert one.instances["scores.weights"].to_list() == two.instances["scores.weights"].to_list()
    assert (
        attnaudit.audit(model, settings=settings, progress=False).report.plan.data.trained_on == 0
    )
    with pytest.raises(DataError, match="other features than were trained on"):
        attnaudit.audit(model, table(("f", "h")), settings=settings)
    assert done.splits["test"].features == ("f", "g")


def test_a_bag_is_in_one_split():
    rows = table()
    rng = np.random.default_rng(0)
    mixed = [{**row, "split": ("train", "test")[int(rng.integers(2))]} for row in rows]
    with pytest.raises(DataError, match="a bag is never divided"):
        resolve(mixed, "bags").splits()
    named = [{**row, "split": "fold9" if row["bag"] == "b3" else "train"} for row in rows]
    with pytest.raises(DataError, match="'fold9'"):
        resolve(named, "bags").splits()
    one = [{**row, "split": "test" if row["bag"] in ("b1", "b3") else "train"} for row in rows]
    assert resolve(one, "bags").splits()["test"].class_counts == {"a": 0, "b": 2}


def test_bags_and_texts_are_told_apart():

    splits = resolve("reviews", limit=40).splits()
    text = attnaudit.train(
        splits,
        encoder="average",
        hidden=4,
        embedding_dim=4,
        progress=False,
        options=TrainOptions(epochs=1),
    ).model
    with pytest.raises(DataError, match=r"holds bags, and .* reads texts"):
        run_audit(text, bags(classes=text.classes), FAST)
    with pytest.raises(DataError, match=r"holds texts, and .* reads bags"):
        run_audit(BagModel(net()), splits["test"], FAST)


def test_what_cannot_be_saved_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    few = {"options": options_for("bags", epochs=1), "progress": False, "limit": 20}
    with pytest.raises(ModelError, match="cannot be written"):
        train("presence-gaussian", kind="bags", out=tmp_path / "file" / "model", **few)
    with pytest.raises(SettingsError, match="'zz'; choose one of mean"):
        train("presence-gaussian", kind="bags", rule="zz", **few)
    splits = resolve("presence-gaussian", "bags", limit=20).splits()
    with pytest.raises(DataError, match="no split 'dev'"):
        train({"train": splits["train"]}, kind="bags", progress=False)
    with pytest.raises(SettingsError, match=r"limit= \(--limit\) says how data are read"):
        train(splits, kind="bags", **few)
    with pytest.raises(DataError, match="Did you mean 'presence-digits'"):
        train("presence-digit", kind="bags", **few)


def test_truth_of_some_bags_does_not_stop_a_training(tmp_path):
    splits = resolve("presence-gaussian", "bags", limit=20).splits()
    test = splits["test"]
    mixed = test.select([replace(test.bags[0], truth=None, key_types=None), *test.bags[1:]])
    blank = test.select([replace(bag, label=None) for bag in test])
    for held in (mixed, blank):
        train(
            {**splits, "test": held},
            kind="bags",
            options=options_for("bags", epochs=1),
            progress=False,
            out=tmp_path,
            overwrite=True,
        )
        found = attnaudit.audit(
            tmp_path, settings=replace_settings(checks=("permutation",)), progress=False
        )
        assert len(found.instances) == 20


def test_maps_of_scattered_and_of_many_units():
    rng = np.random.default_rng(0)
    places = rng.random((300, 2)) * 1000
    made = heat_map(places.tolist(), [Unit(str(i), shade=0.5) for i in range(300)])
    assert 300 * made.side**2 > 0.1 * made.width * made.height
    many = rng.random((10_000, 2)) * 1000
    units = [Unit(str(i), shade=float(s)) for i, s in enumerate(rng.random(10_000))]
    coarse = heat_map(many.tolist(), units)
    assert coarse.coarse
    assert len(coarse.cells) <= 51**2
    assert max(c.unit.shade for c in coarse.cells) == max(u.shade for u in units)
