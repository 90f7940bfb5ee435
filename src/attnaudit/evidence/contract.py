"""What checks ask of evidence, and how it is had: the same for every kind of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar, runtime_checkable

import polars as pl

from attnaudit.data.kinds import AnyDataset
from attnaudit.findings.findings import Finding
from attnaudit.findings.settings import Settings
from attnaudit.models.cut import Model
from attnaudit.runs.cell import Cell
from attnaudit.runs.execute import Done
from attnaudit.runs.inputs import Input
from attnaudit.runs.store import Store

Part = TypeVar("Part")
Splits = Mapping[str, AnyDataset]


@dataclass(frozen=True)
class Design:
    """What is asked: a model, data, and how.

    Attributes:
        settings: Settings and bars.
        model: The model in question, where there is one.
        data: What batches are made of.
        splits: `train`, `dev` and `test`, for what is trained or fitted.
        parts: What single kinds of evidence need besides, each a value of its own type.
    """

    settings: Settings
    model: Input[Model] | None = None
    data: Input[AnyDataset] | None = None
    splits: Input[Splits] | None = None
    parts: tuple[object, ...] = ()

    def part(self, kind: type[Part]) -> Part | None:
        """The part of a type, or None."""
        return next((part for part in self.parts if isinstance(part, kind)), None)


class Evidence(Protocol):
    """What a check concludes from."""

    @property
    def settings(self) -> Settings:
        """Settings and bars."""

    @property
    def gate(self) -> Finding | None:
        """Whether what the evidence is about is good enough to judge; None where not known."""


@runtime_checkable
class Tabled(Protocol):
    """Evidence with a table that the run stores beside the findings."""

    @property
    def table(self) -> str:
        """What the table is called."""

    @property
    def frame(self) -> pl.DataFrame:
        """One row per instance."""


class Asked(Protocol):
    """What a check asks for; checks that ask for the same kind share its cells."""

    @classmethod
    def cells(cls, design: Design, asked: Mapping[str, Self]) -> Sequence[Cell]:
        """The cells that some checks ask for together.

        Args:
            design: What is asked.
            asked: What each of these checks asks for, by its name.

        Raises:
            AttnauditError: The design lacks what is needed; the message says what.
        """

    @classmethod
    def gather(
        cls, design: Design, asked: Mapping[str, Self], store: Store, done: Done
    ) -> Mapping[str, Evidence]:
        """The evidence of each check, from finished cells."""
