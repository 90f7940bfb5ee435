"""A text classifier with one attention: embed, encode, attend, decode."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad

from attnaudit.errors import SettingsError
from attnaudit.nets.attentions import ATTENTIONS, masked_softmax
from attnaudit.nets.encoders import ENCODERS
from attnaudit.nets.vocabulary import FIRST_WORD, PAD


@dataclass(frozen=True)
class ClassifierConfig:
    """What a classifier is made of.

    Attributes:
        classes: The names of the outputs, two or more.
        encoder: A name of `ENCODERS`.
        attention: A name of `ATTENTIONS`.
        hidden: Hidden size; the bidirectional LSTM has this many numbers per direction.
        embedding_dim: Size of a word vector.

    Raises:
        SettingsError: A name that no registry holds, or a size below 1.
    """

    classes: tuple[str, ...]
    encoder: str = "bilstm"
    attention: str = "additive"
    hidden: int = 128
    embedding_dim: int = 300

    def __post_init__(self) -> None:
        for field, name, known in (
            ("encoder", self.encoder, tuple(ENCODERS)),
            ("attention", self.attention, tuple(ATTENTIONS)),
        ):
            if name not in known:
                raise SettingsError(
                    f"{field} {name!r} is unknown; choose one of {', '.join(known)}"
                )
        for field in ("hidden", "embedding_dim"):
            if getattr(self, field) < 1:
                raise SettingsError(f"{field} is {getattr(self, field)}; it must be 1 or more")
        if len(self.classes) < 2:
            raise SettingsError(f"classes is {self.classes}; a classifier needs two or more")

    @property
    def logits(self) -> int:
        """How many logits there are: one for two classes, else one a class."""
        return 1 if len(self.classes) == 2 else len(self.classes)


def log_probabilities(logits: Float[Tensor, "*B O"]) -> Float[Tensor, "*B C"]:
    """Log-probabilities from logits; a single logit `z` is `(log σ(−z), log σ(z))`.

    Example:
        >>> log_probabilities(torch.zeros(1, 1)).exp().tolist()
        [[0.5, 0.5]]
    """
    if logits.shape[-1] == 1:
        return logsigmoid(torch.cat([-logits, logits], dim=-1))
    return torch.log_softmax(logits, dim=-1)


class AttentionClassifier(nn.Module):
    """Embedding, encoder, attention and a linear head on the weighted sum of states.

    ("Attention is not Explanation", section 2.) Two classes have one logit, `σ(w · c + b)`.
    There is no dropout, so training and evaluation mode are the same.

    Args:
        config: What it is made of.
        vocabulary_size: How many ids there are, the special ones among them.
    """

    def __init__(self, config: ClassifierConfig, vocabulary_size: int) -> None:
        super().__init__()
        if vocabulary_size < FIRST_WORD:
            raise SettingsError(
                f"vocabulary_size is {vocabulary_size}; the special ids alone are {FIRST_WORD}"
            )
        self.config = config
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim, padding_idx=PAD)
        self.encoder = ENCODERS[config.encoder](config.embedding_dim, config.hidden)
        self.attention = ATTENTIONS[config.attention](self.encoder.width)
        self.head = nn.Linear(self.encoder.width, config.logits)

    def embed(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L E"]:
        """Word vectors, 0 at padding."""
        vectors: Tensor = self.embedding(ids)
        return vectors

    def encode(
        self,
        embedded: Float[Tensor, "B L E"],
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B L H"]:
        """Hidden states, 0 at positions that are not present."""
        hidden: Tensor = self.encoder(embedded, present, units)
        return hidden

    def energies(self, hidden: Float[Tensor, "B L H"]) -> Float[Tensor, "B L"]:
        """What the weights are the softmax of."""
        energies: Tensor = self.attention(hidden)
        return energies

    def attend(
        self, hidden: Float[Tensor, "B L H"], units: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L"]:
        """The weights: 0 off the units, summing to 1 over them."""
        return masked_softmax(self.energies(hidden), units)

    def logits(self, hidden: Float[Tensor, "B L H"], weights: Tensor) -> Tensor:
        """Logits `(B, O)` for weights `(B, L)`; `(B, K, O)` for `(B, K, L)`."""
        candidates = weights if weights.dim() == 3 else weights.unsqueeze(1)
        logits: Tensor = self.head(torch.bmm(candidates, hidden))
        return logits if weights.dim() == 3 else logits.squeeze(1)

    def decode(self, hidden: Float[Tensor, "B L H"], weights: Tensor) -> Tensor:
        """Log-probabilities `(B, C)` for weights `(B, L)`; `(B, K, C)` for `(B, K, L)`."""
        return log_probabilities(self.logits(hidden, weights))

    def linear_decode(
        self, hidden: Float[Tensor, "B L H"]
    ) -> tuple[Float[Tensor, "B L C"], Float[Tensor, " C"]]:
        """Scores and bias with `decode(weights) = log_softmax(bias + Σ_t weights_t scores_t)`.

        With two classes the first has score and bias 0.
        """
        scores, bias = hidden @ self.head.weight.T, self.head.bias
        if self.config.logits == 1:
            return pad(scores, (1, 0)), pad(bias, (1, 0))
        return scores, bias

    def forward(
        self,
        ids: Int[Tensor, "B L"],
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B C"]:
        """Log-probabilities of the whole network."""
        hidden = self.encode(self.embed(ids), present, units)
        return self.decode(hidden, self.attend(hidden, units))
