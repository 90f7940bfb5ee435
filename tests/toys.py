"""Small models that are not ours, for tests."""

from __future__ import annotations

import random

import torch
from torch import nn

from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import text_record
from attnaudit.models.wrapped.model import WrappedModel, wrap

WORDS = [f"w{i}" for i in range(40)]


class Reader(nn.Module):
    """A left-to-right GRU with dot attention: padding on the right cannot reach it."""

    def __init__(self, classes: int = 2, *, one_logit: bool = False, deep: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(len(WORDS) + 2, 6, padding_idx=0)
        self.rnn = nn.GRU(6, 8, batch_first=True)
        self.query = nn.Linear(8, 1)
        outputs = 1 if one_logit else classes
        self.head: nn.Module = nn.Linear(8, outputs)
        if deep:
            self.head = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, outputs))

    def states(self, vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return self.rnn(vectors)[0]

    def weights(self, hidden: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
        energies = self.query(hidden).squeeze(-1).masked_fill(~units, -1e9)
        return torch.softmax(energies, -1) * units


def reader(
    classes: int = 2,
    *,
    one_logit: bool = False,
    deep: bool = False,
    seed: int = 0,
    scale: float = 2.0,
    embedded: bool = True,
) -> WrappedModel:
    """A wrapped `Reader` with random parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Reader(classes, one_logit=one_logit, deep=deep)
        for parameter in net.parameters():
            parameter.data *= scale
        net.query.weight.data *= 3
    known = {word: index + 2 for index, word in enumerate(WORDS)}

    def encode(inputs: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return net.states(inputs if embedded else net.table(inputs), present)

    return wrap(
        net,
        classes=("neg", "pos") if classes == 2 else tuple(f"c{i}" for i in range(classes)),
        tokenize=lambda units: [known.get(unit, 1) for unit in units],
        embed=net.table if embedded else None,
        encode=encode,
        attend=net.weights,
        decode=net.head,
        linear_head=None if deep else net.head,
        mask_value=1,
    )


def sentences(count: int, seed: int = 0, shortest: int = 1, longest: int = 12) -> list[Text]:
    """Random sentences of known words."""
    draw = random.Random(seed)
    return [
        text_record(
            f"s{i}", " ".join(draw.choices(WORDS, k=draw.randint(shortest, longest))), label=i % 2
        )
        for i in range(count)
    ]


def dataset(count: int = 60, **options: int) -> Dataset:
    """Random sentences as a data set."""
    return Dataset("toy", tuple(sentences(count, **options)), ("neg", "pos"))


def labelled(model: WrappedModel, records: list[Text]) -> list[Text]:
    """The records with the model's own predictions as labels: a model that is always right."""
    from dataclasses import replace

    from attnaudit.models.encoded import Encoded

    predicted = Encoded(model, model.collate(records)).predicted.tolist()
    return [replace(r, label=p) for r, p in zip(records, predicted, strict=True)]
