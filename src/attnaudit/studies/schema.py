"""What a study's run folder holds, as versioned data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from attnaudit.findings.findings import Estimate

STUDY_SCHEMA = 1
Spec = Mapping[str, Any]
"""All that decides a cell's numbers, by name."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Holds(StrEnum):
    """What can be said of a claim."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "undecided"
    NOT_MEASURED = "not measured"


class Measured(_Frozen):
    """A number with its interval.

    Attributes:
        value: The number.
        low: Lower end of the interval, or None.
        high: Upper end of the interval, or None.
        n: How many instances it rests on.
        unit: What it is a number of, in words, with its range.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int
    unit: str


class Part(_Frozen):
    """What a claim rests on: one data set, or one seed of it.

    Attributes:
        of: What it is, in words.
        measured: What was found there; None where nothing could be measured.
        paper: The paper's own number for it, or None.
        holds: Whether the claim holds there.
        counts: Whether the claim's answer rests on it; single seeds and generated data beside
            real ones do not.
        half: Which half of a claim with two it speaks to; empty where a claim has one.
    """

    of: str
    measured: Measured | None
    paper: float | None = None
    holds: Holds
    counts: bool = True
    half: str = ""


class Claim(_Frozen):
    """One finding of a paper beside what was measured here.

    Attributes:
        id: A short name, unique in the study.
        claim: What the paper claims, in one sentence.
        paper: What the paper says: number and place.
        measured: The number that stands for all parts, or None.
        rule: How the answer is decided.
        holds: The answer.
        note: How data, sizes and embeddings differ from the paper's.
        parts: By data set, and by seed where there are several.
    """

    id: str
    claim: str
    paper: str
    measured: Measured | None
    rule: str
    holds: Holds
    note: str = ""
    parts: tuple[Part, ...] = ()


class ClaimList(_Frozen):
    """The file `claims.json`."""

    schema_version: int = STUDY_SCHEMA
    study: str
    claims: tuple[Claim, ...]


class CellRecord(_Frozen):
    """One cell: the file `cell.json` in its folder.

    Attributes:
        key: A SHA-256 of study, versions and `spec`: equal keys, equal numbers.
        spec: All that decides the numbers.
        status: `failed` cells are run again.
        reason: Why it failed.
        cost: What it was expected to cost, in CPU seconds.
        seconds: What it cost, in CPU seconds of its process.
        code: A hash of the source files that decide the numbers of an audit.
        rows: Every estimate.
        facts: Whatever else is needed to read them: sizes, history, names of classes.
        notes: What a reader must know.
    """

    schema_version: int = STUDY_SCHEMA
    study: str
    name: str
    key: str
    spec: dict[str, Any]
    status: Literal["done", "failed"]
    reason: str | None = None
    cost: float
    seconds: float
    attnaudit_version: str
    code: str
    created: datetime
    rows: tuple[Estimate, ...] = ()
    facts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> tuple[str, str]:
        """Its encoder and attention."""
        return str(self.spec["encoder"]), str(self.spec["attention"])


class Missing(_Frozen):
    """A data set, or another part of a study, that is not measured, with the reason."""

    what: str
    reason: str


class CellLine(_Frozen):
    """A cell as the study's report lists it."""

    name: str
    folder: str
    status: Literal["done", "failed"]
    reason: str | None = None
    seconds: float


class StudyReport(_Frozen):
    """The file `study.json`: what was asked, what was run, what was left out, what came of it."""

    schema_version: int = STUDY_SCHEMA
    study: str
    title: str
    paper: str
    attnaudit_version: str
    created: datetime
    quick: bool
    options: dict[str, Any]
    cells: tuple[CellLine, ...]
    missing: tuple[Missing, ...]
    claims: tuple[Claim, ...]
