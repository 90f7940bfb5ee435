"""Word ids, and id sequences padded to batches."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attnaudit.data.records import Text
from attnaudit.data.sources.frames import shown, storable
from attnaudit.errors import DataError, SettingsError
from attnaudit.files import parse_json

PAD, UNK, SOS, EOS = 0, 1, 2, 3
"""Padding, unknown word, start marker, end marker; words start at `FIRST_WORD`."""
FIRST_WORD = 4


@dataclass(frozen=True)
class Vocabulary:
    """The words that a network knows; word `words[k]` has the id `k + 4`.

    Attributes:
        words: The known words, no two alike.
        lowercase: Whether units are put into lower case before they are looked up.

    Example:
        >>> vocabulary = Vocabulary(("film", "good"))
        >>> vocabulary.encode(["Good", "acting"])
        [5, 1]
        >>> len(vocabulary)
        6
    """

    words: tuple[str, ...]
    lowercase: bool = True

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise DataError(f"the vocabulary holds {twice!r} more than once; keep one of them")

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: index for index, word in enumerate(self.words, start=FIRST_WORD)}

    def __len__(self) -> int:
        """How many ids there are, the four special ones among them."""
        return FIRST_WORD + len(self.words)

    def encode(self, units: Iterable[str]) -> list[int]:
        """The id of each unit, `UNK` for unknown ones; no markers are added."""
        ids = self.ids
        if self.lowercase:
            return [ids.get(unit.lower(), UNK) for unit in units]
        return [ids.get(unit, UNK) for unit in units]

    def to_json(self) -> str:
        """The vocabulary as JSON text."""
        return json.dumps({"lowercase": self.lowercase, "words": self.words}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """The vocabulary that `to_json` wrote.

        Raises:
            DataError: The text is not valid JSON, or not of that form.
        """
        try:
            data = parse_json(text)
        except ValueError as error:
            raise DataError(f"the vocabulary is {error}") from error
        words = data.get("words") if isinstance(data, dict) else None
        lowercase = data.get("lowercase") if isinstance(data, dict) else None
        if not isinstance(words, list) or not isinstance(lowercase, bool):
            raise DataError(
                'the vocabulary must be an object with a list "words" and a true or false '
                '"lowercase"'
            )
        for row, word in enumerate(words):
            if not isinstance(word, str):
                raise DataError(f"the vocabulary's word {row} is {shown(word)}, which is no text")
            storable(word, f"the vocabulary's word {row}")
        return cls(tuple(words), lowercase)


def build_vocabulary(
    records: Iterable[Text], min_df: int = 1, lowercase: bool = True
) -> Vocabulary:
    """The words of the training records, frequent ones first and ties in alphabetical order.

    A word is kept where it occurs in at least `min_df` records ("Attention is not
    Explanation", section 3 and its released preprocessing: document frequency, train split only).

    Args:
        records: The training split.
        min_df: In how many records a word must occur, at least 1.
        lowercase: Whether units are put into lower case first.

    Raises:
        SettingsError: `min_df` is below 1.
        DataError: No word is left.
    """
    if min_df < 1:
        raise SettingsError(f"min_df is {min_df}; it must be 1 or more")
    frequency: Counter[str] = Counter()
    rows = 0
    for record in records:
        rows += 1
        frequency.update({unit.lower() if lowercase else unit for unit in record.units})
    kept = sorted((-count, word) for word, count in frequency.items() if count >= min_df)
    if not kept:
        raise DataError(
            f"none of the {len(frequency)} words of {rows} training records occurs in min_df="
            f"{min_df} of them; give more records or lower min_df"
        )
    return Vocabulary(tuple(word for _, word in kept), lowercase)


def pad_sequences(
    sequences: Sequence[Sequence[int]],
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """Id sequences as one batch: `SOS`, the ids, `EOS`, then padding to the longest.

    Args:
        sequences: One list of ids an instance, without markers; it may be empty.

    Returns:
        The ids, which positions the encoder reads, and which of them are units.

    Example:
        >>> ids, present, units = pad_sequences([[7, 8], [9]])
        >>> ids.tolist()
        [[2, 7, 8, 3], [2, 9, 3, 0]]
        >>> units.int().tolist()
        [[0, 1, 1, 0], [0, 1, 0, 0]]
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.long)
    longest = int(lengths.max()) if len(sequences) else 0
    rows = [[SOS, *ids, EOS] + [PAD] * (longest - len(ids)) for ids in sequences]
    ids = torch.tensor(rows, dtype=torch.long).reshape(len(sequences), longest + 2)
    position = torch.arange(longest + 2)
    present = position < (lengths + 2).unsqueeze(1)
    units = (position > 0) & (position <= lengths.unsqueeze(1))
    return ids, present, units
