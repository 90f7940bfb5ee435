"""Reading texts as a sentence encoder does: their tokens, where these stand, what is cut off."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from attnaudit.errors import DataError, ModelError, NotApplicable
from attnaudit.models.siamese.boundaries import past_marks
from attnaudit.models.siamese.sides import Side
from attnaudit.models.siamese.tokens import Role, Tokens, check_text
from attnaudit.nets.pretrained.words import UNBOUNDED, UnknownWordsWarning


class CutTextWarning(UserWarning):
    """A text is longer than the model reads; the message says what was cut."""


@dataclass(frozen=True)
class TextReader:
    """What reads texts for a model.

    Attributes:
        model: A `SentenceTransformer`.
        tokenizer: The tokenizer of its transformer.
        sides: How it reads the texts of a pair.
        positions: How many positions it has, or None.
    """

    model: Any
    tokenizer: Any
    sides: Mapping[Role, Side]
    positions: int | None

    @property
    def limit(self) -> int | None:
        """How many tokens of a text the model reads; None for all of them."""
        most = self.model.max_seq_length
        return None if most is None or most >= UNBOUNDED else int(most)

    def read(self, place: int, text: str, role: Role) -> Tokens:
        """One text, which has the number `place` among those given.

        Raises:
            DataError: It is no string, empty, or has no token that the model reads.
            ModelError: It has more tokens than the model has positions.
            NotApplicable: The model changes texts before it reads them.
        """
        check_text(text, f"text {place}")
        prompt, limit = self.sides[role].prompt, self.limit
        whole, shift = prompt + text, len(prompt)
        read = self.tokenizer(
            whole,
            truncation=limit is not None,
            max_length=limit or UNBOUNDED,
            verbose=False,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        ids, mapping = read["input_ids"], read["offset_mapping"]
        self._check_length(whole, ids)
        self._check_ids(text, whole, ids, role)
        spans = [(max(start - shift, 0), max(end - shift, 0)) for start, end in mapping]
        special = [
            bool(flag) or (shift > 0 and end <= shift)
            for flag, (_, end) in zip(read["special_tokens_mask"], mapping, strict=True)
        ]
        offsets = [(0, 0) if flag else span for flag, span in zip(special, spans, strict=True)]
        if not any(end > start for start, end in offsets):
            raise DataError(
                f"text {place} ({text[:40]!r}) has no token that the model reads, beside those "
                "that it adds to every text"
            )
        cut = ""
        if limit is not None and len(ids) >= limit:
            cut = text[past_marks(text, max(end for _, end in offsets)) :].strip()
        if cut:
            warnings.warn(
                f"the text {text[:40]!r}… is longer than the {limit} tokens that the model reads; "
                f"{len(cut)} characters at its end, from {cut[:40]!r} on, have no part in the "
                "score",
                CutTextWarning,
                stacklevel=4,
            )
        own = [one for one, flag in zip(ids, special, strict=True) if not flag]
        unknown = set(own) == {self.tokenizer.unk_token_id}
        if unknown:
            warnings.warn(
                f"the model knows no word of {text[:40]!r} and reads it as "
                f"{' '.join([str(self.tokenizer.unk_token)] * min(len(own), 5))}: any text of "
                f"{len(own)} unknown {'words' if len(own) > 1 else 'word'} has the same score",
                UnknownWordsWarning,
                stacklevel=4,
            )
        pieces = tuple(self.tokenizer.convert_ids_to_tokens(ids))
        return Tokens(text, tuple(ids), pieces, tuple(offsets), tuple(special), cut, role, unknown)

    def _check_length(self, whole: str, ids: list[int]) -> None:
        if self.positions is not None and len(ids) > self.positions:
            raise ModelError(
                f"{whole[:40]!r} has {len(ids)} tokens, but the model has {self.positions} "
                f"positions and max_seq_length is {self.model.max_seq_length}; set max_seq_length "
                f"to {self.positions} or less"
            )

    def _check_ids(self, text: str, whole: str, ids: list[int], role: Role) -> None:
        """What is attributed to must be what the model reads."""
        try:
            features = _preprocessed(self.model, text, self.sides[role].prompt, role)
        # the model's own code may fail in any way, as where max_seq_length is None
        except Exception as error:
            raise ModelError(
                f"the model itself fails to read {whole[:40]!r}: {type(error).__name__}: "
                f"{next(iter(str(error).splitlines()), '')[:200]}; try model.encode on it"
            ) from error
        read, kept = (cast(Tensor, features[name])[0] for name in ("input_ids", "attention_mask"))
        own = read[kept.bool()].tolist()
        if own != ids:
            raise NotApplicable(
                f"the model reads {whole[:40]!r} as other tokens than its tokenizer gives (it "
                "changes texts before it reads them), so no token can be shown in the text"
            )


def _preprocessed(model: Any, text: str, prompt: str, role: Role) -> Mapping[str, object]:
    """What the library makes of one text: tensors, and what else its version adds."""
    task = {} if role == "text" else {"task": role}
    if hasattr(model, "preprocess"):
        return cast(Mapping[str, object], model.preprocess([text], prompt=prompt or None, **task))
    return cast(Mapping[str, object], model.tokenize([prompt + text], **task))
