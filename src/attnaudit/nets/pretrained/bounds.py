"""How many word pieces a transformer reads at most."""

from __future__ import annotations

from typing import Any

from attnaudit.nets.positions import positions_of
from attnaudit.nets.pretrained.words import WordPieces


def bound_of(transformer: Any, words: WordPieces) -> int | None:
    """The least of what tokenizer, configuration and table of positions allow, or None."""
    most = getattr(transformer.config, "max_position_embeddings", None)
    bounds = [int(most)] if most and most > 0 else []
    table = positions_of(transformer)
    bounds += [] if table is None else [table]
    bounds += [] if words.most is None else [words.most]
    return min(bounds, default=None)
