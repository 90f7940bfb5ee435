"""Pooling on states computed once: for what is trained or judged above a frozen transformer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.kinds import Record
from attnaudit.data.records import Text
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.batches import TOKEN_BUDGET, groups, with_backoff
from attnaudit.models.cut import Batch, Model, States
from attnaudit.models.pretrained.model import PretrainedClassifier
from attnaudit.nets.pretrained.frozen import FrozenTransformer
from attnaudit.progress import Report

IN_MEMORY = 4 * 2**30
"""Bytes of states from which on they are kept in a temporary file instead of memory."""


class HeldStates(Model):
    """A `PretrainedClassifier` that reads known texts only, whose states it holds.

    What it gives for these is the same. Training its pooling, or another in its place, takes no
    pass of the transformer. Copies share the states.

    Args:
        model: The model; its pooling is shared, not copied.
        records: The texts.
        progress: Told `("encoding", done, total)`.

    Raises:
        DataError: A record is too long or cannot be read.
    """

    pad_value = 0.0

    def __init__(
        self, model: PretrainedClassifier, records: Sequence[Text], progress: Report | None = None
    ) -> None:
        different = list({_read(record): record for record in records}.values())
        states = unit_states(model.encoder, different, progress=progress)
        self.states = _Shared(
            {_read(record): found for record, found in zip(different, states, strict=True)}
        )
        self.net, self.name, self.classes = model.net, model.name, model.classes
        self.of, self.at = model.fingerprint(), model.device

    def collate(self, records: Sequence[Text]) -> Batch:
        """The places of the records among the states, as one batch.

        Raises:
            DataError: There are no records, or one is not known.
        """
        if not records:
            raise DataError("a batch needs at least one record")
        lengths = torch.tensor([len(record.units) for record in records])
        units = torch.arange(max(1, int(lengths.max()))) < lengths.unsqueeze(1)
        places = torch.tensor([self.states.place_of(record) for record in records])
        return Batch(
            tuple(record.id for record in records), units.long(), units, units, {"place": places}
        ).to(self.at)

    def encode(self, batch: Batch) -> States:
        """The states that are held, 0 on padding."""
        rows = [self.states.rows[place] for place in batch.extra["place"].tolist()]
        hidden = torch.zeros(*batch.units.shape, rows[0].shape[-1])
        for row, found in zip(hidden, rows, strict=True):
            row[: len(found)] = found
        return States(hidden.to(next(self.net.parameters())), batch.units)

    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """As the model does."""
        return self.net.attend(states.hidden, states.units)

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """As the model does."""
        return self.net.decode(states.hidden, weights)

    def fingerprint(self) -> str:
        """That of the model."""
        return self.of


def texts_of(records: Sequence[Record]) -> list[Text]:
    """The records, all of which are texts.

    Raises:
        DataError: One is a bag.
    """
    texts = [record for record in records if isinstance(record, Text)]
    if len(texts) < len(records):
        raise DataError("a transformer reads texts, and there are bags among the records")
    return texts


_Key = tuple[str, tuple[str, ...]]


def _read(record: Text) -> _Key:
    """What a transformer reads: the units, and the spaces between them."""
    return record.text, record.units


class _Shared:
    """The states of texts; a copy of it is itself."""

    def __init__(self, states: Mapping[_Key, Tensor]) -> None:
        self.rows = list(states.values())
        self.places = {key: place for place, key in enumerate(states)}

    def place_of(self, record: Text) -> int:
        place = self.places.get(_read(record))
        if place is None:
            raise DataError(f"record {record.id!r} is none of those whose states are held")
        return place

    def __deepcopy__(self, memo: dict[int, object]) -> _Shared:
        return self


@torch.no_grad()
def unit_states(
    encoder: FrozenTransformer,
    records: Sequence[Text],
    *,
    budget: int = TOKEN_BUDGET,
    progress: Report | None = None,
) -> list[Float[Tensor, "T H"]]:
    """The transformer's states of the units of each record, on the CPU.

    Above 4 GiB they are kept in a temporary file, which goes with the last of them.

    Args:
        encoder: The transformer; it runs where it is.
        records: The records.
        budget: Padded word pieces in one pass.
        progress: Told `("encoding", done, total)`.

    Raises:
        DataError: A record is too long or cannot be read; said before anything is encoded.
        SettingsError: Neither memory nor the temporary folder has room for them.
    """
    sizes = [sum(map(len, units)) for units in encoder.pieces(records)]
    counts = [len(record.units) for record in records]
    states = torch.split(_room(sum(counts), encoder.width), counts)
    order = sorted(range(len(records)), key=sizes.__getitem__)

    def work(part: Sequence[Text]) -> list[Tensor]:
        inputs, present, units = (x.to(encoder.device) for x in encoder.collate(part))
        hidden = encoder(encoder.embed(inputs), inputs, present)
        return [row[own].cpu() for row, own in zip(hidden, units, strict=True)]

    done = 0
    # markers count, so that many short texts do not make a pass far over the budget
    for part in groups([sizes[row] + 2 for row in order], budget):
        rows = order[part]
        for row, found in zip(rows, with_backoff(work, [records[r] for r in rows]), strict=True):
            states[row].copy_(found)
        done += len(rows)
        if progress:
            progress("encoding", done, len(records))
    return list(states)


def _room(rows: int, width: int) -> Float[Tensor, "N H"]:
    size = rows * width * 4
    if size <= IN_MEMORY:
        return torch.empty(rows, width)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise SettingsError(
            f"the states of {rows} units need {size / 2**30:.1f} GiB, but the temporary folder "
            f"{folder} has {free / 2**30:.1f} free; set TMPDIR to one with room, or train on fewer "
            "texts (limit)"
        )
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=(rows, width)))
