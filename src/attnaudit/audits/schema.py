"""What a run folder holds, as versioned data."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings

SCHEMA_VERSION = 3


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFacts(_Frozen):
    """Which model was audited.

    Attributes:
        partial: The weights are those of a site in a transformer, one of many ways to the output.
    """

    name: str
    kind: str
    fingerprint: str
    classes: tuple[str, ...] = ()
    partial: bool = False


class DataFacts(_Frozen):
    """On which data.

    Attributes:
        splits: Fingerprints of the splits that were trained or fitted on, by name.
        trained_on: How many of these records the model was trained on, as far as that is known.
        left_out: How many more there were, left out because the model was trained on them.
        reads: `texts`, `bags` or `pairs`: what the records are.
    """

    name: str
    split: str
    fingerprint: str
    instances: int
    class_counts: dict[str, int] = {}
    mean_length: float
    has_truth: bool = False
    splits: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    trained_on: int = 0
    left_out: int = 0
    reads: str = "texts"

    @property
    def title(self) -> str:
        """Name and split in words."""
        return f"{self.name}, {self.split}" if self.split else self.name


class Plan(_Frozen):
    """What is asked: a folder with the same plan can be resumed, and asked for more checks.

    Attributes:
        checks: Names of the checks.
        about: What else decides the numbers, by name: a recipe, a network, a reference.
    """

    schema_version: int = SCHEMA_VERSION
    attnaudit_version: str
    model: ModelFacts
    data: DataFacts
    settings: Settings
    checks: tuple[str, ...]
    about: dict[str, JsonValue] = {}

    def difference(self, before: Plan) -> str | None:
        """How another plan differs, in words; None where this one asks for the same and more.

        The token budget is left out: it changes speed and memory, never results. So is what is
        merely said of the data, whose fingerprint tells the records. Seeds may be added.
        """
        # data first: the classes that a model is fitted to are those of its data
        old, new = before.data, self.data
        if (old.fingerprint, old.splits) != (new.fingerprint, new.splits):
            return f"of the data {old.name!r} ({old.instances} instances)"
        if before.model.fingerprint != self.model.fingerprint:
            return f"of the model {before.model.name!r} ({before.model.fingerprint[:8]})"
        changed = _changed(_settings(before), _settings(self)) or _changed(before.about, self.about)
        if changed:
            return f"with other settings ({', '.join(changed)})"
        gone = sorted({*before.settings.seeds.which} - {*self.settings.seeds.which})
        if gone:
            return f"with {len(gone)} seeds that are not asked for now, such as {gone[0]}"
        left = [name for name in before.checks if name not in self.checks]
        if left:
            return f"with checks that are not asked for now ({', '.join(left)})"
        return None


def _settings(plan: Plan) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = plan.settings.model_dump(
        mode="json",
        exclude={
            "token_budget": True,
            "checks": True,
            "seeds": {"which", "at_once"},
            "pairs": {"token_budget"},
        },
    )
    return found


def _changed(old: dict[str, JsonValue], new: dict[str, JsonValue]) -> list[str]:
    return [f"{key} was {old.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]


class Reason(_Frozen):
    """One sentence of the judgement, tied to the finding it rests on."""

    check: str
    verdict: Verdict
    sentence: str


class Judgement(_Frozen):
    """The answer of an audit: may this be shown as an explanation?

    Attributes:
        verdict: `not applicable` where the model is not good enough, or there is nothing to show.
        asked: The verdict of the checks that were run, whether or not others are needed.
        headline: The answer in one sentence.
        reasons: What decided it.
        cautions: What to keep in mind all the same.
        recommended: The attribution to show instead, if one is clearly more faithful.
        advice: What to do next, in one sentence.
        record: How often such a verdict was right on models whose right answer is known.
    """

    verdict: Verdict
    asked: Verdict
    headline: str
    reasons: tuple[Reason, ...]
    cautions: tuple[str, ...] = ()
    recommended: str | None = None
    advice: str
    record: str = ""


class CellLine(_Frozen):
    """A cell as the report lists it.

    Attributes:
        place: Its folder in the run folder.
        seconds: CPU seconds.
        facts: What it says of itself.
    """

    name: str
    place: str
    status: Literal["done", "failed"]
    reason: str | None = None
    seconds: float = 0.0
    facts: dict[str, JsonValue] = {}


class AuditReport(_Frozen):
    """The findings of an audit: `findings.json`.

    Attributes:
        plan: What was asked.
        created: When the audit was finished.
        seconds: CPU seconds of all cells, those of stopped calls included.
        performance: The gate.
        findings: What each check found, calibration rows included.
        judgement: The answer.
        cells: What was computed, and where it lies.
    """

    schema_version: int = SCHEMA_VERSION
    plan: Plan
    created: datetime
    seconds: float
    performance: Finding
    findings: tuple[Finding, ...]
    judgement: Judgement
    cells: tuple[CellLine, ...] = ()
