"""Bags: unordered collections of instances with one label, the records of models on sets."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """One bag; its instances are the units that weights stand on. Checked when it is made.

    Attributes:
        id: Unique within its data set; random draws are keyed by it.
        instances: `(n, *shape)` float32, finite, one row an instance.
        label: Index into the data set's `classes`; a float where the label is a quantity; None
            where unknown.
        truth: `(n,)` bool: is the instance a key instance, evidence for the label? None where
            unknown.
        key_types: `(n,)` int64: of which kind the key instance is, from 1; 0 where it is no key.
            None where unknown. Where truth is given too, both mark the same instances.
        coordinates: `(n, 2)` float32, where the instance lies (x to the right, y down), or None.
        names: What reports call the instances, or None.

    Raises:
        DataError: Something of this does not hold; the message names the bag.
    """

    id: str
    instances: Float[Tensor, "n ..."]
    label: int | float | None = None
    truth: Bool[Tensor, " n"] | None = None
    key_types: Int[Tensor, " n"] | None = None
    coordinates: Float[Tensor, "n 2"] | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        place = f"bag {self.id!r}"
        _check_values(self.instances, f"{place}: instances", torch.float32)
        n = len(self.instances) if self.instances.dim() else 0
        if n == 0 or self.instances.numel() == 0:
            raise DataError(
                f"{place} is empty: its instances have the shape {tuple(self.instances.shape)}. "
                "Leave it out, a bag has one instance or more"
            )
        if isinstance(self.label, float) and not math.isfinite(self.label):
            raise DataError(f"{place}: the label is {self.label}; give a number, or None")
        _check_rows(self.truth, n, f"{place}: truth", torch.bool)
        _check_rows(self.key_types, n, f"{place}: key_types", torch.int64)
        _check_rows(self.coordinates, n, f"{place}: coordinates", torch.float32, (2,))
        if self.names is not None and len(self.names) != n:
            raise DataError(f"{place}: {len(self.names)} names for {n} instances")
        if self.key_types is not None:
            if bool((self.key_types < 0).any()):
                raise DataError(f"{place}: key types are 0 for no key, or 1, 2, …; one is negative")
            if self.truth is not None and not torch.equal(self.truth, self.key_types > 0):
                raise DataError(
                    f"{place}: truth and key_types mark different instances; a key instance has a "
                    "key type from 1, and others have 0"
                )

    def __len__(self) -> int:
        return len(self.instances)

    @property
    def units(self) -> tuple[str, ...]:
        """What the instances are called: their names, or their places, counted from 1."""
        return self.names or tuple(str(place) for place in range(1, len(self) + 1))


@dataclass(frozen=True)
class BagDataset:
    """Bags with the names of their classes.

    Attributes:
        name: What reports call the data.
        bags: The bags; ids are unique, and instances of all have one shape.
        classes: Their names in index order; empty where labels are quantities or unknown.
        shape: Of one instance: `(features,)`, or `(channels, height, width)`.
        split: `train`, `dev`, `test` or `all`.
        notes: What was decided on the way.
        features: The names of the features, where instances are vectors whose features have names.

    Raises:
        DataError: There are no bags, or one does not fit the others or the classes.

    Example:
        >>> bag = bag_record("a", [[0.0, 1.0], [2.0, 3.0]], label=1, truth=[False, True])
        >>> data = BagDataset("demo", (bag,), ("no", "yes"), (2,))
        >>> len(data), data.class_counts
        (1, {'no': 0, 'yes': 1})
    """

    name: str
    bags: tuple[Bag, ...]
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    split: str = "all"
    notes: tuple[str, ...] = field(default=())
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.bags:
            raise DataError(f"{self.name} holds no bag")
        if self.features and (len(self.features),) != self.shape:
            raise DataError(
                f"{self.name} has {len(self.features)} names of features for instances of "
                f"{self.shape}"
            )
        seen: set[str] = set()
        for bag in self.bags:
            if bag.id in seen:
                raise DataError(f"{self.name}: two bags have the id {bag.id!r}; ids are unique")
            seen.add(bag.id)
            shape = tuple(bag.instances.shape[1:])
            if shape != self.shape:
                raise DataError(
                    f"{self.name}, bag {bag.id!r}: its instances have the shape {shape}, and those "
                    f"of the data set {self.shape}"
                )
            self._check_label(bag)

    def __len__(self) -> int:
        return len(self.bags)

    def __iter__(self) -> Iterator[Bag]:
        return iter(self.bags)

    @property
    def records(self) -> tuple[Bag, ...]:
        """The bags, by the name that records have in every data set."""
        return self.bags

    @property
    def has_truth(self) -> bool:
        """Whether any bag says which of its instances are keys."""
        return any(bag.truth is not None for bag in self.bags)

    @property
    def has_questions(self) -> bool:
        """Whether something is read beside the instances: never."""
        return False

    @property
    def class_counts(self) -> dict[str, int]:
        """How many bags carry each label."""
        counts = Counter(bag.label for bag in self.bags)
        return {name: counts.get(index, 0) for index, name in enumerate(self.classes)}

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of classes and of all that bags hold: equal data, equal fingerprint."""
        digest = hashlib.sha256(repr((self.classes, self.shape)).encode())
        for bag in self.bags:
            digest.update(repr((bag.id, bag.label, len(bag), bag.names)).encode())
            for values in (bag.instances, bag.truth, bag.key_types, bag.coordinates):
                digest.update(b"\x1f" if values is None else values.numpy().tobytes())
        return digest.hexdigest()

    def select(self, records: Sequence[Bag], split: str | None = None) -> BagDataset:
        """The same data set with other bags."""
        return replace(self, bags=tuple(records), split=split or self.split)

    def in_order_of(self, features: tuple[str, ...]) -> BagDataset:
        """The same bags with the features in another order; as they are where names are unknown.

        Raises:
            DataError: The data have other features.
        """
        if not features or not self.features or features == self.features:
            return self
        if sorted(features) != sorted(self.features):
            missing = [name for name in features if name not in self.features]
            more = [name for name in self.features if name not in features]
            raise DataError(
                f"{self.name} has other features than were trained on: missing {missing[:5]}, "
                f"not known {more[:5]}. Give the same columns"
            )
        order = torch.tensor([self.features.index(name) for name in features])
        bags = tuple(replace(bag, instances=bag.instances[:, order]) for bag in self.bags)
        return replace(self, bags=bags, features=features)

    def noted(self, *notes: str) -> BagDataset:
        """The same data set with further notes."""
        return replace(self, notes=(*self.notes, *notes))

    def relabelled(self, labels: Sequence[int | None], classes: tuple[str, ...]) -> BagDataset:
        """The same bags with other labels, one each, and other classes."""
        pairs = zip(self.bags, labels, strict=True)
        bags = tuple(replace(bag, label=label) for bag, label in pairs)
        return replace(self, bags=bags, classes=classes)

    def _check_label(self, bag: Bag) -> None:
        if bag.label is None or (not self.classes and isinstance(bag.label, float)):
            return
        known = isinstance(bag.label, int) and 0 <= bag.label < len(self.classes)
        if not known:
            raise DataError(
                f"{self.name}, bag {bag.id!r}: the label {bag.label!r} is no index into the "
                f"{len(self.classes)} classes; without classes it is a float"
            )


def bag_record(
    id: str,
    instances: Any,
    label: int | float | None = None,
    truth: Any = None,
    key_types: Any = None,
    coordinates: Any = None,
    names: Sequence[str] | None = None,
) -> Bag:
    """A bag from lists, NumPy arrays or tensors of any number type.

    Where only key types are given, truth follows from them.

    Raises:
        DataError: They are no numbers, or no bag can be made of them.

    Example:
        >>> bag = bag_record("a", [[0, 1], [2, 3]], label=1, key_types=[0, 2])
        >>> bag.truth.tolist(), bag.units
        ([False, True], ('1', '2'))
    """
    place = f"bag {id!r}"
    label = label.item() if isinstance(label, np.generic) else label
    types = _tensor(key_types, torch.int64, f"{place}: key_types")
    flags = _tensor(truth, torch.bool, f"{place}: truth")
    if flags is None and types is not None:
        flags = types > 0
    values = _tensor(instances, torch.float32, f"{place}: instances")
    if values is None:
        raise DataError(f"{place} has no instances")
    places = _tensor(coordinates, torch.float32, f"{place}: coordinates")
    return Bag(id, values, label, flags, types, places, None if names is None else tuple(names))


def _tensor(values: Any, dtype: torch.dtype, place: str) -> Tensor | None:
    if values is None:
        return None
    try:
        given = values if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
        made = given.detach().to("cpu", dtype)
    except (TypeError, ValueError) as error:
        raise DataError(f"{place} are no numbers in rows of one length ({error})") from error
    if not dtype.is_floating_point and not bool((made == given.cpu()).all()):
        what = "0 or 1" if dtype == torch.bool else "whole numbers"
        raise DataError(f"{place}: the values must be {what}")
    return made


def _check_values(values: Any, place: str, dtype: torch.dtype) -> None:
    if not isinstance(values, Tensor) or values.dtype != dtype:
        found = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise DataError(f"{place} must be a tensor of {dtype}, found {found}; see bag_record()")
    if dtype.is_floating_point and not bool(torch.isfinite(values).all()):
        first = torch.nonzero(~torch.isfinite(values))[0].tolist()
        raise DataError(
            f"{place}: the value at {first} is {values[tuple(first)].item()}; all must be finite"
        )


def _check_rows(
    values: Any, n: int, place: str, dtype: torch.dtype, more: tuple[int, ...] = ()
) -> None:
    if values is None:
        return
    _check_values(values, place, dtype)
    if tuple(values.shape) != (n, *more):
        raise DataError(f"{place} has the shape {tuple(values.shape)}, expected {(n, *more)}")
