"""Attention and relevance through layers: products of attention matrices."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def row_normalised(matrix: Float[Tensor, "... T T"]) -> Float[Tensor, "... T T"]:
    """Rows divided by their sums; rows of zeros stay."""
    total = matrix.sum(-1, keepdim=True)
    return torch.where(total > 0, matrix / total.clamp(min=torch.finfo(matrix.dtype).tiny), 0.0)


def rollout(
    attention: Float[Tensor, "N B H T T"], real: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T T"]:
    """Attention rollout (Abnar & Zuidema 2020, section 3).

    The mean over heads, half of it the residual stream, multiplied from the first layer up.

    Args:
        attention: Weights of `N` layers, rows are queries.
        real: Where there are tokens.

    Returns:
        Shares of the input tokens in each token of the last layer; rows sum to 1.

    Example:
        >>> one = torch.eye(2).view(1, 1, 1, 2, 2)
        >>> rollout(one, torch.ones(1, 2, dtype=torch.bool))[0].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    keep = real.unsqueeze(1) & real.unsqueeze(2)
    eye = torch.eye(real.shape[1], dtype=attention.dtype, device=real.device)
    found = eye * keep
    for layer in attention.mean(2) * keep:
        found = row_normalised(layer + eye * keep) @ found
    return found


def rolled(layers: Float[Tensor, "N B T T"]) -> Float[Tensor, "B T T"]:
    """The product of the layers' own contribution matrices, from the first layer up."""
    found = layers[0]
    for layer in layers[1:]:
        found = layer @ found
    return found


def relevance(
    attention: Float[Tensor, "N B H T T"],
    gradient: Float[Tensor, "N B H T T"],
    real: Bool[Tensor, "B T"],
) -> Float[Tensor, "B T T"]:
    """Generic attention explainability (Chefer et al. 2021, equations 5 and 6), self-attention.

    Args:
        attention: Weights of `N` layers.
        gradient: Of the output that is explained, with respect to them.
        real: Where there are tokens.

    Returns:
        Relevance of the input tokens for each token of the last layer, at least 0.
    """
    keep = real.unsqueeze(1) & real.unsqueeze(2)
    found = torch.eye(real.shape[1], dtype=attention.dtype, device=real.device) * keep
    for weights, slope in zip(attention, gradient, strict=True):
        found = found + ((weights * slope).clamp(min=0).mean(1) * keep) @ found
    return found


def gradient_x_attention(
    attention: Float[Tensor, "N B H T T"],
    gradient: Float[Tensor, "N B H T T"],
    query: Tensor,
) -> Float[Tensor, "B T"]:
    """What weights times their gradients say at the query row: sum over layers and heads.

    Source: gradients as in Serrano & Smith 2019; positive parts as in Chefer et al. 2021.

    Args:
        attention: Weights of `N` layers.
        gradient: Of the output that is explained, with respect to them.
        query: `(B,)`, the row of each instance.
    """
    product = (attention * gradient).clamp(min=0).sum((0, 2))
    index = query.view(-1, 1, 1).expand(-1, 1, product.shape[-1])
    return product.gather(1, index).squeeze(1)
