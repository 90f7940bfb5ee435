"""What a study's run folder holds, as versioned data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from attnaudit.runs.cell import CellRecord as CellRecord

STUDY_SCHEMA = 2
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
    """The findings of a study, `findings.json`: what was run, left out, and found."""

    schema_version: int = STUDY_SCHEMA
    study: str
    title: str
    paper: str
    attnaudit_version: str
    created: datetime
    quick: bool
    options: dict[str, JsonValue]
    reference: dict[str, JsonValue] = {}
    cells: tuple[CellLine, ...]
    missing: tuple[Missing, ...]
    claims: tuple[Claim, ...]


class StudyPlan(_Frozen):
    """What is asked of a study: a folder with the same plan can be resumed, and asked for more."""

    schema_version: int = STUDY_SCHEMA
    study: str
    options: dict[str, JsonValue]

    def difference(self, before: StudyPlan) -> str | None:
        """How another plan differs, in words; None where this one asks for the same and more."""
        if before.study != self.study:
            return f"the study {before.study}"
        for name, value in self.options.items():
            old = before.options.get(name)
            fine = old == value
            if isinstance(old, list) and isinstance(value, list):
                fine = all(one in value for one in old)
            if name != "device" and not fine:
                return f"{name} was {old}"
        return None
