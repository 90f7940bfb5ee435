"""Conicity: do the hidden states of an instance all point the same way?

Where they do, every unit carries the same message, and it makes little difference which of them has
the weight (Mohankumar et al. 2020, "Towards Transparent and Explainable Attention Models").
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import hyp2f1
from torch import Tensor

from attnaudit.errors import DataError, SettingsError

ANGLES = 8192
"""Points of the integral over angles; its integrand is smooth and vanishes at both ends."""


def conicity(hidden: Float[Tensor, "B L H"], units: Bool[Tensor, "B L"]) -> Float[Tensor, " B"]:
    """Mean over the units of |cos(h_t, h̄)|, with h̄ the mean of their states.

    Mohankumar et al. (2020), section 3. A state of 0 has no direction: it is left out. Gradients
    are finite in every case, and 0 where the conicity is undefined.

    Args:
        hidden: States; what stands off the units is not read, NaN included.
        units: `(B, L)`, True on real units.

    Returns:
        `(B,)`, between 0 and 1 (all states on one line). NaN with fewer than two states that have a
        direction (a single one is its own mean, so 1 would say nothing), and where they cancel.

    Raises:
        DataError: States and units do not fit.

    Example:
        >>> states = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [3.0, 3.0]]])
        >>> [round(value, 4) for value in conicity(states, torch.ones(2, 2).bool()).tolist()]
        [0.6708, 1.0]
    """
    if units.dtype != torch.bool or units.dim() != 2 or hidden.shape[:-1] != units.shape:
        raise DataError(
            f"hidden has shape {tuple(hidden.shape)} and units {tuple(units.shape)} of type "
            f"{units.dtype}; give (B, L, H) and a bool tensor (B, L)"
        )
    states = hidden.masked_fill(~units.unsqueeze(-1), 0.0)
    # Scaled by its largest number, so that no square is lost below the smallest float.
    largest = states.detach().abs().amax(-1, keepdim=True)
    directed = (largest > 0).squeeze(-1)
    some = torch.where(directed.unsqueeze(-1), states / torch.where(largest > 0, largest, 1.0), 1.0)
    lengths = some.square().sum(-1).sqrt()
    top = largest.sum(1, keepdim=True)
    mean = (states / torch.where(top > 0, top, 1.0)).sum(1)
    # What is left where states cancel is rounding, and has no direction.
    least = torch.finfo(hidden.dtype).eps * directed.sum(1)
    defined = (directed.sum(1) >= 2) & (mean.detach().abs().amax(-1) > least)
    mean = torch.where(defined.unsqueeze(-1), mean, 1.0)
    along = torch.einsum("blh,bh->bl", some, mean / mean.square().sum(-1, keepdim=True).sqrt())
    cosines = torch.where(directed, (along / lengths).abs(), 0.0)
    value = (cosines.sum(1) / directed.sum(1).clamp(min=1)).clamp(max=1.0)
    return torch.where(defined, value, torch.nan)


def random_conicity(lengths: Int[Tensor, " B"], width: int) -> Float[Tensor, " B"]:
    """The expected conicity of states that point anywhere: what to compare a conicity with.

    A state has a part in its own mean, so short texts have a high conicity whatever their states.
    For `T` independent normal states, the numbers of one of them and of the mean are `H` pairs of
    normal numbers with the correlation `1/√T`, and their cosine is an (uncentred) sample
    correlation, whose density is Hotelling's (1953). The mean of its absolute value is integrated.

    Args:
        lengths: Numbers of units `T`.
        width: Size `H` of a state.

    Returns:
        `(B,)` float64 on the CPU: near `√(2 / (π H))` for long texts, NaN below two units.

    Raises:
        SettingsError: `width` is below 1.

    Example:
        >>> [round(value, 2) for value in random_conicity(torch.tensor([2, 20, 400]), 128).tolist()]
        [0.71, 0.22, 0.08]
    """
    if width < 1:
        raise SettingsError(f"width is {width}; a state has 1 number or more")
    values = [_expected(int(length), width) for length in lengths.tolist()]
    return torch.tensor(values, dtype=torch.float64)


@functools.lru_cache(maxsize=65_536)
def _expected(length: int, width: int) -> float:
    """E|r| of a sample correlation of `width` pairs with the correlation 1/√length."""
    if length < 2:
        return float("nan")
    if width == 1:
        return 1.0  # everything lies on one line
    rho, angle = length**-0.5, (np.arange(1, ANGLES) / ANGLES - 0.5) * np.pi
    r = np.sin(angle)
    # dr = cos(angle) d angle takes one power of the singular end away
    log = (width - 2) * np.log(np.cos(angle)) - (width - 0.5) * np.log1p(-rho * r)
    density = np.exp(log - log.max()) * hyp2f1(0.5, 0.5, width + 0.5, (1 + rho * r) / 2)
    return float((np.abs(r) * density).sum() / density.sum())
