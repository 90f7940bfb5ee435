"""From hidden states to logits: attention and head in the form that many deletions need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.nets.attentions import Scorer, masked_softmax
from attnaudit.nets.classifier import AttentionClassifier, log_probabilities
from attnaudit.nets.heads import LinearHead

BUDGET = 1 << 24
"""How many numbers one intermediate array of a deletion may hold (64 MiB of float32)."""


@dataclass(frozen=True)
class Readout:
    """Attention and head of a classifier, as functions of hidden states.

    Attributes:
        scorer: The attention, up to a constant that softmax does not see.
        head: `(O, H)`, the weight of the linear head.
        head_bias: `(O,)`.
    """

    scorer: Scorer
    head: Float[Tensor, "O H"]
    head_bias: Float[Tensor, " O"]

    @classmethod
    def of(cls, net: AttentionClassifier) -> Readout | None:
        """The readout of a classifier; None where attention or head have no such form."""
        scorer = net.attention.scorer()
        if scorer is None or not isinstance(net.head, LinearHead):
            return None
        return cls(scorer, net.head.weight, net.head.bias)

    def energies(self, hidden: Float[Tensor, "*B H"]) -> Float[Tensor, "*B"]:
        """Energies of whole hidden states, up to the scorer's constant."""
        return self.scorer(hidden @ self.scorer.weight.T + self.scorer.bias)

    @staticmethod
    def log_probabilities(logits: Float[Tensor, "*B O"]) -> Float[Tensor, "*B C"]:
        """Log-probabilities from logits."""
        return log_probabilities(logits)


def pooled_without(
    energies: Float[Tensor, "B L"],
    scores: Float[Tensor, "B L O"],
    units: Bool[Tensor, "B L"],
    *,
    reach: int = 0,
    changed_energies: Float[Tensor, "B L D"] | None = None,
    changed_scores: Float[Tensor, "B L D O"] | None = None,
    changed_units: Bool[Tensor, "B L D"] | None = None,
) -> Float[Tensor, "B L O"]:
    """`Σ_t weights_t · scores_t` for every deleted position, the weights taken again each time.

    Args:
        energies: Of the full text.
        scores: Of the full text, what each position adds to the logits per unit of weight.
        units: The positions that may receive weight.
        reach: Positions up to this far from the deleted one have changed energies and scores;
            farther ones keep theirs.
        changed_energies: `(b, i, ·)` the energies of the positions within reach of a deleted `i`.
        changed_scores: Likewise.
        changed_units: Which of those are units.

    Returns:
        The pooled scores, all 0 where no unit is left.
    """
    batch, length = energies.shape
    position = torch.arange(length, device=energies.device)
    pooled = scores.new_empty(batch, length, scores.shape[-1])
    step = max(1, BUDGET // max(1, batch * length))
    for start in range(0, length, step):
        part = slice(start, min(start + step, length))
        far = (position[part, None] - position).abs() > reach
        mask = far & units.unsqueeze(1)
        logits = energies.unsqueeze(1).expand(-1, mask.shape[1], -1)
        if changed_energies is None or changed_units is None or changed_scores is None:
            torch.bmm(masked_softmax(logits, mask), scores, out=pooled[:, part])
            continue
        weights = masked_softmax(
            torch.cat([logits, changed_energies[:, part]], dim=-1),
            torch.cat([mask, changed_units[:, part]], dim=-1),
        )
        near = weights[..., length:].unsqueeze(-1) * changed_scores[:, part]
        pooled[:, part] = torch.baddbmm(near.sum(dim=2), weights[..., :length], scores)
    return pooled
