"""The loss of a model that is to say the same with other weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.measures.divergence import kl_divergence, total_variation
from attnaudit.nets.text.classifier import Pass, log_probabilities
from attnaudit.training.text import Objective


def adversarial(
    probabilities: Float[Tensor, "N C"], weights: Sequence[Float[Tensor, " T"]], strength: float
) -> Objective:
    """`Σ_i TVD(ŷ_a, ŷ_b) − λ KL(α_a ‖ α_b)` over the instances of a batch.

    (Wiegreffe & Pinter 2019, section 4.) The released code takes half the distance of two classes,
    so its λ is half of this one, and its mean output change may be half of ours; and it multiplies
    the batch's loss by a vector of class weights and sums, which only scales it. A weight of the
    base that underflowed to 0 counts as the smallest number there is, where the formula has an
    infinite reward; and padding is masked before the logarithm, where the released line gives NaN.

    Args:
        probabilities: Of the base model, for the training records in their order.
        weights: Of the base model, one per unit of each record.
        strength: λ, 0 or above.

    Returns:
        An objective for the training loop; labels are not looked at.
    """

    def objective(passed: Pass, rows: Tensor) -> Tensor:
        device, units = passed.weights.device, passed.units
        wanted = probabilities[rows.to(probabilities.device)].to(device)
        distance = total_variation(log_probabilities(passed.logits).exp(), wanted)
        base = torch.zeros_like(passed.weights)
        base[units] = torch.cat([weights[row] for row in rows.tolist()]).to(base)
        base = base.clamp_min(torch.finfo(base.dtype).tiny)
        return (distance - strength * kl_divergence(passed.weights, base, units)).sum()

    return objective
