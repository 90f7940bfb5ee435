"""Bags in .npz files of NumPy: a documented layout, read without pickles, and written.

| array | shape | meaning |
|---|---|---|
| `instances` | `(n, …)` | one row an instance |
| `bag` | `(n,)` | the bag of each instance: whole numbers or strings |
| `label` | `(n,)` | the label of its bag, the same for all instances of one |
| `truth` | `(n,)` | 1 for key instances, else 0; optional |
| `key_type` | `(n,)` | 0 for no key, else the type of the key from 1; optional |
| `coordinates` | `(n, 2)` | x to the right, y down; optional |
| `name` | `(n,)` | what reports call the instance; optional |
| `classes` | `(c,)` | the names of the classes in index order; optional |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from attnaudit.data.bags.build import Array, Rows, missing_array
from attnaudit.data.bags.records import Bag, BagDataset
from attnaudit.data.sources.frames import listed, storable
from attnaudit.data.sources.npz import read_npz
from attnaudit.errors import DataError

ARRAYS = (
    "instances",
    "bag",
    "label",
    "truth",
    "key_type",
    "coordinates",
    "name",
    "classes",
    "features",
)


def array_rows(path: Path, label: bool = True) -> tuple[Rows, tuple[str, ...] | None]:
    """A file of this layout as rows, with the classes where it has them.

    Args:
        path: An .npz file.
        label: Whether labels are wanted; then they must be there.

    Raises:
        DataError: An array is missing, unknown, or of another length.
    """
    arrays = read_npz(path)
    unknown = [name for name in arrays if name not in ARRAYS]
    if unknown:
        raise DataError(
            f"{path}: unknown array {unknown[0]!r}. Bags are read from: {listed(ARRAYS)}"
        )
    for name in ("instances", "bag", *(("label",) if label else ())):
        if name not in arrays:
            raise missing_array(str(path), name, list(arrays))
    classes, features = arrays.pop("classes", None), arrays.pop("features", None)
    size = len(arrays["instances"]) if arrays["instances"].ndim else 0
    for name, array in arrays.items():
        axes = {"instances": array.ndim, "coordinates": 2}.get(name, 1)
        if array.ndim == 0 or array.ndim != axes or len(array) != size:
            raise DataError(
                f"{path}: the array {name!r} has the shape {array.shape}, for {size} instances"
            )

    def plain(name: str) -> list[Any] | None:
        return arrays[name].tolist() if name in arrays else None

    rows = Rows(
        name=str(path),
        # As NumPy counts.
        place=lambda row: f"{path}, instance {row}",
        bags=arrays["bag"].tolist(),
        values=arrays["instances"],
        value_name=lambda position: f"instances[…, {', '.join(map(str, position))}]",
        labels=plain("label") if label else None,
        truth=plain("truth"),
        key_types=plain("key_type"),
        coordinates=arrays.get("coordinates"),
        names=plain("name"),
        features=() if features is None else _names(path, "features", features),
    )
    return rows, None if classes is None else _names(path, "classes", classes)


def _names(path: Path, array: str, values: Array) -> tuple[str, ...]:
    if values.ndim != 1:
        raise DataError(
            f"{path}: the array {array!r} has the shape {values.shape}; it is a list of names"
        )
    return tuple(
        storable(str(name), f"{path}, array {array!r}, entry {row}")
        for row, name in enumerate(values.tolist())
    )


def save_bags(data: BagDataset, path: str | Path) -> Path:
    """Write bags as .npz, to be read by `load_bags`.

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


def _labels(bag: Bag, classes: tuple[str, ...]) -> Array | None:
    if bag.label is None:
        return None
    label = classes[bag.label] if isinstance(bag.label, int) else bag.label
    return np.full(len(bag), label)
