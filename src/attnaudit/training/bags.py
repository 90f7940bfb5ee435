"""`train_bag_model`: from bags to a model that can be audited."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.scaling import scaled, scaling_of
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.bags.model import BagModel
from attnaudit.models.ensemble import RULES, Ensemble
from attnaudit.nets.bags.classifier import BagConfig
from attnaudit.nets.checkpoint import check_place
from attnaudit.progress import Report, bars
from attnaudit.training.bag_loop import BagFit, BagOptions, train_bags
from attnaudit.training.bag_seeds import train_many
from attnaudit.training.train import keep

BagSplits = Mapping[str, BagDataset]
LARGE_IMAGE = 400
"""Images of more pixels are read by a convolutional encoder by default."""


@dataclass(frozen=True)
class TrainedBags:
    """A model of bags with how it came about.

    Attributes:
        model: The model, or the ensemble, ready to be audited.
        splits: The data; `test` was never looked at.
        fits: History and development metrics, one a member.
    """

    model: BagModel | Ensemble
    splits: BagSplits
    fits: tuple[BagFit, ...]


def train_bag_model(
    data: BagSplits | BagDataset | str | Path | Any,
    *,
    encoder: str | None = None,
    pool: str = "gated",
    head: str = "linear",
    hidden: int = 32,
    attention: int = 16,
    heads: int = 4,
    shown: int | None = None,
    scale: bool | None = None,
    members: int = 1,
    rule: str = "mean",
    options: BagOptions | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
    **data_options: Any,
) -> TrainedBags:
    """Train a classifier of bags, or an ensemble of such, for multiple-instance learning.

    Args:
        data: Splits by name, one data set that is then split, or what `resolve` takes: a
            file, a folder, a data frame, a generated set such as `conjunction-digits`.
        encoder: A name of `BAG_ENCODERS`; by default `mnist_cnn` for large images, else `mlp`.
        pool: A name of `BAG_POOLS`.
        head: linear or mlp.
        hidden: Numbers of an encoded instance.
        attention: Rows of the layer inside an additive attention.
        heads: Attention heads, in pools that have several.
        shown: Which head's weights are shown; None for the mean of the heads.
        scale: Whether features are standardised by those of train, inside the model; by default
            where instances are vectors and no images.
        members: With 2 or more, an ensemble of so many seeds, from that of the options on.
        rule: How the weights of an ensemble's members become one: mean or ranks.
        options: Epochs, batch size, seed, device, and the like.
        name: What reports call the model.
        out: Folder to save the model to, with the split `test` and hashes of what it was trained
            on, so that an audit can tell.
        overwrite: Replace a model that attnaudit saved there.
        progress: A function `(stage, done, total)`, or whether to draw bars.
        data_options: Passed to `resolve`.

    Raises:
        AttnauditError: Unusable data or options, or training that diverges.

    Example:
        >>> done = train_bag_model("presence-gaussian", limit=40, hidden=8, attention=4,
        ...                        options=BagOptions(epochs=2), progress=False)
        >>> done.model.name, done.model.classes
        ('mlp+gated', ('negative', 'positive'))
    """
    if members < 1:
        raise SettingsError(f"members (--members) must be 1 or more, got {members}")
    if rule not in RULES:
        raise SettingsError(f"the rule {rule!r} is unknown; choose one of {', '.join(RULES)}")
    if out is not None:
        check_place(out, overwrite=overwrite, reads=(data, data_options.get("data_dir")))
    splits = _splits(data, data_options)
    train, options = splits["train"], options or BagOptions()
    shape = train.shape
    if encoder is None:
        encoder = "mnist_cnn" if len(shape) == 3 and math.prod(shape) > LARGE_IMAGE else "mlp"
    config = BagConfig(train.classes, shape, encoder, pool, head, hidden, attention, heads, shown)
    scaling = scaling_of(train) if (len(shape) == 1 if scale is None else scale) else None
    read = dict(splits)
    if scaling is not None:
        read = {key: scaled(part, scaling) for key, part in splits.items()}
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        report = progress if callable(progress) else drawn

        def on_epoch(done: int, total: int, metrics: Mapping[str, float]) -> None:
            if report:
                report("training", done, total)

        if members == 1:
            one = train_bags(config, read["train"], read["dev"], options, on_epoch=on_epoch)
            fits: tuple[BagFit, ...] = (one,)
        else:
            seeds = range(options.seed, options.seed + members)
            fits = train_many(
                config, read["train"], read["dev"], tuple(seeds), options, on_epoch=on_epoch
            )
    alone = name if members == 1 else None
    models = [BagModel(fit.net, alone, scaling, train.features) for fit in fits]
    model = models[0] if members == 1 else Ensemble(models, rule, name)
    keep(model, splits, out, overwrite=overwrite)
    return TrainedBags(model, splits, fits)


def _splits(data: Any, data_options: dict[str, Any]) -> BagSplits:
    if not isinstance(data, Mapping):
        return resolve(data, "bags", **data_options).splits()
    given = [name for name, value in data_options.items() if value is not None and name != "seed"]
    if given:
        raise SettingsError(
            f"{given[0]}= says how data are read, and a data set is read already; leave it out"
        )
    for name in ("train", "dev"):
        if name not in data:
            raise DataError(f"there is no split {name!r}; there are: {', '.join(data) or 'none'}")
    train: BagDataset = data["train"]
    for name, part in data.items():
        if part.shape != train.shape:
            raise DataError(f"{name} has instances of {part.shape}, and train of {train.shape}")
    return {name: part.in_order_of(train.features) for name, part in data.items()}
