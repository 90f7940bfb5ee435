"""Batches of rows of unequal length, with whatever may stand in the padding."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def ragged(
    rows: Sequence[Sequence[float]], dtype: torch.dtype = torch.float64, seed: int | None = None
) -> tuple[Tensor, Tensor]:
    """Values `(B, T)` and mask; with a seed the units are scattered among NaN and infinities."""
    rng = np.random.default_rng(seed)
    width = max((len(row) for row in rows), default=0) + (0 if seed is None else 3)
    values, mask = torch.zeros(len(rows), width, dtype=dtype), torch.zeros(len(rows), width).bool()
    if seed is not None:
        junk = rng.choice([np.nan, np.inf, -np.inf, 1e30, 0.0], size=(len(rows), width))
        values = torch.from_numpy(junk).to(dtype)
    for index, row in enumerate(rows):
        places = torch.arange(len(row))
        if seed is not None:
            places = torch.from_numpy(np.sort(rng.choice(width, len(row), replace=False)))
        values[index, places] = torch.tensor(list(row), dtype=dtype)
        mask[index, places] = True
    return values, mask


def aligned(values: Sequence[Sequence[float]], mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Further rows at the units of a mask, NaN elsewhere."""
    result = torch.full(mask.shape, torch.nan, dtype=dtype)
    for index, row in enumerate(values):
        result[index, mask[index]] = torch.tensor(list(row), dtype=dtype)
    return result


def distributions(
    lengths: Sequence[int], seed: int, sharpness: float = 1.5, width: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, weights and mask `(B, T)` in float64, with units at scattered places."""
    generator = torch.Generator().manual_seed(seed)
    width = width or max(lengths) + 2
    mask = torch.zeros(len(lengths), width, dtype=torch.bool)
    for index, length in enumerate(lengths):
        places = torch.randperm(width, generator=generator)[:length]
        mask[index, places] = True
    scores = 3 * torch.randn(len(lengths), width, dtype=torch.float64, generator=generator)
    logits = torch.randn(len(lengths), width, dtype=torch.float64, generator=generator)
    closed = (sharpness * logits).masked_fill(~mask, -torch.inf)
    return scores, torch.softmax(closed, -1).nan_to_num(), mask
