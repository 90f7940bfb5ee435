"""Images of digits for generated bags, in pools that share no image."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attnaudit.data.sources.frames import listed
from attnaudit.data.sources.unpacking import gunzip, read_whole
from attnaudit.errors import DataError, SettingsError

Pool = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Images `(n, channels, height, width)` and their digits `(n,)`."""

MEAN, DEVIATION = 0.1307, 0.3081
"""By which pixels of MNIST are standardised, as in the code of Ilse et al. (2018)."""
_FOLDERS = ("", "raw", "MNIST/raw")
_IMAGES, _LABELS = 0x803, 0x801


@dataclass(frozen=True, eq=False)
class Images:
    """Digits in pools: `train`, `dev`, `test`.

    Attributes:
        pools: Each pool by its name.
    """

    pools: Mapping[str, Pool]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return tuple(self.pools["test"][0].shape[1:])

    def pool(self, split: str) -> Pool:
        """The images for a split; all of them for `all`.

        Raises:
            SettingsError: There is no such split.
        """
        if split == "all":
            pools = self.pools.values()
            return np.concatenate([p[0] for p in pools]), np.concatenate([p[1] for p in pools])
        if split not in self.pools:
            raise SettingsError(
                f"images come in the splits {listed(list(self.pools))} and 'all', not {split!r}"
            )
        return self.pools[split]


@functools.lru_cache(maxsize=1)
def sklearn_digits() -> Images:
    """The 1,797 digits of 8×8 pixels of scikit-learn, from 0 to 1: 1,000, 200 and 597 of them."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = (data.images[:, None] / 16).astype(np.float32)
    return _cut(pixels, data.target.astype(np.int64), {"test": 597, "dev": 200})


@functools.lru_cache(maxsize=2)
def idx_images(folder: str | Path) -> Images:
    """The digits of MNIST, standardised, from its files in a folder.

    Where the 60,000 training images are there, 10,000 of them are for dev, the others for train,
    and the `t10k` images are for test. With `t10k` files alone, these are cut 7 : 1 : 2.

    Args:
        folder: Where `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte` and, if they are to be
            used, the two `train-…` files are; or a folder that torchvision filled.

    Raises:
        DataError: A file is missing, or is not what it should be.
    """
    root = Path(folder)
    places = [root / part for part in _FOLDERS]
    test = _read_pair(places, "t10k")
    if test is None:
        raise DataError(
            f"{root} holds no t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (with or without "
            ".gz): give the folder with the files of MNIST"
        )
    train = _read_pair(places, "train")
    if train is None:
        size = len(test[1])
        return _cut(*test, {"test": size // 5, "dev": size // 10})
    return Images({**_cut(*train, {"dev": len(train[1]) // 6}).pools, "test": test})


def _cut(
    pixels: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], sizes: Mapping[str, int]
) -> Images:
    """Pools of these sizes, the rest for train; the cut is always the same."""
    order = np.random.default_rng(0).permutation(len(labels))
    pools: dict[str, Pool] = {}
    start = 0
    for name, size in (*sizes.items(), ("train", len(labels) - sum(sizes.values()))):
        rows = np.sort(order[start : start + size])
        pools[name] = pixels[rows], labels[rows]
        start += size
    return Images(pools)


def _read_pair(places: list[Path], part: str) -> Pool | None:
    """Images and labels of a part, or None where both files are absent."""
    found = [_find(places, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
    images, labels = found
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        there = labels or images
        raise DataError(f"{there} is there without its partner: {part} needs images and labels")
    raw = _read_idx(images, _IMAGES, 3)
    digits = _read_idx(labels, _LABELS, 1).astype(np.int64)
    if len(raw) != len(digits):
        raise DataError(f"{images} has {len(raw)} images, {labels} {len(digits)} labels")
    if digits.max(initial=0) > 9:
        raise DataError(f"{labels}: the label {digits.max()} is no digit")
    pixels = (raw[:, None] / 255 - MEAN) / DEVIATION
    return pixels.astype(np.float32), digits


def _find(places: list[Path], name: str) -> Path | None:
    paths = (place / f"{name}{suffix}" for place in places for suffix in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _read_idx(path: Path, magic: int, axes: int) -> npt.NDArray[np.uint8]:
    """An array of bytes in the IDX format of MNIST: magic number, sizes, values."""
    raw = read_whole(path)
    raw = gunzip(raw, path) if raw.startswith(b"\x1f\x8b") else raw
    start = 4 * (axes + 1)
    header = np.frombuffer(raw[:start], ">u4") if len(raw) >= start else np.zeros(1)
    if header[0] != magic:
        raise DataError(f"{path} is no IDX file of MNIST: it does not begin with {magic:#010x}")
    shape = tuple(int(size) for size in header[1:])
    if len(raw) - start != int(np.prod(shape)):
        raise DataError(f"{path} is cut short or too long: {shape} values were announced")
    return np.frombuffer(raw[start:], np.uint8).reshape(shape)
