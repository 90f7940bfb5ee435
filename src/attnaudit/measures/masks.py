"""Masked batches: what every measure assumes of its arguments, checked and put in order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.errors import DataError


def check_mask(mask: Tensor, **values: Tensor) -> None:
    """Refuses values `(B, T)` that do not fit their mask.

    Args:
        mask: `(B, T)` bool, True on real units.
        **values: Tensors of the same shape, by the name that the message is to use.

    Raises:
        DataError: A mask that is not bool or not `(B, T)`, or a tensor of another shape.
    """
    if mask.dtype != torch.bool or mask.dim() != 2:
        raise DataError(
            f"the mask must be a bool tensor of shape (B, T), but it is {mask.dtype} of shape "
            f"{tuple(mask.shape)}; give True for each real unit"
        )
    for name, value in values.items():
        if value.shape != mask.shape:
            raise DataError(
                f"{name} has shape {tuple(value.shape)} but its mask {tuple(mask.shape)}; "
                "both must be (B, T)"
            )


def finite_rows(mask: Bool[Tensor, "B T"], *values: Float[Tensor, "B T"]) -> Bool[Tensor, " B"]:
    """Which instances have only finite values at their units."""
    fine = torch.ones(mask.shape[0], dtype=torch.bool, device=mask.device)
    for value in values:
        fine &= (torch.isfinite(value) | ~mask).all(-1)
    return fine


def compact_index(mask: Bool[Tensor, "B T"]) -> tuple[Int[Tensor, "B N"], Bool[Tensor, "B N"]]:
    """Where the units stand, moved to the front and in their order.

    Args:
        mask: `(B, T)`, True on real units, not necessarily contiguous.

    Returns:
        `index (B, N)` into the positions, with `N` the largest number of units, and
        `present (B, N)`, True where `index` is a unit. Entries behind the units are other
        positions, so `index` may be gathered with but only read where `present`.

    Example:
        >>> index, present = compact_index(torch.tensor([[False, True, False, True]]))
        >>> index.tolist(), present.tolist()
        ([[1, 3]], [[True, True]])
    """
    lengths = mask.sum(-1)
    longest = int(lengths.max()) if mask.shape[0] else 0
    present = torch.arange(longest, device=mask.device) < lengths.unsqueeze(-1)
    # A sort of the flags as bytes keeps the order of the units (stable) and is cheap.
    index = torch.argsort((~mask).to(torch.uint8), dim=-1, stable=True)[:, :longest]
    return index, present


def by_length(
    lengths: Int[Tensor, " B"], at_once: int, power: int = 2
) -> Iterator[tuple[Int[Tensor, " R"], int]]:
    """Instances in groups of similar length, longest first: little padding, bounded memory.

    Args:
        lengths: Numbers of units `(B,)`.
        at_once: How many cells a group may have, where an instance has `length ** power` of them.
        power: 2 for pairs of units, 1 for units.

    Yields:
        The rows of a group, one at least, and the length of its longest instance. Instances
        without units are left out.

    Example:
        >>> [(rows.tolist(), width) for rows, width in by_length(torch.tensor([2, 9, 3]), 18)]
        [([1], 9), ([2, 0], 3)]
    """
    ordered, rows = torch.sort(lengths, descending=True, stable=True)
    widths = ordered.tolist()
    start = 0
    while start < len(widths) and widths[start] > 0:
        width = widths[start]
        stop = start + max(1, at_once // width**power)
        # A group ends where its shortest instance would be mostly padding.
        while stop < len(widths) and stop > start + 1 and widths[stop - 1] * 2 < width:
            stop = start + (stop - start + 1) // 2
        some = rows[start:stop]
        yield some[lengths[some] > 0], width
        start = stop
