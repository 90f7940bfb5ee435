"""Text classifiers with one pooling attention, cut there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor

from attnaudit.data.records import Text
from attnaudit.errors import DataError, ModelError
from attnaudit.models.cut import Batch, LinearDecode, States
from attnaudit.models.saved import PooledModel
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
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig, log_probabilities
from attnaudit.nets.text.deletion import has_deletions, leave_one_out
from attnaudit.nets.text.inputs import Inputs, allowed_classes, question_ids, question_inputs
from attnaudit.nets.text.vocabulary import PAD, UNK, Vocabulary, pad_sequences

FORMAT, VERSION = "attnaudit-classifier", 1


@dataclass(frozen=True)
class Header:
    """What `config.json` of a saved model holds.

    Attributes:
        format: Always `FORMAT`: how `load` knows what it has before it.
        version: Of the format.
        name: What reports call the model.
        config: What the network is made of.
    """

    format: str
    version: int
    name: str
    config: ClassifierConfig

    __pydantic_config__ = ConfigDict(extra="forbid")


class TextClassifier(PooledModel):
    """A vocabulary and a classifier, under the contract of the cut.

    The parameters are frozen: what is audited is not trained. (The network stays in training
    mode, where cuDNN can differentiate an LSTM; it has no dropout, so the mode changes nothing.)

    Args:
        net: The network.
        vocabulary: Its words, as many as it has embeddings.
        name: What reports call it; `encoder+attention` by default.

    Raises:
        DataError: The vocabulary is of another size than the embedding.

    Example:
        >>> from attnaudit.data.records import Text
        >>> from attnaudit.nets.text.classifier import ClassifierConfig
        >>> vocabulary = Vocabulary(("good", "film"))
        >>> config = ClassifierConfig(("neg", "pos"), hidden=8, embedding_dim=4)
        >>> model = TextClassifier(AttentionClassifier(config, len(vocabulary)), vocabulary)
        >>> batch = model.collate([Text("a", "good film", ("good", "film"), ((0, 4), (5, 9)))])
        >>> batch.inputs.tolist()
        [[2, 4, 5, 3]]
        >>> tuple(model.leave_one_out(batch, model.encode(batch)).shape)
        (1, 4, 2)
    """

    net: AttentionClassifier
    pad_value = PAD
    mask_value = UNK

    def __init__(
        self, net: AttentionClassifier, vocabulary: Vocabulary, name: str | None = None
    ) -> None:
        if net.embedding.num_embeddings != len(vocabulary):
            raise DataError(
                f"the vocabulary has {len(vocabulary)} ids, but the network has "
                f"{net.embedding.num_embeddings} embeddings; give the vocabulary it was built with"
            )
        self.net = net.requires_grad_(False)
        self.vocabulary = vocabulary
        self.name = name or f"{net.config.encoder}+{net.config.attention}"
        self.classes = net.config.classes

    def collate(self, records: Sequence[Text]) -> Batch:
        """Records as one batch: start marker, units, end marker, padding; questions beside them.

        Raises:
            DataError: There are no records, or one has no question where the network reads it.
        """
        if not records:
            raise DataError("a batch needs at least one record")
        sequences = [self.vocabulary.encode(record.units) for record in records]
        ids, present, units = pad_sequences(sequences)
        extra = {}
        if self.net.config.question:
            extra = question_inputs(question_ids(records, self.vocabulary))
        allowed = allowed_classes(records, len(self.classes))
        if allowed is not None:
            extra["allowed"] = allowed
        batch = Batch(tuple(record.id for record in records), ids, present, units, extra)
        return batch.to(self.device)

    def encode(self, batch: Batch) -> States:
        """Hidden states of all positions."""
        return self.encode_embedded(batch, self.embed(batch))

    def embed(self, batch: Batch) -> Float[Tensor, "B L E"]:
        """Word vectors of all positions."""
        return self.net.embed(batch.inputs)

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """Hidden states from given word vectors."""
        hidden = self.net.encode(embedded, batch.present, batch.units)
        inputs = Inputs(batch.inputs, batch.present, batch.units, batch.extra)
        return States(hidden, batch.units, self.net.beside(inputs, embedded))

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """What the network gives in one pass."""
        inputs = Inputs(batch.inputs, batch.present, batch.units, batch.extra)
        return log_probabilities(self.net.run(inputs).logits)

    def linear(self, states: States) -> LinearDecode | None:
        """Scores and bias of a linear head; with two classes the first has both 0."""
        if "allowed" in states.extra:
            return None
        linear = self.net.linear_decode(states.hidden)
        return None if linear is None else LinearDecode(*linear)

    @property
    def cheap_deletions(self) -> bool:
        """True for all but recurrent encoders, where every unit behind a gap is read again."""
        return has_deletions(self.net) and self.net.config.encoder != "bilstm"

    def leave_one_out(self, batch: Batch, states: States) -> Tensor | None:
        """Log-probabilities `(B, L, C)` with each unit deleted, NaN at positions that are none.

        `states` must be those of `encode(batch)`.
        """
        if not has_deletions(self.net) or "allowed" in states.extra:
            return None
        return leave_one_out(self.net, self.embed(batch), batch.present, batch.units, states.hidden)

    def fingerprint(self) -> str:
        """SHA-256 of configuration, vocabulary and parameters."""
        digest = hashlib.sha256(json.dumps(asdict(self.net.config), sort_keys=True).encode())
        digest.update(self.vocabulary.to_json().encode())
        for name, tensor in sorted(self.net.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def files(self) -> dict[str, bytes]:
        """Parameters, vocabulary and configuration."""
        return {
            PARAMETERS: state_bytes(self.net),
            VOCABULARY: self.vocabulary.to_json().encode(),
            CONFIG: header_bytes(Header(FORMAT, VERSION, self.name, self.net.config)),
        }


def load_classifier(folder: str | Path) -> TextClassifier:
    """Read a model that `TextClassifier.save` wrote.

    Raises:
        ModelError: A file is missing, damaged, of another version, or does not fit the others;
            or a parameter is NaN or infinite; the message names the file and the tensor.
    """
    folder = Path(folder)
    for name in (CONFIG, VOCABULARY, PARAMETERS):
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder / name}: no such file. A classifier is a folder with {CONFIG}, "
                f"{VOCABULARY} and {PARAMETERS}, as its save method writes them"
            )
    header = checked_header(folder, Header, FORMAT, VERSION)
    vocabulary = read_vocabulary(folder / VOCABULARY)
    net = load_state(
        folder / PARAMETERS, lambda: AttentionClassifier(header.config, len(vocabulary))
    )
    return TextClassifier(net, vocabulary, header.name)
