"""Training of classifiers of texts: from scratch, or above a frozen pretrained transformer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.pretrained.held import HeldStates, unit_states
from attnaudit.models.pretrained.model import PretrainedClassifier, pooling_config
from attnaudit.models.text.model import TextClassifier
from attnaudit.models.wrapped.model import refuse_broken
from attnaudit.nets.pretrained.frozen import FrozenTransformer
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.nets.text.attentions import WordAttention
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig, Pass
from attnaudit.nets.text.inputs import Examples, Given, examples_of
from attnaudit.nets.text.vectors import load_vectors
from attnaudit.nets.text.vocabulary import PAD, Vocabulary, build_vocabulary
from attnaudit.training.evaluation import check_labels, predict, reached, score, selection_metric
from attnaudit.training.fitting import Refit
from attnaudit.training.loop import NetLearner, Scores, finite, noisy_batches, run
from attnaudit.training.options import DEFAULTS, TrainOptions, selector_options
from attnaudit.training.result import Trained

Splits = Mapping[str, Dataset]
UnitStates = Mapping[str, Sequence[Float[Tensor, "T H"]]]
"""For `train` and `dev`, the states of the units of each record."""
Penalty = Callable[[Pass, Int[Tensor, " B"]], Tensor]
"""From a pass and the rows of its training records to a further loss term of the batch."""
Objective = Penalty
"""Likewise the loss itself, in place of that of the labels."""


def train_text(
    splits: Splits,
    options: TrainOptions | None = None,
    *,
    encoder: str = "bilstm",
    attention: str = "additive",
    hidden: int = 128,
    embedding_dim: int = 300,
    vectors: str | Path | None = None,
    word_scores: Float[Tensor, " V"] | None = None,
    vocabulary: Vocabulary | None = None,
    penalty: Penalty | None = None,
    objective: Objective | None = None,
    given: Mapping[str, Given] | None = None,
    refit: Refit | None = None,
    name: str | None = None,
) -> Trained[TextClassifier]:
    """Train a text classifier with one attention.

    Two classes: cross-entropy of one logit, positives weighted by n_neg / n_pos, summed over the
    batch; several classes, or a question: mean cross-entropy. Adam with AMSGrad ("Attention is
    not Explanation", released code).

    Args:
        splits: `train` and `dev`, labelled.
        options: How to train.
        encoder: A name of `ENCODERS`.
        attention: A name of `ATTENTIONS`: additive or dot, or a control.
        hidden: Hidden size (per direction for the LSTM).
        embedding_dim: Size of word vectors; pretrained ones bring their own.
        vectors: A file of pretrained word vectors (text or npz).
        word_scores: The table of the attention `word`, one score per id of `vocabulary`.
        vocabulary: The words to know; built from the training records by default.
        penalty: A further loss term. It is added as it is to the batch's loss, which for two
            classes is a sum over instances.
        objective: The loss itself, in place of the labels' (Wiegreffe & Pinter 2019, section 4).
        given: Weights of the records of `train` and `dev`, for the attention `given`.
        refit: Another way of training, in place of the usual one (see `attnaudit.remedies`);
            `penalty`, `objective`, `word_scores` and `given` do not go with it.
        name: What reports call the model.

    Raises:
        DataError: Records are missing, unlabelled or of one class only, or vectors do not fit.
        SettingsError: Arguments that do not go together.
        ModelError: The loss is no longer a number.
    """
    options, given = options or DEFAULTS["text"], given or {}
    train, dev = splits["train"], splits["dev"]
    labels = _labels(splits)
    if vocabulary is None:
        vocabulary = build_vocabulary(train.records, options.min_df, options.lowercase)
    table, coverage = None, None
    if vectors is not None:
        table, coverage = load_vectors(vectors, vocabulary, seed=options.seed)
        embedding_dim = table.shape[1]
    config = ClassifierConfig(
        train.classes,
        encoder,
        attention,
        hidden=hidden,
        embedding_dim=embedding_dim,
        question=train.has_questions,
    )
    net = new_net(config, len(vocabulary), options.seed, table, word_scores)
    if refit is not None:
        _alone(penalty=penalty, objective=objective, word_scores=word_scores, given=given or None)
        if attention == "given":
            raise SettingsError("refit= trains weights, and with attention 'given' there are none")
        start = TextClassifier(net.to(options.device), vocabulary)
        found = refit(start, train, dev, selector_options(options), fresh=table is None)
        assert isinstance(found.model, TextClassifier)  # a copy of what was given
        return found.holding(TextClassifier(found.model.net, vocabulary, name), coverage=coverage)
    examples = {
        part: examples_of(
            splits[part].records,
            vocabulary,
            labels[part],
            len(train.classes),
            question=config.question,
            given=given.get(part),
        )
        for part in labels
    }
    fitted = fit_net(
        net, examples["train"], examples["dev"], options, penalty=penalty, objective=objective
    )
    return fitted.holding(TextClassifier(fitted.model, vocabulary, name), coverage=coverage)


def train_above(
    splits: Splits,
    encoder: str | Path | FrozenTransformer,
    options: TrainOptions | None = None,
    *,
    attention: str = "additive",
    layer: int = -1,
    penalty: Penalty | None = None,
    objective: Objective | None = None,
    refit: Refit | None = None,
    states: UnitStates | None = None,
    name: str | None = None,
) -> Trained[PretrainedClassifier]:
    """Train attention pooling and a linear head above a transformer that stays as it is.

    The states of all records of train and dev are computed once; the loss and its defaults are
    those of the classifiers that are trained from scratch.

    Args:
        splits: `train` and `dev`, labelled.
        encoder: A folder, a hub name, `minilm` (see `load_transformer`), or a transformer that is
            loaded already.
        options: How to train; words are the tokenizer's, so `min_df` and `lowercase` are not read.
        attention: additive or dot; or a control: uniform, random, position.
        layer: The layer whose states are pooled; -1 is the last.
        penalty: As in `train_text`.
        objective: Likewise.
        refit: Likewise.
        states: What `unit_states` gave for `train` and `dev`, for a second training run on the
            same data; computed by default.
        name: What reports call the model.

    Raises:
        MissingExtra: The package `transformers`, or that of `minilm`, is absent.
        DataError: Records are missing, unlabelled, of one class only, too long, or have questions.
        ModelError: The transformer cannot be used, or the loss is no longer a number.
        SettingsError: An attention or layer that does not exist.
    """
    options = options or DEFAULTS["text"]
    train, dev = splits["train"], splits["dev"]
    labels = _labels(splits)
    if not isinstance(encoder, FrozenTransformer):
        encoder = load_transformer(encoder, layer)
    refuse_broken(encoder.transformer, encoder.source)
    net = new_net(pooling_config(encoder, train.classes, attention), None, options.seed)
    encoder.to(options.device)
    whole = [*train.records, *dev.records]
    if refit is not None:
        _alone(penalty=penalty, objective=objective)
        start = PretrainedClassifier(encoder, net, name).to(options.device)
        held = HeldStates(start, whole, options.report)
        found = refit(held, train, dev, selector_options(options), fresh=True)
        assert isinstance(found.model, HeldStates)  # a copy of what was given
        return found.holding(PretrainedClassifier(encoder, found.model.net, name))
    if states is None:
        computed = unit_states(encoder, whole, progress=options.report)
        states = {"train": computed[: len(train)], "dev": computed[len(train) :]}
    examples = {
        part: Examples(_fitting(states[part], splits[part], encoder.width), labels[part])
        for part in labels
    }
    fitted = fit_net(
        net, examples["train"], examples["dev"], options, penalty=penalty, objective=objective
    )
    return fitted.holding(PretrainedClassifier(encoder, fitted.model, name))


def fit_net(
    net: AttentionClassifier,
    train: Examples,
    dev: Examples,
    options: TrainOptions,
    *,
    penalty: Penalty | None = None,
    objective: Objective | None = None,
) -> Trained[AttentionClassifier]:
    """Train a network, in place, on examples; `train_text` makes both from records.

    Raises:
        DataError: The score that chooses the epoch is undefined on the development examples.
        ModelError: The loss is no longer a number.
    """
    return run(_TextLearner(net, train, dev, options, penalty, objective), options)[0]


class _TextLearner(NetLearner[list[int], AttentionClassifier]):
    """A network that pools words or states, on examples."""

    def __init__(
        self,
        net: AttentionClassifier,
        train: Examples,
        dev: Examples,
        options: TrainOptions,
        penalty: Penalty | None,
        objective: Objective | None,
    ) -> None:
        config = net.config
        select = "accuracy" if options.select == "auto" and config.question else options.select
        self.metric = selection_metric(select, dev.labels, config.classes)
        self.net: AttentionClassifier = net.to(options.device)
        self.train, self.dev, self.options = train, dev, options
        self.penalty, self.objective = penalty, objective
        self.size, self.parameters = len(train), list(net.parameters())
        self.generator = torch.Generator().manual_seed(options.seed)
        self.optimizer = _optimizer(net, options)
        positives = int((train.labels == 1).sum())
        # n_neg / n_pos of the training split; used with two classes only.
        self.positive_weight = torch.tensor(
            (len(train) - positives) / max(1, positives), device=options.device
        )

    def batches(self) -> list[list[int]]:
        return noisy_batches(self.train.lengths, self.options.batch_size, self.generator)

    def loss(self, batch: list[int]) -> tuple[Tensor, int]:
        index = torch.tensor(batch)
        passed = self.net.run(self.train.batch(batch).to(self.options.device))
        if self.objective is not None:
            loss = self.objective(passed, index)
        else:
            loss = self._of_labels(passed.logits, self.train.labels[index])
        if self.penalty is not None:
            loss = loss + self.penalty(passed, index)
        summed = self.net.config.logits == 1 or self.objective is not None
        return loss, 1 if summed else len(batch)

    def _of_labels(self, logits: Float[Tensor, "B O"], labels: Int[Tensor, " B"]) -> Tensor:
        labels = labels.to(self.options.device)
        if self.net.config.logits == 1:
            return binary_cross_entropy_with_logits(
                logits.squeeze(-1),
                labels.to(logits.dtype),
                pos_weight=self.positive_weight,
                reduction="sum",
            )
        return cross_entropy(logits, labels)

    def scores(self, losses: Sequence[float], running: Sequence[int], epoch: int) -> list[Scores]:
        outputs = predict(self.net, self.dev)
        finite(outputs.sum(), "the development output", epoch)
        return [reached(score(outputs, self.dev.labels), self.metric, losses[0])]


def new_net(
    config: ClassifierConfig,
    vocabulary_size: int | None,
    seed: int,
    vectors: Float[Tensor, "V E"] | None = None,
    word_scores: Float[Tensor, " V"] | None = None,
) -> AttentionClassifier:
    """A network with initial parameters that depend on the seed alone.

    Raises:
        DataError: Vectors or word scores do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = AttentionClassifier(config, vocabulary_size)
    if vectors is not None:
        _set(net.embedding.weight, vectors, "vectors")
        with torch.no_grad():
            net.embedding.weight[PAD] = 0.0
    if word_scores is not None:
        if not isinstance(net.attention, WordAttention):
            raise DataError(f"word scores need the attention 'word', not {config.attention!r}")
        _set(net.attention.scores, word_scores, "word scores")
    return net


def _set(parameter: Tensor, values: Tensor, what: str) -> None:
    if values.shape != parameter.shape:
        raise DataError(
            f"{what} have shape {tuple(values.shape)}, but the vocabulary and embedding_dim ask "
            f"for {tuple(parameter.shape)}; load them for this vocabulary and dimension"
        )
    with torch.no_grad():
        parameter.copy_(values)


def _optimizer(net: AttentionClassifier, options: TrainOptions) -> torch.optim.Optimizer:
    """Adam with AMSGrad; weight decay on everything but the attention."""
    attention = list(net.attention.parameters())
    own = {id(parameter) for parameter in attention}
    rest = [parameter for parameter in net.parameters() if id(parameter) not in own]
    return torch.optim.Adam(
        [
            {"params": rest, "weight_decay": options.weight_decay},
            {"params": attention, "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
        amsgrad=True,
        fused=True,  # one pass over the embeddings a step instead of ten
    )


def _labels(splits: Splits) -> dict[str, Int[Tensor, " N"]]:
    classes = splits["train"].classes
    return {
        "train": check_labels(splits["train"].records, classes, "training", several=True),
        "dev": check_labels(splits["dev"].records, classes, "development"),
    }


def _alone(**beside: object) -> None:
    if any(value is not None for value in beside.values()):
        raise SettingsError(f"refit= trains in its own way: leave out {', '.join(beside)}")


def _fitting(states: Sequence[Tensor], data: Dataset, width: int) -> Sequence[Tensor]:
    shapes = [tuple(state.shape) for state in states]
    if shapes != [(len(record.units), width) for record in data]:
        raise DataError(
            f"the states do not fit the {data.split} records: there must be one state of {width} "
            "numbers per unit; compute them with `unit_states` on these records"
        )
    return states
