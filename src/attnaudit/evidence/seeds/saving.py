"""Seeds as one model on disk, with what it was trained on: every check can audit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.scaling import Scaling
from attnaudit.evidence.seeds.members import Members
from attnaudit.models.bags.model import BagModel
from attnaudit.models.ensemble import Ensemble
from attnaudit.training.recipe import keep


def save_ensemble(
    members: Members,
    places: Sequence[int],
    folder: str | Path,
    *,
    splits: Mapping[str, BagDataset] | None = None,
    scaling: Scaling | None = None,
    rule: str = "mean",
    overwrite: bool = False,
) -> Path | None:
    """Write some members as an ensemble, or a single one as itself, that `load` reads.

    Args:
        members: Trained seeds.
        places: Which of them, by place.
        folder: Where to.
        splits: The bags as they were before scaling: hashes of train and dev, and the bags of test,
            are stored with the model, so that an audit leaves the former out and takes the latter.
        scaling: How features were scaled before training, so that the model does the same.
        rule: How weights become one, see `Ensemble`.
        overwrite: Replace a model that attnaudit saved there.

    Returns:
        The folder, or None where no place is given.

    Raises:
        ModelError: The folder cannot be written, or holds something already.
    """
    config = members.config
    features = splits["train"].features if splits is not None else ()
    models = [
        BagModel(
            members.nets[i],
            f"{config.encoder}+{config.pool}, seed {members.seeds[i]}",
            scaling,
            features,
        )
        for i in places
    ]
    if not models:
        return None
    model: BagModel | Ensemble = models[0]
    if len(models) > 1:
        model = Ensemble(models, rule, f"{len(models)} x {config.encoder}+{config.pool}")
    if splits is None:
        model.save(folder, overwrite=overwrite)
    else:
        keep(model, splits, folder, overwrite=overwrite)
    return Path(folder)
