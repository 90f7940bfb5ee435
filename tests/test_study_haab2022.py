"""The study haab2022 in small: plan, cells, claims, page, going on, and what cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.data.bags.rules import RULES
from attnaudit.data.bags.sets import BAG_SETS
from attnaudit.errors import SettingsError
from attnaudit.evidence.seeds.ceilings import Ceilings
from attnaudit.evidence.seeds.evidence import SeedEvidence
from attnaudit.evidence.seeds.grades import LEAST_ACCURATE, EnsembleRow
from attnaudit.evidence.seeds.members import train_members
from attnaudit.evidence.seeds.network import Network
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.nets.bags.classifier import BagConfig
from attnaudit.studies import STUDIES
from attnaudit.studies.declaration import Cell, Place, Results, Study, run_cell
from attnaudit.studies.haab2022 import HAAB2022
from attnaudit.studies.haab2022.cells import CLASSIC, GRID, MANY, SIGNAL, HaabOptions, plan, quick
from attnaudit.studies.haab2022.classic import measure_classic
from attnaudit.studies.haab2022.conclude import conclude
from attnaudit.studies.haab2022.graded import file_of, gain_of
from attnaudit.studies.haab2022.measure import conclude as shown_by
from attnaudit.studies.haab2022.page import cells_of
from attnaudit.studies.page import render_study, render_study_markdown
from attnaudit.studies.run import options_of, prepare, run_study
from attnaudit.studies.schema import CellRecord, Holds
from attnaudit.training.options import options_for
from tests.shared import shared_dir
from tests.terminal import run

SMALL = {
    "data": ("presence", "conjunction", "exclusive_or"),
    "modalities": ("digits",),
    "pools": ("gated",),
    "bags": 24,
    "test_bags": 24,
    "members": 5,
    "many": 6,
    "many_bags": 24,
    "draws": (0,),
    "deltas": (2.0, 4.0),
    "epochs": 1,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("haab2022")
    options = options_of(HAAB2022, SMALL, data_dir=None, quick=False)
    return folder, run_study(prepare(HAAB2022, options, folder), reference={})


def fake_sets(folder: Path) -> Path:
    """A file with the size of Musk1, whose bags can be told apart."""
    entry = BAG_SETS["musk1"]
    rng = np.random.default_rng(0)
    labels = (np.arange(entry.bags) < entry.positive).astype(np.int8)
    bag = np.sort(
        np.concatenate(
            [np.arange(entry.bags), rng.integers(0, entry.bags, entry.instances - entry.bags)]
        )
    )
    values = rng.normal(size=(entry.instances, entry.features)).astype(np.float32)
    values[:, 0] += 4 * labels[bag]
    (folder / "mil").mkdir(parents=True)
    np.savez(folder / "mil" / "musk1.npz", X=values, bag=bag, bag_label=labels)
    return folder


def test_the_plan_has_every_part() -> None:
    planned = plan(HaabOptions(), None)
    parts = [cell.spec["part"] for cell in planned.cells]
    assert {part: parts.count(part) for part in (GRID, SIGNAL, MANY)} == {
        GRID: 8 * (3 + 3),
        SIGNAL: 6,
        MANY: 3,
    }
    assert CLASSIC not in parts
    assert {missing.what for missing in planned.missing} == set(BAG_SETS)
    assert len({cell.name for cell in planned.cells}) == len(planned.cells)
    assert {cell.spec["data"] for cell in planned.cells} == set(RULES)
    assert max(cell.spec["members"] for cell in planned.cells if cell.spec["part"] == MANY) >= 24


def test_the_quick_study_is_small(tmp_path: Path) -> None:
    options = HaabOptions.model_validate(quick(None))
    assert sum(cell.cost for cell in plan(options, None).cells) < 300
    assert "musk1" not in options.data
    assert "musk1" in quick(fake_sets(tmp_path))["data"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": ("no_rule",)}, "'no_rule' is no rule or classic set"),
        ({"pools": ("max",)}, "'max' is no pool"),
        ({"pools": ("mean",)}, "'mean' is no pool"),
        ({"modalities": ("sounds",)}, "'sounds' is no modality"),
        ({"heads": ("deep",)}, "'deep' is no head"),
    ],
)
def test_unknown_names(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan(HaabOptions.model_validate(given), None)


def test_all_claims_are_there_and_none_is_the_papers_number(finished) -> None:
    folder, done = finished
    claims = json.loads((folder / "claims.json").read_text())["claims"]
    assert [claim["id"] for claim in claims] == [
        "often_reflective",
        "presence_is_found",
        "silent_failures",
        "one_type_of_key",
        "ensembles_raise_the_worst_case",
        "ensembles_fail_less_often",
        "ensembles_do_no_harm",
        "below_the_ceiling",
        "exclusive_or_is_not_audited",
        "classic_accuracies",
        "seeds_agree_on_classic_sets",
    ]
    by = {claim["id"]: claim for claim in claims}
    # one epoch teaches nothing: the gate must say so, and nothing else may be said to hold
    assert by["exclusive_or_is_not_audited"]["holds"] == "yes"
    assert by["presence_is_found"]["holds"] == "no"
    assert by["often_reflective"]["holds"] == "not measured"
    assert by["silent_failures"]["holds"] != "yes"
    assert by["classic_accuracies"]["holds"] == "not measured"
    published = [part["paper"] for claim in claims for part in claim["parts"]]
    assert set(published) <= {None}
    assert not done.results.failed


def test_cells_hold_what_the_page_needs(finished) -> None:
    _, done = finished
    many = done.results.where(part=MANY)[0]
    assert {"every bag", "positive bags"} <= set(many.facts)
    groups = {row.group for row in many.rows}
    assert "all" in groups
    assert "all, positive bags" in groups
    page = render_study(done)
    for words in ("What is known of the paper", "Silent failures, and ensembles", "Gaussian bags"):
        assert words in page
    assert "not good enough" in page
    assert "exclusive or of digits" in render_study_markdown(done)


def test_finished_cells_are_kept(finished, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, done = finished
    options = options_of(HAAB2022, SMALL, data_dir=None, quick=False)
    again = prepare(HAAB2022, options, folder)
    assert again.waiting == ()
    assert len(again.planned.cells) == len(done.results.records)


def test_classic_sets_in_cross_validation(tmp_path: Path) -> None:
    spec = {"data": "musk1", "pool": "gated", "repeats": 1, "members": 2, "epochs": 2}
    place = Place(tmp_path / "cell", fake_sets(tmp_path), "cpu", lambda *_: None)
    found = measure_classic(spec, place)
    rows = {(e.statistic, e.subject): e for e in found.rows}
    accuracy = rows["accuracy", "seeds"]
    assert accuracy.n == 92
    assert accuracy.value == pytest.approx(np.mean(found.facts["accuracies"]))
    assert accuracy.value > 0.7  # a feature gives the label away
    assert found.facts["runs"] == 2
    assert 0 <= rows["same_decision", "seed~seed"].value <= 1
    assert -1 <= rows["spearman", "seed~seed"].value <= 1


def test_the_real_sets_are_found() -> None:
    folder = shared_dir("data/mil").parent
    planned = plan(HaabOptions(data=("musk1", "tiger")), folder)
    assert [cell.spec["data"] for cell in planned.cells] == ["musk1", "tiger"]
    assert not planned.missing


def record(part: str, rows: tuple[Estimate, ...] = (), **spec: object) -> CellRecord:
    given = {
        "part": part,
        "data": "musk1",
        "pool": "gated",
        "repeats": 1,
        "members": 2,
        "epochs": 2,
        **spec,
    }
    return CellRecord(
        name=str(given),
        key="",
        spec=given,
        status="done",
        cost=1,
        seconds=1,
        attnaudit_version="",
        code="",
        created="2026-01-01T00:00:00Z",
        rows=rows,
        facts={"roc_auc": 0.9},
    )


def test_classic_claims_follow_their_rules() -> None:
    def holds(accuracy: float, rho: tuple[float, float]) -> dict[str, Holds]:
        rows = (
            Estimate(statistic="accuracy", subject="seeds", value=accuracy, n=92),
            Estimate(
                statistic="same_top",
                subject="seed~seed",
                value=sum(rho) / 2,
                low=rho[0],
                high=rho[1],
                n=92,
            ),
        )
        results = Results(HAAB2022, HaabOptions(), Path(), (record(CLASSIC, rows),))
        return {claim.id: claim.holds for claim in conclude(results)}

    near = holds(0.87, (0.6, 0.8))
    assert near["classic_accuracies"] is Holds.YES
    assert near["seeds_agree_on_classic_sets"] is Holds.YES
    far = holds(0.80, (0.2, 0.4))
    assert far["classic_accuracies"] is Holds.NO
    assert far["seeds_agree_on_classic_sets"] is Holds.NO
    assert near["often_reflective"] is Holds.NOT_MEASURED


def test_gains_of_ensembles() -> None:
    def row(members: int, worst: float, silent: float | None, accurate: float) -> EnsembleRow:
        return EnsembleRow(
            average="weights",
            members=members,
            subsets=9,
            every=False,
            mean=0.9,
            worst=worst,
            silent=silent,
            accurate=accurate,
            disjoint=1,
        )

    rows = (row(1, 0.4, 0.3, 0.6), row(6, 0.7, 0.1, 1.0))
    found = gain_of(rows, 6)
    assert found is not None
    assert found[:2] == pytest.approx((0.3, -0.2))
    # ensembles that do not do their task say nothing of silent failures
    for silent, accurate in ((None, 0.0), (0.0, 0.2)):
        found = gain_of((rows[0], row(6, 0.7, silent, accurate)), 6)
        assert found is not None
        assert found[1] is None
    assert gain_of((row(1, 0.4, None, 0.0), rows[1]), 6)[1] is None
    assert gain_of(rows, 12) is None
    assert gain_of(rows[1:], 6) is None


def silent_facts(**update: object) -> dict[str, object]:
    splits = generate_bag_splits("presence", "gaussian", 12, 8, 12, delta=4.0)
    config = BagConfig(splits["train"].classes, (10,), hidden=4, attention=4)
    network = Network(config, options_for("bags", epochs=1))
    members = train_members(network, splits, range(2))
    shown = shown_by(SeedEvidence(members, network, splits, Settings()))
    return json.loads(shown.model_copy(update=update).model_dump_json())


def test_a_gap_of_nothing_is_no_missing_gap() -> None:
    # the interval of the gap ends at 0: the ceiling is reached, and not passed
    row = Estimate(
        statistic="bag_auroc", subject="weights", group="all", value=0.85, low=0.80, high=0.9, n=50
    )
    signal = record(SIGNAL, (row,), data="presence", delta=2.0)
    facts = {"every bag": silent_facts(ceilings=Ceilings(instance=0.80))}
    results = Results(
        HAAB2022, HaabOptions(), Path(), (signal.model_copy(update={"facts": facts}),)
    )
    claim = next(c for c in conclude(results) if c.id == "below_the_ceiling")
    assert claim.parts[0].measured.high == 0.0
    assert claim.parts[0].holds is Holds.YES


def test_too_few_seeds_leave_exclusive_or_undecided() -> None:
    cell = record(
        GRID, data="exclusive_or", modality="digits", head="linear", bags=12, test_bags=12
    )
    facts = {"every bag": silent_facts()}
    results = Results(HAAB2022, HaabOptions(), Path(), (cell.model_copy(update={"facts": facts}),))
    claim = next(c for c in conclude(results) if c.id == "exclusive_or_is_not_audited")
    assert claim.holds is Holds.UNDECIDED
    assert "not enough seeds" in " ".join(
        v.differs for v in cells_of(cell, file_of(results.records[0]))
    )


def test_the_quick_study_has_enough_seeds_to_audit() -> None:
    cells = plan(HaabOptions.model_validate(quick(None)), None).cells
    assert min(cell.spec["members"] for cell in cells) >= LEAST_ACCURATE.value


def test_the_command(tmp_path: Path) -> None:
    said = run(
        "study",
        "haab2022",
        "--out",
        str(tmp_path / "run"),
        "--data",
        "presence",
        "--set",
        "modalities=sentences",
        "--set",
        "bags=12",
        "--set",
        "test_bags=12",
        "--set",
        "members=2",
        "--set",
        "epochs=1",
        "--set",
        "deltas=2.0",
    )
    assert "Report" in said
    assert (tmp_path / "run" / "report.html").exists()
    assert isinstance(STUDIES["haab2022"], Study)
    keys = {run_cell(HAAB2022, Cell("a", {"part": p}, 1.0), None).key for p in (GRID, MANY)}
    assert len(keys) == 2
