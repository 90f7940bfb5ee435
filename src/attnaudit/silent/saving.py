"""Accurate seeds as one model on disk: an ensemble that every check can audit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnaudit.data.bag_scaling import Scaling
from attnaudit.models.bags import BagModel
from attnaudit.models.ensemble import Ensemble
from attnaudit.silent.members import Members


def save_ensemble(
    members: Members,
    places: Sequence[int],
    folder: str | Path,
    *,
    scaling: Scaling | None = None,
    rule: str = "mean",
) -> Path | None:
    """Write some members as an ensemble, or a single one as itself, that `load` reads.

    Args:
        members: Trained seeds.
        places: Which of them, by place.
        folder: Where to.
        scaling: How features were scaled before training, so that the model does the same.
        rule: How weights become one, see `Ensemble`.

    Returns:
        The folder, or None where no place is given.

    Raises:
        ModelError: The folder cannot be written.
    """
    config = members.config
    models = [
        BagModel(members.nets[i], f"{config.encoder}+{config.pool}, seed {members.seeds[i]}",
                 scaling)
        for i in places
    ]  # fmt: skip
    if not models:
        return None
    model: BagModel | Ensemble = models[0]
    if len(models) > 1:
        model = Ensemble(models, rule, f"{len(models)} x {config.encoder}+{config.pool}")
    model.save(folder)
    return Path(folder)
