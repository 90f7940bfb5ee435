"""The run folder: what is finished stays finished."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from attnaudit.errors import RunError
from attnaudit.measures.drift import DriftReference
from attnaudit.runs.schema import SCHEMA_VERSION, AuditReport, Plan

PLAN, FINDINGS, INSTANCES, DRIFT, WORK, LOCK = (
    "plan.json", "findings.json", "instances", "drift.safetensors", "work.json", ".lock",
)  # fmt: skip


Stored = TypeVar("Stored", Plan, AuditReport)


class Store:
    """One run folder. Every file is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: two audits cannot write into it at once.

        Raises:
            RunError: Another process holds it, or it cannot be written.
        """
        try:
            (self.folder / INSTANCES).mkdir(parents=True, exist_ok=True)
            handle = open(self.folder / LOCK, "a")  # noqa: SIM115 - held for the whole run
        except OSError as error:
            raise explained(error, self.folder) from error
        with handle:
            lock(handle.fileno(), self.folder)
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
            self._write(path, plan.model_dump_json(indent=2).encode())
            return
        before = self.read_plan()
        if not plan.same_work(before):
            raise RunError(
                f"{self.folder} holds another audit: {_difference(before, plan)}. Choose another "
                "folder, or pass overwrite=True (--overwrite) to replace it."
            )

    def clear(self) -> None:
        """Take away what an earlier audit left here, and nothing else."""
        for path in (*(self.folder / INSTANCES).glob("*.parquet"),
                     *(self.folder / n for n in (FINDINGS, DRIFT, WORK, PLAN))):  # fmt: skip
            # the plan goes last: while it stands, what is left is known to be another audit's
            path.unlink(missing_ok=True)

    def read_plan(self) -> Plan:
        """The plan of this folder.

        Raises:
            RunError: There is none, or it is damaged or of another schema.
        """
        return self._parse(PLAN, Plan)

    def read_report(self) -> AuditReport:
        """The findings of this folder.

        Raises:
            RunError: There are none yet, or they are damaged or of another schema.
        """
        return self._parse(FINDINGS, AuditReport)

    def write_report(self, report: AuditReport) -> None:
        """Store the findings."""
        self._write(self.folder / FINDINGS, report.model_dump_json(indent=2).encode())

    def read_chunk(self, index: int) -> pl.DataFrame | None:
        """A finished chunk, or None; a damaged file counts as unfinished."""
        path = self._chunk(index)
        if not path.exists():
            return None
        try:
            return pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError):
            return None

    def write_chunk(self, index: int, frame: pl.DataFrame) -> None:
        """Store a finished chunk."""
        # through memory: polars reports a full disk as an error of its own, without its number
        content = io.BytesIO()
        frame.write_parquet(content)
        self._write(self._chunk(index), content.getvalue())

    def read_instances(self) -> pl.DataFrame:
        """All finished instances, in order.

        Raises:
            RunError: There are none.
        """
        frames = [pl.read_parquet(p) for p in sorted((self.folder / INSTANCES).glob("*.parquet"))]
        if not frames:
            raise RunError(
                f"{self.folder} holds no instances: run `attnaudit audit` into it first."
            )
        return merge(frames)

    def read_seconds(self) -> float:
        """How long the instances of this folder took so far; 0 where that is not known."""
        try:
            return float(json.loads((self.folder / WORK).read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, TypeError, KeyError):
            return 0.0

    def write_seconds(self, seconds: float) -> None:
        """Store how long the instances of this folder took so far."""
        self._write(self.folder / WORK, json.dumps({"seconds": seconds}).encode())

    def read_drift(self) -> DriftReference | None:
        """The stored drift reference, or None."""
        path = self.folder / DRIFT
        if not path.exists():
            return None
        try:
            found = load_file(path)
        except (SafetensorError, OSError):
            return None
        return DriftReference(
            found["mean"], found["axes"], found["precision"], float(found["bar"][0])
        )

    def write_drift(self, drift: DriftReference) -> None:
        """Store the drift reference, so that a resumed run uses the same one."""
        tensors = {
            "mean": drift.mean, "axes": drift.axes, "precision": drift.precision,
            "bar": np.array([drift.bar]),
        }  # fmt: skip
        self._write(
            self.folder / DRIFT, save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
        )

    def _chunk(self, index: int) -> Path:
        return self.folder / INSTANCES / f"chunk-{index:05d}.parquet"

    def _write(self, path: Path, content: bytes) -> None:
        write_whole(path, content, self.folder)

    def _parse(self, name: str, kind: type[Stored]) -> Stored:
        path = self.folder / name
        try:
            content = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RunError(
                f"{self.folder} is no finished run: it has no {name}. Give the folder that "
                "`attnaudit audit --out` wrote."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        try:
            version = _schema_version(json.loads(content))
        except (ValueError, AttributeError):
            raise RunError(
                f"{path} is damaged: it is no JSON object. Audit into a new folder."
            ) from None
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


def _schema_version(content: dict[str, object]) -> object:
    plan = content.get("plan", content)
    return plan.get("schema_version") if isinstance(plan, dict) else None


def _difference(before: Plan, now: Plan) -> str:
    if before.model.fingerprint != now.model.fingerprint:
        return f"of the model {before.model.name!r} ({before.model.fingerprint[:8]})"
    if before.data.fingerprint != now.data.fingerprint:
        return f"of the data {before.data.name!r} ({before.data.instances} instances)"
    if before.settings != now.settings:
        old, new = before.settings.model_dump(), now.settings.model_dump()
        changed = [f"{key} was {old[key]}" for key in old if old[key] != new[key]]
        return "with other settings (" + ", ".join(changed) + ")"
    if before.attnaudit_version == now.attnaudit_version:
        return "by other source code of the same version"
    return f"by attnaudit {before.attnaudit_version}"


def write_whole(path: Path, content: bytes, folder: Path) -> None:
    """Write a file of a run folder whole or not at all.

    Raises:
        RunError: It cannot be written; the message says why.
    """
    part = path.with_suffix(path.suffix + ".part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise explained(error, folder) from error


def explained(error: OSError, folder: Path) -> RunError:
    """An error of the file system in words."""
    reasons = {
        errno.ENOSPC: "the disk is full. Instances finished so far are kept: free some space and "
        "run the same command again",
        errno.EDQUOT: "your disk quota is used up. Finished instances are kept: free some space "
        "and run the same command again",
        errno.EROFS: "it lies on a read-only disk. Choose another folder",
        errno.EACCES: "permission denied. Choose a folder that you may write",
        errno.EPERM: "permission denied. Choose a folder that you may write",
        errno.ENOTDIR: "part of its path is a file. Choose another folder",
        errno.EEXIST: "it is a file. Choose another folder",
    }
    why = reasons.get(error.errno or 0, str(error))
    return RunError(f"cannot write to {folder}: {why}.")


def lock(descriptor: int, folder: Path) -> None:
    """Hold an open lock file, or say that another process does.

    Raises:
        RunError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # no such lock on this system
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RunError(
            f"another run is writing to {folder} right now. Wait for it, or choose another."
        ) from error
