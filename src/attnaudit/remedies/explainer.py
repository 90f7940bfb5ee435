"""Hard-mask explainers of a black box, and how faithful their selections are.

Chen et al. (2018), "Learning to Explain" (L2X): a generator chooses `k` units, and a downstream
network that sees these alone learns to say what the black box says. Its fidelity is measured as
in Liang et al. (2020), "MEED": by the black box itself and by fresh networks, on the selected and
on the unselected part. A downstream network that is trained with the generator can be told the
answer by the choice, so its own accuracy is no evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.judges.reading import Row, decode_with, placed_rows, read
from attnaudit.findings.estimates import share
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.models.batches import TOKEN_BUDGET, by_length, groups
from attnaudit.models.cut import Model
from attnaudit.models.edits import EDITS
from attnaudit.models.selective.model import new_selective, selective_vocabulary
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.training.cut import Masks, fit_parameters
from attnaudit.training.options import DEFAULTS, TrainOptions
from attnaudit.training.parts import parts_of
from attnaudit.training.selective import said_of


@dataclass(frozen=True)
class Fidelity:
    """How often the black box is agreed with, from a part of the text. Shares of instances.

    Attributes:
        fs_m: The black box itself on the selected units, the others being taken away.
        fu_m: The same on the units that were not selected: low where the selection is whole.
        fs_a: A fresh network that was trained on the selected units of other texts; None where
            there was nothing to train it on. It can learn what the choice tells.
        fu_a: A fresh network that was trained on the units that were not selected, or None.
        majority: What always naming the black box's most frequent class would reach.
    """

    fs_m: Estimate
    fu_m: Estimate
    fs_a: Estimate | None
    fu_a: Estimate | None
    majority: float


def fidelity(
    explainer: Model,
    black_box: Model,
    data: Dataset,
    train: Dataset | None = None,
    dev: Dataset | None = None,
    *,
    options: TrainOptions | None = None,
    settings: Settings | None = None,
    edit: str = "pad",
) -> Fidelity:
    """Agreement with the black box from the selected and from the unselected units.

    Args:
        explainer: A model with hard masks: units with weight are selected.
        black_box: The model that is explained.
        data: Held-out texts.
        train: Texts for the fresh networks (convolutions); without them these are left out.
        dev: Texts that choose their epoch.
        options: How to train them.
        settings: Of the intervals.
        edit: How the black box's text loses units: a name of `EDITS`; `pad` is that of L2X.

    Raises:
        DataError: There are no texts, or the explainer selects all units of every text.
        SettingsError: No such edit, or `train` without `dev`.
    """
    if edit not in EDITS:
        raise SettingsError(f"no edit is called {edit!r}; choose one of {', '.join(EDITS)}")
    if (train is None) != (dev is None):
        raise SettingsError("fresh networks need both train and dev; give both, or neither")
    settings = settings or Settings()
    kept = _selected(explainer, data)
    if all(row.all() for row in kept):
        raise DataError(
            f"{explainer.name} selects every unit of all {len(kept)} texts of {data.name}; the "
            "explainer must have hard masks of fewer units than the texts"
        )
    said = read(black_box, data).predicted
    names = {True: "selected", False: "unselected"}

    def agreement(predicted: np.ndarray, selected: bool, by: str) -> Estimate:
        empty = np.array([not (row == selected).any() for row in kept])
        flags = np.where(empty, np.nan, predicted == said)
        return share(flags, settings, statistic=f"fidelity_by_{by}", subject=names[selected])

    found = {
        part: agreement(_restricted(black_box, data, kept, part, edit), part, "black_box")
        for part in (True, False)
    }
    fresh: dict[bool, Estimate | None] = {True: None, False: None}
    if train is not None and dev is not None:
        for part in (True, False):
            predicted = _approximated(explainer, black_box, (train, dev, data), part, options)
            fresh[part] = agreement(predicted, part, "fresh_network")
    return Fidelity(
        found[True],
        found[False],
        fresh[True],
        fresh[False],
        float(np.bincount(said).max() / len(said)),
    )


def _selected(explainer: Model, data: Dataset) -> list[Row]:
    """For each text, which of its units have weight."""
    return [row > 0 for row in read(explainer, data).weights]


def _restricted(
    black_box: Model, data: Dataset, kept: Sequence[Row], part: bool, edit: str
) -> np.ndarray:
    """The black box's classes where it has one part of the units only."""
    order = by_length(data.records)
    predicted = np.zeros(len(order), dtype=np.int64)
    for run in groups([len(data.records[i].units) for i in order], TOKEN_BUDGET):
        rows = order[run]
        batch = black_box.collate([data.records[i] for i in rows])
        chosen = placed_rows([kept[i].astype(float) for i in rows], batch) > 0
        gone = batch.units & (chosen.to(batch.units.device) != part)
        with torch.no_grad():
            outputs = black_box.forward(EDITS[edit](batch, gone, black_box))
        predicted[rows] = outputs.argmax(-1).cpu().numpy()
    return predicted


def _approximated(
    explainer: Model,
    black_box: Model,
    splits: tuple[Dataset, Dataset, Dataset],
    part: bool,
    options: TrainOptions | None,
) -> np.ndarray:
    """The classes of a fresh network that is trained on one part of the units.

    It has convolutions, and a unit counts as there or not there: weights 1 and 0.
    """
    options = options or DEFAULTS["selector"]
    train, dev, test = splits
    shown = [[(row == part).astype(float) for row in _selected(explainer, data)] for data in splits]
    config = SelectiveConfig(black_box.classes, "cnn")
    model = new_selective(config, selective_vocabulary(train.records), options.seed)
    fitted = fit_parameters(
        model,
        parts_of(model, train.records).decoder,
        train,
        dev,
        options,
        _given(shown[0]),
        _given(shown[1]),
        targets=(said_of(black_box, train), said_of(black_box, dev)),
    )
    return np.asarray(decode_with(fitted.model, test.records, shown[2]).argmax(1))


def _given(rows: Sequence[Row]) -> Masks:
    """Weights that are known beforehand, as the loop takes them."""
    return lambda model, batch, states, index, generator: placed_rows(
        [rows[i] for i in index], batch
    ).to(states.hidden)
