"""The classic sets of multiple-instance learning, from a folder with a copy of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnaudit.data.sources.frames import Arrays, Table
from attnaudit.data.sources.npz import missing_array, read_npz
from attnaudit.errors import DataError

_ARRAYS = ("X", "bag", "bag_label")


@dataclass(frozen=True)
class BagSet:
    """A set of the literature, with its published size; instances have no truth.

    Attributes:
        name: What names it as a source, and the name of its file.
        title: What the set is, in words.
        paper: Where it was published.
        bags: How many bags it has.
        positive: How many of these are positive.
        instances: How many instances it has.
        features: Of an instance.
        classes: Their names, negative first.
    """

    name: str
    title: str
    paper: str
    bags: int
    positive: int
    instances: int
    features: int
    classes: tuple[str, str]


_MUSK = "molecules as bags of their shapes: does one of these smell of musk?"
_IMAGES = "images as bags of regions: is there {} in it?"
_SETS = (
    BagSet("musk1", _MUSK, "Dietterich et al. 1997", 92, 47, 476, 166, ("no musk", "musk")),
    BagSet("musk2", _MUSK, "Dietterich et al. 1997", 102, 39, 6598, 166, ("no musk", "musk")),
    *(
        BagSet(
            name,
            _IMAGES.format(thing),
            "Andrews et al. 2003",
            200,
            100,
            size,
            230,
            ("other", name),
        )
        for name, thing, size in (
            ("elephant", "an elephant", 1391),
            ("fox", "a fox", 1320),
            ("tiger", "a tiger", 1220),
        )
    ),
)
BAG_SETS: dict[str, BagSet] = {entry.name: entry for entry in _SETS}


def bag_set_table(entry: BagSet, data_dir: str | Path) -> Table:
    """One of the classic sets as a table, features as they come (not scaled).

    Args:
        entry: The set.
        data_dir: A folder with `musk1.npz` and so on: `X` `(n, features)`, `bag` `(n,)` the index
            of each instance's bag, `bag_label` `(bags,)` 0 or 1, and, if the bags have names,
            `bag_name` `(bags,)`.

    Raises:
        DataError: There is no such file, or it does not have the published size.
    """
    path = Path(data_dir) / f"{entry.name}.npz"
    if not path.is_file():
        raise DataError(
            f"{path} is not there: the set {entry.name!r} needs a copy of one's own in data_dir="
        )
    arrays = read_npz(path)
    for array in _ARRAYS:
        if array not in arrays:
            raise missing_array(path, array, arrays)
    values, bag, labels = (arrays[array] for array in _ARRAYS)
    for array, axes in zip(_ARRAYS, (2, 1, 1), strict=True):
        if arrays[array].ndim != axes:
            raise DataError(f"{path}: the array {array!r} has the shape {arrays[array].shape}")
    names = arrays.get("bag_name", np.arange(len(labels)))
    found = (len(labels), int((labels == 1).sum()), *values.shape)
    expected = (entry.bags, entry.positive, entry.instances, entry.features)
    if found != expected:
        words = "{} bags, {} positive, {} instances of {} features"
        raise DataError(
            f"{path} holds {words.format(*found)}; {entry.name} has {words.format(*expected)}. Is "
            "it another set under this name?"
        )
    if names.shape != labels.shape or not np.isin(bag, np.arange(len(labels))).all():
        raise DataError(
            f"{path}: 'bag' holds an index that is none of the {len(labels)} bags, or 'bag_name' "
            f"has the shape {names.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise DataError(f"{path}: 'bag_label' holds a label that is not 0 or 1")
    index = [int(number) for number in bag.tolist()]
    if len({str(names[number]) for number in index}) != entry.bags:
        raise DataError(f"{path}: {found[0]} bags have different names or instances")
    columns = {
        "bag": [str(names[number]) for number in index],
        "label": [entry.classes[int(labels[number])] for number in index],
    }
    return Table(
        name=str(path),
        columns=tuple(columns),
        size=len(index),
        values=lambda name: columns[name],
        numbers=range(len(index)),
        row_word="instance",
        notes=(f"{entry.title} ({entry.paper})", "features are not scaled"),
        arrays=Arrays(values, "X", classes=entry.classes),
    )
