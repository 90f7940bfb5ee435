"""The run folder: what is finished stays finished, and every file is checked when it is read."""

from __future__ import annotations

import contextlib
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeVar

from pydantic import BaseModel, ValidationError

from attnaudit.errors import DamagedWarning, RunError
from attnaudit.files import parse_json, tidy
from attnaudit.manifest import ChangedError, changes, known_manifest, read_noted, write_manifest
from attnaudit.runs import disk
from attnaudit.runs.cell import Cell, CellRecord
from attnaudit.runs.disk import explained, lock, read_sure, write_noted
from attnaudit.runs.folders import check_run, claim, refuse_other, unclaim

PATIENCE = 10.0
"""Seconds that the root of a folder may be held by another process; it is held to write files."""
CELL, PLAN, LOCK = "cell.json", "plan.json", ".lock"
AGAIN = (
    "Run the same command into this folder again: what is whole is used, and the rest made again."
)

Stored = TypeVar("Stored", bound=BaseModel)


class Store:
    """One run folder.

    Its root (plan, findings, report) is guarded by one lock that is held while it is written; each
    cell has a folder, a manifest and a lock of its own, so that two processes with the same plan
    share the work.

    Args:
        folder: The run folder.
        kind: What it holds, a name of `KINDS`.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the root of the folder while it is written.

        Raises:
            RunError: Another process holds it, it cannot be written, or it holds something else.
        """
        with self._lock(self.folder):
            yield

    def open(self, plan: BaseModel, difference: str | None = None, *, fresh: bool = False) -> None:
        """Take the folder for a run with this plan.

        Args:
            plan: What is asked; stored as `plan.json`.
            difference: How it differs from the plan that the folder holds, if it does.
            fresh: Forget the plan and findings that the folder holds of an earlier run; cells are
                told apart by their keys.

        Raises:
            RunError: It holds another run, something else, or it cannot be written.
        """
        check_run(self.folder, self.kind)
        with self.held():
            if fresh:
                unclaim(self.folder, self.kind)
            elif difference:
                raise RunError(
                    f"{self.folder} holds another run: {difference}. Choose another folder, or "
                    "pass overwrite=True (--overwrite) to replace it."
                )
            claim(self.folder, self.kind)
            self.write(PLAN, plan)

    def known_plan(self, kind: type[Stored]) -> Stored | None:
        """The plan that the folder holds; None where it holds none.

        Raises:
            RunError: It is not what was written, or gone, so that whose results these are is not
                known.
        """
        path = self.folder / PLAN
        if not path.is_file():
            if next(self.folder.glob(f"*/*/{CELL}"), None) is not None:
                raise RunError(
                    f"{self.folder} holds results but no {PLAN}, so whose they are is not known. "
                    "Choose another folder, or pass overwrite=True (--overwrite) to replace them."
                )
            return None
        try:
            # not noted, or by a damaged manifest: it is told apart from other plans all the same
            content = read_noted(path, self.folder, known_manifest(self.folder))
        except ChangedError as error:
            raise RunError(
                f"{error}, so whose results these are is not known. Choose another folder, or "
                "pass overwrite=True (--overwrite) to replace them."
            ) from error
        return parsed(path.read_bytes() if content is None else content, path, kind)

    def place_of(self, cell: Cell) -> Path:
        """The folder of a cell, made if need be.

        Raises:
            RunError: It cannot be made.
        """
        folder = self.folder / cell.place
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explained(error, self.folder) from error
        return folder

    def claim_cell(self, cell: Cell) -> IO[str] | None:
        """Hold a cell until the file that is given is closed; None where another process does.

        Raises:
            RunError: It cannot be written.
        """
        folder = self.place_of(cell)
        try:
            handle = open(folder / LOCK, "a")  # noqa: SIM115 - closing it gives the cell back
        except OSError as error:
            raise explained(error, self.folder) from error
        try:
            lock(handle.fileno(), folder)
        except RunError:
            handle.close()
            return None
        tidy(folder)
        return handle

    def finished(self, cell: Cell) -> CellRecord | None:
        """The record of a finished cell with the same key, and with all that it has stored.

        None for any other, and with a warning where something of it is not what was written.
        """
        folder = self.folder / cell.place
        if not folder.is_dir():
            return None
        said = changes(folder)
        if said:
            warnings.warn(f"{said[0]}: made again.", DamagedWarning, stacklevel=2)
            return None
        content = disk.read_noted(folder / CELL, folder)
        if content is None:
            return None
        try:
            record = CellRecord.model_validate_json(content)
        except ValidationError:
            return None
        return record if record.key == cell.key and record.status == "done" else None

    def record(self, place: str) -> CellRecord | None:
        """What a cell has left in this place of the run folder, whatever its key and state."""
        folder = self.folder / place
        content = disk.read_noted(folder / CELL, folder)
        try:
            return None if content is None else CellRecord.model_validate_json(content)
        except ValidationError:
            return None

    def forget(self, cell: Cell) -> None:
        """Take away the record of a cell, so that it is run again; what else it stored stays."""
        folder = self.folder / cell.place
        (folder / CELL).unlink(missing_ok=True)
        known = known_manifest(folder)
        if CELL in known.files:
            kept = {name: digest for name, digest in known.files.items() if name != CELL}
            write_manifest(folder, replace(known, files=kept))

    def finish(self, cell: Cell, record: CellRecord) -> None:
        """Store what came of a cell.

        Raises:
            RunError: It cannot be written.
        """
        folder = self.place_of(cell)
        write_noted(folder / CELL, record.model_dump_json(indent=1).encode(), folder)

    def write(self, name: str, content: BaseModel | bytes) -> None:
        """Store a file of the root.

        Raises:
            RunError: It cannot be written.
        """
        if isinstance(content, BaseModel):
            content = content.model_dump_json(indent=2).encode()
        write_noted(self.folder / name, content, self.folder)

    def read(self, name: str, kind: type[Stored]) -> Stored:
        """What a file of a finished run holds, which must be as it was written.

        Raises:
            RunError: There is none, or it is of another kind of run, damaged or of another schema.
        """
        path = self.folder / name
        if self.folder.is_file():
            raise RunError(f"{self.folder} is a file: give the folder of a run.")
        refuse_other(self.folder, self.kind)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise RunError(
                f"{self.folder} does not hold a finished run: it has no {name}. Give the folder "
                "that --out named."
            ) from None
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        found = parsed(content, path, kind)
        # last, as what is plainly damaged, or of another version, has a message of its own
        read_sure(path, self.folder, "run", AGAIN)
        return found

    def keep_only(self, cells: Sequence[Cell]) -> None:
        """Take away the folders of other cells, such as those of other code, and nothing else.

        Raises:
            RunError: One cannot be taken away.
        """
        kept = {cell.place for cell in cells}
        for record in self.folder.glob(f"*/*/{CELL}"):
            place = record.parent
            if place.relative_to(self.folder).as_posix() not in kept:
                try:
                    shutil.rmtree(place)
                except OSError as error:
                    raise explained(error, self.folder) from error

    @contextlib.contextmanager
    def _lock(self, folder: Path) -> Iterator[None]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = open(folder / LOCK, "a")  # noqa: SIM115 - held while the root is written
        except OSError as error:
            raise explained(error, self.folder) from error
        with handle:
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    lock(handle.fileno(), self.folder)
                    break
                except RunError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(PATIENCE / 100)
            yield


def parsed(content: bytes, path: Path, kind: type[Stored]) -> Stored:
    """What a file of a run holds.

    Raises:
        RunError: It is damaged, or of another schema.
    """
    wanted = kind.model_fields["schema_version"].default
    try:
        found = parse_json(content.decode())
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}). {AGAIN}") from error
    if found.get("schema_version") != wanted:
        raise RunError(
            f"{path} has schema version {found.get('schema_version')}, this attnaudit reads "
            f"{wanted}. Use the version of attnaudit that wrote it, or run it again."
        )
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path} is damaged at {where!r}: {first['msg']}.") from error
