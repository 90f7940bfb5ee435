"""Data as a model reads them: of its kind, with labels numbered as its outputs are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.kinds import AnyDataset, kind_of
from attnaudit.errors import DataError
from attnaudit.models.cut import Model

Data = TypeVar("Data", bound=AnyDataset)


def fitted(data: AnyDataset, model: Model) -> AnyDataset:
    """The data as the model reads them: of its kind, with features in its order.

    Raises:
        DataError: They are of another kind, or have other features.
    """
    kind = kind_of(data)
    if kind != model.kind:
        raise DataError(
            f"{data.name} holds {kind.instances}, and {model.name} reads {model.kind.instances}"
        )
    if isinstance(data, BagDataset):
        return data.in_order_of(model.features)
    return data.select([model.prepared(record) for record in data.records])


def aligned(data: Data, model: Model) -> Data:
    """The data with labels numbered as the model's outputs are.

    Raises:
        DataError: There are no records, or a label is none of the model's classes.
    """
    if not len(data):
        raise DataError(f"{data.name} has no records, so there is nothing to audit.")
    seen: dict[str, int] = {}
    for place, record in enumerate(data):
        if record.id in seen:
            raise DataError(
                f"{data.name}: records {seen[record.id] + 1} and {place + 1} have the same id "
                f"{record.id!r}. Ids must be unique: random draws and results are keyed by them."
            )
        seen[record.id] = place
    numbers = [record.label for record in data]
    quantities = [number for number in numbers if isinstance(number, float)]
    if quantities:
        raise DataError(
            f"{data.name} has labels that are quantities ({quantities[0]:g}, …), and {model.name} "
            "gives classes. Give labels that are classes, or none."
        )
    labels = [None if number is None else int(number) for number in numbers]
    if data.classes == model.classes or all(label is None for label in labels):
        return data.relabelled(labels, model.classes)
    index = _numbers(data.classes, model)
    used = {data.classes[label] for label in labels if label is not None}
    unknown = sorted(used - set(index))
    if unknown:
        raise DataError(
            f"{data.name} has the label {unknown[0]!r}, which is none of the model's classes "
            f"({', '.join(model.classes)}). Rename the labels, or audit without them."
        )
    known = [None if label is None else index[data.classes[label]] for label in labels]
    found = data.relabelled(known, model.classes)
    if used <= set(model.classes):
        return found
    read = ", ".join(f"{name!r} as {model.classes[index[name]]!r}" for name in sorted(used))
    return found.noted(f"labels are read as the model's classes: {read}")


def _numbers(names: Sequence[str], model: Model) -> dict[str, int]:
    """The model's number of each label, by its name.

    Models of others call their classes `LABEL_0`, or `NEGATIVE` where the data have `negative`:
    where the names are not the model's own, case does not count, and numbers stand for themselves.
    """
    index = {name: position for position, name in enumerate(model.classes)}
    if model.own_labels or set(names) <= set(index):
        return index
    loose = {name.casefold(): position for name, position in index.items()}
    loose |= {str(position): position for position in index.values()}
    found = {name: loose[name.casefold()] for name in names if name.casefold() in loose}
    unnamed = all(name == f"LABEL_{position}" for name, position in index.items())
    if not found and unnamed and len(names) == len(index):
        return {name: position for position, name in enumerate(names)}
    return index | found
