"""Texts with tokens taken out or blanked, by their ids: no text is decoded and read again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.errors import NotApplicable
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.references import Reference
from attnaudit.models.siamese.tokens import Role, Tokens

Edit = Callable[[Tokens, Collection[int]], Tokens]
OPERATORS = {
    "delete": "tokens are taken out and the gap closes",
    "mask": "tokens become the mask token",
    "reference": "tokens become the token that the explanation starts from",
}


def deleted(tokens: Tokens, places: Collection[int]) -> Tokens:
    """The text without the tokens at these places.

    Example:
        >>> text = Tokens("A cat", (1, 7, 9, 2), ("[CLS]", "a", "cat", "[SEP]"),
        ...               ((0, 0), (0, 1), (2, 5), (0, 0)), (True, False, False, True))
        >>> deleted(text, [1]).ids
        (1, 9, 2)
    """
    gone = set(places)
    left = [place for place in range(len(tokens)) if place not in gone]
    return replace(
        tokens,
        ids=tuple(tokens.ids[place] for place in left),
        pieces=tuple(tokens.pieces[place] for place in left),
        offsets=tuple(tokens.offsets[place] for place in left),
        special=tuple(tokens.special[place] for place in left),
    )


def blanked(tokens: Tokens, places: Collection[int], token: int) -> Tokens:
    """The text with another token at these places."""
    gone = set(places)
    ids = tuple(token if place in gone else own for place, own in enumerate(tokens.ids))
    return replace(tokens, ids=ids)


def edit_of(operator: str, encoder: SiameseEncoder, reference: Reference | None) -> Edit:
    """The operator of this name, for one encoder.

    Args:
        operator: A key of `OPERATORS`.
        encoder: Whose tokens they are.
        reference: That of the explainer, or None.

    Raises:
        NotApplicable: There is no such token.
    """
    if operator == "delete":
        return deleted
    if operator == "mask":
        token = encoder.tokenizer.mask_token_id
        missing = "the tokenizer has no mask token"
    else:
        token = None if reference is None else reference.token
        missing = "the explanation starts from no token"
    if token is None:
        raise NotApplicable(f"{missing}, so tokens cannot be removed by {operator!r}")
    return lambda tokens, places: blanked(tokens, places, int(token))


class Embedder:
    """Embeddings of texts of any lengths; what was embedded once is not embedded again.

    Args:
        encoder: Of the texts.
        budget: Tokens in one pass.
    """

    def __init__(self, encoder: SiameseEncoder, budget: int) -> None:
        self.encoder, self.budget = encoder, budget
        self._known: dict[tuple[Role, tuple[int, ...]], Tensor] = {}

    def __call__(self, texts: Sequence[Tokens]) -> Float[Tensor, "n d"]:
        """The embedding of each text before a last `Normalize`, float64 on the CPU."""
        missing = {one.read_as: one for one in texts if one.read_as not in self._known}
        waiting = sorted(missing.values(), key=lambda one: (len(one), one.read_as))
        first = 0
        while first < len(waiting):
            length = len(waiting[first])
            most = first + max(1, self.budget // length)
            kind = length, waiting[first].role
            batch = [one for one in waiting[first:most] if (len(one), one.role) == kind]
            for one, embedding in zip(
                batch, self.encoder.embeddings(batch).double().cpu(), strict=True
            ):
                self._known[one.read_as] = embedding
            first += len(batch)
        return torch.stack([self._known[one.read_as] for one in texts])
