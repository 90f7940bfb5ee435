"""Trainings in other processes: the same numbers as one after another, and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from attnaudit.evidence.trainings.design import Recipe
from attnaudit.runs.engine import Event
from attnaudit.training.options import TrainOptions
from tests.retraining_data import folder_of, plain, retrained

RECIPE = Recipe("bilstm", "dot", 4, 6, options=TrainOptions(epochs=2, learning_rate=0.02))
SIZES = {"train": 64, "dev": 32, "test": 40}


def test_processes_give_the_same_numbers(tmp_path: Path) -> None:
    splits = plain(SIZES)
    seen: list[Event] = []
    places = [tmp_path / "one", tmp_path / "two"]
    one, two = (
        retrained(
            splits,
            RECIPE,
            ("seeds",),
            out=place,
            workers=workers,
            seeds=2,
            resamples=100,
            watch=seen.append,
        )
        for workers, place in enumerate(places, start=1)
    )
    assert one.report.findings == two.report.findings
    assert one.frames["trainings"].equals(two.frames["trainings"])
    for name in ("base", "seed 1", "seed 2"):
        parameters = [
            (folder_of(result, place, name) / "model" / "model.safetensors").read_bytes()
            for result, place in zip((one, two), places, strict=True)
        ]
        assert parameters[0] == parameters[1]
        assert [e.kind for e in seen if e.cell.name == name].count("end") == 2
    assert {e.stage for e in seen if e.kind == "progress"} == {"training"}


KILLED = """
import sys
from pathlib import Path
from tests.retraining_data import plain, retrained
from tests.test_retraining_processes import RECIPE, SIZES
def watch(event):
    print(event.kind, event.cell.name, flush=True)
    if (event.kind, event.cell.name) == ("progress", "seed 2"):
        sys.stdin.readline()
retrained(plain(SIZES), RECIPE, ("seeds",), out=Path(sys.argv[1]), seeds=3, watch=watch)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_trains_nothing_again_that_was_finished(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
    )
    assert process.stdout is not None
    assert any(line == "progress seed 2\n" for line in process.stdout)
    process.kill()  # in the midst of its third training
    process.wait()
    assert not (tmp_path / "run" / "findings.json").exists()
    seen: list[Event] = []
    whole, resumed = (
        retrained(plain(SIZES), RECIPE, ("seeds",), out=tmp_path / name, seeds=3, watch=seen.append)
        for name in ("whole", "run")
    )
    assert resumed.report.findings == whole.report.findings
    started = [event.cell.name for event in seen if event.kind == "start"]
    assert started[4:] == ["seed 2", "seed 3"]
