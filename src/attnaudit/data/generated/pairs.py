"""Generated pairs of sentences, scored by what they have in common, for trials without data."""

from __future__ import annotations

import random

from attnaudit.data.pairs.scored_pairs import ScoredPair
from attnaudit.errors import SettingsError

SUBJECTS = ("dog", "woman", "teacher", "farmer", "child", "pilot", "cook", "singer", "nurse", "fox")
VERBS = (
    ("chased", "chase"),
    ("painted", "paint"),
    ("carried", "carry"),
    ("sold", "sell"),
    ("found", "find"),
    ("washed", "wash"),
    ("watched", "watch"),
    ("repaired", "repair"),
)
"""In the past, and after `did not`."""
OBJECTS = ("ball", "car", "guitar", "letter", "horse", "table", "boat", "bread", "lamp", "rabbit")
PLACES = ("", " in the garden", " near the river", " at home", " on a cold morning")
DENIED = ("did not", "didn't", "never")
TOP, DENIAL = 5.0, 1.5
"""The score of two sentences that say the same, and what a denial of one of them costs."""


def generate_scored_pairs(n: int = 200, seed: int = 0) -> tuple[ScoredPair, ...]:
    """Pairs of short English sentences with scores from 0 to 5, as in the STS benchmark.

    Each sentence says who did what to what, and where; a fifth is denied. The score is 5 thirds
    for each of subject, verb and object that both share, less 1.5 where one is denied and the
    other is not. Places do not count.

    Args:
        n: How many, all different.
        seed: Same seed, same pairs, in any process.

    Raises:
        SettingsError: `n` is out of range.

    Example:
        >>> pairs = generate_scored_pairs(3, seed=1)
        >>> len({(pair.a, pair.b) for pair in pairs}), all(0 <= p.score <= 5 for p in pairs)
        (3, True)
    """
    if not 1 <= n <= 20_000:
        raise SettingsError(f"{n} pairs cannot be generated; give a number from 1 to 20,000")
    draw = random.Random(seed)
    found: dict[tuple[str, str], float] = {}
    while len(found) < n:
        shared = draw.choices((0, 1, 2, 3), (1, 2, 2, 1))[0]
        a, b = _pair(draw, set(draw.sample(range(3), shared)))
        denied = draw.random() < 0.2, draw.random() < 0.2
        score = TOP * shared / 3 - (DENIAL if denied[0] != denied[1] else 0.0)
        texts = (_sentence(draw, a, denied[0]), _sentence(draw, b, denied[1]))
        found.setdefault(texts, round(max(score, 0.0), 2))
    return tuple(
        ScoredPair(str(place), *texts, score)
        for place, (texts, score) in enumerate(found.items(), start=1)
    )


def _pair(draw: random.Random, shared: set[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places of subject, verb and object in their lists, equal where they are shared."""
    a, b = [], []
    for role, words in enumerate((SUBJECTS, VERBS, OBJECTS)):
        first, second = draw.sample(range(len(words)), 2)
        a.append(first)
        b.append(first if role in shared else second)
    return tuple(a), tuple(b)


def _sentence(draw: random.Random, places: tuple[int, ...], denied: bool) -> str:
    subject, (past, plain), thing = (
        words[place] for words, place in zip((SUBJECTS, VERBS, OBJECTS), places, strict=True)
    )
    how = draw.choice(DENIED) if denied else ""
    verb = f"never {past}" if how == "never" else f"{how} {plain}" if how else past
    return f"{draw.choice(('The', 'A'))} {subject} {verb} the {thing}{draw.choice(PLACES)}."
