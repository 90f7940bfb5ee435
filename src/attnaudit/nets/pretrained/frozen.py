"""A frozen transformer that gives one state a unit: the mean over the unit's word pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attnaudit.data.records import Text
from attnaudit.errors import DataError, SettingsError
from attnaudit.nets.pretrained.bounds import bound_of
from attnaudit.nets.pretrained.words import WordPieces

NONE = -1
"""Stands where there is no piece: no tokenizer has it as an id."""


class FrozenTransformer(nn.Module):
    """A pretrained transformer as an encoder of units; nothing in it is trained.

    A batch holds the ids of word pieces, `(B, L, P)`: up to `P` pieces for each of `L` positions,
    then `NONE`. The first position has the tokenizer's start marker and the last one its end
    marker, where it has such. Deleting positions deletes whole units, and what is left is what
    the tokenizer makes of the text without them.

    Two edits have a meaning of their own. A position filled with the mask id is read as one mask
    token. A position without pieces that is present takes one place, which nothing attends to.

    Args:
        source: What it was made from, for messages and for saving.
        transformer: A model of the package `transformers`, without a head. Layers that are not
            needed are taken out of it.
        words: Its tokenizer.
        layer: The layer whose states are taken, as in `load_transformer`.

    Attributes:
        width: Size `H` of a state.
        most: How many pieces it reads at most, markers included, or None.
    """

    def __init__(self, source: str, transformer: Any, words: WordPieces, layer: int = -1) -> None:
        super().__init__()
        config = transformer.config
        layers = int(config.num_hidden_layers)
        if not -layers - 1 <= layer <= layers:
            raise SettingsError(
                f"layer is {layer}, but {source} has {layers} layers: give 0 (word vectors) to "
                f"{layers}, or -1 for the last"
            )
        self.source, self.words = source, words
        self.layer = layer % (layers + 1)
        self.last = self.layer == layers
        _drop_layers(transformer, layers, self.layer + 1)
        self.transformer = transformer.eval().requires_grad_(False)
        self.width = int(config.hidden_size)
        self.most = bound_of(transformer, words)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        weight: Tensor = self._table.weight
        return weight.device

    def train(self, mode: bool = True) -> FrozenTransformer:
        """Stays in evaluation mode: dropout would make states random."""
        return super().train(False)

    def pieces(self, records: Sequence[Text]) -> list[list[list[int]]]:
        """The word pieces of the units of records.

        Raises:
            DataError: A record has more pieces than the transformer reads, or one that cannot be
                read.
        """
        pieces = self.words(records)
        room = len(self.words.prefix) + len(self.words.suffix)
        sizes = [room + sum(map(len, units)) for units in pieces]
        if self.most is None or max(sizes, default=0) <= self.most:
            return pieces
        long = [row for row, size in enumerate(sizes) if size > self.most]
        first = max(long, key=sizes.__getitem__)
        fewest = min(len(records[row].units) for row in long)
        raise DataError(
            f"{len(long)} of {len(records)} records have more word pieces than the "
            f"{self.most} that {self.source} reads, {records[first].id!r} with {sizes[first]} for "
            f"instance. Nothing is cut off in silence: shorten the texts, or keep those of at most "
            f"{fewest - 1} units (max_length)"
        )

    def collate(
        self, records: Sequence[Text]
    ) -> tuple[Int[Tensor, "B L P"], Bool[Tensor, "B L"], Bool[Tensor, "B L"]]:
        """Word pieces, which positions are present, and which of them are units.

        Raises:
            DataError: See `pieces`.
        """
        start, end = list(self.words.prefix), list(self.words.suffix)
        texts = self.pieces(records)
        rows = [[*([start] if start else []), *units, *([end] if end else [])] for units in texts]
        longest = max(map(len, rows), default=0) or 1
        places = max((len(ids) for row in rows for ids in row), default=1)
        inputs = torch.full((len(rows), longest, places), NONE, dtype=torch.long)
        present = torch.zeros(len(rows), longest, dtype=torch.bool)
        units = torch.zeros_like(present)
        for index, row in enumerate(rows):
            flat = [ids + [NONE] * (places - len(ids)) for ids in row]
            if flat:
                inputs[index, : len(flat)] = torch.tensor(flat)
            present[index, : len(row)] = True
            units[index, bool(start) : bool(start) + len(texts[index])] = True
        return inputs, present, units

    def embed(self, inputs: Int[Tensor, "B L P"]) -> Float[Tensor, "B L PE"]:
        """The word vectors of all pieces of a position side by side, 0 where there is none."""
        vectors: Tensor = self._table(inputs.clamp(min=0))
        return vectors.masked_fill(~self.real(inputs).unsqueeze(-1), 0.0).flatten(2)

    def real(self, inputs: Int[Tensor, "B L P"]) -> Bool[Tensor, "B L P"]:
        """Where there are pieces to read; of a position that was masked, the first only."""
        real = inputs != NONE
        if self.words.mask is not None:
            real[..., 1:] &= inputs[..., 1:] != self.words.mask
        return real

    def forward(
        self,
        embedded: Float[Tensor, "B L PE"],
        inputs: Int[Tensor, "B L P"],
        present: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B L H"]:
        """One state a position, the mean over its pieces; 0 where it has none.

        Args:
            embedded: What `embed` gives, or other word vectors in its place.
            inputs: The pieces.
            present: The positions to read.
        """
        rows, length, places = inputs.shape
        real = self.real(inputs) & present.unsqueeze(-1)
        used = real.clone()
        used[..., 0] |= present
        used, real = used.flatten(1), real.flatten(1)
        size = max(1, int(used.sum(1).max())) if rows else 1
        # a stable sort brings the places to the front and leaves their order as it is
        order = torch.argsort((~used).to(torch.uint8), dim=1, stable=True)[:, :size]
        real = real.gather(1, order)
        vectors = embedded.reshape(rows, length * places, -1)
        vectors = vectors.gather(1, order.unsqueeze(-1).expand(-1, -1, vectors.shape[-1]))
        hidden = self._run(vectors, real).masked_fill(~real.unsqueeze(-1), 0.0)
        position = torch.arange(length, device=order.device).view(1, -1, 1)
        share = ((order // places).unsqueeze(1) == position) & real.unsqueeze(1)
        share = share.to(hidden.dtype)
        return torch.bmm(share / share.sum(-1, keepdim=True).clamp(min=1), hidden)

    def _run(
        self, vectors: Float[Tensor, "B S E"], real: Bool[Tensor, "B S"]
    ) -> Float[Tensor, "B S H"]:
        attended = real.clone()
        # a text without any piece attends to its padding: what comes of it is not looked at
        attended[:, 0] |= ~real.any(1)
        return self._states(inputs_embeds=vectors, attention_mask=attended.long())

    def alone(self, ids: Int[Tensor, " S"]) -> Float[Tensor, "S H"]:
        """The transformer's own states of the pieces of one text, as it takes ids itself."""
        ids = ids.unsqueeze(0)
        return self._states(input_ids=ids, attention_mask=torch.ones_like(ids))[0]

    def _states(self, **inputs: Tensor) -> Float[Tensor, "B S H"]:
        outputs = self.transformer(**inputs, output_hidden_states=not self.last, return_dict=True)
        hidden: Tensor = (
            outputs.last_hidden_state if self.last else outputs.hidden_states[self.layer]
        )
        return hidden

    @property
    def _table(self) -> nn.Embedding:
        table: nn.Embedding = self.transformer.get_input_embeddings()
        return table


def _drop_layers(transformer: Any, layers: int, kept: int) -> None:
    """Take out the layers above the one that is read, but the next: some models norm their last."""
    if kept >= layers:
        return
    for module in list(transformer.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ModuleList) and len(child) == layers:
                setattr(module, name, child[:kept])
    transformer.config.num_hidden_layers = kept
