"""The tokens that a language model chooses from: their names, and what is known to be right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Int
from torch import Tensor

from attnaudit.data.records import Begun, Text, TextAt
from attnaudit.errors import SettingsError
from attnaudit.models.cut import Answer
from attnaudit.models.transformer.reading import whole_text
from attnaudit.nets.pretrained.words import WordPieces


def contrast_of(target: str, tokenizer: Any) -> tuple[tuple[str, str], list[int]]:
    """Two tokens to choose between, as people write them, with their ids.

    Raises:
        SettingsError: Not two, or the model does not tell them apart.
    """
    words = [word.strip() for word in target.split("|")]
    if len(words) != 2 or not all(words) or words[0] == words[1]:
        raise SettingsError(
            f"target {target!r}: a language model is asked to choose between two tokens, written "
            'as "Rome|Paris"; the first one is explained'
        )
    ids = [_first_token(word, target, tokenizer) for word in words]
    if ids[0] == ids[1]:
        raise SettingsError(
            f"target {target!r}: both words begin with the same token of this model"
        )
    return (words[0], words[1]), ids


def _first_token(word: str, target: str, tokenizer: Any) -> int:
    """The token with which a word in a text begins."""
    # behind another word, as most tokenizers keep the space with what follows it
    alone = tokenizer("a", add_special_tokens=False)["input_ids"]
    both = tokenizer(f"a {word}", add_special_tokens=False)["input_ids"]
    more = both[len(alone) :] if both[: len(alone)] == alone else []
    if not more or more[0] == tokenizer.unk_token_id:
        raise SettingsError(f"target {target!r}: this model has no token for {word!r}")
    return int(more[0])


def token_names(tokenizer: Any, candidates: Int[Tensor, "B M"]) -> list[tuple[str, ...]]:
    """What the tokens of each instance are called, no two of one alike."""
    found = []
    for row in candidates.tolist():
        said = [tokenizer.decode([token]) or f"token {token}" for token in row]
        # two tokens may be written alike, such as one with a space before it
        once = [f"{text} ({k + 1})" if text in said[:k] else text for k, text in enumerate(said)]
        found.append(tuple(once))
    return found


def known_answers(
    records: Sequence[Text], words: WordPieces, candidates: Int[Tensor, "B M"]
) -> list[Answer | None]:
    """The hidden word, or the next one of a translation, and whether it is the likeliest token.

    A word of several pieces counts by its first one.
    """
    found: list[Answer | None] = []
    for record, likeliest in zip(records, candidates.tolist(), strict=True):
        token = _answer(record, words)
        word = record.asked if isinstance(record, TextAt) else getattr(record, "following", "")
        found.append(None if token is None else Answer(word, token == likeliest[0]))
    return found


def _answer(record: Text, words: WordPieces) -> int | None:
    if isinstance(record, TextAt):
        pieces = words([whole_text(record)])[0]
        place = sum(start < record.asked_offset[0] for start, _ in record.offsets)
        return pieces[place][0]
    if not isinstance(record, Begun):
        return None

    def cut(text: str) -> list[int]:
        return list(words.tokenizer(text_target=text, add_special_tokens=False)["input_ids"])

    before, more = cut(record.question), cut(f"{record.question} {record.following}".strip())
    whole = more[: len(before)] == before and len(more) > len(before)
    return more[len(before)] if whole else None
