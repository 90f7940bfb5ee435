"""One cell: the base model, all that is trained beside it, and Jain & Wallace's search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from attnaudit.audit.plan import facts_of
from attnaudit.audit.run import AuditResult, run_audit
from attnaudit.data.records import Dataset
from attnaudit.errors import RunError
from attnaudit.evidence.trainings.calibration import TABLE, calibration_of
from attnaudit.evidence.trainings.design import Recipe
from attnaudit.findings.estimates import average, by_max_weight, values_of
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings, TrainingSettings
from attnaudit.models.text.model import load_classifier
from attnaudit.runs.engine import Event
from attnaudit.runs.execute import Watch, watched
from attnaudit.studies.declaration import Cell, Outcome, Place
from attnaudit.studies.jain2019.measure import HINGE
from attnaudit.studies.sources import splits_of
from attnaudit.training.text_loop import TrainOptions

CONTROLS_FOLDER, AUDIT_FOLDER = "controls", "audit"
BASE, MODEL = "base", "model"
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
    splits = splits_of(
        spec["data"], place.data_dir, spec["train_limit"], spec["test_limit"], **spec["reading"]
    )
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
    rows = [*_of_controls(found), *_of_seeds(found, settings)]
    if spec["search"]:
        rows += _of_search(_searched(found, splits["test"], spec, place), found, settings)
    return Outcome(rows, _facts(found, splits), _notes(found, splits))


def _watched(place: Place) -> Watch:
    """What tells the watcher of a cell of its trainings, by their names."""

    def watch(event: Event) -> None:
        if event.kind == "progress":
            place.progress(event.cell.name, event.done, event.total)

    return watch


def _recipe(spec: Any) -> Recipe:
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


def _of_controls(found: AuditResult) -> Iterator[Estimate]:
    """Every estimate, its subject after the name of its check: checks share some subjects."""
    seen: set[tuple[str, str, str]] = set()
    for finding in (found.report.performance, *found.report.findings):
        for estimate in finding.estimates:
            row = estimate.model_copy(update={"subject": f"{finding.check}/{estimate.subject}"})
            key = (row.statistic, row.subject, row.group)
            if key not in seen:
                seen.add(key)
                yield row


def _of_seeds(found: AuditResult, settings: Settings) -> Iterator[Estimate]:
    """The mean output change between seeds, by the largest weight."""
    frame = found.tables[TABLE]
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


def _searched(found: AuditResult, data: Dataset, spec: Any, place: Place) -> pl.DataFrame:
    """The published search on the base model: `id`, `search_jsd` and `search_tvd`."""
    settings = Settings(
        seed=spec["seed"],
        checks=("adversary",),
        search=True,
        search_hinge=HINGE,
        costly_limit=1,  # the other adversaries are not looked at
    )
    model = load_classifier(base_folder(found, place.folder / CONTROLS_FOLDER)).to(place.device)
    folder = place.folder / AUDIT_FOLDER
    try:
        result = run_audit(model, data, settings, out=folder, watch=watched(place.progress))
    except RunError:
        # begun by other code: start afresh
        result = run_audit(
            model,
            data,
            settings,
            out=folder,
            watch=watched(place.progress),
            overwrite=True,
        )
    return result.instances.select(
        "id", search_jsd="adversary/search_jsd", search_tvd="adversary/search_tvd"
    )


def _of_search(
    searched: pl.DataFrame, found: AuditResult, settings: Settings
) -> Iterator[Estimate]:
    """What the search reaches, and by how much it surpasses seeds and trained adversary."""
    frame = found.tables[TABLE].join(searched, on="id", how="left", maintain_order="left")
    jsd = values_of(frame, "search_jsd")
    for name, part in (("all", frame), *by_max_weight(frame)):
        if len(part):
            yield average(
                values_of(part, "search_jsd"),
                settings,
                statistic="mean_jsd",
                subject=SEARCH,
                group=name,
            )
    yield average(values_of(frame, "search_tvd"), settings, statistic="mean_tvd", subject=SEARCH)
    if "seeds" in found.report.plan.checks:
        seeds = np.median(calibration_of(frame).jsd, axis=1)
        yield average(
            jsd - seeds, settings, statistic="jsd_difference", subject=f"{SEARCH} - seeds", null=0.0
        )
    best = best_adversary(found)
    if best is not None:
        yield average(
            jsd - values_of(frame, f"{best}/jsd"),
            settings,
            statistic="jsd_difference",
            subject=f"{SEARCH} - trained",
            null=0.0,
        )


def _facts(found: AuditResult, splits: dict[str, Dataset]) -> dict[str, Any]:
    return {
        "sizes": {name: len(part) for name, part in splits.items()},
        "classes": len(splits["test"].classes),
        "gate": found.report.performance.verdict.value,
        "findings": [
            {
                "control": f.check,
                "subject": f.subject,
                "verdict": f.verdict.value,
                "sentence": f.sentence,
            }
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
    return failed + [f"{name}: {note}" for name, part in splits.items() for note in part.notes]
