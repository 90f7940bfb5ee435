"""Sentence-transformers models with random weights, and pairs that they can learn to score."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    Transformer,
)
from torch import nn

from attnaudit.data.pairs.scored_pairs import ScoredPair
from tests.tiny_transformers import TEXTS, tiny

OTHERS = ("a", "film", "never", "made", "well", "not", "acting")
WORDS = (*OTHERS, "good", "bad", "boring")


def tiny_siamese(
    folder: Path, family: str = "bert", pooling: str = "mean", normalize: bool = True
) -> SentenceTransformer:
    """A model of 2 layers and 16 numbers a token; a decoder pads on the left, by `<unk>`."""
    first = Transformer(str(tiny(family, folder, texts=(*TEXTS, " ".join(WORDS)))))
    if first.tokenizer.pad_token is None:
        first.tokenizer.pad_token = first.tokenizer.unk_token
        first.tokenizer.padding_side = "left"
    modules: list[Any] = [first, Pooling(16, pooling_mode=pooling)]
    if normalize:
        modules.append(Normalize())
    return SentenceTransformer(modules=modules, device="cpu").eval()


def without_dropout(model: nn.Module) -> nn.Module:
    """The model with every dropout at zero, so that training mode is deterministic."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def dense(bias: bool) -> Dense:
    """A head of 8 numbers."""
    return Dense(16, 8, bias=bias, activation_function=nn.Identity())


def learnable(count: int = 48, seed: int = 0) -> tuple[ScoredPair, ...]:
    """Pairs that are similar where both are of one opinion, whatever else they say."""
    draw = random.Random(seed)
    pairs = []
    for i in range(count):
        opinions = draw.choice(("good", "bad")), draw.choice(("good", "bad"))
        a, b = ([*draw.choices(OTHERS, k=draw.randint(1, 4)), opinion] for opinion in opinions)
        score = 4.0 if opinions[0] == opinions[1] else 0.0
        score += len(set(a[:-1]) & set(b[:-1])) / 4
        pairs.append(ScoredPair(str(i), " ".join(a), " ".join(b), score))
    return tuple(pairs)
