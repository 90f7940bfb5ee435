"""One training loop for the classifiers, with model selection on a development split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from attnaudit.data.records import Text
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.nets.devices import check_device
from attnaudit.nets.text.attentions import WordAttention
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig, Pass
from attnaudit.nets.text.inputs import Examples, Given, examples_of
from attnaudit.nets.text.vocabulary import PAD, Vocabulary, build_vocabulary
from attnaudit.training.evaluation import SELECTIONS, check_labels, predict, score, selection_metric

LENGTH_NOISE = 0.1
"""Relative noise on lengths before sorting, so that batches differ between epochs."""

Objective = Callable[[Pass, Int[Tensor, " B"]], Tensor]
"""From a pass and the rows of its training records to the loss of the batch, in place of labels."""
Penalty = Objective
"""Likewise a further term, added to the loss of the labels."""
OnEpoch = Callable[[int, int, Mapping[str, float]], None]
"""Epoch from 1, epochs in all, its metrics."""
OnBatch = Callable[[int, int], None]
"""Batches done in this epoch, batches in all."""


@dataclass(frozen=True)
class TrainOptions:
    """How a classifier is trained; the defaults are those of "Attention is not Explanation".

    Attributes:
        epochs: Passes over the training records, at least 1.
        batch_size: Instances a step.
        learning_rate: Of Adam with AMSGrad.
        weight_decay: L2 of embedding, encoder and head; the attention has none.
        patience: Stop after this many epochs without a better development score; None never.
        select: What chooses the epoch: on the development records `roc_auc` (for several classes,
            the mean of one against the rest) or `accuracy`; the lowest training `loss`; or
            `auto`: accuracy for networks that read a question, else ROC-AUC.
        clip: Largest norm of the gradient, or None for no clipping.
        seed: Of initial parameters and batches: equal seeds, equal parameters.
        min_df: In how many training records a word must occur to be known.
        lowercase: Whether words are looked up in lower case.
        device: Where to train.
    """

    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    patience: int | None = None
    select: str = "auto"
    clip: float | None = None
    seed: int = 0
    min_df: int = 1
    lowercase: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value}; it must be {what}"
            for name, value, fine, what in (
                ("epochs", self.epochs, self.epochs >= 1, "1 or more"),
                ("batch_size", self.batch_size, self.batch_size >= 1, "1 or more"),
                ("learning_rate", self.learning_rate, self.learning_rate > 0, "above 0"),
                ("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more"),
                ("patience", self.patience, self.patience is None or self.patience >= 1, "1 up"),
                ("clip", self.clip, self.clip is None or self.clip > 0, "above 0"),
                ("select", self.select, self.select in SELECTIONS, f"one of {SELECTIONS}"),
            )
            if not fine
        ]
        if wrong:
            raise SettingsError("; ".join(wrong))
        check_device(self.device)


@dataclass(frozen=True)
class Fitted:
    """What training gave.

    Attributes:
        net: The network with the parameters of the best epoch.
        history: One row an epoch: `loss` (mean over instances, penalty included), `dev_accuracy`
            and, where every class has development records, `dev_roc_auc`.
        best_epoch: The epoch, from 1, whose parameters are kept: the first with the best score.
        dev: The development metrics of that epoch.
        notes: What the training has to say of itself.
    """

    net: AttentionClassifier
    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    dev: Mapping[str, float]
    notes: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class TrainedResult(Fitted):
    """What training gave, with the words of the network.

    Attributes:
        vocabulary: Its words.
    """

    vocabulary: Vocabulary


def train(
    config: ClassifierConfig,
    train_records: Sequence[Text],
    dev_records: Sequence[Text],
    options: TrainOptions | None = None,
    *,
    vocabulary: Vocabulary | None = None,
    vectors: Float[Tensor, "V E"] | None = None,
    word_scores: Float[Tensor, " V"] | None = None,
    penalty: Penalty | None = None,
    objective: Objective | None = None,
    given: Given | None = None,
    given_dev: Given | None = None,
    on_epoch: OnEpoch | None = None,
    on_batch: OnBatch | None = None,
) -> TrainedResult:
    """Train a classifier and keep the epoch that does best on the development records.

    Two classes: cross-entropy of one logit, positives weighted by n_neg / n_pos, summed over the
    batch; several classes, or a question: mean cross-entropy. Adam with AMSGrad ("Attention is
    not Explanation", released code).

    Args:
        config: The network.
        train_records: Labelled texts; they also give the vocabulary where none is given.
        dev_records: Labelled texts for model selection; never the test split.
        options: How to train.
        vocabulary: The words to know; built from `train_records` by default.
        vectors: Initial embeddings, one row an id of `vocabulary`; normal draws by default.
        word_scores: The table of the attention `word`, one score an id of `vocabulary`.
        penalty: A further loss term, see `Penalty`. It is added as it is to the batch's loss,
            which for two classes is a sum over instances.
        objective: The loss itself, in place of the labels' (Wiegreffe & Pinter 2019, section 4).
        given: Weights of the training records, for the attention `given`.
        given_dev: Those of the development records.
        on_epoch: Called after every epoch.
        on_batch: Called after every batch.

    Raises:
        DataError: Records are missing, unlabelled, of one class only, or vectors do not fit.
        ModelError: The loss is no longer a number.
    """
    options = options or TrainOptions()
    labels = check_labels(train_records, config.classes, "training", several=True)
    dev_labels = check_labels(dev_records, config.classes, "development")
    if vocabulary is None:
        vocabulary = build_vocabulary(train_records, options.min_df, options.lowercase)
    count, question = len(config.classes), config.question
    train_examples = examples_of(
        train_records, vocabulary, labels, count, question=question, given=given
    )
    dev_examples = examples_of(
        dev_records, vocabulary, dev_labels, count, question=question, given=given_dev
    )
    net = new_net(config, len(vocabulary), options.seed, vectors, word_scores)
    fitted = fit(
        net,
        train_examples,
        dev_examples,
        options,
        penalty=penalty,
        objective=objective,
        on_epoch=on_epoch,
        on_batch=on_batch,
    )
    return TrainedResult(
        fitted.net, fitted.history, fitted.best_epoch, fitted.dev, vocabulary=vocabulary
    )


def fit(
    net: AttentionClassifier,
    train_examples: Examples,
    dev_examples: Examples,
    options: TrainOptions,
    *,
    penalty: Penalty | None = None,
    objective: Objective | None = None,
    on_epoch: OnEpoch | None = None,
    on_batch: OnBatch | None = None,
) -> Fitted:
    """Train a network on examples; see `train`, which makes both from records.

    Raises:
        DataError: The score that chooses the epoch is undefined on the development examples.
        ModelError: The loss is no longer a number.
    """
    config = net.config
    select = "accuracy" if options.select == "auto" and config.question else options.select
    metric = selection_metric(select, dev_examples.labels, config.classes)
    net = net.to(options.device)
    loop = _Loop(net, train_examples, options, penalty, objective, on_batch)
    history: list[Mapping[str, float]] = []
    best, best_epoch, best_state = -math.inf, 0, net.state_dict()
    for epoch in range(1, options.epochs + 1):
        metrics = {"loss": loop.run(epoch)}
        outputs = predict(net, dev_examples)
        _finite(outputs.sum(), epoch, "the development output")
        scores = score(outputs, dev_examples.labels)
        metrics.update({f"dev_{name}": value for name, value in scores.items()})
        history.append(metrics)
        if on_epoch is not None:
            on_epoch(epoch, options.epochs, metrics)
        reached = -metrics["loss"] if metric == "loss" else scores[metric]
        if reached > best:
            best, best_epoch = reached, epoch
            best_state = {name: value.clone() for name, value in net.state_dict().items()}
        elif options.patience is not None and epoch - best_epoch >= options.patience:
            break
    net.load_state_dict(best_state)
    dev = {name: value for name, value in history[best_epoch - 1].items() if name != "loss"}
    return Fitted(net, tuple(history), best_epoch, dev)


class _Loop:
    """The state of a training: network, optimiser and the generator of batches."""

    def __init__(
        self,
        net: AttentionClassifier,
        examples: Examples,
        options: TrainOptions,
        penalty: Penalty | None,
        objective: Objective | None,
        on_batch: OnBatch | None,
    ) -> None:
        self.net, self.examples, self.options = net, examples, options
        self.penalty, self.objective, self.on_batch = penalty, objective, on_batch
        self.generator = torch.Generator().manual_seed(options.seed)
        self.optimizer = _optimizer(net, options)
        positives = int((examples.labels == 1).sum())
        # n_neg / n_pos of the training split; used with two classes only.
        self.positive_weight = torch.tensor(
            (len(examples) - positives) / max(1, positives), device=options.device
        )

    def run(self, epoch: int) -> float:
        """One pass over the examples; the mean loss of an instance."""
        batches = noisy_batches(self.examples.lengths, self.options.batch_size, self.generator)
        total = 0.0
        for done, rows in enumerate(batches, start=1):
            total += self._step(rows, epoch)
            if self.on_batch is not None:
                self.on_batch(done, len(batches))
        return total / len(self.examples)

    def _step(self, rows: list[int], epoch: int) -> float:
        """One batch; its loss summed over instances."""
        index = torch.tensor(rows)
        passed = self.net.run(self.examples.batch(rows).to(self.options.device))
        if self.objective is not None:
            loss = self.objective(passed, index)
        else:
            labels = self.examples.labels[index].to(self.options.device)
            loss = self._loss(passed.logits, labels)
        if self.penalty is not None:
            loss = loss + self.penalty(passed, index)
        value = _finite(loss, epoch, "the loss")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.options.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.options.clip)
        self.optimizer.step()
        summed = self.net.config.logits == 1 or self.objective is not None
        return value if summed else value * len(rows)

    def _loss(self, logits: Float[Tensor, "B O"], labels: Int[Tensor, " B"]) -> Tensor:
        if self.net.config.logits == 1:
            return binary_cross_entropy_with_logits(
                logits.squeeze(-1),
                labels.to(logits.dtype),
                pos_weight=self.positive_weight,
                reduction="sum",
            )
        return cross_entropy(logits, labels)


def noisy_batches(lengths: Sequence[int], size: int, generator: torch.Generator) -> list[list[int]]:
    """Rows in batches of similar length, in random order.

    Lengths are changed by up to ±10 % at random, sorted, cut into batches, and those shuffled.

    Example:
        >>> batches = noisy_batches([50, 10, 52, 9], 2, torch.Generator().manual_seed(0))
        >>> sorted(sorted(rows) for rows in batches)
        [[0, 2], [1, 3]]
    """
    noise = 1 + LENGTH_NOISE * (2 * torch.rand(len(lengths), generator=generator) - 1)
    order = torch.argsort(torch.tensor(lengths) * noise, stable=True).tolist()
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


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


def _finite(value: Tensor, epoch: int, what: str) -> float:
    """The number, where it is one.

    Raises:
        ModelError: It is NaN or infinite.
    """
    number = float(value.detach())
    if not math.isfinite(number):
        raise ModelError(
            f"{what} is {number} in epoch {epoch}: training has diverged; lower the learning "
            "rate, set clip, or check vectors and penalty"
        )
    return number
