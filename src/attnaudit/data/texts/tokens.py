"""Tokenizers: a text cut into units, each with the place where it stands."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence

from attnaudit.data.records import Text, TextPair
from attnaudit.errors import DataError, SettingsError

Span = tuple[int, int]
Tokenizer = Callable[[str], list[Span]]

# Scripts written without spaces in which one sign is about one word or syllable.
_SIGNS = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Apostrophes, hyphens, the Catalan dot and the Hebrew marks may stand inside a word.
_INNER = r"'’_\-\u2010\u2011\u00b7\u05f3\u05f4"
_SKIN_TONES = "\U0001f3fb-\U0001f3ff"
_FLAG_LETTERS = "\U0001f1e6-\U0001f1ff"
# What the full pattern comes to where a text is plain ASCII, at half the time.
_ASCII_WORDS = re.compile(r"[A-Za-z0-9]++(?:(?:['_-]|(?<=\d)[.,:](?=\d))[A-Za-z0-9]++)*+|\S")


def whitespace(text: str) -> list[Span]:
    """Units are what whitespace separates: for text that is already tokenised.

    Example:
        >>> whitespace("It 's fine .")
        [(0, 2), (3, 5), (6, 10), (11, 12)]
    """
    return [match.span() for match in re.finditer(r"\S+", text)]


def words(text: str) -> list[Span]:
    """Units are words, numbers and single marks; nothing but whitespace is left out.

    Apostrophes and hyphens inside a word belong to it, and so do `.`, `,` and `:` between two
    digits. Combining marks, emoji sequences and flags are never torn apart. Chinese characters
    and hiragana are one unit each; Thai, Lao and Khmer, which need a dictionary, are cut at
    spaces only. Nothing is normalised or reordered.

    Example:
        >>> text = "Don't pay $3.50, it's well-made!"
        >>> [text[start:end] for start, end in words(text)]
        ["Don't", 'pay', '$', '3.50', ',', "it's", 'well-made', '!']
    """
    pattern = _ASCII_WORDS if text.isascii() else _word_pattern()
    return [match.span() for match in pattern.finditer(text)]


TOKENIZERS: dict[str, Tokenizer] = {"words": words, "whitespace": whitespace}


def find_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of that name.

    Raises:
        SettingsError: There is none.
    """
    try:
        return TOKENIZERS[name]
    except KeyError:
        known = ", ".join(TOKENIZERS)
        raise SettingsError(f"unknown tokenizer {name!r}: choose one of {known}") from None


def text_record(
    id: str,
    text: str,
    label: int | None = None,
    truth: Sequence[bool] | None = None,
    tokenizer: str = "words",
) -> Text:
    """A text as a record, cut into units.

    Args:
        id: Unique within its data set.
        text: The text as it came.
        label: Index into the classes, or None where unknown.
        truth: One bool per unit, or None where unknown.
        tokenizer: A name in `TOKENIZERS`.

    Raises:
        DataError: `truth` has another length than there are units.
        SettingsError: Unknown tokenizer.

    Example:
        >>> text_record("a", "Never boring.").units
        ('Never', 'boring', '.')
    """
    return cut_record(id, text, find_tokenizer(tokenizer)(text), label, truth)


def pair_record(
    id: str,
    text: str,
    question: str,
    label: int | None = None,
    truth: Sequence[bool] | None = None,
    allowed: Sequence[int] | None = None,
    tokenizer: str = "words",
) -> TextPair:
    """A text and a question that is read beside it, as a record.

    Args:
        id: Unique within its data set.
        text: What is attended over: a passage, a premise.
        question: What is read beside it: a question, a hypothesis.
        label: Index into the classes, or None where unknown.
        truth: One bool per unit of `text`, or None where unknown.
        allowed: Indices of the classes that may be the answer; None for all.
        tokenizer: A name in `TOKENIZERS`, for both texts.

    Raises:
        DataError: `truth` has another length than there are units.
        SettingsError: Unknown tokenizer.

    Example:
        >>> pair_record("a", "Mary went home.", "Where is Mary?").question_units
        ('Where', 'is', 'Mary', '?')
    """
    record = text_record(id, text, label, truth, tokenizer)
    places = find_tokenizer(tokenizer)(question)
    units = [question[start:end] for start, end in places]
    return as_pair(record, question, units, allowed)


def as_pair(
    record: Text, question: str, units: Sequence[str], allowed: Sequence[int] | None = None
) -> TextPair:
    """A record with a question beside it, given with its units."""
    return TextPair(
        id=record.id,
        text=record.text,
        units=record.units,
        offsets=record.offsets,
        label=record.label,
        truth=record.truth,
        question=question,
        question_units=tuple([sys.intern(unit) for unit in units]),
        allowed=None if allowed is None else tuple(allowed),
    )


def cut_record(
    id: str,
    text: str,
    offsets: Sequence[Span],
    label: int | None = None,
    truth: Sequence[bool] | None = None,
    units: Sequence[str] | None = None,
) -> Text:
    """A text as a record, with the places of its units given.

    `units` says how a model reads them, where that is not as they stand in the text (lower case).

    Raises:
        DataError: `truth` has another length than there are units.
    """
    if truth is not None and len(truth) != len(offsets):
        raise DataError(
            f"record {id!r} has {len(offsets)} units and {len(truth)} truth values: "
            "give one per unit"
        )
    if units is None:
        units = [text[start:end] for start, end in offsets]
    return Text(
        id=id,
        text=text,
        # Interned: a corpus holds few different words, so this saves a quarter of its memory.
        units=tuple([sys.intern(unit) for unit in units]),
        offsets=tuple(offsets),
        label=label,
        truth=None if truth is None else tuple(bool(value) for value in truth),
    )


def join_units(units: Sequence[str]) -> tuple[str, list[Span]]:
    """Given units as one text, joined by single spaces, and where each of them stands.

    Example:
        >>> join_units(["New York", "!"])
        ('New York !', [(0, 8), (9, 10)])
    """
    offsets, start = [], 0
    for unit in units:
        offsets.append((start, start + len(unit)))
        start += len(unit) + 1
    return " ".join(units), offsets


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    """The pattern of `words`; made on first use, because it looks through Unicode."""
    attached = _ranges(_attached_characters())
    letters = rf"[^\W_{_SIGNS}]"
    run = rf"{letters}++(?:[{attached}]++{letters}*+)*+"
    keycap = "[0-9#*]\ufe0f?\u20e3"
    word = rf"{run}(?:(?:[{_INNER}]|(?<=\d)[.,:](?=\d)){run})*+"
    sign = rf"[{_SIGNS}][{attached}]*+"
    flag = rf"[{_FLAG_LETTERS}]{{2}}[{attached}]*+"
    # A zero-width joiner (U+200D) glues the next symbol on: families, professions, flags.
    mark = rf"(?:[^\w\s]|_)(?:[{attached}{_SKIN_TONES}]|(?<=\u200d)[^\w\s])*+"
    return re.compile("|".join((keycap, word, sign, flag, mark)))


def _attached_characters() -> list[int]:
    """Code points that belong to the character before them: marks and format characters."""
    # Beyond these two areas Unicode has assigned no mark and no format character.
    codes = (*range(0x20000), *range(0xE0000, 0xE0200))
    return [code for code in codes if unicodedata.category(chr(code)) in {"Mn", "Mc", "Me", "Cf"}]


def _ranges(codes: Sequence[int]) -> str:
    """Sorted code points as the inside of a character class."""
    parts: list[list[int]] = []
    for code in codes:
        if parts and code == parts[-1][1] + 1:
            parts[-1][1] = code
        else:
            parts.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in parts)
