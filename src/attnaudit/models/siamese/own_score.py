"""The model's own score of a pair, by its own methods, to hold every explanation against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.errors import ModelError, NotApplicable, first_line
from attnaudit.models.cut import Verified
from attnaudit.models.siamese.layers import still
from attnaudit.models.siamese.sides import sides_of
from attnaudit.models.siamese.tokens import Role

if TYPE_CHECKING:
    from attnaudit.models.siamese.encoder import SiameseEncoder

Pair = tuple[str, str]
FINE, COARSE = 1e-4, 2e-2
"""How far a score may lie from the model's own, in units of the two lengths, in single precision
and in half: texts are encoded in other batches, by the same kernels."""


def own_scores(encoder: SiameseEncoder, pairs: Sequence[Pair]) -> tuple[list[float], list[float]]:
    """The model's own score of each pair, and how far another may lie from it.

    By `encode_query` and `encode_document` where the model reads the two in different ways, else by
    `encode`; compared by `similarity_pairwise`, unless the user named the kind of score.

    Raises:
        ModelError: The model itself fails on these texts.
        NotApplicable: Its prompts or routes were changed since the encoder was made.
    """
    if sides_of(encoder.model, encoder.named_prompt) != encoder.sides:
        raise NotApplicable(
            "the model's prompts or routes are others than when the explainer was made, so its "
            "tables are not of the model's own score; make the explainer again"
        )
    first, second = encoder.roles
    wanted = {(first, a) for a, _ in pairs} | {(second, b) for _, b in pairs}
    known: dict[tuple[Role, str], Tensor] = {}
    for role in dict.fromkeys(encoder.roles):
        texts = sorted(text for one, text in wanted if one == role)
        known |= {(role, t): e for t, e in zip(texts, _embedded(encoder, texts, role), strict=True)}
    a = torch.stack([known[first, text] for text, _ in pairs])
    b = torch.stack([known[second, text] for _, text in pairs])
    size = a.norm(dim=1) * b.norm(dim=1)
    if encoder.named_kind is None:
        found = torch.as_tensor(encoder.model.similarity_pairwise(a, b)).double().cpu()
    else:
        found = (a * b).sum(1) / (size if encoder.kind == "cosine" else 1)
    half = encoder.dtype in (torch.float16, torch.bfloat16)
    bar = (COARSE if half else FINE) * (torch.ones_like(size) if encoder.kind == "cosine" else size)
    return found.tolist(), bar.tolist()


def compared(
    pairs: Sequence[Pair], found: Sequence[float], own: tuple[Sequence[float], Sequence[float]]
) -> Verified:
    """Scores beside the model's own; a pair is named by its texts."""
    gaps = [abs(score - mine) for score, mine in zip(found, own[0], strict=True)]
    # a score that is no number is told of by those that compute it
    differ = [
        f"{a} | {b}" for (a, b), gap, bar in zip(pairs, gaps, own[1], strict=True) if gap > bar
    ]
    return Verified(len(pairs), max(gaps, default=0.0), max(own[1], default=FINE), tuple(differ))


def check_scores(
    pairs: Sequence[Pair], found: Sequence[float], own: tuple[Sequence[float], Sequence[float]]
) -> None:
    """Refuse scores that are not the model's own.

    Raises:
        NotApplicable: A score lies further from the model's own than rounding explains.
    """
    for (a, b), score, mine, bar in zip(pairs, found, *own, strict=True):
        # a score that is no number is told of by those that compute it
        if abs(score - mine) > bar:
            raise NotApplicable(
                f"the model's own score of {a[:40]!r} and {b[:40]!r} is {mine:.4f}, but the passes "
                f"that the table explains give {score:.4f}: the model does more with a text than "
                "its modules say, so its score cannot be explained. If its weights, prompts or "
                "settings changed, make the explainer again"
            )


def _embedded(encoder: SiameseEncoder, texts: list[str], role: Role) -> Float[Tensor, "n d"]:
    model: Any = encoder.model
    encode = {
        "text": model.encode,
        "query": getattr(model, "encode_query", None),
        "document": getattr(model, "encode_document", None),
    }[role]
    named = {} if encoder.named_prompt is None else {"prompt": encoder.named_prompt}
    try:
        with still(model):
            found = encode(texts, convert_to_tensor=True, show_progress_bar=False, **named)
    except torch.OutOfMemoryError:
        raise
    # whatever the model's own code raises, it is not ours to explain
    except Exception as error:
        reason = first_line(error)
        raise ModelError(
            f"the model itself fails to encode {texts[0][:40]!r}"
            f"{f' and {len(texts) - 1} more texts' if len(texts) > 1 else ''}: "
            f"{type(error).__name__}: {reason[:200]}. Try model.encode on them"
        ) from error
    embedded: Tensor = found.detach().cpu().double().clone()
    return embedded
