"""Selective models: a mask generator before a downstream network, cut between the two."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor

from attnaudit.data.records import Text, TextPair
from attnaudit.errors import DataError
from attnaudit.models.cut import Batch, States
from attnaudit.models.saved import SavedModel
from attnaudit.models.wrapped.model import module_fingerprint, refuse_broken
from attnaudit.nets.checkpoint import (
    CONFIG,
    PARAMETERS,
    VOCABULARY,
    checked_header,
    header_bytes,
    load_state,
    read_vocabulary,
    state_bytes,
)
from attnaudit.nets.selective.net import SelectiveConfig, SelectiveNet, new_selective_net
from attnaudit.nets.text.inputs import question_ids, question_inputs
from attnaudit.nets.text.vocabulary import PAD, UNK, Vocabulary, build_vocabulary, pad_sequences

FORMAT = "attnaudit-selective"
VERSION = 1


@dataclass(frozen=True)
class Header:
    """What `config.json` of a saved model holds.

    Attributes:
        format: Always `FORMAT`.
        version: Of the format.
        name: What reports call the model.
        config: What the network is made of.
    """

    format: str
    version: int
    name: str
    config: SelectiveConfig

    __pydantic_config__ = ConfigDict(extra="forbid")


class SelectiveModel(SavedModel):
    """A vocabulary and a selective network, under the contract of the cut.

    The states are the static word vectors that the downstream network sees, and the weights are
    the generator's mask; the generator's logits stand beside the states. Start and end markers are
    read by the generator and get no weight. The parameters are frozen.

    Args:
        net: The network.
        vocabulary: Its words, as many as it has embeddings.
        name: What reports call it; `soft mask+pool`, `hard mask of 3+cnn` and so on by default.

    Raises:
        DataError: The vocabulary is of another size than the embedding.
        ModelError: A parameter is NaN or infinite.

    Example:
        >>> from attnaudit.data.texts.tokens import text_record
        >>> records = [text_record("a", "good film here", 1), text_record("b", "bad", 0)]
        >>> config = SelectiveConfig(("neg", "pos"), mask="hard", k=2)
        >>> model = new_selective(config, build_vocabulary(records), seed=0)
        >>> model.name, model.attend(model.encode(model.collate(records))).sum(1).tolist()
        ('hard mask of 2+pool', [1.0, 1.0])
    """

    net: SelectiveNet
    pad_value = PAD
    mask_value = UNK

    def __init__(self, net: SelectiveNet, vocabulary: Vocabulary, name: str | None = None) -> None:
        if net.embedding.num_embeddings != len(vocabulary):
            raise DataError(
                f"the vocabulary has {len(vocabulary)} ids, but the network has "
                f"{net.embedding.num_embeddings} embeddings; give the vocabulary it was built with"
            )
        mask = f"{net.config.mask} mask" + (f" of {net.config.k}" if net.config.k else "")
        self.name = name or f"{mask}+{net.config.downstream}"
        refuse_broken(net, self.name)
        self.net = net.requires_grad_(False).eval()
        self.vocabulary = vocabulary
        self.classes = net.config.classes

    def collate(self, records: Sequence[Text]) -> Batch:
        """Records as one batch: start marker, units, end marker, padding; questions beside them.

        Raises:
            DataError: There are no records, or one has no question where the generator reads it.
        """
        if not records:
            raise DataError("a batch needs at least one record")
        ids, present, units = pad_sequences([self.vocabulary.encode(r.units) for r in records])
        extra = {}
        if self.net.config.question:
            extra = question_inputs(question_ids(records, self.vocabulary))
        return Batch(tuple(r.id for r in records), ids, present, units, extra).to(self.device)

    def encode(self, batch: Batch) -> States:
        """Static vectors, and the generator's logits."""
        # not by way of `embed`: cut from one tensor, each part would seem to depend on both tables
        seen, read = self.net.embedding(batch.inputs), self.net.generator.embedding(batch.inputs)
        return self._states(batch, seen, read)

    def embed(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """The vectors that the downstream network sees, and beside them those of the generator."""
        return self.net.embed(batch.inputs)

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """States from given vectors of both parts."""
        return self._states(batch, *embedded.chunk(2, dim=-1))

    def _states(self, batch: Batch, seen: Tensor, read: Tensor) -> States:
        logits = self.net.generator(read, batch.present, batch.units, batch.extra)
        return States(seen, batch.units, {"logits": logits, "present": batch.present})

    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """The mask in use: 0 off the units, summing to 1 over them."""
        return self.net.mask(states.extra["logits"], states.units)

    def sample(self, states: States, generator: torch.Generator) -> Float[Tensor, "B L"]:
        """The mask in training; see `SelectiveNet.sample`."""
        return self.net.sample(states.extra["logits"], states.units, generator)

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """Log-probabilities `(B, C)` for weights `(B, L)`; `(B, K, C)` for `(B, K, L)`."""
        return self.net.decode(states.hidden, states.extra["present"], states.units, weights)

    def decode_size(self, states: States) -> int:
        """Every alternative masks all vectors anew."""
        return states.hidden[0].numel()

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """What the network gives in one pass."""
        outputs: Tensor = self.net(batch.inputs, batch.present, batch.units, batch.extra)
        return outputs

    def fingerprint(self) -> str:
        """SHA-256 of configuration, vocabulary and parameters."""
        config = json.dumps(asdict(self.net.config), sort_keys=True)
        return module_fingerprint(self.net, config, self.vocabulary.to_json())

    def files(self) -> dict[str, bytes]:
        """Parameters, vocabulary and configuration."""
        return {
            PARAMETERS: state_bytes(self.net),
            VOCABULARY: self.vocabulary.to_json().encode(),
            CONFIG: header_bytes(Header(FORMAT, VERSION, self.name, self.net.config)),
        }


def new_selective(
    config: SelectiveConfig,
    vocabulary: Vocabulary,
    seed: int,
    vectors: Float[Tensor, "V E"] | None = None,
    name: str | None = None,
) -> SelectiveModel:
    """A selective model that is not trained yet.

    Args:
        config: What the network is made of.
        vocabulary: The words to know.
        seed: Of the initial parameters.
        vectors: Initial word vectors of both parts, one row an id of `vocabulary`.
        name: What reports call it.
    """
    net = new_selective_net(config, len(vocabulary), seed, vectors)
    return SelectiveModel(net, vocabulary, name)


def selective_vocabulary(records: Sequence[Text], min_df: int = 1) -> Vocabulary:
    """The words of texts and, where there are any, of their questions.

    Args:
        records: The training records.
        min_df: In how many of them a word must occur.

    Raises:
        DataError: No word is left.
    """
    both = [
        dataclasses.replace(record, units=(*record.units, *record.question_units))
        if isinstance(record, TextPair)
        else record
        for record in records
    ]
    return build_vocabulary(both, min_df)


def load_selective(folder: Path) -> SelectiveModel:
    """Read a model that `SelectiveModel.save` wrote.

    Raises:
        ModelError: A file is missing or damaged, or does not fit the others.
    """
    header = checked_header(folder, Header, FORMAT, VERSION)
    vocabulary = read_vocabulary(folder / VOCABULARY)
    net = load_state(folder / PARAMETERS, lambda: SelectiveNet(header.config, len(vocabulary)))
    return SelectiveModel(net, vocabulary, header.name)
