"""Sentences for generated bags, and their features: counts of the words of a fixed vocabulary."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from attnaudit.data.generated import phrases
from attnaudit.data.generated.opinions import ADJECTIVES, NEGATIVE, POSITIVE
from attnaudit.data.generated.polarity import SIDES
from attnaudit.data.generated.tasks import fact
from attnaudit.data.texts.tokens import words

KINDS = ("praise", "blame", "price")
"""What key sentences do, by key type."""

_PRICES = ("three", "four", "six", "seven", "nine", "twelve", "twenty", "thirty")
_FRAMES = (
    "The {side} was {word}.",
    "I found the {side} {word}.",
    "They say that the {side} is {word}.",
)
_PRICE = ("The {side} cost {word} euros.", "We paid {word} euros for the {side}.")
_SLOT = re.compile(r"\{[^}]*\}")


def write_sentences(rng: np.random.Generator, kinds: Sequence[int]) -> tuple[str, ...]:
    """One sentence for each kind: 0 for none, 1 … for those of `KINDS`.

    Ordinary sentences speak of the same things, in the same frames, with a colour in the place of
    an opinion, or state some fact.

    Example:
        >>> write_sentences(np.random.default_rng(1), [0, 2])
        ('They say that the cellar is red.', 'The lobby was dismal.')
    """
    draw = random.Random(int(rng.integers(2**62)))
    return tuple(_sentence(draw, kind) for kind in kinds)


def count_words(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """How often each word of `VOCABULARY` occurs: `(n, words)` float32; other words are ignored.

    Example:
        >>> counts = count_words(["The soup was red, the bread was white."])
        >>> int(counts.sum()), int(counts[0, VOCABULARY.index("the")])
        (8, 2)
    """
    counts = np.zeros((len(texts), len(VOCABULARY)), np.float32)
    for row, text in enumerate(texts):
        for word in _words(text):
            if word in _PLACES:
                counts[row, _PLACES[word]] += 1
    return counts


def _sentence(draw: random.Random, kind: int) -> str:
    side = draw.choice(SIDES)
    if kind == 3:
        return draw.choice(_PRICE).format(side=side, word=draw.choice(_PRICES))
    if kind == 0 and draw.random() < 0.5:
        return fact(draw)
    choices = phrases.COLOURS
    if kind:
        choices = ADJECTIVES.common(POSITIVE if kind == 1 else NEGATIVE)
    return draw.choice(_FRAMES).format(side=side, word=draw.choice(choices))


def _words(text: str) -> Iterable[str]:
    units = (text[start:end].lower() for start, end in words(text))
    return (unit for unit in units if unit[0].isalnum())


def _vocabulary() -> tuple[str, ...]:
    """All words that can occur, in alphabetical order."""
    frames = [_SLOT.sub(" ", text) for text in (*phrases.FACTS, *_FRAMES, *_PRICE)]
    fillings = (
        *phrases.PERSONS,
        *phrases.PLACES,
        *phrases.MONTHS,
        *phrases.DAYS,
        *phrases.COLOURS,
        *(relative for relative, _ in phrases.RELATIVES),
        *SIDES,
        *_PRICES,
        *ADJECTIVES.common(POSITIVE),
        *ADJECTIVES.common(NEGATIVE),
    )
    return tuple(sorted({word for text in (*frames, *fillings) for word in _words(text)}))


VOCABULARY = _vocabulary()
_PLACES = {word: place for place, word in enumerate(VOCABULARY)}
