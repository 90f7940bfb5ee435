"""Many seeds from data to findings: training, storing, going on, workers, and the saved model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from attnaudit.audits.held_out import choose
from attnaudit.audits.result import AuditResult, open_audit
from attnaudit.audits.run import run_audit
from attnaudit.audits.seeds import audit_seeds, save_seeds
from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.data.bags.scaling import scaling_of
from attnaudit.errors import (
    DamagedWarning,
    DataError,
    NotApplicable,
    RunError,
    SettingsError,
)
from attnaudit.evidence.seeds.ceilings import Ceilings
from attnaudit.evidence.seeds.members import read_weights, train_members
from attnaudit.evidence.seeds.network import Network, network_of
from attnaudit.evidence.seeds.saving import save_ensemble
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import SeedSettings, Settings
from attnaudit.models.load import load
from attnaudit.nets.bags.classifier import BagConfig, new_bag_net
from attnaudit.training.options import options_for

Splits = dict[str, BagDataset]
OPTIONS = options_for("bags", epochs=12, learning_rate=1e-2)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return generate_bag_splits("conjunction", "gaussian", 80, 40, 60, delta=5.0)


@pytest.fixture(scope="module")
def config(splits: Splits) -> BagConfig:
    train = splits["train"]
    return BagConfig(train.classes, train.shape, pool="self_attention", hidden=8, attention=8)


def asking(seeds: int | tuple[int, ...], at_once: int = 8, **bars: float) -> Settings:
    which = tuple(range(seeds)) if isinstance(seeds, int) else seeds
    return Settings(seeds=SeedSettings(which=which, at_once=at_once), bars=bars)


SIX = asking(6, at_once=3)


@pytest.fixture(scope="module")
def network(config: BagConfig) -> Network:
    return Network(config, OPTIONS)


Done = tuple[Path, AuditResult]


@pytest.fixture(scope="module")
def done(splits: Splits, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("seeds")
    return folder, audit_seeds(splits, network, SIX, out=folder)


def found(result: AuditResult, check: str) -> Finding:
    return next(f for f in (result.report.performance, *result.report.findings) if f.check == check)


def test_members_are_those_that_single_networks_give(splits: Splits, config: BagConfig) -> None:
    given = train_members(Network(config, replace(OPTIONS, epochs=1)), splits, (3, 7))
    assert given.seeds == (3, 7)
    for net, weights, outputs in zip(given.nets, given.weights, given.outputs, strict=True):
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


def test_what_is_stored_is_what_was_found(done: Done) -> None:
    folder, result = done
    again = open_audit(folder)
    assert again.report == result.report
    assert again.pictures == result.pictures
    frame = pl.read_parquet(folder / "seeds.parquet")
    assert frame["seed"].drop_nulls().to_list() == list(range(6))
    assert {"type_mass.1", "type_mass.2", "auroc", "kind"} <= set(frame.columns)
    table = pl.read_parquet(folder / "weights.parquet")
    sums = table.group_by("bag").agg(pl.col("weight.0").sum())["weight.0"]
    assert sums.to_list() == pytest.approx([1.0] * len(sums), abs=1e-4)
    assert table["instance"].min() == 0


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/members.safetensors")}


def test_finished_groups_are_not_trained_again(
    done: Done, splits: Splits, network: Network, tmp_path: Path
) -> None:
    folder, result = done
    before = written(folder)
    assert len(before) == 2
    again = audit_seeds(splits, network, SIX, out=folder)
    assert written(folder) == before
    assert again.report == result.report
    damaged = min(before)
    damaged.write_bytes(b"nothing")
    with pytest.warns(DamagedWarning, match=damaged.name):
        mended = audit_seeds(splits, network, SIX, out=folder)
    assert {path for path, when in written(folder).items() if before[path] != when} == {damaged}
    assert mended.report.findings == result.report.findings
    assert mended.frames["weights"].equals(result.frames["weights"])


def test_members_kept_in_a_folder_are_not_trained_again(
    splits: Splits, config: BagConfig, tmp_path: Path
) -> None:
    network = Network(config, options_for("bags", epochs=1))
    told: list[tuple[str, int, int]] = []

    def progress(*step: object) -> None:
        told.append(step)  # type: ignore[arg-type]

    def groups() -> list[str]:
        ends = [name for name, done, total in told if done == total]
        assert ends == list(dict.fromkeys(name for name, _, _ in told))
        return ends

    def trained(some: Network, seeds: int) -> torch.Tensor:
        told.clear()
        members = train_members(
            some, splits, range(seeds), folder=tmp_path, at_once=2, progress=progress
        )
        return members.weights

    first = trained(network, 3)
    assert groups() == ["seeds 0, 1", "seeds 2"]
    assert torch.equal(trained(network, 3), first)
    assert not told
    trained(network, 4)
    assert groups() == ["seeds 2, 3"]
    trained(replace(network, options=options_for("bags", epochs=1, batch_size=4)), 3)
    assert groups() == ["seeds 0, 1", "seeds 2"]


def test_more_seeds_go_on_and_fewer_would_hide_what_was_found(
    splits: Splits, config: BagConfig, tmp_path: Path
) -> None:
    short = Network(config, options_for("bags", epochs=1, learning_rate=1e-5))
    audit_seeds(splits, short, asking(2, at_once=2), out=tmp_path)
    before = written(tmp_path)
    more = audit_seeds(splits, short, asking(4, at_once=2), out=tmp_path)
    assert before.items() < written(tmp_path).items()
    assert more.frames["seeds"]["seed"].drop_nulls().to_list() == [0, 1, 2, 3]
    with pytest.raises(RunError, match="2 seeds that are not asked for now, such as 2"):
        audit_seeds(splits, short, asking(2, at_once=2), out=tmp_path)


def test_workers_give_the_same_numbers(
    done: Done, splits: Splits, network: Network, tmp_path: Path
) -> None:
    _, result = done
    other = audit_seeds(splits, network, SIX, out=tmp_path, workers=2)
    assert other.report.findings == result.report.findings
    assert other.report.performance == result.report.performance
    assert other.frames["weights"].equals(result.frames["weights"])


def test_numbers_of_seeds_depend_on_what_they_are_trained_on(
    splits: Splits, network: Network
) -> None:
    few = asking(2)
    scaled = replace(network, scaling=scaling_of(splits["train"]))
    plain = audit_seeds(splits, network, few)
    other = audit_seeds(splits, scaled, few)
    assert plain.report.plan.about["scaling"] is None
    assert plain.report.plan.difference(other.report.plan) is not None
    assert not plain.frames["weights"].equals(other.frames["weights"])
    # what is graded changes the grades, and trains nothing anew
    graded = audit_seeds(splits, replace(network, graded=("positive",)), few)
    assert [cell.place for cell in graded.report.cells] == [
        cell.place for cell in plain.report.cells
    ]
    assert graded.frames["seeds"]["bags"][0] < plain.frames["seeds"]["bags"][0]


def test_findings_and_pictures(done: Done) -> None:
    _, result = done
    kinds = set(result.frames["seeds"].filter(pl.col("seed").is_not_null())["kind"])
    assert kinds <= {"fine", "inaccurate", "coverage", "inverted", "other"}
    assert result.report.performance.check == "performance"
    assert [f.check for f in result.report.findings] == [
        "silent_failures",
        "seed_agreement",
        "ensembles",
    ]
    assert [block.kind for block in result.pictures["silent_failures"]][-1] == "table"
    assert result.pictures["silent_failures"][-1].rows[0].name == "seed 0"


def test_seeds_that_fail_silently_forbid_the_weights(splits: Splits, network: Network) -> None:
    result = audit_seeds(splits, network, asking(6, bag_bar=0.5, instance_bar=1.0))
    assert found(result, "silent_failures").verdict is Verdict.FAIL
    assert result.report.judgement.verdict is Verdict.FAIL
    assert "silent failures" in result.report.judgement.headline
    assert found(result, "silent_failures").thresholds["bag_bar"] == 0.5


def test_a_network_that_has_not_learned_is_not_audited(splits: Splits, config: BagConfig) -> None:
    network = Network(config, options_for("bags", epochs=1, learning_rate=1e-5))
    result = audit_seeds(splits, network, asking(5))
    assert found(result, "performance").verdict is Verdict.FAIL
    assert found(result, "silent_failures").verdict is Verdict.NOT_APPLICABLE
    assert result.report.judgement.verdict is Verdict.NOT_APPLICABLE
    assert "not good enough to audit" in result.report.judgement.headline
    assert result.pictures["silent_failures"], "seeds are shown all the same"


def test_bags_without_truth_get_the_agreement_of_seeds(splits: Splits, network: Network) -> None:
    blind = {
        name: part.select([replace(b, truth=None, key_types=None) for b in part])
        for name, part in splits.items()
    }
    result = audit_seeds(blind, network, asking(5, bag_bar=0.0))
    assert found(result, "silent_failures").verdict is Verdict.NOT_APPLICABLE
    assert found(result, "seed_agreement").verdict is not Verdict.NOT_APPLICABLE
    rows = result.frames["seeds"].filter(pl.col("seed").is_null())
    assert rows["subject"].to_list() == ["ensemble of 5"]
    assert result.report.judgement.verdict is not Verdict.FAIL


def test_bad_input(splits: Splits, network: Network, tmp_path: Path) -> None:
    config = network.config
    with pytest.raises(NotApplicable, match="no weights"):
        train_members(Network(replace(config, pool="max")), splits, (0,))
    equal = Network(replace(config, pool="mean"))
    with pytest.raises(NotApplicable, match="'mean' gives every instance an equal weight"):
        audit_seeds(splits, equal, asking(1), out=tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
    for seeds in ((0, 0), ()):
        with pytest.raises(SettingsError, match="each once"):
            audit_seeds(splits, network, asking(seeds))
    with pytest.raises(DataError, match="no split 'dev'"):
        train_members(network, {"train": splits["train"], "test": splits["test"]}, (0,))
    with pytest.raises(DataError, match="no split 'test'"):
        audit_seeds({"train": splits["train"], "dev": splits["dev"]}, network, asking(1))
    with pytest.raises(SettingsError, match="classes are negative, positive"):
        audit_seeds(splits, replace(network, graded=("other",)), asking(1))
    with pytest.raises(SettingsError, match="no bar is called 'bagbar'"):
        audit_seeds(splits, network, asking(1, bagbar=0.5))


def test_accurate_seeds_become_a_model(splits: Splits, network: Network, tmp_path: Path) -> None:
    members = train_members(network, splits, range(3))
    assert save_ensemble(members, [], tmp_path / "none") is None
    for places in ([0], [0, 1, 2]):
        folder = tmp_path / f"m{len(places)}"
        assert save_ensemble(members, places, folder) == folder
        model = load(folder)
        bag = splits["test"].bags[0]
        batch = model.collate([bag])
        shown = model.attend(model.encode(batch))[0]
        expected = members.weights[places, : len(bag)].mean(0)
        assert torch.allclose(shown.float(), expected, atol=1e-5)


def test_the_good_seeds_of_a_run_are_saved_in_its_folder(
    splits: Splits, network: Network, tmp_path: Path
) -> None:
    scaled = replace(network, scaling=scaling_of(splits["train"]))
    settings = asking(3, at_once=2, bag_bar=0.0)
    audit_seeds(splits, scaled, settings, out=tmp_path)
    before = written(tmp_path)
    assert save_seeds(tmp_path, splits, scaled, settings) == tmp_path / "model"
    assert written(tmp_path) == before
    model = load(tmp_path / "model")
    # train is known, and the bags held out are audited as they were before scaling
    held_out = choose(model).data
    assert len(held_out) == len(splits["test"])
    assert not any(bag in model.trained_on for bag in held_out)
    given = {bag.instances.numpy().tobytes() for bag in splits["test"]}
    assert all(bag.instances.numpy().tobytes() in given for bag in held_out)
    assert network_of(model).config == network.config
    again = network_of(model).scaling
    assert again is not None
    assert torch.allclose(again.mean.double(), scaled.scaling.mean)
    strict = asking(3, at_once=2, bag_bar=1.0, bag_room=0.0)
    audit_seeds(splits, scaled, strict, out=tmp_path, overwrite=True)
    assert written(tmp_path) == before
    if not any(auc == 1.0 for auc in open_frame(tmp_path)["dev_roc_auc"].drop_nulls()):
        assert save_seeds(tmp_path, splits, scaled, strict) is None
        assert not (tmp_path / "model").exists()  # of the run before


def open_frame(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "seeds.parquet")


def test_seeds_of_an_audited_model(done: Done, splits: Splits, network: Network) -> None:
    folder, alone = done
    members = train_members(network, splits, range(2))
    saved = save_ensemble(members, [0], folder.parent / f"{folder.name}-one", splits=splits)
    assert saved is not None
    model = load(saved)
    settings = SIX.model_copy(update={"checks": ("permutation", "seeds"), "permutations": 5})
    part = network_of(model, OPTIONS)
    result = run_audit(model, splits["test"], settings, splits=splits, parts=(part,))
    assert result.report.performance.subject == "model"
    assert len(result.instances) == len(splits["test"])
    assert result.report.findings[-3:] == alone.report.findings
    with pytest.raises(NotApplicable, match="no network"):
        run_audit(model, splits["test"], settings, splits=splits)
    with pytest.raises(DataError, match="no splits"):
        run_audit(model, splits["test"], settings, parts=(part,))


def test_a_folder_holds_one_run(splits: Splits, config: BagConfig, tmp_path: Path) -> None:
    short = Network(config, options_for("bags", epochs=1, learning_rate=1e-5))
    able = asking(1, bag_bar=0.0)
    audit_seeds(splits, short, able, out=tmp_path)
    with pytest.raises(RunError, match=r"another run: with other settings \(bars was"):
        audit_seeds(splits, short, asking(1), out=tmp_path)
    longer = replace(short, options=replace(short.options, epochs=2))
    with pytest.raises(RunError, match="training was"):
        audit_seeds(splits, longer, able, out=tmp_path)
    known = replace(short, ceilings=Ceilings(bag=0.9))
    with pytest.raises(RunError, match="ceilings was"):
        audit_seeds(splits, known, able, out=tmp_path)
    fewer = splits | {"train": splits["train"].select(splits["train"].bags[:40])}
    with pytest.raises(RunError, match="another run: of the data"):
        audit_seeds(fewer, short, able, out=tmp_path)
    audit_seeds(splits, longer, able, out=tmp_path, overwrite=True)
    (tmp_path / "plan.json").unlink()
    with pytest.raises(RunError, match="whose they are is not known"):
        audit_seeds(splits, longer, able, out=tmp_path)


def test_a_model_of_another_command_is_never_replaced(
    splits: Splits, network: Network, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("kept")
    with pytest.raises(RunError, match="written by no run of attnaudit"):
        audit_seeds(splits, network, asking(1), out=tmp_path, overwrite=True)
    assert (tmp_path / "model" / "mine").read_text() == "kept"
