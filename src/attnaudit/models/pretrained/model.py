"""A frozen pretrained transformer below attention pooling, cut there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor

from attnaudit.data.records import Text
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.manifest import MANIFEST
from attnaudit.models.cut import Batch, LinearDecode, States
from attnaudit.models.saved import PooledModel
from attnaudit.models.wrapped.model import module_fingerprint, refuse_broken
from attnaudit.nets.checkpoint import (
    CONFIG,
    PARAMETERS,
    checked_header,
    header_bytes,
    load_state,
    state_bytes,
)
from attnaudit.nets.pretrained.frozen import NONE, FrozenTransformer
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.nets.text.attentions import ATTENTIONS
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig

FORMAT = "attnaudit-pretrained"
VERSION = 1
PROBE = "The film wasn't good: naïve, über-long… 3.50!"
"""A text that tokenizers of different kinds cut differently."""


@dataclass(frozen=True)
class Header:
    """What `config.json` of a saved model holds.

    Attributes:
        format: Always `FORMAT`.
        version: Of the format.
        name: What reports call the model.
        source: Where the transformer came from: a folder, a hub name, or `minilm`.
        layer: The layer whose states are pooled.
        transformer: The fingerprint of transformer and tokenizer.
        config: What the pooling is made of.
    """

    format: str
    version: int
    name: str
    source: str
    layer: int
    transformer: str
    config: ClassifierConfig

    __pydantic_config__ = ConfigDict(extra="forbid")


class PretrainedClassifier(PooledModel):
    """Attention pooling and a linear head on the states of a frozen transformer.

    Units are the words of a record, whatever word pieces they are made of: one state and one
    weight a word, one vector a word to take gradients with respect to (those of its pieces side
    by side). Start and end markers are read and get no weight.

    Args:
        encoder: The transformer.
        net: The pooling, a network with the encoder `identity`.
        name: What reports call it; the transformer's name and the attention by default.

    Raises:
        ModelError: The two do not fit, or a parameter is NaN or infinite.
    """

    pad_value = NONE
    net: AttentionClassifier

    def __init__(
        self, encoder: FrozenTransformer, net: AttentionClassifier, name: str | None = None
    ) -> None:
        if (net.config.encoder, net.config.embedding_dim) != ("identity", encoder.width):
            raise ModelError(
                f"the pooling was made for the encoder {net.config.encoder!r} with states of "
                f"{net.config.embedding_dim} numbers, but {encoder.source} gives {encoder.width}; "
                "make it with `pooling_config`"
            )
        refuse_broken(encoder.transformer, encoder.source)
        refuse_broken(net, "the pooling")
        self.encoder, self.net = encoder, net.requires_grad_(False)
        self.name = name or f"{Path(encoder.source).name}+{net.config.attention}"
        self.classes = net.config.classes
        self.mask_value = encoder.words.mask

    def collate(self, records: Sequence[Text]) -> Batch:
        """Records as one batch of word pieces: start marker, words, end marker, padding.

        Raises:
            DataError: There are no records, one has a question, a unit that cannot be read, or
                more pieces than the transformer reads.
        """
        if not records:
            raise DataError("a batch needs at least one record")
        inputs, present, units = self.encoder.collate(records)
        return Batch(tuple(r.id for r in records), inputs, present, units).to(self.device)

    def encode(self, batch: Batch) -> States:
        """The transformer's states, one a position."""
        return self.encode_embedded(batch, self.embed(batch))

    def embed(self, batch: Batch) -> Float[Tensor, "B L PE"]:
        """Word vectors of the pieces of each position, side by side."""
        return self.encoder.embed(batch.inputs)

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """States from given word vectors, through the whole transformer."""
        return States(self.encoder(embedded, batch.inputs, batch.present), batch.units)

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """The pooling of what the transformer gives for the ids of each text by itself."""
        real = self.encoder.real(batch.inputs) & batch.present.unsqueeze(-1)
        hidden = self.net.head.weight.new_zeros(*batch.units.shape, self.encoder.width)
        for row, pieces in enumerate(real):
            if pieces.any():
                states = self.encoder.alone(batch.inputs[row][pieces])
                hidden[row].index_add_(0, pieces.nonzero()[:, 0], states)
        hidden /= real.sum(-1, keepdim=True).clamp(min=1)
        return self.net.decode(hidden, self.net.attend(hidden, batch.units))

    def linear(self, states: States) -> LinearDecode | None:
        """Scores and bias of the linear head; with two classes the first has both 0."""
        linear = self.net.linear_decode(states.hidden)
        return None if linear is None else LinearDecode(*linear)

    @cached_property
    def transformer_fingerprint(self) -> str:
        """A hash of the parameters, the layer, and what the tokenizer makes of texts."""
        tokenizer = self.encoder.words.tokenizer
        vocabulary = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
        cut = str(tokenizer(PROBE)["input_ids"])
        return module_fingerprint(
            self.encoder.transformer, str(self.encoder.layer), vocabulary.hexdigest(), cut
        )

    def fingerprint(self) -> str:
        """A hash of transformer, tokenizer and pooling."""
        config = json.dumps(dataclasses.asdict(self.net.config), sort_keys=True)
        return module_fingerprint(self.net, self.transformer_fingerprint, config)

    def to(self, device: torch.device | str) -> Self:
        """Move the parameters to another device; the model itself is returned."""
        self.encoder.to(device)
        return super().to(device)

    def files(self) -> dict[str, bytes]:
        """The pooling, and where the transformer came from.

        The transformer itself is not copied: its name or folder is noted, and a hash by which
        another one is noticed.
        """
        header = Header(
            FORMAT,
            VERSION,
            self.name,
            self.encoder.source,
            self.encoder.layer,
            self.transformer_fingerprint,
            self.net.config,
        )
        return {PARAMETERS: state_bytes(self.net), CONFIG: header_bytes(header)}


def pooling_config(
    encoder: FrozenTransformer, classes: Sequence[str], attention: str = "additive"
) -> ClassifierConfig:
    """What a pooling on the states of a transformer is made of.

    Raises:
        SettingsError: An attention that does not exist, or one that reads word ids or vectors.
    """
    config = ClassifierConfig(
        tuple(classes), "identity", attention, hidden=encoder.width, embedding_dim=encoder.width
    )
    if ATTENTIONS[attention].reads:
        fitting = ", ".join(name for name, kind in ATTENTIONS.items() if not kind.reads)
        raise SettingsError(
            f"the attention {attention!r} reads more than the states of a pretrained encoder; "
            f"choose one of {fitting}"
        )
    return config


def load_pretrained(folder: Path, source: str | Path | None = None) -> PretrainedClassifier:
    """Read a model that `PretrainedClassifier.save` wrote.

    Args:
        folder: Where it was saved.
        source: Where the transformer is now, if that is not where it was.

    Raises:
        MissingExtra: The package `transformers`, or that of `minilm`, is absent.
        ModelError: A file is missing or damaged, or the transformer is another one.
    """
    header = checked_header(folder, Header, FORMAT, VERSION)
    net = load_state(folder / PARAMETERS, lambda: AttentionClassifier(header.config, None))
    try:
        encoder = load_transformer(source or header.source, header.layer)
    except ModelError as error:
        raise ModelError(
            f"{folder}: its transformer cannot be read. {error}; if it lies elsewhere now, change "
            f'"source" in {folder / CONFIG}, and delete {folder / MANIFEST}'
        ) from error
    encoder.to(net.head.weight.dtype)
    model = PretrainedClassifier(encoder, net, header.name)
    if model.transformer_fingerprint != header.transformer:
        raise ModelError(
            f"{folder}: the transformer at {source or header.source} is not the one that this "
            "model was trained on (its weights, tokenizer or dtype differ). Give that one back its "
            "place, or train again"
        )
    return model
