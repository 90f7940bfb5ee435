"""Texts of clues and fillers, and the tables of words that go with them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch

from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import text_record

FILLERS, CLUES = 40, 4
EDGE = 3
"""Places at both ends without a clue, so that what moves by three places has somewhere to go."""


@dataclass(frozen=True)
class Wording:
    """What the texts hold.

    Attributes:
        clues: How many clues of the right class a text holds, or the share of its units.
        against: How many clues of one other class, fewer than `clues`.
        negated: Share of texts in which every clue stands behind `not`, which turns it around.
        conflict: A clue of another class stands behind the first one (or before the last one).
        decoys: Words that mean nothing and may draw weight.
        spurious: A word in every text, the same in all.
        strength: Clues differ in strength by this factor.
        repeat: The same clue word again and again instead of different ones.
    """

    clues: float = 1
    against: int = 0
    negated: float = 0.0
    conflict: str = ""
    decoys: int = 0
    spurious: bool = False
    strength: float = 1.0
    repeat: bool = False


@dataclass(frozen=True)
class Shape:
    """How large a case is: drawn by its seed."""

    classes: int
    length: int
    count: int
    scale: float


def vocabulary(classes: int) -> dict[str, int]:
    """Words to rows: padding and the unknown word first."""
    words = [f"clue{c}{'abcd'[k]}" for c in range(classes) for k in range(CLUES)]
    words += [f"filler{i}" for i in range(FILLERS)] + ["not", "decoy", "end", "spurious"]
    return {word: row + 2 for row, word in enumerate(words)}


def word_table(
    classes: int,
    seed: int,
    *,
    clue: float = 4.0,
    filler: float = 0.0,
    decoy: float = 0.0,
    negator: float | None = None,
    spurious: float = 0.0,
    value: float = 1.0,
    noise: float = 0.3,
    meaning: float = 0.03,
    strength: float = 1.0,
    strong_first: bool = True,
    scattered: float = 0.0,
) -> torch.Tensor:
    """Values, energies and marks of the words.

    Args:
        classes: How many.
        seed: Of the noise.
        clue: Energy of clues.
        filler: Energy of fillers.
        decoy: Energy of decoys, and of `end`.
        negator: Energy of `not`; that of clues by default.
        spurious: Energy of the spurious word.
        value: What a clue adds to its class; clues of a filler add a little noise.
        noise: Standard deviation of energies among words of a kind.
        meaning: The same of the values of fillers.
        strength: The strongest clue over the weakest.
        strong_first: Energies follow strength; False turns them around.
        scattered: Standard deviation of energies among all words, drawn anew.
    """
    draw = torch.Generator().manual_seed(seed)
    words = vocabulary(classes)
    table = torch.zeros(len(words) + 2, classes + 3)
    energy = {"filler": filler, "decoy": decoy, "end": decoy, "spurious": spurious}
    energy["not"] = clue if negator is None else negator
    spread = torch.linspace(1.0, 1.0 / strength, CLUES)
    for word, row in words.items():
        kind = word.rstrip("0123456789")
        if word.startswith("clue"):
            c, k = int(word[4]), "abcd".index(word[5])
            table[row, c] = value * spread[k]
            table[row, -3] = clue + (spread[k] if strong_first else 1 / spread[k]).log() * (
                strength > 1
            )
            table[row, -1] = 1
        else:
            table[row, -3] = energy[kind]
            table[row, :classes] = (
                meaning * torch.randn(classes, generator=draw) * (kind == "filler")
            )
            table[row, -2] = float(word == "not")
        table[row, -3] += noise * torch.randn(1, generator=draw).item()
        if scattered:
            table[row, -3] = scattered * torch.randn(1, generator=draw).item()
    table[1, -3] = filler
    return table


def texts(wording: Wording, shape: Shape, seed: int, chance: float = 0.0) -> Dataset:
    """Texts with labels, a share of them drawn anew, and the units that are evidence."""
    draw = random.Random(f"texts {seed}")
    records = tuple(
        _text(f"t{i}", i % shape.classes, wording, shape, draw) for i in range(shape.count)
    )
    if chance:
        records = tuple(
            replace(r, label=draw.randrange(shape.classes)) if draw.random() < chance else r
            for r in records
        )
    names = tuple(f"class {c}" for c in range(shape.classes))
    return Dataset("proving ground", records, names, "test")


def _text(id: str, label: int, wording: Wording, shape: Shape, draw: random.Random) -> Text:
    length = max(2 * EDGE + 3, draw.randint(int(shape.length * 0.8), int(shape.length * 1.2)))
    clues = wording.clues if wording.clues >= 1 else max(1, round(wording.clues * length))
    units = [f"filler{draw.randrange(FILLERS)}" for _ in range(length)]
    truth = [False] * length
    inside = list(range(EDGE, length - EDGE))
    wanted = int(clues) + wording.against
    step = 2 if wording.negated else 1
    if wanted * step > len(inside):
        wanted = len(inside) // step
    slots = sorted(
        draw.sample(inside[::step] if step > 1 else inside, min(wanted, len(inside[::step])))
    )
    other = (label + draw.randrange(1, shape.classes)) % shape.classes
    whose = [other] * wording.against + [label] * (len(slots) - wording.against)
    draw.shuffle(whose)
    same = draw.choice("abcd")
    turned = wording.negated and draw.random() < wording.negated
    for slot, c in zip(slots, whose, strict=True):
        meant = _opposite(c, shape.classes) if turned else c
        units[slot] = f"clue{meant}{same if wording.repeat else draw.choice('abcd')}"
        truth[slot] = True
        if turned:
            units[slot - 1] = "not"
            truth[slot - 1] = True
    if wording.conflict and slots:
        mine = slots[0] if wording.conflict == "first" else slots[-1]
        free = [s for s in inside if (s > mine if wording.conflict == "first" else s < mine)]
        if free:
            at = draw.choice(free)
            units[at], truth[at] = f"clue{other}{draw.choice('abcd')}", False
            units[mine], truth[mine] = f"clue{label}{draw.choice('abcd')}", True
    rest = [i for i in inside if not truth[i] and not units[i].startswith("clue")]
    for at in draw.sample(rest, min(wording.decoys, len(rest))):
        units[at] = "decoy"
    if wording.spurious and (rest := [i for i in rest if units[i] != "decoy"]):
        units[draw.choice(rest)] = "spurious"
    units[-1] = "end"
    return text_record(id, " ".join(units), label, truth, tokenizer="whitespace")


def _opposite(c: int, classes: int) -> int:
    """What turns into `c` when it is negated; with two classes, the other one."""
    return (c + 1) % classes
