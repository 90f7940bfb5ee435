"""Batches of bags: padded to one size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from attnaudit.data.bags.records import Bag
from attnaudit.errors import DataError


def padded(bags: Sequence[Bag]) -> tuple[Float[Tensor, "B N ..."], Bool[Tensor, "B N"]]:
    """Bags of any sizes as one tensor.

    Args:
        bags: One or more, of instances of one shape.

    Returns:
        The instances `(B, N, *shape)` float32, 0 on padding, with `N` the size of the largest
        bag; and the mask `(B, N)`, True on instances.

    Raises:
        DataError: No bags, or instances of different shapes.

    Example:
        >>> from attnaudit.data.bags.records import bag_record
        >>> instances, mask = padded([bag_record("a", [[1.0]]), bag_record("b", [[2.0], [3.0]])])
        >>> instances.shape, mask.tolist()
        (torch.Size([2, 2, 1]), [[True, False], [True, True]])
    """
    if not bags:
        raise DataError("there is no bag to pad")
    first = bags[0]
    for bag in bags:
        if bag.instances.shape[1:] != first.instances.shape[1:]:
            raise DataError(
                f"bag {bag.id!r} has instances of the shape {tuple(bag.instances.shape[1:])}, bag "
                f"{first.id!r} of {tuple(first.instances.shape[1:])}"
            )
    sizes = torch.tensor([len(bag) for bag in bags])
    mask = torch.arange(int(sizes.max())) < sizes.unsqueeze(-1)
    return pad_sequence([bag.instances for bag in bags], batch_first=True), mask
