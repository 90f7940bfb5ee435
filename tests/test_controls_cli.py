"""`attnaudit control`: the time beforehand, the findings, the page, and going on."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from attnaudit.controls.registry import CONTROLS
from attnaudit.controls.run import open_controls
from attnaudit.report.controls import render_controls
from tests.control_data import plain
from tests.terminal import run

SMALL = (
    *("--encoder", "cnn", "--hidden", "8", "--embedding-dim", "8", "--epochs", "2"),
    *("--seeds", "2", "--adversary-epochs", "2", "--lambda", "0", "--lambda", "0.01"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts with a mark-up in one, in three files."""
    folder = tmp_path_factory.mktemp("data")
    for name, part in plain({"train": 64, "dev": 32, "test": 40}).items():
        texts = [record.text for record in part]
        texts[0] += " <script>alert(1)</script>"
        labels = ["<b>no</b>" if record.label == 0 else "yes" for record in part]
        pl.DataFrame({"text": texts, "label": labels}).write_csv(folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All controls, by the command line."""
    place = tmp_path_factory.mktemp("run")
    said = run("control", str(data), "--out", str(place), *SMALL)
    first = re.match(r"(At most|About) .*: \d+ trainings? of (about|at most) .*second", said)
    assert first, said
    for control in CONTROLS.values():
        assert control.name in said
    assert said.count("done in") == len(open_controls(place).report.trainings)
    assert "controls.html" in said
    return place


def test_a_run_leaves_what_people_and_programs_need(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert {"findings.json", "instances.parquet", "estimates.parquet", "controls.html"} <= names
    found = json.loads((folder / "findings.json").read_text())
    assert {finding["check"] for finding in found["findings"]} == set(CONTROLS)
    assert pl.read_parquet(folder / "instances.parquet").height == 40
    for training in found["trainings"]:
        assert (folder / training["folder"] / "model" / "model.safetensors").exists()


def test_the_page_shows_every_control_and_loads_nothing(folder: Path) -> None:
    page = (folder / "controls.html").read_text(encoding="utf-8")
    for control in CONTROLS.values():
        assert f'<section id="{control.name}"' in page
    for figure in ("uniform", "seeds", "guide", "tradeoff"):
        assert f'id="chart-{figure}"' in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "<b>no</b>" not in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert page == render_controls(open_controls(folder))


def test_the_same_command_goes_on_and_trains_nothing_again(data: Path, folder: Path) -> None:
    said = run("control", str(data), "--out", str(folder), *SMALL, "--control", "seeds")
    assert said.startswith("All 3 trainings are finished.")
    assert "done in" not in said
    assert "uniform" not in {f.check for f in open_controls(folder).findings}


def test_a_dry_run_says_what_and_how_long_and_trains_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "dry"
    said = run("control", str(data), "--out", str(out), *SMALL, "--control", "seeds", "--dry-run")
    assert "3 trainings of about" in said
    assert "Trainings: base, seed 1, seed 2" in said
    assert not list(out.rglob("*.safetensors"))


def test_a_training_that_fails_is_said_and_the_exit_code_is_one(data: Path, tmp_path: Path) -> None:
    place = tmp_path / "a [red]run"
    words = ("control", str(data), "--out", str(place), *SMALL, "--control", "seeds")
    run(*words)
    lost = place / next(
        line.folder for line in open_controls(place).report.trainings if line.name == "seed 2"
    )
    shutil.rmtree(lost)
    lost.mkdir()
    (lost / "model").write_text("in the way")
    said = run(*words, code=1)
    assert "cannot be written" in said
    assert "[red]run" in said
    assert open_controls(place).finding("seeds").headline is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--control", "unifrom"), "no control is called 'unifrom'"),
        (("--attention", "uniform"), "'uniform' is not learned"),
        (("--lambda", "-1"), "each 0 or above"),
        (("--encoder", "gru"), "encoder 'gru' is unknown"),
        (("--base", "nowhere"), "nowhere"),
    ],
)
def test_options_that_cannot_be_are_one_clear_line(
    data: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    shown = run("control", str(data), "--out", str(tmp_path), *options, code=2)
    assert said in shown
    assert "Traceback" not in shown
