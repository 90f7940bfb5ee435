"""What is the user's stays, folders are whole, and stored files are what was written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import polars as pl
import pytest

from attnaudit import files, manifest
from attnaudit.api import explain, open_run
from attnaudit.audits.result import AuditResult, open_audit
from attnaudit.audits.run import run_audit
from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.errors import DamagedWarning, ModelError, RunError
from attnaudit.models.load import load
from attnaudit.nets.checkpoint import check_place, model_folder
from attnaudit.runs.folders import check_run, kind_of
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.terminal import run
from tests.test_audit_run import FAST, findings, toy_data
from tests.toys import reader

SMALL = {
    "encoder": "average",
    "hidden": 4,
    "embedding_dim": 4,
    "progress": False,
    "options": TrainOptions(epochs=1),
}
FLAGS = (
    "--encoder",
    "average",
    "--hidden",
    "4",
    "--embedding-dim",
    "4",
    "--epochs",
    "1",
    "--limit",
    "60",
)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "model"
    train(resolve("reviews", limit=60).splits(), out=folder, **SMALL)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def whole() -> AuditResult:
    return run_audit(reader(), toy_data(), FAST)


def copied(folder: Path, to: Path) -> Path:
    for path in folder.rglob("*"):
        place = to / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            place.write_bytes(path.read_bytes())
    return to


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- places


def test_the_encoder_that_is_read_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    Path("model/config.json").write_text('{"model_type": "bert"}')
    Path("model/model.safetensors").write_bytes(b"weights")
    before = tree(tmp_path)
    for flags in ((), ("--overwrite",)):
        said = run("train", "reviews", "--encoder", "model", *flags, code=2)
        assert "model is being read" in said
    said = run("train", "reviews", *FLAGS, "--overwrite", code=2)
    assert "which attnaudit did not save there" in said
    assert tree(tmp_path) == before


def test_data_in_the_folder_are_never_replaced(tmp_path: Path) -> None:
    data = tmp_path / "texts.csv"
    data.write_text("text,label\n" + "good film,1\nbad film,0\n" * 20)
    said = run("train", str(data), "--out", str(tmp_path), *FLAGS, "--overwrite", code=2)
    assert "is being read" in said
    assert list(tmp_path.iterdir()) == [data]


def test_a_model_is_replaced_only_when_asked(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "model")
    before = tree(folder)
    with pytest.raises(ModelError, match="holds a model already"):
        train("reviews", out=folder, limit=60, **SMALL)  # type: ignore[arg-type]
    assert tree(folder) == before
    train("reviews", out=folder, limit=80, overwrite=True, **SMALL)  # type: ignore[arg-type]
    assert load(folder).trained_on is not None
    assert tree(folder) != before
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"notes\.txt, which attnaudit did not save"):
        train("reviews", out=folder, limit=60, overwrite=True, **SMALL)  # type: ignore[arg-type]
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_model_of_an_earlier_version_can_be_replaced(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "model")
    (folder / "manifest.json").unlink()
    assert load(folder).trained_on is not None
    check_place(folder, overwrite=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"notes\.txt"):
        check_place(folder, overwrite=True)


def test_a_model_with_a_damaged_manifest_can_be_replaced(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "model")
    path = folder / "manifest.json"
    whole = path.read_text()
    for damaged in ("{", whole.replace("config.json", "xonfig.json"), whole.replace("model", "m")):
        path.write_text(damaged)
        check_place(folder, overwrite=True)
        with pytest.raises(ModelError, match="holds a model already"):
            check_place(folder)


def test_places_are_checked_before_any_work(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "file").write_text("mine")
    place = str(tmp_path / "file" / "out")
    missing = str(tmp_path / "missing.csv")
    for command in (
        ("train", missing),
        ("train", missing, "--kind", "bags"),
        ("train", missing, "--kind", "siamese"),
        ("train", missing, "--kind", "selector", "--black-box", str(saved)),
        ("audit", str(saved), missing),
        ("audit", str(saved), missing, "--check", "shortcut"),
        ("audit", "minilm", missing),
        ("study", "jain2019", "--quick"),
    ):
        said = run(*command, "--out", place, code=2)
        # the place is refused, not the data, which are read after it
        assert "is a file" in said, command
        assert "missing.csv" not in said, command
    assert tree(tmp_path) == {"file": b"mine"}


def test_pages_go_over_pages_and_over_nothing_else(tmp_path: Path) -> None:
    run_audit(reader(), toy_data(40), FAST, out=tmp_path / "run")
    mine = tmp_path / "mine.html"
    mine.write_text("<html>mine</html>")
    said = run("report", str(tmp_path / "run"), "--out", str(mine), code=2)
    assert "was not written by attnaudit" in said
    assert mine.read_text() == "<html>mine</html>"
    page = tmp_path / "page.html"
    run("report", str(tmp_path / "run"), "--out", str(page))
    run("report", str(tmp_path / "run"), "--out", str(page))
    run("report", str(tmp_path / "run"), "--out", str(mine), "--overwrite")
    assert "</html>" in mine.read_text()
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b\nx,y\n")
    for option in ("--html", "--json"):
        said = run(
            "explain", "minilm", "--data", str(pairs), option, str(pairs), "--overwrite", code=2
        )
        assert "is being read" in said
    assert pairs.read_text() == "a,b\nx,y\n"


# --- kinds of runs


def test_a_folder_holds_one_kind_of_run(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_audit(reader(), toy_data(40), FAST, out=folder)
    before = tree(folder)
    with pytest.raises(RunError, match="holds an audit, not a study"):
        check_run(folder, "study")
    assert tree(folder) == before
    with pytest.raises(RunError, match="holds a model, not an audit"):
        run_audit(reader(), toy_data(40), FAST, out=saved)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("study", "a study"), ("shortcut", "a run of another kind, shortcut")],
    ids=["another kind", "a kind of an earlier version"],
)
def test_another_kind_of_run_is_named(kind: str, words: str, tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path, manifest.Manifest(kind))
    assert kind_of(tmp_path) == kind
    for use in (open_audit, lambda folder: check_run(folder, "audit")):
        with pytest.raises(RunError, match=f"holds {words}, not an audit"):
            use(tmp_path)


def test_a_users_own_file_is_not_taken_for_a_runs(tmp_path: Path) -> None:
    for name in ("findings.json", "report.html", "manifest.json"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text('{"mine": 1}')
        with pytest.raises(RunError, match="written by no run of attnaudit"):
            run_audit(reader(), toy_data(40), FAST, out=folder, overwrite=True)
        assert tree(folder) == {name: b'{"mine": 1}'}


# --- whole or not at all


def test_at_every_rename_the_folder_is_whole_or_what_it_was(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(saved, tmp_path / "model")
    before, states = tree(folder), []

    def looking(real):  # type: ignore[no-untyped-def]
        def rename(source: str, target: str) -> None:
            real(source, target)
            states.append(tree(folder) if folder.exists() else None)

        return rename

    monkeypatch.setattr(os, "rename", looking(os.rename))
    monkeypatch.setattr(os, "replace", looking(os.replace))
    train("reviews", out=folder, limit=80, overwrite=True, **SMALL)  # type: ignore[arg-type]
    after = tree(folder)
    assert all(state in (None, before, after) for state in states)
    assert before in states
    assert after in states


def test_a_failure_leaves_what_was_there(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "model")
    before = tree(tmp_path)

    def full() -> None:
        with model_folder(folder, overwrite=True) as part:
            (part / "config.json").write_text("{}")
            raise OSError("full")

    with pytest.raises(ModelError, match="cannot be written"):
        full()
    assert tree(tmp_path) == before


TRAINED = """
import sys
from attnaudit.training.train import train
from tests.test_kept import SMALL
print("ready", flush=True)
while True:
    train("reviews", out=sys.argv[1], limit=60, overwrite=True, **SMALL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_training_leaves_no_model_without_its_training_texts(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for delay in (0.0, 0.11, 0.23, 0.42):
        process = started(TRAINED, folder)
        time.sleep(delay)
        process.kill()
        process.wait()
        check_place(folder, overwrite=True)
        assert not list(tmp_path.glob(".*"))
        if folder.exists():
            assert load(folder).trained_on is not None


def started(script: str, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_folder_set_aside_comes_back_after_a_kill(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "model")
    before = tree(folder)
    aside = tmp_path / ".model.abcdefgh.part"
    aside.mkdir()
    os.rename(folder, aside / ".replaced")
    with pytest.raises(ModelError, match="holds a model already"):
        check_place(folder)
    assert tree(folder) == before
    assert not aside.exists()


def test_a_folder_that_cannot_be_renamed_is_filled(saved: Path, tmp_path: Path) -> None:
    place = tmp_path / "mount"
    place.mkdir()
    (place / "config.json").write_text("old")
    (place / "old.txt").write_text("old")
    part = copied(saved, place / ".mount.abcdefgh.part")
    files._move_in(part, place)
    part.rmdir()
    assert tree(place) == tree(saved)


AUDITED = """
import sys
from pathlib import Path
from attnaudit.audits.run import run_audit
from tests.test_audit_run import FAST, toy_data
from tests.toys import reader
print("ready", flush=True)
run_audit(reader(), toy_data(), FAST, out=Path(sys.argv[1]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_an_audit_that_is_killed_again_and_again_gives_the_same_findings(
    whole: AuditResult, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    for number in range(6):
        process = started(AUDITED, folder)
        time.sleep(0.02 + 0.13 * number)
        process.kill()
        process.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedWarning)  # a kill damages nothing
        resumed = run_audit(reader(), toy_data(), FAST, out=folder)
    assert findings(resumed) == findings(whole)
    assert not list(folder.rglob("*.part"))
    assert findings(AuditResult(open_run(folder).report, open_run(folder).instances)) == findings(
        whole
    )


def test_leftovers_of_kills_go_and_other_files_stay(tmp_path: Path) -> None:
    names = (".a.json.abcdefgh.part", "b.part", ".part", ".b.json.abcdefgh.part")
    for name in names:
        (tmp_path / name).write_text("x")
    files.tidy(tmp_path, "a.json")
    assert sorted(tree(tmp_path)) == sorted(names[1:])
    files.tidy(tmp_path, older=3600)
    assert sorted(tree(tmp_path)) == sorted(names[1:])
    files.tidy(tmp_path)
    assert sorted(tree(tmp_path)) == [".part", "b.part"]


# --- stored results are what was written


def chunk(folder: Path, number: int) -> Path:
    """The table of a chunk of an audit."""
    (found,) = (folder / "instances").glob(f"chunk-{number:05d}-*/instances.parquet")
    return found


def rewritten(path: Path) -> None:
    """A table with other numbers, as valid as before."""
    frame = pl.read_parquet(path)
    frame.with_columns(pl.col("max_weight") * 0.5).write_parquet(path)


def test_a_changed_chunk_is_made_again_and_said(whole: AuditResult, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_audit(reader(), toy_data(), FAST, out=folder)
    rewritten(chunk(folder, 1))
    with pytest.raises(RunError, match=r"chunk-00001.*parquet is not what was written"):
        open_run(folder)
    with pytest.warns(DamagedWarning, match=r"chunk-00001.*parquet is not what was written"):
        resumed = run_audit(reader(), toy_data(), FAST, out=folder)
    assert findings(resumed) == findings(whole)
    assert resumed.instances.equals(whole.instances)
    assert open_run(folder).instances.equals(whole.instances)


@pytest.mark.parametrize("name", ["findings.json", "plan.json"])
def test_changed_digits_are_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_audit(reader(), toy_data(40), FAST, out=folder)
    path = folder / name
    content = path.read_text()
    assert '"resamples": 200' in content
    path.write_text(content.replace('"resamples": 200', '"resamples": 900'))
    with pytest.raises(RunError, match=f"{name} is not what was written"):
        open_run(folder)


def test_missing_chunks_are_no_smaller_audit(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_audit(reader(), toy_data(), FAST, out=folder)
    lost = chunk(folder, 2)
    lost.unlink()
    with pytest.raises(RunError, match=r"chunk-00002.*parquet is gone"):
        open_run(folder)
    shutil.rmtree(lost.parent)
    with pytest.raises(RunError, match=r"chunk-00002.* holds no instances"):
        open_run(folder)


def test_a_damaged_manifest_is_said_and_everything_made_again(
    whole: AuditResult, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run_audit(reader(), toy_data(), FAST, out=folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json is damaged"):
        open_run(folder)
    with pytest.warns(DamagedWarning, match=r"manifest\.json is damaged"):
        resumed = run_audit(reader(), toy_data(), FAST, out=folder)
    assert findings(resumed) == findings(whole)


@pytest.mark.parametrize("name", ["vocabulary.json", "config.json"])
def test_changed_words_and_classes_of_a_model_are_refused(
    name: str, saved: Path, tmp_path: Path
) -> None:
    folder = copied(saved, tmp_path / "model")
    before = explain(folder, "a good film").scores
    path = folder / name
    content = json.loads(path.read_text())
    if name == "config.json":
        content["config"]["classes"].reverse()
    else:
        content["words"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=rf"{name} is not what was written.*delete .*manifest"):
        load(folder)
    (folder / "manifest.json").unlink()
    after = load(folder)  # as the message says
    assert explain(after, "a good film").scores != before or name == "config.json"


def test_a_model_may_go_without_its_held_out_texts_and_nothing_else(
    saved: Path, tmp_path: Path
) -> None:
    folder = copied(saved, tmp_path / "model")
    (folder / "test.jsonl").unlink()
    assert load(folder).trained_on is not None
    (folder / "splits.json").unlink()
    with pytest.raises(ModelError, match=r"splits\.json is gone"):
        load(folder)


def test_changed_held_out_texts_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "model")
    path = folder / "test.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[1:]) + "\n")
    assert len(load_data(path)) == len(lines) - 1  # readable all the same
    with pytest.raises(ModelError, match=r"test\.jsonl is not what was written"):
        load(folder)


def test_a_manifest_names_no_file_elsewhere(tmp_path: Path) -> None:
    for name in ("../secret", "/etc/hostname"):
        content = {
            "format": manifest.FORMAT,
            "version": 1,
            "kind": "",
            "plan": "",
            "files": {name: "0"},
        }
        (tmp_path / "manifest.json").write_text(json.dumps(content))
        with pytest.raises(manifest.ChangedError, match="damaged"):
            manifest.read_manifest(tmp_path)
