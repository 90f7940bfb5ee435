"""Generated reviews: English texts of which it is known, unit by unit, what decides the label.

A review says opinions on sides of one thing, and its label is what most of them say. A word of
opinion that is denied ("hardly a masterpiece") counts the other way, and then the negator is
evidence together with the word. Around them stand facts, what other people think, and words of
opinion about other things: none of these depends on the label.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from attnaudit.data.generated.opinions import (
    NEGATIVE,
    POSITIVE,
    general_opinions,
    with_misspellings,
)
from attnaudit.data.generated.tasks import task_splits
from attnaudit.data.generated.topics import TOPICS
from attnaudit.data.generated.writer import Writer, unmarked
from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import text_record, words
from attnaudit.errors import SettingsError

CLASSES = ("negative", "positive")
SHORTEST, LONGEST = 5, 60

# A review is full when no other sentence fits, or when so many were too long.
_SHORTEST_SENTENCE, _MOST_MISSES = 4, 12


def opinion_words() -> dict[str, int]:
    """Every word of opinion in generated reviews, lower case: 1 for praise, -1 for blame.

    Example:
        >>> opinion_words()["superb"], opinion_words()["dull"]
        (1, -1)
    """
    found = general_opinions()
    for topic in TOPICS.values():
        for kind in (topic.adjectives, *(side.adjectives for side in topic.sides)):
            found.update(kind.polarities())
    return with_misspellings(found)


def generate_reviews(
    n: int = 4000,
    seed: int = 0,
    difficulty: float = 0.3,
    topics: Sequence[str] | None = None,
) -> Dataset:
    """Reviews with known truth: as many positive as negative, all texts different.

    Truth marks every word of opinion that speaks for the label, with its negator. Opinions that
    speak against the label, always fewer, are in reviews of higher difficulty and are not marked:
    they are evidence for the other class.

    Args:
        n: How many.
        seed: Same seed, same reviews, in any process.
        difficulty: From 0 to 1. More of it means more denied opinions, more words of opinion about
            other things, more mixed reviews, more rare words and misspellings.
        topics: Keys of `TOPICS`; by default all.

    Raises:
        SettingsError: An option out of range, or more reviews than the topics can give.

    Example:
        >>> data = generate_reviews(4, seed=1)
        >>> data.class_counts
        {'negative': 2, 'positive': 2}
    """
    return _generate({"all": n}, seed, difficulty, topics)["all"]


def generate_review_splits(
    n_train: int = 3000,
    n_dev: int = 500,
    n_test: int = 1000,
    seed: int = 0,
    difficulty: float = 0.3,
    topics: Sequence[str] | None = None,
) -> dict[str, Dataset]:
    """`generate_reviews` in three splits that share no text.

    Raises:
        SettingsError: An option out of range, or more reviews than the topics can give.
    """
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    return _generate(sizes, seed, difficulty, topics)


def _generate(
    sizes: dict[str, int], seed: int, difficulty: float, topics: Sequence[str] | None
) -> dict[str, Dataset]:
    names = list(TOPICS if topics is None else topics)
    unknown = [name for name in names if name not in TOPICS]
    if unknown or not names:
        raise SettingsError(f"topics must be some of {', '.join(TOPICS)}; got {names}")
    if not 0 <= difficulty <= 1:
        raise SettingsError(f"difficulty must be from 0 to 1, got {difficulty}")
    write = functools.partial(_new_review, topics=names, difficulty=difficulty)
    made = task_splits("reviews", CLASSES, sizes, seed, write)
    return {
        split: replace(data, notes=_notes(data.records, seed, difficulty))
        for split, data in made.items()
    }


def _notes(records: Sequence[Text], seed: int, difficulty: float) -> tuple[str, ...]:
    shares = [sum(record.truth or ()) / len(record.units) for record in records]
    lengths = [len(record.units) for record in records]
    return (
        f"generated: seed {seed}, difficulty {difficulty}",
        f"evidence: {fmean(shares):.0%} of the units of a text on average, "
        f"from {min(shares):.0%} to {max(shares):.0%}",
        f"length: {fmean(lengths):.0f} units on average, from {min(lengths)} to {max(lengths)}",
    )


def _new_review(rng: random.Random, label: int, topics: Sequence[str], difficulty: float) -> Text:
    """A review of a length in bounds."""
    while True:
        topic = TOPICS[rng.choice(topics)]
        text, truth = _review(Writer(rng, topic, difficulty), POSITIVE if label else NEGATIVE)
        if SHORTEST <= len(truth) <= LONGEST:
            return text_record("", text, label, truth)


def _review(writer: Writer, polarity: int) -> tuple[str, list[bool]]:
    """One review and its truth: opinions first, then other sentences up to a drawn length."""
    rng = writer.rng
    length = SHORTEST + round((LONGEST - SHORTEST) * rng.betavariate(1.1, 1.3))
    sentences = writer.opinions(polarity, most=1 + length // 12)
    used = sum(len(words(sentence)) for sentence in sentences)
    misses = 0
    while used + _SHORTEST_SENTENCE <= length and misses < _MOST_MISSES:
        sentence = writer.other()
        size = len(words(sentence))
        if used + size <= length:
            sentences.insert(rng.randint(0, len(sentences)), sentence)
            used += size
        else:
            misses += 1
    return unmarked(" ".join(sentences))
