"""A generated task for a text and a question, where only attention finds the answer.

The text says of several people in which room each keeps a thing; the question names one of them.
The text is encoded without the question, so that a model without attention has to put every
person with the room into one average: it can learn which rooms are named, and guess among them.
"""

from __future__ import annotations

import functools
import random

from attnaudit.data.generated.phrases import COLOURS
from attnaudit.data.generated.tasks import SPLITS, joined, task_splits
from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import pair_record
from attnaudit.errors import SettingsError

ROOMS = ("attic", "cellar", "garage", "garden", "hall", "kitchen", "office", "pantry")
NAMES = (
    *("Anna", "Tom", "Lena", "Igor", "Ruth", "Paul", "Mira", "Omar"),
    *("Clara", "Jonas", "Eva", "Sam", "Nadia", "Hugo", "Iris", "Victor"),
)
THINGS = ("box", "lamp", "bicycle", "chair", "bag", "clock", "ladder", "basket", "coat", "guitar")
STATEMENTS = (
    "{name} keeps the {colour} {thing} in the {room}.",
    "{name} left a {thing} in the {room}.",
    "In the {room} stands the {colour} {thing} of {name}.",
    "The {thing} in the {room} belongs to {name}.",
)
QUESTIONS = (
    "Where does {name} keep it?",
    "In which room are the things of {name}?",
    "Where must one look if {name} asks?",
)


def generate_lookup_splits(
    n_train: int = SPLITS["train"],
    n_dev: int = SPLITS["dev"],
    n_test: int = SPLITS["test"],
    seed: int = 0,
    people: int = 6,
) -> dict[str, Dataset]:
    """Texts that say who keeps things where, each with a question on one of the people.

    Truth marks the words of the one sentence on the person asked for. In a text all rooms and all
    people are different, so whoever knows the rooms of the text and nothing else is right once in
    `people` times; with attention everything can be right.

    Args:
        n_train: Records of the training split.
        n_dev: Records of the development split.
        n_test: Records of the test split.
        seed: Same seed, same records, in any process.
        people: Sentences in a text, from 2 to 8.

    Raises:
        SettingsError: An option out of range.

    Example:
        >>> record = generate_lookup_splits(8, 8, 8, people=2)["test"].records[0]
        >>> record.text
        'Lena keeps the yellow bicycle in the office. Paul left a clock in the garden.'
    """
    if not 2 <= people <= len(ROOMS):
        raise SettingsError(f"people must be from 2 to {len(ROOMS)}, got {people}")
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    notes = (
        "with attention accuracy 1 can be had; a context-free model without it guesses among the "
        f"rooms of the text: {1 / people:.3f}",
    )
    write = functools.partial(_write, people=people)
    return task_splits("lookup", ROOMS, sizes, seed, write, notes)


def _write(rng: random.Random, label: int, people: int) -> Text:
    rooms = [
        ROOMS[label],
        *rng.sample([room for room in ROOMS if room != ROOMS[label]], people - 1),
    ]
    names = rng.sample(NAMES, people)
    sentences = [
        (
            rng.choice(STATEMENTS).format(
                name=name, room=room, colour=rng.choice(COLOURS), thing=rng.choice(THINGS)
            ),
            name == names[0],
        )
        for name, room in zip(names, rooms, strict=True)
    ]
    rng.shuffle(sentences)
    text, truth = joined(sentences)
    return pair_record("", text, rng.choice(QUESTIONS).format(name=names[0]), label, truth)
