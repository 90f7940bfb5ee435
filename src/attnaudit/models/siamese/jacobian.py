"""Integrated Jacobians, reduced to one vector a token.

`D[t] = Σ_m w_m ∂/∂γ e(r + α_m(x - r) + γ 1_t(x - r))` is the t-th token's part of
`(x - r)·∫ ∂e/∂x dα` (Möller et al. 2023, section 2.2, with another quadrature). T forward-mode
derivatives give it at every node; D reverse-mode ones give the same where a text has more tokens
than its embedding has numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp, vmap

from attnaudit.models.siamese.encoder import SiameseEncoder, Tail
from attnaudit.models.siamese.path import PROFILE, Stretch
from attnaudit.models.siamese.tokens import Tokens

Mode = Literal["forward", "reverse"]
REVERSE_COST = 0.65
"""What one reverse derivative costs, in forward ones (measured on MiniLM, one thread)."""


@dataclass(frozen=True)
class Path:
    """The straight path of texts of one length, from reference states to their own.

    Attributes:
        tokens: B texts of T tokens.
        start: `(B, T, H)` states of the references at the layer.
        step: `(B, T, H)` states of the texts minus those.
        stretches: One a text.
    """

    tokens: Sequence[Tokens]
    start: Float[Tensor, "b t h"]
    step: Float[Tensor, "b t h"]
    stretches: Sequence[Stretch]

    def at(self, alphas: Float[Tensor, "b m"]) -> Float[Tensor, "bm t h"]:
        """The states at M places of each path, text by text."""
        alphas = alphas.to(self.step)[..., None, None]
        return (self.start[:, None] + alphas * self.step[:, None]).flatten(0, 1)

    def rule(self, count: int) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
        """Nodes and weights, a row a text."""
        rules = [stretch.nodes(count) for stretch in self.stretches]
        return torch.stack([r[0] for r in rules]), torch.stack([r[1] for r in rules])

    def rows(self, count: int) -> Tensor:
        """The text that each of `B · count` states belongs to."""
        return torch.arange(len(self.tokens), device=self.step.device).repeat_interleave(count)


def profile(encoder: SiameseEncoder, path: Path, budget: int) -> Float[Tensor, "b p d"]:
    """The embeddings at evenly spaced places of each path, both ends included."""
    texts = len(path.tokens)
    alphas = torch.linspace(0, 1, PROFILE, dtype=torch.float64).expand(texts, -1)
    seen = []
    for chosen, _ in _chunks(alphas, alphas, path.step[..., 0].numel(), budget):
        run = encoder.tail(path.tokens, path.rows(chosen.shape[1]))
        embedded = run(path.at(chosen))
        seen.append(embedded.reshape(*chosen.shape, embedded.shape[-1]))
    return torch.cat(seen, dim=1)


def forward_parts(
    encoder: SiameseEncoder, path: Path, count: int, budget: int
) -> Float[Tensor, "b t d"]:
    """D[t] by forward-mode derivatives, one a token whose states differ from the reference's.

    Cost grows with `count · T²`; memory with the budget of tokens in work at a time.
    """
    texts, length, _ = path.step.shape
    active = path.step.abs().amax(dim=(0, 2)).nonzero()[:, 0]
    parts: Tensor | None = None
    if not len(active):  # a text of the reference's own tokens
        return torch.zeros(texts, length, _size(encoder, path), dtype=torch.float64)
    alphas, weights = path.rule(count)
    group = max(1, min(len(active), budget // (texts * length)))
    for places in torch.split(active, group):
        at_once = texts * length * len(places)
        for chosen, share in _chunks(alphas, weights, at_once, budget):
            points = path.at(chosen)
            run = encoder.tail(path.tokens, path.rows(chosen.shape[1]))
            steps = path.step.repeat_interleave(chosen.shape[1], dim=0)

            def along(
                place: Tensor, run: Tail = run, points: Tensor = points, steps: Tensor = steps
            ) -> Tensor:
                one = (torch.arange(length, device=steps.device) == place)[None, :, None]
                moved: Tensor = jvp(run, (points,), (steps * one,))[1]
                return moved

            moved = vmap(along)(places)
            found = torch.stack([_weighted(one, share) for one in moved], dim=1)
            if parts is None:
                parts = found.new_zeros(texts, length, found.shape[-1])
            parts[:, places.cpu()] += found
    if parts is None:
        raise AssertionError("a path of no length has no parts")
    return parts


def reverse_products(
    encoder: SiameseEncoder,
    path: Path,
    count: int,
    directions: Float[Tensor, "b k d"],
    budget: int,
) -> Float[Tensor, "b k t"]:
    """`D[t]·v_k` for K directions by reverse-mode derivatives, without D itself; float64.

    With all unit vectors this is D; with the contributions of another text it is the pair's table.
    Cost grows with `count · K · T`.
    """
    texts, length, _ = path.step.shape
    kinds = directions.shape[1]
    found = torch.zeros(texts, kinds, length, dtype=torch.float64)
    alphas, weights = path.rule(count)
    group = max(1, min(kinds, budget // (texts * length)))
    for chosen, share in _chunks(alphas, weights, texts * length * group, budget):
        run = encoder.tail(path.tokens, path.rows(chosen.shape[1]))
        steps = path.step.repeat_interleave(chosen.shape[1], dim=0)
        pull = vjp(run, path.at(chosen))[1]
        for first in range(0, kinds, group):
            some = directions[:, first : first + group].to(steps)
            wanted = some.repeat_interleave(chosen.shape[1], dim=0).transpose(0, 1)
            slopes = vmap(lambda one, pull=pull: pull(one)[0])(wanted)
            along = (slopes * steps).double().sum(-1)
            found[:, first : first + group] += torch.stack(
                [_weighted(one, share) for one in along], dim=1
            )
    return found


def parts_of(
    encoder: SiameseEncoder, path: Path, count: int, budget: int, mode: Mode | None = None
) -> tuple[Float[Tensor, "b t d"], Mode]:
    """D[t] by the cheaper of forward and reverse mode, and which it was."""
    size = _size(encoder, path)
    chosen: Mode = mode or cheaper(path.step.shape[1], size)
    if chosen == "forward":
        return forward_parts(encoder, path, count, budget), chosen
    units = torch.eye(size, dtype=torch.float64).expand(len(path.tokens), -1, -1)
    return reverse_products(encoder, path, count, units, budget).transpose(1, 2), chosen


def cheaper(tokens: int, dimension: int) -> Mode:
    """Forward mode needs one derivative a token, reverse mode one a number of the embedding.

    Example:
        >>> cheaper(20, 384), cheaper(400, 384)
        ('forward', 'reverse')
    """
    return "forward" if tokens <= REVERSE_COST * dimension else "reverse"


def _size(encoder: SiameseEncoder, path: Path) -> int:
    return int(
        encoder.tail(path.tokens[:1], torch.zeros(1, dtype=torch.long))(path.start[:1]).shape[-1]
    )


def _chunks(
    alphas: Tensor, weights: Tensor, tokens: int, budget: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Nodes in groups of at most `budget` tokens in work at a time."""
    size = max(1, budget // max(1, tokens))
    for first in range(0, alphas.shape[1], size):
        yield alphas[:, first : first + size], weights[:, first : first + size]


def _weighted(values: Tensor, weights: Float[Tensor, "b m"]) -> Tensor:
    """`(B·M, …)` values summed over nodes with their weights, in float64 on the CPU."""
    split = values.double().cpu().reshape(*weights.shape, *values.shape[1:])
    return torch.einsum("bm,bm...->b...", weights, split)
