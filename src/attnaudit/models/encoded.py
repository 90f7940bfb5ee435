"""One batch, encoded once: everything the checks share is computed at most once."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.errors import ModelError, NotApplicable
from attnaudit.models.cut import Batch, LinearDecode, Model, States

SUM_TOLERANCE = 1e-3
LINEAR_TOLERANCE = 1e-3


class Encoded:
    """A batch with its states, weights and outputs, each computed on first use.

    Args:
        model: The model.
        batch: The instances.
        trace: Keep what the encoder's pass needs for gradients, so that they cost a backward
            pass only. Takes more memory.
    """

    def __init__(self, model: Model, batch: Batch, *, trace: bool = False) -> None:
        self.model = model
        self.batch = batch
        self._trace = trace

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def units(self) -> Bool[Tensor, "B L"]:
        """The positions that may receive weight."""
        return self.batch.units

    @cached_property
    def traced(self) -> tuple[Float[Tensor, "B L E"], States]:
        """Embeddings as a leaf, and the states with the graph that leads back to them.

        Raises:
            NotApplicable: The model gives no embeddings.
        """
        with torch.no_grad():
            embedded = self.model.embed(self.batch)
        leaf = embedded.detach().requires_grad_()
        # cuDNN's recurrent kernels have no backward pass in evaluation mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            return leaf, self.model.encode_embedded(self.batch, leaf)

    @cached_property
    def states(self) -> States:
        """The encoder's pass."""
        if self._trace:
            try:
                states = self.traced[1]
            except NotApplicable:
                pass
            else:
                extra = {name: value.detach() for name, value in states.extra.items()}
                return States(states.hidden.detach(), states.units, extra)
        with torch.no_grad():
            return self.model.encode(self.batch)

    @cached_property
    def weights(self) -> Float[Tensor, "B L"]:
        """The model's own weights, checked.

        Raises:
            ModelError: They are not finite, negative, off the units, or do not sum to 1.
        """
        with torch.no_grad():
            weights = self.model.attend(self.states)
        check_weights(weights, self.units, self.model.name, self.batch.ids)
        return weights

    @cached_property
    def linear(self) -> LinearDecode | None:
        """The linear form of decode, or None."""
        with torch.no_grad():
            return self.model.linear(self.states)

    @cached_property
    def outputs(self) -> Float[Tensor, "B C"]:
        """The model's own log-probabilities.

        Raises:
            ModelError: They are not finite.
        """
        with torch.no_grad():
            outputs = self.model.decode(self.states, self.weights)
            if self.linear is not None:
                gap = float((self.linear(self.weights).exp() - outputs.exp()).abs().max())
                if gap > LINEAR_TOLERANCE:
                    raise ModelError(
                        f"{self.model.name}: the linear form of decode is off by {gap:.2g} in "
                        "probability. Pass linear_head only where decode is that layer alone."
                    )
        if torch.isnan(outputs).any():
            row = int(torch.isnan(outputs).any(-1).nonzero()[0])
            raise ModelError(
                f"{self.model.name} gives NaN for instance {self.batch.ids[row]!r}. "
                "Its parameters or this input are broken; nothing was audited."
            )
        return outputs

    @cached_property
    def probabilities(self) -> Float[Tensor, "B C"]:
        """`exp(outputs)`."""
        return self.outputs.exp()

    @cached_property
    def predicted(self) -> Int[Tensor, " B"]:
        """The arg-max class."""
        return self.outputs.argmax(-1)

    def decode(self, weights: Tensor) -> Tensor:
        """Log-probabilities for other weights, the cheapest way: `(B, L)` or `(B, K, L)`."""
        if self.linear is not None:
            return self.linear(weights)
        return self.model.decode(self.states, weights)

    def of_predicted(self, log_probabilities: Tensor) -> Tensor:
        """The probability of the predicted class: `(B, C)` to `(B,)`, `(B, K, C)` to `(B, K)`."""
        index = self.predicted.view(-1, *[1] * (log_probabilities.dim() - 1))
        index = index.expand(*log_probabilities.shape[:-1], 1)
        return log_probabilities.gather(-1, index).squeeze(-1).exp()


def check_shape(weights: Tensor, units: Tensor, name: str) -> None:
    """Refuse weights that are not one per position.

    Raises:
        ModelError: Naming both shapes.
    """
    if weights.shape != units.shape:
        raise ModelError(
            f"{name}: attend gave weights of shape {tuple(weights.shape)}, but the batch has "
            f"{tuple(units.shape)} positions. Return one weight per stored position."
        )


def check_weights(weights: Tensor, units: Tensor, name: str, ids: tuple[str, ...]) -> None:
    """Refuse weights that are no distribution over the units.

    Raises:
        ModelError: Naming the instance and what is wrong with it.
    """
    check_shape(weights, units, name)
    some = units.any(1)
    sums = weights.sum(1)
    off = ((sums - 1).abs() > SUM_TOLERANCE) & some
    fine = (weights >= 0) & torch.isfinite(weights) & (units | (weights == 0))
    if bool(fine.all()) and not bool(off.any()):
        return
    problems = {
        "is not finite": ~torch.isfinite(weights).all(1),
        "is negative": (weights < 0).any(1),
        "stands on a position that is no unit": (weights * ~units != 0).any(1),
        "does not sum to 1": off,
    }
    for what, rows in problems.items():
        if rows.any():
            row = int(rows.nonzero()[0])
            raise ModelError(
                f"{name}: for instance {ids[row]!r} the weight {what} "
                f"(sum {float(weights[row].sum()):.4g}). attend must return a distribution over "
                "the units of each instance."
            )
