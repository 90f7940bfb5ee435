"""What a model says of every record, and what it would say under other weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import DataError
from attnaudit.models.batches import TOKEN_BUDGET, by_length, groups, with_backoff
from attnaudit.models.cut import Batch, Model, States
from attnaudit.models.encoded import Encoded

Row = np.ndarray
"""Numbers of one instance over its units, in their order: `(T,)` float64."""
Change = Callable[[Batch, States], States]
"""From a batch and its states to the states that are decoded."""


@dataclass(frozen=True)
class Reading:
    """Weights and predictions of a model on one data set, in the order of its records.

    Attributes:
        data: The records.
        weights: One row an instance, over the units that the model sees.
        log_probabilities: `(N, C)`.
    """

    data: AnyDataset
    weights: tuple[Row, ...]
    log_probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """`(N, C)`."""
        return np.asarray(np.exp(self.log_probabilities))

    @cached_property
    def predicted(self) -> np.ndarray:
        """`(N,)`, the index of the likeliest class."""
        return np.asarray(self.log_probabilities.argmax(1))

    @cached_property
    def labels(self) -> np.ndarray:
        """`(N,)`, class indices."""
        return labels_of(self.data)

    @cached_property
    def lengths(self) -> np.ndarray:
        """`(N,)`, how many units each instance has."""
        return np.array([len(row) for row in self.weights])


def read(model: Model, data: AnyDataset, budget: int = TOKEN_BUDGET) -> Reading:
    """Weights and predictions of a model.

    Args:
        model: Any model with the cut.
        data: The records, labelled or not.
        budget: Padded tokens in one pass.

    Raises:
        DataError: There are no records.
        ModelError: The weights are no distribution, or the outputs are NaN.
    """

    def one(records: Sequence[Any]) -> list[tuple[Row, Row]]:
        encoded = Encoded(model, model.collate(records))
        rows = rows_of(encoded.weights, encoded.units)
        return list(zip(rows, encoded.outputs.double().cpu().numpy(), strict=True))

    found = _in_batches(data.records, one, budget)
    return Reading(data, tuple(row for row, _ in found), np.stack([out for _, out in found]))


def decode_with(
    model: Model,
    records: Sequence[Any],
    weights: Sequence[Row],
    *,
    change: Change | None = None,
    budget: int = TOKEN_BUDGET,
) -> np.ndarray:
    """Log-probabilities `(N, C)` of records under weights from elsewhere.

    Args:
        model: Any model with the cut.
        records: The records.
        weights: One row a record, as long as it has units.
        change: What to do with the states before they are decoded.
        budget: Padded tokens in one pass.

    Raises:
        DataError: A row is not as long as its record has units.
    """

    def one(numbered: Sequence[Any]) -> list[np.ndarray]:
        batch = model.collate([item.record for item in numbered])
        placed = placed_rows([weights[item.index] for item in numbered], batch)
        with torch.no_grad():
            states = model.encode(batch)
            states = states if change is None else change(batch, states)
            return list(model.decode(states, placed.to(states.hidden)).double().cpu().numpy())

    numbered = [_Numbered(index, record) for index, record in enumerate(records)]
    return np.stack(_in_batches(numbered, one, budget))


def each_batch(
    model: Model, records: Sequence[Any], budget: int = TOKEN_BUDGET
) -> Iterator[tuple[list[int], Batch]]:
    """The records in batches of similar length, the shortest first, with their places."""
    order = by_length(records)
    for part in groups([len(records[i].units) for i in order], budget):
        yield order[part], model.collate([records[i] for i in order[part]])


def rows_of(weights: Tensor, units: Tensor) -> list[Row]:
    """Weights `(B, L)` as one row an instance, over its units."""
    some = weights.double().cpu()
    return [some[i][mask].numpy() for i, mask in enumerate(units.cpu())]


def placed_rows(rows: Sequence[Row], batch: Batch) -> Tensor:
    """Rows over units as weights `(B, L)`, 0 where there is no unit.

    Raises:
        DataError: A row is not as long as its instance has units.
    """
    units = batch.units.cpu()
    counts = units.sum(1).tolist()
    for identity, row, count in zip(batch.ids, rows, counts, strict=True):
        if len(row) != count:
            raise DataError(
                f"instance {identity!r} has {count} units but {len(row)} weights; give one each"
            )
    placed = torch.zeros(units.shape, dtype=torch.float64)
    placed[units] = torch.from_numpy(np.concatenate(rows)) if rows else placed[units]
    return placed


def fitted_to(row: Row, length: int) -> Row:
    """A row for another number of units: cut or padded at its end, then summing to 1 again.

    Where nothing of its mass is left, it is all NaN.

    Example:
        >>> fitted_to(np.array([0.2, 0.2, 0.6]), 2).tolist()
        [0.5, 0.5]
        >>> fitted_to(np.array([0.2, 0.8]), 3).tolist()
        [0.2, 0.8, 0.0]
    """
    result = np.zeros(length)
    kept = row[:length]
    result[: len(kept)] = kept
    total = result.sum()
    return result / total if total > 0 else np.full(length, np.nan)


def equal_rows(lengths: Sequence[int]) -> list[Row]:
    """The same weight for every unit of an instance."""
    return [np.full(length, 1 / length) if length else np.zeros(0) for length in lengths]


def labels_of(data: AnyDataset) -> np.ndarray:
    """The labels `(N,)`.

    Raises:
        DataError: A record has none.
    """
    for record in data:
        if record.label is None:
            raise DataError(
                f"{data.name}: record {record.id!r} has no label; shortcuts are measured against "
                "labels. Drop it, or give one"
            )
    return np.array([record.label for record in data], dtype=np.int64)


@dataclass(frozen=True)
class _Numbered:
    """A record with its place, so that other rows can be found for it."""

    index: int
    record: Any

    @property
    def id(self) -> str:
        return str(self.record.id)

    @property
    def units(self) -> Sequence[str]:
        return self.record.units  # type: ignore[no-any-return]


def _in_batches(
    records: Sequence[Any], work: Callable[[Sequence[Any]], list[Any]], budget: int
) -> list[Any]:
    """`work` on batches of similar length; its results in the order of the records."""
    if not records:
        raise DataError("there are no records; give at least one")
    order = by_length(records)
    found: dict[int, Any] = {}
    for part in groups([len(records[i].units) for i in order], budget):
        index = order[part]
        found.update(zip(index, with_backoff(work, [records[i] for i in index]), strict=True))
    return [found[i] for i in range(len(records))]
