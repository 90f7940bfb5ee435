"""The tokens of one text, with where each stands in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnaudit.errors import DataError

Span = tuple[int, int]
Role = Literal["text", "query", "document"]
"""How a model reads a text: as it reads every one, or as one of two sides that it tells apart."""


@dataclass(frozen=True)
class Tokens:
    """A text as a sentence encoder reads it.

    Attributes:
        text: The text as it was given.
        ids: The T token ids, special tokens included, padding not.
        pieces: The T tokens as the tokenizer writes them, such as `##ing` or `Ġguitar`.
        offsets: T spans `(start, end)` of characters in `text`; an empty one for a token that
            stands for no character of it, such as `[CLS]`, a token of a prompt, or whitespace
            that the tokenizer trims.
        special: T flags, true for tokens that every text gets: those that the tokenizer adds, and
            those of a prompt.
        cut: The end of the text that lies beyond the model's limit; empty if nothing was cut.
        role: How the model reads the text.
        unknown: Whether the model reads nothing of the text but its token for unknown words.

    Example:
        >>> tokens = Tokens("A cat", (1, 7, 9, 2), ("[CLS]", "a", "cat", "[SEP]"),
        ...                 ((0, 0), (0, 1), (2, 5), (0, 0)), (True, False, False, True))
        >>> tokens.shown
        ('[CLS]', 'A', 'cat', '[SEP]')
    """

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    offsets: tuple[Span, ...]
    special: tuple[bool, ...]
    cut: str = ""
    role: Role = "text"
    unknown: bool = False

    def __post_init__(self) -> None:
        lengths = {len(x) for x in (self.ids, self.pieces, self.offsets, self.special)}
        if len(lengths) != 1:
            raise ValueError(
                f"ids, pieces, offsets and special must be of one length, got {lengths}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def read_as(self) -> tuple[Role, tuple[int, ...]]:
        """All that decides an embedding: equal ones have equal embeddings."""
        return self.role, self.ids

    @property
    def shown(self) -> tuple[str, ...]:
        """Each token as the text writes it; the tokenizer's piece where it stands for no text."""
        return tuple(
            self.text[start:end] if end > start else piece
            for piece, (start, end) in zip(self.pieces, self.offsets, strict=True)
        )


def check_text(text: object, name: str) -> None:
    """Refuse what no model can read, under the name that it has for the user.

    Raises:
        DataError: No string, an empty one, or half a character.
    """
    if not isinstance(text, str):
        raise DataError(
            f"{name} must be a string, got {type(text).__name__}; give one text per side of a pair"
        )
    if not text.strip():
        raise DataError(f"{name} is empty: no token of it can explain a score")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} holds a character that is none ({text[error.start]!a}, half of a pair); read "
            "the text again with the right encoding"
        ) from error
