"""What neutral judges learn on: masks that are independent of the label, given the units.

A judge is to read whatever honest weights could show, and random masks of a sparse law hardly ever
show rare evidence. So several laws are mixed. The last of them favours units by what they are: the
weight that a model gives the same unit in other records. It tells nothing of the record at hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnaudit.data.bags.records import Bag
from attnaudit.data.kinds import Record
from attnaudit.evidence.judges.reading import Reading, Row
from attnaudit.models.seen import text_hash
from attnaudit.nets.selective.mask_laws import MaskLaw, draw_masks, hard_masks, soft_masks

LEAST = 1e-3
"""Of a unit's weight over an equal share: what is never attended to is shown now and then."""


@dataclass(frozen=True)
class Salience:
    """How much weight each kind of unit gets on the average, over its equal share.

    Units are told apart without regard to upper and lower case.

    Attributes:
        reading: The weights that were read.
        totals: The sum over its records, by unit.
        counts: How often each unit occurs in them.
        copies: Which of its records hold the same, by their hash (`models/seen.py`).
    """

    reading: Reading
    totals: Mapping[str, float]
    counts: Mapping[str, int]
    copies: Mapping[str, Sequence[int]]

    def logits(self, record: Record, length: int) -> Row:
        """The log of the salience of each unit of a record, as other texts have it.

        What occurs in no other text counts as much as an equal share. Copies of a text are no
        other texts: their weights would tell its label.
        """
        totals: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = defaultdict(int)
        for place in self.copies.get(text_hash(record), ()):
            _add(totals, counts, self.reading.data.records[place], self.reading.weights[place])
        found = np.zeros(length)
        for place, unit in enumerate(_kinds(record, length)):
            others = self.counts.get(unit, 0) - counts.get(unit, 0)
            if others > 0:
                mean = (self.totals[unit] - totals.get(unit, 0.0)) / others
                found[place] = np.log(max(mean, LEAST))
        return found


def salience_of(reading: Reading) -> Salience | None:
    """The salience of units, from the weights of a model; None of bags, whose units have no kinds.

    Example:
        >>> from attnaudit.data.records import Dataset
        >>> from attnaudit.data.texts.tokens import text_record
        >>> texts = (text_record("a", "so good"), text_record("b", "good film"))
        >>> data = Dataset("demo", texts, ())
        >>> weights = (np.array([0.2, 0.8]), np.array([0.6, 0.4]))
        >>> found = salience_of(Reading(data, weights, np.zeros((2, 2))))
        >>> np.exp(found.logits(texts[0], 2)).round(2).tolist()  # "good" in the other: 2 * 0.6
        [1.0, 1.2]
    """
    totals: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    copies: dict[str, list[int]] = defaultdict(list)
    for place, (record, row) in enumerate(zip(reading.data, reading.weights, strict=True)):
        if isinstance(record, Bag):
            return None
        _add(totals, counts, record, row)
        copies[text_hash(record)].append(place)
    return Salience(reading, totals, counts, dict(copies))


def _add(totals: dict[str, float], counts: dict[str, int], record: Record, row: Row) -> None:
    """Add the shares of one record."""
    for unit, weight in zip(_kinds(record, len(row)), row, strict=False):
        totals[unit] += float(weight) * len(row)
        counts[unit] += 1


def _kinds(record: Record, length: int) -> list[str]:
    return [unit.lower() for unit in record.units[:length]]


def half_masks(units: Tensor, generator: torch.Generator) -> Tensor:
    """Equal weights on units that are each shown with probability 1/2; on all where none is.

    The masks of EVAL-X (Jethani et al. 2021), as weights.

    Example:
        >>> half_masks(torch.ones(1, 4, dtype=torch.bool), torch.Generator().manual_seed(0))
        tensor([[0.3333, 0.0000, 0.3333, 0.3333]])
    """
    shown = (torch.rand(units.shape, generator=generator) < 0.5).to(units.device) & units
    shown = torch.where(shown.any(1, keepdim=True), shown, units)
    return shown.float() / shown.sum(1, keepdim=True).clamp(min=1)


def spread_of(weights: Sequence[Row], logits: Sequence[Row]) -> float:
    """How far the logs of weights lie from logits, beside a constant an instance: a deviation.

    Example:
        >>> spread_of([np.array([0.2, 0.8])], [np.log([0.1, 0.4])])
        0.0
    """
    apart = [
        (far := np.log(np.maximum(row * len(row), LEAST)) - own) - far.mean()
        for row, own in zip(weights, logits, strict=True)
        if len(row)
    ]
    return round(float(np.concatenate(apart).std()), 6) if apart else 0.0


def salient_masks(
    units: Tensor, logits: Tensor, generator: torch.Generator, law: MaskLaw, spread: float
) -> Tensor:
    """Masks of a law that favour units with high logits.

    Hard: `k` units without replacement, with probabilities in proportion to `exp(logits)`. Soft:
    `softmax(logits + s · N(0, I))` with `s` uniform from 0 to twice the spread, by instance.

    Args:
        units: `(B, L)`, which positions may receive weight.
        logits: `(B, L)`.
        generator: Of the draws.
        law: Of the masks.
        spread: Of a model's own weights about these logits (see `spread_of`), for soft masks.

    Example:
        >>> units, logits = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[0.0, 50.0, 0.0]])
        >>> salient_masks(units, logits, torch.Generator().manual_seed(0), MaskLaw("hard", k=1), 0)
        tensor([[0., 1., 0.]])
    """
    favour = logits.to(units.device, torch.float32)
    if law.kind == "hard":
        uniform = torch.rand(units.shape, generator=generator).clamp(min=1e-12)
        gumbel = -(-uniform.log()).log().to(units.device)
        return hard_masks(favour + gumbel, units, law.k or 1)
    widths = torch.rand(len(units), 1, generator=generator) * 2 * min(spread, law.sigma)
    noise = (torch.randn(units.shape, generator=generator) * widths).to(units.device)
    return soft_masks(favour + noise, units)


def mixed_masks(
    units: Tensor,
    generator: torch.Generator,
    law: MaskLaw,
    logits: Tensor | None = None,
    spread: float = 0.0,
) -> Tensor:
    """For each instance a mask of the law, one of `half_masks`, equal weights, or a salient one.

    Args:
        units: `(B, L)`, which positions may receive weight.
        generator: Of the draws.
        law: Of the masks.
        logits: Of `salient_masks`; None leaves these out.
        spread: Likewise.

    Example:
        >>> masks = mixed_masks(torch.ones(2, 4, dtype=torch.bool),
        ...                     torch.Generator().manual_seed(0), MaskLaw("hard", k=1))
        >>> masks.sum(1).tolist()
        [1.0, 1.0]
    """
    equal = units.float() / units.sum(1, keepdim=True).clamp(min=1)
    kinds = [draw_masks(units, law, generator), half_masks(units, generator), equal]
    if logits is not None:
        kinds.append(salient_masks(units, logits, generator, law, spread))
    chosen = torch.randint(len(kinds), (len(units),), generator=generator)
    return torch.stack(kinds)[chosen, torch.arange(len(units))]
