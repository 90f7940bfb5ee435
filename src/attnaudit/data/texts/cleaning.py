"""Cleaners: a text cut into the units that a model reads, each with the place where it stands.

They do what the preprocessing of "Attention is not Explanation" does to each of its data sets, in
words of our own; every unit keeps its place in the original text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from attnaudit.data.named.english import english
from attnaudit.data.texts.tokens import Span, whitespace
from attnaudit.errors import SettingsError

Cleaned = tuple[list[Span], list[str]]
Cleaner = Callable[[str], Cleaned]

DIGITS = "qqq"
"""What every unit that holds a digit is read as."""
HIDDEN = "<DE>"
"""What the gaps of de-identified clinical notes are read as: `[** … **]`."""

_GAP_START = re.compile(r"\[\s*\*\s*\*")
_GAP_END = re.compile(r"\*\s*\*\s*\]")
_BRACKETS = re.compile(r"-[LR]RB-")
# What the tokenizer of Keras, with which the published IMDB ids were made, takes for blanks.
_KERAS_WORD = re.compile(r"[^!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~\s]+")


def general(text: str) -> Cleaned:
    """English units in lower case, and `qqq` for each that holds a digit.

    Example:
        >>> general("Won't pay $20!")[1]
        ['wo', "n't", 'pay', '$', 'qqq', '!']
    """
    places = english(text)
    return places, [_masked(text[start:end].lower()) for start, end in places]


def sst(text: str) -> Cleaned:
    """Words in lower case, without marks and bracket tokens; digits stay.

    Example:
        >>> sst("It 's a 90-minute -LRB- non -RRB- film .")[1]
        ['it', 's', 'a', '90', 'minute', 'non', 'film']
    """
    words = _BRACKETS.sub(lambda match: " " * len(match[0]), text)
    places = english(re.sub(r"\W", " ", words))
    return places, [text[start:end].lower() for start, end in places]


def newsgroups(text: str) -> Cleaned:
    """`general`, then of each run of marks and blanks the last sign only, unless it is a blank.

    So marks vanish, except where they are glued to the word that follows.

    Example:
        >>> newsgroups("That's it, folks - really.")[1]
        ['that', "'", 's', 'it', 'folks', 'really', '.']
    """
    places, units = general(text)
    joined = " ".join(units)
    signs: list[Span] = []
    for (start, end), unit in zip(places, units, strict=True):
        whole = unit == DIGITS or len(unit) != end - start
        signs.extend(
            (start, end) if whole else (start + k, start + k + 1) for k in range(len(unit))
        )
        # The blank that joins this unit to the next.
        signs.append((end, end))
    found = []
    for match in re.finditer(r"\w+|\W+", joined):
        low, high = match.span()
        if not joined[low].isalnum() and joined[low] != "_":
            low = high - 1
        if not joined[low].isspace():
            found.append((low, high))
    cut = [(signs[low][0], signs[high - 1][1]) for low, high in found]
    return cut, [joined[low:high] for low, high in found]


def notes(text: str) -> Cleaned:
    """`general` for de-identified clinical notes: gaps are `<DE>`, repeated marks count once.

    Example:
        >>> notes("Seen [**2101-3-4**] by Dr. [**Last Name**] ----- BP 120 * * *")[1]
        ['seen', '<DE>', 'by', 'dr.', '<DE>', '-', 'bp', 'qqq', '*']
    """
    places: list[Span] = []
    units: list[str] = []
    for (start, end), unit in _pieces(text):
        mark = unit[0] if not unit[0].isalnum() and unit == unit[0] * len(unit) else ""
        if mark and units and units[-1] == mark:
            places[-1] = (places[-1][0], end)
            continue
        places.append((start, end))
        units.append(mark or _masked(unit))
    return places, units


def keras(text: str) -> Cleaned:
    """Words in lower case between the signs that the tokenizer of Keras takes for blanks.

    Line breaks of HTML leave their name, `br`, as they do in the published IMDB ids.

    Example:
        >>> keras("It's 1/2 bad.<br />Sad!")[1]
        ["it's", '1', '2', 'bad', 'br', 'sad']
    """
    places = [match.span() for match in _KERAS_WORD.finditer(text)]
    return places, [text[start:end].lower() for start, end in places]


def as_shipped(text: str) -> Cleaned:
    """What whitespace separates, unchanged."""
    places = whitespace(text)
    return places, [text[start:end] for start, end in places]


CLEANERS: dict[str, Cleaner] = {
    "general": general,
    "sst": sst,
    "newsgroups": newsgroups,
    "notes": notes,
    "keras": keras,
    "as_shipped": as_shipped,
}


def find_cleaner(name: str) -> Cleaner:
    """The cleaner of that name.

    Raises:
        SettingsError: There is none.
    """
    try:
        return CLEANERS[name]
    except KeyError:
        known = ", ".join(CLEANERS)
        raise SettingsError(f"unknown cleaner {name!r}: choose one of {known}") from None


def _masked(unit: str) -> str:
    return DIGITS if any(sign.isdigit() for sign in unit) else unit


def _pieces(text: str) -> Iterator[tuple[Span, str]]:
    """The units between the gaps of a note, in lower case, and the gaps themselves."""
    start = 0
    for low, high in [*_gaps(text), (len(text), len(text))]:
        for left, right in english(text[start:low]):
            yield (start + left, start + right), text[start + left : start + right].lower()
        if low < high:
            yield (low, high), HIDDEN
        start = high


def _gaps(text: str) -> Iterator[Span]:
    """Where the gaps of a note stand, in one pass: without an end ahead, no later gap has one."""
    place = 0
    while (opened := _GAP_START.search(text, place)) and (
        closed := _GAP_END.search(text, opened.end())
    ):
        place = closed.end()
        yield opened.start(), place
