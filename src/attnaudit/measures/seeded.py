"""Random numbers keyed by instance: the same draws in any batch, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def instance_generator(seed: int, stream: str, id: str) -> torch.Generator:
    """A generator that depends on seed, stream name and instance id alone.

    Example:
        >>> a, b = (instance_generator(0, "demo", "x") for _ in range(2))
        >>> bool(torch.equal(torch.rand(3, generator=a), torch.rand(3, generator=b)))
        True
    """
    digest = blake2b(f"{seed}\x1f{stream}\x1f{id}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))


def instance_uniform(
    ids: Sequence[str], mask: Bool[Tensor, "B T"], k: int, seed: int, stream: str
) -> Float[Tensor, "B K T"]:
    """Uniform draws from [0, 1) at the units, 0 elsewhere; float32, on the mask's device.

    Args:
        ids: The ids of the instances.
        mask: `(B, T)`, True at units. Padding has no part in what is drawn.
        k: Draws per unit.
        seed: Of the audit.
        stream: What the draws are for; other names give other draws.
    """
    return _drawn(ids, mask, k, seed, stream, torch.rand)


def instance_normal(
    ids: Sequence[str], mask: Bool[Tensor, "B T"], k: int, seed: int, stream: str
) -> Float[Tensor, "B K T"]:
    """Standard normal draws at the units, 0 elsewhere; see `instance_uniform`."""
    return _drawn(ids, mask, k, seed, stream, torch.randn)


def random_permutations(
    ids: Sequence[str], mask: Bool[Tensor, "B T"], k: int, seed: int, stream: str
) -> Int[Tensor, "B K T"]:
    """Uniform permutations of the units as indices; positions off the mask map to themselves.

    Returns:
        `index` such that `x.gather(2, index)` permutes the units of `x (B, K, T)`.
    """
    mask = mask.cpu()
    counts = mask.sum(1)
    draws = _left_draws(ids, counts, k, seed, stream, torch.rand)
    index = torch.arange(mask.shape[1]).repeat(len(ids), k, 1)
    if draws.shape[2] == 0:
        return index
    # beyond its count a row draws 2, so that sorting leaves the units' ranks in front
    beyond = torch.arange(draws.shape[2]) >= counts.unsqueeze(1)
    order = draws.masked_fill_(beyond.unsqueeze(1), 2.0).argsort(dim=2)
    places = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)[:, : draws.shape[2]]
    source = places.unsqueeze(1).expand_as(order).gather(2, order)
    kept = (~beyond).unsqueeze(1).expand_as(order)
    index[mask.unsqueeze(1).expand_as(index)] = source[kept]
    return index


def permuted(
    weights: Float[Tensor, "B T"],
    ids: Sequence[str],
    mask: Bool[Tensor, "B T"],
    k: int,
    seed: int,
    stream: str,
) -> Float[Tensor, "B K T"]:
    """The weights in `k` uniformly random orders over the units; the identity may occur."""
    index = random_permutations(ids, mask, k, seed, stream).to(weights.device)
    return weights.unsqueeze(1).expand(-1, k, -1).gather(2, index)


def _left_draws(
    ids: Sequence[str], counts: Tensor, k: int, seed: int, stream: str, draw: object
) -> Tensor:
    longest = int(counts.max()) if len(counts) else 0
    draws = torch.zeros(len(ids), k, longest)
    for row, (id, count) in enumerate(zip(ids, counts.tolist(), strict=True)):
        generator = instance_generator(seed, stream, id)
        draws[row, :, :count] = draw(k, count, generator=generator)  # type: ignore[operator]
    return draws


def _drawn(
    ids: Sequence[str], mask: Tensor, k: int, seed: int, stream: str, draw: object
) -> Tensor:
    where = mask.cpu()
    counts = where.sum(1)
    draws = _left_draws(ids, counts, k, seed, stream, draw)
    result = torch.zeros(len(ids), k, mask.shape[1])
    kept = torch.arange(draws.shape[2]) < counts.unsqueeze(1)
    result[where.unsqueeze(1).expand_as(result)] = draws[kept.unsqueeze(1).expand_as(draws)]
    return result.to(mask.device)
