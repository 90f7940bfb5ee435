"""The public verbs: what `import attnaudit` gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from attnaudit.attribution import LONGEST
from attnaudit.audit.explain import DEFAULT_METHODS, Explanation, explain_record
from attnaudit.audit.frame import tidy
from attnaudit.audit.held_out import Chosen, choose
from attnaudit.audit.run import AuditResult, open_audit, run_audit
from attnaudit.data.kinds import AnyDataset, Record
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import SettingsError
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.progress import Report, bars
from attnaudit.report.markdown import render_card, write_card
from attnaudit.report.page import render_frame, write_html
from attnaudit.runs.execute import watched


@dataclass(frozen=True)
class Audit(AuditResult):
    """A finished audit.

    Attributes:
        report: Everything found, as a pydantic model.
        instances: One row an instance: predictions, scores of every attribution, and what every
            check measured on it.
    """

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

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as JSON, written to `path` where one is given."""
        text = self.report.model_dump_json(indent=2)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_html(self, path: str | Path) -> Path:
        """Write one standalone HTML file."""
        return write_html(self, Path(path))

    def card(self) -> str:
        """A short Markdown card for a model card."""
        return render_card(self)

    def to_card(self, path: str | Path) -> Path:
        """Write the Markdown card."""
        return write_card(self, Path(path))

    def _repr_html_(self) -> str:
        return render_frame(self)

    def __repr__(self) -> str:
        judgement = self.report.judgement
        return f"Audit({judgement.verdict.value}: {judgement.headline} {judgement.advice})"


def audit(
    model: Model | str | Path,
    data: AnyDataset | str | Path | Any = None,
    *,
    settings: Settings | None = None,
    checks: Sequence[str] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    include_training_texts: bool = False,
    progress: Report | bool | None = None,
    **data_options: Any,
) -> Audit:
    """Check whether a model's attention weights may be shown as an explanation.

    Args:
        model: A model with the cut (`train`, `load`, `wrap`), or the folder of one.
        data: A `Dataset` or `BagDataset`, or what `resolve` takes: a file, a data frame, a
            name. None takes the test split that was held out when the model was trained and saved.
        settings: Thresholds, seed, sizes; the defaults are those of `attnaudit audit`.
        checks: Names of the checks to run; all by default.
        out: A run folder. An interrupted audit goes on there; None keeps all in memory.
        overwrite: Replace another audit in that folder.
        workers: Chunks of instances, and trainings, at a time; numbers do not depend on it.
        include_training_texts: Keep texts that the model was trained on (train or dev). By
            default they are left out, where they are known, and the report says so.
        progress: A function `(stage, done, total)`, or whether to draw bars (default: in a
            terminal).
        data_options: Passed to `resolve` where `data` is no `Dataset`.

    Returns:
        The audit: `verdict`, `findings`, `frame`, `to_html(...)`.

    Raises:
        AttnauditError: Unusable data, model, settings or folder, each with what to do.
    """
    model = model if isinstance(model, Model) else load(model)
    if not isinstance(data, Chosen):
        data = choose(model, data, include=include_training_texts, **data_options)
    settings = settings or Settings()
    if checks is not None:
        settings = Settings.model_validate({**settings.model_dump(), "checks": tuple(checks)})
    folder = Path(out) if out is not None else None
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        report = progress if callable(progress) else drawn
        result = run_audit(
            model,
            data.data,
            settings,
            out=folder,
            overwrite=overwrite,
            workers=workers,
            watch=None if report is None else watched(report),
            left_out=data.left_out,
        )
    return Audit(result.report, result.instances, result.pictures)


def open_run(folder: str | Path) -> Audit:
    """A finished audit from its run folder.

    Raises:
        RunError: The folder holds no finished audit, or a damaged one.
    """
    result = open_audit(Path(folder))
    return Audit(result.report, result.instances, result.pictures)


def explain(
    model: Model | str | Path,
    text: str | Record,
    *,
    methods: Sequence[str] | None = None,
    tokenizer: str = "words",
    seed: int = 0,
    longest: int = LONGEST,
) -> Explanation:
    """Explain one prediction by several attributions.

    Args:
        model: A model with the cut, or the folder of one.
        text: The text, or a record: of a model of bags, a bag.
        methods: Names of `METHODS`; four by default.
        tokenizer: How the text is cut into units.
        seed: Of random scores.
        longest: Units above which leave-one-out is left out, where its cost grows with their
            square.

    Raises:
        SettingsError: A bound that is not positive, an empty text, or a method that does not exist.
    """
    if longest < 1:
        raise SettingsError(f"longest={longest}: the bound must be 1 or more.")
    model = model if isinstance(model, Model) else load(model)
    record = text_record("text", text, tokenizer=tokenizer) if isinstance(text, str) else text
    if not record.units:
        raise SettingsError("the text has no words, so there is nothing to explain.")
    return explain_record(model, record, methods or DEFAULT_METHODS, seed, longest)
