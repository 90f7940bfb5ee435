"""One cell: train a selective model by one method, check it for shortcuts, and explain with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np

from attnaudit.audits.run import run_audit
from attnaudit.audits.schema import AuditReport
from attnaudit.checks.declaration import SHORTCUT
from attnaudit.checks.gap import RELIANCE
from attnaudit.data.drawing import draw
from attnaudit.data.generated.shortcut_tasks import (
    HEAD,
    TAIL,
    default_tokens,
    generate_bow_splits,
    generate_order_splits,
    only_defaults,
    with_defaults,
)
from attnaudit.data.records import Dataset
from attnaudit.evidence.judges.probe import DefaultUnits
from attnaudit.evidence.judges.reading import read
from attnaudit.findings.estimates import average
from attnaudit.findings.findings import Estimate, Finding
from attnaudit.findings.settings import JudgeSettings, Settings
from attnaudit.models.cut import Model
from attnaudit.models.selective.model import new_selective, selective_vocabulary
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.remedies.shortcuts import pretrain, pretrain_held_out, weigh
from attnaudit.runs.cell import Outcome
from attnaudit.runs.execute import watched
from attnaudit.studies.bai2021.settings import (
    DEFAULTS,
    GENERATED,
    HELD_OUT,
    JOINT,
    ONLY,
    PRETRAIN,
    WEIGHT,
)
from attnaudit.studies.declaration import Cell, Place
from attnaudit.studies.schema import Spec
from attnaudit.studies.sources import splits_of
from attnaudit.studies.texts import notes_of, under_checks
from attnaudit.training.fitting import fit_jointly
from attnaudit.training.options import options_for

MAKERS = {"order": generate_order_splits, "bow": generate_bow_splits}
REFITS = {PRETRAIN: pretrain, HELD_OUT: pretrain_held_out, WEIGHT: weigh}
MIN_DF = 2
"""In how many training texts a word of real text must occur."""
LONGEST = 200
"""Units of a real text that are read; IMDB has longer ones."""
EXPLAINED = 300
"""Texts on which agreement and erasure are measured."""
ERASED = "delete"
"""How the highest units are erased, in what the page shows."""
Splits = Mapping[str, Dataset]


def measure(cell: Cell, place: Place) -> Outcome:
    """Train, check, and give every estimate of the check, its subject after the check's name.

    Raises:
        AttnauditError: Data cannot be used, or a training has diverged.
    """
    spec = cell.spec
    splits = data_of(spec, place)
    started = time.process_time()
    model = trained(spec, splits).to(place.device)  # type: ignore[attr-defined]
    seconds = time.process_time() - started
    place.progress("training", 1, 1)
    units = default_tokens(DEFAULTS) if spec["variant"] == ONLY else (HEAD, TAIL)
    judges = JudgeSettings(count=spec["judges"], epochs=spec["judge_epochs"])
    settings = Settings(
        seed=spec["seed"], resamples=judges.resamples, checks=(SHORTCUT,), judges=judges
    )
    report = run_audit(
        model,
        splits["test"],
        settings,
        splits=splits,
        parts=(DefaultUnits(units),),
        about={"default_units": list(units)},
        out=place.folder / "shortcuts",
        overwrite=True,
        watch=watched(place.progress),
    ).report
    gap = _gap(report)
    rows = [*_of_check(report), *_on_evidence(model, splits["test"], settings)]
    if spec["explanations"]:
        rows += _explanations(model, splits["test"], spec, place)
    facts = {
        "verdict": report.judgement.asked.value,
        "sentence": gap.sentence,
        "sizes": {name: len(part) for name, part in splits.items()},
        "training_seconds": round(seconds, 2),
        "check_seconds": round(report.seconds, 2),
        "findings": {f.check: f.verdict.value for f in (report.performance, *report.findings)},
        "judges": list(gap.notes),
    }
    return Outcome(rows, facts, notes_of(splits))


def data_of(spec: Spec, place: Place) -> dict[str, Dataset]:
    """The splits of a cell, default tokens included."""
    train, test = spec["train_limit"], spec["test_limit"]
    if spec["data"] in GENERATED:
        sizes = {} if train is None else {"n_train": train, "n_dev": max(100, train // 6)}
        sizes |= {} if test is None else {"n_test": test}
        return MAKERS[spec["data"]](**sizes, seed=spec["seed"])
    splits = splits_of(spec["data"], place.data_dir, train, test, max_length=LONGEST)
    if spec["variant"] == ONLY:
        return {name: only_defaults(data, DEFAULTS) for name, data in splits.items()}
    return {name: with_defaults(data) for name, data in splits.items()}


def trained(spec: Spec, splits: Splits) -> Model:
    """A selective model, trained by the cell's method."""
    real = spec["data"] not in GENERATED
    sizes = {n: spec[n] for n in ("downstream", "mask", "k", "hidden", "embedding_dim")}
    question = spec["variant"] == ONLY
    config = SelectiveConfig(splits["train"].classes, **sizes, question=question)
    vocabulary = selective_vocabulary(splits["train"].records, MIN_DF if real else 1)
    model = new_selective(config, vocabulary, spec["seed"])
    # what reads through default tokens alone learns nothing for some epochs
    patience = None if question else 5
    options = options_for("selector", epochs=spec["epochs"], seed=spec["seed"], patience=patience)
    train, dev = splits["train"], splits["dev"]
    if spec["method"] == JOINT:
        return fit_jointly(model, train, dev, options).model
    return REFITS[spec["method"]](model, train, dev, options, fresh=True).model


def _gap(report: AuditReport) -> Finding:
    return next(finding for finding in report.findings if finding.check == RELIANCE.name)


def _of_check(report: AuditReport) -> Iterator[Estimate]:
    """Every estimate once; the gap that the verdict rests on is `gap` of `model`."""
    yield from under_checks((report.performance, *report.findings))
    headline = _gap(report).headline
    if headline is not None:
        yield headline.model_copy(update={"statistic": "gap", "subject": "model"})


def _on_evidence(model: Model, data: Dataset, settings: Settings) -> Iterator[Estimate]:
    """The weight on known evidence."""
    if not data.has_truth:
        return
    masses = [
        float(row @ np.array(record.truth, dtype=np.float64))
        if record.truth is not None and len(record.truth) == len(row)
        else np.nan
        for record, row in zip(data, read(model, data).weights, strict=True)
    ]
    yield average(np.array(masses), settings, statistic="mass_on_evidence", subject="weights")


def _explanations(model: Model, data: Dataset, spec: Spec, place: Place) -> Iterator[Estimate]:
    """Agreement with gradient and leave-one-out, and erasure, of the weights."""
    settings = Settings(seed=spec["seed"], checks=("agreement", "erasure"), costly_limit=EXPLAINED)
    some = draw(data, EXPLAINED, spec["seed"])
    folder = place.folder / "audit"
    # an earlier try may have left the results of other code
    watch = watched(place.progress)
    result = run_audit(model, some, settings, out=folder, watch=watch, overwrite=True)
    weights = [finding for finding in result.report.findings if finding.subject == "weights"]
    yield from (row for row in under_checks(weights) if row.group in ("all", ERASED))
