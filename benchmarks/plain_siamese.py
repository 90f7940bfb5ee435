"""The procedure of Möller et al. (2023), written down plainly: what ours is compared with.

Interpolants between a reference and a text go through the model as one batch, each number of the
embedding is differentiated in reverse mode, the Jacobians are averaged over the interpolants, and
their dense product is summed over the hidden numbers of each pair of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Side:
    """One text: `(D, S, H)` integrated Jacobian, `(S, H)` step, `(D,)` embedding."""

    jacobian: Tensor
    step: Tensor
    embedding: Tensor


def right_riemann(count: int) -> tuple[Tensor, Tensor]:
    """The papers' nodes `1, 1 - 1/N, …, 1/N` and their equal weights."""
    return 1 - torch.arange(count) / count, torch.full((count,), 1 / count)


def side(
    model: Any,
    layer: torch.nn.Module,
    ids: Sequence[int],
    reference: Sequence[int],
    nodes: tuple[Tensor, Tensor],
    numbers: Sequence[int] | None = None,
) -> Side:
    """The integrated Jacobian of one text.

    Args:
        model: A `SentenceTransformer`; a last `Normalize` is left out.
        layer: The layer at whose input the path lies.
        ids: S ids of the text.
        reference: S ids of its reference.
        nodes: N places in [0, 1] and their weights.
        numbers: Which numbers of the embedding; all by default.
    """
    heads = [m for m in model if type(m).__name__ != "Normalize"]
    given: list[Tensor] = []
    seen: list[Tensor] = []

    def swap(_module: Any, args: Any, kwargs: Any) -> Any:
        name = None if args else next(n for n in ("hidden_states", "x") if n in kwargs)
        seen.append(args[0] if name is None else kwargs[name])
        if not given:
            return None
        return ((given[0], *args[1:]), kwargs) if args else (args, {**kwargs, name: given[0]})

    def embed(rows: Tensor) -> Tensor:
        features = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
        for module in heads:
            features = module(features)
        return features["sentence_embedding"]

    hook = layer.register_forward_pre_hook(swap, with_kwargs=True)
    try:
        with torch.no_grad():
            embedding = embed(torch.tensor([ids]))[0]
            embed(torch.tensor([reference]))
        text, start = seen[0], seen[1]
        places = nodes[0].to(text)[:, None, None]
        points = (start + places * (text - start)).requires_grad_()
        given.append(points)
        embedded = embed(torch.tensor([ids]).expand(len(points), -1))
        weights = nodes[1].to(text)[:, None, None]
        rows = [
            (torch.autograd.grad(embedded[:, d].sum(), points, retain_graph=True)[0] * weights).sum(
                0
            )
            for d in (range(embedded.shape[1]) if numbers is None else numbers)
        ]
    finally:
        hook.remove()
    return Side(torch.stack(rows), (text - start)[0], embedding)


def pair_matrix(a: Side, b: Side) -> Tensor:
    """The papers' `(S_a, S_b)` matrix for cosine."""
    flat = [one.jacobian.flatten(1) for one in (a, b)]
    dense = a.step.flatten()[:, None] * (flat[0].T @ flat[1]) * b.step.flatten()[None, :]
    hidden = a.step.shape[1]
    shape = (len(a.step), hidden, len(b.step), hidden)
    return dense.reshape(shape).sum((1, 3)) / (a.embedding.norm() * b.embedding.norm())
