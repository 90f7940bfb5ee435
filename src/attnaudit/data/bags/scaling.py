"""Features of bags standardised by those of the training bags, and by nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.bags.records import BagDataset
from attnaudit.errors import DataError


@dataclass(frozen=True, eq=False)
class Scaling:
    """What is taken off each feature, and what the rest is divided by.

    Attributes:
        mean: `(*shape)`, float64.
        deviation: `(*shape)`, float64, above 0; 1 where the feature is constant in train.
    """

    mean: Float[Tensor, "*shape"]
    deviation: Float[Tensor, "*shape"]

    def __call__(self, instances: Float[Tensor, "... *shape"]) -> Float[Tensor, "... *shape"]:
        """Instances `(..., *shape)`, scaled, float32."""
        return ((instances.double() - self.mean) / self.deviation).float()


def scaling_of(train: BagDataset) -> Scaling:
    """Mean and standard deviation of each feature over all instances of the training bags.

    A feature that is constant there is only moved, so that it is 0 in train.
    """
    values = torch.cat([bag.instances for bag in train]).double()
    mean, deviation = values.mean(0), values.std(0, correction=0)
    # What is constant but for rounding has no scale of its own.
    constant = deviation <= 1e-7 * mean.abs()
    return Scaling(mean, deviation.masked_fill(constant, 1.0))


def standardised(train: BagDataset, *others: BagDataset) -> tuple[BagDataset, ...]:
    """The data sets with each feature less its mean, over its standard deviation, in `train`.

    Args:
        train: Whose instances decide.
        *others: What is scaled in the same way: dev, test.

    Returns:
        `train` first, then the others.

    Raises:
        DataError: Instances of different shapes.

    Example:
        >>> from attnaudit.data.bags.records import bag_record
        >>> bag = bag_record("a", [[1.0, 7.0], [3.0, 7.0]])
        >>> (data,) = standardised(BagDataset("demo", (bag,), (), (2,)))
        >>> data.bags[0].instances.tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    scaling = scaling_of(train)
    for data in others:
        if data.shape != train.shape:
            raise DataError(f"{data.name} has instances of {data.shape}, and train {train.shape}")
    return tuple(scaled(data, scaling) for data in (train, *others))


def scaled(data: BagDataset, scaling: Scaling) -> BagDataset:
    """The data set with scaled instances."""
    return data.select([replace(bag, instances=scaling(bag.instances)) for bag in data])
