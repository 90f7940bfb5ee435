"""What a run folder holds, as versioned data."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings

SCHEMA_VERSION = 2


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFacts(_Frozen):
    """Which model was audited."""

    name: str
    kind: str
    fingerprint: str
    classes: tuple[str, ...]


class DataFacts(_Frozen):
    """On which data.

    Attributes:
        trained_on: How many of these texts the model was trained on, as far as that is known.
        left_out: How many more there were, left out because the model was trained on them.
        reads: `texts` or `bags`: what the records are.
    """

    name: str
    split: str
    fingerprint: str
    instances: int
    class_counts: dict[str, int]
    mean_length: float
    has_truth: bool
    notes: tuple[str, ...] = ()
    trained_on: int = 0
    left_out: int = 0
    reads: str = "texts"


class Plan(_Frozen):
    """All that decides the numbers: a folder with the same plan can be resumed.

    Attributes:
        code: A hash of the source files that decide the numbers: in a checkout they change while
            the version stays.
    """

    schema_version: int = SCHEMA_VERSION
    attnaudit_version: str
    code: str = ""
    model: ModelFacts
    data: DataFacts
    settings: Settings

    def same_work(self, other: Plan) -> bool:
        """Whether finished instances of the other plan can be used for this one.

        The token budget is left out: it changes speed and memory, never results. So is what is
        merely said of the data, whose fingerprint tells the texts.
        """
        said = {"notes", "trained_on", "left_out"}
        mine, theirs = (
            plan.model_dump(exclude={"settings": {"token_budget"}, "data": said})
            for plan in (self, other)
        )
        return mine == theirs


class Reason(_Frozen):
    """One sentence of the judgement, tied to the finding it rests on."""

    check: str
    verdict: Verdict
    sentence: str


class Judgement(_Frozen):
    """The audit's answer: may these weights be shown as an explanation?

    Attributes:
        verdict: `not applicable` where the model is not good enough, or there is nothing to show.
        headline: The answer in one sentence.
        reasons: What decided it.
        cautions: What to keep in mind all the same.
        recommended: The attribution to show instead, if one is clearly more faithful.
        advice: What to do next, in one sentence.
    """

    verdict: Verdict
    headline: str
    reasons: tuple[Reason, ...]
    cautions: tuple[str, ...] = ()
    recommended: str | None = None
    advice: str


class AuditReport(_Frozen):
    """An audit's findings: `findings.json`.

    Attributes:
        plan: All that decides the numbers.
        created: When the audit was finished.
        seconds: What it took, the work of stopped calls included.
        performance: The gate.
        findings: What each check found, calibration rows included.
        judgement: The answer.
    """

    plan: Plan
    created: datetime
    seconds: float
    performance: Finding
    findings: tuple[Finding, ...]
    judgement: Judgement
