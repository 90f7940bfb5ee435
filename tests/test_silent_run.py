"""Many seeds from data to findings: training, storing, going on, the command and its page."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from attnaudit.audit.held_out import choose
from attnaudit.data.bags.arrays import save_bags
from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.errors import AttnauditError, DataError, NotApplicable, RunError, SettingsError
from attnaudit.evidence.seeds.members import read_weights, train_members
from attnaudit.evidence.seeds.saving import save_ensemble
from attnaudit.findings.findings import Verdict
from attnaudit.models.load import load
from attnaudit.nets.bags.classifier import BagConfig, new_bag_net
from attnaudit.report.silent import render_silent
from attnaudit.silent.folder import held
from attnaudit.silent.run import audit_silent, open_silent
from attnaudit.silent.schema import Bars
from attnaudit.training.options import options_for
from tests.terminal import run

Splits = dict[str, BagDataset]
OPTIONS = options_for("bags", epochs=12, learning_rate=1e-2)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return generate_bag_splits("conjunction", "gaussian", 80, 40, 60, delta=5.0)


@pytest.fixture(scope="module")
def config(splits: Splits) -> BagConfig:
    train = splits["train"]
    return BagConfig(train.classes, train.shape, pool="self_attention", hidden=8, attention=8)


@pytest.fixture(scope="module")
def done(splits: Splits, config: BagConfig, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("silent")
    return folder, audit_silent(splits, config, 6, options=OPTIONS, out=folder, at_once=3)


def test_members_are_those_that_single_networks_give(splits: Splits, config: BagConfig) -> None:
    found = train_members(config, splits, (3, 7), replace(OPTIONS, epochs=1))
    assert found.seeds == (3, 7)
    for net, weights, outputs in zip(found.nets, found.weights, found.outputs, strict=True):
        start = 0
        for row, bag in enumerate(splits["test"]):
            instances = bag.instances.unsqueeze(0)
            with torch.no_grad():
                passed = net.run(instances, torch.ones(1, len(bag), dtype=torch.bool))
                expected = net(instances, torch.ones(1, len(bag), dtype=torch.bool))
            assert torch.allclose(weights[start : start + len(bag)], passed.weights[0], atol=1e-6)
            assert torch.allclose(outputs[row], expected[0], atol=1e-5)
            start += len(bag)


def test_weights_do_not_depend_on_the_budget(splits: Splits, config: BagConfig) -> None:
    net = new_bag_net(config, 0)
    whole, outputs = read_weights(net, splits["test"])
    parts, same = read_weights(net, splits["test"], budget=1)
    assert torch.allclose(whole, parts, atol=1e-6)
    assert torch.allclose(outputs, same, atol=1e-6)


def test_a_bag_of_ten_thousand_instances(config: BagConfig) -> None:
    torch.manual_seed(0)
    bags = tuple(bag_record(f"b{n}", torch.randn(n, 10), n % 2) for n in (10_000, 1, 3))
    data = BagDataset("sizes", bags, config.classes, (10,))
    weights, outputs = read_weights(new_bag_net(config, 0), data)
    sums = [float(part.sum()) for part in torch.split(weights, [10_000, 1, 3])]
    assert sums == pytest.approx([1.0, 1.0, 1.0], abs=1e-4)
    assert torch.isfinite(outputs).all()


def test_what_is_stored_is_what_was_found(done) -> None:
    folder, report = done
    again = open_silent(folder)
    assert again.report == report.report
    frame = pl.read_parquet(folder / "seeds.parquet")
    assert frame["seed"].drop_nulls().to_list() == list(range(6))
    assert {"type_mass.1", "type_mass.2", "auroc", "kind"} <= set(frame.columns)
    table = pl.read_parquet(folder / "weights.parquet")
    sums = table.group_by("bag").agg(pl.col("weight.0").sum())["weight.0"]
    assert sums.to_list() == pytest.approx([1.0] * len(sums), abs=1e-4)
    assert table["instance"].min() == 0
    content = json.loads((folder / "silent.json").read_text())
    assert content["schema_version"] == 2


def test_finished_groups_are_not_trained_again(done, splits: Splits, config: BagConfig) -> None:
    folder, report = done

    def written() -> dict[Path, int]:
        return {
            path: path.stat().st_mtime_ns for path in (folder / "members").glob("*.safetensors")
        }

    before = written()
    again = audit_silent(splits, config, 6, options=OPTIONS, out=folder, at_once=3)
    assert written() == before
    assert again.report.seeds == report.report.seeds
    damaged = min(before)
    kept = {name: value.clone() for name, value in load_file(damaged).items()}
    damaged.write_bytes(b"nothing")
    train_members(config, splits, range(6), OPTIONS, folder=folder, at_once=3)
    assert {path for path, when in written().items() if before[path] != when} == {damaged}
    made = load_file(damaged)
    assert all(torch.equal(made[name], value) for name, value in kept.items())
    longer = replace(OPTIONS, epochs=1)
    train_members(config, splits, range(3), longer, folder=folder, at_once=3)
    assert len(written()) == len(before) + 1


def test_findings_and_page(done) -> None:
    _, report = done
    kinds = {row.kind for row in report.report.seeds}
    assert kinds <= {"fine", "inaccurate", "coverage", "inverted", "other"}
    assert [f.check for f in report.findings] == [
        "performance",
        "silent_failures",
        "seed_agreement",
        "ensembles",
    ]
    page = render_silent(report)
    assert "attnaudit <span>seeds</span>" in page
    assert "conjunction-gaussian" in page
    assert report.judgement in page
    with pytest.raises(SettingsError, match="no finding 'nothing'"):
        report.finding("nothing")


def test_a_network_that_has_not_learned_is_not_audited(splits: Splits, config: BagConfig) -> None:
    report = audit_silent(
        splits, config, 5, options=options_for("bags", epochs=1, learning_rate=1e-5)
    )
    assert report.finding("performance").verdict is Verdict.FAIL
    assert report.finding("silent_failures").verdict is Verdict.NOT_APPLICABLE
    assert "not good enough to audit" in report.judgement
    assert report.accurate == []
    assert "not good enough" in render_silent(report)


def test_bags_without_truth_get_the_agreement_of_seeds(splits: Splits, config: BagConfig) -> None:
    blind = {
        name: part.select([replace(b, truth=None, key_types=None) for b in part])
        for name, part in splits.items()
    }
    report = audit_silent(blind, config, 3, options=OPTIONS)
    assert report.finding("silent_failures").verdict is Verdict.NOT_APPLICABLE
    assert {row.subject for row in report.report.references} == {"ensemble of 3"}
    assert report.report.curve == ()
    assert "2 types" not in report.judgement
    assert "<html" in render_silent(report)


def test_bad_input(splits: Splits, config: BagConfig, tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no weights"):
        train_members(replace(config, pool="max"), splits, (0,), OPTIONS)
    with pytest.raises(NotApplicable, match="'mean' gives every instance an equal weight"):
        audit_silent(splits, replace(config, pool="mean"), 1, out=tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
    with pytest.raises(SettingsError, match="each once"):
        train_members(config, splits, (0, 0), OPTIONS)
    with pytest.raises(DataError, match="no split 'dev'"):
        train_members(config, {"train": splits["train"], "test": splits["test"]}, (0,), OPTIONS)
    with pytest.raises(DataError, match="no split 'test'"):
        audit_silent({"train": splits["train"], "dev": splits["dev"]}, config, 1)
    with pytest.raises(RunError, match="no finished run over seeds"):
        open_silent(tmp_path)
    (tmp_path / "silent.json").write_text('{"schema_version": 99}')
    with pytest.raises(RunError, match="schema version 99"):
        open_silent(tmp_path)
    (tmp_path / "silent.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        open_silent(tmp_path)


def test_accurate_seeds_become_a_model(done, splits: Splits, tmp_path: Path) -> None:
    _, report = done
    assert save_ensemble(report.members, [], tmp_path / "none") is None
    for places in ([0], [0, 1, 2]):
        folder = tmp_path / f"m{len(places)}"
        assert save_ensemble(report.members, places, folder) == folder
        model = load(folder)
        bag = splits["test"].bags[0]
        batch = model.collate([bag])
        shown = model.attend(model.encode(batch))[0]
        expected = report.members.weights[places, : len(bag)].mean(0)
        assert torch.allclose(shown.float(), expected, atol=1e-5)


def test_a_folder_holds_one_run(splits: Splits, config: BagConfig, tmp_path: Path) -> None:
    short = options_for("bags", epochs=1, learning_rate=1e-5)
    able = Bars(bag_bar=0.0)
    audit_silent(splits, config, 1, options=short, bars=able, out=tmp_path)
    assert load(tmp_path / "model").trained_on is not None
    with pytest.raises(RunError, match=r"another run over seeds: bars differs \(bag_bar was 0.0\)"):
        audit_silent(splits, config, 1, options=short, out=tmp_path)
    with pytest.raises(RunError, match="training differs"):
        audit_silent(splits, config, 1, options=replace(short, epochs=2), bars=able, out=tmp_path)
    fewer = splits | {"train": splits["train"].select(splits["train"].bags[:40])}
    with pytest.raises(RunError, match="other bags of the same name"):
        audit_silent(fewer, config, 1, options=short, bars=able, out=tmp_path)
    # more seeds go on, and fewer would hide what was found
    assert len(audit_silent(splits, config, 2, options=short, bars=able, out=tmp_path).members) == 2
    with pytest.raises(RunError, match="1 seeds that are not asked for now"):
        audit_silent(splits, config, 1, options=short, bars=able, out=tmp_path)
    assert (tmp_path / "model").exists()
    strict = audit_silent(
        splits, config, 1, options=short, bars=Bars(bag_bar=1.0), out=tmp_path, overwrite=True
    )
    assert strict.chosen == []
    assert not (tmp_path / "model").exists()  # of the run before
    (tmp_path / "plan.json").unlink()
    with pytest.raises(RunError, match="whose it is is not known"):
        audit_silent(splits, config, 1, options=short, out=tmp_path)


def test_a_model_of_another_command_is_never_replaced(
    splits: Splits, config: BagConfig, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("kept")
    with pytest.raises(RunError, match="written by no run of attnaudit"):
        audit_silent(splits, config, 1, out=tmp_path, overwrite=True)
    assert (tmp_path / "model" / "mine").read_text() == "kept"


def test_the_folder_is_held_until_all_is_written(
    splits: Splits, config: BagConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def looking(real):  # type: ignore[no-untyped-def]
        def rename(source: str, target: str) -> None:
            real(source, target)
            with pytest.raises(RunError, match="another run is writing"), held(tmp_path):
                pass
            seen.append({path.name for path in tmp_path.iterdir()})

        return rename

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, looking(getattr(os, name)))
    audit_silent(splits, config, 1, options=options_for("bags", epochs=1), out=tmp_path)
    assert "silent.json" in seen[-1]
    with held(tmp_path):
        pass


def test_the_command(tmp_path: Path) -> None:
    command = (
        "silent",
        "presence-gaussian",
        "--limit",
        "30",
        "--seeds",
        "2",
        "--epochs",
        "1",
        "--hidden",
        "4",
        "--attention",
        "4",
        "--out",
        str(tmp_path / "run"),
    )
    said = run(*command)
    assert "seed 1" in said
    assert "Not enough seeds to audit" in said
    assert "No model is saved" in said
    assert (tmp_path / "run" / "silent.html").exists()
    assert open_silent(tmp_path / "run").report.ceilings.instance == pytest.approx(0.921, abs=1e-3)
    # as `train --kind bags` reads the same name: vectors are scaled
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert run(*command, "--as-is", code=2).count("holds another run over seeds") == 1
    run(*command, "--as-is", "--overwrite")
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["key"] != plan["key"]
    equal = run(
        "silent", "presence-gaussian", "--pool", "mean", "--out", str(tmp_path / "x"), code=2
    )
    assert "equal weight" in equal


def test_the_command_on_a_file(tmp_path: Path, splits: Splits) -> None:
    rows = tuple(bag for part in ("train", "test") for bag in splits[part])
    save_bags(replace(splits["train"], bags=rows), tmp_path / "bags.npz")
    said = run(
        "silent",
        str(tmp_path / "bags.npz"),
        "--pool",
        "self_attention",
        "--seeds",
        "2",
        "--epochs",
        "12",
        "--learning-rate",
        "0.01",
        "--bag-bar",
        "0.5",
        "--graded",
        "positive",
        "--out",
        str(tmp_path / "run"),
    )
    assert "Model:" in said
    assert "on the development bags: 0" in said
    model = load(tmp_path / "run" / "model")
    assert model.classes == splits["train"].classes
    # train is known, and the bags held out are audited as they were before scaling
    held_out = choose(model).data
    assert len(held_out) == 14
    assert not any(bag in model.trained_on for bag in held_out)
    given = {bag.instances.numpy().tobytes() for bag in rows}
    assert all(bag.instances.numpy().tobytes() in given for bag in held_out)
    assert sum(bag in model.trained_on for bag in rows) == 140 - 14
    wrong = run("silent", "nowhere.npz", "--out", str(tmp_path / "x"), code=2)
    assert "nowhere.npz" in wrong
    assert issubclass(SettingsError, AttnauditError)
