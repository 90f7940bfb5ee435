"""Distances between distributions: total variation, Kullback-Leibler, Jensen-Shannon.

All natural logarithms, all without an additive epsilon: 0 ln 0 = 0. Leading dimensions broadcast,
so that `(B, K, T)` alternatives can be compared with the `(B, 1, T)` original.
"""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LN2 = math.log(2.0)
"""The largest Jensen-Shannon divergence, reached by distributions without a common unit."""


def total_variation(p: Float[Tensor, "*#B C"], q: Float[Tensor, "*#B C"]) -> Float[Tensor, "*B"]:
    """Total variation distance, ½ Σ |p − q| over the last dimension.

    Half of the L1 distance; with two classes it equals |p₁ − q₁|. Jain and Wallace (2019), section
    3, use it between the outputs of a model.

    Args:
        p: Probabilities `(..., C)`.
        q: Probabilities, broadcastable against `p`.

    Returns:
        `(...)`, between 0 and 1.

    Example:
        >>> total_variation(torch.tensor([0.25, 0.75]), torch.tensor([0.75, 0.25])).item()
        0.5
    """
    return 0.5 * (p - q).abs().sum(-1)


def entropy(p: Float[Tensor, "*B T"]) -> Float[Tensor, "*B"]:
    """Shannon entropy in nats, −Σ p ln p, with 0 ln 0 = 0.

    Args:
        p: Probabilities `(..., T)`; padding is 0.

    Returns:
        `(...)`, between 0 and ln T.

    Example:
        >>> round(entropy(torch.tensor([0.5, 0.5, 0.0])).item(), 4)
        0.6931
    """
    nats: Tensor = torch.special.entr(p)
    return nats.sum(-1)


def kl_divergence(
    p: Float[Tensor, "*#B T"],
    q: Float[Tensor, "*#B T"],
    mask: Bool[Tensor, "*#B T"] | None = None,
) -> Float[Tensor, "*B"]:
    """Kullback-Leibler divergence KL(p ‖ q) in nats.

    Args:
        p: Distributions `(..., T)`, each summing to 1 over its real units.
        q: Distributions, broadcastable against `p`.
        mask: True on real units; None where all are real, or where padding is 0 in both.

    Returns:
        `(...)`, 0 or larger; infinite where `q` is 0 at a unit that has weight in `p`.

    Example:
        >>> kl_divergence(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])).item()
        inf
    """
    some = p > 0
    # Ones where p is 0: the term is 0 there, and so is its gradient instead of NaN.
    ratio = torch.where(some, p, 1.0).log() - torch.where(some, q, 1.0).log()
    # Gibbs' inequality says 0 or more; what lies below is rounding.
    return _masked(p * ratio, mask).sum(-1).clamp_min(0.0)


def jensen_shannon(
    p: Float[Tensor, "*#B T"],
    q: Float[Tensor, "*#B T"],
    mask: Bool[Tensor, "*#B T"] | None = None,
) -> Float[Tensor, "*B"]:
    """Jensen-Shannon divergence ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½ (p + q), in nats.

    Differentiable in `p` and `q`, also where both are 0 (padding).

    Args:
        p: Distributions `(..., T)`, each summing to 1 over its real units.
        q: Distributions, broadcastable against `p`: `(B, K, T)` against `(B, 1, T)`.
        mask: True on real units; None where all are real, or where padding is 0 in both.

    Returns:
        `(...)`, between 0 (equal) and ln 2 (no unit in common).

    Example:
        >>> p = torch.tensor([[0.5, 0.5, 0.0]])
        >>> jensen_shannon(p, p).item()
        0.0
        >>> round(jensen_shannon(p, torch.tensor([[0.0, 0.0, 1.0]])).item(), 4)
        0.6931
    """
    # With u = (p − q) / (p + q), a term is ½ (p + q) · ½ ((1 + u) ln(1 + u) + (1 − u) ln(1 − u)).
    # For small u, ln(1 + u) + ln(1 − u) is taken as ln(1 − u²): nothing cancels, so that nearly
    # equal distributions keep their digits.
    total = p + q
    u = (p - q) / torch.where(total > 0, total, 1.0)
    disjoint = u.abs() >= 1
    u = torch.where(disjoint, 0.0, u)
    up, down = torch.log1p(u), torch.log1p(-u)
    relative = 0.5 * (torch.where(u.abs() < 0.5, torch.log1p(-u * u), up + down) + u * (up - down))
    terms = 0.5 * total * torch.where(disjoint, LN2, relative)
    return _masked(terms, mask).sum(-1).clamp(0.0, _largest(terms.dtype))


@functools.cache
def _largest(dtype: torch.dtype) -> float:
    """The largest number of the type that is not above ln 2 (in float32, ln 2 rounds up)."""
    rounded = torch.tensor(LN2, dtype=dtype)
    if rounded.item() > LN2:
        rounded = torch.nextafter(rounded, torch.zeros_like(rounded))
    return float(rounded.item())


def _masked(terms: Tensor, mask: Tensor | None) -> Tensor:
    return terms if mask is None else torch.where(mask, terms, 0.0)
