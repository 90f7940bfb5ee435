"""The contract of every attribution: one score per unit, for the predicted class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.models.encoded import Encoded

LONGEST = 2_000
"""Units above which leave-one-out is left out where its cost grows with the square of them.

A BiLSTM of 128 takes 3, 10 and 39 s of CPU time for 1,000, 2,000 and 4,000 units.
"""


@dataclass(frozen=True)
class Attribution:
    """Scores of one method for one batch.

    Attributes:
        scores: `(B, L)`, 0 off the units; the higher, the more the unit speaks for the
            predicted class (signed methods) or matters at all (the others).
        error: `(B,)`, how far the scores are from adding up, where the method promises that.
    """

    scores: Float[Tensor, "B L"]
    error: Float[Tensor, " B"] | None = None


@dataclass(frozen=True)
class Options:
    """What methods can be told.

    Attributes:
        seed: Of random scores.
        tolerance: Largest completeness error, in probability, that integrated gradients accept.
        max_nodes: Quadrature nodes after which integrated gradients give up and say so.
        token_budget: Padded tokens in one pass.
        longest: Units above which leave-one-out is NaN, unless the model's cost is linear.
    """

    seed: int = 0
    tolerance: float = 1e-3
    max_nodes: int = 256
    token_budget: int = 2_048
    longest: int = LONGEST


@dataclass(frozen=True)
class Method:
    """An attribution method, declared.

    Attributes:
        name: The key in `METHODS`.
        title: What tables call it.
        paper: Where it comes from.
        meaning: What a score says, in one sentence.
        signed: Whether scores can be negative.
        needs: `gradients`, or nothing.
        cost: Encoder passes per instance of `T` units, in words.
        compute: The method itself.
        costly: Whether audits compute it on the instances drawn for costly work only.
    """

    name: str
    title: str
    paper: str
    meaning: str
    signed: bool
    needs: frozenset[str]
    cost: str
    compute: Callable[[Encoded, Options], Attribution]
    costly: bool = False


def on_units(scores: Tensor, encoded: Encoded) -> Tensor:
    """Scores with everything off the units set to 0."""
    return torch.where(encoded.units, scores, torch.zeros_like(scores))
