"""The same module on bags: every word is an instance with the word's row as its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attnaudit.data.bags.records import Bag, BagDataset
from attnaudit.data.kinds import BAGS
from attnaudit.data.records import Dataset
from attnaudit.models.cut import Batch, LinearDecode, Model, States
from attnaudit.models.wrapped.model import module_fingerprint
from benchmarks.proving.hand import Hand


def as_bags(data: Dataset, net: Hand, words: Mapping[str, int]) -> BagDataset:
    """Texts as bags of their words' rows."""
    bags = tuple(
        Bag(
            record.id,
            net.table.weight.data[torch.tensor([words[unit] for unit in record.units])].float(),
            record.label,
            None if record.truth is None else torch.tensor(record.truth),
        )
        for record in data
    )
    shape = tuple(bags[0].instances.shape[1:])
    return BagDataset("proving ground", bags, data.classes, shape, split="test")


class HandBags(Model):
    """The module as a model of bags."""

    kind = BAGS

    def __init__(self, net: Hand, name: str) -> None:
        self.net, self.name = net.eval(), name
        self.classes = tuple(f"class {c}" for c in range(net.classes))

    def collate(self, records: Sequence[Bag]) -> Batch:
        """Bags padded with zeros."""
        counts = torch.tensor([len(bag) for bag in records])
        units = torch.arange(int(counts.max())) < counts.unsqueeze(1)
        inputs = torch.zeros(*units.shape, records[0].instances.shape[1])
        for row, bag in enumerate(records):
            inputs[row, : len(bag)] = bag.instances
        return Batch(tuple(bag.id for bag in records), inputs, units, units)

    def encode(self, batch: Batch) -> States:
        """Values and energies of every instance."""
        return self.encode_embedded(batch, batch.inputs)

    def attend(self, states: States) -> Tensor:
        """Softmax of the energies."""
        return self.net.weights(states.hidden, states.units)

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """Log-probabilities of the weighted sum."""
        linear = self.linear(states)
        return linear(weights)

    def linear(self, states: States) -> LinearDecode:
        """The head is linear."""
        return LinearDecode(states.hidden @ self.net.head.weight.T, self.net.head.bias)

    def embed(self, batch: Batch) -> Tensor:
        """The features themselves."""
        return batch.inputs

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """States from given features."""
        return States(self.net.states(embedded, batch.present), batch.units)

    def fingerprint(self) -> str:
        """A hash of parameters and name."""
        return module_fingerprint(self.net, self.name, repr(self.net.wiring))
