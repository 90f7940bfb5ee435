"""One cell: the base model, all that is trained beside it, and Jain & Wallace's search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from attnaudit.audits.plan import facts_of
from attnaudit.audits.result import AuditResult
from attnaudit.audits.run import run_audit
from attnaudit.data.records import Dataset
from attnaudit.evidence.trainings.calibration import TABLE, calibration_of
from attnaudit.evidence.trainings.design import Recipe
from attnaudit.findings.estimates import average, by_max_weight, values_of
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings, TrainingSettings
from attnaudit.models.text.model import load_classifier
from attnaudit.runs.cell import Outcome
from attnaudit.runs.engine import Event
from attnaudit.runs.execute import Watch
from attnaudit.studies.declaration import Cell, Place
from attnaudit.studies.jain2019.measure import HINGE
from attnaudit.studies.schema import Spec
from attnaudit.studies.texts import audited, notes_of, splits_for, under_checks
from attnaudit.training.options import TrainOptions

CONTROLS_FOLDER = "controls"
BASE, MODEL = "base", "model"
SAID = {"subject", "verdict", "sentence"}
SEARCH = "search"
"""The subject of what Jain & Wallace's adversary reaches, instance by instance."""


def measure(cell: Cell, place: Place) -> Outcome:
    """Train what the controls need, then set the search on the base model beside it.

    Every training is stored in the cell's folder as it ends, and so is the search: an interrupted
    cell goes on where it stopped.

    Raises:
        AttnauditError: Data or folder cannot be used, or the base model could not be trained.
    """
    spec = cell.spec
    splits = splits_for(spec, place)
    settings = Settings(
        seed=spec["seed"],
        checks=tuple(spec["controls"]),
        trainings=TrainingSettings(
            seeds=spec["other_seeds"],
            replacements=tuple(spec["replacements"]),
            lambdas=tuple(spec["lambdas"]),
            adversary_epochs=spec["adversary_epochs"],
            adversary_patience=spec["adversary_patience"],
        ),
    )
    recipe = _recipe(spec)
    about = {"recipe": recipe.about()}
    found = run_audit(
        facts_of(recipe.name, about, splits["test"].classes),
        splits["test"],
        settings,
        splits=splits,
        parts=(recipe,),
        about=about,
        out=place.folder / CONTROLS_FOLDER,
        device=place.device,
        watch=_watched(place),
    )
    findings = (found.report.performance, *found.report.findings)
    rows = [*under_checks(findings), *_of_seeds(found, settings)]
    if spec["search"]:
        rows += _of_search(_searched(found, splits["test"], spec, place), found, settings)
    return Outcome(rows, _facts(found, splits), _notes(found, splits))


def _watched(place: Place) -> Watch:
    """What tells the watcher of a cell of its trainings, by their names."""

    def watch(event: Event) -> None:
        if event.kind == "progress":
            place.progress(event.cell.name, event.done, event.total)

    return watch


def _recipe(spec: Spec) -> Recipe:
    options = TrainOptions(
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        min_df=spec["min_df"],
        learning_rate=spec["learning_rate"],
        seed=spec["seed"],
    )
    return Recipe(
        spec["encoder"],
        spec["attention"],
        spec["hidden"],
        spec["embedding_dim"],
        vectors=spec.get("vectors"),
        options=options,
    )


def _of_seeds(found: AuditResult, settings: Settings) -> Iterator[Estimate]:
    """The mean output change between seeds, by the largest weight."""
    frame = found.frames[TABLE]
    names = [c for c in frame.columns if c.startswith("seed ") and c.endswith("/tvd")]
    if names and "seeds" in found.report.plan.checks:
        for name, part in by_max_weight(frame):
            if len(part):
                yield average(
                    part.select(names).to_numpy().mean(1),
                    settings,
                    group=name,
                    statistic="mean_tvd",
                    subject="seeds/output",
                )


def base_folder(found: AuditResult, folder: Path) -> Path:
    """Where the base model of a run is stored."""
    return folder / next(c.place for c in found.report.cells if c.name == BASE) / MODEL


def best_adversary(found: AuditResult) -> str | None:
    """The trained adversary that the check judged: the largest divergence that it accepts."""
    for finding in found.report.findings:
        if finding.check == "trained_adversary":
            return next(
                (e.subject for e in finding.estimates if e.statistic == "beyond_seeds_share"), None
            )
    return None


def _searched(found: AuditResult, data: Dataset, spec: Spec, place: Place) -> pl.DataFrame:
    """The published search on the base model: `id`, `search_jsd` and `search_tvd`."""
    settings = Settings(
        seed=spec["seed"],
        checks=("adversary",),
        search=True,
        search_hinge=HINGE,
        costly_limit=1,  # the other adversaries are not looked at
    )
    model = load_classifier(base_folder(found, place.folder / CONTROLS_FOLDER)).to(place.device)
    result = audited(model, data, settings, place)
    return result.instances.select(
        "id", search_jsd="adversary/search_jsd", search_tvd="adversary/search_tvd"
    )


def _of_search(
    searched: pl.DataFrame, found: AuditResult, settings: Settings
) -> Iterator[Estimate]:
    """What the search reaches, and by how much it surpasses seeds and trained adversary."""
    frame = found.frames[TABLE].join(searched, on="id", how="left", maintain_order="left")
    jsd = values_of(frame, "search_jsd")
    for name, part in (("all", frame), *by_max_weight(frame)):
        if len(part):
            reached = values_of(part, "search_jsd")
            yield average(reached, settings, statistic="mean_jsd", subject=SEARCH, group=name)
    yield average(values_of(frame, "search_tvd"), settings, statistic="mean_tvd", subject=SEARCH)
    others = {}
    if "seeds" in found.report.plan.checks:
        others["seeds"] = np.median(calibration_of(frame).jsd, axis=1)
    best = best_adversary(found)
    if best is not None:
        others["trained"] = values_of(frame, f"{best}/jsd")
    for name, other in others.items():
        subject = f"{SEARCH} - {name}"
        yield average(jsd - other, settings, statistic="jsd_difference", subject=subject, null=0.0)


def _facts(found: AuditResult, splits: dict[str, Dataset]) -> dict[str, Any]:
    return {
        "sizes": {name: len(part) for name, part in splits.items()},
        "classes": len(splits["test"].classes),
        "gate": found.report.performance.verdict.value,
        "findings": [
            {"control": f.check, **f.model_dump(mode="json", include=SAID)}
            for f in found.report.findings
        ],
        "best_adversary": best_adversary(found),
        "trainings": {
            cell.name: {
                "epochs": cell.facts.get("epochs"),
                "best_epoch": cell.facts.get("best_epoch"),
                "seconds": cell.seconds,
                "failed": cell.reason,
            }
            for cell in found.report.cells
        },
    }


def _notes(found: AuditResult, splits: dict[str, Dataset]) -> list[str]:
    failed = [
        f"training {cell.name!r} failed: {cell.reason}"
        for cell in found.report.cells
        if cell.reason is not None
    ]
    return failed + notes_of(splits)
