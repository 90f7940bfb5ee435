"""Trainings in several processes: the same numbers as one after another."""

from __future__ import annotations

from pathlib import Path

from attnaudit.controls.run import run_controls
from attnaudit.evidence.trainings.design import Recipe
from attnaudit.findings.settings import Settings
from attnaudit.training.options import TrainOptions
from tests.control_data import plain

RECIPE = Recipe("bilstm", "dot", 4, 6, options=TrainOptions(epochs=2, learning_rate=0.02))


def test_processes_give_the_same_numbers(tmp_path: Path) -> None:
    splits = plain({"train": 64, "dev": 32, "test": 40})
    seen: list[tuple[str, int, int]] = []
    one, two = (
        run_controls(
            splits,
            RECIPE,
            ["seeds"],
            out=tmp_path / str(workers),
            workers=workers,
            seeds=2,
            settings=Settings(resamples=100),
            progress=lambda *step: seen.append(step),
        )
        for workers in (1, 2)
    )
    assert one.findings == two.findings
    assert one.instances.equals(two.instances)
    for first, second in zip(one.report.trainings, two.report.trainings, strict=True):
        assert first.name == second.name
        parameters = [
            (tmp_path / workers / line.folder / "model" / "model.safetensors").read_bytes()
            for workers, line in (("1", first), ("2", second))
        ]
        assert parameters[0] == parameters[1]
    assert seen.count(("trainings", 3, 3)) == 2
    assert {stage for stage, _, _ in seen} == {"trainings", "base", "seed 1", "seed 2"}
