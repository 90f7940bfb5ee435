"""A study's run folder: a finished cell stays finished."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError

from attnaudit.errors import DamagedWarning
from attnaudit.files import tidy
from attnaudit.manifest import changes
from attnaudit.runs.disk import explained, lock, read_noted, write_noted
from attnaudit.studies.declaration import Cell, Study
from attnaudit.studies.schema import CellRecord, StudyReport

CELLS, CELL, STUDY, CLAIMS, LOCK = "cells", "cell.json", "study.json", "claims.json", ".lock"


class StudyStore:
    """One folder. Every file is written whole or not at all."""

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder = folder
        self.study = study

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: two studies cannot write into it at once.

        Raises:
            RunError: Another process holds it, or it cannot be written.
        """
        try:
            (self.folder / CELLS).mkdir(parents=True, exist_ok=True)
            handle = open(self.folder / LOCK, "a")  # noqa: SIM115 - held for the whole run
        except OSError as error:
            raise explained(error, self.folder) from error
        with handle:
            lock(handle.fileno(), self.folder)
            for place in (self.folder, *self.folder.glob(f"{CELLS}/*")):
                tidy(place)
            yield

    def folder_of(self, cell: Cell) -> Path:
        """The folder of a cell, made if need be.

        Raises:
            RunError: It cannot be made.
        """
        folder = self.folder / CELLS / cell.folder(self.study)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explained(error, self.folder) from error
        return folder

    def read(self, cell: Cell) -> CellRecord | None:
        """A finished cell of the same specification, with all that it has stored.

        None for any other, and with a warning where something of it is not what was written.
        """
        folder = self.folder / CELLS / cell.folder(self.study)
        said = changes(folder)
        if said:
            warnings.warn(f"{said[0]}: made again.", DamagedWarning, stacklevel=2)
            return None
        content = read_noted(folder / CELL, folder)
        if content is None:
            return None
        try:
            record = CellRecord.model_validate_json(content)
        except ValidationError:
            return None
        same = record.key == cell.key(self.study) and record.status == "done"
        return record if same else None

    def write(self, cell: Cell, record: CellRecord) -> None:
        """Store what came of a cell.

        Raises:
            RunError: It cannot be written.
        """
        folder = self.folder_of(cell)
        write_noted(folder / CELL, _json(record), folder)

    def write_report(self, report: StudyReport, claims: BaseModel) -> None:
        """Store `study.json` and `claims.json`.

        Raises:
            RunError: They cannot be written.
        """
        write_noted(self.folder / STUDY, _json(report), self.folder)
        write_noted(self.folder / CLAIMS, _json(claims), self.folder)

    def write_table(self, name: str, content: bytes) -> None:
        """Store a table beside them.

        Raises:
            RunError: It cannot be written.
        """
        write_noted(self.folder / name, content, self.folder)


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=2).encode()
