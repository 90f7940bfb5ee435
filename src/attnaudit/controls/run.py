"""Controls from data and recipe to findings: train what is needed, compare, judge, store."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from attnaudit.checks.declaration import Facts
from attnaudit.checks.performance import conclude_performance
from attnaudit.checks.seeds import finished as seeds_of
from attnaudit.checks.seeds import per_instance
from attnaudit.controls.registry import CONTROLS
from attnaudit.controls.schema import ControlFile, TrainingLine, read_file
from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.trainings.base import base_of
from attnaudit.evidence.trainings.calibration import INSTANCES
from attnaudit.evidence.trainings.design import (
    ADVERSARY_EPOCHS,
    LAMBDAS,
    SEEDS,
    Design,
    Recipe,
    with_needs,
)
from attnaudit.evidence.trainings.results import Bars, Results
from attnaudit.evidence.trainings.work import Work, prepare_work, run_work
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.models.text.model import TextClassifier, load_classifier
from attnaudit.progress import Report, bars
from attnaudit.runs.disk import read_sure, write_noted
from attnaudit.runs.folders import check_run, plan_hash
from attnaudit.training.evaluation import check_labels
from attnaudit.training.text import Splits
from attnaudit.version import __version__

if TYPE_CHECKING:
    from attnaudit.studies.executor import Event, Watch

FINDINGS = "findings.json"


@dataclass(frozen=True)
class ControlReport:
    """What the controls found.

    Attributes:
        report: Everything found, as a pydantic model; stored as `findings.json`.
        instances: One row a test instance, see `Results.instances`; and where other seeds were
            trained, `seeds/median_jsd` and `seeds/mean_tvd`. Stored as `instances.parquet`.
    """

    report: ControlFile
    instances: pl.DataFrame

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One or more a control."""
        return self.report.findings

    @property
    def judgement(self) -> str:
        """What came of all controls, in one sentence."""
        return self.report.judgement

    @property
    def frame(self) -> pl.DataFrame:
        """Every estimate as a tidy row: control, value, interval, sample size, null."""
        rows = [
            {
                "control": finding.check,
                "judged": finding.subject,
                "verdict": finding.verdict.value,
                **estimate.model_dump(),
            }
            for finding in (self.report.gate, *self.findings)
            for estimate in finding.estimates
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def finding(self, control: str, subject: str | None = None) -> Finding:
        """The finding of a control: its first, or the one about `subject`.

        Raises:
            SettingsError: That control was not run, or has no such subject.
        """
        for finding in self.findings:
            if finding.check == control and subject in (None, finding.subject):
                return finding
        raise SettingsError(f"there is no finding of the control {control!r} about {subject!r}")


def run_controls(
    splits: Splits,
    recipe: Recipe | None = None,
    controls: Sequence[str] | None = None,
    *,
    base: TextClassifier | str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    seed: int | None = None,
    seeds: int = SEEDS,
    repeats: int = 1,
    lambdas: Sequence[float] = LAMBDAS,
    adversary_epochs: int = ADVERSARY_EPOCHS,
    settings: Settings | None = None,
    limits: Bars | None = None,
    progress: Report | bool | None = None,
) -> ControlReport:
    """Train a model again with one thing changed, and say what that tells of its weights.

    Args:
        splits: `train`, `dev` and `test`, labelled; `load_splits` gives them.
        recipe: How the model in question is made; that of `base` by default.
        controls: Names of `CONTROLS`; all by default.
        base: The model in question, where it is trained already: a model, or its folder. How it
            differs from the recipe, or may, is said in the notes of the report's `gate`.
        out: A folder. Every training is stored there as it ends, and what is finished is not
            trained again; None keeps nothing.
        overwrite: Replace the findings of other data or another recipe in that folder.
        workers: Trainings at a time. Numbers do not depend on it.
        seed: Of the base training and of resamples; those of recipe and settings by default.
        seeds: Further seeds.
        repeats: Seeds with which replacements are compared.
        lambdas: Strengths of the trained adversary.
        adversary_epochs: Most epochs of the trained adversary.
        settings: Confidence, resamples, and the thresholds shared with the audit.
        limits: The thresholds of the controls.
        progress: A function `(stage, done, total)`, or whether to draw bars.

    Raises:
        AttnauditError: Unusable data, options or folder. A training that fails raises nothing:
            what rests on it is `not applicable`.
    """
    if recipe is None:
        if base is None:
            raise SettingsError("give a recipe, or a base model that has one")
        recipe = recipe_of(base if isinstance(base, TextClassifier) else load_classifier(base))
    settings = settings or Settings()
    if seed is not None:
        recipe = replace(recipe, options=replace(recipe.options, seed=seed))
        settings = settings.model_copy(update={"seed": seed})
    design = Design(
        recipe,
        seeds=seeds,
        repeats=repeats,
        lambdas=tuple(lambdas),
        adversary_epochs=adversary_epochs,
    )
    with contextlib.ExitStack() as stack:
        folder = out or stack.enter_context(tempfile.TemporaryDirectory(prefix="attnaudit-"))
        work = prepare_controls(splits, design, controls, folder, base=base, overwrite=overwrite)
        shown = progress if isinstance(progress, bool) else None
        report = progress if callable(progress) else stack.enter_context(bars(shown))
        watch = None if report is None else watched(report, len(work.waiting))
        return finish_controls(
            work, controls, workers=workers, settings=settings, limits=limits, watch=watch
        )


def recipe_of(model: TextClassifier) -> Recipe:
    """The recipe of a model of ours, with default training options.

    Raises:
        SettingsError: Its attention is not learned.
    """
    config = model.net.config
    return Recipe(config.encoder, config.attention, config.hidden, config.embedding_dim)


def prepare_controls(
    splits: Splits,
    design: Design,
    controls: Sequence[str] | None,
    out: str | Path,
    *,
    base: TextClassifier | str | Path | None = None,
    overwrite: bool = False,
) -> Work:
    """What has to be trained, and what of it is finished; runs nothing.

    Raises:
        DataError: A split is missing or unlabelled, or has one class only; or the base model was
            trained on test texts.
        SettingsError: No such control, or a base model of another network.
        RunError: The folder holds something else, or controls of other data or another recipe.
    """
    names = chosen(controls)
    for split, what in (("train", "training"), ("dev", "development"), ("test", "test")):
        _check(splits, split, what)
    recipe = asdict(design.recipe)
    del recipe["options"]["device"]
    plan = plan_hash(
        [splits[name].fingerprint for name in ("train", "dev", "test")],
        recipe,
        base if isinstance(base, str | Path) else None if base is None else base.fingerprint(),
    )
    check_run(Path(out), "control", plan=plan, overwrite=overwrite)
    model, cautions = (None, ()) if base is None else base_of(base, design.recipe, splits)
    wanted = {t.name: t for name in names for t in CONTROLS[name].trainings(design)}
    trainings = with_needs({design.base.name: design.base} | wanted)
    return prepare_work(splits, design, trainings, Path(out), model, cautions, plan)


def finish_controls(
    work: Work,
    controls: Sequence[str] | None = None,
    *,
    workers: int = 1,
    settings: Settings | None = None,
    limits: Bars | None = None,
    watch: Watch | None = None,
) -> ControlReport:
    """Run the trainings of `prepare_controls`, then conclude and store everything.

    Raises:
        RunError: The folder cannot be used, or the base model could not be trained.
        SettingsError: No such control, or `workers` is below 1.
    """
    names, settings = chosen(controls), settings or Settings()
    if workers < 1:
        raise SettingsError(f"workers is {workers}; it must be 1 or more")
    done, failed = run_work(work, workers, watch)
    outputs = {
        name: found
        for name in work.trainings
        if name in done and (found := work.outputs(name)) is not None
    }
    base = work.design.base.name
    if base not in outputs:
        reason = failed.get(base, "its outputs cannot be read")
        raise DataError(f"the model itself could not be trained: {reason}")
    test = work.splits["test"]
    gate = _gate(test, outputs[base].probabilities, settings)
    gate = gate.model_copy(update={"notes": (*gate.notes, *work.cautions)})
    results = Results(work.design, test, outputs, failed, settings, limits or Bars(), gate)
    findings = [finding for name in names for finding in CONTROLS[name].conclude(results)]
    report = ControlReport(_file(work, results, names, findings, done), _instances(results))
    _store(work.store.folder, report)
    return report


def open_controls(folder: str | Path) -> ControlReport:
    """What a finished run of controls has stored.

    Raises:
        RunError: The folder holds none, or a damaged one.
    """
    folder = Path(folder)
    report = read_file(folder / FINDINGS)
    rows = read_sure(folder / INSTANCES, folder, "instances", "Run the controls again.")
    return ControlReport(report, pl.read_parquet(io.BytesIO(rows)))


def watched(report: Report, trainings: int) -> Watch:
    """What tells a progress function of trainings."""
    ended = 0

    def watch(event: Event) -> None:
        nonlocal ended
        if event.kind == "progress":
            report(event.cell.name, event.done, event.total)
        elif event.record is not None:
            ended += 1
            report("trainings", ended, trainings)

    return watch


def chosen(controls: Sequence[str] | None) -> tuple[str, ...]:
    """Names of controls, all of them by default, each once.

    Raises:
        SettingsError: No such control.
    """
    unknown = [name for name in controls or () if name not in CONTROLS]
    if unknown or (controls is not None and not controls):
        wrong = f"no control is called {unknown[0]!r}" if unknown else "no control was asked for"
        raise SettingsError(f"{wrong}; there are: {', '.join(CONTROLS)}")
    return tuple(dict.fromkeys(controls)) if controls else tuple(CONTROLS)


def judged(findings: Sequence[Finding]) -> str:
    """What came of all controls, in one sentence: the first finding of each speaks for it."""
    first: dict[str, Verdict] = {}
    for finding in findings:
        first.setdefault(finding.check, finding.verdict)
    said = "; ".join(CONTROLS[name].says[verdict] for name, verdict in first.items())
    return f"{said[0].upper()}{said[1:]}."


def _check(splits: Splits, split: str, what: str) -> None:
    if split not in splits:
        raise DataError(
            f"there is no split {split!r}: controls train on train, choose on dev and compare on "
            "test; load_splits and split_dataset cut data into all three"
        )
    data = splits[split]
    check_labels(data.records, data.classes, what, several=True)


def _gate(data: Dataset, probabilities: np.ndarray, settings: Settings) -> Finding:
    """Whether the base model is good enough to say anything about."""
    columns = pl.DataFrame(probabilities)
    frame = columns.rename({c: f"probability.{i}" for i, c in enumerate(columns.columns)})
    frame = frame.with_columns(
        pl.Series("label", [record.label for record in data]),
        pl.concat_list(pl.all()).list.arg_max().cast(pl.Int64).alias("predicted"),
    )
    return conclude_performance(frame, Facts(data.classes, settings))


def _file(
    work: Work,
    results: Results,
    names: Sequence[str],
    findings: list[Finding],
    done: Mapping[str, object],
) -> ControlFile:
    recipe = work.design.recipe
    return ControlFile(
        attnaudit_version=__version__,
        created=datetime.now(UTC),
        data=results.data.name,
        sizes={name: len(work.splits[name]) for name in ("train", "dev", "test")},
        classes=tuple(results.data.classes),
        recipe={
            "encoder": recipe.encoder,
            "attention": recipe.attention,
            "hidden": recipe.hidden,
            "embedding_dim": recipe.embedding_dim,
            "vectors": None if recipe.vectors is None else str(recipe.vectors),
            **asdict(recipe.options),
        },
        controls=tuple(names),
        trainings=tuple(_lines(work, results, done)),
        gate=results.gate,
        findings=tuple(findings),
        judgement=judged(findings),
    )


def _instances(results: Results) -> pl.DataFrame:
    """The instances, with what the seeds say of each where there are any."""
    if not seeds_of(results):
        return results.instances
    found = per_instance(results)
    return results.instances.with_columns(
        found[name].alias(f"seeds/{name}") for name in ("median_jsd", "mean_tvd")
    )


def _lines(work: Work, results: Results, done: Mapping[str, object]) -> Iterator[TrainingLine]:
    for name, training in work.trainings.items():
        record = done.get(name)
        facts = getattr(record, "facts", {})
        yield TrainingLine(
            name=name,
            folder=f"cells/{work.cells[name].folder(work.study)}",
            encoder=training.encoder,
            attention=training.attention,
            seed=training.options.seed,
            strength=training.strength if training.against is not None else None,
            epochs=facts.get("epochs"),
            best_epoch=facts.get("best_epoch"),
            seconds=getattr(record, "seconds", None),
            failed=results.failed.get(name),
        )


def _store(folder: Path, report: ControlReport) -> None:
    content = io.BytesIO()
    report.instances.write_parquet(content)
    write_noted(folder / INSTANCES, content.getvalue(), folder)
    content = io.BytesIO()
    report.frame.write_parquet(content)
    write_noted(folder / "estimates.parquet", content.getvalue(), folder)
    text = report.report.model_dump_json(indent=2)
    write_noted(folder / FINDINGS, text.encode(), folder)
