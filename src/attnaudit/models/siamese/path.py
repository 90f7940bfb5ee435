"""Nodes and weights for integrals along the straight path from a reference to a text.

An embedding often changes in one short stretch of the path (its speed peaks tenfold at layer 0 of
MiniLM), where evenly spread nodes converge slowly. A Gauss-Legendre rule in `u`, with
`α = a + δ sinh(u)`, puts them where the speed is; `a` and `δ` are chosen on a profile of the path
that takes forward passes only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial.legendre import leggauss
from scipy.interpolate import BSpline, make_interp_spline
from torch import Tensor

PROFILE = 33
"""Points of the path at which the embedding is looked at to find where it moves."""
NEARLY = 1.3
"""How much larger than the smallest an error may be where none is small enough."""
WIDTHS = (0.3, 0.45, 0.6, 0.9, 1.4)
"""Widths δ that are tried, as shares of the full width at half maximum of the speed."""
COUNTS = (
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    12,
    14,
    16,
    18,
    20,
    22,
    24,
    28,
    32,
    36,
    40,
    48,
    56,
    64,
    80,
    96,
    128,
    192,
    256,
)
"""Numbers of nodes that are tried."""


@dataclass(frozen=True)
class Stretch:
    """Where the path is stretched: `α = centre + width · sinh(u)`; an infinite width is even."""

    centre: float
    width: float

    def nodes(self, count: int) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Nodes in (0, 1) and weights that sum to about 1, float64.

        Example:
            >>> alpha, weight = Stretch(0.5, 0.1).nodes(32)
            >>> round(float((weight * alpha**2).sum()), 9)
            0.333333333
        """
        points, weights = leggauss(count)
        if math.isinf(self.width):
            return torch.from_numpy((points + 1) / 2), torch.from_numpy(weights / 2)
        low = math.asinh(-self.centre / self.width)
        high = math.asinh((1 - self.centre) / self.width)
        u = low + (high - low) * (points + 1) / 2
        alpha = self.centre + self.width * np.sinh(u)
        density = self.width * np.cosh(u) * (high - low) / 2
        return torch.from_numpy(alpha), torch.from_numpy(weights * density)


EVEN = Stretch(0.5, math.inf)


def rule_of(
    embeddings: Float[Tensor, "p d"], share: float, least: int = COUNTS[0]
) -> tuple[Stretch, int]:
    """The stretch and the number of nodes that the integral of the embedding's slope needs.

    The errors of all rules are computed on a spline through the profile, which costs no pass of
    the model. A rule counts where its error and that of the next larger one are small, as one
    alone may be small by luck.

    Args:
        embeddings: At p evenly spaced places of the path, from `α = 0` to `α = 1`.
        share: The error that is allowed, as a share of the last embedding's length.
        least: The smallest number of nodes.
    """
    values = embeddings.double().cpu().numpy()
    if len(values) < 8 or not np.ptp(values):
        return EVEN, least
    spline = make_interp_spline(np.linspace(0, 1, len(values)), values, k=5)
    slope, moved = spline.derivative(), values[-1] - values[0]
    size = np.linalg.norm(values[-1]) or 1.0
    counts = [count for count in COUNTS if count >= least]
    tried: list[tuple[float, Stretch, int]] = []
    before: dict[Stretch, float] = {}
    for place, count in enumerate(counts):
        errors: dict[Stretch, float] = {}
        for stretch in _stretches(spline):
            alphas, weights = stretch.nodes(count)
            missed = weights.numpy() @ slope(alphas.numpy()) - moved
            errors[stretch] = float(np.linalg.norm(missed) / size)
        if before:
            both = min(errors, key=lambda one: max(errors[one], before[one]))
            error = max(errors[both], before[both])
            if error <= share:
                return both, counts[place - 1]
            tried.append((error, both, counts[place - 1]))
        before = errors
    # what no number of nodes reaches, the first does nearly as well as all others
    floor = min((error for error, *_ in tried), default=0.0)
    for error, both, count in tried:
        if error <= NEARLY * floor:
            return both, count
    return EVEN, counts[-1]


def _stretches(spline: BSpline) -> tuple[Stretch, ...]:
    """Even nodes, and nodes drawn together around the fastest place."""
    places = np.linspace(0, 1, 513)
    speed = np.linalg.norm(spline.derivative()(places), axis=1)
    top = int(speed.argmax())
    slow = np.flatnonzero(speed < speed[top] / 2)
    below, above = slow[slow < top], slow[slow > top]
    low = below[-1] if len(below) else 0
    high = above[0] if len(above) else len(places) - 1
    full = places[high] - places[low]
    return (EVEN, *(Stretch(float(places[top]), float(share * full)) for share in WIDTHS))
