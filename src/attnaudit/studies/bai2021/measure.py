"""One cell: train a selective model by one method, check it for shortcuts, and explain with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from attnaudit.audit.audit import run_audit
from attnaudit.data.build import draw
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
from attnaudit.evidence.judges.reading import read
from attnaudit.findings.estimates import average
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.models.cut import Model
from attnaudit.models.selective.model import new_selective, selective_vocabulary
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.remedies.shortcuts import pretrain, pretrain_held_out, weigh
from attnaudit.shortcuts.check import audit_shortcuts
from attnaudit.shortcuts.schema import ShortcutReport
from attnaudit.shortcuts.settings import ShortcutSettings
from attnaudit.studies.bai2021.settings import (
    DEFAULTS,
    GENERATED,
    HELD_OUT,
    JOINT,
    ONLY,
    PRETRAIN,
    WEIGHT,
)
from attnaudit.studies.declaration import Cell, Outcome, Place
from attnaudit.studies.sources import splits_of
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
    settings = ShortcutSettings(
        seed=spec["seed"], judges=spec["judges"], judge_epochs=spec["judge_epochs"]
    )
    report = audit_shortcuts(
        model,
        splits,
        settings,
        default_units=units,
        out=place.folder / "shortcuts",
        overwrite=True,
        progress=place.progress,
    )
    rows = [*_of_check(report), *_on_evidence(model, splits["test"], settings)]
    if spec["explanations"]:
        rows += _explanations(model, splits["test"], spec, place)
    facts = {
        "verdict": report.verdict.value,
        "sentence": report.sentence,
        "sizes": report.sizes,
        "training_seconds": round(seconds, 2),
        "check_seconds": round(sum(report.seconds.values()), 2),
        "findings": {f.check: f.verdict.value for f in (report.gate, *report.findings)},
        "judges": list(report.finding("gap").notes),
    }
    return Outcome(
        rows, facts, [f"{n}: {note}" for n, part in splits.items() for note in part.notes]
    )


def data_of(spec: Mapping[str, Any], place: Place) -> dict[str, Dataset]:
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


def trained(spec: Mapping[str, Any], splits: Splits) -> Model:
    """A selective model, trained by the cell's method."""
    real = spec["data"] not in GENERATED
    config = SelectiveConfig(
        splits["train"].classes,
        downstream=spec["downstream"],
        mask=spec["mask"],
        k=spec["k"],
        hidden=spec["hidden"],
        embedding_dim=spec["embedding_dim"],
        question=spec["variant"] == ONLY,
    )
    vocabulary = selective_vocabulary(splits["train"].records, MIN_DF if real else 1)
    model = new_selective(config, vocabulary, spec["seed"])
    # what reads through default tokens alone learns nothing for some epochs
    patience = None if spec["variant"] == ONLY else 5
    options = options_for("selector", epochs=spec["epochs"], seed=spec["seed"], patience=patience)
    train, dev = splits["train"], splits["dev"]
    if spec["method"] == JOINT:
        return fit_jointly(model, train, dev, options).model
    return REFITS[spec["method"]](model, train, dev, options, fresh=True).model


def _of_check(report: ShortcutReport) -> Iterator[Estimate]:
    """Every estimate once; the gap that the verdict rests on is `gap` of `model`."""
    for finding in (report.gate, *report.findings):
        seen: set[tuple[str, str, str]] = set()
        for estimate in finding.estimates:
            row = estimate.model_copy(update={"subject": f"{finding.check}/{estimate.subject}"})
            key = (row.statistic, row.subject, row.group)
            if key not in seen:
                seen.add(key)
                yield row
    headline = report.finding("gap").headline
    if headline is not None:
        yield headline.model_copy(update={"statistic": "gap", "subject": "model"})


def _on_evidence(model: Model, data: Dataset, settings: ShortcutSettings) -> Iterator[Estimate]:
    """The weight on known evidence."""
    if not data.has_truth:
        return
    masses = [
        float(row @ np.array(record.truth, dtype=np.float64))
        if record.truth is not None and len(record.truth) == len(row)
        else np.nan
        for record, row in zip(data, read(model, data).weights, strict=True)
    ]
    yield average(
        np.array(masses), settings.audit(), statistic="mass_on_evidence", subject="weights"
    )


def _explanations(
    model: Model, data: Dataset, spec: Mapping[str, Any], place: Place
) -> Iterator[Estimate]:
    """Agreement with gradient and leave-one-out, and erasure, of the weights."""
    settings = Settings(seed=spec["seed"], checks=("agreement", "erasure"), costly_limit=EXPLAINED)
    some = draw(data, EXPLAINED, spec["seed"])
    folder = place.folder / "audit"
    # an earlier try may have left the results of other code
    result = run_audit(model, some, settings, out=folder, progress=place.progress, overwrite=True)
    for finding in result.report.findings:
        if finding.subject == "weights":
            for estimate in finding.estimates:
                if estimate.group in ("all", ERASED):
                    yield estimate.model_copy(
                        update={"subject": f"{finding.check}/{estimate.subject}"}
                    )
