"""Text classifiers with one pooling attention, cut there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.records import Text
from attnaudit.errors import DataError
from attnaudit.models.cut import Batch, LinearDecode, Model, States
from attnaudit.nets.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from attnaudit.nets.text.classifier import AttentionClassifier, log_probabilities
from attnaudit.nets.text.deletion import has_deletions, leave_one_out
from attnaudit.nets.text.inputs import Inputs, allowed_classes, question_ids, question_inputs
from attnaudit.nets.text.vocabulary import PAD, UNK, Vocabulary, pad_sequences


class TextClassifier(Model):
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

    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """The weights: 0 off the units, summing to 1 over them."""
        return self.net.attend(states.hidden, states.units, states.extra)

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """Log-probabilities `(B, C)` for weights `(B, L)`; `(B, K, C)` for `(B, K, L)`."""
        return self.net.decode(states.hidden, weights, states.extra)

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

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.net.head.weight.device

    def to(self, device: torch.device | str) -> TextClassifier:
        """Move the parameters to another device; the model itself is returned."""
        self.net.to(device)
        return self

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model as a folder that `load_classifier` reads.

        Args:
            folder: Where to; it is made.
            overwrite: Replace a model that attnaudit saved there.

        Raises:
            ModelError: The folder cannot be written, or holds something already.
        """
        checkpoint = Checkpoint(self.name, self.net, self.vocabulary)
        save_checkpoint(folder, checkpoint, overwrite=overwrite)


def load_classifier(folder: str | Path) -> TextClassifier:
    """Read a model that `TextClassifier.save` wrote.

    Raises:
        ModelError: The folder is no such model, or it is damaged; the message names the file and
            the tensor.
    """
    checkpoint = load_checkpoint(folder)
    return TextClassifier(checkpoint.net, checkpoint.vocabulary, checkpoint.name)
