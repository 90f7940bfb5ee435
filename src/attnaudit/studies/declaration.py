"""What a study is: its options, its cells and its claims, declared as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_origin

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from attnaudit.findings.findings import Estimate
from attnaudit.progress import Report
from attnaudit.runs.cell import Cell as RunCell
from attnaudit.runs.cell import CellRecord, Outcome, home_of
from attnaudit.runs.cell import Place as RunPlace
from attnaudit.studies.schema import Claim, Missing

Limit = Annotated[int, Field(gt=0)] | None
Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Options(BaseModel):
    """What every study can be told; a study adds its own. One value may stand for several.

    Attributes:
        data: Names of data sets.
        encoders: Names of encoders.
        attentions: Names of attentions.
        seeds: One cell each.
        train_limit: At most so many training texts a set, drawn by the seed 0.
        test_limit: At most so many test texts a set.
        device: Where to train and audit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Names
    encoders: Names = ("bilstm",)
    attentions: Names = ("additive",)
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    train_limit: Limit = None
    test_limit: Limit = None
    device: str = "cpu"

    @field_validator("*", mode="before")
    @classmethod
    def _one_is_several(cls, given: object, info: ValidationInfo) -> object:
        """`--set layers=3` gives one text, and `--set steps=` an empty one."""
        field = cls.model_fields[str(info.field_name)]
        if get_origin(field.annotation) is tuple and isinstance(given, str | int | float):
            return () if given == "" else (given,)
        return given


@dataclass(frozen=True)
class Cell:
    """One unit of work.

    Attributes:
        name: What it is, in words; unique in the study.
        spec: All that decides its numbers, as JSON values.
        cost: What it is expected to cost, in CPU seconds.
    """

    name: str
    spec: Mapping[str, Any]
    cost: float


@dataclass(frozen=True)
class Planned:
    """The cells of a study, and what of it cannot be measured."""

    cells: tuple[Cell, ...]
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a cell works, and what does not decide its numbers.

    Attributes:
        folder: Its own folder: what lies there comes from an interrupted try at the same cell.
        data_dir: The folder of data sets, or None.
        device: Where to train and audit.
        progress: Told `(stage, done, total)`.
    """

    folder: Path
    data_dir: Path | None
    device: str
    progress: Report


@dataclass(frozen=True)
class Results:
    """The finished cells of a study, for its claims and its page.

    Attributes:
        options: What was asked.
        folder: The run folder.
        records: Finished cells in the order of the plan.
        places: Their folders in the run folder, by name.
        failed: Cells that failed.
        missing: What could not be measured.
        reference: The paper's own numbers from a file, or nothing.
    """

    study: Study
    options: Options
    folder: Path
    records: tuple[CellRecord, ...]
    places: Mapping[str, str] = field(default_factory=dict)
    failed: tuple[CellRecord, ...] = ()
    missing: tuple[Missing, ...] = ()
    reference: Mapping[str, JsonValue] = field(default_factory=dict)

    def where(self, **spec: object) -> list[CellRecord]:
        """Finished cells whose specification has these values."""
        return [r for r in self.records if all(r.spec.get(k) == v for k, v in spec.items())]

    def folder_of(self, record: CellRecord) -> Path:
        """The folder of a cell."""
        return self.folder / self.places[record.name]

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Every estimate as a tidy row, with what tells its cell from the others."""
        rows = [
            {
                "cell": record.name,
                **{k: v for k, v in record.spec.items() if isinstance(v, str | int | float)},
                **estimate.model_dump(),
            }
            for record in self.records
            for estimate in record.rows
        ]
        return pl.DataFrame(rows, infer_schema_length=None)


@dataclass(frozen=True)
class Study:
    """One paper's experiments.

    Attributes:
        name: What the command line calls it.
        title: The question of the paper, in words.
        paper: Authors, year and title.
        citation: Where it was published.
        version: Raised whenever a cell would give other numbers for the same specification.
        options: The model of its options, with defaults.
        quick: From the folder of data sets to the options that `--quick` sets where the user does
            not: five minutes on two cores, and no data needed.
        plan: Options and the folder of data sets to cells.
        measure: A cell to what it found. Top-level, so that other processes can import it.
        conclude: Finished cells to claims.
    """

    name: str
    title: str
    paper: str
    citation: str
    version: int
    options: type[Options]
    quick: Callable[[Path | None], Mapping[str, Any]]
    plan: Callable[[Any, Path | None], Planned]
    measure: Callable[[Cell, Place], Outcome]
    conclude: Callable[[Results], tuple[Claim, ...]]


@dataclass(frozen=True)
class StudyWork:
    """What a cell of a study does, wherever it runs.

    Attributes:
        measure: The study's own function.
        cell: The cell as the study plans it.
        data_dir: The folder of data sets, or None.
    """

    measure: Callable[[Cell, Place], Outcome]
    cell: Cell
    data_dir: Path | None

    def __call__(self, cell: RunCell, place: RunPlace) -> Outcome:
        """Measure it."""
        own = Place(place.folder, self.data_dir, place.device, place.progress)
        return self.measure(self.cell, own)


def run_cell(study: Study, cell: Cell, data_dir: Path | None) -> RunCell:
    """A cell of a study as all cells are run, stored and resumed."""
    return RunCell(
        cell.name,
        StudyWork(study.measure, cell, data_dir),
        cell.spec,
        cost=cell.cost,
        code=(home_of(study.measure),),
        version=f"{study.name} {study.version}",
    )


def find(
    rows: Sequence[Estimate], statistic: str, subject: str, group: str = "all"
) -> Estimate | None:
    """The estimate of that statistic, subject and group, or None."""
    return next(
        (e for e in rows if (e.statistic, e.subject, e.group) == (statistic, subject, group)), None
    )
