"""Training attention pooling on the states of a frozen pretrained transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from attnaudit.data.records import Dataset
from attnaudit.errors import DataError
from attnaudit.models.pretrained.held import HeldStates, unit_states
from attnaudit.models.pretrained.model import PretrainedClassifier, pooling_config
from attnaudit.models.wrapped.model import refuse_broken
from attnaudit.nets.pretrained.frozen import FrozenTransformer
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.nets.text.inputs import Examples
from attnaudit.progress import Report, bars
from attnaudit.training.evaluation import check_labels
from attnaudit.training.options import FitOptions, Refit
from attnaudit.training.text_loop import Fitted, Objective, Penalty, TrainOptions, fit, new_net

UnitStates = Mapping[str, Sequence[Float[Tensor, "T H"]]]
"""For `train` and `dev`, the states of the units of each record."""


def train_pretrained(
    splits: Mapping[str, Dataset],
    source: str | Path | FrozenTransformer,
    *,
    attention: str = "additive",
    layer: int = -1,
    options: TrainOptions | None = None,
    penalty: Penalty | None = None,
    objective: Objective | None = None,
    states: UnitStates | None = None,
    name: str | None = None,
    progress: Report | bool | None = None,
) -> tuple[PretrainedClassifier, Fitted]:
    """Train attention pooling and a linear head above a transformer that stays as it is.

    The states of all records of train and dev are computed once; the training loop, its loss and
    its defaults are those of the classifiers that are trained from scratch.

    Args:
        splits: `train` and `dev`, labelled.
        source: A folder, a hub name, `minilm` (see `load_transformer`), or a transformer that is
            loaded already.
        attention: additive or dot; or a control: uniform, random, position.
        layer: The layer whose states are pooled; -1 is the last.
        options: Epochs, batch size, seed, device, and the like; words are the tokenizer's, so
            `min_df` and `lowercase` are not looked at.
        penalty: A further loss term.
        objective: The loss itself, in place of that of the labels.
        states: What `unit_states` gave for `train` and `dev`, for a second training on the same
            data; computed by default.
        name: What reports call the model.
        progress: A function `(stage, done, total)`, or whether to draw bars.

    Returns:
        The model and its history.

    Raises:
        MissingExtra: The package `transformers`, or that of `minilm`, is absent.
        DataError: Records are missing, unlabelled, of one class only, too long, or have questions.
        ModelError: The transformer cannot be used, or the loss is no longer a number.
        SettingsError: An attention or layer that does not exist.
    """
    options = options or TrainOptions()
    classes = splits["train"].classes
    labels = {
        "train": check_labels(splits["train"].records, classes, "training", several=True),
        "dev": check_labels(splits["dev"].records, classes, "development"),
    }
    encoder = source
    if not isinstance(encoder, FrozenTransformer):
        encoder = load_transformer(encoder, layer)
    refuse_broken(encoder.transformer, encoder.source)
    config = pooling_config(encoder, classes, attention)
    encoder.to(options.device)
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        report = progress if callable(progress) else drawn
        if states is None:
            whole = [*splits["train"].records, *splits["dev"].records]
            found = unit_states(encoder, whole, progress=report)
            count = len(splits["train"])
            states = {"train": found[:count], "dev": found[count:]}
        examples = {
            part: Examples(_fitting(states[part], splits[part], encoder.width), labels[part])
            for part in labels
        }
        epoch = 1

        def on_batch(done: int, total: int) -> None:
            if report:
                report("training", (epoch - 1) * total + done, options.epochs * total)

        def on_epoch(done: int, total: int, metrics: Mapping[str, float]) -> None:
            nonlocal epoch
            epoch = done + 1

        fitted = fit(
            new_net(config, None, options.seed),
            examples["train"],
            examples["dev"],
            options,
            penalty=penalty,
            objective=objective,
            on_epoch=on_epoch,
            on_batch=on_batch,
        )
    return PretrainedClassifier(encoder, fitted.net, name), fitted


def refit_pretrained(
    refit: Refit,
    splits: Mapping[str, Dataset],
    source: str | Path | FrozenTransformer,
    *,
    attention: str = "additive",
    layer: int = -1,
    options: FitOptions | None = None,
    device: str = "cpu",
    name: str | None = None,
    progress: Report | bool | None = None,
) -> tuple[PretrainedClassifier, Fitted]:
    """As `train_pretrained`, with a remedy's own way of training (see `attnaudit.remedies`).

    The states of all records are computed once.

    Args:
        refit: The way of training.
        splits: `train` and `dev`, labelled.
        source: As in `train_pretrained`.
        attention: Likewise.
        layer: Likewise.
        options: How to train.
        device: Where.
        name: What reports call the model.
        progress: A function `(stage, done, total)`, or whether to draw bars.

    Raises:
        AttnauditError: As in `train_pretrained`; weights without parameters of their own.
    """
    options = options or FitOptions()
    train, dev = splits["train"], splits["dev"]
    check_labels(train.records, train.classes, "training", several=True)
    check_labels(dev.records, train.classes, "development")
    encoder = source
    if not isinstance(encoder, FrozenTransformer):
        encoder = load_transformer(encoder, layer)
    net = new_net(pooling_config(encoder, train.classes, attention), None, options.seed)
    start = PretrainedClassifier(encoder, net, name).to(device)
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        report = progress if callable(progress) else drawn
        held = HeldStates(start, [*train.records, *dev.records], report)
        fitted = refit(held, train, dev, replace(options, report=report), fresh=True)
    assert isinstance(fitted.model, HeldStates)  # a copy of what was given
    found = fitted.model.net
    return (
        PretrainedClassifier(encoder, found, name),
        Fitted(found, fitted.history, fitted.best_epoch, fitted.dev, notes=fitted.notes),
    )


def _fitting(states: Sequence[Tensor], data: Dataset, width: int) -> Sequence[Tensor]:
    shapes = [tuple(state.shape) for state in states]
    if shapes != [(len(record.units), width) for record in data]:
        raise DataError(
            f"the states do not fit the {data.split} records: there must be one state of {width} "
            "numbers per unit; compute them with `unit_states` on these records"
        )
    return states
