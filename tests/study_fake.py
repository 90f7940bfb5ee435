"""A study of next to nothing, for tests of the framework. Importable by worker processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch

from attnaudit.errors import DataError
from attnaudit.findings.findings import Estimate
from attnaudit.studies.claims import above, claim_of, measured
from attnaudit.studies.declaration import (
    Cell,
    Names,
    Options,
    Outcome,
    Place,
    Planned,
    Results,
    Study,
    find,
)
from attnaudit.studies.schema import Claim, Missing, Part


class FakeOptions(Options):
    data: Names = ("a", "b")
    power: int = 2
    breaks: tuple[str, ...] = ()
    dies: tuple[str, ...] = ()
    pause: float = 0.0


def plan(options: FakeOptions, data_dir: Path | None) -> Planned:
    cells = tuple(
        Cell(
            f"{data}, seed {seed}",
            {
                "data": data,
                "seed": seed,
                "power": options.power,
                "breaks": data in options.breaks,
                "dies": data in options.dies,
                "pause": options.pause,
            },
            cost=1.0,
        )
        for data in options.data
        if data != "nowhere"
        for seed in options.seeds
    )
    gone = "nowhere" in options.data
    return Planned(cells, (Missing(what="nowhere", reason="it is nowhere"),) if gone else ())


def quick(data_dir: Path | None) -> dict[str, object]:
    return {"data": ("a",)}


def measure(cell: Cell, place: Place) -> Outcome:
    spec = cell.spec
    with (place.folder / "tries.txt").open("a") as file:
        file.write("x")
    place.progress("counting", 1, 2)
    if spec["breaks"]:
        raise DataError("the data is broken: mend it")
    if spec["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if spec["pause"]:
        time.sleep(spec["pause"])
    noise = torch.randn(3).tolist()
    value = float((int(spec["seed"]) + len(spec["data"])) ** spec["power"])
    estimate = Estimate(
        statistic="size", subject="x", value=value, low=value - 1, high=value + 1, n=100
    )
    return Outcome((estimate,), {"noise": noise, "threads": torch.get_num_threads()}, ("a note",))


def conclude(results: Results) -> tuple[Claim, ...]:
    parts = []
    for data in results.options.data:
        for record in results.where(data=data):
            found = measured(find(record.rows, "size", "x"), "size")
            parts.append(Part(of=record.name, measured=found, holds=above(found, -0.5)))
    return (
        claim_of(
            parts,
            id="size",
            claim="Sizes are above minus a half.",
            paper="3 (table 1)",
            rule="The interval lies above −0.5.",
            note="Made up.",
        ),
    )


FAKE = Study(
    name="fake",
    title="How large is it?",
    paper="Nobody 2020, On size",
    citation="nowhere",
    version=1,
    options=FakeOptions,
    quick=quick,
    plan=plan,
    measure=measure,
    conclude=conclude,
)
