"""Scores that differ by rounding only, made equal before they are ranked.

Two units with the same word and effect have scores that differ in their last digits, and which of
them is larger depends on the batch, the number of threads and the machine. Whatever is ranked,
cut at the top k or removed in order goes through `settled` first.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.measures.masks import check_mask

ROUNDING = 1e-5
"""Scores closer than this share of the scale are equal: some hundred steps of float32."""
WIDEST = 4.0
"""A run of close scores wider than so many tolerances is a slope, and stays as it is."""


def settled(
    scores: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    scale: Literal["largest", "own"] = "largest",
) -> Float[Tensor, "B T"]:
    """The scores, with those equal but for rounding made equal.

    Sorted neighbours whose gap is below the tolerance form a run, and a run takes its largest
    value. Rounding to a grid would instead part two scores on either side of a grid line, however
    close they are. Scores of large instances lie close everywhere, so that a run could take in
    all of them: one wider than `WIDEST` tolerances is left as it is.

    Args:
        scores: `(B, T)`; larger is more important.
        mask: `(B, T)`, True on real units.
        scale: What the tolerance is a share of: the largest magnitude of the instance, for
            differences of outputs and gradients; or each score's own, for softmax weights, whose
            small values are as exact as their large ones.

    Returns:
        `(B, T)` in the type of `scores`; an instance with a unit that is not finite, and every
        position off the mask, as it was.

    Raises:
        DataError: The shapes differ, or the mask is not bool.

    Example:
        >>> scores = torch.tensor([[0.5, 0.2, 0.2 + 1e-7, 0.1]], dtype=torch.float64)
        >>> found = settled(scores, torch.ones(1, 4, dtype=torch.bool))
        >>> bool(found[0, 1] == found[0, 2]), found[0, 0].item()
        (True, 0.5)
    """
    check_mask(mask, scores=scores)
    if scores.shape[1] < 2 or not len(scores):
        return scores
    # padding sorts behind the units and never joins a run, since its gap is infinite
    ordered, order = scores.masked_fill(~mask, torch.inf).sort(-1)
    if scale == "own":
        tolerance = torch.maximum(ordered[:, 1:].abs(), ordered[:, :-1].abs()) * ROUNDING
        reach = ordered.abs() * ROUNDING
    else:
        largest = scores.masked_fill(~mask, 0.0).abs().amax(-1, keepdim=True)
        tolerance = (largest * ROUNDING).expand(-1, scores.shape[1] - 1)
        reach = (largest * ROUNDING).expand_as(ordered)
    close = (ordered.diff(dim=-1) <= tolerance) & ordered[:, 1:].isfinite()
    place = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    edge = torch.zeros_like(mask[:, :1])
    first = place.masked_fill(torch.cat((edge, close), -1), 0).cummax(-1).values
    last = place.masked_fill(torch.cat((close, edge), -1), scores.shape[1])
    last = last.flip(-1).cummin(-1).values.flip(-1)
    low, high = ordered.gather(-1, first), ordered.gather(-1, last)
    widest = WIDEST * torch.maximum(reach.gather(-1, first), reach.gather(-1, last))
    joined = torch.where((high - low) <= widest, high, ordered)
    result = torch.empty_like(scores).scatter_(-1, order, joined)
    fine = (scores.isfinite() | ~mask).all(-1, keepdim=True)
    return torch.where(mask & fine, result, scores)
