"""Explainers made by hand, whose faithfulness is known, and an encoder that is linear."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnaudit.measures.seeded import instance_generator
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.explainer import Pair
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.progress import Report
from tests.tiny_siamese import WORDS, tiny_siamese

Values = Callable[["HandMade", Tokens, Tokens], Tensor]


@dataclass
class HandMade:
    """Tables by a rule; what it misses of the score goes to the corner."""

    encoder: SiameseEncoder
    rule: Values
    complete: bool = True

    def tables(self, pairs: Iterable[Pair], progress: Report | None = None) -> Iterator[PairTable]:
        for a, b in pairs:
            one, other = self.encoder.tokens([a])[0], self.encoder.tokens([b])[0]
            x, y = (self.encoder.embeddings([t])[0].double() for t in (one, other))
            scale = float(x.norm() * y.norm()) if self.encoder.kind == "cosine" else 1.0
            score = float(x @ y) / scale
            values = torch.zeros(len(one) + 1, len(other) + 1, dtype=torch.float64)
            values[:-1, :-1] = self.rule(self, one, other) / scale
            if self.complete:
                values[-1, -1] = score - values.sum()
            size = float(x.norm() * y.norm()) / scale
            yield PairTable(one, other, values, score, self.encoder.kind, 1e-3 * size, 0.0, 0.0)


def word_vectors(encoder: SiameseEncoder, tokens: Tokens) -> Tensor:
    """`(T, D)` what each token of a linear encoder adds to the embedding."""
    ids = torch.tensor([tokens.ids])
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        states = encoder.parts["text"][0](features)["token_embeddings"][0]
    return states.double() / len(tokens)


def oracle(explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
    return word_vectors(explainer.encoder, a) @ word_vectors(explainer.encoder, b).T


def constant(_explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
    return torch.full((len(a), len(b)), 0.01, dtype=torch.float64)


def noise(explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
    generator = instance_generator(3, "noise", repr((a.ids, b.ids)))
    return torch.randn(len(a), len(b), generator=generator, dtype=torch.float64) / 50


def same_word(_explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
    """Never asks the encoder: close ids are alike."""
    return torch.tensor([[-abs(i - j) / 100 for j in b.ids] for i in a.ids], dtype=torch.float64)


def linear_siamese(folder: Path, kind: Any = "dot") -> SiameseEncoder:
    """A mean of word vectors, in which mask and padding are zero, so that all effects are known."""
    model = tiny_siamese(folder, normalize=False)
    bert: Any = model[0].auto_model
    with torch.no_grad():
        bert.embeddings.position_embeddings.weight.zero_()
        bert.embeddings.token_type_embeddings.weight.zero_()
        for token in (model.tokenizer.mask_token_id, model.tokenizer.pad_token_id):
            bert.embeddings.word_embeddings.weight[token] = 0
        for module in bert.encoder.modules():
            if isinstance(module, torch.nn.LayerNorm):
                # so large that the variance has no part in it: what is left is linear
                module.eps = 1e8
                module.weight.fill_(1e4)
        for name, parameter in bert.named_parameters():
            if "output.dense" in name or name.endswith("LayerNorm.bias"):
                parameter.zero_()
    return SiameseEncoder(model, kind=kind)


def word_pairs(count: int, seed: int = 0, least: int = 3, most: int = 8) -> list[Pair]:
    """Different pairs of texts of a few different words."""
    draw = random.Random(seed)
    found: dict[Pair, None] = {}
    while len(found) < count:
        a, b = (" ".join(draw.sample(WORDS, k=draw.randint(least, most))) for _ in range(2))
        found[a, b] = None
    return list(found)
