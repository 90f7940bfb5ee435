"""Images as bags of patches, each in its place: the units of a vision transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.data.bags.records import Bag, BagDataset
from attnaudit.errors import DataError, MissingExtra

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class Grid:
    """How images are read and cut.

    Attributes:
        size: Height and width in pixels, multiples of the patch.
        patch: Height and width of a patch in pixels.
        mean: What is taken off each channel (0 to 1).
        deviation: What each channel is divided by.
    """

    size: tuple[int, int]
    patch: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.size[0] // self.patch, self.size[1] // self.patch


def patches_of(pixels: Float[Tensor, "C H W"], patch: int) -> Float[Tensor, "N D"]:
    """An image cut into patches, row by row; a patch is its channels, rows and columns in turn.

    Example:
        >>> patches_of(torch.zeros(3, 4, 6), 2).shape
        torch.Size([6, 12])
    """
    channels, height, width = pixels.shape
    rows = pixels.reshape(channels, height // patch, patch, width // patch, patch)
    return rows.permute(1, 3, 0, 2, 4).reshape(-1, channels * patch * patch)


def pixels_of(patches: Float[Tensor, "B N D"], grid: Grid) -> Float[Tensor, "B C H W"]:
    """Patches put together again."""
    rows, columns = grid.shape
    size, side = len(patches), grid.patch
    parts = patches.reshape(size, rows, columns, -1, side, side)
    return parts.permute(0, 3, 1, 4, 2, 5).reshape(size, -1, *grid.size)


def image_record(
    id: str,
    pixels: Float[Tensor, "C H W"],
    grid: Grid,
    label: int | None = None,
    truth: Bool[Tensor, " N"] | None = None,
) -> Bag:
    """An image as a bag of patches.

    Args:
        id: Unique within its data set.
        pixels: From 0 to 1, of the grid's size.
        grid: How it is cut.
        label: Index of its class, or None.
        truth: Which patches show what the label is about, row by row, or None.

    Raises:
        DataError: The image has another size.
    """
    if tuple(pixels.shape[1:]) != grid.size:
        raise DataError(
            f"image {id!r} has {tuple(pixels.shape[1:])} pixels, and the model reads {grid.size}"
        )
    mean, deviation = (
        torch.tensor(value, dtype=torch.float32).view(-1, 1, 1)
        for value in (grid.mean, grid.deviation)
    )
    rows, columns = grid.shape
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1)
    names = tuple(f"row {r + 1}, column {c + 1}" for r in range(rows) for c in range(columns))
    cut = patches_of((pixels.float() - mean) / deviation, grid.patch)
    return Bag(id, cut, label, truth, coordinates=places.float(), names=names)


def read_images(folder: Path, grid: Grid, classes: Sequence[str] = ()) -> BagDataset:
    """The images of a folder; where they lie in sub-folders, these are their classes.

    Args:
        folder: The folder.
        grid: How they are cut.
        classes: Names of the model's classes, which fix the order.

    Raises:
        MissingExtra: The package pillow is absent.
        DataError: There is no image, or one cannot be read.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("pillow", "images", "Reading images") from error
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    found = {p.parent.name for p in files if p.parent != folder}
    names = tuple(classes) if found <= set(classes) else tuple(sorted(found))
    records = []
    for file in files:
        try:
            with Image.open(file) as image:
                small = image.convert("RGB").resize(grid.size[::-1], Image.Resampling.BICUBIC)
        except OSError as error:
            raise DataError(f"{file} cannot be read as an image ({error})") from error
        pixels = torch.from_numpy(np.array(small, dtype=np.float32) / 255).permute(2, 0, 1)
        label = names.index(file.parent.name) if file.parent.name in names else None
        id = file.relative_to(folder).as_posix()
        records.append(image_record(id, pixels, grid, label))
    shape = tuple(records[0].instances.shape[1:])
    return BagDataset(folder.name, tuple(records), names, shape, "test")


def holds_images(place: object) -> bool:
    """Whether a place is a folder with images."""
    if not isinstance(place, str | Path):
        return False
    folder = Path(place)
    return folder.is_dir() and any(p.suffix.lower() in SUFFIXES for p in folder.rglob("*"))
