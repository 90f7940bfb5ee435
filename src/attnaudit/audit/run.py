"""An audit: plan, run the cells that are not finished, conclude, judge, store."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from pydantic import JsonValue, TypeAdapter

from attnaudit.audit.frame import tidy
from attnaudit.audit.held_out import cautions_on
from attnaudit.audit.inputs import Sent, sent_to
from attnaudit.audit.judgement import Subject, judge
from attnaudit.audit.plan import (
    asked_of,
    cells_of,
    checks_of,
    data_facts,
    model_facts,
)
from attnaudit.audit.schema import AuditReport, CellLine, DataFacts, ModelFacts, Plan
from attnaudit.checks.declaration import Check
from attnaudit.checks.registry import GATES
from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import RunError
from attnaudit.evidence.batch.chunks import ROOM, read_instances
from attnaudit.evidence.contract import Design, Evidence, Splits, Tabled
from attnaudit.files import digest_of
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.pictures import Block
from attnaudit.findings.settings import Settings
from attnaudit.manifest import known_manifest
from attnaudit.models.cut import Model
from attnaudit.models.matching import aligned, fitted
from attnaudit.runs.cell import Cell, with_needs
from attnaudit.runs.disk import read_sure
from attnaudit.runs.engine import Engine, engine_of
from attnaudit.runs.execute import Done, Watch, run_cells
from attnaudit.runs.folders import check_run
from attnaudit.runs.inputs import holding
from attnaudit.runs.store import AGAIN, PLAN, Store
from attnaudit.version import __version__

FINDINGS, ESTIMATES, PICTURES = "findings.json", "estimates.parquet", "pictures.json"
Pictures = dict[str, tuple[Block, ...]]
SHOWN = TypeAdapter(Pictures)
SUBJECTS = {"pairs": Subject("token pairs", "the similarity")}


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Attributes:
        report: Everything found, as a pydantic model; stored as `findings.json`.
        instances: One row per instance: predictions, scores of every attribution, and what every
            check measured on it; empty where no check read batches.
        pictures: Tables and pictures of each check as plain data, by its name.
        frames: Tables that evidence has besides, such as one row per seed, by name.
    """

    report: AuditReport
    instances: pl.DataFrame = field(repr=False)
    pictures: Pictures = field(default_factory=dict, repr=False)
    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Asked:
    """An audit that is planned and not yet run.

    Attributes:
        plan: What is asked.
        design: The model, data and settings.
        checks: The checks.
        cells: What they ask for.
    """

    plan: Plan
    design: Design
    checks: Sequence[Check]
    cells: Sequence[Cell]


def ask(
    design: Design,
    model: ModelFacts,
    data: DataFacts,
    about: Mapping[str, JsonValue] | None = None,
) -> Asked:
    """Plan an audit; nothing is run or written.

    Args:
        design: The model, data and settings.
        model: What is said of the model.
        data: What is said of the data.
        about: What else decides the numbers, by name.

    Raises:
        AttnauditError: A check that does not exist, or one that this model or data cannot answer.
    """
    checks = checks_of(design.settings, data.reads)
    plan = Plan(
        attnaudit_version=__version__,
        model=model,
        data=data,
        settings=design.settings,
        checks=tuple(check.name for check in checks),
        about=dict(about or {}),
    )
    return Asked(plan, design, checks, cells_of(asked_of(checks, design), design))


def carry_out(
    asked: Asked,
    folder: Path,
    *,
    keep: bool = True,
    overwrite: bool = False,
    engine: Engine | None = None,
    device: str = "cpu",
    watch: Watch | None = None,
    send: Callable[[], None] | None = None,
) -> AuditResult:
    """Run what is not finished, conclude, judge and store.

    Args:
        asked: What `ask` planned.
        folder: The run folder.
        keep: Whether the findings are stored there; cells always are.
        overwrite: Replace another audit that the folder holds.
        engine: Where cells run; here, one after another, by default.
        device: Where cells train and compute.
        watch: Told of each cell's start, steps and end.
        send: Writes what other processes read into the folder, once it is known to be this run's.

    Raises:
        RunError: The folder cannot be used, or holds something else.
        AttnauditError: A cell without which nothing can be said failed.
    """
    store = Store(folder, "audit")
    before = None if overwrite else store.known_plan(Plan)
    difference = None if before is None else asked.plan.difference(before)
    store.open(asked.plan, difference, fresh=overwrite)
    if send is not None:
        send()
    done = run_cells(asked.cells, store, engine=engine, device=device, watch=watch)
    earlier = None if done.fresh else _earlier(store, asked.plan)
    result = conclude(asked, store, done)
    if earlier is not None:
        # nothing was computed: this is still the audit of that time
        update = {"created": earlier.created, "seconds": earlier.seconds}
        report = result.report.model_copy(update=update)
        result = replace(result, report=report)
    if keep:
        with store.held():
            store.keep_only(with_needs(asked.cells))
            store.write(ESTIMATES, _parquet(tidy(result.report)))
            for name, frame in result.frames.items():
                store.write(f"{name}.parquet", _parquet(frame))
            store.write(PICTURES, SHOWN.dump_json(result.pictures))
            store.write(FINDINGS, result.report)
    return result


def run_audit(
    model: Model | ModelFacts,
    data: AnyDataset,
    settings: Settings | None = None,
    *,
    splits: Splits | None = None,
    parts: Sequence[object] = (),
    about: Mapping[str, JsonValue] | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    device: str = "cpu",
    watch: Watch | None = None,
    left_out: int = 0,
) -> AuditResult:
    """Audit a model on data.

    Args:
        model: Any model with the cut; or what is said of one that the audit itself trains, or of
            what it is about where that is no model at hand (see `facts_of`).
        data: Records; labels, where known, among the model's classes.
        settings: Which checks, and how.
        splits: `train`, `dev` and `test`, for checks that train or fit something.
        parts: What single kinds of evidence need besides (see `Design`).
        about: What of that decides the numbers, by name.
        out: The run folder; None keeps nothing.
        overwrite: Replace another audit that the folder holds.
        workers: Cells at a time; more than one run in processes. Numbers do not depend on it.
        device: Where further models are trained.
        watch: Told of each cell's start, steps and end.
        left_out: How many records of the data are not among these, because the model was trained
            on them.

    Raises:
        DataError: No records, or labels that the model does not know.
        SettingsError: A check or bar that does not exist, or no workers.
        RunError: The folder cannot be used.
        ModelError: The model gives NaN or weights that are no distribution.
    """
    settings, engine = settings or Settings(), engine_of(workers)
    if out is not None:
        check_run(out, "audit")
    if isinstance(model, ModelFacts):
        facts, own = model, None
    else:
        data, own = aligned(fitted(data, model), model), model
        facts = model_facts(model, data)
    known = data_facts(data, own, left_out, splits)
    with contextlib.ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attnaudit-")))
        sent = sent_to(folder, own, data, splits) if engine.remote else Sent()
        held = None
        if own is not None:
            held = stack.enter_context(holding(own, facts.fingerprint, sent.model, own.name))
        records = stack.enter_context(holding(data, known.fingerprint, sent.data, data.name))
        some = None
        if splits is not None:
            key = digest_of(known.splits)
            some = stack.enter_context(holding(splits, key, sent.splits, data.name))
        design = Design(settings, held, records, some, tuple(parts))
        asked = ask(design, facts, known, about)
        return carry_out(
            asked,
            folder,
            keep=out is not None,
            overwrite=overwrite,
            engine=engine,
            device=device,
            watch=watch,
            send=sent.write,
        )


def conclude(asked: Asked, store: Store, done: Done) -> AuditResult:
    """Findings, pictures and judgement from finished cells."""
    design, plan = asked.design, asked.plan
    evidence: dict[str, Evidence] = {}
    for kind, some in asked_of(asked.checks, design).items():
        evidence.update(kind.gather(design, some, store, done))
    gates = [
        finding
        for name, check in GATES.items()
        if name in evidence
        for finding in check.conclude(evidence[name])
    ]
    gates += [one.gate for one in evidence.values() if one.gate is not None]
    gate = gates[0] if gates else _unknown()
    findings: list[Finding] = []
    pictures: Pictures = {}
    for check in asked.checks:
        found = check.conclude(evidence[check.name]) if check.name in evidence else []
        found = found or [_not_applicable(check, plan)]
        findings += found
        if check.picture is not None and check.name in evidence:
            pictures[check.name] = tuple(check.picture(evidence[check.name], found))
    lines = tuple(_line(cell, done) for cell in with_needs(asked.cells))
    instances = _instances(store, lines)
    known = (note for one in gates for note in one.notes)
    cautions = [*cautions_on(plan.data), *dict.fromkeys(known), *_too_long(plan, instances)]
    report = AuditReport(
        plan=plan,
        created=datetime.now(UTC),
        seconds=done.seconds,
        performance=gate,
        findings=tuple(findings),
        judgement=judge(gate, findings, cautions, SUBJECTS.get(plan.data.reads)),
        cells=lines,
    )
    frames = {
        name: frame
        for one in evidence.values()
        if isinstance(one, Tabled)
        for name, frame in one.frames.items()
    }
    return AuditResult(report, instances, pictures, frames)


def open_audit(folder: Path) -> AuditResult:
    """A finished audit from its run folder.

    Raises:
        RunError: The folder holds no finished audit, or a damaged one.
    """
    store = Store(folder, "audit")
    report = store.read(FINDINGS, AuditReport)
    store.read(PLAN, Plan)  # which the findings repeat: a changed one is told of all the same
    pictures = SHOWN.validate_json(read_sure(folder / PICTURES, folder, "pictures", AGAIN))
    tables = {
        name.removesuffix(".parquet"): pl.read_parquet(
            io.BytesIO(read_sure(folder / name, folder, name, AGAIN))
        )
        for name in known_manifest(folder).files
        if name.endswith(".parquet") and name != ESTIMATES and "/" not in name
    }
    return AuditResult(report, _instances(store, report.cells), pictures, tables)


def _earlier(store: Store, plan: Plan) -> AuditReport | None:
    """The report of the same plan that the folder holds, or None."""
    if not (store.folder / FINDINGS).exists():
        return None
    with contextlib.suppress(RunError):
        found = store.read(FINDINGS, AuditReport)
        return found if found.plan.checks == plan.checks else None
    return None


def _instances(store: Store, lines: Sequence[CellLine]) -> pl.DataFrame:
    places = [line.place for line in lines if line.place.startswith(f"{ROOM}/chunk")]
    return read_instances(store, places) if places else pl.DataFrame()


def _line(cell: Cell, done: Done) -> CellLine:
    record = done.records.get(cell.name)
    if record is None:
        reason = done.failed.get(cell.name, "unknown")
        return CellLine(name=cell.name, place=cell.place, status="failed", reason=reason)
    return CellLine(
        name=cell.name,
        place=cell.place,
        status="done",
        seconds=record.seconds,
        facts=record.facts,
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


def _unknown() -> Finding:
    return Finding(
        check="performance",
        subject="model",
        verdict=Verdict.NOT_APPLICABLE,
        sentence="Whether the model is good enough to audit was not asked.",
    )


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


def _parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()
