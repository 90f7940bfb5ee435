"""Trainings in several processes: the same numbers as one after another."""

from __future__ import annotations

from pathlib import Path

from attnaudit.evidence.trainings.design import Recipe
from attnaudit.runs.engine import Event
from attnaudit.training.text_loop import TrainOptions
from tests.retraining_data import folder_of, plain, retrained

RECIPE = Recipe("bilstm", "dot", 4, 6, options=TrainOptions(epochs=2, learning_rate=0.02))


def test_processes_give_the_same_numbers(tmp_path: Path) -> None:
    splits = plain({"train": 64, "dev": 32, "test": 40})
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
    assert one.tables["trainings"].equals(two.tables["trainings"])
    for name in ("base", "seed 1", "seed 2"):
        parameters = [
            (folder_of(result, place, name) / "model" / "model.safetensors").read_bytes()
            for result, place in zip((one, two), places, strict=True)
        ]
        assert parameters[0] == parameters[1]
        assert [e.kind for e in seen if e.cell.name == name].count("end") == 2
    assert {e.stage for e in seen if e.kind == "progress"} == {"training"}
