"""Mask laws: weights drawn at random, independent of the text and of its label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.errors import SettingsError

KINDS = ("soft", "hard")
SIGMA = 4.0
"""The most peaked soft masks: logits have a standard deviation between 0 (all equal) and this."""


@dataclass(frozen=True)
class MaskLaw:
    """A distribution of masks over the units of an instance.

    Attributes:
        kind: `hard` for a uniform choice of `k` units with weight 1/k each; `soft` for
            `softmax(s · N(0, I))` with `s` uniform from 0 to `sigma`, drawn per instance, which
            covers flat to peaked weights.
        k: How many units a hard mask keeps, 1 or more; all where there are fewer.
        sigma: The largest spread of the logits of a soft mask, 0 or more.

    Raises:
        SettingsError: No such kind, or a number out of range.
    """

    kind: str = "soft"
    k: int | None = None
    sigma: float = SIGMA

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError(f"no masks are called {self.kind!r}; choose one of {KINDS}")
        if self.kind == "hard" and (self.k is None or self.k < 1):
            raise SettingsError(f"hard masks keep k units, and k is {self.k}; give 1 or more")
        if self.kind == "soft" and self.k is not None:
            raise SettingsError(f"soft masks keep all units: leave out k={self.k}")
        if not 0 <= self.sigma < float("inf"):
            raise SettingsError(f"sigma is {self.sigma}; it must be 0 or more, and finite")


def draw_masks(
    units: Bool[Tensor, "B L"], law: MaskLaw, generator: torch.Generator
) -> Float[Tensor, "B L"]:
    """One mask an instance: 0 off the units, with sum 1 over them.

    Args:
        units: The positions that may receive weight.
        law: What to draw from.
        generator: Of the draws, on the CPU: the same masks on every device.

    Returns:
        `(B, L)` on the device of `units`; all 0 for an instance without units.

    Example:
        >>> units = torch.tensor([[True, True, True, False]])
        >>> draw_masks(units, MaskLaw("hard", k=2), torch.Generator().manual_seed(0))
        tensor([[0.5000, 0.5000, 0.0000, 0.0000]])
    """
    if law.kind == "hard":
        order = torch.rand(units.shape, generator=generator).to(units.device)
        return hard_masks(order, units, law.k or 1)
    spread = torch.rand(len(units), 1, generator=generator) * law.sigma
    logits = (torch.randn(units.shape, generator=generator) * spread).to(units.device)
    return soft_masks(logits, units)


def hard_masks(
    scores: Float[Tensor, "B L"], units: Bool[Tensor, "B L"], k: int
) -> Float[Tensor, "B L"]:
    """1/k on the `k` units with the highest scores, 0 elsewhere; all units where there are fewer.

    Of units with the same score those further left come first.

    Example:
        >>> units = torch.tensor([[True, True, True], [True, False, False]])
        >>> hard_masks(torch.tensor([[1.0, 3, 2], [0, 9, 9]]), units, k=2)
        tensor([[0.0000, 0.5000, 0.5000],
                [1.0000, 0.0000, 0.0000]])
    """
    ranked = scores.masked_fill(~units, -torch.inf)
    order = torch.argsort(ranked, dim=1, descending=True, stable=True)
    rank = torch.argsort(order, dim=1)
    chosen = (rank < k) & units
    kept = chosen.sum(1, keepdim=True).clamp(min=1)
    return chosen.to(scores.dtype) / kept


def soft_masks(logits: Float[Tensor, "B L"], units: Bool[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """The softmax over the units, exactly 0 elsewhere; all 0 where there are none.

    Example:
        >>> soft_masks(torch.zeros(1, 3), torch.tensor([[True, False, True]]))
        tensor([[0.5000, 0.0000, 0.5000]])
    """
    # a finite floor: a softmax over nothing but -inf is NaN, and so is its gradient
    floor = torch.finfo(logits.dtype).min
    return torch.softmax(logits.masked_fill(~units, floor), dim=1) * units
