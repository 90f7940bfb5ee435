"""A classifier set by hand: what words mean, where weights stand, and what the encoder does.

Every construction of texts is this one module with other tables. A word has a value for every class
(what it adds to the log-odds), an energy (what attention sees of it), and two marks: it negates the
word behind it, or it counts as a clue. The encoder may move values and energies to other places,
which is how weights can stand beside what decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from attnaudit.data.records import Dataset
from attnaudit.models.wrapped.model import WrappedModel, wrap

ENERGY, NEGATES, CLUE = -3, -2, -1
AHEAD = 12.0
"""An energy that leaves nothing to the others."""


@dataclass(frozen=True)
class Wiring:
    """What the encoder does with values and energies.

    Attributes:
        value_from: How much of the value of the word `k` places before is in a state, by `k`.
        value_all: How much of the sum of all values is in every state.
        value_first: How much of that sum is in the first state.
        value_last: The same for the last.
        energy_from: As `value_from`, for energies.
        first_energy: What the first place has besides.
        last_energy: What the last place has besides.
        negation: A word that negates turns the value of the word behind it around.
        order: `first`: only the first clue keeps its energy; `last`: the last one.
        code: The class is written in the place that has the weight, and the states of the first
            places say nothing but which place they are.
        turn: The first and the last place have more energy only in texts of class 0.
    """

    value_from: Mapping[int, float] = field(default_factory=lambda: {0: 1.0})
    value_all: float = 0.0
    value_first: float = 0.0
    value_last: float = 0.0
    energy_from: Mapping[int, float] = field(default_factory=lambda: {0: 1.0})
    first_energy: float = 0.0
    last_energy: float = 0.0
    negation: bool = False
    order: str = ""
    code: bool = False
    turn: bool = False


class Hand(nn.Module):
    """The module: a table of words, the wiring, a linear head that reads values."""

    def __init__(self, table: Tensor, wiring: Wiring, scale: float) -> None:
        super().__init__()
        self.classes = table.shape[1] - 3
        self.wiring = wiring
        self.table = nn.Embedding.from_pretrained(table, freeze=True)
        self.head = nn.Linear(self.classes + 1, self.classes)
        self.head.weight.data = torch.cat(
            [torch.eye(self.classes), torch.zeros(self.classes, 1)], 1
        )
        self.head.weight.data *= scale
        self.head.bias.data.zero_()
        self.head.requires_grad_(False)

    def states(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Values and the energy of every place, `(B, L, C + 1)`."""
        wiring, real = self.wiring, present.unsqueeze(-1).to(vectors)
        values, energy = vectors[..., : self.classes] * real, vectors[..., ENERGY]
        if wiring.negation:
            values = values * (1 - 2 * _before(vectors[..., NEGATES] * present, 1)).unsqueeze(-1)
        clues = vectors[..., CLUE] * present
        if wiring.order:
            along = clues if wiring.order == "first" else clues.flip(1)
            earlier = along.cumsum(1) - along
            earlier = earlier if wiring.order == "first" else earlier.flip(1)
            energy = energy - AHEAD * earlier
        energy = sum(k * _before(energy, by) for by, k in wiring.energy_from.items())
        every = values.sum(1, keepdim=True)
        moved = sum(k * _before(values, by) for by, k in wiring.value_from.items())
        moved = moved + wiring.value_all * every
        place = torch.arange(vectors.shape[1], device=vectors.device)
        last = (place == present.sum(1, keepdim=True) - 1).to(vectors)
        first = (place == 0).to(vectors).expand_as(last)
        moved = moved + wiring.value_first * first.unsqueeze(-1) * every
        moved = moved + wiring.value_last * last.unsqueeze(-1) * every
        ahead = wiring.first_energy * first + wiring.last_energy * last
        if wiring.turn:
            ahead = ahead * (every[..., 0] > every[..., 1:].amax(-1))
        energy = energy + ahead
        if wiring.code:
            width = min(self.classes, vectors.shape[1])
            own = torch.zeros_like(values)
            own[:, :width, :width] = torch.eye(width).to(vectors)
            energy = torch.zeros_like(energy)
            energy[:, :width] = AHEAD * (every[:, 0, :width] > 0.5).to(vectors)
            # the way back for gradients, which the step has not
            energy = energy + (every * moved.detach() * 0).sum(-1)
            moved = own
        return torch.cat([moved, energy.unsqueeze(-1)], -1)

    def weights(self, hidden: Tensor, units: Tensor) -> Tensor:
        """Softmax of the energies."""
        return torch.softmax(hidden[..., -1].masked_fill(~units, -1e9), -1) * units

    def forward(self, ids: Tensor, present: Tensor) -> Tensor:
        """Logits of the whole module."""
        hidden = self.states(self.table(ids), present)
        return self.head(torch.einsum("bl,blh->bh", self.weights(hidden, present), hidden))


def _before(rows: Tensor, by: int) -> Tensor:
    """What stood `by` places before, nothing at the edge."""
    if by == 0:
        return rows
    moved = torch.roll(rows, by, 1)
    if by > 0:
        moved[:, :by] = 0
    else:
        moved[:, by:] = 0
    return moved


def hand_model(net: Hand, words: Mapping[str, int], name: str) -> WrappedModel:
    """The module behind the cut.

    Args:
        net: The module.
        words: Words to rows of its table; row 0 is padding, row 1 an unknown word.
        name: What reports call it.
    """
    return wrap(
        net,
        classes=tuple(f"class {c}" for c in range(net.classes)),
        tokenize=lambda units: [words.get(unit, 1) for unit in units],
        embed=net.table,
        encode=net.states,
        attend=net.weights,
        decode=net.head,
        linear_head=net.head,
        whole=net,
        mask_value=1,
        name=name,
    )


def learn(net: Hand, words: Mapping[str, int], data: Dataset, seed: int, steps: int = 150) -> None:
    """Learn what words mean from texts, by Adam; energies and marks stay as they were set."""
    draw = torch.Generator().manual_seed(seed)
    set_by_hand = net.table.weight.data.clone()
    values = (0.01 * torch.randn(len(set_by_hand), net.classes, generator=draw)).requires_grad_()
    optimiser = torch.optim.Adam([values], lr=0.05)
    length = max(len(record.units) for record in data)
    ids = torch.zeros(len(data), length, dtype=torch.long)
    for row, record in enumerate(data):
        ids[row, : len(record.units)] = torch.tensor([words[unit] for unit in record.units])
    labels, present = torch.tensor([record.label for record in data]), ids > 0
    for _ in range(steps):
        table = torch.cat([values, set_by_hand[:, net.classes :]], 1)
        hidden = net.states(table[ids], present)
        pooled = torch.einsum("bl,blh->bh", net.weights(hidden, present), hidden)
        loss = torch.nn.functional.cross_entropy(net.head(pooled), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    values = values.detach()
    values[:2] = 0
    net.table.weight.data = torch.cat([values, set_by_hand[:, net.classes :]], 1)
