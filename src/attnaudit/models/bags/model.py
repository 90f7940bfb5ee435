"""Classifiers of bags, cut at their pool: the units are the instances of a bag."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor, nn

from attnaudit.data.bags.batches import padded
from attnaudit.data.bags.records import Bag
from attnaudit.data.bags.scaling import Scaling
from attnaudit.data.kinds import BAGS
from attnaudit.errors import DataError, ModelError
from attnaudit.models.cut import Batch, LinearDecode, States
from attnaudit.models.encoded import at_once
from attnaudit.models.saved import PooledModel
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig
from attnaudit.nets.bags.pooling import WeightedMean
from attnaudit.nets.checkpoint import (
    CONFIG,
    PARAMETERS,
    checked_header,
    header_bytes,
    load_state,
    state_bytes,
)
from attnaudit.nets.selective.readout import means_without

FORMAT, VERSION = "attnaudit-bags", 1


@dataclass(frozen=True)
class Header:
    """What `config.json` of a saved model holds.

    Attributes:
        format: Always `FORMAT`.
        version: Of the format.
        name: What reports call the model.
        scaled: Whether the features are scaled before the network reads them.
        features: The names of the features, where they are known.
        config: What the network is made of.
    """

    format: str
    version: int
    name: str
    scaled: bool
    features: tuple[str, ...]
    config: BagConfig

    __pydantic_config__ = ConfigDict(extra="forbid")


class _Stored(nn.Module):
    """The network, and the scaling beside it, as they lie in one file."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, net: BagClassifier, scaling: Scaling | None) -> None:
        super().__init__()
        self.net = net
        if scaling is not None:
            dtype = next(net.parameters()).dtype
            self.register_buffer("mean", scaling.mean.to(dtype))
            self.register_buffer("deviation", scaling.deviation.to(dtype))


class BagModel(PooledModel):
    """A classifier of bags under the contract of the cut.

    Positions are instances, and all of them are units. Inputs are instances, flattened, after
    scaling: gradients are taken with respect to these. There is no mask value, since no instance
    means "unknown"; blanked instances are 0, which is the mean instance where features are scaled.

    Args:
        net: The network; its parameters are frozen.
        name: What reports call it; encoder + pool by default.
        scaling: How features are scaled before the network reads them, or None.
        features: The names of the features in the order in which the network reads them, where
            they are known: data are put into this order, or refused.

    Example:
        >>> from attnaudit.data.bags.records import bag_record
        >>> net = BagClassifier(BagConfig(("no", "yes"), (2,), hidden=4, attention=2))
        >>> model = BagModel(net)
        >>> batch = model.collate([bag_record("a", [[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]])])
        >>> tuple(batch.inputs.shape), tuple(model.forward(batch).shape)
        ((1, 3, 2), (1, 2))
    """

    pad_value = 0.0
    mask_value = None
    kind = BAGS

    net: BagClassifier

    def __init__(
        self,
        net: BagClassifier,
        name: str | None = None,
        scaling: Scaling | None = None,
        features: tuple[str, ...] = (),
    ) -> None:
        self.net = net.requires_grad_(False)
        dtype = next(net.parameters()).dtype
        if scaling is not None:
            # as precise as the parameters, so that a saved model is the same model
            scaling = Scaling(*(v.to(dtype).double() for v in (scaling.mean, scaling.deviation)))
        self.scaling, self.features = scaling, tuple(features)
        self.name = name or f"{net.config.encoder}+{net.config.pool}"
        self.classes = net.config.classes

    def collate(self, records: Sequence[Bag]) -> Batch:
        """Bags as one batch, padded to the largest.

        Raises:
            DataError: There are no bags, a record is no bag, or instances have another shape than
                those that the network reads.
        """
        shape = self.net.config.shape
        for record in records:
            if not isinstance(record, Bag):
                raise DataError(
                    f"{self.name} reads bags of instances, and {record.id!r} is a text; give it "
                    "what resolve() reads as bags"
                )
            if tuple(record.instances.shape[1:]) != shape:
                raise DataError(
                    f"bag {record.id!r} has instances of {tuple(record.instances.shape[1:])}; "
                    f"{self.name} was trained on {shape}"
                )
        instances, mask = padded(records)
        if self.scaling is not None:
            instances = self.scaling(instances)
        dtype = next(self.net.parameters()).dtype
        inputs = instances.flatten(2).to(dtype).masked_fill(~mask.unsqueeze(-1), self.pad_value)
        return Batch(tuple(r.id for r in records), inputs, mask, mask).to(self.device)

    def encode(self, batch: Batch) -> States:
        """Encoded instances, and what else the pool reads."""
        return self.encode_embedded(batch, batch.inputs)

    def embed(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """The instances themselves, scaled and flattened."""
        return batch.inputs

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """As `encode`, from given instances."""
        hidden, extra = self.net.encode(embedded, batch.present)
        return States(hidden, batch.units, extra)

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """What the network gives in one pass."""
        outputs: Tensor = self.net(batch.inputs, batch.present)
        return outputs

    def linear(self, states: States) -> LinearDecode | None:
        """Scores and bias, where pool and head are linear in the weights."""
        form = self.net.linear_decode(states.hidden, states.extra)
        return None if form is None else LinearDecode(*form)

    @property
    def cheap_deletions(self) -> bool:
        """True where no instance's state depends on another: no deletion runs the encoder."""
        return isinstance(self.net.pool, WeightedMean) and not self.net.pool.mixes

    def leave_one_out(self, batch: Batch, states: States) -> Tensor | None:
        """Log-probabilities `(B, L, C)` with each instance deleted, NaN on padding.

        Where an instance's state depends on that instance alone, what is left of the weights is
        their old ratio: a closed form where the head is linear, else one row of weights per
        deletion, and no encoder. None where states
        depend on each other.
        """
        pool = self.net.pool
        if not isinstance(pool, WeightedMean) or pool.mixes:
            return None
        linear = self.linear(states)
        if linear is not None:
            pooled = means_without(pool.energies(states.hidden), linear.scores, states.units)
            bias = linear.bias.unsqueeze(-2) if linear.bias.dim() == 2 else linear.bias
            outputs = torch.log_softmax(pooled + bias, dim=-1)
            return outputs.masked_fill(~states.units.unsqueeze(-1), torch.nan)
        outputs = states.hidden.new_full((*states.units.shape, len(self.classes)), torch.nan)
        for row, units in enumerate(states.units):
            part = states.at(slice(row, row + 1))
            places = units.nonzero().squeeze(-1)
            for some in torch.split(places, at_once(self, part)):
                weights = _without(pool.energies(part.hidden), part.units, some)
                outputs[row, some] = self.decode(part, weights)[0]
        return outputs

    def fingerprint(self) -> str:
        """SHA-256 of configuration, scaling and parameters."""
        config = json.dumps(dataclasses.asdict(self.net.config), sort_keys=True)
        digest = hashlib.sha256(config.encode())
        for name, value in sorted(_Stored(self.net, self.scaling).state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def files(self) -> dict[str, bytes]:
        """Parameters with the scaling, and configuration."""
        header = Header(
            FORMAT, VERSION, self.name, self.scaling is not None, self.features, self.net.config
        )
        stored = _Stored(self.net, self.scaling)
        return {PARAMETERS: state_bytes(stored), CONFIG: header_bytes(header)}


def load_bag_model(folder: Path) -> BagModel:
    """Read a model that `BagModel.save` wrote.

    Raises:
        ModelError: A file is missing, damaged or of another version, or does not fit the others.
    """
    header = checked_header(folder, Header, FORMAT, VERSION)

    def build() -> _Stored:
        blank = torch.zeros(header.config.shape) if header.scaled else None
        scaling = None if blank is None else Scaling(blank, blank)
        return _Stored(BagClassifier(header.config), scaling)

    stored = load_state(folder / PARAMETERS, build)
    scaling = None
    if header.scaled:
        if not bool((stored.deviation > 0).all()):
            raise ModelError(
                f"{folder / PARAMETERS}: a feature's deviation is 0 or negative; the file is "
                "broken, train the model again"
            )
        scaling = Scaling(stored.mean.double(), stored.deviation.double())
    return BagModel(stored.net, header.name, scaling, header.features)


def _without(energies: Tensor, units: Tensor, places: Tensor) -> Tensor:
    """The weights `(1, K, L)` of one bag without each of these instances."""
    kept = units.expand(len(places), -1).clone()
    kept[torch.arange(len(places), device=kept.device), places] = False
    weights = torch.softmax(energies.expand(len(places), -1).masked_fill(~kept, -math.inf), -1)
    # a bag of one instance leaves an empty bag, whose weights are all 0
    return weights.nan_to_num(0.0).unsqueeze(0)
