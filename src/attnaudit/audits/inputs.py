"""Models and data on their way to other processes: as files of the run folder, never pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
    """How other processes get what cells read; None where they cannot.

    Attributes:
        write: Writes it into the run folder, each thing once.
    """

    model: Callable[[], Model] | None = None
    data: Callable[[], AnyDataset] | None = None
    splits: Callable[[], Splits] | None = None
    write: Callable[[], None] | None = None


def sent_to(
    folder: Path,
    model: Model | None = None,
    data: AnyDataset | None = None,
    splits: Splits | None = None,
) -> Sent:
    """How cells in other processes get a model and data by way of the run folder."""
    root = folder / INPUTS
    every = [*([] if data is None else [data]), *(splits or {}).values()]
    remade = None if model is None else model.remade()
    save: Callable[[Path], object] | None = None if remade else getattr(model, "save", None)
    place = root / ("model" if model is None else f"model-{model.fingerprint()[:16]}")

    def write() -> None:
        if save is not None and not place.exists():
            with whole_folder(place) as part:
                save(part)
        for one in every:
            where = _place(root, one).file.parent
            if not where.exists():
                with whole_folder(where) as part:
                    write_splits(part, {"test": one})

    parts = {name: _place(root, part) for name, part in (splits or {}).items()}
    saved = None if save is None or model is None else partial(load, place, str(model.device))
    return Sent(
        remade or saved,
        None if data is None else partial(_read, _place(root, data)),
        partial(_read_all, parts) if parts else None,
        write,
    )


@dataclass(frozen=True)
class _Records:
    """Where records lie, and what the file does not say of them."""

    file: Path
    name: str
    classes: tuple[str, ...]
    split: str


def _place(root: Path, data: AnyDataset) -> _Records:
    kind = TEST_BAGS if isinstance(data, BagDataset) else TEST_FILE
    file = root / f"data-{data.fingerprint[:16]}" / kind
    return _Records(file, data.name, data.classes, data.split)


def _read(stored: _Records) -> AnyDataset:
    found = read_held_out(
        SeenTexts(frozenset(), frozenset(), stored.name, stored.file), stored.classes
    )
    if found is None:
        raise RunError(f"{stored.file} is gone: run the same command again.")
    return found.select(found.records, stored.split)


def _read_all(parts: Mapping[str, _Records]) -> Splits:
    return {name: _read(part) for name, part in parts.items()}
