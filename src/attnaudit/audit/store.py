"""The run folder: what is finished stays finished."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from pydantic import ValidationError
from safetensors.numpy import load, save

from attnaudit.audit.schema import SCHEMA_VERSION, AuditReport, Plan
from attnaudit.errors import RunError
from attnaudit.files import parse_json
from attnaudit.manifest import ChangedError, known_manifest, read_noted
from attnaudit.measures.drift import DriftReference
from attnaudit.runs import disk
from attnaudit.runs.disk import explained, lock, read_sure, write_noted
from attnaudit.runs.folders import check_run, claim, refuse_other, unclaim

PLAN, FINDINGS, INSTANCES, DRIFT, WORK, LOCK = (
    "plan.json",
    "findings.json",
    "instances",
    "drift.safetensors",
    "work.json",
    ".lock",
)
AGAIN = "Run the same audit into this folder again: what is whole is used, and the rest made again."

Stored = TypeVar("Stored", Plan, AuditReport)


class Store:
    """One run folder. Every file is written whole or not at all, and checked when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: two audits cannot write into it at once.

        Raises:
            RunError: Another process holds it, it cannot be written, or it holds no audit.
        """
        check_run(self.folder, "audit")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = open(self.folder / LOCK, "a")  # noqa: SIM115 - held for the whole run
        except OSError as error:
            raise explained(error, self.folder) from error
        with handle:
            lock(handle.fileno(), self.folder)
            claim(self.folder, "audit")
            (self.folder / INSTANCES).mkdir(exist_ok=True)
            yield

    def open(self, plan: Plan) -> None:
        """Start with this plan, or go on where the same plan stopped.

        Raises:
            RunError: The folder holds another audit, or a plan that cannot be read.
        """
        path = self.folder / PLAN
        if not path.exists():
            if any((self.folder / INSTANCES).glob("*.parquet")):
                raise RunError(
                    f"{self.folder} holds instances but no {PLAN}, so whose they are is not "
                    "known. Choose another folder, or empty this one."
                )
            for name in (FINDINGS, DRIFT, WORK):
                (self.folder / name).unlink(missing_ok=True)
            unclaim(self.folder, "audit")
            self._write(path, plan.model_dump_json(indent=2).encode())
            return
        try:
            read_noted(path, self.folder)
        except ChangedError as error:
            raise RunError(
                f"{error}, so whose instances these are is not known. Choose another folder, or "
                "pass overwrite=True (--overwrite) to replace them."
            ) from error
        before = self._parse(path.read_bytes(), PLAN, Plan)
        if not plan.same_work(before):
            raise RunError(
                f"{self.folder} holds another audit: {_difference(before, plan)}. Choose another "
                "folder, or pass overwrite=True (--overwrite) to replace it."
            )

    def clear(self) -> None:
        """Take away what an earlier audit left here, and nothing else."""
        for path in (
            *(self.folder / INSTANCES).glob("*.parquet"),
            *(self.folder / n for n in (FINDINGS, DRIFT, WORK, PLAN)),
        ):
            # the plan goes last: while it stands, what is left is known to be another audit's
            path.unlink(missing_ok=True)
        unclaim(self.folder, "audit")

    def read_plan(self) -> Plan:
        """The plan of this folder.

        Raises:
            RunError: There is none, or it is damaged or of another schema.
        """
        return self._sure(PLAN, Plan)

    def read_report(self) -> AuditReport:
        """The findings of this folder.

        Raises:
            RunError: There are none yet, they are of another kind of run, or they are damaged or
                of another schema.
        """
        return self._sure(FINDINGS, AuditReport)

    def write_report(self, report: AuditReport) -> None:
        """Store the findings."""
        self._write(self.folder / FINDINGS, report.model_dump_json(indent=2).encode())

    def read_chunk(self, index: int) -> pl.DataFrame | None:
        """A finished chunk, or None; a damaged file counts as unfinished, with a warning."""
        content = disk.read_noted(self._chunk(index), self.folder)
        return None if content is None else pl.read_parquet(io.BytesIO(content))

    def write_chunk(self, index: int, frame: pl.DataFrame) -> None:
        """Store a finished chunk."""
        # through memory: polars reports a full disk as an error of its own, without its number
        content = io.BytesIO()
        frame.write_parquet(content)
        self._write(self._chunk(index), content.getvalue())

    def read_instances(self) -> pl.DataFrame:
        """All finished instances, in order.

        Raises:
            RunError: There are none, some are missing, or they are not those that were written.
        """
        refuse_other(self.folder, "audit")
        noted = [n for n in known_manifest(self.folder).files if n.startswith(f"{INSTANCES}/")]
        if not noted:
            raise RunError(
                f"{self.folder} holds no instances: run `attnaudit audit` into it first."
            )
        wanted = self.read_plan().data.instances
        parts = (read_sure(self.folder / n, self.folder, "instances", AGAIN) for n in noted)
        found = merge([pl.read_parquet(io.BytesIO(part)) for part in parts])
        if len(found) != wanted:
            raise RunError(f"{self.folder} holds {len(found):,} of {wanted:,} instances. {AGAIN}")
        return found

    def read_seconds(self) -> float:
        """How long the instances of this folder took so far; 0 where that is not known."""
        content = disk.read_noted(self.folder / WORK, self.folder)
        return 0.0 if content is None else float(json.loads(content)["seconds"])

    def write_seconds(self, seconds: float) -> None:
        """Store how long the instances of this folder took so far."""
        self._write(self.folder / WORK, json.dumps({"seconds": seconds}).encode())

    def read_drift(self) -> DriftReference | None:
        """The stored drift reference, or None; a damaged one counts as none, with a warning."""
        content = disk.read_noted(self.folder / DRIFT, self.folder)
        if content is None:
            return None
        found = load(content)
        return DriftReference(
            found["mean"], found["axes"], found["precision"], float(found["bar"][0])
        )

    def write_drift(self, drift: DriftReference) -> None:
        """Store the drift reference, so that a resumed run uses the same one."""
        tensors = {
            "mean": drift.mean,
            "axes": drift.axes,
            "precision": drift.precision,
            "bar": np.array([drift.bar]),
        }
        self._write(
            self.folder / DRIFT, save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
        )

    def _chunk(self, index: int) -> Path:
        return self.folder / INSTANCES / f"chunk-{index:05d}.parquet"

    def _write(self, path: Path, content: bytes) -> None:
        write_noted(path, content, self.folder)

    def _sure(self, name: str, kind: type[Stored]) -> Stored:
        """What a file of a finished audit holds, which must be as it was written."""
        path = self.folder / name
        if self.folder.is_file():
            raise RunError(
                f"{self.folder} is a file: give the folder that `attnaudit audit --out` wrote."
            )
        refuse_other(self.folder, "audit")
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise RunError(
                f"{self.folder} is no finished run of `attnaudit audit`: it has no {name}. "
                "Give the folder that `attnaudit audit --out` wrote."
            ) from None
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        found = self._parse(content, name, kind)
        # last, as what is plainly damaged, or of another version, has a message of its own
        read_sure(path, self.folder, "audit", AGAIN)
        return found

    def _parse(self, content: bytes, name: str, kind: type[Stored]) -> Stored:
        path = self.folder / name
        try:
            found = parse_json(content.decode())
            if not isinstance(found, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            raise RunError(f"{path} is damaged ({error}). Audit into a new folder.") from error
        version = _schema_version(found)
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{path} has schema version {version}, this attnaudit reads {SCHEMA_VERSION}. "
                "Use the version of attnaudit that wrote it, or audit again."
            )
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RunError(f"{path} is damaged at {where!r}: {first['msg']}.") from error


def merge(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Chunks to one table in the order of the data: the order of chunks does not matter."""
    return pl.concat(frames, how="diagonal_relaxed").sort("index")


def _schema_version(content: Mapping[str, object]) -> object:
    plan = content.get("plan", content)
    return plan.get("schema_version") if isinstance(plan, dict) else None


def _difference(before: Plan, now: Plan) -> str:
    # data first: the classes that a model is fitted to are those of its data
    if before.data.fingerprint != now.data.fingerprint:
        return f"of the data {before.data.name!r} ({before.data.instances} instances)"
    if before.model.fingerprint != now.model.fingerprint:
        return f"of the model {before.model.name!r} ({before.model.fingerprint[:8]})"
    if before.settings != now.settings:
        old, new = before.settings.model_dump(), now.settings.model_dump()
        changed = [f"{key} was {old[key]}" for key in old if old[key] != new[key]]
        return "with other settings (" + ", ".join(changed) + ")"
    if before.attnaudit_version == now.attnaudit_version:
        return "by other source code of the same version"
    return f"by attnaudit {before.attnaudit_version}"
