"""Units as word pieces: the ids that a pretrained tokenizer gives, unit by unit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from attnaudit.data.records import Text, TextPair
from attnaudit.errors import DataError, ModelError

Span = tuple[int, int]
UNBOUNDED = 10**6
"""A tokenizer's longest text from which on it means that there is no bound."""


def reading(record: Text, apart: frozenset[int] = frozenset()) -> tuple[str, list[Span]]:
    """What a pretrained tokenizer is given of a record, and where each unit stands in it.

    The units as they are, with one space where the text has anything between two of them and none
    where it has not. That is the text itself, where units are words with single spaces between.

    Args:
        record: The record.
        apart: Numbers of units before which there is a space in any case.

    Raises:
        DataError: A unit is empty, or nothing but white space.

    Example:
        >>> from attnaudit.data.texts.tokens import text_record
        >>> reading(text_record("a", "Good   film, yes"))
        ('Good film, yes', [(0, 4), (5, 9), (9, 10), (11, 14)])
    """
    parts: list[str] = []
    spans: list[Span] = []
    length = 0
    for number, unit in enumerate(record.units):
        if not unit.strip():
            raise DataError(
                f"record {record.id!r}: unit {number} is {unit!r}, which is no word that a "
                "pretrained encoder can read; leave such units out of the data"
            )
        if number:
            gap = record.offsets[number][0] > record.offsets[number - 1][1]
            parts.append(" " if gap or number in apart else "")
            length += len(parts[-1])
        parts.append(unit)
        spans.append((length, length + len(unit)))
        length += len(unit)
    return "".join(parts), spans


class UnknownWordsWarning(UserWarning):
    """A model reads nothing of a text but its token for unknown words."""


class WordPieces:
    """A pretrained tokenizer, read unit by unit.

    The whole text is cut at once, so that a word in the middle of it gets the pieces that it has
    there, and each piece goes to the unit in which it stands. Where a piece would span two units
    (`!!!` as one piece of three marks), a space is put between them.

    Args:
        tokenizer: A fast tokenizer of the package `transformers`.
        name: What messages call it.

    Attributes:
        prefix: The ids that stand before every text, such as `[CLS]`.
        suffix: The ids that stand after it, such as `[SEP]`.
        mask: The id of the mask token, or None.
        most: How many pieces the tokenizer allows, or None.

    Raises:
        ModelError: The tokenizer is none that says where its pieces stand.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"{name}: its tokenizer ({type(tokenizer).__name__}) does not say where word "
                "pieces stand in the text; give a model with a tokenizer.json"
            )
        self.tokenizer, self.name = tokenizer, name
        whole = tokenizer("a", return_special_tokens_mask=True)
        special = list(whole["special_tokens_mask"])
        before = special.index(0)
        after = special[::-1].index(0)
        ids = list(whole["input_ids"])
        self.prefix = tuple(ids[:before])
        self.suffix = tuple(ids[len(ids) - after :])
        self.mask: int | None = tokenizer.mask_token_id
        most = tokenizer.model_max_length
        self.most = int(most) if most and most < UNBOUNDED else None
        self._warned = False

    def template(self, *, pair: bool) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The markers before, between and after one text or two.

        Example: `([CLS], (), [SEP])` for one text and `([CLS], [SEP], [SEP])` for two.
        """
        if not pair:
            return self.prefix, (), self.suffix
        whole = self.tokenizer("a", "a", return_special_tokens_mask=True)
        ids, special = list(whole["input_ids"]), list(whole["special_tokens_mask"])
        plain = [place for place, flag in enumerate(special) if not flag]
        # the two texts are runs of plain pieces with the markers between them
        gap = next((p for p in plain if special[p + 1 : p + 2] == [1]), plain[0])
        second = next(p for p in plain if p > gap)
        return tuple(ids[: plain[0]]), tuple(ids[gap + 1 : second]), tuple(ids[plain[-1] + 1 :])

    def __call__(self, records: Sequence[Text]) -> list[list[list[int]]]:
        """The ids of the pieces of each unit of each record, at least one a unit.

        A unit that the tokenizer makes nothing of (a lone accent) is its unknown token.

        Raises:
            DataError: A record has a question, or a unit that cannot be read.
            ModelError: A piece spans two units that have a space between them.
        """
        for record in records:
            if isinstance(record, TextPair):
                raise DataError(
                    f"record {record.id!r} has a question beside the text, which a pretrained "
                    "encoder does not read; train bilstm, cnn or average on such data"
                )
        apart: list[frozenset[int]] = [frozenset()] * len(records)
        pieces: list[list[list[int]]] = [[] for _ in records]
        rows = list(range(len(records)))
        while rows:
            rows = self._attempt(records, rows, apart, pieces)
        for record, found in zip(records, pieces, strict=True):
            self._fill(record, found)
        self._tell_of_unknown(records, pieces)
        return pieces

    def _tell_of_unknown(
        self, records: Sequence[Text], pieces: Sequence[Sequence[Sequence[int]]]
    ) -> None:
        """Say once that there are texts of which the tokenizer knows no word."""
        unknown = self.tokenizer.unk_token_id
        for record, found in zip(records, pieces, strict=True):
            ids = {id for unit in found for id in unit}
            if unknown is None or ids != {unknown} or self._warned:
                continue
            self._warned = True
            warnings.warn(
                f"{self.name} knows no word of record {record.id!r} ({record.text[:40]!r}) and "
                "perhaps of others: it reads every text of as many unknown words alike, so no "
                "word of such a text explains anything",
                UnknownWordsWarning,
                stacklevel=3,
            )

    def _attempt(
        self,
        records: Sequence[Text],
        rows: list[int],
        apart: list[frozenset[int]],
        pieces: list[list[list[int]]],
    ) -> list[int]:
        """Read `rows`; those are returned whose units need further spaces between them."""
        readings = [reading(records[row], apart[row]) for row in rows]
        cut = self.tokenizer(
            [text for text, _ in readings],
            add_special_tokens=False,
            return_offsets_mapping=True,
            # a text that holds "[MASK]" or "</s>" has these letters, not that token
            split_special_tokens=True,
            padding=False,
            truncation=False,
            verbose=False,
        )
        again = []
        for place, row in enumerate(rows):
            found, spanning = assigned(
                cut["input_ids"][place], cut["offset_mapping"][place], readings[place][1]
            )
            pieces[row] = found
            if not spanning:
                continue
            if spanning <= apart[row]:
                raise ModelError(
                    f"{self.name}: a word piece of record {records[row].id!r} spans two units "
                    "with a space between them; this tokenizer cannot be read word by word"
                )
            apart[row] |= spanning
            again.append(row)
        return again

    def _fill(self, record: Text, found: list[list[int]]) -> None:
        for number, ids in enumerate(found):
            if ids:
                continue
            if self.tokenizer.unk_token_id is None:
                raise DataError(
                    f"record {record.id!r}: the tokenizer of {self.name} makes nothing of unit "
                    f"{number}, {record.units[number]!r}, and has no unknown token; leave such "
                    "units out of the data"
                )
            ids.append(self.tokenizer.unk_token_id)


def assigned(
    ids: Sequence[int], places: Sequence[Span], spans: Sequence[Span]
) -> tuple[list[list[int]], frozenset[int]]:
    """Each piece to the unit in which it stands; white space goes to the unit that follows.

    Args:
        ids: The pieces.
        places: Where they stand in the text.
        spans: Where the units stand.

    Returns:
        The pieces of each unit, and the units before which a piece must be cut.

    Example:
        >>> assigned([7, 8, 9], [(0, 2), (2, 4), (4, 9)], [(0, 4), (5, 9)])
        ([[7, 8], [9]], frozenset())
    """
    found: list[list[int]] = [[] for _ in spans]
    spanning: set[int] = set()
    if not spans:
        return found, frozenset()
    unit = 0
    for piece, (start, end) in zip(ids, places, strict=True):
        while unit < len(spans) - 1 and spans[unit][1] <= start:
            unit += 1
        found[unit].append(piece)
        last = unit
        while last < len(spans) - 1 and spans[last + 1][0] < end:
            last += 1
            spanning.add(last)
    return found, frozenset(spanning)
