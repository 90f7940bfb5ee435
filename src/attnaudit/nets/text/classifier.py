"""A text classifier with one attention: embed, encode, attend, decode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad

from attnaudit.errors import SettingsError
from attnaudit.nets.text.attentions import ATTENTIONS, Sizes
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.nets.text.heads import LinearHead, QuestionEncoder, QuestionHead
from attnaudit.nets.text.inputs import Inputs
from attnaudit.nets.text.vocabulary import FIRST_WORD, PAD


@dataclass(frozen=True)
class ClassifierConfig:
    """What a classifier is made of.

    Attributes:
        classes: The names of the outputs, two or more.
        encoder: A name of `ENCODERS`.
        attention: A name of `ATTENTIONS`.
        hidden: Hidden size; the bidirectional LSTM has this many numbers per direction.
        embedding_dim: Size of a word vector.
        question: Whether a question is read beside the text ("Attention is not Explanation",
            its question-answering and inference models).

    Raises:
        SettingsError: A name that no registry holds, or a size below 1.
    """

    classes: tuple[str, ...]
    encoder: str = "bilstm"
    attention: str = "additive"
    hidden: int = 128
    embedding_dim: int = 300
    question: bool = False

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
        """How many logits there are: one a class, but one for two classes without a question."""
        return 1 if len(self.classes) == 2 and not self.question else len(self.classes)


def log_probabilities(logits: Float[Tensor, "*B O"]) -> Float[Tensor, "*B C"]:
    """Log-probabilities from logits; a single logit `z` is `(log σ(−z), log σ(z))`.

    Example:
        >>> log_probabilities(torch.zeros(1, 1)).exp().tolist()
        [[0.5, 0.5]]
    """
    if logits.shape[-1] == 1:
        return logsigmoid(torch.cat([-logits, logits], dim=-1))
    return torch.log_softmax(logits, dim=-1)


@dataclass(frozen=True)
class Pass:
    """One pass of a network, with everything that a loss may want to look at.

    Attributes:
        inputs: What was read.
        embedded: `(B, L, E)`.
        hidden: `(B, L, H)`.
        extra: What attention and head read besides, `query` for one.
        weights: `(B, L)`.
        logits: `(B, O)`.
    """

    inputs: Inputs
    embedded: Float[Tensor, "B L E"]
    hidden: Float[Tensor, "B L H"]
    extra: Mapping[str, Tensor]
    weights: Float[Tensor, "B L"]
    logits: Float[Tensor, "B O"]

    @property
    def units(self) -> Bool[Tensor, "B L"]:
        """The positions that may receive weight."""
        return self.inputs.units


class AttentionClassifier(nn.Module):
    """Embedding, encoder, attention and a head on the weighted sum of states.

    ("Attention is not Explanation", section 2.) Two classes have one logit, `σ(w · c + b)`. With a
    question there is a second encoder with its own embedding, whose last state is the query of
    attention and head. There is no dropout, so training and evaluation mode are the same.

    Args:
        config: What it is made of.
        vocabulary_size: How many ids there are, the special ones among them; None where inputs
            are vectors.
    """

    def __init__(self, config: ClassifierConfig, vocabulary_size: int | None) -> None:
        super().__init__()
        self.config = config
        if vocabulary_size is not None:
            if vocabulary_size < FIRST_WORD:
                raise SettingsError(
                    f"vocabulary_size is {vocabulary_size}; the special ids alone are {FIRST_WORD}"
                )
            self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim, padding_idx=PAD)
        elif config.question:
            raise SettingsError("a network that reads a question needs a vocabulary")
        self.encoder = ENCODERS[config.encoder](config.embedding_dim, config.hidden)
        width = self.encoder.width
        sizes = Sizes(width, config.embedding_dim, vocabulary_size or 0, config.question)
        self.attention = ATTENTIONS[config.attention](sizes)
        self.head: LinearHead | QuestionHead
        if config.question and vocabulary_size is not None:
            self.head = QuestionHead(width, config.logits)
            encoder = ENCODERS[config.encoder](config.embedding_dim, config.hidden)
            self.question = QuestionEncoder(vocabulary_size, config.embedding_dim, encoder)
        else:
            self.head = LinearHead(width, config.logits)

    def embed(self, tokens: Tensor) -> Float[Tensor, "B L E"]:
        """Word vectors of ids `(B, L)`, 0 at padding; vectors are returned as they are."""
        if tokens.is_floating_point():
            return tokens
        vectors: Tensor = self.embedding(tokens)
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

    def beside(self, inputs: Inputs, embedded: Float[Tensor, "B L E"]) -> dict[str, Tensor]:
        """What attention and head read besides the states: the encoded question, for one."""
        read = {"embedded": embedded, "ids": inputs.tokens}
        extra = {name: read[name] for name in self.attention.reads if name in read}
        extra |= {name: inputs.extra[name] for name in ("given", "allowed") if name in inputs.extra}
        if self.config.question:
            extra["query"] = self.question(
                inputs.extra["question"],
                inputs.extra["question_present"],
                inputs.extra["question_units"],
            )
        return extra

    def attend(
        self,
        hidden: Float[Tensor, "B L H"],
        units: Bool[Tensor, "B L"],
        extra: Mapping[str, Tensor] | None = None,
    ) -> Float[Tensor, "B L"]:
        """The weights: 0 off the units, summing to 1 over them."""
        return self.attention.weights(hidden, units, extra or {})

    def logits(
        self,
        hidden: Float[Tensor, "B L H"],
        weights: Tensor,
        extra: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Logits `(B, O)` for weights `(B, L)`; `(B, K, O)` for `(B, K, L)`."""
        candidates = weights if weights.dim() == 3 else weights.unsqueeze(1)
        logits: Tensor = self.head(torch.bmm(candidates, hidden), extra or {})
        return logits if weights.dim() == 3 else logits.squeeze(1)

    def decode(
        self,
        hidden: Float[Tensor, "B L H"],
        weights: Tensor,
        extra: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Log-probabilities `(B, C)` for weights `(B, L)`; `(B, K, C)` for `(B, K, L)`."""
        return log_probabilities(self.logits(hidden, weights, extra))

    def linear_decode(
        self, hidden: Float[Tensor, "B L H"]
    ) -> tuple[Float[Tensor, "B L C"], Float[Tensor, " C"]] | None:
        """Scores and bias with `decode(weights) = log_softmax(bias + Σ_t weights_t scores_t)`.

        With two classes the first has score and bias 0. None where the head is not linear.
        """
        if not isinstance(self.head, LinearHead):
            return None
        scores, bias = hidden @ self.head.weight.T, self.head.bias
        if self.config.logits == 1:
            return pad(scores, (1, 0)), pad(bias, (1, 0))
        return scores, bias

    def run(self, inputs: Inputs) -> Pass:
        """A whole pass, with all that it computed on the way."""
        embedded = self.embed(inputs.tokens)
        hidden = self.encode(embedded, inputs.present, inputs.units)
        extra = self.beside(inputs, embedded)
        weights = self.attend(hidden, inputs.units, extra)
        logits = self.logits(hidden, weights, extra)
        return Pass(inputs, embedded, hidden, extra, weights, logits)

    def forward(
        self,
        tokens: Tensor,
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B C"]:
        """Log-probabilities of a network that reads one text."""
        return log_probabilities(self.run(Inputs(tokens, present, units)).logits)
