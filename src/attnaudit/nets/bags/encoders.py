"""Encoders of instances: each instance of a bag, read alone, to one vector."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from attnaudit.errors import SettingsError

KERNEL, CHANNELS = 5, (20, 50)
"""Of the two convolutions of Ilse et al. (2018)."""
UNPADDED = 16
"""Images from this side on are convolved without padding, as the 28 × 28 ones of the paper."""


class BagEncoder(nn.Module, ABC):
    """Base of the encoders.

    Attributes:
        name: What configurations call it.
        description: One line for tables.
        width: Numbers of an encoded instance.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    width: int

    @abstractmethod
    def __init__(self, shape: tuple[int, ...], hidden: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, rows: Float[Tensor, "M D"]) -> Float[Tensor, "M H"]:
        """Instances, flattened, one a row, to vectors; no row depends on another."""


class IdentityEncoder(BagEncoder):
    """The features as they are; `hidden` is not read."""

    name = "identity"
    description = "the features as they are"

    def __init__(self, shape: tuple[int, ...], hidden: int) -> None:
        super().__init__(shape, hidden)
        self.width = math.prod(shape)

    def forward(self, rows: Float[Tensor, "M D"]) -> Float[Tensor, "M H"]:
        """The rows."""
        return rows


class MlpEncoder(BagEncoder):
    """`D → 2H → H`, a ReLU after each: 64 → 64 → 32 on digits of 8 × 8 with `hidden` 32."""

    name = "mlp"
    description = "two layers with ReLU, D → 2H → H"

    def __init__(self, shape: tuple[int, ...], hidden: int) -> None:
        super().__init__(shape, hidden)
        self.width = hidden
        self.layers = nn.Sequential(
            nn.Linear(math.prod(shape), 2 * hidden),
            nn.ReLU(),
            nn.Linear(2 * hidden, hidden),
            nn.ReLU(),
        )

    def forward(self, rows: Float[Tensor, "M D"]) -> Float[Tensor, "M H"]:
        """Vectors, none negative."""
        vectors: Tensor = self.layers(rows)
        return vectors


class MnistCnn(BagEncoder):
    """The network of MNIST bags (Ilse et al. 2018, supplement, table 8).

    Convolution 5 × 5 with 20 channels, ReLU, max pooling by 2, convolution 5 × 5 with 50
    channels, ReLU, max pooling by 2, linear layer to `hidden` (500 in the paper), ReLU. Images
    with a side below 16 are padded by 2 before each convolution, since 8 × 8 would leave nothing;
    28 × 28 is convolved as in the paper, to 800 numbers.

    Raises:
        SettingsError: Instances are no images, or a side is below 4.
    """

    name = "mnist_cnn"
    description = "two convolutions of 5 × 5 with pooling, one linear layer (Ilse et al. 2018)"

    def __init__(self, shape: tuple[int, ...], hidden: int) -> None:
        super().__init__(shape, hidden)
        if len(shape) != 3 or min(shape[1:]) < 4:
            raise SettingsError(
                f"the encoder {self.name!r} reads images (channels, height, width) of 4 × 4 or "
                f"more, and instances have the shape {shape}; choose 'mlp'"
            )
        self.shape, self.width = shape, hidden
        padding = KERNEL // 2 if min(shape[1:]) < UNPADDED else 0
        lost = KERNEL - 1 - 2 * padding
        left = [((side - lost) // 2 - lost) // 2 for side in shape[1:]]
        first, second = CHANNELS
        self.images = nn.Sequential(
            nn.Conv2d(shape[0], first, KERNEL, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, KERNEL, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.output = nn.Sequential(nn.Linear(second * math.prod(left), hidden), nn.ReLU())

    def forward(self, rows: Float[Tensor, "M D"]) -> Float[Tensor, "M H"]:
        """Vectors, none negative."""
        maps = self.images(rows.reshape(-1, *self.shape))
        vectors: Tensor = self.output(maps.flatten(1))
        return vectors


BAG_ENCODERS: dict[str, type[BagEncoder]] = {
    encoder.name: encoder for encoder in (IdentityEncoder, MlpEncoder, MnistCnn)
}
