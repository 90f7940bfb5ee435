"""The command line from end to end, as a person uses it."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from attnaudit.attribution import METHODS
from attnaudit.checks import CHECKS
from attnaudit.cli import app, doctor
from attnaudit.data.generated import generate_review_splits
from attnaudit.data.named import NAMED_SETS
from tests.terminal import run

COMMANDS = ("audit", "demo", "doctor", "explain", "list", "report", "train")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews as CSV, a model trained on them, and a finished run, all by the command line."""
    place = tmp_path_factory.mktemp("cli")
    splits = generate_review_splits(n_train=600, n_dev=100, n_test=120, seed=3)
    (place / "data").mkdir()
    for name, data in splits.items():
        pl.DataFrame(
            {"review": [r.text for r in data], "stars": [data.classes[r.label] for r in data]}
        ).write_csv(place / "data" / f"{name}.csv")
    shown = run(
        "train", str(place / "data"), "--out", str(place / "model"), "--encoder", "average",
        "--hidden", "16", "--embedding-dim", "16", "--epochs", "3",
        "--text-column", "review", "--label-column", "stars",
    )  # fmt: skip
    assert "kept: best on the development split" in shown
    audit(place)
    return place


def audit(place: Path, *more: str, out: str = "run", code: int = 0) -> str:
    return run(
        "audit", str(place / "model"), str(place / "data" / "test.csv"), "--out", str(place / out),
        "--text-column", "review", "--label-column", "stars", "--costly-limit", "60", *more,
        code=code,
    )  # fmt: skip


def test_an_audit_leaves_what_people_and_programs_need(folder: Path) -> None:
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"plan.json", "findings.json", "report.html", "card.md", "instances"} <= names
    found = json.loads((folder / "run" / "findings.json").read_text())
    assert {f["check"] for f in found["findings"]} == set(CHECKS)
    assert found["judgement"]["headline"]
    assert found["plan"]["settings"]["seed"] == 0
    assert pl.read_parquet(folder / "run" / "instances" / "*.parquet").height == 120


def test_the_same_audit_again_is_resumed_and_another_is_refused(folder: Path) -> None:
    assert "Report:" in audit(folder)
    refused = audit(folder, "--seed", "7", code=2)
    assert "seed was 0" in refused
    assert "--overwrite" in refused
    assert "Report:" in audit(folder, "--limit", "50", out="other")
    assert "Report:" in audit(folder, "--limit", "60", "--overwrite", out="other")


def test_settings_from_a_file_and_a_strict_exit_code(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"permutations": 10, "thresholds": {"truth_auroc": 0.9}}')
    audit(folder, "--settings", str(path), "--strict", out="strict", code=1)
    plan = json.loads((folder / "strict" / "plan.json").read_text())
    assert plan["settings"]["permutations"] == 10
    assert plan["settings"]["thresholds"]["truth_auroc"] == 0.9
    assert plan["settings"]["costly_limit"] == 60
    path.write_text('{"thresholds": {"truth_auroc": 7}}')
    assert "thresholds.truth_auroc" in audit(folder, "--settings", str(path), code=2)
    path.write_text("{")
    assert "no JSON" in audit(folder, "--settings", str(path), code=2)


def test_report_and_card_of_a_finished_run(folder: Path, tmp_path: Path) -> None:
    run("report", str(folder / "run"), "--out", str(tmp_path / "again.html"))
    assert "</html>" in (tmp_path / "again.html").read_text()
    assert "attnaudit" in run("report", str(folder / "run"), "--markdown")
    assert "no finished run" in run("report", str(tmp_path), code=2)


def test_explain_shows_units_and_scores(folder: Path) -> None:
    text = "not a good film, but the soup was cold"
    shown = run("explain", str(folder / "model"), text)
    assert "predicted" in shown
    found = json.loads(
        run("explain", str(folder / "model"), text, "--json", "--method", "gradient")
    )
    assert found["units"][:3] == ["not", "a", "good"]
    assert len(found["scores"]["gradient"]) == len(found["units"])
    assert "no method is called" in run(
        "explain", str(folder / "model"), text, "--method", "x", code=2
    )
    assert "nothing to explain" in run("explain", str(folder / "model"), "  ", code=2)


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script> [bold]good[/bold]", "שלום עולם טוב", "👩‍👩‍👧 great 🎉🎉",
     "zzz qqq xxx", "one", "word " * 5000],
    ids=["markup", "right to left", "emoji", "unknown words", "one word", "5000 words"],
)  # fmt: skip
def test_explain_survives_any_text(folder: Path, text: str) -> None:
    found = json.loads(run("explain", str(folder / "model"), text, "--json", "--method", "weights"))
    assert sum(found["scores"]["weights"]) == pytest.approx(1, abs=1e-4)
    assert "predicted" in run("explain", str(folder / "model"), text)


def test_lists_are_made_from_the_declarations() -> None:
    shown = run("list")
    for name in (*CHECKS, *METHODS, *NAMED_SETS, "bilstm", "cnn", "average", "additive", "dot"):
        assert name in shown


def test_it_starts_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from attnaudit.cli import main; main()", "report", "nowhere"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("attnaudit: ")
    assert "Traceback" not in done.stderr


def test_doctor_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "hub", (("no-such-package",), "nothing"))
    shown = run("doctor")
    assert "torch" in shown
    assert "attnaudit[hub]" in shown


def test_an_absent_device_is_one_line(folder: Path) -> None:
    said = run("explain", str(folder / "model"), "good", "--device", "nowhere", code=2)
    assert "cannot be used here" in said
    assert run("--version").startswith("attnaudit ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert len(shown.output) > 300
