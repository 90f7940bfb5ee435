"""Random numbers keyed by instance: the same draws in any batch, order, padding and version.

The bits of an instance are the output of SHAKE-128 on seed, stream name and instance id, so they
depend on nothing else, no two instances share them, and the first k draws are the same however
many are drawn. Generators of PyTorch use only 32 bits of a seed and may change with its version.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b, shake_128

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.masks import check_mask, compact_index

PLACE_BITS = 20
"""Bits of a sorting key that hold a unit's place; the 44 others are random."""


def instance_generator(seed: int, stream: str, id: str) -> torch.Generator:
    """A generator for draws of any kind, from seed, stream name and instance id alone.

    Args:
        seed: Of the run.
        stream: What the draws are for; other names give other draws.
        id: Of the instance.

    Returns:
        A generator on the CPU.

    Example:
        >>> a, b = (instance_generator(0, "demo", "x") for _ in range(2))
        >>> bool(torch.equal(torch.rand(3, generator=a), torch.rand(3, generator=b)))
        True
    """
    digest = blake2b(_key(seed, stream, id), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))


def instance_uniform(
    ids: Sequence[str], mask: Bool[Tensor, "B T"], k: int, seed: int, stream: str
) -> Float[Tensor, "B K T"]:
    """Uniform draws from [0, 1) at the units, 0 elsewhere.

    Args:
        ids: The ids of the instances, `B` of them.
        mask: `(B, T)`, True on real units; padding has no part in what is drawn.
        k: Draws per unit.
        seed: Of the run.
        stream: What the draws are for; other names give other draws.

    Returns:
        `(B, k, T)` float64, multiples of 2⁻⁵³, on the mask's device.

    Raises:
        DataError: Not one id per instance, or a mask that is none.
        SettingsError: `k` is negative.

    Example:
        >>> short = instance_uniform(["x"], torch.tensor([[True, True]]), 1, 0, "demo")
        >>> long = instance_uniform(["x"], torch.tensor([[False, True, True]]), 1, 0, "demo")
        >>> bool(torch.equal(short[..., :2], long[..., 1:]))
        True
    """
    numbers = torch.from_numpy((_bits(ids, mask, k, seed, stream) >> np.uint64(11)) * 2.0**-53)
    return _placed(numbers, mask)


def instance_normal(
    ids: Sequence[str], mask: Bool[Tensor, "B T"], k: int, seed: int, stream: str
) -> Float[Tensor, "B K T"]:
    """Standard normal draws at the units, 0 elsewhere: the quantiles of uniform draws.

    Args:
        ids: See `instance_uniform`, as for the arguments below.
        mask: `(B, T)`, True on real units.
        k: Draws per unit.
        seed: Of the run.
        stream: What the draws are for.

    Returns:
        `(B, k, T)` float64 on the mask's device, within ±8.3.

    Raises:
        DataError: Not one id per instance, or a mask that is none.
        SettingsError: `k` is negative.

    Example:
        >>> mask = torch.ones(1, 10_000, dtype=bool)
        >>> bool((instance_normal(["x"], mask, 1, 0, "demo").std() - 1).abs() < 0.03)
        True
    """
    numbers = torch.from_numpy((_bits(ids, mask, k, seed, stream) >> np.uint64(11)) * 2.0**-53)
    # The middle of each cell of the grid: 0 itself would be minus infinity.
    return _placed(torch.special.ndtri(numbers + 2.0**-54), mask)


def permuted(
    weights: Float[Tensor, "B T"],
    ids: Sequence[str],
    mask: Bool[Tensor, "B T"],
    k: int,
    seed: int,
    stream: str,
) -> Float[Tensor, "B K T"]:
    """The weights in `k` uniformly random orders over the units; the identity may occur.

    Args:
        weights: `(B, T)`.
        ids: See `instance_uniform`, as for the arguments below.
        mask: `(B, T)`, True on real units.
        k: Permutations per instance.
        seed: Of the run.
        stream: What the draws are for.

    Returns:
        `(B, k, T)`; off the units the weights as they are.

    Raises:
        DataError: The shapes differ, not one id per instance, or over a million units.
        SettingsError: `k` is negative.

    Example:
        >>> weights = torch.tensor([[0.0, 0.7, 0.1, 0.2]])
        >>> permuted(weights, ["x"], weights > 0, 1, 0, "demo").sort().values.tolist() == [
        ...     [sorted(weights[0].tolist())]
        ... ]
        True
    """
    check_mask(mask, weights=weights)
    order = _orders(ids, mask, k, seed, stream)
    index, _ = compact_index(mask)
    units = weights.gather(-1, index).unsqueeze(1).expand(-1, k, -1).gather(-1, order)
    result = weights.unsqueeze(1).repeat(1, k, 1)
    return result.scatter_(-1, index.unsqueeze(1).expand(-1, k, -1), units)


def _key(seed: int, stream: str, id: str) -> bytes:
    return repr((int(seed), str(stream), str(id))).encode()


def _bits(
    ids: Sequence[str], mask: Tensor, k: int, seed: int, stream: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """64 random bits per draw `(B, K, N)`, all ones behind the units."""
    check_mask(mask)
    if len(ids) != len(mask):
        raise DataError(f"there are {len(ids)} ids but {len(mask)} instances; give one id each")
    if k < 0:
        raise SettingsError(f"k is {k}, but a number of draws is 0 or more")
    counts = mask.sum(-1).tolist()
    bits = np.full((len(ids), k, max(counts, default=0)), 2**64 - 1, dtype=np.uint64)
    for row, (id, count) in enumerate(zip(ids, counts, strict=True)):
        stretched = shake_128(_key(seed, stream, id)).digest(8 * k * count)
        bits[row, :, :count] = np.frombuffer(stretched, dtype="<u8").reshape(k, count)
    return bits


def _orders(
    ids: Sequence[str], mask: Tensor, k: int, seed: int, stream: str
) -> Int[Tensor, "B K N"]:
    """Orders of the units among themselves, by sorting random keys that carry their places.

    Two keys of one permutation of n units agree in their random bits with a probability of about
    n² / 2⁴⁵; only then does their place decide.
    """
    bits = _bits(ids, mask, k, seed, stream)
    if bits.shape[-1] > 1 << PLACE_BITS:
        raise DataError(
            f"an instance has {bits.shape[-1]} units; permutations take up to {1 << PLACE_BITS}"
        )
    low = np.uint64((1 << PLACE_BITS) - 1)
    bits &= ~low
    bits |= np.arange(bits.shape[-1], dtype=np.uint64)
    bits.sort(axis=-1)
    bits &= low
    return torch.from_numpy(bits.view(np.int64)).to(mask.device)


def _placed(numbers: Float[Tensor, "B K N"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B K T"]:
    """Numbers per unit at the places of the units, 0 elsewhere."""
    index, present = compact_index(mask)
    numbers = numbers.to(mask.device).masked_fill_(~present.unsqueeze(1), 0.0)
    result = numbers.new_zeros(len(mask), numbers.shape[1], mask.shape[1])
    return result.scatter_(-1, index.unsqueeze(1).expand_as(numbers), numbers)
