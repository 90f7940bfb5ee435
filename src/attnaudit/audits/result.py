"""What an audit found, as it is at hand and as it lies in the run folder."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from pydantic import TypeAdapter

from attnaudit.audits.frame import tidy
from attnaudit.audits.schema import AuditReport, CellLine, Plan
from attnaudit.errors import RunError
from attnaudit.evidence.batch.chunks import ROOM, read_instances
from attnaudit.findings.pictures import Block
from attnaudit.manifest import known_manifest
from attnaudit.runs.disk import read_sure
from attnaudit.runs.store import AGAIN, PLAN, Store

FINDINGS, ESTIMATES, PICTURES = "findings.json", "estimates.parquet", "pictures.json"
Pictures = dict[str, tuple[Block, ...]]
SHOWN = TypeAdapter(Pictures)


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


def store_result(store: Store, result: AuditResult) -> None:
    """Write all that an audit found; the findings come last, since a run without them has none."""
    store.write(ESTIMATES, _parquet(tidy(result.report)))
    for name, frame in result.frames.items():
        store.write(f"{name}.parquet", _parquet(frame))
    store.write(PICTURES, SHOWN.dump_json(result.pictures))
    store.write(FINDINGS, result.report)


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
    return AuditResult(report, instances_of(store, report.cells), pictures, tables)


def stored(store: Store, plan: Plan) -> AuditReport | None:
    """The report of the same plan that the folder holds, or None."""
    if not (store.folder / FINDINGS).exists():
        return None
    with contextlib.suppress(RunError):
        found = store.read(FINDINGS, AuditReport)
        return found if found.plan.checks == plan.checks else None
    return None


def instances_of(store: Store, lines: Sequence[CellLine]) -> pl.DataFrame:
    """One row per instance, from the chunks of a run; empty where there are none."""
    places = [line.place for line in lines if line.place.startswith(f"{ROOM}/chunk")]
    return read_instances(store, places) if places else pl.DataFrame()


def _parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()
