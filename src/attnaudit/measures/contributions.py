"""What tokens contribute to each other within one attention: norms and distances."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.measures.rollout import row_normalised


def transformed(
    values: Float[Tensor, "B H T D"], output: Float[Tensor, "H D E"]
) -> Float[Tensor, "B H T E"]:
    """`f(x)` of Kobayashi et al. 2020: the values through the output projection, head by head."""
    return torch.einsum("bhtd,hde->bhte", values, output)


def norm_based(
    weights: Float[Tensor, "B H T"],
    values: Float[Tensor, "B H T D"],
    output: Float[Tensor, "H D E"],
) -> Float[Tensor, "B T"]:
    """Norms of what each token brings to a query: `|sum over heads of weight * f(x)|`.

    Source: Kobayashi et al. 2020, section 2.3.

    Args:
        weights: The query row of each head.
        values: Values of each head.
        output: The output projection, cut into heads.
    """
    brought = torch.einsum("bht,bhte->bte", weights, transformed(values, output))
    found: Tensor = torch.linalg.vector_norm(brought, dim=-1)
    return found


def effective_weights(
    weights: Float[Tensor, "B H T"],
    values: Float[Tensor, "B H T D"],
    output: Float[Tensor, "H D E"],
    real: Bool[Tensor, "B T"],
    tolerance: float = 1e-5,
) -> Float[Tensor, "B H T"]:
    """Effective attention: the part of the weights that reaches the output.

    Source: Brunner et al. 2020, section 3: the projection of a row off the left null space of
    `f(x)`; what is left gives the same output and may be negative.

    Args:
        weights: The query row of each head.
        values: Values of each head.
        output: The output projection, cut into heads.
        real: Where there are tokens.
        tolerance: Singular values below this share of the largest count as 0.
    """
    found = transformed(values, output) * real.view(len(real), 1, -1, 1)
    left, size, _ = torch.linalg.svd(found, full_matrices=False)
    kept = left * (size > tolerance * size.amax(-1, keepdim=True)).unsqueeze(-2)
    inside = torch.einsum("bht,bhtr->bhr", weights, kept)
    return torch.einsum("bhr,bhtr->bht", inside, kept)


def alti(
    vectors: Float[Tensor, "B T T E"], outputs: Float[Tensor, "B T E"], real: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T T"]:
    """Contributions by distance (ALTI, Ferrando et al. 2022, equations 9 and 10).

    How much nearer a token's part brings the sum, in the 1-norm: `|y| - |y - part|`, at least 0.

    Args:
        vectors: What token `j` (third axis) brings to token `i` (second axis), residual included.
        outputs: Their sums over `j`.
        real: Where there are tokens.

    Returns:
        Rows that sum to 1.
    """
    size = outputs.abs().sum(-1).unsqueeze(-1)
    distance = (outputs.unsqueeze(2) - vectors).abs().sum(-1)
    keep = real.unsqueeze(1) & real.unsqueeze(2)
    return row_normalised((size - distance).clamp(min=0) * keep)
