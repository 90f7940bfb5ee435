"""Inputs that stand for "no text": where the path of an integrated Jacobian starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnaudit.errors import NotApplicable, SettingsError


@dataclass(frozen=True)
class Reference:
    """What each token of a text is replaced by; special tokens and length stay.

    Attributes:
        name: As the user wrote it, or `vector`.
        token: Id of the token that stands in for each, or None.
        vector: `(H,)` word vector that stands in for each, or None.
    """

    name: str
    token: int | None = None
    vector: Tensor | None = None


def _padding(tokenizer: Any, _words: Tensor) -> Reference:
    return Reference("padding", token=_id(tokenizer, "pad_token_id", "padding"))


def _mask(tokenizer: Any, _words: Tensor) -> Reference:
    return Reference("mask", token=_id(tokenizer, "mask_token_id", "mask"))


def _zero(_tokenizer: Any, words: Tensor) -> Reference:
    return Reference("zero", vector=torch.zeros_like(words[0]))


def _mean(_tokenizer: Any, words: Tensor) -> Reference:
    return Reference("mean", vector=words.float().mean(0))


REFERENCES: dict[str, Callable[[Any, Tensor], Reference]] = {
    "padding": _padding,
    "mask": _mask,
    "zero": _zero,
    "mean": _mean,
}
"""`padding`: the papers' (the padding token, attended to). `mask`: the mask token. `zero`: a word
vector of zeros. `mean`: the mean word vector of the vocabulary. Positions are added to all."""


def reference_of(given: str | Tensor | Sequence[float], tokenizer: Any, words: Tensor) -> Reference:
    """A reference by name, one token of the vocabulary, or a word vector of one's own.

    Args:
        given: One of `REFERENCES`, a token such as `the`, or H numbers.
        tokenizer: The model's.
        words: `(V, H)` word vectors of the model.

    Raises:
        SettingsError: No such name or token, or a vector of another length.
        NotApplicable: The tokenizer lacks the special token.
    """
    if not isinstance(given, str):
        vector = torch.as_tensor(given, dtype=words.dtype)
        if vector.shape != words.shape[1:] or not bool(vector.isfinite().all()):
            raise SettingsError(
                f"a reference vector must be {words.shape[1]} finite numbers, the size of a word "
                f"vector of this model; got shape {tuple(vector.shape)}"
            )
        return Reference("vector", vector=vector)
    if given in REFERENCES:
        return REFERENCES[given](tokenizer, words)
    ids = tokenizer(given, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise SettingsError(
            f"reference {given!r} is none of {', '.join(REFERENCES)} and not one token of the "
            f"model's vocabulary ({len(ids)} tokens); give one of these, a token, or a vector"
        )
    return Reference(given, token=ids[0])


def _id(tokenizer: Any, attribute: str, name: str) -> int:
    found = getattr(tokenizer, attribute, None)
    if found is None:
        raise NotApplicable(
            f"the tokenizer has no {name} token; choose another reference, such as zero or mean"
        )
    return int(found)
