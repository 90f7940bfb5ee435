"""Weights against key instances of bags: lift, the mass of each key type, and all bags pooled.

The measures that bags share with texts are in `detection`: `auroc`, `average_precision`,
`top_one_hit`, `mass_on_truth` and `coverage`. The conventions are the same: a bag whose instances
are all keys, or none, is undefined (NaN), and so is one with a weight that is not finite.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.detection import mass_on_truth, roc_auc
from attnaudit.measures.masks import check_mask, finite_rows


def lift(
    weights: Float[Tensor, "B L"], truth: Bool[Tensor, "B L"], units: Bool[Tensor, "B L"]
) -> Float[Tensor, " B"]:
    """The weight on key instances over what equal weights would put there.

    Args:
        weights: `(B, L)`, 0 or larger; they need not sum to 1.
        truth: `(B, L)` bool, which instances are keys.
        units: `(B, L)`, True on instances.

    Returns:
        `(B,)` float64, 0 or larger, 1 for equal weights; NaN where undefined.

    Raises:
        DataError: The shapes differ, or units or truth is not bool.

    Example:
        >>> weights = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
        >>> lift(weights, weights == 0.5, torch.ones(1, 4, dtype=bool)).tolist()
        [2.0]
    """
    mass = mass_on_truth(weights, truth, units)
    return mass * units.sum(-1) / (truth & units).sum(-1)


def key_type_mass(
    weights: Float[Tensor, "B L"],
    key_types: Int[Tensor, "B L"],
    units: Bool[Tensor, "B L"],
    types: int,
) -> Float[Tensor, "B K"]:
    """The share of all weight that lies on the keys of each type.

    Args:
        weights: `(B, L)`, 0 or larger; they need not sum to 1.
        key_types: `(B, L)`, 0 for no key, else the type of the key from 1.
        units: `(B, L)`, True on instances.
        types: How many key types there are, `K`.

    Returns:
        `(B, K)` float64 in [0, 1]; NaN where the bag has no key of that type, and where weights
        are not finite, negative, or all 0.

    Raises:
        DataError: The shapes differ, units is not bool, or a type is not from 0 to `types`.
        SettingsError: `types` is below 1.

    Example:
        >>> weights = torch.tensor([[0.5, 0.25, 0.25]])
        >>> key_type_mass(weights, torch.tensor([[0, 2, 2]]), weights > 0, 2).tolist()
        [[nan, 0.5]]
    """
    check_mask(units, weights=weights, key_types=key_types)
    if types < 1:
        raise SettingsError(f"types is {types}; there is 1 key type or more")
    kinds = key_types.masked_fill(~units, 0)
    if kinds.numel() and not 0 <= int(kinds.min()) <= int(kinds.max()) <= types:
        raise DataError(
            f"key types run from {int(kinds.min())} to {int(kinds.max())}; they are 0 for no key, "
            f"or a type from 1 to {types}"
        )
    values = weights.to(torch.float64).masked_fill(~units, 0.0)
    total = values.sum(-1)
    fine = finite_rows(units, weights) & (values >= 0).all(-1) & (total > 0)
    of_type = kinds.unsqueeze(1) == torch.arange(1, types + 1, device=kinds.device)[:, None]
    mass = (values.unsqueeze(1) * of_type).sum(-1) / total.unsqueeze(-1)
    known = of_type.any(-1) & fine.unsqueeze(-1)
    return mass.clamp(max=1.0).masked_fill(~known, math.nan)


def least_type_share(
    weights: Float[Tensor, "B L"],
    key_types: Int[Tensor, "B L"],
    units: Bool[Tensor, "B L"],
    types: int,
) -> Float[Tensor, " B"]:
    """The smallest share of the key mass that one of the key types in the bag has.

    Near 0 where the weights stand on one type of keys and pass over another that the label rests
    on as well: a failure that accuracy at the top does not see.

    Args:
        weights: As in `key_type_mass`.
        key_types: As in `key_type_mass`.
        units: As in `key_type_mass`.
        types: As in `key_type_mass`.

    Returns:
        `(B,)` float64 from 0 to one over the number of types present; NaN in bags with fewer than
        two types of keys, without weight on keys, or with weights that are no weights.

    Raises:
        DataError: As `key_type_mass`.
        SettingsError: As `key_type_mass`.

    Example:
        >>> weights = torch.tensor([[0.75, 0.25, 0.0]])
        >>> least_type_share(weights, torch.tensor([[1, 2, 0]]), weights >= 0, 2).tolist()
        [0.25]
    """
    mass = key_type_mass(weights, key_types, units, types)
    present = ~mass.isnan()
    total = mass.nansum(-1)
    least = mass.masked_fill(~present, math.inf).amin(-1) / total
    return least.masked_fill((present.sum(-1) < 2) | (total <= 0), math.nan)


def pooled_auroc(
    scores: Float[Tensor, "B L"], truth: Bool[Tensor, "B L"], units: Bool[Tensor, "B L"]
) -> float:
    """Area under the ROC curve of all instances of all bags as one sample.

    A secondary number: weights are smaller in larger bags, so that it depends on sizes too. Bags
    without keys take part; bags with a score that is not finite do not.

    Args:
        scores: `(B, L)`; larger is more important.
        truth: `(B, L)` bool, which instances are keys.
        units: `(B, L)`, True on instances.

    Returns:
        A number in [0, 1]; NaN where all instances are keys, or none.

    Raises:
        DataError: The shapes differ, or units or truth is not bool.

    Example:
        >>> scores = torch.tensor([[0.7, 0.3], [0.6, 0.4]])
        >>> truth = torch.tensor([[True, False], [False, False]])
        >>> pooled_auroc(scores, truth, torch.ones(2, 2, dtype=bool))
        1.0
    """
    check_mask(units, scores=scores, truth=truth)
    if truth.dtype != torch.bool:
        raise DataError(f"truth must be a bool tensor, but it is {truth.dtype}")
    some = units & finite_rows(units, scores).unsqueeze(-1)
    return roc_auc(truth[some].cpu().numpy(), scores[some].cpu().numpy())
