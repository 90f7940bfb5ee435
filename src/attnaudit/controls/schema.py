"""What a run of controls leaves, as versioned data."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from attnaudit.findings.findings import Finding
from attnaudit.runs.stored import read_stored

CONTROLS_SCHEMA = 1


class TrainingLine(BaseModel):
    """One training as the report lists it.

    Attributes:
        name: What it is, in words.
        folder: Where its model and outputs are, in the run folder.
        strength: λ of an adversary, else None.
        epochs: How many were run; None where it failed or was trained elsewhere.
        best_epoch: The one that was kept, from 1.
        seconds: What it cost, in CPU seconds.
        failed: Why it failed, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    folder: str
    encoder: str
    attention: str
    seed: int
    strength: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    seconds: float | None = None
    failed: str | None = None


class ControlFile(BaseModel):
    """The file `findings.json` of a run of controls.

    Attributes:
        data: The name of the data.
        sizes: Records of each split.
        classes: Names of the classes.
        recipe: How the model in question is made.
        controls: Which controls were run.
        trainings: All trainings that they rest on.
        gate: Whether the model in question is good enough to say anything about.
        findings: What each control found.
        judgement: What came of all controls, in one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = CONTROLS_SCHEMA
    attnaudit_version: str
    created: datetime
    data: str
    sizes: dict[str, int]
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    controls: tuple[str, ...]
    trainings: tuple[TrainingLine, ...]
    gate: Finding
    findings: tuple[Finding, ...]
    judgement: str


def read_file(path: Path) -> ControlFile:
    """The findings of a run of controls.

    Raises:
        RunError: There are none, or they are damaged or of another schema.
    """
    return read_stored(
        path, ControlFile, CONTROLS_SCHEMA, "finished controls", "control", "controls"
    )
