"""One cell: train, audit the test split, and pick what the paper reports."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from attnaudit.audits.result import AuditResult
from attnaudit.data.records import Dataset
from attnaudit.errors import ModelError
from attnaudit.findings.estimates import average, by_max_weight, by_predicted, share, values_of
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.measures.bootstrap import bootstrap_interval, bootstrap_metric
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.models.text.model import TextClassifier
from attnaudit.runs.cell import Outcome
from attnaudit.runs.disk import read_noted, write_noted
from attnaudit.studies.declaration import Cell, Place
from attnaudit.studies.schema import Spec
from attnaudit.studies.texts import audited, notes_of, splits_for
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train

CHECKS = ("agreement", "permutation", "adversary")
HINGE = 0.01
"""The search's own ε in the released code, for every task."""
BETTER_ORDERS = 200
"""Instances for which the best order of the same weights is sought; the paper has no such thing."""
KEPT = (
    *("skill", "accuracy", "roc_auc", "kendall_tau", "significant_share", "median_tvd"),
    *("same_prediction_share", "contestable_share", "max_jsd", "auroc", "mass_on_evidence"),
    "evidence_share",
)
MUTUAL, TO_GRADIENT = "gradient~leave_one_out", "weights~gradient"
TO_LOO = "weights~leave_one_out"
PEAKED = 0.5
"""From this largest weight on, an instance counts as peaked: the upper two bins."""
MODEL, HISTORY = "model", "history.json"


def measure(cell: Cell, place: Place) -> Outcome:
    """Train the cell's model and audit it.

    What lies in the cell's folder comes from an interrupted try at the same cell: a finished
    model is used again, and the audit goes on where it stopped.

    Raises:
        AttnauditError: Data, model or folder cannot be used.
    """
    spec = cell.spec
    splits = splits_for(spec, place)
    model, history = _trained(spec, splits, place)
    result = _audited(model, splits["test"], spec, place)
    frame, settings = result.instances, result.report.plan.settings
    rows = (
        *_reported(result),
        *_f1(frame, model.classes, settings),
        *_spreads(frame, model.classes),
        *_differences(frame, settings),
        *_quartiles(frame, model.classes),
        *_peaked(frame, settings),
    )
    facts = {
        "sizes": {name: len(part) for name, part in splits.items()},
        "mean_length": result.report.plan.data.mean_length,
        "classes": list(model.classes) if len(model.classes) <= 4 else len(model.classes),
        "class_counts": splits["test"].class_counts if len(model.classes) <= 4 else {},
        "verdict": result.report.judgement.verdict.value,
        "gate": result.report.performance.verdict.value,
        **history,
    }
    return Outcome(rows, facts, notes_of(splits))


def _trained(spec: Spec, splits: dict[str, Dataset], place: Place) -> tuple[Model, dict[str, Any]]:
    folder, note = place.folder / MODEL, read_noted(place.folder / HISTORY, place.folder)
    if note is not None:
        # what is damaged is trained again
        with contextlib.suppress(ModelError):
            return load(folder, place.device), json.loads(note)
    done = train(
        splits,
        encoder=spec["encoder"],
        attention=spec["attention"],
        hidden=spec["hidden"],
        embedding_dim=spec["embedding_dim"],
        vectors=spec.get("vectors"),
        progress=place.progress,
        options=TrainOptions(
            epochs=spec["epochs"],
            batch_size=spec["batch_size"],
            min_df=spec["min_df"],
            seed=spec["seed"],
            device=place.device,
        ),
        out=folder,
        overwrite=True,
    )
    history = {
        "best_epoch": done.best_epoch,
        "dev": dict(done.dev),
        "words": len(done.model.vocabulary) if isinstance(done.model, TextClassifier) else None,
        "vectors": None if done.coverage is None else done.coverage.found,
    }
    # written last: where it stands, the model is whole
    write_noted(place.folder / HISTORY, json.dumps(history).encode(), place.folder)
    return done.model, history


def _audited(model: Model, data: Dataset, spec: Spec, place: Place) -> AuditResult:
    settings = Settings(
        seed=spec["seed"],
        checks=(*CHECKS, "ground_truth") if data.has_truth else CHECKS,
        search=spec["search"],
        search_hinge=HINGE,
        permutations=spec["permutations"] or 100,
        costly_limit=BETTER_ORDERS,
    )
    return audited(model, data, settings, place)


def _reported(result: AuditResult) -> Iterator[Estimate]:
    """What the audit found, as far as the paper reports it."""
    for finding in (result.report.performance, *result.report.findings):
        if finding.subject in ("weights", "model"):
            yield from (e for e in finding.estimates if e.statistic in KEPT)


def _f1(frame: pl.DataFrame, classes: Sequence[str], settings: Settings) -> Iterator[Estimate]:
    """F1 of each class, and their mean; of the second class where there are two."""
    known = frame.filter(pl.col("label").is_not_null())
    labels, predicted = known["label"].to_numpy(), known["predicted"].to_numpy()
    if len(np.unique(labels)) < 2:
        return
    wanted = [("f1_macro", sorted(set(labels.tolist())))]
    if len(classes) == 2:
        wanted.insert(0, ("f1", [1]))
    for name, chosen in wanted:
        found = bootstrap_metric(
            labels,
            predicted,
            partial(_mean_f1, chosen=chosen),
            confidence=settings.confidence,
            resamples=min(settings.resamples, 1000),
            seed=settings.seed,
        )
        yield Estimate(statistic=name, subject="model", **asdict(found))


def _mean_f1(labels: np.ndarray, predicted: np.ndarray, chosen: Sequence[int]) -> float:
    values = []
    for index in chosen:
        right = int(((labels == index) & (predicted == index)).sum())
        wrong = int((labels == index).sum() + (predicted == index).sum())
        values.append(2 * right / wrong if wrong else 0.0)
    return float(np.mean(values))


def _spreads(frame: pl.DataFrame, classes: Sequence[str]) -> Iterator[Estimate]:
    """The population standard deviation of tau over instances, as the paper's tables give it."""
    for group, part in by_predicted(frame, classes):
        for pair in (TO_GRADIENT, TO_LOO, MUTUAL):
            tau = values_of(part, f"agreement/tau.{pair}")
            known = tau[np.isfinite(tau)]
            if len(known):
                yield _plain(tau, float(known.std()), "kendall_tau_sd", pair, group)


def _plain(values: np.ndarray, value: float, *named: str) -> Estimate:
    """A number without an interval; `named` is its statistic, subject and group."""
    known = int(np.isfinite(values).sum())
    statistic, subject, group = named
    undefined = len(values) - known
    return Estimate(
        statistic=statistic, subject=subject, group=group, value=value, n=known, undefined=undefined
    )


def _differences(frame: pl.DataFrame, settings: Settings) -> Iterator[Estimate]:
    """How much better gradient and leave-one-out agree with each other than with the weights."""
    tau = {p: values_of(frame, f"agreement/tau.{p}") for p in (MUTUAL, TO_GRADIENT, TO_LOO)}
    for other in (TO_LOO, TO_GRADIENT):
        named = {"statistic": "tau_difference", "subject": f"{MUTUAL} - {other}"}
        yield average(tau[MUTUAL] - tau[other], settings, **named, null=0.0)


def _quartiles(frame: pl.DataFrame, classes: Sequence[str]) -> Iterator[Estimate]:
    """Quartiles of median output change and of the adversary's divergence, as in violins."""
    adversary = "search" if "adversary/search_jsd" in frame.columns else "exact"
    for group, part in by_predicted(frame, classes):
        for name, inside in (("", part), *by_max_weight(part)):
            label = ", ".join(t for t in ("" if group == "all" and name else group, name) if t)
            yield from _quarters(inside, "permutation/median_tvd", "median_tvd", "weights", label)
        if f"adversary/{adversary}_jsd" in part.columns:
            yield from _quarters(part, f"adversary/{adversary}_jsd", "max_jsd", adversary, group)


def _quarters(
    part: pl.DataFrame, column: str, statistic: str, subject: str, group: str
) -> Iterator[Estimate]:
    values = values_of(part, column)
    known = values[np.isfinite(values)]
    for name, q in (("q25", 0.25), ("q50", 0.5), ("q75", 0.75)) if len(known) else ():
        quantile = float(np.quantile(known, q))
        yield _plain(values, quantile, f"{statistic}_{name}", subject, group)


def _peaked(frame: pl.DataFrame, settings: Settings) -> Iterator[Estimate]:
    """Instances with a large weight: how many there are, and how far permuting moves them."""
    largest = values_of(frame, "max_weight")
    yield share(
        (largest >= PEAKED).astype(float), settings, statistic="peaked_share", subject="weights"
    )
    found = bootstrap_interval(
        values_of(frame, "permutation/median_tvd")[largest >= PEAKED],
        statistic="median",
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    named = {"statistic": "median_of_median_tvd", "subject": "weights", "group": "peaked"}
    yield Estimate(**named, **asdict(found))
