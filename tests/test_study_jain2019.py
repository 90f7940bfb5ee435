"""The study jain2019: cells, claims, paper's numbers and page, on sizes that take seconds."""

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
from attnaudit.errors import DataError, SettingsError
from attnaudit.findings.findings import Estimate
from attnaudit.studies import STUDIES
from attnaudit.studies.declaration import Results, find, run_cell
from attnaudit.studies.jain2019 import JAIN2019
from attnaudit.studies.jain2019.measure import MUTUAL, TO_GRADIENT, TO_LOO
from attnaudit.studies.jain2019.paper import Paper
from attnaudit.studies.jain2019.settings import REAL, SETTINGS
from attnaudit.studies.page import render_study, render_study_markdown
from attnaudit.studies.run import Finished, options_of, prepare, run_study
from attnaudit.studies.schema import CellRecord, ClaimList, Holds
from attnaudit.studies.sources import known_sets
from tests.shared import shared_dir
from tests.terminal import run as cli

TINY = (
    "--limit",
    "120",
    "--test-limit",
    "40",
    "--set",
    "epochs=2",
    "--set",
    "hidden=8",
    "--set",
    "embedding_dim=8",
    "--encoder",
    "bilstm,average",
    "--workers",
    "1",
)
CLAIMS = {
    "performance",
    "weak_correlation",
    "bilstm_below_average",
    "permutation",
    "gradient_agrees_with_leave_one_out",
    "small_change_where_peaked",
    "adversaries_exist",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    cli("study", "jain2019", "--quick", "--out", str(folder), *TINY)
    return folder


@pytest.fixture(scope="module")
def finished(place: Path) -> Finished:
    given = {
        "encoders": ("bilstm", "average"),
        "train_limit": 120,
        "test_limit": 40,
        "epochs": 2,
        "hidden": 8,
        "embedding_dim": 8,
    }
    options = options_of(JAIN2019, given, quick=True)
    prepared = prepare(JAIN2019, options, place, quick=True)
    assert prepared.waiting == ()
    return run_study(prepared)


def test_a_quick_run_needs_no_data_and_stores_everything(place: Path) -> None:
    stored = ClaimList.model_validate_json((place / "claims.json").read_text())
    assert {claim.id for claim in stored.claims} == CLAIMS
    for name in ("findings.json", "results.parquet", "report.html", "card.md"):
        assert (place / name).stat().st_size > 500
    cells = sorted(p.name for p in (place / "cells").iterdir())
    assert len(cells) == 4
    for cell in (place / "cells").iterdir():
        assert (cell / "model").is_dir()
        assert (cell / "audit" / "findings.json").is_file()


def test_the_same_command_runs_nothing_again(place: Path) -> None:
    said = cli("study", "jain2019", "--quick", "--out", str(place), *TINY, "--dry-run")
    assert "all 4 cells are finished" in said


def test_a_dry_run_says_how_long_and_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    (tmp_path / "data").mkdir()
    said = cli(
        "study",
        "jain2019",
        "--data",
        "sst,reviews",
        "--data-dir",
        str(tmp_path / "data"),
        "--out",
        str(out),
        "--dry-run",
    )
    assert "jain2019: 6 cells, about " in said
    assert "a rough estimate" in said
    assert "not measured: sst:" in said
    assert not out.exists()


def test_sets_that_cannot_be_had_are_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    cli(
        "study",
        "jain2019",
        "--data",
        "sst,reviews",
        "--data-dir",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "run"),
        "--attention",
        "dot",
        *TINY,
        "--encoder",
        "average",
    )
    report = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert [m["what"] for m in report["missing"]] == ["sst"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'id="missing"' in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("study", "nothing"), "no study is called 'nothing'"),
        (("study", "jain2019", "--data", "mnist"), "'mnist' is no data set of this study"),
        (("study", "jain2019", "--encoder", "gru"), "'gru' is no encoder"),
        (("study", "jain2019", "--attention", "sharp"), "'sharp' is no attention"),
        (("study", "jain2019", "--seeds", "one"), "the study jain2019: seeds"),
        (("study", "jain2019", "--set", "epochs"), "write NAME=VALUE"),
        (("study", "jain2019", "--set", "colour=red"), "Its options are: data"),
        (("study", "jain2019", "--reference", "gone.json"), "gone.json cannot be read"),
        (("study", "jain2019", "--data-dir", "gone"), "gone is not a folder"),
    ],
)
def test_bad_commands_are_one_clear_line(words: tuple[str, ...], message: str) -> None:
    assert message in cli(*words, code=2)


def test_studies_are_listed() -> None:
    said = cli("study", "list")
    for study in STUDIES.values():
        assert study.name in said
        assert study.title in said


# --- numbers


def instances(finished: Finished, record: CellRecord) -> pl.DataFrame:
    return open_audit(finished.results.folder_of(record) / "audit").instances


def test_rows_are_what_the_instances_say(finished: Finished) -> None:
    for record in finished.results.records:
        frame = instances(finished, record)
        tau = {p: frame[f"agreement/tau.{p}"].to_numpy() for p in (TO_GRADIENT, TO_LOO, MUTUAL)}
        for pair, values in tau.items():
            mean, sd = (find(record.rows, s, pair) for s in ("kendall_tau", "kendall_tau_sd"))
            assert mean is not None
            assert sd is not None
            assert mean.value == pytest.approx(np.nanmean(values))
            assert sd.value == pytest.approx(np.nanstd(values))
        gap = find(record.rows, "tau_difference", f"{MUTUAL} - {TO_LOO}")
        assert gap is not None
        assert gap.value == pytest.approx(np.nanmean(tau[MUTUAL] - tau[TO_LOO]))
        assert gap.low is not None
        assert gap.low < gap.value

        labels, predicted = frame["label"].to_numpy(), frame["predicted"].to_numpy()
        f1, macro = find(record.rows, "f1", "model"), find(record.rows, "f1_macro", "model")
        assert f1 is not None
        assert macro is not None
        assert f1.value == pytest.approx(f1_score(labels, predicted, zero_division=0))
        assert macro.value == pytest.approx(
            f1_score(labels, predicted, average="macro", zero_division=0)
        )

        change = frame["permutation/median_tvd"].to_numpy()
        for name, q in (("q25", 25), ("q50", 50), ("q75", 75)):
            quartile = find(record.rows, f"median_tvd_{name}", "weights")
            assert quartile is not None
            assert quartile.value == pytest.approx(np.percentile(change, q))
        share = find(record.rows, "contestable_share", "search")
        assert share is not None
        found = frame["adversary/search_jsd"].to_numpy()
        moved = frame["adversary/search_tvd"].to_numpy()
        assert share.value == pytest.approx(np.mean((found >= 0.4) & (moved <= 0.05)))


def test_an_interrupted_cell_goes_on_with_its_model(finished: Finished, tmp_path: Path) -> None:
    """The cell's record is gone, its model is not: it is not trained again."""
    place = tmp_path / "copy"
    shutil.copytree(finished.results.folder, place)
    cell = next((place / "cells").glob("*average-additive*"))
    before = CellRecord.model_validate_json((cell / "cell.json").read_text())
    (cell / "cell.json").unlink()
    when = (cell / "model" / "model.safetensors").stat().st_mtime_ns
    prepared = prepare(JAIN2019, finished.results.options, place, quick=True)
    assert len(prepared.waiting) == 1
    stages: set[str] = set()
    again = run_study(prepared, watch=lambda e: stages.add(e.stage))
    assert "training" not in stages
    assert (cell / "model" / "model.safetensors").stat().st_mtime_ns == when
    after = next(r for r in again.results.records if r.key == before.key)
    assert (after.rows, after.facts) == (before.rows, before.facts)


# --- claims, on made-up cells


def made(
    data: str = "sst",
    encoder: str = "bilstm",
    attention: str = "additive",
    seed: int = 0,
    gate: str = "pass",
    **values: float,
) -> CellRecord:
    """A cell with the given values, each with an interval of ±0.02."""
    known = {
        "accuracy": ("accuracy", "model", "all"),
        "gradient": ("kendall_tau", TO_GRADIENT, "all"),
        "loo": ("kendall_tau", TO_LOO, "all"),
        "gap": ("tau_difference", f"{MUTUAL} - {TO_LOO}", "all"),
        "moved": ("median_tvd", "weights", "all"),
        "peaked": ("median_of_median_tvd", "weights", "peaked"),
        "contested": ("contestable_share", "search", "all"),
        "certified": ("contestable_share", "exact", "all"),
    }
    rows = tuple(
        Estimate(
            statistic=known[k][0],
            subject=known[k][1],
            group=known[k][2],
            value=v,
            low=v - 0.02,
            high=v + 0.02,
            n=500,
        )
        for k, v in values.items()
    )
    spec = {
        "data": data,
        "encoder": encoder,
        "attention": attention,
        "seed": seed,
        "train_limit": None,
    }
    record: dict[str, Any] = {
        "name": f"{data} {encoder} {attention} {seed}",
        "key": "",
        "spec": spec,
        "status": "done",
        "cost": 1,
        "seconds": 1,
        "attnaudit_version": "0",
        "code": "",
        "created": "2020-01-01T00:00:00Z",
        "rows": rows,
        "facts": {"gate": gate},
    }
    return CellRecord.model_validate(record)


def claims(*records: CellRecord, reference: Mapping[str, Any] | None = None) -> dict[str, Any]:
    options = options_of(JAIN2019, {})
    results = Results(JAIN2019, options, Path(), records, reference=reference or {})
    found = {claim.id: claim for claim in JAIN2019.conclude(results)}
    assert set(found) == CLAIMS
    return found


def test_the_papers_own_picture_holds() -> None:
    found = claims(
        made(
            "sst",
            accuracy=0.81,
            gradient=0.35,
            loo=0.29,
            gap=0.37,
            moved=0.04,
            peaked=0.07,
            contested=0.8,
            certified=1.0,
        ),
        made("sst", "average", gradient=0.61),
        made("ag_news_binary", moved=0.6, peaked=0.5),
        made(
            "babi_1_10k", accuracy=1.0, gradient=0.25, loo=0.16, gap=0.34, moved=0.8, contested=0.6
        ),
        made("babi_1_10k", "average", gradient=0.72),
    )
    assert {claim.holds for claim in found.values()} == {Holds.YES}
    (part,) = [p for p in found["bilstm_below_average"].parts if p.of.startswith("SST")]
    assert part.measured is not None
    assert part.measured.value == pytest.approx(0.26)
    assert part.paper == pytest.approx(0.26)
    half = 0.02 * 2**0.5
    assert part.measured.low == pytest.approx(0.26 - half)


def test_the_opposite_picture_does_not_hold() -> None:
    found = claims(
        made(
            "sst",
            accuracy=0.6,
            gradient=0.8,
            loo=0.7,
            gap=-0.3,
            moved=0.5,
            peaked=0.4,
            contested=0.1,
        ),
        made("sst", "average", gradient=0.2),
        made(
            "babi_1_10k", accuracy=0.5, gradient=0.8, loo=0.9, gap=-0.2, moved=0.05, contested=0.2
        ),
        made("babi_1_10k", "average", gradient=0.3),
    )
    assert {claim.holds for claim in found.values()} == {Holds.NO}


def test_nothing_measured_is_said() -> None:
    assert {claim.holds for claim in claims().values()} == {Holds.NOT_MEASURED}
    # without the average encoder there is nothing to compare with
    found = claims(made("sst", gradient=0.3))
    assert found["bilstm_below_average"].holds is Holds.NOT_MEASURED


def test_one_half_of_the_permutation_claim_decides_nothing() -> None:
    found = claims(made("sst", moved=0.03))["permutation"]
    assert found.holds is Holds.UNDECIDED
    assert "Only one half" in found.note
    assert claims(made("sst", moved=0.5))["permutation"].holds is Holds.NO


def test_generated_data_count_only_where_nothing_real_was_measured() -> None:
    alone = claims(made("reviews", contested=0.9))["adversaries_exist"]
    assert alone.holds is Holds.YES
    assert alone.note.startswith("Generated data stand in")
    both = claims(made("reviews", contested=0.9), made("sst", contested=0.1))["adversaries_exist"]
    assert both.holds is Holds.NO
    assert [p.counts for p in both.parts] == [True, False]


def test_additive_attention_counts_and_the_dot_product_is_shown() -> None:
    both = claims(made(contested=0.9), made(attention="dot", contested=0.1))["adversaries_exist"]
    assert both.holds is Holds.YES
    assert [p.counts for p in both.parts] == [True, False]
    alone = claims(made(attention="dot", contested=0.1))["adversaries_exist"]
    assert alone.holds is Holds.NO


def test_seeds_are_shown_and_summed_up() -> None:
    found = claims(*(made(seed=s, contested=v) for s, v in enumerate((0.6, 0.8, 0.53))))
    parts = found["adversaries_exist"].parts
    assert [p.counts for p in parts] == [True, False, False, False]
    assert parts[0].measured is not None
    assert parts[0].measured.value == pytest.approx((0.6 + 0.8 + 0.53) / 3)
    assert (parts[0].measured.low, parts[0].measured.high) == pytest.approx((0.51, 0.82))


def test_a_model_near_chance_decides_nothing_about_attention() -> None:
    found = claims(made(gate="fail", accuracy=0.5, contested=0.9, gradient=0.1, loo=0.1))
    assert found["performance"].holds is Holds.NO
    assert found["adversaries_exist"].holds is Holds.UNDECIDED
    assert "near chance" in found["adversaries_exist"].parts[0].of
    assert found["weak_correlation"].holds is Holds.UNDECIDED


# --- the paper's numbers


def reference() -> dict[str, Any]:
    return {
        "results": {
            "sst": {
                "bilstm+additive": {
                    "performance": {"accuracy": 0.9, "f1_positive": 0.7},
                    "tau_attention_gradient": {
                        "overall": {"mean": 0.1, "std": 0.2, "sig": 0.3},
                        "0": {"mean": 0.4},
                    },
                    "tau_gradient_leave_one_out": {"mean": 0.5},
                    "adversary_max_jsd": {
                        "0": {"mean": 0.4, "q25": 0.1, "median": 0.2, "q75": 0.3},
                        "1": {"mean": 0.6, "q25": 0.3, "median": 0.4, "q75": 0.5},
                    },
                    "permutation_median": {
                        "[0.00,0.25)": [{"q25": 0.01, "median": 0.02, "q75": 0.03}]
                    },
                }
            }
        }
    }


def test_numbers_come_from_the_file_first() -> None:
    given, cited = Paper(reference()), Paper({})
    ours = ("sst", "bilstm", "additive")
    assert given.performance(*ours) == 0.9
    assert cited.performance(*ours) == 0.81
    assert cited.performance("sst", "bilstm", "dot") is None
    assert given.performance(*ours, "f1") == 0.7
    assert given.tau(*ours, TO_GRADIENT) == 0.1
    assert given.tau(*ours, TO_GRADIENT, "0") == 0.4
    assert given.tau(*ours, TO_GRADIENT, "overall", "sig") == 0.3
    assert given.tau(*ours, MUTUAL) == 0.5
    assert given.tau(*ours, MUTUAL, "0") is None
    assert cited.tau(*ours, TO_GRADIENT, "0") is None
    assert given.adversary(*ours, "mean") == pytest.approx(0.5)
    assert given.permutation(*ours, "[0.00,0.25)")[0]["median"] == 0.02
    assert given.permutation(*ours, "[0.25,0.50)") == []
    assert given.performance("reviews", "bilstm", "additive") is None
    assert Paper({"results": [1]}).performance(*ours) == 0.81


def test_the_cited_numbers_are_those_of_the_result_files() -> None:
    from attnaudit.studies.jain2019.paper import CITED

    path = shared_dir("reference") / "jain2019.json"
    full = Paper(json.loads(path.read_text()))
    names = {s.reference: n for n, s in SETTINGS.items() if n not in ("cad_snli", "babi_1")}
    for (data, encoder), numbers in CITED.items():
        for what, value in numbers.items():
            args = (names[data], encoder, "additive")
            there = full.performance(*args) if what == "accuracy" else full.tau(*args, what)
            assert there == pytest.approx(value, abs=0.0051), (data, encoder, what)


def test_every_set_of_the_study_is_a_named_set() -> None:
    found, missing = known_sets(["reviews"], None)
    assert found == {"reviews": "generated"}
    assert missing == []
    with pytest.raises(SettingsError, match="unknown named set"):
        known_sets(["nothing"], None)
    from attnaudit.data.named.sets import NAMED_SETS

    assert set(SETTINGS) <= set(NAMED_SETS)
    assert set(REAL) <= set(SETTINGS)


# --- the page


def test_the_page_shows_claims_tables_and_pictures(finished: Finished) -> None:
    page = render_study(finished)
    for claim in finished.report.claims:
        assert f'id="claim-{claim.id}"' in page
    for section in (
        "differences",
        "performance",
        "correlation",
        "permutation",
        "adversary",
        "examples",
    ):
        assert f'<section id="{section}"' in page
    assert page.count("<figure data-chart=") == page.count('class="still"') == 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'class="u' in page


def test_the_papers_numbers_are_marked_where_they_differ(finished: Finished) -> None:
    """The reviews stand in for SST here, with numbers of the paper that no run could give."""
    results = finished.results
    records = tuple(
        r.model_copy(update={"spec": {**r.spec, "data": "sst"}}) for r in results.records
    )
    odd = replace(results, records=records, reference=reference())
    page = render_study(Finished(finished.report, odd))
    assert "differs" in page
    assert " ≠</span>" in page
    assert "the paper" in page


def test_the_page_stands_without_the_folders_of_the_cells(
    finished: Finished, tmp_path: Path
) -> None:
    lost = replace(finished.results, folder=tmp_path)
    page = render_study(Finished(finished.report, lost))
    assert "<figure" not in page
    assert "BiLSTM + additive" in page


def test_texts_of_reasons_are_escaped(finished: Finished) -> None:
    from attnaudit.studies.schema import Missing

    bad = "<script>alert(1)</script> | a"
    report = finished.report.model_copy(update={"missing": (Missing(what=bad, reason=bad),)})
    page = render_study(Finished(report, finished.results))
    assert "<script>alert" not in page
    text = render_study_markdown(Finished(report, finished.results))
    assert "<script>" not in text


def test_the_summary_holds_every_claim_and_table(finished: Finished) -> None:
    text = render_study_markdown(finished)
    for claim in finished.report.claims:
        assert claim.claim in text
    tables = [line for line in text.splitlines() if line.startswith("|---")]
    assert len(tables) >= 5
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_real_pairs_run_unchanged(tmp_path: Path) -> None:
    """bAbI and small SNLI: questions, several classes, evidence."""
    data = shared_dir("data")
    cli(
        "study",
        "jain2019",
        "--data",
        "babi_1,cad_snli",
        "--data-dir",
        str(data),
        "--encoder",
        "average",
        "--attention",
        "additive",
        "--limit",
        "100",
        "--test-limit",
        "35",
        "--set",
        "epochs=1",
        "--set",
        "hidden=8",
        "--set",
        "embedding_dim=8",
        "--out",
        str(tmp_path),
    )
    table = pl.read_parquet(tmp_path / "results.parquet")
    for name in ("babi_1", "cad_snli"):
        part = table.filter((pl.col("data") == name) & (pl.col("group") == "all"))
        for statistic in ("accuracy", "kendall_tau", "median_tvd", "max_jsd", "f1_macro"):
            assert statistic in part["statistic"].to_list()
    assert "mass_on_evidence" in table.filter(pl.col("data") == "babi_1")["statistic"].to_list()


def test_nothing_to_measure_is_a_failure_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    said = cli(
        "study",
        "jain2019",
        "--data",
        "sst",
        "--data-dir",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "run"),
        code=1,
    )
    assert "nothing of it can be measured" in said
    claims = json.loads((tmp_path / "run" / "claims.json").read_text())["claims"]
    assert {claim["holds"] for claim in claims} == {"not measured"}
    assert "not measured" in (tmp_path / "run" / "report.html").read_text()


def test_a_hub_out_of_reach_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def unreachable(path: str, *_: object, **__: object) -> list[str]:
        asked.append(path)
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "get_dataset_split_names", unreachable)
    found, missing = known_sets(["sst", "imdb", "reviews", "ag_news_binary"], None)
    assert asked == [NAMED_SETS["sst"].hub]
    assert list(found) == ["reviews"]
    assert [m.what for m in missing] == ["sst", "imdb", "ag_news_binary"]
    assert "cannot be reached" in missing[1].reason


def test_other_word_vectors_are_another_cell(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("good 0.1 0.2\nbad 0.3 0.4\n")
    tiny = {
        "data": ("reviews",),
        "encoders": ("average",),
        "attentions": ("additive",),
        "train_limit": 60,
        "test_limit": 35,
        "epochs": 1,
        "hidden": 4,
    }
    keys = set()
    for vectors in (None, path):
        options = options_of(JAIN2019, {**tiny, "vectors": vectors}, quick=True)
        (cell,) = JAIN2019.plan(options, None).cells
        keys.add(run_cell(JAIN2019, cell, None).key)
    path.write_text("good 0.1 0.2\nbad 0.3 0.5\n")
    (cell,) = JAIN2019.plan(options, None).cells
    keys.add(run_cell(JAIN2019, cell, None).key)
    assert len(keys) == 3
    done = run_study(prepare(JAIN2019, options, tmp_path / "run"))
    assert done.results.records[0].facts["vectors"] == 2
    with pytest.raises(DataError, match="cannot be read"):
        JAIN2019.plan(options_of(JAIN2019, {**tiny, "vectors": tmp_path / "gone"}), None)
