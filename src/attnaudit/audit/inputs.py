"""Models and data on their way to other processes: as files of the run folder, never pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import RunError
from attnaudit.evidence.contract import Splits
from attnaudit.files import whole_folder
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.models.seen import (
    TEST_BAGS,
    TEST_FILE,
    SeenTexts,
    read_held_out,
    write_splits,
)

INPUTS = "inputs"


@dataclass(frozen=True)
class Sent:
    """How other processes get what cells read; None where they cannot."""

    model: Callable[[], Model] | None = None
    data: Callable[[], AnyDataset] | None = None
    splits: Callable[[], Splits] | None = None


@runtime_checkable
class _Savable(Protocol):
    def save(self, folder: Path) -> None: ...


def sent_to(folder: Path, model: Model | None, data: AnyDataset, splits: Splits | None) -> Sent:
    """Write what cells read into the run folder, each once.

    Raises:
        ModelError: Something cannot be written.
    """
    root = folder / INPUTS
    of_model = None
    if model is not None and isinstance(model, _Savable):
        place = root / f"model-{model.fingerprint()[:16]}"
        if not place.exists():
            with whole_folder(place) as part:
                model.save(part)
        of_model = partial(load, place, str(model.device))
    if splits is None:
        return Sent(of_model, partial(_read, _written(root, data)))
    parts = {name: _written(root, part) for name, part in splits.items()}
    return Sent(of_model, partial(_read, _written(root, data)), partial(_read_all, parts))


@dataclass(frozen=True)
class _Records:
    """Where records lie, and what the file does not say of them."""

    file: Path
    name: str
    classes: tuple[str, ...]
    split: str


def _written(root: Path, data: AnyDataset) -> _Records:
    place = root / f"data-{data.fingerprint[:16]}"
    kind = TEST_BAGS if isinstance(data, BagDataset) else TEST_FILE
    if not place.exists():
        with whole_folder(place) as part:
            write_splits(part, {"test": data})
    return _Records(place / kind, data.name, data.classes, data.split)


def _read(stored: _Records) -> AnyDataset:
    found = read_held_out(
        SeenTexts(frozenset(), frozenset(), stored.name, stored.file), stored.classes
    )
    if found is None:
        raise RunError(f"{stored.file} is gone: run the same command again.")
    return found.select(found.records, stored.split)


def _read_all(parts: Mapping[str, _Records]) -> Splits:
    return {name: _read(part) for name, part in parts.items()}
