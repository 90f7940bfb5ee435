"""What generated tasks have in common: sentences with known evidence, and splits of such texts."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from attnaudit.data.generated import phrases
from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import words
from attnaudit.errors import SettingsError

Sentence = tuple[str, bool]
"""A sentence, and whether it decides the label."""
Write = Callable[[random.Random, int], Text]
"""From a generator and a label to a record, whose id does not matter."""

SPLITS = {"train": 3000, "dev": 500, "test": 1000}

_MOST_TRIES = 1000
_SLOT = re.compile(r"\{(\w+)\}")
_FILLINGS: dict[str, tuple[str, ...]] = {
    "person": phrases.PERSONS,
    "place": phrases.PLACES,
    "month": phrases.MONTHS,
    "day": phrases.DAYS,
    "colour": phrases.COLOURS,
    "relative": tuple(relative for relative, _ in phrases.RELATIVES),
}
# Facts with a number are left out: in some tasks numbers are evidence.
_FACTS = tuple(
    fact
    for fact in phrases.FACTS
    if set(_SLOT.findall(fact)) <= set(_FILLINGS) and " two " not in fact
)


def fact(rng: random.Random) -> str:
    """A sentence without opinion or number that fits everything.

    Example:
        >>> fact(random.Random(0))
        'It was not my idea; my sister had read about it.'
    """
    text = _SLOT.sub(lambda match: rng.choice(_FILLINGS[match[1]]), rng.choice(_FACTS))
    return text[0].upper() + text[1:]


def joined(sentences: Sequence[Sentence]) -> tuple[str, list[bool]]:
    """Sentences as one text, and its truth: the words, without marks, of those that decide.

    Example:
        >>> joined([("It rains.", False), ("Stay in.", True)])
        ('It rains. Stay in.', [False, False, False, True, True, False])
    """
    text = " ".join(sentence for sentence, _ in sentences)
    truth = [
        decides and sentence[start:end][0].isalnum()
        for sentence, decides in sentences
        for start, end in words(sentence)
    ]
    return text, truth


def task_splits(
    name: str,
    classes: tuple[str, ...],
    sizes: Mapping[str, int],
    seed: int,
    write: Write,
    notes: Sequence[str] = (),
) -> dict[str, Dataset]:
    """Splits of a generated task: classes equally frequent in each, and no text twice.

    Args:
        name: Of the data set.
        classes: Their names.
        sizes: How many records each split has.
        seed: Same seed, same records, in any process.
        write: Makes one record of a label.
        notes: Said of the set in every split.

    Raises:
        SettingsError: A split with fewer records than classes, or no new text is found.
    """
    for split, n in sizes.items():
        if n < len(classes):
            raise SettingsError(f"{split}: {len(classes)} or more records are needed, got {n}")
    rng = random.Random(seed)
    seen: set[str] = set()
    made = {}
    for split, n in sizes.items():
        labels = [index % len(classes) for index in range(n)]
        rng.shuffle(labels)
        records = []
        for number, label in enumerate(labels):
            record = _new(write, rng, label, seen)
            records.append(replace(record, id=f"{split}-{number}"))
        made[split] = Dataset(
            name, tuple(records), classes, split, (f"generated: seed {seed}", *notes)
        )
    return made


def _new(write: Write, rng: random.Random, label: int, seen: set[str]) -> Text:
    """A record whose text is not in `seen`."""
    for _ in range(_MOST_TRIES):
        record = write(rng, label)
        if record.text not in seen:
            seen.add(record.text)
            return record
    raise SettingsError(f"no new text was found after {len(seen)} different ones: ask for fewer")
