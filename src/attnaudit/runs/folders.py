"""Whose a run folder is: one kind of run each, and nothing in it that is not a run's."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from attnaudit.errors import DamagedWarning, RunError
from attnaudit.files import read_json, tidy, writable
from attnaudit.manifest import (
    MANIFEST,
    ChangedError,
    Manifest,
    known_manifest,
    read_manifest,
    write_manifest,
)
from attnaudit.runs.disk import explained

KINDS = {"audit": "an audit", "study": "a study", "model": "a model"}
"""What a folder can hold, in words."""
FILES = {
    "audit": (
        "plan.json",
        "findings.json",
        "pictures.json",
        "estimates.parquet",
        "cells",
        "instances",
        "inputs",
        "seeds.parquet",
        "weights.parquet",
        "model",
        "report.html",
        "card.md",
    ),
    "study": (
        "plan.json",
        "findings.json",
        "claims.json",
        "results.parquet",
        "cells",
        "report.html",
        "card.md",
    ),
}
"""What each kind of run writes."""


def kind_of(folder: Path) -> str | None:
    """What a folder holds, a name of `KINDS`; None where it is nothing of attnaudit's."""
    manifest = known_manifest(folder)
    if manifest.kind:
        return manifest.kind
    held = str(_object(folder / "config.json").get("format", ""))
    return "model" if held.startswith("attnaudit-") else None


def check_run(folder: Path, kind: str, *, reads: Iterable[object] = ()) -> None:
    """Refuse a place for a run, before any work; nothing is made there.

    Args:
        folder: The run folder.
        kind: A name of `KINDS`.
        reads: What the run reads: none of it is taken for a run folder.

    Raises:
        RunError: It cannot be written, or holds something else; the message says what.
    """
    why = writable(folder)
    if why is not None or (folder.exists() and not folder.is_dir()):
        raise RunError(f"cannot write to {folder}: {why or 'it is a file'}. Choose another folder.")
    written = {(folder / name).resolve() for name in (".", *FILES[kind])}
    for source in reads:
        named = isinstance(source, str | Path) and os.path.exists(source)
        if named and Path(str(source)).resolve() in written:
            raise RunError(f"{source} is being read. Choose another folder than {folder}.")
    if not folder.is_dir():
        return
    refuse_other(folder, kind)
    if kind_of(folder) is None:
        foreign = [name for name in (MANIFEST, *FILES[kind]) if _holds(folder / name)]
        damaged = foreign and foreign[0] == MANIFEST and _damaged(folder)
        if foreign and not damaged:
            raise RunError(
                f"{folder / foreign[0]} was written by no run of attnaudit that is known here, and "
                "would be written over. Choose another folder."
            )


def refuse_other(folder: Path, kind: str) -> None:
    """Refuse a folder that holds another kind of run.

    Raises:
        RunError: What it holds.
    """
    found = kind_of(folder)
    if found is not None and found != kind:
        raise RunError(
            f"{folder} holds {KINDS.get(found, f'a run of another kind, {found}')}, not "
            f"{KINDS[kind]}. Choose another folder."
        )


def claim(folder: Path, kind: str) -> None:
    """Note whose a folder is, and take away what killed runs of it left half-written.

    Args:
        folder: A folder that `check_run` has found fit, held by nobody else.
        kind: A name of `KINDS`.

    Raises:
        RunError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, *(folder / name for name in FILES[kind] if (folder / name).is_dir())):
            tidy(place)
        if _damaged(folder):
            said = f"{folder / MANIFEST} is damaged: it is made again, and so is all that it noted."
            warnings.warn(said, DamagedWarning, stacklevel=2)
        before = known_manifest(folder)
        if before.kind != kind:
            write_manifest(folder, Manifest(kind, before.plan, before.files))
    except OSError as error:
        raise explained(error, folder) from error


def unclaim(folder: Path, kind: str) -> None:
    """Forget every file of a run that is to be replaced; the kind stays.

    Raises:
        RunError: The folder cannot be written.
    """
    try:
        write_manifest(folder, Manifest(kind))
    except OSError as error:
        raise explained(error, folder) from error


def _object(path: Path) -> dict[str, object]:
    """The JSON object in a file; an empty one where there is none."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _holds(path: Path) -> bool:
    """Whether there is a file at a place, or anything in a folder there."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _damaged(folder: Path) -> bool:
    """Whether the manifest is no longer readable, as after a disk fault."""
    try:
        read_manifest(folder)
    except ChangedError:
        return True
    return False
