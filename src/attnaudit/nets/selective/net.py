"""A mask generator and a downstream network that sees nothing but mask times word vector.

Bai et al. (2021), "Why Attentions May Not Be Interpretable?": `f(g(x) ⊙ v(x))`. The downstream
network knows a text only through its masked, context-free vectors, so whatever it says of a text
comes from the words that were kept, and from how they were weighted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attnaudit.errors import SettingsError
from attnaudit.nets.selective.mask_laws import KINDS, MaskLaw, hard_masks, soft_masks
from attnaudit.nets.text.encoders import BiLSTMEncoder
from attnaudit.nets.text.vocabulary import FIRST_WORD, PAD

TEMPERATURE = 0.5
"""Of the concrete distribution of hard masks in training (Chen et al. 2018, "L2X")."""


@dataclass(frozen=True)
class SelectiveConfig:
    """What a selective network is made of.

    Attributes:
        classes: The names of the outputs, two or more.
        downstream: A name of `DOWNSTREAMS`: what reads the masked vectors.
        mask: `soft` for a softmax over the units; `hard` for the `k` best units with 1/k each.
        k: Units that a hard mask keeps; None for soft masks.
        hidden: Hidden size of generator (per direction) and downstream network.
        embedding_dim: Size of a word vector, in both.
        question: Whether the generator, and it alone, reads a question beside the text.
        dropout: Share of numbers dropped in training, before and inside the downstream head.

    Raises:
        SettingsError: A name that does not exist, or a number out of range.
    """

    classes: tuple[str, ...]
    downstream: str = "pool"
    mask: str = "soft"
    k: int | None = None
    hidden: int = 32
    embedding_dim: int = 32
    question: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for field, name, known in (
            ("downstream", self.downstream, tuple(DOWNSTREAMS)),
            ("mask", self.mask, KINDS),
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
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout is {self.dropout}; it must be from 0 to below 1")
        MaskLaw(self.mask, self.k)

    @property
    def law(self) -> MaskLaw:
        """The random masks that fit this network's own."""
        return MaskLaw(self.mask, self.k)


class BiGRUEncoder(BiLSTMEncoder):
    """One GRU in each direction over the whole sequence, markers included."""

    name = "bigru"
    description = "a GRU in each direction: a state sees the whole text"

    def __init__(self, embedding_dim: int, hidden: int) -> None:
        nn.Module.__init__(self)  # that of the base would make two LSTMs
        self.width = 2 * hidden
        self.from_left = nn.GRU(embedding_dim, hidden, batch_first=True)
        self.from_right = nn.GRU(embedding_dim, hidden, batch_first=True)

    def states(self, embedded: Tensor, mirrored: Tensor) -> tuple[Tensor, ...]:
        """See `BiLSTMEncoder.states`."""
        return self.from_left(embedded)[0], self.from_right(mirrored)[0]


class MaskGenerator(nn.Module):
    """`g`: from a text, and a question where there is one, to one logit a position.

    Without a question the logit is linear in the unit's state. With one it is
    `v · tanh(W h_t + U q)`, `q` the question's last states: a sum would move all logits alike.
    """

    def __init__(self, config: SelectiveConfig, vocabulary_size: int) -> None:
        super().__init__()
        size, hidden = config.embedding_dim, config.hidden
        self.embedding = nn.Embedding(vocabulary_size, size, padding_idx=PAD)
        self.encoder = BiGRUEncoder(size, hidden)
        if config.question:
            self.question = BiGRUEncoder(size, hidden)
            self.of_question = nn.Linear(2 * hidden, hidden)
            self.of_text = nn.Linear(2 * hidden, hidden)
        self.score = nn.Linear(hidden if config.question else 2 * hidden, 1)

    def forward(
        self,
        embedded: Float[Tensor, "B L E"],
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B L"]:
        """The logits; `extra` holds the question as `Inputs.extra` does."""
        hidden = self.encoder(embedded, present, units)
        if hasattr(self, "question"):
            ids, asked = extra["question"], extra["question_present"]
            states = self.question(self.embedding(ids), asked, extra["question_units"])
            query = self.question.last_hidden(states, asked, extra["question_units"])
            hidden = torch.tanh(self.of_text(hidden) + self.of_question(query).unsqueeze(1))
        logits: Tensor = self.score(hidden).squeeze(-1)
        return logits


class PoolDownstream(nn.Module):
    """An MLP on the sum of the masked vectors: blind to order and to which unit was weighted."""

    def __init__(self, config: SelectiveConfig) -> None:
        super().__init__()
        self.head = _head(config, config.embedding_dim)

    def forward(
        self, seen: Float[Tensor, "N L E"], present: Bool[Tensor, "N L"]
    ) -> Float[Tensor, "N C"]:
        """Logits from masked vectors."""
        logits: Tensor = self.head(seen.sum(1))
        return logits


class CNNDownstream(nn.Module):
    """A convolution of width 3 and the largest value of each channel, then an MLP."""

    def __init__(self, config: SelectiveConfig) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(config.embedding_dim, config.hidden, 3, padding=1)
        self.head = _head(config, config.hidden)

    def forward(
        self, seen: Float[Tensor, "N L E"], present: Bool[Tensor, "N L"]
    ) -> Float[Tensor, "N C"]:
        """Logits from masked vectors."""
        channels = torch.relu(self.convolution(seen.transpose(1, 2)))
        logits: Tensor = self.head(channels.masked_fill(~present.unsqueeze(1), 0.0).amax(2))
        return logits


class RNNDownstream(nn.Module):
    """A GRU from left to right and its last state, then an MLP: it can read the order."""

    def __init__(self, config: SelectiveConfig) -> None:
        super().__init__()
        self.gru = nn.GRU(config.embedding_dim, config.hidden, batch_first=True)
        self.head = _head(config, config.hidden)

    def forward(
        self, seen: Float[Tensor, "N L E"], present: Bool[Tensor, "N L"]
    ) -> Float[Tensor, "N C"]:
        """Logits from masked vectors."""
        position = torch.arange(present.shape[1], device=present.device)
        last = (position * present).amax(1)
        states = self.gru(seen)[0]
        logits: Tensor = self.head(states[torch.arange(len(seen), device=seen.device), last])
        return logits


DOWNSTREAMS: dict[str, Callable[[SelectiveConfig], nn.Module]] = {
    "pool": PoolDownstream,
    "cnn": CNNDownstream,
    "rnn": RNNDownstream,
}
"""What reads the masked vectors."""


def _head(config: SelectiveConfig, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(config.dropout),
        nn.Linear(width, config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, len(config.classes)),
    )


class SelectiveNet(nn.Module):
    """`f(mask ⊙ v(x))` with `mask = g(x)`; `f` and `g` share no parameter.

    Args:
        config: What it is made of.
        vocabulary_size: How many ids there are, the special ones among them.

    Raises:
        SettingsError: Fewer ids than the special ones.
    """

    def __init__(self, config: SelectiveConfig, vocabulary_size: int) -> None:
        super().__init__()
        if vocabulary_size < FIRST_WORD:
            raise SettingsError(
                f"vocabulary_size is {vocabulary_size}; the special ids alone are {FIRST_WORD}"
            )
        self.config = config
        self.generator = MaskGenerator(config, vocabulary_size)
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim, padding_idx=PAD)
        self.downstream = DOWNSTREAMS[config.downstream](config)

    def embed(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """The vectors that `f` sees, with those that `g` reads beside them."""
        return torch.cat([self.embedding(ids), self.generator.embedding(ids)], dim=-1)

    def mask(
        self, logits: Float[Tensor, "B L"], units: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L"]:
        """The mask in use: the softmax of the logits, or 1/k on the `k` best units."""
        if self.config.k is None:
            return soft_masks(logits, units)
        return hard_masks(logits, units, self.config.k)

    def sample(
        self,
        logits: Float[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
        generator: torch.Generator,
    ) -> Float[Tensor, "B L"]:
        """The mask in training, through which gradients reach the logits.

        A soft mask is that in use. A hard one is the k-sample concrete layer of L2X (Chen et al.
        2018): the largest of `k` Gumbel-softmax samples at each unit, divided by `k`. Such masks
        need not sum to 1.
        """
        if self.config.k is None:
            return soft_masks(logits, units)
        k = self.config.k
        uniform = torch.rand(k, *logits.shape, generator=generator).to(logits)
        # away from 0 and 1, whose Gumbel noise is infinite
        tiny = torch.finfo(logits.dtype).eps
        gumbel = -torch.log(-torch.log(uniform.clamp(tiny, 1 - tiny)))
        noisy = (logits + gumbel) / TEMPERATURE
        spread = units.expand(k, -1, -1)
        samples = soft_masks(noisy.flatten(0, 1), spread.flatten(0, 1)).view_as(noisy)
        return samples.amax(0) / units.sum(1, keepdim=True).clamp(min=1, max=k)

    def decode(
        self,
        vectors: Float[Tensor, "B L E"],
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
        weights: Tensor,
    ) -> Tensor:
        """Log-probabilities `(B, C)` for weights `(B, L)`; `(B, K, C)` for `(B, K, L)`.

        Convolution and GRU see a kept unit at its full size: hard masks count as 0 and 1 there.
        """
        several = weights if weights.dim() == 3 else weights.unsqueeze(1)
        if self.config.k is not None and self.config.downstream != "pool":
            # a text of fewer units keeps all of them
            kept = units.sum(1).clamp(min=1, max=self.config.k)
            several = several * kept.view(-1, 1, 1)
        seen = (several.unsqueeze(-1) * vectors.unsqueeze(1)).flatten(0, 1)
        count = several.shape[1]
        logits = self.downstream(seen, present.repeat_interleave(count, dim=0))
        outputs = torch.log_softmax(logits, dim=-1).view(len(vectors), count, -1)
        return outputs if weights.dim() == 3 else outputs.squeeze(1)

    def forward(
        self,
        ids: Int[Tensor, "B L"],
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B C"]:
        """Log-probabilities of a whole pass."""
        read, seen = self.generator.embedding(ids), self.embedding(ids)
        mask = self.mask(self.generator(read, present, units, extra), units)
        return self.decode(seen, present, units, mask)


def new_selective_net(
    config: SelectiveConfig,
    vocabulary_size: int,
    seed: int,
    vectors: Float[Tensor, "V E"] | None = None,
) -> SelectiveNet:
    """A network with initial parameters that depend on the seed alone.

    Args:
        config: What it is made of.
        vocabulary_size: How many ids there are.
        seed: Of the draws.
        vectors: Initial word vectors of both parts, one row an id; normal draws by default.

    Raises:
        SettingsError: Vectors of another shape.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SelectiveNet(config, vocabulary_size)
    if vectors is not None:
        wanted = (vocabulary_size, config.embedding_dim)
        if tuple(vectors.shape) != wanted:
            raise SettingsError(f"vectors have shape {tuple(vectors.shape)}, expected {wanted}")
        with torch.no_grad():
            for table in (net.embedding, net.generator.embedding):
                table.weight.copy_(vectors)
                table.weight[PAD] = 0.0
    return net
