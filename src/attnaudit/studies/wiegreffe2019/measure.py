"""One cell: the base model, all that the controls train beside it, and Jain & Wallace's search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from attnaudit.audit.audit import run_audit
from attnaudit.controls.run import ControlReport, finish_controls, prepare_controls, watched
from attnaudit.data.records import Dataset
from attnaudit.errors import RunError
from attnaudit.evidence.trainings.calibration import read_calibration
from attnaudit.evidence.trainings.design import Design, Recipe
from attnaudit.findings.estimates import average, by_max_weight, values_of
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.models.text.model import load_classifier
from attnaudit.studies.declaration import Cell, Outcome, Place
from attnaudit.studies.jain2019.measure import HINGE
from attnaudit.studies.sources import splits_of
from attnaudit.training.options import TrainOptions

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
    settings = Settings(seed=spec["seed"])
    folder = place.folder / CONTROLS_FOLDER
    work = prepare_controls(splits, _design(spec, place.device), spec["controls"], folder)
    report = finish_controls(
        work,
        spec["controls"],
        settings=settings,
        watch=watched(place.progress, len(work.waiting)),
    )
    rows = [*_of_controls(report), *_of_seeds(report, settings)]
    if spec["search"]:
        found = _searched(report, splits["test"], spec, place)
        rows += _of_search(found, report, folder, settings)
    return Outcome(rows, _facts(report, splits), _notes(report, splits))


def _design(spec: Any, device: str) -> Design:
    options = TrainOptions(
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        min_df=spec["min_df"],
        learning_rate=spec["learning_rate"],
        seed=spec["seed"],
        device=device,
    )
    recipe = Recipe(
        spec["encoder"],
        spec["attention"],
        spec["hidden"],
        spec["embedding_dim"],
        vectors=spec.get("vectors"),
        options=options,
    )
    return Design(
        recipe,
        seeds=spec["other_seeds"],
        replacements=tuple(spec["replacements"]),
        lambdas=tuple(spec["lambdas"]),
        adversary_epochs=spec["adversary_epochs"],
        adversary_patience=spec["adversary_patience"],
    )


def _of_controls(report: ControlReport) -> Iterator[Estimate]:
    """Every estimate, its subject after the name of its control: controls share some subjects."""
    seen: set[tuple[str, str, str]] = set()
    for finding in (report.report.gate, *report.findings):
        for estimate in finding.estimates:
            row = estimate.model_copy(update={"subject": f"{finding.check}/{estimate.subject}"})
            key = (row.statistic, row.subject, row.group)
            if key not in seen:
                seen.add(key)
                yield row


def _of_seeds(report: ControlReport, settings: Settings) -> Iterator[Estimate]:
    """The mean output change between seeds, by the largest weight."""
    names = [c for c in report.instances.columns if c.startswith("seed ") and c.endswith("/tvd")]
    if names and "seeds" in report.report.controls:
        for name, part in by_max_weight(report.instances):
            if len(part):
                yield average(
                    part.select(names).to_numpy().mean(1),
                    settings,
                    group=name,
                    statistic="mean_tvd",
                    subject="seeds/output",
                )


def base_folder(report: ControlReport, folder: Path) -> Path:
    """Where the base model of a run of controls is stored."""
    line = next(t for t in report.report.trainings if t.name == BASE)
    return folder / line.folder / MODEL


def best_adversary(report: ControlReport) -> str | None:
    """The trained adversary that the control judged: the largest divergence that it accepts."""
    for finding in report.findings:
        if finding.check == "trained_adversary":
            return next(
                (e.subject for e in finding.estimates if e.statistic == "beyond_seeds_share"), None
            )
    return None


def _searched(report: ControlReport, data: Dataset, spec: Any, place: Place) -> pl.DataFrame:
    """The published search on the base model: `id`, `search_jsd` and `search_tvd`."""
    settings = Settings(
        seed=spec["seed"],
        checks=("adversary",),
        search=True,
        search_hinge=HINGE,
        costly_limit=1,  # the other adversaries are not looked at
    )
    model = load_classifier(base_folder(report, place.folder / CONTROLS_FOLDER)).to(place.device)
    folder = place.folder / AUDIT_FOLDER
    try:
        result = run_audit(model, data, settings, out=folder, progress=place.progress)
    except RunError:
        # begun by other code: start afresh
        result = run_audit(
            model, data, settings, out=folder, progress=place.progress, overwrite=True
        )
    return result.instances.select(
        "id", search_jsd="adversary/search_jsd", search_tvd="adversary/search_tvd"
    )


def _of_search(
    found: pl.DataFrame, report: ControlReport, folder: Path, settings: Settings
) -> Iterator[Estimate]:
    """What the search reaches, and by how much it surpasses seeds and trained adversary."""
    frame = report.instances.join(found, on="id", how="left", maintain_order="left")
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
    if "seeds" in report.report.controls:
        seeds = np.median(read_calibration(folder).jsd, axis=1)
        yield average(
            jsd - seeds, settings, statistic="jsd_difference", subject=f"{SEARCH} - seeds", null=0.0
        )
    best = best_adversary(report)
    if best is not None:
        yield average(
            jsd - values_of(frame, f"{best}/jsd"),
            settings,
            statistic="jsd_difference",
            subject=f"{SEARCH} - trained",
            null=0.0,
        )


def _facts(report: ControlReport, splits: dict[str, Dataset]) -> dict[str, Any]:
    return {
        "sizes": {name: len(part) for name, part in splits.items()},
        "classes": len(splits["test"].classes),
        "gate": report.report.gate.verdict.value,
        "judgement": report.judgement,
        "findings": [
            {
                "control": f.check,
                "subject": f.subject,
                "verdict": f.verdict.value,
                "sentence": f.sentence,
            }
            for f in report.findings
        ],
        "best_adversary": best_adversary(report),
        "trainings": {
            t.name: {
                "epochs": t.epochs,
                "best_epoch": t.best_epoch,
                "seconds": t.seconds,
                "failed": t.failed,
            }
            for t in report.report.trainings
        },
    }


def _notes(report: ControlReport, splits: dict[str, Dataset]) -> list[str]:
    failed = [
        f"training {t.name!r} failed: {t.failed}" for t in report.report.trainings if t.failed
    ]
    return failed + [f"{name}: {note}" for name, part in splits.items() for note in part.notes]
