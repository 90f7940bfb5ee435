"""Records as a transformer reads them: words of pieces between markers, and what is asked.

A position holds up to `P` pieces. What a piece is besides its id travels in the id, so that
nothing is lost when words are deleted: the second text of a pair, and the word that is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attnaudit.data.records import Text, TextAt, TextPair
from attnaudit.errors import DataError
from attnaudit.nets.pretrained.frozen import NONE
from attnaudit.nets.pretrained.words import Span, WordPieces

SECOND, ASKED = 1, 2
"""Marks of a piece: of the second text, and of the word that is asked about."""


@dataclass(frozen=True)
class Layout:
    """Pieces side by side as the transformer takes them.

    Attributes:
        ids: `(B, T)`, ids of pieces; 0 where there is none.
        types: `(B, T)`, 1 in the second text.
        real: `(B, T)`, where there is a piece.
        order: `(B, T)`, the place of each piece among `L * P`.
        owner: `(B, T)`, the position of each piece.
        asked: `(B,)`, the first piece of the word that is asked about; 0 without one.
    """

    ids: Int[Tensor, "B T"]
    types: Int[Tensor, "B T"]
    real: Bool[Tensor, "B T"]
    order: Int[Tensor, "B T"]
    owner: Int[Tensor, "B T"]
    asked: Int[Tensor, " B"]

    @property
    def last(self) -> Int[Tensor, " B"]:
        """The last piece of each instance."""
        return (self.real.sum(1) - 1).clamp(min=0)

    def of_pieces(self, values: Tensor) -> Tensor:
        """What stands at `(B, L, P, ...)`, piece by piece: `(B, T, ...)`."""
        flat = values.flatten(1, 2)
        index = self.order.view(*self.order.shape, *[1] * (flat.dim() - 2))
        return flat.gather(1, index.expand(-1, -1, *flat.shape[2:]))


@dataclass(frozen=True)
class Reader:
    """Reads records for one model.

    Attributes:
        words: The tokenizer.
        vocabulary: How many ids the model has.
        most: How many pieces it reads at most, or None.
        name: What messages call it.
        question_first: Whether the question of a pair stands before the text.
        hide: The asked word is hidden behind the mask token.
    """

    words: WordPieces
    vocabulary: int
    most: int | None
    name: str
    question_first: bool = True
    hide: bool = False

    def collate(
        self, records: Sequence[Text]
    ) -> tuple[Int[Tensor, "B L P"], Bool[Tensor, "B L"], Bool[Tensor, "B L"]]:
        """Pieces, which positions are present, and which of them are units.

        Raises:
            DataError: There are no records, or one cannot be read or is too long.
        """
        if not records:
            raise DataError("a batch needs at least one record")
        texts = self.words([whole_text(record) for record in records])
        pairs = [r for r in records if isinstance(r, TextPair)]
        questions = dict(
            zip(
                (r.id for r in pairs),
                self.words([_question(r) for r in pairs]) if pairs else (),
                strict=True,
            )
        )
        rows = [
            self._row(record, pieces, questions.get(record.id))
            for record, pieces in zip(records, texts, strict=True)
        ]
        self._refuse_long(records, rows)
        longest = max(1, max(len(row) for row in rows))
        places = max((len(ids) for row in rows for ids, _ in row), default=1)
        inputs = torch.full((len(rows), longest, places), NONE, dtype=torch.long)
        present = torch.zeros(len(rows), longest, dtype=torch.bool)
        units = torch.zeros_like(present)
        for index, row in enumerate(rows):
            present[index, : len(row)] = True
            for place, (ids, unit) in enumerate(row):
                inputs[index, place, : len(ids)] = torch.tensor(ids)
                units[index, place] = unit
        return inputs, present, units

    def _row(
        self, record: Text, pieces: list[list[int]], question: list[list[int]] | None
    ) -> list[tuple[list[int], bool]]:
        """Positions of one record: pieces with their marks, and whether they are a unit."""
        asked = -1
        if isinstance(record, TextAt):
            asked = sum(start < record.asked_offset[0] for start, _ in record.offsets)
        text: list[tuple[list[int], bool]] = []
        for place, ids in enumerate(pieces):
            if place == asked:
                shown = [self.words.mask or 0] if self.hide else ids
                text.append((self._marked(shown, ASKED), False))
            else:
                text.append((ids, True))
        start, middle, end = self.words.template(pair=question is not None)
        if question is None:
            return [*_alone(start), *text, *_alone(end)]
        other = [(ids, False) for ids in question]
        first, second = (other, text) if self.question_first else (text, other)
        return [
            *_alone(start),
            *first,
            *_alone(middle),
            *((self._marked(ids, SECOND), unit) for ids, unit in second),
            *((self._marked(ids, SECOND), unit) for ids, unit in _alone(end)),
        ]

    def _marked(self, ids: Sequence[int], mark: int) -> list[int]:
        return [self.vocabulary * mark + id for id in ids]

    def _refuse_long(
        self, records: Sequence[Text], rows: Sequence[list[tuple[list[int], bool]]]
    ) -> None:
        sizes = [sum(len(ids) for ids, _ in row) for row in rows]
        if self.most is None or max(sizes) <= self.most:
            return
        long = [row for row, size in enumerate(sizes) if size > self.most]
        first = max(long, key=sizes.__getitem__)
        fewest = min(len(records[row].units) for row in long)
        raise DataError(
            f"{len(long)} of {len(records)} records have more word pieces than the {self.most} "
            f"that {self.name} reads, {records[first].id!r} with {sizes[first]} for instance. "
            f"Nothing is cut off in silence: shorten the texts, or keep those of at most "
            f"{fewest - 1} units (--max-length)"
        )

    def layout(self, inputs: Int[Tensor, "B L P"], present: Bool[Tensor, "B L"]) -> Layout:
        """The pieces of what is present, side by side, without gaps."""
        rows, _, places = inputs.shape
        plain = inputs % self.vocabulary
        real = (inputs != NONE) & present.unsqueeze(-1)
        if self.words.mask is not None:
            # a position that was masked is one mask token, however many pieces it had
            real[..., 1:] &= inputs[..., 1:] != self.words.mask
        flat = real.flatten(1)
        size = max(1, int(flat.sum(1).max())) if rows else 1
        # a stable sort brings the pieces to the front and leaves their order as it is
        order = torch.argsort((~flat).to(torch.uint8), dim=1, stable=True)[:, :size]
        real = flat.gather(1, order)
        marks = (inputs // self.vocabulary).flatten(1).gather(1, order)
        ids = plain.flatten(1).gather(1, order)
        asked = (marks == ASKED) & real
        return Layout(
            torch.where(real, ids, 0),
            ((marks == SECOND) & real).long(),
            real,
            order,
            order // places,
            asked.to(torch.uint8).argmax(1),
        )


def _alone(ids: Sequence[int]) -> list[tuple[list[int], bool]]:
    """Markers, one position each."""
    return [([id], False) for id in ids]


def whole_text(record: Text) -> Text:
    """The record as one plain text, the asked word among the others."""
    if not isinstance(record, TextAt):
        return Text(record.id, record.text, record.units, record.offsets)
    place = sum(start < record.asked_offset[0] for start, _ in record.offsets)
    units = (*record.units[:place], record.asked, *record.units[place:])
    offsets = (*record.offsets[:place], record.asked_offset, *record.offsets[place:])
    return Text(record.id, record.text, units, offsets)


def _question(record: TextPair) -> Text:
    offsets: list[Span] = []
    at = 0
    for unit in record.question_units:
        found = record.question.find(unit, at)
        # a pipeline may have changed the units: then they stand one after the other
        start = at if found < 0 else found
        offsets.append((start, start + len(unit)))
        at = start + len(unit)
    return Text(record.id, record.question, record.question_units, tuple(offsets))


def asked_about(record: Text, unit: int) -> TextAt:
    """A record of which one word is asked about; it is no unit any more.

    Args:
        record: The text.
        unit: Number of the word among the units.

    Raises:
        DataError: There is no such word.

    Example:
        >>> from attnaudit.data.texts.tokens import text_record
        >>> one = asked_about(text_record("a", "Mary lives in Rome"), 3)
        >>> one.units, one.asked
        (('Mary', 'lives', 'in'), 'Rome')
    """
    if not 0 <= unit < len(record.units):
        raise DataError(
            f"record {record.id!r} has {len(record.units)} words, so word {unit} cannot be asked "
            "about"
        )

    def without(values: Sequence[object]) -> tuple[object, ...]:
        return (*values[:unit], *values[unit + 1 :])

    return TextAt(
        record.id,
        record.text,
        without(record.units),  # type: ignore[arg-type]
        without(record.offsets),  # type: ignore[arg-type]
        record.label,
        None if record.truth is None else without(record.truth),  # type: ignore[arg-type]
        record.units[unit],
        record.offsets[unit],
    )
