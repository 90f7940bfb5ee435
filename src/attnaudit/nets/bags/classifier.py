"""A classifier of bags: encoder of instances, pool, head; cut at the weights of the pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad

from attnaudit.errors import DataError, SettingsError
from attnaudit.nets.bags.encoders import BAG_ENCODERS
from attnaudit.nets.bags.pooling import PoolSizes
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.nets.text.classifier import log_probabilities

HEADS = ("linear", "mlp")
"""Heads: one linear layer, or one hidden layer with ReLU before it."""
ROWS_AT_ONCE = 2_048
"""Instances encoded at once."""


@dataclass(frozen=True)
class BagConfig:
    """What a classifier of bags is made of.

    The defaults are those for small instances; Ilse et al. (2018) have `mnist_cnn`, `hidden` 500
    and `attention` 128.

    Attributes:
        classes: The names of the outputs, two or more.
        shape: Of one instance: `(features,)`, or `(channels, height, width)`.
        encoder: A name of `BAG_ENCODERS`.
        pool: A name of `BAG_POOLS`.
        head: A name of `HEADS`.
        hidden: Numbers of an encoded instance, where the encoder does not fix them.
        attention: Rows of the layer inside an additive attention.
        heads: Attention heads, in pools that have several.
        shown: Which head's weights are shown, from 0; None for the mean of the heads.

    Raises:
        SettingsError: A name that no registry holds, or a number out of range.

    Example:
        >>> BagConfig(("no", "yes"), (10,), pool="gated").logits
        1
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    encoder: str = "mlp"
    pool: str = "gated"
    head: str = "linear"
    hidden: int = 32
    attention: int = 16
    heads: int = 4
    shown: int | None = None

    def __post_init__(self) -> None:
        for field, name, known in (
            ("encoder", self.encoder, tuple(BAG_ENCODERS)),
            ("pool", self.pool, tuple(BAG_POOLS)),
            ("head", self.head, HEADS),
        ):
            if name not in known:
                raise SettingsError(
                    f"{field} {name!r} is unknown; choose one of {', '.join(known)}"
                )
        for field in ("hidden", "attention", "heads"):
            if getattr(self, field) < 1:
                raise SettingsError(f"{field} is {getattr(self, field)}; it must be 1 or more")
        if len(self.classes) < 2:
            raise SettingsError(f"classes is {self.classes}; a classifier needs two or more")
        if not self.shape or min(self.shape) < 1:
            raise SettingsError(f"shape is {self.shape}; give the sizes of an instance, 1 or more")
        if self.shown is not None:
            if not BAG_POOLS[self.pool].multi_head:
                raise SettingsError(
                    f"shown is {self.shown}, but the pool {self.pool!r} has one head; leave it out"
                )
            if not 0 <= self.shown < self.heads:
                raise SettingsError(
                    f"shown is {self.shown}; it must be a head, 0 to {self.heads - 1}, or None"
                )

    @property
    def logits(self) -> int:
        """How many logits there are: one a class, but one for two classes."""
        return 1 if len(self.classes) == 2 else len(self.classes)


@dataclass(frozen=True)
class BagPass:
    """One pass of a network over a batch of bags.

    Attributes:
        mask: `(B, N)`, True on instances.
        hidden: `(B, N, S)`, what the weights pool.
        extra: What the pool reads besides.
        weights: `(B, N)`, or None where the pool has none.
        logits: `(B, O)`.
    """

    mask: Bool[Tensor, "B N"]
    hidden: Float[Tensor, "B N S"]
    extra: Mapping[str, Tensor]
    weights: Float[Tensor, "B N"] | None
    logits: Float[Tensor, "B O"]


class BagClassifier(nn.Module):
    """Encoder, pool and head. There is no dropout and no normalisation over a batch.

    Nothing reads padding, whatever stands there, and outputs do not depend on the order of
    instances. A bag without instances has weights that are all 0.

    Args:
        config: What it is made of.

    Raises:
        SettingsError: Encoder and instances, or heads and widths, do not fit.

    Example:
        >>> net = BagClassifier(BagConfig(("no", "yes"), (3,), hidden=4, attention=2))
        >>> instances, mask = torch.zeros(1, 5, 3), torch.ones(1, 5, dtype=torch.bool)
        >>> hidden, extra = net.encode(instances, mask)
        >>> net.decode(hidden, net.attend(hidden, mask, extra), extra).shape
        torch.Size([1, 2])
    """

    def __init__(self, config: BagConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BAG_ENCODERS[config.encoder](config.shape, config.hidden)
        sizes = PoolSizes(self.encoder.width, config.attention, config.heads, config.shown)
        self.pool = BAG_POOLS[config.pool](sizes)
        width = self.pool.width
        self.head: nn.Module = nn.Linear(width, config.logits)
        if config.head == "mlp":
            self.head = nn.Sequential(
                nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.logits)
            )

    @property
    def weighted(self) -> bool:
        """Whether there are weights to show."""
        return self.pool.weights != "none"

    def encode(
        self, instances: Float[Tensor, "B N ..."], mask: Bool[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B N S"], dict[str, Tensor]]:
        """All that does not depend on the weights shown.

        Args:
            instances: `(B, N, *shape)`, or flattened, `(B, N, D)`.
            mask: True on instances, False on padding.

        Returns:
            What the weights pool, 0 on padding; and what else the pool reads, `B` rows each.

        Raises:
            DataError: There are no bags or no instances, or shapes do not fit.
        """
        self._check(instances, mask)
        flat = instances.flatten(2).masked_fill(~mask.unsqueeze(-1), 0.0)
        rows = torch.split(flat.flatten(0, 1), ROWS_AT_ONCE)
        hidden = torch.cat([self.encoder(part) for part in rows]).reshape(*mask.shape, -1)
        prepared: tuple[Tensor, dict[str, Tensor]] = self.pool.prepare(
            hidden.masked_fill(~mask.unsqueeze(-1), 0.0), mask
        )
        return prepared

    def attend(
        self,
        hidden: Float[Tensor, "B N S"],
        mask: Bool[Tensor, "B N"],
        extra: Mapping[str, Tensor],
    ) -> Float[Tensor, "B N"]:
        """The weights: 0 on padding, summing to 1 over the instances of a bag.

        Raises:
            NotApplicable: The pool has none.
        """
        return self.pool.attend(hidden, mask, extra)

    def logits(
        self, hidden: Float[Tensor, "B N S"], weights: Tensor, extra: Mapping[str, Tensor]
    ) -> Tensor:
        """Logits `(B, O)` for weights `(B, N)`; `(B, K, O)` for `(B, K, N)`.

        Raises:
            NotApplicable: The pool has no weights.
        """
        candidates = weights if weights.dim() == 3 else weights.unsqueeze(1)
        logits: Tensor = self.head(self.pool.pool(hidden, candidates, extra))
        return logits if weights.dim() == 3 else logits.squeeze(1)

    def decode(
        self, hidden: Float[Tensor, "B N S"], weights: Tensor, extra: Mapping[str, Tensor]
    ) -> Tensor:
        """Log-probabilities `(B, C)` for weights `(B, N)`; `(B, K, C)` for `(B, K, N)`.

        Raises:
            NotApplicable: The pool has no weights.
        """
        return log_probabilities(self.logits(hidden, weights, extra))

    def linear_decode(
        self, hidden: Float[Tensor, "B N S"], extra: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "B N C"], Tensor] | None:
        """Scores and bias with `decode(weights) = log_softmax(bias + Σ_n weights_n scores_n)`.

        The bias is `(C,)`, or `(B, C)` where it depends on the bag. With two classes the first
        has score and bias 0. None where head or pool are not linear in the weights.
        """
        form = self.pool.linear(hidden, extra)
        if form is None or not isinstance(self.head, nn.Linear):
            return None
        values, offset = form
        scores = values @ self.head.weight.T
        bias: Tensor = self.head.bias
        if offset is not None:
            bias = bias + offset @ self.head.weight.T
        first = (1, 0) if self.config.logits == 1 else (0, 0)
        return pad(scores, first), pad(bias, first)

    def run(self, instances: Float[Tensor, "B N ..."], mask: Bool[Tensor, "B N"]) -> BagPass:
        """A whole pass, with all that it computed on the way.

        Raises:
            DataError: As `encode`.
        """
        hidden, extra = self.encode(instances, mask)
        if not self.weighted:
            return BagPass(mask, hidden, extra, None, self.head(extra["pooled"]))
        weights = self.attend(hidden, mask, extra)
        return BagPass(mask, hidden, extra, weights, self.logits(hidden, weights, extra))

    def forward(
        self, instances: Float[Tensor, "B N ..."], mask: Bool[Tensor, "B N"]
    ) -> Float[Tensor, "B C"]:
        """Log-probabilities; as `run` otherwise."""
        return log_probabilities(self.run(instances, mask).logits)

    def _check(self, instances: Tensor, mask: Tensor) -> None:
        shape = self.config.shape
        if mask.dtype != torch.bool or mask.dim() != 2 or not mask.numel():
            raise DataError(
                f"the mask is {mask.dtype} of shape {tuple(mask.shape)}; it must be bool (B, N), "
                "with one bag and one instance at least"
            )
        fits = tuple(instances.shape[2:]) in (shape, (math.prod(shape),))
        if instances.shape[:2] != mask.shape or not fits:
            raise DataError(
                f"instances have the shape {tuple(instances.shape)}; with this mask and network "
                f"it must be {(*mask.shape, *shape)}"
            )


def new_bag_net(config: BagConfig, seed: int, dtype: torch.dtype = torch.float32) -> BagClassifier:
    """A network with initial parameters that depend on the seed alone.

    Raises:
        SettingsError: As `BagClassifier`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = BagClassifier(config)
    return net.to(dtype)
