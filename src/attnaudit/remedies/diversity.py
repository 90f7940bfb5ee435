"""The diversity LSTM: a loss term against states that all point the same way."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from attnaudit.measures.conicity import conicity
from attnaudit.nets.text.classifier import Pass
from attnaudit.remedies.declaration import Remedy, as_the_loss
from attnaudit.training.text import Penalty

WEIGHT = 0.5
"""λ of the example in the authors' released code."""


def diversity_penalty(weight: float = WEIGHT) -> Penalty:
    """`weight · conicity(H)`, added to the cross-entropy of each instance.

    Mohankumar et al. (2020), section 4. Texts without a conicity (one unit) add nothing.

    Args:
        weight: λ.
    """

    def penalty(passed: Pass, rows: Int[Tensor, " B"]) -> Tensor:
        return weight * as_the_loss(conicity(passed.hidden, passed.units), passed)

    return penalty


DIVERSITY = Remedy(
    name="diversity",
    title="Diversity LSTM",
    paper="Mohankumar et al. 2020, section 4",
    changes="a loss term: λ times the conicity of each text's states",
    promises="states that differ from each other, so that it matters which of them has the weight",
    caveat="a low conicity is what it is trained for, and so no evidence that it helped",
    penalty=diversity_penalty,
    weight=WEIGHT,
)
ORTHOGONAL = Remedy(
    name="orthogonal",
    title="Orthogonal LSTM",
    paper="Mohankumar et al. 2020, section 4",
    changes="the encoder: each state is made orthogonal to the mean of the states before it",
    promises="the same as the diversity LSTM, by construction and without a λ",
    caveat="no fast leave-one-out: its audits take longer",
    encoder="orthogonal",
)
