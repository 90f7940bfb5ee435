"""Detection of known evidence: does a score per unit find the units that are evidence?

Each instance is a small ranking problem of its own. An instance whose units are all evidence, or
none, is undefined (NaN), and so is one with a score that is not finite. Ties never depend on the
order of the units: a tied choice counts with what random tie breaking gives on average.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from torch import Tensor

from attnaudit.errors import DataError
from attnaudit.measures.masks import check_mask, finite_rows
from attnaudit.measures.rank import average_ranks
from attnaudit.measures.top_k import top_shares


def auroc(
    scores: Float[Tensor, "B T"], truth: Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """Area under the ROC curve per instance: P(evidence scores higher), ties counting one half.

    Computed from average ranks (Mann and Whitney 1947).

    Args:
        scores: `(B, T)`; larger is more important.
        truth: `(B, T)` bool, which units are evidence.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B,)` float64 in [0, 1], 0.5 by chance; NaN where undefined.

    Raises:
        DataError: The shapes differ, or mask or truth is not bool.

    Example:
        >>> scores = torch.tensor([[0.9, 0.1, 0.4]])
        >>> auroc(scores, scores > 0.3, torch.ones(1, 3, dtype=bool)).tolist()
        [1.0]
    """
    keys, defined = _checked(scores, truth, mask)
    positive = keys.sum(-1).to(torch.float64)
    negative = mask.sum(-1) - positive
    above = (average_ranks(scores, mask) * keys).sum(-1) - positive * (positive + 1) / 2
    return (above / (positive * negative)).masked_fill(~defined, math.nan)


def average_precision(
    scores: Float[Tensor, "B T"], truth: Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """Average precision per instance, Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores.

    The definition of `sklearn.metrics.average_precision_score`: units with equal scores pass the
    threshold together, and there is no interpolation.

    Args:
        scores: `(B, T)`; larger is more important.
        truth: `(B, T)` bool, which units are evidence.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B,)` float64 in (0, 1], about the share of evidence by chance; NaN where undefined.

    Raises:
        DataError: The shapes differ, or mask or truth is not bool.

    Example:
        >>> scores = torch.tensor([[0.9, 0.1, 0.4]])
        >>> average_precision(scores, scores < 0.5, torch.ones(1, 3, dtype=bool)).tolist()
        [0.5833333333333333]
    """
    keys, defined = _checked(scores, truth, mask)
    if not mask.numel():
        return torch.full(mask.shape[:1], math.nan, dtype=torch.float64, device=mask.device)
    # Padding goes last: no finite score is below it.
    ordered, order = scores.masked_fill(~mask, -math.inf).sort(-1, descending=True)
    hits = keys.gather(-1, order)
    found = hits.cumsum(-1).to(torch.float64)
    count = torch.arange(1, mask.shape[1] + 1, device=mask.device, dtype=torch.float64)
    edge = torch.ones_like(hits[:, :1])
    ends = torch.cat((ordered[:, 1:] != ordered[:, :-1], edge), -1)
    # Each key takes the precision at the last unit of its run of equal scores.
    place = torch.arange(mask.shape[1], device=mask.device).where(ends, mask.shape[1])
    last = place.flip(-1).cummin(-1).values.flip(-1)
    precision = (found / count).gather(-1, last)
    total = (precision * hits).sum(-1) / keys.sum(-1)
    return total.masked_fill(~defined, math.nan)


def token_f1(
    scores: Float[Tensor, "B T"], truth: Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """F1 of the top units per instance, as many as there are units of evidence.

    With equally many selected as true, precision, recall and F1 are one number: the share of the
    evidence that is selected. Units that share the boundary score are selected at random: the
    value is the mean over all ways to break the tie.

    Args:
        scores: `(B, T)`; larger is more important.
        truth: `(B, T)` bool, which units are evidence.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B,)` float64 in [0, 1], the share of evidence by chance; NaN where undefined.

    Raises:
        DataError: The shapes differ, or mask or truth is not bool.

    Example:
        >>> scores, truth = torch.tensor([[0.9, 0.1, 0.4]]), torch.tensor([[True, True, False]])
        >>> token_f1(scores, truth, torch.ones(1, 3, dtype=bool)).tolist()
        [0.5]
    """
    keys, defined = _checked(scores, truth, mask)
    size = keys.sum(-1)
    chosen = (top_shares(scores, mask, size) * keys).sum(-1)
    return (chosen / size).masked_fill(~defined, math.nan)


def top_one_hit(
    scores: Float[Tensor, "B T"], truth: Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """Whether the unit with the largest score is evidence; tied units count by their share.

    Args:
        scores: `(B, T)`; larger is more important.
        truth: `(B, T)` bool, which units are evidence.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B,)` float64 in [0, 1]; NaN where undefined.

    Raises:
        DataError: The shapes differ, or mask or truth is not bool.

    Example:
        >>> scores, truth = torch.tensor([[0.9, 0.9, 0.4]]), torch.tensor([[True, False, False]])
        >>> top_one_hit(scores, truth, torch.ones(1, 3, dtype=bool)).tolist()
        [0.5]
    """
    keys, defined = _checked(scores, truth, mask)
    chosen = top_shares(scores, mask, mask.any(-1).long())
    return (chosen * keys).sum(-1).masked_fill(~defined, math.nan)


def mass_on_truth(
    weights: Float[Tensor, "B T"], truth: Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """The share of all weight that lies on evidence.

    Args:
        weights: `(B, T)`, 0 or larger; they need not sum to 1.
        truth: `(B, T)` bool, which units are evidence.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B,)` float64 in [0, 1], the share of evidence for uniform weights; NaN where undefined,
        and where a weight is negative or all are 0.

    Raises:
        DataError: The shapes differ, or mask or truth is not bool.

    Example:
        >>> weights, truth = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[True, False, False]])
        >>> mass_on_truth(weights, truth, torch.ones(1, 3, dtype=bool)).tolist()
        [0.5]
    """
    keys, defined = _checked(weights, truth, mask)
    values = weights.to(torch.float64).masked_fill(~mask, 0.0)
    total = values.sum(-1)
    defined &= (values >= 0).all(-1) & (total > 0)
    return ((values * keys).sum(-1) / total).clamp(max=1.0).masked_fill(~defined, math.nan)


def coverage(
    weights: Float[Tensor, "B T"], truth: Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """The share of the evidence that has more weight than uniform weights would give it.

    Low where the weights collapse on a few of the key units: the failure that accuracy at the top
    does not see (after Haab et al. 2022, figure "good and bad attention").

    Args:
        weights: `(B, T)`, 0 or larger; they need not sum to 1.
        truth: `(B, T)` bool, which units are evidence.
        mask: `(B, T)`, True on real units.

    Returns:
        `(B,)` float64 in [0, 1]; NaN where undefined.

    Raises:
        DataError: The shapes differ, or mask or truth is not bool.

    Example:
        >>> weights = torch.tensor([[0.9, 0.05, 0.05]])
        >>> coverage(weights, weights != 0.9, torch.ones(1, 3, dtype=bool)).tolist()
        [0.0]
    """
    keys, defined = _checked(weights, truth, mask)
    values = weights.to(torch.float64).masked_fill(~mask, 0.0)
    count = mask.sum(-1, keepdim=True)
    # A relative margin: uniform weights themselves are not above uniform, whatever the rounding.
    above = values * count > values.sum(-1, keepdim=True) * (1 + 1e-6)
    return ((above & keys).sum(-1) / keys.sum(-1).double()).masked_fill(~defined, math.nan)


def roc_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve of one sample, light enough to call once per resample.

    Args:
        labels: One label per instance; 0 or False is negative, everything else positive.
        scores: One score per instance.

    Returns:
        A number in [0, 1]; NaN where only one class occurs.

    Raises:
        DataError: The two differ in shape.

    Example:
        >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    positive, values = np.asarray(labels) != 0, np.asarray(scores)
    if positive.shape != values.shape or values.ndim != 1:
        raise DataError(f"labels have shape {positive.shape} and scores {values.shape}")
    count = int(positive.sum())
    pairs = count * (len(values) - count)
    if not pairs:
        return math.nan
    return float((rankdata(values)[positive].sum() - count * (count + 1) / 2) / pairs)


def _checked(
    scores: Tensor, truth: Tensor, mask: Tensor
) -> tuple[Bool[Tensor, "B T"], Bool[Tensor, " B"]]:
    """The evidence within the mask, and which instances have some and not only evidence."""
    check_mask(mask, scores=scores, truth=truth)
    if truth.dtype != torch.bool:
        raise DataError(f"truth must be a bool tensor, but it is {truth.dtype}")
    keys = truth & mask
    defined = keys.any(-1) & (mask & ~keys).any(-1) & finite_rows(mask, scores)
    return keys, defined
