"""Word-level tying: a loss term that keeps a state close to the vector of its own word."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnaudit.nets.text.classifier import Pass
from attnaudit.remedies.declaration import Remedy, as_the_loss
from attnaudit.training.text import Penalty

WEIGHT = 0.3
"""Ours: of .1, .3, 1 and 3 the largest that cost networks on the Stanford Sentiment Treebank no
accuracy on development data, beyond what two seeds differ by."""


def tying_penalty(weight: float = WEIGHT, seed: int = 0) -> Penalty:
    """`weight · mean over units of ‖h_t − P e_t‖² / H`, added to each instance's cross-entropy.

    Tutek & Šnajder (2020), "Staying True to Your Word"; divided by the size `H` of a state, so
    that the same λ does for any size. They have states and word vectors of one
    size; here `P` is the identity then. Else it is a fixed map with orthonormal columns (or rows,
    where states are smaller), drawn once: it keeps lengths and angles as well as the sizes allow,
    and adds no parameters that could learn to give the term away. Both the states and the word
    vectors are pulled.

    Args:
        weight: λ.
        seed: Of `P`.
    """
    maps: dict[tuple[int, int], Float[Tensor, "H E"]] = {}

    def penalty(passed: Pass, rows: Int[Tensor, " B"]) -> Tensor:
        hidden, embedded, units = passed.hidden, passed.embedded, passed.units
        size = hidden.shape[-1], embedded.shape[-1]
        if size not in maps:
            maps[size] = orthonormal(*size, seed)
        wanted = embedded @ maps[size].to(hidden).T
        apart = (hidden - wanted).square().sum(-1).masked_fill(~units, 0.0)
        count = units.sum(1).clamp(min=1) * hidden.shape[-1]
        return weight * as_the_loss(apart.sum(1) / count, passed)

    return penalty


def orthonormal(rows: int, columns: int, seed: int) -> Float[Tensor, "R C"]:
    """The identity, or a random matrix with orthonormal columns (rows, where these are fewer).

    Example:
        >>> matrix = orthonormal(3, 2, seed=0)
        >>> bool(torch.allclose(matrix.T @ matrix, torch.eye(2), atol=1e-6))
        True
    """
    if rows == columns:
        return torch.eye(rows)
    generator = torch.Generator().manual_seed(seed)
    shape = max(rows, columns), min(rows, columns)
    tall, upper = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64))
    # signs of the diagonal fixed: the result does not depend on the routine behind qr
    tall = (tall * upper.diagonal().sign()).float()
    matrix: Tensor = tall if rows > columns else tall.T
    return matrix


TYING = Remedy(
    name="tying",
    title="Word-level tying",
    paper="Tutek & Šnajder 2020",
    changes="a loss term: λ times the squared distance of each state from its own word's vector",
    promises="states that stay true to their words, so that a weight on a state is one on a word",
    caveat="costs accuracy, the more the larger λ: choose λ on development data",
    penalty=tying_penalty,
    weight=WEIGHT,
)
