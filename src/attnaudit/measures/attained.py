"""How much of the effect that weights could mark do they mark?"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.measures.masks import check_mask, finite_rows

NOTHING = 1e-9
"""Effects, and weights, that differ by no more than this order nothing."""


def attained_share(
    weights: Float[Tensor, "B L"], effects: Float[Tensor, "B L"], units: Bool[Tensor, "B L"]
) -> Float[Tensor, " B"]:
    """The mean effect under the weights, on a scale from random (0) to the best order (1).

    With `m` the mean effect of a unit and `b` what the same weights reach when the largest stands
    on the largest effect, the second on the second, and so on:
    `(Σ w_t e_t - m) / (b - m)`. The same weights in a random order give 0 on average, exactly;
    weights that mark small effects are below 0. How peaked the weights are does not matter, where
    they stand does, and units that do nothing hardly count, however they are ordered.

    Args:
        weights: `(B, L)`, a distribution over the units.
        effects: `(B, L)`, finite, the size of what each unit does.
        units: `(B, L)`, True on units.

    Returns:
        `(B,)` float64, 1 or less; NaN where weights or effects are all equal, or not finite.

    Raises:
        DataError: The shapes differ, or `units` is not bool.

    Example:
        >>> effects, units = torch.tensor([[4.0, 0.0, 0.0, 0.0]]), torch.ones(1, 4, dtype=bool)
        >>> attained_share(torch.tensor([[0.7, 0.1, 0.1, 0.1]]), effects, units).item()
        1.0
        >>> round(attained_share(torch.tensor([[0.1, 0.7, 0.1, 0.1]]), effects, units).item(), 3)
        -0.333
    """
    check_mask(units, weights=weights, effects=effects)
    known = finite_rows(units, weights, effects)
    weights = torch.where(units, weights.double(), 0.0).nan_to_num()
    effects = torch.where(units, effects.double(), 0.0).nan_to_num()
    # padding has no weight, so it must not take an effect either: it is sorted to the end of both
    low = float(effects.min()) - 1.0 if effects.numel() else 0.0
    best_effects = torch.where(units, effects, low).sort(1, descending=True).values
    best_weights = torch.where(units, weights, -1.0).sort(1, descending=True).values
    real = best_weights >= 0
    best = (best_weights * best_effects * real).sum(1)
    mean = effects.sum(1) / units.sum(1).clamp(min=1) * weights.sum(1)
    reach = best - mean
    share = ((weights * effects).sum(1) - mean) / reach
    return torch.where(known & (reach > NOTHING), share, torch.nan)
