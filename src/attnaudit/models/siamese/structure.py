"""What a model must be made of for its score to be divided among tokens."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from attnaudit.errors import ModelError, NotApplicable, SettingsError
from attnaudit.models.siamese.sides import Side, sides_of
from attnaudit.models.siamese.table import ScoreKind
from attnaudit.models.siamese.tokens import Role


def layer_of(layer: Any, count: int) -> int:
    """A layer of the stack, from whatever stands for a whole number.

    Raises:
        SettingsError: There is no such layer.
    """
    try:
        found = operator.index(layer)
    except TypeError:
        found = -1
    if not 0 <= found < count:
        raise SettingsError(f"layer must be from 0 to {count - 1} for this model, got {layer}")
    return found


def sides_read(model: Any, prompt: str | None) -> dict[Role, Side]:
    """How the model reads the texts of a pair.

    Raises:
        NotApplicable: It is not a model of sentence-transformers, or a text has no route.
    """
    if not isinstance(model, nn.Sequential) or not len(model):
        raise NotApplicable(
            f"{type(model).__name__} is no sentence-transformers model that starts with a "
            "transformer; give such a model, its folder or its name on the hub"
        )
    return sides_of(model, prompt)


def transformer_of(model: Any, sides: dict[Role, Side]) -> nn.Module:
    """The one transformer that reads both texts.

    Raises:
        NotApplicable: There is none, or one for each side.
    """
    firsts = [side.modules[0] for side in sides.values()]
    transformer = getattr(firsts[0], "auto_model", None)
    if transformer is None or not hasattr(transformer, "get_input_embeddings"):
        raise NotApplicable(
            f"{type(model).__name__} is no sentence-transformers model that starts with a "
            "transformer; give such a model, its folder or its name on the hub"
        )
    if any(first is not firsts[0] for first in firsts):
        raise NotApplicable(
            "the model reads queries and documents with a transformer each; a table is made for "
            "one transformer that reads both texts"
        )
    return cast(nn.Module, transformer)


def is_normalize(module: nn.Module) -> bool:
    """Whether a module makes unit vectors."""
    return type(module).__name__ == "Normalize"


def without_normalize(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """The modules before the last ones that make unit vectors."""
    left = list(modules)
    while len(left) > 1 and is_normalize(left[-1]):
        left.pop()
    return left


def own_kind(model: Any) -> ScoreKind:
    """How the model itself compares embeddings.

    Raises:
        NotApplicable: Not by a product of them.
    """
    name = str(getattr(model, "similarity_fn_name", None) or "cosine")
    if name not in ("cosine", "dot"):
        raise NotApplicable(
            f"the model compares by {name!r}, which is no product of embeddings; say kind='cosine' "
            "or kind='dot' (--score) to explain that score instead"
        )
    return cast(ScoreKind, name)


def check_weights(model: nn.Module) -> None:
    """Refuse weights that have no derivative, or are not finite.

    Raises:
        NotApplicable: A quantized layer.
        ModelError: NaN or infinity.
    """
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if "quantized" in type(module).__module__ or not all(p.is_floating_point() for p in own):
            raise NotApplicable(
                f"the layer {name} is quantized ({type(module).__name__}): it has no derivative, "
                "which a table is made of. Load the model in float32"
            )
    for name, value in model.named_parameters():
        if not bool(value.isfinite().all()):
            raise ModelError(
                f"the weights {name!r} hold NaN or infinity; load an intact copy of the model"
            )
