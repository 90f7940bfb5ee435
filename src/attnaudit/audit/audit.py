"""The audit: plan, measure chunk by chunk, conclude."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import torch

from attnaudit.attribution import METHODS
from attnaudit.audit.held_out import cautions_on, fitted
from attnaudit.audit.judgement import judge
from attnaudit.audit.schema import AuditReport, DataFacts, ModelFacts, Plan
from attnaudit.audit.store import FINDINGS, Store, merge
from attnaudit.checks.declaration import Check, Facts
from attnaudit.checks.performance import conclude_performance
from attnaudit.checks.registry import CHECKS
from attnaudit.data.bags.records import Bag
from attnaudit.data.kinds import AnyDataset, Record
from attnaudit.errors import DataError, ModelError, NotApplicable, RunError, SettingsError
from attnaudit.evidence.batch.erasing import mean_state
from attnaudit.evidence.batch.view import View, column
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.measures.drift import DriftReference, fit_drift
from attnaudit.models.batches import by_length, groups, with_backoff
from attnaudit.models.cut import Model
from attnaudit.models.encoded import Encoded
from attnaudit.runs.code import code_fingerprint
from attnaudit.runs.disk import read_noted
from attnaudit.runs.folders import check_run
from attnaudit.version import __version__

Progress = Callable[[str, int, int], None]
Data = TypeVar("Data", bound=AnyDataset)
DRIFT_LIMIT = 2000
PROBES = 8
SHOWN = ("weights", "leave_one_out")


@dataclass(frozen=True)
class AuditResult:
    """An audit's findings and the instances they rest on."""

    report: AuditReport
    instances: pl.DataFrame


def run_audit(
    model: Model,
    data: AnyDataset,
    settings: Settings,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    left_out: int = 0,
) -> AuditResult:
    """Audit a model on data.

    Args:
        model: Any model with the cut.
        data: Records; labels, where known, among the model's classes.
        settings: What to check and how.
        out: The run folder; None keeps everything in memory.
        overwrite: Replace another audit that the folder holds.
        progress: Told `(stage, done, total)`.
        left_out: How many texts of the data are not among the records, because the model was
            trained on them.

    Raises:
        DataError: No records, or labels that the model does not know.
        SettingsError: A check that does not exist.
        RunError: The folder cannot be used.
        ModelError: The model gives NaN or weights that are no distribution.
    """
    started = time.monotonic()
    checks = chosen_checks(settings)
    if out is not None:
        check_run(out, "audit")
    data = aligned(fitted(data, model), model)
    plan = make_plan(model, data, settings, left_out)
    store = Store(out) if out is not None else None
    with store.locked() if store else nullcontext():
        if store:
            if overwrite:
                store.clear()
            store.open(plan)
        earlier = store.read_seconds() if store else 0.0

        def spent() -> float:
            return earlier + time.monotonic() - started

        before = _finished(store)
        frames, fresh = _measured(model, data, settings, checks, store, progress or _silent, spent)
        instances = merge(frames)
        if progress:
            progress("concluding", 0, 1)
        report = conclude(plan, instances, checks, spent())
        if before and not fresh:
            # nothing was measured: this is still the audit of that time
            report = report.model_copy(
                update={"seconds": before.seconds, "created": before.created}
            )
        if store:
            store.write_seconds(report.seconds)
            store.write_report(report)
        if progress:
            progress("concluding", 1, 1)
    return AuditResult(report, instances)


def conclude(
    plan: Plan, instances: pl.DataFrame, checks: Sequence[Check], seconds: float
) -> AuditReport:
    """Findings and judgement from finished instances."""
    facts = Facts(plan.model.classes, plan.settings)
    performance = conclude_performance(instances, facts)
    findings: list[Finding] = []
    for check in checks:
        own = _columns_of(check, instances)
        found = check.conclude(own, facts) if own is not None else []
        findings += found or [_not_applicable(check, plan)]
    cautions = [*cautions_on(plan.data), *_too_long(plan, instances)]
    return AuditReport(
        plan=plan,
        created=datetime.now(UTC),
        seconds=seconds,
        performance=performance,
        findings=tuple(findings),
        judgement=judge(performance, findings, cautions),
    )


def _too_long(plan: Plan, instances: pl.DataFrame) -> list[str]:
    """How many instances leave-one-out was not computed for, because of their length."""
    longest, name = plan.settings.longest, "scores.leave_one_out"
    if name not in instances.columns:
        return []
    left = instances.filter((pl.col("length") > longest) & pl.col(name).is_null()).height
    if not left:
        return []
    return [
        f"{left:,} of the {instances.height:,} {plan.data.reads} have more than {longest:,} units "
        "and are left out of leave-one-out, whose cost grows with the square of the length; the "
        "setting longest (--longest) raises the bound."
    ]


def _finished(store: Store | None) -> AuditReport | None:
    """The report that a folder holds already, or None."""
    if store is None or read_noted(store.folder / FINDINGS, store.folder) is None:
        return None
    with suppress(RunError):
        return store.read_report()
    return None


def chosen_checks(settings: Settings) -> list[Check]:
    """The checks that the settings name.

    Raises:
        SettingsError: One of them does not exist.
    """
    if not settings.checks:
        raise SettingsError(f"no check was named; there are: {', '.join(CHECKS)}.")
    unknown = [name for name in settings.checks if name not in CHECKS]
    if unknown:
        raise SettingsError(f"no check is called {unknown[0]!r}; there are: {', '.join(CHECKS)}.")
    return [check for name, check in CHECKS.items() if name in settings.checks]


def aligned(data: Data, model: Model) -> Data:
    """The data with labels numbered as the model's outputs are.

    Raises:
        DataError: There are no records, or a label is none of the model's classes.
    """
    if not len(data):
        raise DataError(f"{data.name} has no records, so there is nothing to audit.")
    seen: dict[str, int] = {}
    for place, record in enumerate(data):
        if record.id in seen:
            raise DataError(
                f"{data.name}: records {seen[record.id] + 1} and {place + 1} have the same id "
                f"{record.id!r}. Ids must be unique: random draws and results are keyed by them."
            )
        seen[record.id] = place
    numbers = [record.label for record in data]
    quantities = [number for number in numbers if isinstance(number, float)]
    if quantities:
        raise DataError(
            f"{data.name} has labels that are quantities ({quantities[0]:g}, …), and {model.name} "
            "gives classes. Give labels that are classes, or none."
        )
    labels = [None if number is None else int(number) for number in numbers]
    if data.classes == model.classes or all(label is None for label in labels):
        return data.relabelled(labels, model.classes)
    index = {name: position for position, name in enumerate(model.classes)}
    used = {data.classes[label] for label in labels if label is not None}
    unknown = sorted(used - set(index))
    if unknown:
        raise DataError(
            f"{data.name} has the label {unknown[0]!r}, which is none of the model's classes "
            f"({', '.join(model.classes)}). Rename the labels, or audit without them."
        )
    known = [None if label is None else index[data.classes[label]] for label in labels]
    return data.relabelled(known, model.classes)


def make_plan(model: Model, data: AnyDataset, settings: Settings, left_out: int = 0) -> Plan:
    """All that decides the numbers."""
    known = model.trained_on
    return Plan(
        attnaudit_version=__version__,
        code=code_fingerprint(__name__),
        model=ModelFacts(
            name=model.name,
            kind=type(model).__name__,
            fingerprint=_fingerprint(model, data),
            classes=model.classes,
        ),
        data=DataFacts(
            name=data.name,
            split=data.split,
            fingerprint=data.fingerprint,
            instances=len(data),
            class_counts=data.class_counts,
            mean_length=float(np.mean([len(r.units) for r in data])),
            has_truth=data.has_truth,
            notes=data.notes,
            trained_on=0 if known is None else sum(record in known for record in data),
            left_out=left_out,
            reads=model.kind.instances,
        ),
        settings=settings,
    )


def _fingerprint(model: Model, data: AnyDataset) -> str:
    """The model's own fingerprint, and what it does with a few texts.

    Parameters do not tell how a wrapped model cuts texts or attends; its behaviour does.
    """
    few = sorted(data.records, key=lambda record: record.id)[:PROBES]
    encoded = Encoded(model, model.collate(few))
    digest = blake2b(model.fingerprint().encode(), digest_size=32)
    digest.update(encoded.batch.inputs.cpu().numpy().tobytes())
    digest.update(encoded.units.cpu().numpy().tobytes())
    digest.update(repr((model.pad_value, model.mask_value)).encode())
    # rounded, so that another number of threads is no other model
    digest.update((encoded.weights * 100).round().to(torch.int16).cpu().numpy().tobytes())
    digest.update((encoded.probabilities * 100).round().to(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()


def drawn(ids: Sequence[str], limit: int, seed: int, stream: str) -> np.ndarray:
    """A flag for each id: is it among `limit` drawn by the seed, whatever the order of ids?"""
    keys = [blake2b(f"{seed}\x1f{stream}\x1f{i}".encode(), digest_size=8).digest() for i in ids]
    flags = np.zeros(len(ids), dtype=bool)
    flags[sorted(range(len(ids)), key=keys.__getitem__)[:limit]] = True
    return flags


def _measured(
    model: Model,
    data: AnyDataset,
    settings: Settings,
    checks: Sequence[Check],
    store: Store | None,
    progress: Progress,
    spent: Callable[[], float],
) -> tuple[list[pl.DataFrame], bool]:
    """The instances chunk by chunk, and whether any of them had to be measured now."""
    order = by_length(data.records)
    chunks = [order[i : i + settings.chunk] for i in range(0, len(order), settings.chunk)]
    frames = [store.read_chunk(i) if store else None for i in range(len(chunks))]
    drift, fresh = None, any(frame is None for frame in frames)
    if "erasure" in settings.checks and fresh:
        drift = _drift(model, data, settings, store, progress)
    chosen = drawn([r.id for r in data], settings.costly_limit, settings.seed, "erasure")
    done = 0
    for number, (chunk, finished) in enumerate(zip(chunks, frames, strict=True)):
        progress("auditing", done, len(data))
        if finished is None:

            def tell(inside: int, before: int = done) -> None:
                progress("auditing", before + inside, len(data))

            frame = _chunk(model, data, chunk, settings, checks, chosen, drift, tell)
            if store:
                store.write_chunk(number, frame)
                store.write_seconds(spent())
            frames[number] = frame
        done += len(chunk)
    progress("auditing", done, len(data))
    return [frame for frame in frames if frame is not None], fresh


def _drift(
    model: Model, data: AnyDataset, settings: Settings, store: Store | None, progress: Progress
) -> DriftReference | None:
    """The reference for erased inputs, fitted on the data as it is."""
    if store and (kept := store.read_drift()):
        return kept
    flags = drawn([r.id for r in data], DRIFT_LIMIT, settings.seed, "drift")
    records = [r for r, flag in zip(data, flags, strict=True) if flag]
    features: list[np.ndarray] = []

    def encode(part: Sequence[Record]) -> list[np.ndarray]:
        with torch.no_grad():
            states = model.encode(model.collate(part))
        return [mean_state(states.hidden, states.units)]

    records = [records[i] for i in by_length(records)]
    ids = [r.id for r in records]
    for part in groups([len(r.units) for r in records], settings.token_budget):
        progress("encoding", len(features), len(records))
        features += [row for block in with_backoff(encode, records[part]) for row in block]
    progress("encoding", len(records), len(records))
    # by id, so that the halves do not depend on the order of the data
    order = sorted(range(len(ids)), key=ids.__getitem__)
    drift = fit_drift(np.stack(features)[order], settings.seed)
    if store and drift:
        store.write_drift(drift)
    return drift


def _chunk(
    model: Model,
    data: AnyDataset,
    chunk: Sequence[int],
    settings: Settings,
    checks: Sequence[Check],
    chosen: np.ndarray,
    drift: DriftReference | None,
    tell: Callable[[int], None],
) -> pl.DataFrame:
    place = {data.records[i].id: i for i in chunk}
    attributions = attributions_of(checks)

    def measure(records: Sequence[Record]) -> list[pl.DataFrame]:
        encoded = Encoded(model, model.collate(records), trace=True)
        for record, count in zip(records, encoded.units.sum(1).tolist(), strict=True):
            if count != len(record.units):
                raise ModelError(
                    f"{model.name} attends over {count} units of {record.id!r}, which has "
                    f"{len(record.units)}. Scores and units must fit one to one: shorten the text "
                    "before the audit instead of inside the model."
                )
        index = np.array([place[r.id] for r in records])
        view = View(encoded, list(records), settings, chosen[index], drift)
        columns = _base(view, index, attributions)
        for check in checks:
            try:
                found = check.measure(view)
            except NotApplicable:
                continue
            columns |= {f"{check.name}/{name}": values for name, values in found.items()}
        return [pl.DataFrame(columns, nan_to_null=True)]

    records = [data.records[i] for i in chunk]
    frames: list[pl.DataFrame] = []
    for part in groups([len(r.units) for r in records], settings.token_budget):
        frames += with_backoff(measure, records[part])
        tell(part.stop)
    return merge(frames)


def attributions_of(checks: Sequence[Check]) -> set[str]:
    """The attributions that some check looks at, and those that reports show of any audit."""
    wanted = set(SHOWN)
    for check in checks:
        wanted |= set(METHODS if check.attributions is None else check.attributions)
    return wanted


def _base(view: View, index: np.ndarray, attributions: set[str]) -> dict[str, object]:
    """What every check and picture needs to know of an instance."""
    encoded = view.encoded
    columns: dict[str, object] = {
        "index": index,
        "id": [r.id for r in view.records],
        "length": column(view.units.sum(1)).astype(np.int64),
        "label": pl.Series([r.label for r in view.records], dtype=pl.Int64),
        "predicted": column(encoded.predicted).astype(np.int64),
        "max_weight": column(encoded.weights.amax(1)),
        "drawn": view.chosen,
        "units": [list(r.units) for r in view.records],
        "truth": pl.Series(
            [None if r.truth is None else [bool(flag) for flag in r.truth] for r in view.records],
            dtype=pl.List(pl.Boolean),
        ),
        **_bag_columns(view.records),
    }
    for position in range(encoded.outputs.shape[1]):
        columns[f"probability.{position}"] = column(encoded.probabilities[:, position])
    for name in view.applicable(attributions):
        columns[f"scores.{name}"] = view.per_unit(view.scores(name))
    error = None
    if "scores.integrated_gradients" in columns:
        error = view.attribution("integrated_gradients").error
    if error is not None:
        columns["completeness_error.integrated_gradients"] = column(error)
    return columns


def _bag_columns(records: Sequence[Record]) -> dict[str, object]:
    """What only bags have: kinds of key instances, and where instances lie."""
    bags = [record for record in records if isinstance(record, Bag)]
    if not bags:
        return {}
    return {
        "key_types": pl.Series(
            [None if b.key_types is None else b.key_types.tolist() for b in bags],
            dtype=pl.List(pl.Int64),
        ),
        "coordinates": pl.Series(
            [None if b.coordinates is None else b.coordinates.tolist() for b in bags],
            dtype=pl.List(pl.List(pl.Float64)),
        ),
    }


def _columns_of(check: Check, instances: pl.DataFrame) -> pl.DataFrame | None:
    prefix = f"{check.name}/"
    own = {name: name.removeprefix(prefix) for name in instances.columns if name.startswith(prefix)}
    if not own:
        return None
    shared = [name for name in instances.columns if "/" not in name]
    return instances.select([*shared, *own]).rename(own)


def _not_applicable(check: Check, plan: Plan) -> Finding:
    why = "this model and data do not give what it needs"
    if "truth" in check.needs and not plan.data.has_truth:
        why = "the data does not say which units are evidence"
    return Finding(
        check=check.name,
        subject="weights",
        verdict=Verdict.NOT_APPLICABLE,
        sentence=f"Not applicable: {why}.",
    )


def _silent(stage: str, done: int, total: int) -> None:
    return None
