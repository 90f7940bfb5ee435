"""Test bags laid end to end: weights of many seeds as one table, measured bag by bag."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.data.bags.records import Bag, BagDataset
from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.masks import by_length

CELLS = 1 << 18
"""Padded numbers measured at once; memory does not grow with bags or seeds."""
Measure = Callable[[Tensor, Int[Tensor, " R"], Int[Tensor, "R L"], Bool[Tensor, "R L"]], Tensor]


@dataclass(frozen=True)
class Layout:
    """What is known of test bags, their instances laid end to end, `T` in all.

    Attributes:
        ids: The id of each bag, `n` of them.
        classes: Names of the classes.
        labels: `(n,)`, class indices.
        sizes: `(n,)`, instances of each bag.
        known: `(n,)`, whether the truth of the bag is given and the bag is graded.
        truth: `(T,)`, which instances are keys; False where it is not known.
        key_types: `(T,)`, 0 for no key; all 0 where types are not known.
        types: How many key types there are; 0 where they are not known.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Int[Tensor, " n"]
    sizes: Int[Tensor, " n"]
    known: Bool[Tensor, " n"]
    truth: Bool[Tensor, " T"]
    key_types: Int[Tensor, " T"]
    types: int

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def has_truth(self) -> bool:
        """Whether any bag says which of its instances are keys."""
        return bool(self.known.any())

    @property
    def known_instances(self) -> Bool[Tensor, " T"]:
        """`(T,)`, the instances of bags whose truth is given."""
        return self.known.repeat_interleave(self.sizes)

    def groups(self, scores: int = 1) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Bags of similar size: rows `(R,)`, index `(R, L)` into the instances, mask `(R, L)`.

        What the index says on padding is an instance of the same bag, and not to be read.

        Args:
            scores: How many scores an instance has; more of them, fewer bags at once.
        """
        starts = self.sizes.cumsum(0) - self.sizes
        for rows, width in by_length(self.sizes, max(1, CELLS // max(1, scores)), power=1):
            sizes = self.sizes[rows].unsqueeze(-1)
            place = torch.arange(width)
            yield rows, starts[rows].unsqueeze(-1) + torch.minimum(place, sizes - 1), place < sizes

    def per_bag(self, scores: Float[Tensor, "K T"], measure: Measure) -> Float[Tensor, "K n"]:
        """One number a bag and score, from padded batches.

        Args:
            scores: `(K, T)`.
            measure: Told `(values, rows, index, mask)` with `values (K R, L)`; index and mask are
                those of `groups`, repeated `K` times; gives `(K R,)`.
        """
        count = len(scores)
        found = torch.full((count, len(self)), math.nan, dtype=torch.float64)
        for rows, index, mask in self.groups(count):
            values = scores[:, index].flatten(0, 1)
            many = (t.repeat(count, *[1] * (t.dim() - 1)) for t in (rows, index, mask))
            found[:, rows] = measure(values, *many).double().reshape(count, -1)
        return found

    def graded(
        self, scores: Float[Tensor, "K T"], grade: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> Float[Tensor, "K n"]:
        """A measure of scores against the truth, one number a bag; NaN where truth is not known."""

        def measure(values: Tensor, rows: Tensor, index: Tensor, mask: Tensor) -> Tensor:
            return grade(values, self.truth[index], mask).masked_fill(~self.known[rows], math.nan)

        return self.per_bag(scores, measure)


def lay_out(data: BagDataset, graded: Sequence[str] | None = None) -> Layout:
    """The truth and labels of bags.

    Args:
        data: Labelled bags.
        graded: Names of the classes whose bags are graded against the truth; None for all.

    Raises:
        DataError: A bag has no label, or labels are no classes.
        SettingsError: `graded` holds another name.
    """
    unknown = [name for name in graded or () if name not in data.classes]
    if unknown:
        raise SettingsError(f"graded has {unknown[0]!r}; classes are {', '.join(data.classes)}")
    if not data.classes:
        raise DataError(f"{data.name} has no classes: seeds are compared on bags with class labels")
    for bag in data:
        if not isinstance(bag.label, int):
            raise DataError(f"{data.name}, bag {bag.id!r} has no label; leave it out")
    typed = all(bag.key_types is not None for bag in data if bag.truth is not None)
    types = torch.cat([_types(bag, typed) for bag in data])
    wanted = {i for i, name in enumerate(data.classes) if graded is None or name in graded}
    return Layout(
        tuple(bag.id for bag in data),
        data.classes,
        torch.tensor([int(bag.label or 0) for bag in data]),
        torch.tensor([len(bag) for bag in data]),
        torch.tensor([bag.truth is not None and bag.label in wanted for bag in data]),
        torch.cat(
            [torch.zeros(len(b), dtype=torch.bool) if b.truth is None else b.truth for b in data]
        ),
        types,
        int(types.max()),
    )


def _types(bag: Bag, typed: bool) -> Tensor:
    if bag.key_types is None or not typed:
        return torch.zeros(len(bag), dtype=torch.int64)
    return bag.key_types


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that are none, or twice the same.

    Raises:
        SettingsError: They are.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise SettingsError(f"seeds are {list(seeds)}; give one or more, each once")
