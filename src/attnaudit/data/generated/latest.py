"""A generated task for one text, where only attention finds the answer.

The text judges several versions of something, in any order, among facts that do not matter; the
latest version decides. Praise and blame are equally frequent in every text, so that the words
alone, in whatever order, say nothing on the label.
"""

from __future__ import annotations

import functools
import random

from attnaudit.data.generated.opinions import NEGATIVE, POSITIVE, words_of
from attnaudit.data.generated.tasks import SPLITS, Sentence, fact, joined, task_splits
from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import text_record, words
from attnaudit.errors import SettingsError

CLASSES = ("worse", "better")
VERSIONS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
)
VERDICTS = words_of(
    "delighted impressed charmed thrilled pleased enchanted convinced amazed inspired helped",
    "bored annoyed disappointed frustrated irritated upset confused angered worried hindered",
)
AUDIENCES = ("everyone", "us", "customers", "users", "children", "reviewers", "teachers", "most")
SHORTEST, LONGEST = 40, 80

# A fact that is no longer than this can always be found.
_ROOM = 10


def generate_latest_splits(
    n_train: int = SPLITS["train"],
    n_dev: int = SPLITS["dev"],
    n_test: int = SPLITS["test"],
    seed: int = 0,
    versions: tuple[int, ...] = (4, 6, 8),
) -> dict[str, Dataset]:
    """Texts of 40 to 80 units whose label is the verdict on the latest version in them.

    Versions follow on each other without a gap, from a number drawn at random, so the number that
    decides is another one in every text. Truth marks the words of the sentence that decides.

    Args:
        n_train: Records of the training split.
        n_dev: Records of the development split.
        n_test: Records of the test split.
        seed: Same seed, same records, in any process.
        versions: How many versions a text may have; even numbers from 2 to 8.

    Raises:
        SettingsError: An option out of range.
    """
    if not versions or any(count % 2 or not 2 <= count <= 8 for count in versions):
        raise SettingsError(f"versions must be even numbers from 2 to 8, got {versions}")
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    notes = ("the order decides: a bag of words has accuracy 0.5, and 1 can be had",)
    write = functools.partial(_write, versions=versions)
    return task_splits("lookup_single", CLASSES, sizes, seed, write, notes)


def _write(rng: random.Random, label: int, versions: tuple[int, ...]) -> Text:
    count = rng.choice(versions)
    first = rng.randrange(len(VERSIONS) - count + 1)
    verdicts = [POSITIVE, NEGATIVE] * (count // 2)
    last = POSITIVE if label else NEGATIVE
    verdicts.remove(last)
    rng.shuffle(verdicts)
    sentences: list[Sentence] = [
        (_verdict(rng, VERSIONS[first + index], polarity), index == count - 1)
        for index, polarity in enumerate([*verdicts, last])
    ]
    rng.shuffle(sentences)
    length = rng.randint(SHORTEST, LONGEST - _ROOM)
    used = sum(len(words(sentence)) for sentence, _ in sentences)
    while used < length:
        sentence = fact(rng)
        size = len(words(sentence))
        if used + size <= LONGEST:
            sentences.insert(rng.randint(0, len(sentences)), (sentence, False))
            used += size
    text, truth = joined(sentences)
    return text_record("", text, label, truth)


def _verdict(rng: random.Random, version: str, polarity: int) -> str:
    return f"Version {version} {rng.choice(VERDICTS.common(polarity))} {rng.choice(AUDIENCES)}."
