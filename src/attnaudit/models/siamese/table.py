"""The table that adds up: the similarity of two texts, divided among pairs of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from attnaudit.models.siamese.tokens import Tokens

ScoreKind = Literal["cosine", "dot"]


@dataclass(frozen=True)
class PairTable:
    """The score of two texts as a sum over pairs of tokens and what the references add.

    A sentence embedding is `e(a) = e(r_a) + Σ_t D_a[t]`, with `r_a` the reference input and
    `D_a[t]` the contribution of token t, its part of the integrated Jacobian. The product of two
    such sums is a table: entry `(i, j)` is `D_a[i]·D_b[j]`, the last column `D_a[i]·e(r_b)`, the
    last row `e(r_a)·D_b[j]`, the corner `e(r_a)·e(r_b)`; for cosine all are divided by
    `|e(a)| |e(b)|`. The papers show the part without last row and column, which sums to the score
    only where `e(r) = 0` (Möller et al. 2023, Eq. 2; Möller et al. 2024 leave the rest out).

    Attributes:
        a: The first text's T_a tokens.
        b: The second text's T_b tokens.
        values: `(T_a + 1, T_b + 1)`, float64; last row and column belong to the references.
        score: The model's own score of the pair.
        kind: `cosine` (in [-1, 1]) or `dot` (any number).
        tolerance: What `residual` was asked to stay below, in units of the score.
        reference_a: `|e(r_a)| / |e(a)|`, the size of what the plain matrix leaves out.
        reference_b: The same of the second text.
    """

    a: Tokens
    b: Tokens
    values: Float[Tensor, "ta1 tb1"]
    score: float
    kind: ScoreKind
    tolerance: float
    reference_a: float
    reference_b: float

    @property
    def pairs(self) -> Float[Tensor, "ta tb"]:
        """The papers' plain matrix: pairs of tokens alone."""
        return self.values[:-1, :-1]

    @property
    def row(self) -> Float[Tensor, " tb"]:
        """`e(r_a)·D_b[j]`: the first text's reference and each token of the second."""
        return self.values[-1, :-1]

    @property
    def column(self) -> Float[Tensor, " ta"]:
        """`D_a[i]·e(r_b)`: each token of the first text and the second one's reference."""
        return self.values[:-1, -1]

    @property
    def corner(self) -> float:
        """What the two references add: `e(r_a)·e(r_b)`."""
        return float(self.values[-1, -1])

    @property
    def total(self) -> float:
        """The sum of the whole table."""
        return float(self.values.sum())

    @property
    def residual(self) -> float:
        """`score - total`: what the quadrature missed."""
        return self.score - self.total

    @property
    def plain_error(self) -> float:
        """`score - pairs.sum()`: what the papers' matrix leaves unexplained."""
        return self.score - float(self.pairs.sum())

    def turned(self) -> PairTable:
        """The table of the second text and the first."""
        return PairTable(
            self.b,
            self.a,
            self.values.T,
            self.score,
            self.kind,
            self.tolerance,
            self.reference_b,
            self.reference_a,
        )

    @property
    def adds_up(self) -> bool:
        """Whether the residual is within the tolerance."""
        return abs(self.residual) <= self.tolerance
