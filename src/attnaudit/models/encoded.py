"""One batch, encoded once: everything the checks share is computed at most once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from attnaudit.errors import ModelError, NotApplicable
from attnaudit.models.cut import Batch, LinearDecode, Model, States

SUM_TOLERANCE = 1e-3
LINEAR_TOLERANCE = 1e-3
NUMBERS_AT_ONCE = 1 << 24
"""Numbers that `decode` may hold at once: 64 MB in single precision."""


class Encoded:
    """A batch with its states, weights and outputs, each computed on first use.

    Args:
        model: The model.
        batch: The instances.
        trace: Keep what the encoder's pass needs for gradients, so that they cost a backward
            pass only. Takes more memory.
        budget: Numbers that decoding may hold at once; see `decode`.

    Attributes:
        kept: What several attributions share of this batch, by name.
    """

    def __init__(
        self, model: Model, batch: Batch, *, trace: bool = False, budget: int = NUMBERS_AT_ONCE
    ) -> None:
        self.model = model
        self.batch = batch
        self._trace = trace
        self._budget = budget
        self.kept: dict[str, object] = {}

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
                return states.detached()
        with torch.no_grad():
            return self.model.encode(self.batch)

    @cached_property
    def own(self) -> Float[Tensor, "B L"]:
        """The model's own weights over units and sinks, checked.

        Raises:
            ModelError: They are not finite, negative, elsewhere, or do not sum to 1.
        """
        with torch.no_grad():
            weights = self.model.attend(self.states)
        check_weights(weights, self.states.attendable, self.model.name, self.batch.ids)
        return weights

    @cached_property
    def sink_mass(self) -> Float[Tensor, " B"]:
        """The weight that rests on positions that are no units; 0 in models that pool."""
        if self.states.sinks is None:
            return torch.zeros_like(self.own[:, 0])
        return (self.own * self.states.sinks).sum(1)

    @cached_property
    def weights(self) -> Float[Tensor, "B L"]:
        """The model's own weights over the units: the explanation, a distribution.

        Weights beside a sink mass are renormalised; all 0 where the sinks hold everything.

        Raises:
            ModelError: The model's weights are no distribution.
        """
        if self.states.sinks is None:
            return self.own
        free = self.own * self.units
        total = free.sum(1, keepdim=True)
        return torch.where(total > 0, free / total.clamp(min=torch.finfo(free.dtype).tiny), 0.0)

    @cached_property
    def linear(self) -> LinearDecode | None:
        """The linear form of decode in weights over the units, or None."""
        with torch.no_grad():
            linear = self.model.linear(self.states)
            if linear is None or self.states.sinks is None:
                return linear
            held = torch.einsum("bl,blc->bc", self.own * self.states.sinks, linear.scores)
            free = (1 - self.sink_mass).view(-1, 1, 1)
            return LinearDecode(linear.scores * free, linear.bias + held)

    @cached_property
    def outputs(self) -> Float[Tensor, "B C"]:
        """The model's own log-probabilities.

        Raises:
            ModelError: They are not finite.
        """
        with torch.no_grad():
            outputs = self.states.outputs
            if outputs is None:
                outputs = self.model.decode(self.states, self.own)
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

    @cached_property
    def targets(self) -> Int[Tensor, " B"]:
        """What is explained of each instance: the predicted class, unless the model names more."""
        return self.model.targets(self.batch, self.outputs)

    def decode(
        self, alternatives: Tensor, weights_of: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "*rest C"]:
        """Log-probabilities for other weights over the units, the cheapest way.

        Alternatives are decoded in blocks within the budget, so that memory does not grow with
        their number. What the model's weights leave to sinks stays there.

        Args:
            alternatives: Weights `(B, L)`, or `K` of them for each instance, `(B, K, L)`.
            weights_of: Makes weights of alternatives that are something else, block by block:
                `(B, k, ...)` to `(B, k, L)`.

        Returns:
            `(B, C)`, or `(B, K, C)`.
        """
        if alternatives.dim() == 2:
            return self._decode(alternatives)
        step = at_once(self.model, self.states, self._budget)
        blocks = torch.split(alternatives, step, 1)

        def run(block: Tensor) -> Tensor:
            return self._decode(block if weights_of is None else weights_of(block))

        if len(blocks) == 1:
            return run(alternatives)
        if torch.is_grad_enabled() and alternatives.requires_grad:
            # what the backward pass needs of a block is computed again when it is the block's turn
            return torch.cat([checkpoint(run, block, use_reentrant=False) for block in blocks], 1)
        return torch.cat([run(block) for block in blocks], 1)

    def _decode(self, weights: Tensor) -> Tensor:
        if self.linear is not None:
            return self.linear(weights)
        if self.states.sinks is not None:
            shape = (len(self), *[1] * (weights.dim() - 2))
            held = (self.own * self.states.sinks).view(*shape, -1)
            weights = held + (1 - self.sink_mass).view(*shape, 1) * weights
        return self.model.decode(self.states, weights)

    def of_target(self, log_probabilities: Tensor) -> Tensor:
        """The probability of what is explained: `(B, C)` to `(B,)`, `(B, K, C)` to `(B, K)`."""
        index = self.targets.view(-1, *[1] * (log_probabilities.dim() - 1))
        index = index.expand(*log_probabilities.shape[:-1], 1)
        return log_probabilities.gather(-1, index).squeeze(-1).exp()


def at_once(model: Model, states: States, budget: int = NUMBERS_AT_ONCE) -> int:
    """How many alternatives of each instance are decoded in one block; at least one."""
    return max(1, budget // max(1, len(states.hidden) * model.decode_size(states)))


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
