"""Training of selectors: a mask generator before a network that sees only what the mask leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.generated.shortcut_tasks import (
    HEAD,
    TAIL,
    default_tokens,
    only_defaults,
    with_defaults,
)
from attnaudit.data.kinds import Record
from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.batches import by_length, groups, with_backoff
from attnaudit.models.cut import Model
from attnaudit.models.encoded import Encoded
from attnaudit.models.load import load
from attnaudit.models.selective.model import SelectiveModel, new_selective, selective_vocabulary
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.training.fitting import Refit, fit_jointly
from attnaudit.training.options import DEFAULTS, TrainOptions
from attnaudit.training.result import Trained

Splits = Mapping[str, Dataset]
ONLY = 5
"""Default tokens where there is nothing else."""
CHOSEN = 10
"""Units that are chosen for a black box by default."""
DEFAULT_TOKENS: dict[str, Callable[[Dataset], Dataset]] = {
    "ends": with_defaults,
    "only": lambda data: only_defaults(data, ONLY),
}
"""Default tokens, the same in every text: `ends` puts one before and one after, `only` leaves
nothing else to attend to, and gives the text to the mask generator alone."""


def train_selective(
    splits: Splits,
    options: TrainOptions | None = None,
    *,
    mask: str = "soft",
    keep: int | None = None,
    downstream: str = "pool",
    hidden: int = 32,
    embedding_dim: int = 32,
    dropout: float = 0.0,
    defaults: str | None = None,
    black_box: Model | str | Path | None = None,
    refit: Refit | None = None,
    name: str | None = None,
) -> Trained[SelectiveModel]:
    """Train a model of the kind in which Bai et al. (2021) show shortcuts.

    A generator reads the whole text and gives a mask; the network after it sees the masked word
    vectors and nothing else. With a black box, it learns the answers of that model instead of the
    labels, from `keep` units per text, in the manner of L2X (Chen et al. 2018). What it chooses is
    an explanation only as far as the choice itself does not tell the answer: audit it with
    `audit_shortcuts`.

    Args:
        splits: `train` and `dev`.
        options: How to train.
        mask: soft (a softmax) or hard (the k best units); hard with a black box.
        keep: Units that a hard mask keeps; 10 by default with a black box.
        downstream: pool, cnn or rnn.
        hidden: Hidden size.
        embedding_dim: Size of a word vector.
        dropout: Share of numbers dropped in training.
        defaults: A name of `DEFAULT_TOKENS`, or None for the texts as they are.
        black_box: A model, or its folder, whose probabilities are learnt; labels are then not read.
        refit: Another way of training, as for `train_text`.
        name: What reports call the model.

    Returns:
        The model; its splits are the texts with default tokens.

    Raises:
        AttnauditError: Unusable data or options.
    """
    splits, _ = with_default_tokens(splits, defaults)
    train, dev = splits["train"], splits["dev"]
    options, classes, targets = options or DEFAULTS["selector"], train.classes, None
    if black_box is not None:
        if refit is not None:
            raise SettingsError("refit= trains on labels: it does not go with black_box=")
        box = load(black_box)
        if options.select == "auto":
            options = replace(options, select="accuracy")
        mask, keep, classes = "hard", CHOSEN if keep is None else keep, box.classes
        name = name or f"choice of {keep} for {box.name}"
        targets = said_of(box, train), said_of(box, dev)
    config = SelectiveConfig(
        classes, downstream, mask, keep, hidden, embedding_dim, train.has_questions, dropout
    )
    vocabulary = selective_vocabulary(train.records, options.min_df)
    start = new_selective(config, vocabulary, options.seed, name=name)
    if refit is not None:
        result = refit(start, train, dev, options, fresh=True)
    else:
        result = fit_jointly(start, train, dev, options, targets=targets)
    assert isinstance(result.model, SelectiveModel)  # a copy of what was given
    return result.holding(result.model, splits=splits)


def said_of(model: Model, data: Dataset) -> Float[Tensor, "N C"]:
    """What a model says of each text: probabilities.

    Raises:
        DataError: There are no texts.
        ModelError: Its weights are no distribution, or its outputs are NaN.
    """
    if not data.records:
        raise DataError(f"{data.name} has no {data.split} records; give at least one")

    def outputs(records: Sequence[Record]) -> list[Tensor]:
        return list(Encoded(model, model.collate(records)).outputs.double().cpu())

    order, found = by_length(data.records), []
    for part in groups([len(data.records[i].units) for i in order]):
        found += with_backoff(outputs, [data.records[i] for i in order[part]])
    said = torch.stack(found)[torch.tensor(order).argsort()]
    return torch.from_numpy(np.exp(said.numpy())).float()


def with_default_tokens(
    splits: Splits, defaults: str | None
) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """The splits with default tokens, and these tokens; as they are where `defaults` is None.

    Raises:
        SettingsError: `defaults` is no name of `DEFAULT_TOKENS`.
    """
    _check_defaults(defaults)
    if defaults is None:
        return dict(splits), ()
    tokens = (HEAD, TAIL) if defaults == "ends" else default_tokens(ONLY)
    return {split: DEFAULT_TOKENS[defaults](part) for split, part in splits.items()}, tokens


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
    if defaults is not None and defaults not in DEFAULT_TOKENS:
        raise SettingsError(
            f"defaults (--defaults) is {defaults!r}; choose one of {', '.join(DEFAULT_TOKENS)}"
        )
