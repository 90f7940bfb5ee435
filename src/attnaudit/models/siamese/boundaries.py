"""Where the words of a text begin and end."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

from attnaudit.models.siamese.tokens import Span

JOINERS = frozenset("'’-‐‑·.")
"""Between two letters or digits, these belong to the word: don't, state-of-the-art, U.S, 3.14."""
DIGIT_JOINERS = frozenset(",:/")
"""Between two digits as well: 1,000, 12:30, 3/4."""
ZERO_WIDTH_JOINER, ZERO_WIDTH_SPACE = "\u200d", "\u200b"
UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),  # Thai, Lao; Myanmar; Khmer
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3041, 0x309F),  # radicals; marks; Hiragana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),  # Han
)
"""Scripts that set no spaces between words: each letter counts as a word of its own."""


def word_spans(text: str) -> tuple[Span, ...]:
    """The words of a text, by the rules of Unicode where these need no dictionary.

    Close to the default word boundaries of Unicode Standard Annex 29, with two differences: a
    hyphen between letters joins them, and whitespace is no word. A punctuation mark or symbol is a
    word of its own. Han, Hiragana, Thai, Lao, Khmer and Myanmar letters stand alone, as finding
    their words needs a dictionary: there, a token that covers several of them is the word.

    Args:
        text: Any text.

    Returns:
        Spans `(start, end)` in order, without whitespace.

    Example:
        >>> text = "It isn't state-of-the-art: 1,000 U.S. users 👍🏽"
        >>> [text[start:end] for start, end in word_spans(text)]
        ['It', "isn't", 'state-of-the-art', ':', '1,000', 'U.S', '.', 'users', '👍🏽']
    """
    starts = [i for i in range(len(text)) if not _blank(text[i]) and not _continues(text, i)]
    spans = []
    for start, following in pairwise([*starts, len(text)]):
        end = start + 1
        while end < following and not _blank(text[end]):
            end += 1
        spans.append((start, end))
    return tuple(spans)


def past_marks(text: str, end: int) -> int:
    """The end of the character that ends there, with the marks that belong to it.

    Example:
        >>> past_marks("cafe\u0301 noir", 4)
        5
    """
    while 0 < end < len(text) and _extends(text[end]):
        end += 1
    return end


def _continues(text: str, i: int) -> bool:
    """Whether the character belongs to the word of the one before it."""
    if i == 0 or _blank(text[i - 1]):
        return False
    char, before = text[i], text[i - 1]
    if _extends(char):
        return True
    base = _base(text, i - 1)
    if before == ZERO_WIDTH_JOINER and not _letter(text[base]):
        return True  # a picture made of several, as a family is
    if _flag(char):
        flags = 0
        while flags < i and _flag(text[i - 1 - flags]):
            flags += 1
        return flags % 2 == 1
    if _letter(char):
        return _letter(text[base]) or (_joins(text, base) and base > 0)
    return _joins(text, i)


def _joins(text: str, i: int) -> bool:
    """Whether the mark at i stands between two letters or digits that it joins."""
    if not 0 < i < len(text) - 1 or text[i] not in JOINERS | DIGIT_JOINERS:
        return False
    before, after = text[_base(text, i - 1)], text[i + 1]
    if text[i] in DIGIT_JOINERS:
        return before.isdigit() and after.isdigit()
    return _letter(before) and _letter(after)


def _base(text: str, i: int) -> int:
    """The character that the marks at and before i belong to."""
    while i > 0 and _extends(text[i]) and not _blank(text[i - 1]):
        i -= 1
    return i


def _blank(char: str) -> bool:
    return char.isspace() or char == ZERO_WIDTH_SPACE


def _extends(char: str) -> bool:
    # marks, joiners and soft hyphens; skin tones of emoji
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf") or "🏻" <= char <= "🏿"


def _flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _letter(char: str) -> bool:
    """Letters and digits of scripts with spaces, and what connects them, as `_` does."""
    if any(first <= ord(char) <= last for first, last in UNSPACED):
        return False
    return char.isalnum() or unicodedata.category(char) == "Pc"
