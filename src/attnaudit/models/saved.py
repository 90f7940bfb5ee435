"""What the networks of our own have in common under the cut: their device, their folder, a pool."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnaudit.models.cut import Model, States
from attnaudit.nets.bags.classifier import BagClassifier
from attnaudit.nets.checkpoint import write_files
from attnaudit.nets.text.classifier import AttentionClassifier


class SavedModel(Model):
    """A model of one network, written as a folder that `load` reads.

    Attributes:
        net: The network; its parameters are frozen.
    """

    net: nn.Module

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.net.parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Move the parameters to another device; the model itself is returned."""
        self.net.to(device)
        return self

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """What its folder holds, by name."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model as a folder that `load` reads.

        Args:
            folder: Where to; it is made.
            overwrite: Replace a model that attnaudit saved there.

        Raises:
            ModelError: The folder cannot be written, or holds something already.
        """
        write_files(Path(folder), self.files(), overwrite=overwrite)


class PooledModel(SavedModel):
    """One whose network pools states by its weights, and reads them by its own head."""

    net: AttentionClassifier | BagClassifier

    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """The weights: 0 off the units, summing to 1 over them.

        Raises:
            NotApplicable: The pool has none.
        """
        return self.net.attend(states.hidden, states.units, states.extra)

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """Log-probabilities `(B, C)` for weights `(B, L)`; `(B, K, C)` for `(B, K, L)`."""
        return self.net.decode(states.hidden, weights, states.extra)
