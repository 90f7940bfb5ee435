"""Small tasks for tests of controls: one that needs attention, one that does not."""

from __future__ import annotations

import random

from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import text_record

LEVELS, CROWD = 2, 20
CLASSES = ("down", "up")


def highest(sizes: dict[str, int], seed: int = 0) -> dict[str, Dataset]:
    """The label is that of the one word of the highest level; all lower ones speak at random.

    Lower words are many, and mostly speak against the label, so that no plain mean of the words
    tells it: a context-free model must give the one word almost all the weight.
    """
    draw = random.Random(seed)

    def text(name: str, label: int) -> Text:
        top = draw.randint(0, LEVELS - 1)
        words = [f"level{top}-{CLASSES[label]}"]
        for level in range(top):
            against = draw.randint(CROWD // 2, CROWD)
            words += [f"level{level}-{CLASSES[1 - label]}"] * against
            words += [f"level{level}-{CLASSES[label]}"] * draw.randint(0, CROWD // 3)
        draw.shuffle(words)
        return text_record(name, " ".join(words), label=label, tokenizer="whitespace")

    return {
        split: Dataset(
            "highest", tuple(text(f"{split}{i}", i % 2) for i in range(size)), CLASSES, split
        )
        for split, size in sizes.items()
    }


def plain(sizes: dict[str, int], seed: int = 0, classes: int = 2) -> dict[str, Dataset]:
    """Every word but fillers speaks for the label: any weights will do."""
    draw = random.Random(seed)
    names = tuple(f"c{i}" for i in range(classes))

    def text(name: str, label: int) -> Text:
        words = [f"word{label}-{draw.randint(0, 4)}" for _ in range(draw.randint(2, 4))]
        words += [f"filler{draw.randint(0, 9)}" for _ in range(draw.randint(1, 5))]
        draw.shuffle(words)
        return text_record(name, " ".join(words), label=label, tokenizer="whitespace")

    return {
        split: Dataset(
            "plain", tuple(text(f"{split}{i}", i % classes) for i in range(size)), names, split
        )
        for split, size in sizes.items()
    }
