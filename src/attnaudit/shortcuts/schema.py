"""What a shortcut check leaves, as versioned data."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from attnaudit.errors import SettingsError
from attnaudit.findings.findings import Finding
from attnaudit.runs.stored import read_stored
from attnaudit.shortcuts.settings import ShortcutSettings

SHORTCUT_SCHEMA = 1


class ShortcutVerdict(StrEnum):
    """What a shortcut check says of a model."""

    CLEAN = "clean"
    LEAKS = "leaks"
    RELIES = "relies on the leak"
    UNCERTAIN = "not certain"
    POOR = "not good enough to audit"


class ShortcutReport(BaseModel):
    """The file `findings.json` of a shortcut check.

    Attributes:
        model: Its name.
        fingerprint: Of the model.
        data: The name of the data.
        sizes: Records of each split; those of `test` are the ones that were read.
        classes: Names of the classes.
        settings: All that was decided beforehand.
        default_units: Tokens that stand in every record and mean nothing.
        verdict: See `ShortcutVerdict`.
        sentence: What a person reads.
        gate: Whether the model is good enough to say anything about.
        findings: `leak`, `weights_only`, `swaps`, `gap`.
        seconds: CPU seconds of each part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SHORTCUT_SCHEMA
    attnaudit_version: str
    created: datetime
    model: str
    fingerprint: str
    data: str
    sizes: dict[str, int]
    classes: tuple[str, ...]
    settings: ShortcutSettings
    default_units: tuple[str, ...] = ()
    verdict: ShortcutVerdict
    sentence: str
    gate: Finding
    findings: tuple[Finding, ...]
    seconds: dict[str, float]

    def finding(self, check: str) -> Finding:
        """The finding of one check.

        Raises:
            SettingsError: There is none of that name.
        """
        for finding in self.findings:
            if finding.check == check:
                return finding
        names = ", ".join(finding.check for finding in self.findings)
        raise SettingsError(f"no finding is called {check!r}; there are: {names}")

    @property
    def frame(self) -> pl.DataFrame:
        """Every estimate as a tidy row."""
        rows = [
            {"check": finding.check, "verdict": finding.verdict.value, **estimate.model_dump()}
            for finding in (self.gate, *self.findings)
            for estimate in finding.estimates
        ]
        return pl.DataFrame(rows, infer_schema_length=None)


def read_shortcuts(path: Path) -> ShortcutReport:
    """The findings of a shortcut check.

    Raises:
        RunError: There are none, or they are damaged or of another schema.
    """
    return read_stored(path, ShortcutReport, SHORTCUT_SCHEMA, "shortcut check", "shortcut", "check")
