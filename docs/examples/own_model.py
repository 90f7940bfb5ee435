"""Audit a classifier that attnaudit did not make: a GRU with gated attention pooling."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attnaudit.api import Audit, audit
from attnaudit.data import Dataset, Text, generate_review_splits
from attnaudit.findings.settings import Settings
from attnaudit.models.wrapped.model import WrappedModel, wrap

PAD, UNKNOWN = 0, 1


# --8<-- [start:module]
class GatedGRU(nn.Module):
    """Your module: embed, read with a GRU, pool with gated attention, classify."""

    def __init__(self, words: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width, padding_idx=PAD)
        self.reader = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.content, self.gate = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.head = nn.Linear(2 * width, classes)

    def encode(self, vectors: Tensor, present: Tensor) -> Tensor:
        """States (B, T, H); positions where `present` is False are padding."""
        lengths = present.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        states, _ = self.reader(packed)
        return pad_packed_sequence(states, batch_first=True, total_length=vectors.shape[1])[0]

    def attend(self, states: Tensor, units: Tensor) -> Tensor:
        """Weights (B, T): a gate times a content score, normalised over the units."""
        energy = self.score(self.content(states).tanh() * self.gate(states).sigmoid()).squeeze(-1)
        return energy.masked_fill(~units, -1e9).softmax(-1) * units

    def forward(self, ids: Tensor, present: Tensor) -> Tensor:
        """Logits (B, C), as you train and serve it: attnaudit does not call this."""
        states = self.encode(self.table(ids), present)
        weights = self.attend(states, present)
        return self.head(torch.einsum("bt,bth->bh", weights, states))


# --8<-- [end:module]


# --8<-- [start:train]
def build_ids(records: Sequence[Text]) -> dict[str, int]:
    """Your vocabulary; 0 is padding and 1 an unknown word."""
    words = sorted({unit.lower() for record in records for unit in record.units})
    return {word: number for number, word in enumerate(words, start=2)}


def fit(net: GatedGRU, data: Dataset, ids: dict[str, int], epochs: int = 4) -> None:
    """Your training, in as few lines as it goes."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    rows = [torch.tensor([ids[unit.lower()] for unit in record.units]) for record in data]
    labels = torch.tensor([record.label for record in data])
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(32):
            tokens = nn.utils.rnn.pad_sequence([rows[i] for i in batch], batch_first=True)
            loss = nn.functional.cross_entropy(net(tokens, tokens != PAD), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


# --8<-- [end:train]


# --8<-- [start:wrap]
def cut(net: GatedGRU, ids: dict[str, int], classes: Sequence[str]) -> WrappedModel:
    """The module, cut at its attention."""

    def tokenize(units: Sequence[str]) -> list[int]:
        return [ids.get(unit.lower(), UNKNOWN) for unit in units]

    return wrap(
        net,
        classes=classes,
        tokenize=tokenize,
        embed=net.table,
        encode=net.encode,
        attend=net.attend,
        decode=net.head,
        linear_head=net.head,
        pad_value=PAD,
        mask_value=UNKNOWN,
        name="gated GRU",
    )


# --8<-- [end:wrap]


# --8<-- [start:audit]
def main(report: Path | None = None) -> Audit:
    """Train, cut, audit."""
    torch.manual_seed(0)
    splits = generate_review_splits(n_train=600, n_dev=50, n_test=100, difficulty=0.1)
    train, test = splits["train"], splits["test"]
    ids = build_ids(train.records)
    net = GatedGRU(words=len(ids) + 2, classes=len(train.classes))
    fit(net, train, ids)

    model = cut(net, ids, train.classes)
    result = audit(model, test, settings=Settings(costly_limit=40), progress=False)
    print(result)
    erasure = result.frame.filter(statistic="comprehensiveness", group="delete", judged="weights")
    print(erasure.select("method", "value", "low", "high", "null"))
    if report is not None:
        result.to_html(report)
    return result


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
# --8<-- [end:audit]
