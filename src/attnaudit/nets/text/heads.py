"""Heads: from the weighted sum of states to logits, and the encoder of a question."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attnaudit.nets.text.encoders import Encoder
from attnaudit.nets.text.vocabulary import PAD

DISALLOWED = -1e4
"""Logit of a class that may not be the answer: its probability is exactly 0 in float32."""


class LinearHead(nn.Linear):
    """Logits linear in the weighted sum of states."""

    def forward(  # type: ignore[override]
        self, pooled: Float[Tensor, "B K H"], extra: Mapping[str, Tensor]
    ) -> Float[Tensor, "B K O"]:
        """Logits of `K` weighted sums an instance."""
        return _only_allowed(super().forward(pooled), extra)


class QuestionHead(nn.Module):
    """`V · tanh(W c + b + U q + d) + e`, with `q` the encoded question.

    ("Attention is not Explanation", the question-answering decoder of the released code.)
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        middle = max(1, width // 2)
        self.of_text = nn.Linear(width, middle)
        self.of_question = nn.Linear(width, middle)
        self.output = nn.Linear(middle, outputs)

    @property
    def weight(self) -> Tensor:
        """The last layer's weight: its type and device are the network's."""
        return self.output.weight

    def forward(
        self, pooled: Float[Tensor, "B K H"], extra: Mapping[str, Tensor]
    ) -> Float[Tensor, "B K O"]:
        """Logits of `K` weighted sums an instance."""
        asked = self.of_question(extra["query"]).unsqueeze(1)
        return _only_allowed(self.output(torch.tanh(self.of_text(pooled) + asked)), extra)


class QuestionEncoder(nn.Module):
    """A question as one vector: embedding, encoder, last state."""

    def __init__(self, vocabulary_size: int, embedding_dim: int, encoder: Encoder) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim, padding_idx=PAD)
        self.encoder = encoder

    def forward(
        self,
        ids: Int[Tensor, "B Q"],
        present: Bool[Tensor, "B Q"],
        units: Bool[Tensor, "B Q"],
    ) -> Float[Tensor, "B H"]:
        """The vector of each question."""
        hidden = self.encoder(self.embedding(ids), present, units)
        return self.encoder.last_hidden(hidden, present, units)


def _only_allowed(
    logits: Float[Tensor, "B K O"], extra: Mapping[str, Tensor]
) -> Float[Tensor, "B K O"]:
    if "allowed" not in extra:
        return logits
    return logits.masked_fill(~extra["allowed"].unsqueeze(1), DISALLOWED)
