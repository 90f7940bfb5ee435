"""Bags written as .npz, in the layout that `attnaudit.data.sources.npz` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from attnaudit.data.bags.records import Bag, BagDataset
from attnaudit.errors import DataError


def save_bags(data: BagDataset, path: str | Path) -> Path:
    """Write bags as .npz, to be read as a source.

    What only some bags have (truth, names, …) is refused, since the arrays are those of all.

    Raises:
        DataError: Not all bags have what one has, or the file cannot be written.
    """
    path = Path(path)
    arrays: dict[str, Any] = {
        "instances": np.concatenate([bag.instances.numpy() for bag in data]),
        "bag": np.concatenate([np.full(len(bag), bag.id) for bag in data]),
    }
    columns: dict[str, list[Any]] = {
        "label": [_labels(bag, data.classes) for bag in data],
        "truth": [bag.truth for bag in data],
        "key_type": [bag.key_types for bag in data],
        "coordinates": [bag.coordinates for bag in data],
        "name": [bag.names for bag in data],
    }
    for name, values in columns.items():
        absent = [bag.id for bag, value in zip(data.bags, values, strict=True) if value is None]
        if not absent:
            arrays[name] = np.concatenate([np.asarray(value) for value in values])
        elif len(absent) < len(data):
            raise DataError(
                f"{data.name}: bag {absent[0]!r} has no {name}, and others have; give all of them "
                "one, or none"
            )
    if data.classes:
        arrays["classes"] = np.array(data.classes)
    if data.features:
        arrays["features"] = np.array(data.features)
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _labels(bag: Bag, classes: tuple[str, ...]) -> npt.NDArray[Any] | None:
    if bag.label is None:
        return None
    label = classes[bag.label] if isinstance(bag.label, int) else bag.label
    return np.full(len(bag), label)
