"""Batches by length under a token budget, with a step back when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch

from attnaudit.errors import ModelError


class Sized(Protocol):
    """What has units: a record."""

    @property
    def id(self) -> str:
        """The id of the record."""

    @property
    def units(self) -> Sequence[object]:
        """The units of the record."""


Item = TypeVar("Item", bound=Sized)
Result = TypeVar("Result")

TOKEN_BUDGET = 2_048


def by_length(records: Sequence[Sized]) -> list[int]:
    """Indices from the shortest to the longest record; ties keep their order.

    Example:
        >>> from attnaudit.data.texts.tokens import text_record
        >>> by_length([text_record("a", "one two three"), text_record("b", "one")])
        [1, 0]
    """
    return sorted(range(len(records)), key=lambda index: len(records[index].units))


def groups(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> Iterator[slice]:
    """Cut sorted lengths into runs whose padded size stays under the budget.

    A single instance longer than the budget makes a run of its own.

    Example:
        >>> [(part.start, part.stop) for part in groups([2, 2, 3, 9], budget=8)]
        [(0, 2), (2, 3), (3, 4)]
    """
    start, longest = 0, 0
    for index, length in enumerate(lengths):
        longest = max(longest, length, 1)
        if index > start and longest * (index - start + 1) > budget:
            yield slice(start, index)
            start, longest = index, max(length, 1)
    if start < len(lengths):
        yield slice(start, len(lengths))


def with_backoff(
    work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]
) -> list[Result]:
    """Do `work` on all items; where memory runs out, on halves of them.

    Raises:
        ModelError: A single item does not fit.
    """
    try:
        return work(items)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(items) == 1:
            raise ModelError(
                f"out of memory on the single instance {items[0].id!r} "
                f"({len(items[0].units)} units). Use a larger machine, or leave it out."
            ) from error
    half = len(items) // 2
    return with_backoff(work, items[:half]) + with_backoff(work, items[half:])


def _out_of_memory(error: Exception) -> bool:
    # on a CPU, torch says it with a plain RuntimeError
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)
