"""Features of bags standardised by those of the training bags, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import torch

from attnaudit.data.bag_records import BagDataset
from attnaudit.errors import DataError


def standardised(train: BagDataset, *others: BagDataset) -> tuple[BagDataset, ...]:
    """The data sets with each feature less its mean, over its standard deviation, in `train`.

    Mean and deviation are those of all instances of the training bags; a feature that is constant
    there is only moved, so that it is 0 in train.

    Args:
        train: Whose instances decide.
        *others: What is scaled in the same way: dev, test.

    Returns:
        `train` first, then the others.

    Raises:
        DataError: Instances of different shapes.

    Example:
        >>> from attnaudit.data.bag_records import bag_record
        >>> bag = bag_record("a", [[1.0, 7.0], [3.0, 7.0]])
        >>> (data,) = standardised(BagDataset("demo", (bag,), (), (2,)))
        >>> data.bags[0].instances.tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    values = torch.cat([bag.instances for bag in train]).double()
    mean, deviation = values.mean(0), values.std(0, correction=0)
    # What is constant but for rounding has no scale of its own.
    constant = deviation <= 1e-7 * mean.abs()
    scale = deviation.masked_fill(constant, 1.0)
    made = []
    for data in (train, *others):
        if data.shape != train.shape:
            raise DataError(f"{data.name} has instances of {data.shape}, and train {train.shape}")
        bags = [
            replace(bag, instances=((bag.instances.double() - mean) / scale).float())
            for bag in data
        ]
        made.append(data.select(bags))
    return tuple(made)
