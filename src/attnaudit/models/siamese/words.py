"""Tokens merged to words and phrases: the table of a pair, with its blocks summed."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch

from attnaudit.errors import DataError
from attnaudit.models.siamese.boundaries import word_spans
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Span, Tokens

Special = Literal["alone", "together"]
SPECIAL, PROMPT = "[special]", "[prompt]"
BLANKS = frozenset("▁Ġ Ċ")
"""What tokenizers write for whitespace."""


@dataclass(frozen=True)
class Words(Tokens):
    """Tokens merged to groups: what stands in `ids` is the id of each group's first token.

    Attributes:
        members: For each group, the positions of its tokens among those it was made of; every
            token belongs to one group.
    """

    members: tuple[tuple[int, ...], ...] = ()


def words_of(
    tokens: Tokens, phrases: Sequence[str | Span] = (), *, special: Special = "alone"
) -> Words:
    """The words of a text, each with its tokens.

    Tokens that overlap the same word (`word_spans`) are one group, with the span of all of them in
    the original text, and with the marks that the tokenizer drops (`मैं`, a decomposed `phở`). A
    token that stands for whitespace alone goes with the next word, at the end with the last.

    Args:
        tokens: Of one text.
        phrases: Stretches of the text that become one group each, as spans or as strings: of a
            string, every occurrence, whatever its case, as whole words if it stands so in the
            text. Words that a phrase cuts through are taken whole.
        special: Tokens that stand for no text: each `alone`, or `together` as one group
            `[special]`, and those of a prompt as `[prompt]`.

    Raises:
        DataError: A phrase is not in the text or beyond what the model reads, or two overlap.

    Example:
        >>> tokens = Tokens("A guitarist", (1, 7, 9, 8, 2), ("[CLS]", "a", "guitar", "##ist",
        ...     "[SEP]"), ((0, 0), (0, 1), (2, 8), (8, 11), (0, 0)), (True, *[False] * 3, True))
        >>> words_of(tokens).shown
        ('[CLS]', 'A', 'guitarist', '[SEP]')
        >>> words_of(tokens, ["a guitarist"], special="together").members
        ((0, 4), (1, 2, 3))
    """
    spans = word_spans(tokens.text)
    covered = [_covered(spans, span) for span in tokens.offsets]
    joined = _joined(covered, _phrases(tokens, spans, phrases))
    groups: dict[object, list[int]] = {}
    waiting: list[int] = []
    last: object = None
    for i, words in enumerate(covered):
        if _blank(tokens, i):
            waiting.append(i)
            continue
        if words and not tokens.special[i]:
            last = joined[words[0]]
            groups.setdefault(last, []).extend((*waiting, i))
        else:
            _left_over(groups, last, waiting)
            name = SPECIAL if tokens.special[i] else PROMPT
            groups.setdefault(name if special == "together" else (i,), []).append(i)
        waiting = []
    _left_over(groups, last, waiting)
    found = sorted(groups.items(), key=lambda item: item[1][0])
    names = [key if isinstance(key, str) else None for key, _ in found]
    made = grouped(tokens, [members for _, members in found], names)
    end = _end_of_reading(tokens)
    return replace(made, offsets=tuple(_whole(span, spans, end) for span in made.offsets))


def _left_over(groups: dict[object, list[int]], last: object, waiting: list[int]) -> None:
    """Whitespace with no word after it goes with the word before, if there is one."""
    if last is not None:
        groups[last].extend(waiting)
    else:
        groups |= {(i,): [i] for i in waiting}


def _end_of_reading(tokens: Tokens) -> int:
    """Where the text ends for the model."""
    return len(tokens.text.rstrip()) - len(tokens.cut) if tokens.cut else len(tokens.text)


def _whole(span: Span, words: Sequence[Span], end: int) -> Span:
    """The span with all of the words that it touches, up to where the model stops reading."""
    covered = _covered(words, span)
    if not covered:
        return span
    first, last = words[covered[0]], words[covered[-1]]
    return min(span[0], first[0]), max(span[1], min(last[1], end))


def grouped(
    tokens: Tokens, members: Sequence[Sequence[int]], names: Sequence[str | None] | None = None
) -> Words:
    """Any grouping of tokens.

    Args:
        tokens: Of one text.
        members: The positions of each group's tokens; every token in exactly one group.
        names: What a group is called that is no stretch of the text; None for those that are.

    Raises:
        DataError: A token is in no group or in two.
    """
    if sorted(i for group in members for i in group) != list(range(len(tokens))):
        raise DataError(
            f"the groups do not hold each of the {len(tokens)} tokens once; give every position "
            "from 0 on in exactly one group"
        )
    called = names if names is not None else [None] * len(members)
    offsets = [
        _span(tokens, group) if name is None else (0, 0)
        for group, name in zip(members, called, strict=True)
    ]
    return Words(
        text=tokens.text,
        ids=tuple(tokens.ids[group[0]] for group in members),
        pieces=tuple(
            name or (tokens.text[start:end] if end > start else tokens.pieces[group[0]])
            for group, name, (start, end) in zip(members, called, offsets, strict=True)
        ),
        offsets=tuple(offsets),
        special=tuple(all(tokens.special[i] for i in group) for group in members),
        cut=tokens.cut,
        role=tokens.role,
        unknown=tokens.unknown,
        members=tuple(tuple(group) for group in members),
    )


def merged(table: PairTable, a: Words | None = None, b: Words | None = None) -> PairTable:
    """The table with the blocks of each two groups summed, so that it adds up as before.

    The authors' code shows the mean of a block instead, which no longer adds up to the score and
    makes a word of many pieces look weak.

    Args:
        table: Of a pair.
        a: Groups of the first text's tokens; as they are by default.
        b: Groups of the second text's tokens.

    Returns:
        A table `(groups of a + 1, groups of b + 1)` whose `a` and `b` are the groups.

    Raises:
        DataError: The groups are of other tokens than those of the table.
    """
    values = table.values
    for axis, (tokens, words) in enumerate(((table.a, a), (table.b, b))):
        if words is None:
            continue
        if words.text != tokens.text or sum(map(len, words.members)) != len(tokens):
            raise DataError(
                f"the groups of the {'first' if axis == 0 else 'second'} text are not made of the "
                f"{len(tokens)} tokens of the table; make them with words_of(table."
                f"{'a' if axis == 0 else 'b'})"
            )
        place = torch.empty(len(tokens) + 1, dtype=torch.long)
        for index, group in enumerate((*words.members, (len(tokens),))):
            place[list(group)] = index
        shape = list(values.shape)
        shape[axis] = len(words) + 1
        empty = torch.zeros(shape, dtype=values.dtype, device=values.device)
        values = empty.index_add(axis, place.to(values.device), values)
    return replace(table, a=a or table.a, b=b or table.b, values=values)


def by_words(
    table: PairTable,
    phrases_a: Sequence[str | Span] = (),
    phrases_b: Sequence[str | Span] = (),
    *,
    special: Special = "alone",
) -> PairTable:
    """The table of a pair between words and phrases (`words_of`, `merged`)."""
    return merged(
        table,
        words_of(table.a, phrases_a, special=special),
        words_of(table.b, phrases_b, special=special),
    )


def gathered(table: PairTable, most: int) -> PairTable:
    """The strongest rows and columns of a long table, and all others summed into one.

    Strong is whose entries have the largest sum of magnitudes; the order of the text stays.

    Args:
        table: Of a pair.
        most: How many tokens or words of each text stay themselves, at least 1.
    """
    sizes = table.values.abs()
    return merged(
        table,
        _strongest(table.a, sizes[:-1].sum(1).tolist(), most),
        _strongest(table.b, sizes[:, :-1].sum(0).tolist(), most),
    )


def _strongest(tokens: Tokens, sizes: Sequence[float], most: int) -> Words | None:
    if len(tokens) <= most + 1:  # one row for the others would save nothing
        return None
    order = sorted(range(len(tokens)), key=lambda i: -sizes[i])
    kept, others = sorted(order[:most]), sorted(order[most:])
    names = [
        None if tokens.offsets[i][1] > tokens.offsets[i][0] else tokens.pieces[i] for i in kept
    ]
    return grouped(tokens, [*((i,) for i in kept), others], [*names, f"[{len(others)} others]"])


def _covered(spans: Sequence[Span], span: Span) -> range:
    """Which words a span touches; none where it holds nothing but whitespace."""
    start, end = span
    if end <= start:
        return range(0)
    first = bisect_right(spans, start, key=lambda word: word[1])
    return range(first, max(first, bisect_left(spans, end, key=lambda word: word[0])))


def _joined(covered: Iterable[range], phrases: Iterable[range]) -> dict[int, int]:
    """For each word the first one of its group: words that one token or phrase covers are one."""
    root: dict[int, int] = {}

    def find(word: int) -> int:
        while root.setdefault(word, word) != word:
            word = root[word]
        return word

    for words in (*covered, *phrases):
        for word in words:
            first, other = sorted((find(words[0]), find(word)))
            root[other] = first
    return {word: find(word) for word in list(root)}


def _found(tokens: Tokens, phrases: Sequence[str | Span]) -> list[Span]:
    text, found = tokens.text, []
    for phrase in phrases:
        if not isinstance(phrase, str):
            start, end = phrase
            if not 0 <= start < end <= len(text):
                raise DataError(
                    f"the phrase ({start}, {end}) is no stretch of the text, which has "
                    f"{len(text)} characters; give a start and a larger end within it"
                )
            found.append((start, end))
            continue
        exact = re.escape(phrase.strip())
        whole = rf"(?<!\w){exact}(?!\w)"
        spans = [m.span() for m in re.finditer(whole, text, re.IGNORECASE)] if exact else []
        if not spans and exact:
            spans = [m.span() for m in re.finditer(exact, text, re.IGNORECASE)]
        if not spans:
            raise DataError(f"the phrase {phrase!r} is not in the text {_start(text)!r}")
        found += spans
    return sorted(set(found))


def _phrases(tokens: Tokens, spans: Sequence[Span], phrases: Sequence[str | Span]) -> list[range]:
    """Which words each phrase holds, in the order of the text."""
    ranges = []
    for start, end in _found(tokens, phrases):
        phrase = tokens.text[start:end]
        if not any(max(start, first) < min(end, last) for first, last in tokens.offsets):
            raise DataError(
                f"the phrase {phrase!r} has no token: it lies beyond what the model reads of the "
                "text, or is nothing but whitespace; leave it out"
            )
        ranges.append(_covered(spans, (start, end)))
    for one, other in pairwise(sorted(ranges, key=lambda words: words.start)):
        if other.start < one.stop:
            shared = tokens.text[slice(*spans[other.start])]
            raise DataError(f"two phrases share the word {shared!r}; leave one of them out")
    return ranges


def _blank(tokens: Tokens, i: int) -> bool:
    if tokens.special[i]:
        return False
    start, end = tokens.offsets[i]
    covers = tokens.text[start:end] if end > start else tokens.pieces[i]
    return not set(covers.strip()) - BLANKS


def _span(tokens: Tokens, group: Sequence[int]) -> Span:
    """The stretch of text that the tokens cover, without whitespace at its ends."""
    spans = [tokens.offsets[i] for i in group if tokens.offsets[i][1] > tokens.offsets[i][0]]
    if not spans:
        return (0, 0)
    start, end = min(s for s, _ in spans), max(e for _, e in spans)
    covered = tokens.text[start:end]
    trimmed = covered.strip()
    if not trimmed:
        return (start, end)
    start += len(covered) - len(covered.lstrip())
    return (start, start + len(trimmed))


def _start(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
