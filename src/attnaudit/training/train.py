"""`train`: from data to a model that can be audited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from attnaudit.data.kinds import AnyDataset
from attnaudit.data.records import Dataset
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import SettingsError
from attnaudit.models.pretrained.model import PretrainedClassifier
from attnaudit.models.seen import SeenTexts, seen_texts, write_splits
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.checkpoint import check_place, model_folder
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.nets.text.inputs import Given
from attnaudit.nets.text.vectors import Coverage, load_vectors
from attnaudit.nets.text.vocabulary import Vocabulary, build_vocabulary
from attnaudit.progress import Report, bars
from attnaudit.training.evaluation import check_labels
from attnaudit.training.options import FitOptions, Refit
from attnaudit.training.pretrained import refit_pretrained, train_pretrained
from attnaudit.training.text_loop import (
    Fitted,
    Objective,
    Penalty,
    TrainedResult,
    TrainOptions,
    new_net,
)
from attnaudit.training.text_loop import train as train_net

Splits = Mapping[str, Dataset]


@dataclass(frozen=True)
class Trained:
    """A model with how it came about.

    Attributes:
        model: The model, ready to be audited.
        splits: The data; `test` was never looked at.
        result: History and development metrics.
        coverage: How many words had a pretrained vector, or None.
    """

    model: TextClassifier
    splits: Splits
    result: TrainedResult
    coverage: Coverage | None


@dataclass(frozen=True)
class TrainedAbove:
    """A model above a frozen transformer, with how it came about.

    Attributes:
        model: The model, ready to be audited.
        splits: The data; `test` was never looked at.
        result: History and development metrics.
    """

    model: PretrainedClassifier
    splits: Splits
    result: Fitted


def train(
    data: Splits | Dataset | str | Path | Any,
    *,
    encoder: str = "bilstm",
    attention: str = "additive",
    hidden: int = 128,
    embedding_dim: int = 300,
    vectors: str | Path | None = None,
    options: TrainOptions | None = None,
    penalty: Penalty | None = None,
    objective: Objective | None = None,
    word_scores: Tensor | None = None,
    given: Mapping[str, Given] | None = None,
    vocabulary: Vocabulary | None = None,
    refit: Refit | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
    **data_options: Any,
) -> Trained:
    """Train a text classifier with one attention.

    Args:
        data: Splits by name (`train`, `dev`, `test`), one data set that is then split, or what
            `resolve` takes: a folder, a file, a named set, a hub name.
        encoder: bilstm, cnn or average.
        attention: additive or dot; or a control: uniform, random, position, own_token, word.
        hidden: Hidden size (per direction for the LSTM).
        embedding_dim: Size of word vectors; pretrained ones bring their own.
        vectors: A file of pretrained word vectors (text or npz).
        options: Epochs, batch size, seed, device, and the like.
        penalty: A further loss term.
        objective: The loss itself, in place of that of the labels.
        word_scores: The table of the attention `word`, one score an id of `vocabulary`.
        given: Weights of the records of `train` and `dev`, for the attention `given`.
        vocabulary: The words to know; built from the training records by default.
        refit: Another way of training, in place of the usual one (see `attnaudit.remedies`);
            `penalty`, `objective`, `word_scores` and `given` do not go with it.
        name: What reports call the model.
        out: Folder to save the model to, with the split `test` and hashes of what it was
            trained on, so that an audit can tell (`models/seen.py`).
        overwrite: Replace a model that attnaudit saved there.
        progress: A function `(stage, done, total)`, or whether to draw bars.
        data_options: Passed to `resolve`.

    Raises:
        AttnauditError: Unusable data, options or vectors, or a loss that is no number.

    Example:
        >>> from attnaudit.training.text_loop import TrainOptions
        >>> done = train("reviews", encoder="average", embedding_dim=8, hidden=8, limit=60,
        ...              options=TrainOptions(epochs=1), progress=False)
        >>> done.model.name, done.model.classes
        ('average+additive', ('negative', 'positive'))
    """
    if out is not None:
        check_place(out, overwrite=overwrite, reads=(data, vectors, data_options.get("data_dir")))
    splits = as_splits(data, data_options)
    options, given = options or TrainOptions(), given or {}
    if vocabulary is None:
        vocabulary = build_vocabulary(splits["train"].records, options.min_df, options.lowercase)
    table, coverage = None, None
    if vectors is not None:
        table, coverage = load_vectors(vectors, vocabulary, seed=options.seed)
        embedding_dim = table.shape[1]
    config = ClassifierConfig(
        splits["train"].classes,
        encoder,
        attention,
        hidden=hidden,
        embedding_dim=embedding_dim,
        question=splits["train"].has_questions,
    )
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        report = progress if callable(progress) else drawn
        epoch = 1

        def on_batch(done: int, total: int) -> None:
            if report:
                report("training", (epoch - 1) * total + done, options.epochs * total)

        def on_epoch(done: int, total: int, metrics: Mapping[str, float]) -> None:
            nonlocal epoch
            epoch = done + 1

        if refit is not None:
            if attention == "given":
                raise SettingsError(
                    "refit= trains weights, and with attention 'given' there are none"
                )
            beside = (penalty, objective, word_scores, given or None)
            if any(value is not None for value in beside):
                raise SettingsError(
                    "refit= trains in its own way: leave out penalty, objective, word_scores, given"
                )
            result = _refitted(refit, splits, config, vocabulary, table, options, report)
            model = TextClassifier(result.net, result.vocabulary, name)
            keep(model, splits, out, overwrite=overwrite)
            return Trained(model, splits, result, coverage)
        result = train_net(
            config,
            splits["train"].records,
            splits["dev"].records,
            options,
            vocabulary=vocabulary,
            vectors=table,
            word_scores=word_scores,
            penalty=penalty,
            objective=objective,
            given=given.get("train"),
            given_dev=given.get("dev"),
            on_epoch=on_epoch,
            on_batch=on_batch,
        )
    model = TextClassifier(result.net, result.vocabulary, name)
    keep(model, splits, out, overwrite=overwrite)
    return Trained(model, splits, result, coverage)


def _refitted(
    refit: Refit,
    splits: Splits,
    config: ClassifierConfig,
    vocabulary: Vocabulary,
    table: Tensor | None,
    options: TrainOptions,
    report: Report | None,
) -> TrainedResult:
    """A network that another way of training has trained from its initial values."""
    check_labels(splits["train"].records, config.classes, "training", several=True)
    check_labels(splits["dev"].records, config.classes, "development")
    net = new_net(config, len(vocabulary), options.seed, table).to(options.device)
    start = TextClassifier(net, vocabulary)
    fitted = refit(
        start,
        splits["train"],
        splits["dev"],
        replace(fit_options(options), report=report),
        fresh=table is None,
    )
    assert isinstance(fitted.model, TextClassifier)  # a copy of what was given
    return TrainedResult(
        fitted.model.net,
        fitted.history,
        fitted.best_epoch,
        fitted.dev,
        vocabulary=vocabulary,
        notes=fitted.notes,
    )


def fit_options(options: TrainOptions) -> FitOptions:
    """The options of a refit that follow from those of a training.

    An epoch is chosen by development accuracy where that was asked for, else by the loss.
    """
    return FitOptions(
        epochs=options.epochs,
        batch_size=options.batch_size,
        patience=options.patience,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        clip=options.clip,
        select="accuracy" if options.select == "accuracy" else "loss",
        seed=options.seed,
    )


def train_above(
    data: Splits | Dataset | str | Path | Any,
    encoder: str | Path,
    *,
    attention: str = "additive",
    layer: int = -1,
    options: TrainOptions | None = None,
    penalty: Penalty | None = None,
    refit: Refit | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
    **data_options: Any,
) -> TrainedAbove:
    """Train attention and head above a pretrained transformer that stays as it is.

    Args:
        data: As for `train`.
        encoder: `minilm`, a folder, or a name on the hub with its owner.
        attention: additive or dot; or a control: uniform, random, position.
        layer: The layer whose states are pooled; -1 is the last.
        options: Epochs, batch size, seed, device, and the like.
        penalty: A further loss term.
        refit: Another way of training, in place of the usual one, as for `train`.
        name: What reports call the model.
        out: Folder to save the model to; see `train`.
        overwrite: Replace a model that attnaudit saved there.
        progress: A function `(stage, done, total)`, or whether to draw bars.
        data_options: Passed to `resolve`.

    Raises:
        AttnauditError: Unusable data, options or transformer, or an extra that is not installed.
    """
    if out is not None:
        check_place(out, overwrite=overwrite, reads=(data, encoder, data_options.get("data_dir")))
    splits = as_splits(data, data_options)
    if refit is not None:
        if penalty is not None:
            raise SettingsError("refit= trains in its own way: leave out penalty")
        options = options or TrainOptions()
        model, fitted = refit_pretrained(
            refit,
            splits,
            encoder,
            attention=attention,
            layer=layer,
            options=fit_options(options),
            device=options.device,
            name=name,
            progress=progress,
        )
    else:
        model, fitted = train_pretrained(
            splits,
            encoder,
            attention=attention,
            layer=layer,
            options=options,
            penalty=penalty,
            name=name,
            progress=progress,
        )
    keep(model, splits, out, overwrite=overwrite)
    return TrainedAbove(model, splits, fitted)


class _Savable(Protocol):
    trained_on: SeenTexts | None

    def save(self, folder: str | Path) -> None: ...


def keep(
    model: _Savable,
    splits: Mapping[str, AnyDataset],
    out: str | Path | None,
    *,
    overwrite: bool = False,
) -> None:
    """Note what the model was trained on, and save both in one step where a folder is given."""
    model.trained_on = seen_texts(splits)
    if out is None:
        return
    with model_folder(out, overwrite=overwrite) as part:
        model.save(part)
        seen = write_splits(part, splits)
    test = None if seen.test is None else Path(out) / seen.test.name
    model.trained_on = replace(seen, test=test)


def as_splits(data: Any, data_options: dict[str, Any]) -> Splits:
    """Splits as they are; anything else resolved."""
    return data if isinstance(data, Mapping) else resolve(data, **data_options).splits()
