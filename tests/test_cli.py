"""The command line from end to end, as a person uses it."""

import importlib.metadata
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from attnaudit.attribution import METHODS
from attnaudit.checks.declaration import ATTENTION
from attnaudit.checks.registry import CHECKS
from attnaudit.cli.app import COMMANDS, command_of
from attnaudit.data.generated.reviews import generate_review_splits
from attnaudit.data.named.sets import NAMED_SETS
from tests.terminal import run

COLUMNS = ("--column", "text=review", "--column", "label=stars")


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
        "train",
        str(place / "data"),
        "--out",
        str(place / "model"),
        "--encoder",
        "average",
        "--hidden",
        "16",
        "--embedding-dim",
        "16",
        "--epochs",
        "3",
        *COLUMNS,
    )
    assert "kept: best on the development split" in shown
    audit(place)
    return place


def audit(place: Path, *more: str, out: str = "run", code: int = 0) -> str:
    return run(
        "audit",
        str(place / "model"),
        str(place / "data" / "test.csv"),
        "--out",
        str(place / out),
        *COLUMNS,
        "--set",
        "costly_limit=60",
        *more,
        code=code,
    )


def test_an_audit_leaves_what_people_and_programs_need(folder: Path) -> None:
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"plan.json", "findings.json", "report.html", "card.md", "instances"} <= names
    found = json.loads((folder / "run" / "findings.json").read_text())
    assert {f["check"] for f in found["findings"]} == {
        name for name, check in CHECKS.items() if check.group == ATTENTION and not check.gate
    }
    assert found["judgement"]["headline"]
    assert found["plan"]["settings"]["seed"] == 0
    assert pl.read_parquet(folder / "run" / "instances" / "**" / "*.parquet").height == 120


def test_the_same_audit_again_is_resumed_and_another_is_refused(folder: Path) -> None:
    assert "Report:" in audit(folder)
    refused = audit(folder, "--seed", "7", code=2)
    assert "seed was 0" in refused
    assert "--overwrite" in refused
    assert "Report:" in audit(folder, "--limit", "50", out="other")
    assert "Report:" in audit(folder, "--limit", "60", "--overwrite", out="other")


def test_settings_from_a_file_and_a_strict_exit_code(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"permutations": 10, "bars": {"truth_auroc": 0.9}}')
    audit(folder, "--settings", str(path), "--strict", out="strict", code=1)
    plan = json.loads((folder / "strict" / "plan.json").read_text())
    assert plan["settings"]["permutations"] == 10
    assert plan["settings"]["bars"]["truth_auroc"] == 0.9
    assert plan["settings"]["costly_limit"] == 60
    path.write_text('{"bars": {"truth_auroc": 7}}')
    assert "the bar truth_auroc is 7" in audit(folder, "--settings", str(path), code=2)
    path.write_text("{")
    assert "not valid JSON" in audit(folder, "--settings", str(path), code=2)


def test_the_held_out_split_is_audited_without_naming_it(folder: Path, tmp_path: Path) -> None:
    shown = run(
        "audit", str(folder / "model"), "--out", str(tmp_path / "run"), "--check", "permutation"
    )
    assert ", test (120 texts)" in shown
    assert pl.read_parquet(tmp_path / "run" / "instances" / "**" / "*.parquet").height == 120
    refused = run("audit", str(folder / "model"), "--column", "truth=evidence", code=2)
    assert "--column" in refused
    assert "truth_column" not in refused


def test_texts_that_were_trained_on_are_left_out_aloud(folder: Path, tmp_path: Path) -> None:
    words = (
        "audit",
        str(folder / "model"),
        str(folder / "data"),
        "--split",
        "train",
        *COLUMNS,
        "--check",
        "permutation",
        "--out",
        str(tmp_path / "run"),
    )
    refused = run(*words, code=2)
    assert "all 600 texts were in the model's training data" in refused
    assert "or keep them with --include-training-texts" in refused
    assert "600 of the 600 texts were in the model's training data" in re.sub(
        r"\s+", " ", run(*words, "--include-training-texts")
    )
    # a file of train and test together
    parts = [pl.read_csv(folder / "data" / f"{name}.csv") for name in ("train", "test")]
    pl.concat(parts).write_csv(tmp_path / "all.csv")
    shown = run(
        "audit",
        str(folder / "model"),
        str(tmp_path / "all.csv"),
        *COLUMNS,
        "--check",
        "permutation",
        "--out",
        str(tmp_path / "mixed"),
    )
    assert "600 texts were in the model's training data and are left out; 120 remain." in shown
    assert "600 texts were in the model's training data (train or dev) and are left out" in shown
    page = (tmp_path / "mixed" / "report.html").read_text(encoding="utf-8")
    assert "600 texts were in the model&#39;s training data" in page


def test_training_keeps_ids_and_evidence_and_notes_each_thing_once(tmp_path: Path) -> None:
    rows = [
        {"text": f"{word} film {i}", "label": word, "key": f"k{i}", "evidence": "[1, 0, 0]"}
        for i in range(30)
        for word in ("good", "bad")
    ]
    rows = [{**row, "key": f"{row['key']}{row['label']}"} for row in rows]
    pl.DataFrame([*rows, {**rows[0], "key": "again"}]).write_csv(tmp_path / "x.csv")
    shown = run(
        "train",
        str(tmp_path / "x.csv"),
        "--out",
        str(tmp_path / "model"),
        "--encoder",
        "average",
        "--hidden",
        "4",
        "--embedding-dim",
        "4",
        "--epochs",
        "1",
        "--column",
        "truth=evidence",
        "--column",
        "id=key",
    )
    assert shown.count("occur more than once") == 1
    assert "train: train:" not in shown
    assert re.search(r"^test: \d+ of 61 records", shown, flags=re.MULTILINE)
    assert f"attnaudit audit {tmp_path / 'model'}" in shown
    stored = [json.loads(line) for line in (tmp_path / "model" / "test.jsonl").open()]
    assert len(stored) == 6
    for row in stored:
        assert row["id"].startswith("k")
        assert row["truth"] == [1, 0, 0]
        assert row["text"][0] == row["label"]


STOPPABLE = """
import time
import attnaudit.training.train as training
from attnaudit.cli.app import main
from attnaudit.runs.store import Store
work, write = training.train, Store.finish
def trained(*given, **options):
    print("ready", flush=True)
    return work(*given, **options)
def finished(self, cell, record):
    write(self, cell, record)
    print("ready", flush=True)
    time.sleep(60)
training.train, Store.finish = trained, finished
main()
"""


def interrupted(command: str, *words: str) -> tuple[int, str]:
    """The exit code and the complaint of a real process that is stopped with Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPABLE, command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=600)
    return process.returncode, complaint.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGINT for a process")
def test_stopping_from_the_keyboard_says_what_is_left(folder: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text('{"chunk": 30, "checks": ["permutation"]}')
    words = (str(folder / "model"), "--out", str(tmp_path / "run"), "--settings", str(settings))
    code, said = interrupted("audit", *words)
    assert code == 130
    assert said.startswith("attnaudit: stopped. Finished work is kept: run the same command")
    assert "\n" not in said
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")}
    assert len(before) == 1
    assert "Report:" in run("audit", *words)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGINT for a process")
def test_stopping_training_does_not_promise_to_go_on(folder: Path, tmp_path: Path) -> None:
    code, said = interrupted(
        "train",
        str(folder / "data"),
        "--out",
        str(tmp_path / "model"),
        *COLUMNS,
        "--epochs",
        "5000",
    )
    assert code == 130
    assert said == "attnaudit: stopped. No model was saved: run the same command to start again."
    assert not (tmp_path / "model").exists()


def test_every_long_command_has_its_word_on_what_is_left() -> None:
    for name in ("audit", "demo", "explain", "study", "train"):
        assert COMMANDS[name].stopped


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("nope",), 2),
        (("audit",), 2),
        (("--version",), 0),
        (("audit", "model", "--limit", "x"), 2),
        (("audit", "--help"), 0),
    ],
)
def test_exit_codes_of_usage(words: tuple[str, ...], code: int) -> None:
    assert run(*words, code=code)


def test_messages_name_options_and_no_python(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\ngood film,positive\nbad film,\n")
    model = str(folder / "model")
    said = run("audit", model, str(path), code=2)
    assert said.rstrip().endswith("leave such rows out with --drop-unlabelled")
    said = run("audit", model, str(path), "--column", "label=stars", code=2)
    assert said.rstrip().endswith(
        "Name it with --column label=…; data without labels have --column label=none"
    )
    said = audit(folder, "--seed", "7", code=2)
    assert "or pass --overwrite to replace it" in said


def test_report_and_card_of_a_finished_run(folder: Path, tmp_path: Path) -> None:
    run("report", str(folder / "run"), "--out", str(tmp_path / "again.html"))
    assert "</html>" in (tmp_path / "again.html").read_text()
    assert "attnaudit" in run("report", str(folder / "run"), "--markdown")
    assert "does not hold a finished run" in run("report", str(tmp_path), code=2)


def test_explain_shows_units_and_scores(folder: Path) -> None:
    text = "not a good film, but the soup was cold"
    shown = run("explain", str(folder / "model"), text)
    assert "predicted" in shown
    found = json.loads(
        run("explain", str(folder / "model"), text, "--json", "-", "--method", "gradient")
    )
    assert found["units"][:3] == ["not", "a", "good"]
    assert len(found["scores"]["gradient"]) == len(found["units"])
    assert "no method is called" in run(
        "explain", str(folder / "model"), text, "--method", "x", code=2
    )
    assert "nothing to explain" in run("explain", str(folder / "model"), "  ", code=2)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script> [bold]good[/bold]",
        "שלום עולם טוב",
        "👩‍👩‍👧 great 🎉🎉",
        "zzz qqq xxx",
        "one",
        "word " * 5000,
    ],
    ids=["markup", "right to left", "emoji", "unknown words", "one word", "5000 words"],
)
def test_explain_survives_any_text(folder: Path, text: str) -> None:
    found = json.loads(
        run("explain", str(folder / "model"), text, "--json", "-", "--method", "weights")
    )
    assert sum(found["scores"]["weights"]) == pytest.approx(1, abs=1e-4)
    assert "predicted" in run("explain", str(folder / "model"), text)


def test_lists_are_made_from_the_declarations() -> None:
    shown = run("list")
    for name in (*CHECKS, *METHODS, *NAMED_SETS, "bilstm", "cnn", "average", "additive", "dot"):
        assert name in shown


def test_the_list_says_when_a_check_decides() -> None:
    shown = run("list", "checks")
    for check in CHECKS.values():
        line = next(line for line in shown.splitlines() if line.startswith(f"│ {check.name} "))
        if check.defers_to:
            assert f"where {check.defers_to} cannot" in line
        else:
            assert (" yes " if check.decisive else " cautions ") in line


def test_it_starts_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from attnaudit.cli.app import main; main()", "report", "nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("attnaudit: ")
    assert "Traceback" not in done.stderr


def test_doctor_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.metadata.version

    def version(package: str) -> str:
        if package == "datasets":
            raise importlib.metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    shown = run("doctor")
    assert "torch" in shown
    assert 'pip install ".[hub]"' in shown


def test_an_absent_device_is_one_line(folder: Path) -> None:
    said = run("explain", str(folder / "model"), "good", "--device", "nowhere", code=2)
    assert "cannot be used here" in said
    assert run("--version").startswith("attnaudit ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str) -> None:
    shown = run(command, "--help")
    assert len(shown) > 300
    assert "Example: attnaudit " in re.sub(r"\s+", " ", shown)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_says_what_they_say_themselves(command: str) -> None:
    said = command_of(command).help or ""
    assert said.startswith(COMMANDS[command].help)
    assert COMMANDS[command].help in re.sub(r"[│\s]+", " ", run("--help"))
