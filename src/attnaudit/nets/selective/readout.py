"""From hidden states to logits: attention and head in the form that many deletions need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.nets.text.attentions import Scorer, masked_softmax
from attnaudit.nets.text.classifier import AttentionClassifier, log_probabilities
from attnaudit.nets.text.heads import LinearHead

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


def means_without(
    energies: Float[Tensor, "B L"],
    scores: Float[Tensor, "B L O"],
    units: Bool[Tensor, "B L"],
) -> Float[Tensor, "B L O"]:
    """`Σ_t weights_t · scores_t` without each position, where nothing else changes with it.

    The weights that are left keep their ratio, so that the sum is
    `(Σ_t w_t s_t - w_i s_i) / (1 - w_i)`: time and memory grow with the length. The heaviest unit
    is left out of the softmax instead; every other weight is at most a half, so nothing cancels.

    Args:
        energies: One per position.
        scores: What each position adds per unit of weight.
        units: The positions that may receive weight.

    Returns:
        The pooled scores, all 0 where no unit is left.

    Example:
        >>> one = torch.tensor([[0.0, 0.0, 99.0]])
        >>> means_without(one, torch.tensor([[[1.0], [3.0], [9.0]]]), one == one).flatten().tolist()
        [9.0, 9.0, 2.0]
    """
    if not energies.shape[1]:
        return torch.zeros_like(scores)
    weights = masked_softmax(energies, units)
    heaviest = weights.argmax(dim=1, keepdim=True)
    others = units.scatter(1, heaviest, False)
    # padding may hold anything, NaN too
    scores = scores.masked_fill(~units.unsqueeze(-1), 0.0)
    parts = weights.unsqueeze(-1) * scores
    remaining = 1 - weights.scatter(1, heaviest, 0.0).unsqueeze(-1)
    pooled = (parts.sum(dim=1, keepdim=True) - parts) / remaining
    alone = torch.bmm(masked_softmax(energies, others).unsqueeze(1), scores)
    at = heaviest.unsqueeze(-1).expand_as(alone)
    return pooled.scatter(1, at, torch.where(units.gather(1, heaviest).unsqueeze(-1), alone, 0.0))


def pooled_without(
    energies: Float[Tensor, "B L"],
    scores: Float[Tensor, "B L O"],
    units: Bool[Tensor, "B L"],
    *,
    reach: int,
    changed_energies: Float[Tensor, "B L D"],
    changed_scores: Float[Tensor, "B L D O"],
    changed_units: Bool[Tensor, "B L D"],
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
        weights = masked_softmax(
            torch.cat([logits, changed_energies[:, part]], dim=-1),
            torch.cat([mask, changed_units[:, part]], dim=-1),
        )
        near = weights[..., length:].unsqueeze(-1) * changed_scores[:, part]
        pooled[:, part] = torch.baddbmm(near.sum(dim=2), weights[..., :length], scores)
    return pooled
