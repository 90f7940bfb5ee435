"""The network that is trained from many seeds, and what else decides how its seeds are graded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b

from pydantic import JsonValue

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.scaling import Scaling, scaled
from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.seeds.ceilings import Ceilings
from attnaudit.models.bags.model import BagModel
from attnaudit.models.cut import Model
from attnaudit.models.ensemble import Ensemble
from attnaudit.nets.bags.classifier import BagConfig
from attnaudit.training.options import DEFAULTS, TrainOptions

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Network:
    """A network of bags: a part of a design.

    Attributes:
        config: What it is made of; its pool must learn weights.
        options: How it is trained; seed and device are not read.
        graded: Names of the classes whose bags are graded against the truth; None for all.
        ceilings: What can be reached at best, where it is known.
        scaling: How features are scaled before training, or None.
    """

    config: BagConfig
    options: TrainOptions = DEFAULTS["bags"]
    graded: tuple[str, ...] | None = None
    ceilings: Ceilings = field(default_factory=Ceilings)
    scaling: Scaling | None = None

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.config.encoder}+{self.config.pool}"

    def trained(self) -> dict[str, JsonValue]:
        """What decides the numbers of a seed, besides the data, as JSON has it."""
        return _json(
            {
                "network": asdict(self.config),
                "training": {**self.options.plain(), "seed": None},
                "scaling": None if self.scaling is None else _digest(self.scaling),
            }
        )

    def about(self) -> dict[str, JsonValue]:
        """What decides the findings, besides data and settings, as plans have it."""
        graded = None if self.graded is None else sorted(self.graded)
        more = _json({"graded": graded, "ceilings": self.ceilings.model_dump()})
        return {**self.trained(), **more}

    def scaled(self, splits: Mapping[str, BagDataset]) -> dict[str, BagDataset]:
        """The splits as the network reads them.

        Raises:
            DataError: Instances of different shapes.
        """
        if self.scaling is None:
            return dict(splits)
        for name, part in splits.items():
            if part.shape != splits["train"].shape:
                raise DataError(
                    f"{name} has instances of {part.shape}, and train of {splits['train'].shape}"
                )
        return {name: scaled(part, self.scaling) for name, part in splits.items()}


def network_of(
    model: Model,
    options: TrainOptions | None = None,
    graded: tuple[str, ...] | None = None,
    ceilings: Ceilings | None = None,
) -> Network:
    """The network of a model of bags, or of the members of an ensemble of such.

    Args:
        model: What is audited.
        options: How it was trained; the usual way by default.
        graded: As in `Network`.
        ceilings: As in `Network`.

    Raises:
        NotApplicable: It is another kind of model.
    """
    one = model.members[0] if isinstance(model, Ensemble) else model
    if not isinstance(one, BagModel):
        raise NotApplicable(
            f"{model.name} is not a model of bags that attnaudit has trained, so it cannot be "
            "trained again from other seeds"
        )
    return Network(
        one.net.config, options or DEFAULTS["bags"], graded, ceilings or Ceilings(), one.scaling
    )


def _digest(scaling: Scaling) -> str:
    digest = blake2b(digest_size=16)
    for values in (scaling.mean, scaling.deviation):
        digest.update(values.double().cpu().numpy().tobytes())
    return digest.hexdigest()


def _json(value: Mapping[str, object]) -> dict[str, JsonValue]:
    """The value as JSON gives it back: tuples are lists."""
    found: dict[str, JsonValue] = json.loads(json.dumps(value))
    return found
