"""What the verbs give back: finished runs, with the same methods for audits and studies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl
from pydantic import BaseModel

from attnaudit.audits.frame import tidy
from attnaudit.audits.result import AuditResult
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.report.files import write_text
from attnaudit.report.markdown import render_card
from attnaudit.report.page import framed, render_html
from attnaudit.studies.page import render_study, render_study_markdown
from attnaudit.studies.run import Finished
from attnaudit.studies.schema import Claim, Holds


class Run(ABC):
    """A finished run, whatever was asked: the same methods for audits and studies."""

    @property
    @abstractmethod
    def verdict(self) -> Verdict:
        """`pass`, `fail`, `inconclusive` or `not applicable`."""

    @property
    @abstractmethod
    def findings(self) -> Sequence[Finding | Claim]:
        """What each check found; of a study, what came of each claim."""

    @property
    @abstractmethod
    def frame(self) -> pl.DataFrame:
        """Every estimate as a tidy row: value, interval, sample size, null."""

    @abstractmethod
    def card(self) -> str:
        """A summary in Markdown."""

    @abstractmethod
    def html(self) -> str:
        """The report as one HTML document that loads nothing."""

    @property
    @abstractmethod
    def _stored(self) -> BaseModel: ...

    def to_json(self, path: str | Path | None = None) -> str:
        """All that was found as JSON, written to `path` where one is given."""
        text = self._stored.model_dump_json(indent=2)
        if path is not None:
            write_text(Path(path), text)
        return text

    def to_html(self, path: str | Path) -> Path:
        """Write the report, whole or not at all.

        Raises:
            RunError: The file cannot be written.
        """
        return write_text(Path(path), self.html())

    def to_card(self, path: str | Path) -> Path:
        """Write the summary in Markdown.

        Raises:
            RunError: The file cannot be written.
        """
        return write_text(Path(path), self.card())

    def _repr_html_(self) -> str:
        """The report in a frame of its own, for notebooks: its style stays inside."""
        return framed(self.html())


@dataclass(frozen=True)
class Audit(AuditResult, Run):
    """A finished audit.

    Attributes:
        report: Everything found, as a pydantic model.
        instances: One row per instance: predictions, scores of every attribution, and what every
            check measured on it.
        pictures: Tables and pictures of each check as plain data, by its name.
        frames: Further tables, such as one row per seed, by name.
    """

    @classmethod
    def of(cls, result: AuditResult) -> Self:
        """The same with the methods of every run."""
        return cls(result.report, result.instances, result.pictures, result.frames)

    @property
    def verdict(self) -> Verdict:
        """`pass`, `fail`, `inconclusive` or `not applicable`."""
        return self.report.judgement.verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What each check found, calibration rows included."""
        return self.report.findings

    @property
    def frame(self) -> pl.DataFrame:
        """Every estimate as a tidy row: value, interval, sample size, null."""
        return tidy(self.report)

    def card(self) -> str:
        """A short Markdown card for a model card."""
        return render_card(self)

    def html(self) -> str:
        """The report as one HTML document that loads nothing."""
        return render_html(self)

    @property
    def _stored(self) -> BaseModel:
        return self.report

    def __repr__(self) -> str:
        judgement = self.report.judgement
        return f"Audit({judgement.verdict.value}: {judgement.headline} {judgement.advice})"


@dataclass(frozen=True)
class StudyRun(Finished, Run):
    """A finished study.

    Attributes:
        report: Everything found, as a pydantic model.
        results: The cells behind it.
    """

    @classmethod
    def of(cls, finished: Finished) -> Self:
        """The same with the methods of every run."""
        return cls(finished.report, finished.results)

    @property
    def verdict(self) -> Verdict:
        """`pass` where every claim that was measured holds, `fail` where one does not."""
        answers = {claim.holds for claim in self.report.claims}
        if Holds.NO in answers:
            return Verdict.FAIL
        if Holds.UNDECIDED in answers:
            return Verdict.INCONCLUSIVE
        return Verdict.PASS if Holds.YES in answers else Verdict.NOT_APPLICABLE

    @property
    def findings(self) -> tuple[Claim, ...]:
        """What came of each claim of the paper."""
        return self.report.claims

    @property
    def frame(self) -> pl.DataFrame:
        """Every estimate of every cell as a tidy row."""
        return self.results.frame

    def card(self) -> str:
        """The claims and tables in Markdown."""
        return render_study_markdown(self)

    def html(self) -> str:
        """The page as one HTML document that loads nothing."""
        return render_study(self)

    @property
    def _stored(self) -> BaseModel:
        return self.report
