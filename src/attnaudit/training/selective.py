"""`train_selective`: a mask generator before a network that sees only what the mask leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attnaudit.data.generated.shortcut_tasks import (
    HEAD,
    TAIL,
    default_tokens,
    only_defaults,
    with_defaults,
)
from attnaudit.data.records import Dataset
from attnaudit.errors import SettingsError
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.models.selective.model import SelectiveModel, new_selective, selective_vocabulary
from attnaudit.nets.checkpoint import check_place
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.progress import Report, bars
from attnaudit.remedies import find_remedy
from attnaudit.remedies.explainer import Fidelity, fidelity, train_explainer
from attnaudit.training.fitting import fit_jointly
from attnaudit.training.options import FitOptions, Fitted
from attnaudit.training.train import Splits, as_splits, keep

ONLY = 5
"""Default tokens where there is nothing else."""
DEFAULTS: dict[str, Callable[[Dataset], Dataset]] = {
    "ends": with_defaults,
    "only": lambda data: only_defaults(data, ONLY),
}
"""Default tokens, the same in every text: `ends` puts one before and one after, `only` leaves
nothing else to attend to, and gives the text to the mask generator alone."""


@dataclass(frozen=True)
class TrainedSelective:
    """A selective model with how it came about.

    Attributes:
        model: The model, ready to be audited.
        splits: The data; `test` was never looked at.
        result: History and development metrics.
    """

    model: SelectiveModel
    splits: Splits
    result: Fitted


@dataclass(frozen=True)
class TrainedExplainer:
    """A model that chooses units for a black box, with how well they speak for it.

    Attributes:
        model: The model: a hard mask, and what answers from the chosen units.
        splits: The data.
        fidelity: Agreement with the black box on `test`.
    """

    model: SelectiveModel
    splits: Splits
    fidelity: Fidelity


def train_selective(
    data: Splits | Dataset | str | Path | Any,
    *,
    mask: str = "soft",
    k: int | None = None,
    downstream: str = "pool",
    hidden: int = 32,
    embedding_dim: int = 32,
    dropout: float = 0.0,
    defaults: str | None = None,
    remedy: str | None = None,
    options: FitOptions | None = None,
    min_df: int = 1,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
    **data_options: Any,
) -> TrainedSelective:
    """Train a model of the kind in which Bai et al. (2021) show shortcuts.

    A generator reads the whole text and gives a mask; the network after it sees the masked word
    vectors and nothing else.

    Args:
        data: Splits by name, one data set that is then split, or what `resolve` takes.
        mask: soft (a softmax) or hard (the k best units).
        k: Units that a hard mask keeps.
        downstream: pool, cnn or rnn.
        hidden: Hidden size.
        embedding_dim: Size of a word vector.
        dropout: Share of numbers dropped in training.
        defaults: A name of `DEFAULTS`, or None for the texts as they are.
        remedy: random_pretraining, held_out_pretraining, instance_weighting, or None for joint
            training.
        options: Epochs, batch size, seed, and the like.
        min_df: Training texts a word must occur in to be known.
        name: What reports call the model.
        out: Folder to save the model to, with the split `test`.
        overwrite: Replace a model that attnaudit saved there.
        progress: A function `(stage, done, total)`, or whether to draw bars.
        data_options: Passed to `resolve`.

    Raises:
        AttnauditError: Unusable data or options.

    Example:
        >>> done = train_selective("order", limit=60, hidden=4, embedding_dim=4, progress=False,
        ...                        options=FitOptions(epochs=1))
        >>> done.model.name
        'soft mask+pool'
    """
    _check_defaults(defaults)
    refit = None if remedy is None else find_remedy(remedy).refit
    if remedy is not None and refit is None:
        raise SettingsError(f"the remedy {remedy!r} is not for selective models; see --masks")
    if out is not None:
        check_place(out, overwrite=overwrite, reads=(data, data_options.get("data_dir")))
    splits = as_splits(data, data_options)
    splits, _ = with_default_tokens(splits, defaults)
    train, options = splits["train"], options or FitOptions()
    config = SelectiveConfig(
        train.classes, downstream, mask, k, hidden, embedding_dim, train.has_questions, dropout
    )
    start = new_selective(
        config, selective_vocabulary(train.records, min_df), options.seed, name=name
    )
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        options = replace(options, report=progress if callable(progress) else drawn)
        if refit is not None:
            result = refit(start, train, splits["dev"], options, fresh=True)
        else:
            result = fit_jointly(start, train, splits["dev"], options)
    model = result.model
    assert isinstance(model, SelectiveModel)  # a copy of what was given
    keep(model, splits, out, overwrite=overwrite)
    return TrainedSelective(model, splits, result)


def with_default_tokens(
    splits: Splits, defaults: str | None
) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """The splits with default tokens, and these tokens; as they are where `defaults` is None.

    Raises:
        SettingsError: `defaults` is no name of `DEFAULTS`.
    """
    _check_defaults(defaults)
    if defaults is None:
        return dict(splits), ()
    tokens = (HEAD, TAIL) if defaults == "ends" else default_tokens(ONLY)
    return {split: DEFAULTS[defaults](part) for split, part in splits.items()}, tokens


def refuse_other_tokens(model: Model, splits: Splits, defaults: str | None) -> None:
    """Refuse data without the default tokens that a selective model was trained with.

    Raises:
        SettingsError: Which `--defaults` is missing.
    """
    if not isinstance(model, SelectiveModel) or defaults is not None:
        return
    known = set(model.vocabulary.words)
    used = {unit for part in splits.values() for record in part for unit in record.units}
    for name, tokens in (("only", default_tokens(1)), ("ends", (HEAD, TAIL))):
        if known.issuperset(tokens) and not used.intersection(tokens):
            raise SettingsError(
                f"{model.name} was trained with default tokens, which these texts lack; give "
                f"--defaults {name}"
            )


def _check_defaults(defaults: str | None) -> None:
    if defaults is not None and defaults not in DEFAULTS:
        raise SettingsError(
            f"defaults (--defaults) is {defaults!r}; choose one of {', '.join(DEFAULTS)}"
        )


def explain_black_box(
    model: Model | str | Path,
    data: Splits | Dataset | str | Path | Any,
    *,
    k: int = 10,
    options: FitOptions | None = None,
    min_df: int = 1,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
    **data_options: Any,
) -> TrainedExplainer:
    """Train a model that chooses k units a text from which a black box's answer can be told.

    In the manner of L2X (Chen et al. 2018). What it chooses is an explanation only as far as the
    choice itself does not tell the answer: audit it with the group of checks `shortcut`.

    Args:
        model: The black box; only its probabilities are used.
        data: As for `train_selective`; labels are not used.
        k: Units that are chosen.
        options: Epochs, batch size, seed, and the like.
        min_df: Training texts a word must occur in to be known.
        out: Folder to save the model to.
        overwrite: Replace a model that attnaudit saved there.
        progress: A function `(stage, done, total)`, or whether to draw bars.
        data_options: Passed to `resolve`.

    Raises:
        AttnauditError: Unusable data, model or options.
    """
    if out is not None:
        check_place(out, overwrite=overwrite, reads=(data, model, data_options.get("data_dir")))
    black_box = load(model)
    splits = as_splits(data, data_options)
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        options = replace(
            options or FitOptions(select="accuracy"),
            report=progress if callable(progress) else drawn,
        )
        explainer = train_explainer(
            black_box, splits["train"], splits["dev"], k, options, min_df=min_df
        )
        found = fidelity(
            explainer, black_box, splits["test"], splits["train"], splits["dev"], options=options
        )
    keep(explainer, splits, out, overwrite=overwrite)
    return TrainedExplainer(explainer, splits, found)
