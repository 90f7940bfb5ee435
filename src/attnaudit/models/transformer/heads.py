"""Rows of several heads from one map: the distributions closest to the heads' own."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 20
"""Rounds of proportional fitting; maps of real models are met to rounding well before."""


def fitted_heads(
    own: Float[Tensor, "B S T"], mean: Float[Tensor, "B K T"], rounds: int = ROUNDS
) -> Float[Tensor, "B K S T"]:
    """The heads' rows of which the mean is exactly a given map, with the least change.

    Iterative proportional fitting (Deming & Stephan 1940): the closest rows to the heads' own in
    relative entropy, in which every head keeps its mass. Differentiable in the map.

    Args:
        own: The rows of `S` heads over `T` positions, non-negative.
        mean: `K` maps whose mass is that of the mean of the heads' own rows.
        rounds: How often rows and columns are scaled.

    Returns:
        Rows whose mean over heads is the map.

    Example:
        >>> own = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]])
        >>> rows = fitted_heads(own, torch.tensor([[[0.4, 0.6]]]))
        >>> [round(x, 4) for x in rows.mean(2).flatten().tolist()]
        [0.4, 0.6]
    """
    heads = own.shape[1]
    if heads == 1:
        return mean.unsqueeze(2)
    tiny = torch.finfo(own.dtype).tiny
    # a head that rounds to 0 on a position may yet be given weight there
    floor = torch.finfo(own.dtype).eps ** 2
    reachable = own.detach().amax(1, keepdim=True) > 0
    rows = own.clamp(min=floor) * reachable
    mass = own.sum(-1)[:, None, :, None]
    rows = rows.unsqueeze(1).expand(-1, mean.shape[1], -1, -1)
    goal = (mean * heads).unsqueeze(2)
    unreachable = ~reachable.unsqueeze(1) & (goal > 0)
    rows = torch.where(unreachable, goal.detach() / heads, rows)
    for _ in range(rounds):
        rows = rows * (mass / rows.sum(-1, keepdim=True).clamp(min=tiny))
        rows = rows * (goal / rows.sum(2, keepdim=True).clamp(min=tiny))
    return rows
