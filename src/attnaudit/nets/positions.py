"""How many tokens a transformer has positions for."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

TABLES = ("position_embeddings", "position_embedding", "wpe", "embed_positions")
"""The names that tables of absolute positions have."""


def positions_of(transformer: nn.Module, stack: Iterable[nn.Module] = ()) -> int | None:
    """The length of the table of absolute positions; None where there is no such table.

    Rotary and relative positions know no limit. A table with a padding index, as RoBERTa's, begins
    after it.

    Args:
        transformer: The model.
        stack: Its layers, whose own tables are of distances and bound nothing.
    """
    inside = {id(module) for layer in stack for module in layer.modules()}
    for name, module in transformer.named_modules():
        if name.rpartition(".")[2] not in TABLES or id(module) in inside:
            continue
        if isinstance(module, nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - int(getattr(module, "offset", first))
    return None
