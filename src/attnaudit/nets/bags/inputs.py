"""Labelled bags as the tensors that training and prediction read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.data.bags.records import BagDataset
from attnaudit.errors import DataError
from attnaudit.measures.masks import by_length
from attnaudit.nets.bags.classifier import BagConfig

INSTANCES = 16_384
"""Padded instances in one batch of predictions."""


@dataclass(frozen=True)
class BagTensors:
    """Labelled bags as tensors without padding, from which batches of any rows are gathered.

    Attributes:
        values: `(T, D)`, the instances of all bags one after another, flattened.
        starts: `(n,)`, where each bag begins.
        sizes: `(n,)`, how many instances it has.
        labels: `(n,)`, class indices.
    """

    values: Float[Tensor, "T D"]
    starts: Int[Tensor, " n"]
    sizes: Int[Tensor, " n"]
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.sizes)

    def take(
        self, rows: Int[Tensor, "*B"]
    ) -> tuple[Float[Tensor, "*B N D"], Bool[Tensor, "*B N"], Int[Tensor, "*B"]]:
        """Instances, mask and labels of the bags `rows`, an index tensor of any shape.

        What stands on padding is an instance of some bag, and is not to be read.
        """
        sizes = self.sizes[rows].unsqueeze(-1)
        place = torch.arange(int(sizes.max()), device=sizes.device)
        index = self.starts[rows].unsqueeze(-1) + torch.minimum(place, sizes - 1)
        return self.values[index], place < sizes, self.labels[rows]

    def groups(self, budget: int = INSTANCES) -> list[Int[Tensor, " R"]]:
        """Rows in groups of similar size, of at most `budget` padded instances."""
        return [rows for rows, _ in by_length(self.sizes, budget, power=1)]


def bag_tensors(
    data: BagDataset,
    config: BagConfig,
    split: str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> BagTensors:
    """Labelled bags as tensors, where all can be used.

    Args:
        data: The bags.
        config: The network that is to read them.
        split: What messages call the data.
        dtype: Of the instances.
        device: Where they are to be.

    Raises:
        DataError: Classes or shapes are not those of the configuration, or a bag has no label.
    """
    if (data.classes, data.shape) != (config.classes, config.shape):
        raise DataError(
            f"the {split} data {data.name!r} have the classes {data.classes} and instances of "
            f"{data.shape}; the network is for {config.classes} and {config.shape}"
        )
    for row, bag in enumerate(data):
        if bag.label is None:
            raise DataError(f"{split} bag {bag.id!r} (row {row}) has no label; leave it out")
    sizes = torch.tensor([len(bag) for bag in data])
    values = torch.cat([bag.instances.flatten(1) for bag in data])
    labels = torch.tensor([int(bag.label or 0) for bag in data])
    return BagTensors(
        values.to(device, dtype),
        (sizes.cumsum(0) - sizes).to(device),
        sizes.to(device),
        labels.to(device),
    )


def epoch_batches(
    bags: int, size: int, generator: torch.Generator
) -> tuple[Int[Tensor, " b"], ...]:
    """The rows of all bags in random order, cut into batches; the last may be smaller."""
    return torch.split(torch.randperm(bags, generator=generator), size)
