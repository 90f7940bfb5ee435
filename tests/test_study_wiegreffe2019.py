"""The study wiegreffe2019: cells, claims, paper's numbers and page, on sizes that take seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

from attnaudit.audits.result import open_audit
from attnaudit.data.named.sets import NAMED_SETS
from attnaudit.findings.findings import Estimate
from attnaudit.studies import STUDIES
from attnaudit.studies.declaration import Results, find, run_cell
from attnaudit.studies.page import render_study, render_study_markdown
from attnaudit.studies.run import Finished, options_of, prepare, run_study
from attnaudit.studies.schema import CellRecord, ClaimList, Holds
from attnaudit.studies.texts import AUDIT_FOLDER
from attnaudit.studies.wiegreffe2019 import WIEGREFFE2019
from attnaudit.studies.wiegreffe2019.conclude import AS_WELL, LOSE
from attnaudit.studies.wiegreffe2019.measure import CONTROLS_FOLDER
from attnaudit.studies.wiegreffe2019.paper import CITED, COLUMNS, ROWS, Paper
from attnaudit.studies.wiegreffe2019.settings import (
    SETTINGS,
    Role,
    Setting,
    difference_of,
    named,
)
from tests.shared import shared_dir
from tests.terminal import run as cli

SIZES = {
    "train_limit": 60,
    "test_limit": 40,
    "epochs": 1,
    "hidden": 4,
    "embedding_dim": 6,
    "other_seeds": 2,
    "lambdas": (0.0, 0.002),
    "adversary_epochs": 1,
    "replacements": ("uniform",),
    "data": ("reviews",),
}
FLAGS = (
    "--data",
    "reviews",
    "--limit",
    "60",
    "--test-limit",
    "40",
    "--workers",
    "1",
    *(
        w
        for name in ("epochs", "hidden", "embedding_dim", "other_seeds", "adversary_epochs")
        for w in ("--set", f"{name}={SIZES[name]}")
    ),
    "--set",
    "lambdas=0,0.002",
    "--set",
    "replacements=uniform",
)
NEEDED, NEEDED_TOO, NEEDED_TOO_2, IDLE = "needed", "needed too", "needed as well", "idle"
EVERY_SET = dict(SETTINGS)
CLAIMS = {
    "uniform_loses_little",
    "uniform_loses_on_notes",
    "seeds_agree",
    "search_beyond_seeds",
    "base_guides",
    "uniform_guides_worse",
    "adversary_guides_worse",
    "trained_adversary",
    "trained_below_search",
    "controls_tell_tasks_apart",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    cli("study", "wiegreffe2019", "--quick", "--out", str(folder), *FLAGS)
    return folder


@pytest.fixture(scope="module")
def finished(place: Path) -> Finished:
    prepared = prepare(
        WIEGREFFE2019, options_of(WIEGREFFE2019, SIZES, quick=True), place, quick=True
    )
    assert prepared.waiting == ()
    return run_study(prepared)


def test_a_quick_run_needs_no_data_and_stores_everything(place: Path) -> None:
    stored = ClaimList.model_validate_json((place / "claims.json").read_text())
    assert [claim.id for claim in stored.claims] == [c for c in _order() if c in CLAIMS]
    assert {claim.id for claim in stored.claims} == CLAIMS
    for claim in stored.claims:
        assert claim.claim.endswith(".")
        assert claim.rule
        assert claim.note
        assert "not verified" in claim.paper or claim.paper.startswith("Not in the paper")
        for part in claim.parts:
            if part.measured is not None:
                assert part.measured.n == 40
                assert part.measured.low is not None
                assert part.measured.high is not None
                assert part.measured.low <= part.measured.value <= part.measured.high
    for name in ("findings.json", "results.parquet", "report.html", "card.md"):
        assert (place / name).stat().st_size > 500


def _order() -> list[str]:
    return [c.id for c in WIEGREFFE2019.conclude(Results(WIEGREFFE2019, options(), Path(), ()))]


def options(**given: Any) -> Any:
    return options_of(WIEGREFFE2019, given)


def test_the_same_command_runs_nothing_again(place: Path) -> None:
    said = cli("study", "wiegreffe2019", "--quick", "--out", str(place), *FLAGS, "--dry-run")
    assert "all 1 cells are finished" in said


def test_an_interrupted_cell_goes_on_with_its_trainings(finished: Finished, tmp_path: Path) -> None:
    """The cell's record and one training are gone: that one is trained again, and no other."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.results.folder, folder)
    (cell,) = (folder / "cells").iterdir()
    before = CellRecord.model_validate_json((cell / "cell.json").read_text())
    (cell / "cell.json").unlink()
    trainings = cell / CONTROLS_FOLDER / "cells"
    (lost,) = trainings.glob("guide-own-*")
    shutil.rmtree(lost)
    models = {p: p.stat().st_mtime_ns for p in trainings.rglob("model.safetensors")}
    assert len(models) == 9
    prepared = prepare(WIEGREFFE2019, finished.results.options, folder, quick=True)
    assert len(prepared.waiting) == 1
    stages: set[str] = set()
    again = run_study(prepared, watch=lambda e: stages.add(e.stage))
    assert "guide own" in stages
    assert not stages & {"base", "uniform", "seed 1", "adversary 0"}
    assert {p: p.stat().st_mtime_ns for p in models} == models
    (after,) = again.results.records
    assert (after.key, after.rows) == (before.key, before.rows)


def test_other_sizes_are_other_cells_and_the_longest_come_first() -> None:
    few = options(data=("reviews",), epochs=1)
    more = options(data=("reviews",), epochs=2)
    first = [WIEGREFFE2019.plan(asked, None).cells[0] for asked in (few, more)]
    keys = {run_cell(WIEGREFFE2019, cell, None).key for cell in first}
    assert len(keys) == 2
    three = options(data=("reviews",), encoders=("average", "bilstm", "cnn"))
    cells = WIEGREFFE2019.plan(three, None).cells
    assert [cell.spec["encoder"] for cell in cells] == ["bilstm", "cnn", "average"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "mnist"), "'mnist' is no data set of this study"),
        (("--encoder", "gru"), "'gru' is no encoder"),
        (("--attention", "uniform"), "'uniform' is no attention that is learned"),
        (("--set", "controls=hope"), "'hope' is no control"),
        (("--set", "task_controls=uniform,hope"), "'hope' is no control"),
        (("--set", "replacements=nothing"), "'nothing' is no replacement"),
        (("--set", "other_seeds=0"), "the study wiegreffe2019: other_seeds"),
        (("--set", "lambdas=much"), "the study wiegreffe2019: lambdas"),
        (("--set", "lambdas=-1"), "the study wiegreffe2019: lambdas"),
        (("--set", "learning_rate=0"), "the study wiegreffe2019: learning_rate"),
        (("--set", "vectors=gone.txt"), "gone.txt cannot be read"),
    ],
)
def test_bad_options_are_one_clear_line(words: tuple[str, ...], message: str) -> None:
    data = () if "--data" in words else ("--data", "reviews")
    assert message in cli("study", "wiegreffe2019", *data, *words, code=2)


def test_one_value_may_stand_where_several_can() -> None:
    one = options(lambdas="0.01", controls="uniform")
    assert (one.lambdas, one.controls) == ((0.01,), ("uniform",))


# --- numbers


def test_rows_are_what_the_instances_say(finished: Finished) -> None:
    (record,) = finished.results.records
    folder = finished.results.folder_of(record)
    frame = open_audit(folder / CONTROLS_FOLDER).frames["trainings"]
    search = open_audit(folder / AUDIT_FOLDER).instances.select("id", "adversary/search_jsd")
    free = frame.join(search, on="id", how="left")["adversary/search_jsd"].to_numpy()
    seeds = np.median(frame.select("seed 1/jsd", "seed 2/jsd").to_numpy(), axis=1)

    def value(statistic: str, subject: str, group: str = "all") -> float:
        found = find(record.rows, statistic, subject, group)
        assert found is not None
        assert found.value is not None
        return found.value

    assert value("median_jsd", "seeds/weights") == pytest.approx(seeds.mean())
    assert value("mean_jsd", "search") == pytest.approx(free.mean())
    assert value("jsd_difference", "search - seeds") == pytest.approx((free - seeds).mean())
    labels = frame["label"].to_numpy()
    trained = {
        "base": "uniform/learned",
        "uniform": "uniform/uniform",
        "guide base": "guide/base",
        "guide adversary": "guide/adversary",
    }
    for name, subject in trained.items():
        f1 = f1_score(labels, frame[f"{name}/predicted"].to_numpy(), zero_division=0)
        assert value("f1", subject) == pytest.approx(f1)
    low = frame.filter(pl.col("max_weight") < 0.25)
    change = low.select("seed 1/tvd", "seed 2/tvd").to_numpy().mean()
    assert value("mean_tvd", "seeds/output", "max weight [0.00, 0.25)") == pytest.approx(change)
    best = record.facts["best_adversary"]
    if best is not None:
        gap = (free - frame[f"{best}/jsd"].to_numpy()).mean()
        assert value("jsd_difference", "search - trained") == pytest.approx(gap)
    subjects = [(e.statistic, e.subject, e.group) for e in record.rows]
    assert len(set(subjects)) == len(subjects)


def test_the_controls_of_a_cell_speak_for_themselves(finished: Finished) -> None:
    (record,) = finished.results.records
    said = {(f["control"], f["subject"]) for f in record.facts["findings"]}
    assert {
        ("uniform", "uniform"),
        ("seeds", "weights"),
        ("guide", "weights"),
        ("trained_adversary", "weights"),
    } <= said
    assert set(record.facts["trainings"]) == {
        "base",
        "uniform",
        "seed 1",
        "seed 2",
        "guide uniform",
        "guide own",
        "guide base",
        "guide adversary",
        "adversary 0",
        "adversary 0.002",
    }


# --- claims, on made-up cells

KNOWN = {
    "lost": ("f1_difference", "uniform/uniform"),
    "accuracy_lost": ("accuracy_difference", "uniform/uniform"),
    "seeds": ("median_jsd", "seeds/weights"),
    "beyond": ("jsd_difference", "search - seeds"),
    "own": ("f1_difference", "guide/base - own"),
    "own_flat": ("f1_difference", "guide/own - uniform"),
    "far": ("mean_jsd", "guide/adversary"),
    "change": ("mean_tvd", "guide/adversary"),
    "flat": ("f1_difference", "guide/base - uniform"),
    "other": ("f1_difference", "guide/base - adversary"),
    "reached": ("mean_jsd", "trained_adversary/adversary 0.001"),
    "equal": ("mean_jsd", "trained_adversary/uniform"),
    "short": ("jsd_difference", "search - trained"),
}


def made(
    data: str = "sst",
    encoder: str = "bilstm",
    seed: int = 0,
    gate: str = "pass",
    best: str | None = "adversary 0.001",
    null: float | None = None,
    **values: float,
) -> CellRecord:
    """A cell with the given values, each with an interval of ±0.015; `null` is that of seeds."""
    rows = tuple(
        Estimate(
            statistic=KNOWN[k][0],
            subject=KNOWN[k][1],
            value=v,
            low=v - 0.015,
            high=v + 0.015,
            n=500,
            null=null if k == "seeds" else None,
        )
        for k, v in values.items()
    )
    spec = {
        "data": data,
        "encoder": encoder,
        "attention": "additive",
        "seed": seed,
        "train_limit": None,
    }
    said = [{"control": "uniform", "subject": "uniform", "verdict": "x", "sentence": "So it is."}]
    record: dict[str, Any] = {
        "name": f"{data} {encoder} {seed}",
        "key": "",
        "spec": spec,
        "status": "done",
        "cost": 1,
        "seconds": 1,
        "attnaudit_version": "0",
        "code": "",
        "created": "2020-01-01T00:00:00Z",
        "rows": rows,
        "facts": {
            "gate": gate,
            "best_adversary": best,
            "findings": said,
            "trainings": {},
            "sizes": {"train": 9, "test": 500},
        },
    }
    return CellRecord.model_validate(record)


def claims(*records: CellRecord, reference: Mapping[str, Any] | None = None) -> dict[str, Any]:
    results = Results(WIEGREFFE2019, options(), Path(), records, reference=reference or {})
    found = {claim.id: claim for claim in WIEGREFFE2019.conclude(results)}
    assert set(found) == CLAIMS
    return found


PICTURE = {
    "seeds": 0.1,
    "beyond": 0.4,
    "own": 0.01,
    "flat": 0.05,
    "other": 0.2,
    "reached": 0.5,
    "equal": 0.3,
    "short": 0.1,
    "own_flat": 0.04,
    "far": 0.5,
    "change": 0.02,
}
OPPOSITE = {
    "seeds": 0.4,
    "beyond": 0.0,
    "own": -0.1,
    "flat": -0.05,
    "other": -0.03,
    "reached": 0.2,
    "equal": 0.3,
    "short": -0.1,
    "own_flat": 0.05,
    "far": 0.5,
    "change": 0.02,
}


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two generated tasks of known answer, whatever named sets there are."""
    for name in named(Role.NECESSARY, Role.USELESS):
        monkeypatch.delitem(SETTINGS, name)
    for name in (NEEDED, NEEDED_TOO, NEEDED_TOO_2):
        monkeypatch.setitem(SETTINGS, name, Setting("Needed", Role.NECESSARY, "made up"))
    monkeypatch.setitem(SETTINGS, IDLE, Setting("Idle", Role.USELESS, "made up"))


def test_the_papers_own_picture_holds() -> None:
    found = claims(
        made("sst", lost=0.009, **PICTURE),
        made("diabetes", lost=0.07, **PICTURE),
        made(NEEDED, accuracy_lost=0.3),
        made(IDLE, accuracy_lost=0.0),
    )
    assert {claim.holds for claim in found.values()} == {Holds.YES}
    (part,) = found["uniform_loses_little"].parts
    assert part.of == "SST"
    assert part.paper == pytest.approx(0.831 - 0.822)
    reached = {p.of: p.paper for p in found["trained_adversary"].parts}
    assert reached == {"SST": 0.514, "Diabetes": 0.409}
    apart = found["controls_tell_tasks_apart"]
    assert apart.measured is not None
    assert apart.measured.value == pytest.approx(0.3)
    assert apart.note.count("So it is.") == 2
    assert "may be half of ours" in found["trained_adversary"].paper


def test_the_opposite_picture_does_not_hold() -> None:
    found = claims(
        made("sst", lost=0.2, **OPPOSITE),
        made("diabetes", lost=0.0, **OPPOSITE),
        made(NEEDED, accuracy_lost=0.0),
        made(IDLE, accuracy_lost=0.3),
    )
    assert {claim.holds for claim in found.values()} == {Holds.NO}


def test_nothing_measured_is_said() -> None:
    found = claims()
    assert {claim.holds for claim in found.values()} == {Holds.NOT_MEASURED}
    assert all(claim.note for claim in found.values())


def test_one_task_alone_tells_nothing_apart() -> None:
    alone = claims(made(NEEDED, accuracy_lost=0.3))["controls_tell_tasks_apart"]
    assert alone.holds is Holds.UNDECIDED
    assert alone.measured is None
    assert alone.note.startswith("Only one kind was measured.")
    wrong = claims(made(NEEDED, accuracy_lost=0.0))["controls_tell_tasks_apart"]
    assert wrong.holds is Holds.NO


def test_tasks_say_nothing_of_the_papers_claims() -> None:
    found = claims(made(IDLE, lost=0.0, **PICTURE))
    for name in CLAIMS - {"controls_tell_tasks_apart"}:
        assert found[name].holds is Holds.NOT_MEASURED


def test_the_stand_in_counts_only_where_nothing_of_the_papers_was_measured() -> None:
    alone = claims(made("reviews", lost=0.0))["uniform_loses_little"]
    assert alone.holds is Holds.YES
    assert alone.note.startswith("Generated data stand in")
    both = claims(made("reviews", lost=0.0), made("sst", lost=0.3))["uniform_loses_little"]
    assert both.holds is Holds.NO
    assert [p.counts for p in both.parts] == [True, False]


def test_another_model_is_shown_beside_the_papers() -> None:
    found = claims(made(encoder="cnn", seeds=0.5), made(seeds=0.1))["seeds_agree"]
    assert found.holds is Holds.YES
    assert [(p.of, p.counts) for p in found.parts] == [
        ("SST", True),
        ("SST, cnn + additive", False),
    ]
    alone = claims(made(encoder="cnn", own=0.3))["base_guides"]
    assert alone.holds is Holds.YES
    assert alone.parts[0].paper is None


def test_seeds_are_shown_and_summed_up() -> None:
    found = claims(*(made(seed=s, reached=v) for s, v in enumerate((0.5, 0.6, 0.43))))
    parts = found["trained_adversary"].parts
    assert [p.counts for p in parts] == [True, False, False, False]
    assert parts[0].measured is not None
    assert parts[0].measured.value == pytest.approx(0.51)
    assert (parts[0].measured.low, parts[0].measured.high) == pytest.approx((0.415, 0.615))


def test_a_claim_of_which_some_seeds_say_nothing_is_undecided() -> None:
    """Two of three seeds found an adversary: the two that did speak for none but themselves."""
    found = claims(made(seed=0, reached=0.6), made(seed=1, best=None), made(seed=2, reached=0.7))
    claim = found["trained_adversary"]
    assert claim.holds is Holds.UNDECIDED
    whole = claim.parts[0].measured
    assert whole is not None
    assert whole.value == pytest.approx(0.65)
    assert whole.unit.endswith("; 2 of 3 seeds")
    full = claims(*(made(seed=s, reached=0.6) for s in range(3)))["trained_adversary"]
    assert full.holds is Holds.YES
    assert "seeds" not in full.parts[0].measured.unit


def test_flat_weights_are_no_stable_weights() -> None:
    """A divergence of .1 between seeds says nothing where random orders make .12."""
    for null, holds in ((0.12, Holds.UNDECIDED), (0.6, Holds.YES), (None, Holds.YES)):
        found = claims(made(seeds=0.1, null=null))["seeds_agree"]
        assert found.holds is holds
        assert ("so flat" in found.parts[0].of) is (holds is Holds.UNDECIDED)
        assert found.parts[0].counts is (holds is Holds.YES)
    flat = claims(made(seeds=0.1, null=0.12))["seeds_agree"]
    assert flat.note.startswith("Nothing that was measured can tell.")
    # it counts for nothing beside a set that can tell, and the stand-in does not step in for it
    both = claims(made(seeds=0.1, null=0.12), made("imdb", seeds=0.1, null=0.6))["seeds_agree"]
    assert both.holds is Holds.YES
    beside = claims(made(seeds=0.1, null=0.12), made("reviews", seeds=0.1, null=0.6))
    assert beside["seeds_agree"].holds is Holds.UNDECIDED
    assert not any(p.counts for p in beside["seeds_agree"].parts)
    # where weights differ, they are not too flat to do so
    assert claims(made(seeds=0.4, null=0.42))["seeds_agree"].holds is Holds.NO
    # one seed that is flat is enough
    seeds = claims(*(made(seed=s, seeds=0.1, null=n) for s, n in enumerate((0.6, 0.12))))
    assert seeds["seeds_agree"].holds is Holds.UNDECIDED


@pytest.mark.parametrize(("own", "other"), [(0.01, 0.2), (-0.1, -0.03)])
def test_guides_are_compared_only_where_weights_can_help(own: float, other: float) -> None:
    values = {**PICTURE, "own": own, "other": other}
    able = claims(made(**values))
    assert able["base_guides"].holds is (Holds.YES if own > 0 else Holds.NO)
    powerless = claims(made(**{**values, "flat": 0.0, "own_flat": 0.0}))
    for name in ("base_guides", "adversary_guides_worse"):
        assert powerless[name].holds is Holds.UNDECIDED
        assert "equal weights guide as well as any others" in powerless[name].parts[0].of
    for change, why in (
        ({"far": 0.01}, "hardly other weights"),
        ({"change": 0.2}, "does not say the same"),
    ):
        found = claims(made(**{**values, **change}))
        assert found["adversary_guides_worse"].holds is Holds.UNDECIDED
        assert why in found["adversary_guides_worse"].parts[0].of
        assert found["base_guides"].holds is able["base_guides"].holds


def test_one_half_of_the_tasks_that_fails_is_enough() -> None:
    """Three parts of four say yes; the task that needs no attention says no."""
    found = claims(
        made(NEEDED, accuracy_lost=0.3),
        made(NEEDED_TOO, accuracy_lost=0.3),
        made(NEEDED_TOO_2, accuracy_lost=0.3),
        made(IDLE, accuracy_lost=0.3),
    )["controls_tell_tasks_apart"]
    assert found.holds is Holds.NO
    assert {part.half for part in found.parts} == {LOSE, AS_WELL}


def test_a_model_near_chance_decides_nothing() -> None:
    found = claims(made(gate="fail", lost=0.0, **PICTURE))
    assert found["uniform_loses_little"].holds is Holds.UNDECIDED
    assert found["base_guides"].holds is Holds.UNDECIDED
    assert "near chance" in found["base_guides"].parts[0].of


def test_an_adversary_that_was_not_found_proves_nothing() -> None:
    found = claims(made(best=None, equal=0.3))["trained_adversary"]
    assert found.holds is Holds.UNDECIDED
    assert "No strength tried keeps the predictions on SST." in found.note
    assert claims(made(best=None))["trained_adversary"].holds is Holds.NOT_MEASURED


# --- the paper's numbers


def test_the_cited_numbers_are_those_of_the_file() -> None:
    full = json.loads((shared_dir("reference") / "wiegreffe2019.json").read_text())
    assert {name: full[name] for name in CITED} == CITED


def test_numbers_come_from_the_file_first() -> None:
    given, cited = Paper({"uniform_f1": {"rows": {"sst": [0.1, 0.2, 0.3]}}}), Paper({})
    assert (given.f1("sst", "learned"), given.f1("sst", "uniform")) == (0.2, 0.3)
    assert given.f1("imdb", "learned") is None
    assert given.guided("sst", "base") == cited.guided("sst", "base") == 0.824
    assert cited.guided("newsgroups_sports", "base") is None
    assert cited.guided("reviews", "base") is None
    assert cited.f1("reviews", "learned") is None
    assert cited.f1("sst", "random") is None
    assert cited.adversary("sst", "jsd") == 0.514
    # the released code takes half our distance
    assert cited.adversary("sst", "strength") == 2 * 0.0005
    for broken in (
        {"uniform_f1": [1]},
        {"guided_mlp_f1": None},
        {"trained_adversary": {"SST": []}},
    ):
        paper = Paper(broken)
        assert None in (
            paper.f1("sst", "learned"),
            paper.guided("sst", "base"),
            paper.adversary("sst", "jsd"),
        )


def test_every_set_of_the_study_is_a_named_set() -> None:
    assert set(EVERY_SET) <= set(NAMED_SETS)
    assert set(ROWS) == set(named(Role.PAPER))
    assert set(COLUMNS) <= set(ROWS)
    made_here = [name for name, setting in EVERY_SET.items() if setting.role is not Role.PAPER]
    for name in made_here:
        assert NAMED_SETS[name].make is not None
    assert "fastText" in difference_of("sst", {})
    assert "from a file" in difference_of("sst", {"vectors": "x"})


# --- the page


def test_the_page_shows_claims_tables_and_pictures(finished: Finished) -> None:
    page = render_study(finished)
    for claim in finished.report.claims:
        assert f'id="claim-{claim.id}"' in page
    for section in ("differences", "uniform", "seeds", "guide", "adversary"):
        assert f'<section id="{section}"' in page
    assert '<section id="tasks"' not in page
    assert page.count("<figure data-chart=") == page.count('class="still"') == 3
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_papers_numbers_stand_beside_and_are_called_unverified(finished: Finished) -> None:
    """The reviews stand in for SST here, whose numbers no such run could give."""
    records = tuple(
        r.model_copy(update={"spec": {**r.spec, "data": "sst"}}) for r in finished.results.records
    )
    page = render_study(Finished(finished.report, replace(finished.results, records=records)))
    for number in ("0.831", "0.822", "0.824", "0.592", "λ = 0.001"):
        assert number in page
    assert "recalled from the paper, not verified" in page
    assert " ≠</span>" in page
    there = render_study(finished)
    assert "0.831" not in there


def test_tasks_have_a_section_of_their_own(finished: Finished) -> None:
    (record,) = finished.results.records
    records = tuple(
        record.model_copy(update={"spec": {**record.spec, "data": name}}) for name in (NEEDED, IDLE)
    )
    page = render_study(Finished(finished.report, replace(finished.results, records=records)))
    assert '<section id="tasks"' in page
    assert '<section id="uniform"' not in page
    assert "What the control says" in page


def test_the_page_stands_without_the_folders_of_the_cells(
    finished: Finished, tmp_path: Path
) -> None:
    lost = replace(finished.results, folder=tmp_path)
    page = render_study(Finished(finished.report, lost))
    assert page.count("<figure data-chart=") == 2
    assert '<section id="seeds"' in page


def test_the_summary_holds_every_claim_and_table(finished: Finished) -> None:
    text = render_study_markdown(finished)
    for claim in finished.report.claims:
        assert claim.claim.split(" &")[0] in text
    assert len([line for line in text.splitlines() if line.startswith("|---")]) >= 4


def test_a_real_set_runs_unchanged(tmp_path: Path) -> None:
    data = shared_dir("data")
    cli(
        "study",
        "wiegreffe2019",
        "--data",
        "sst",
        "--data-dir",
        str(data),
        "--encoder",
        "average",
        *FLAGS[2:],
        "--set",
        "controls=uniform",
        "--out",
        str(tmp_path),
    )
    table = pl.read_parquet(tmp_path / "results.parquet")
    assert {"f1_difference", "accuracy", "mean_jsd"} <= set(table["statistic"].to_list())
    stored = json.loads((tmp_path / "findings.json").read_text())
    assert stored["missing"] == []
    assert STUDIES["wiegreffe2019"].title in (tmp_path / "report.html").read_text()
