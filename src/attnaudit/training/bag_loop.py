"""Training of a classifier of bags, with model selection on a development split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnaudit.data.bags.records import BagDataset
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig, new_bag_net
from attnaudit.nets.bags.inputs import BagTensors, bag_tensors, epoch_batches
from attnaudit.nets.devices import check_device
from attnaudit.training.evaluation import SELECTIONS, score, selection_metric

LOSSES = ("cross_entropy", "balanced", "clamped")
"""`balanced` weighs each class by the inverse of its share; `clamped` is the loss of the code of
Ilse et al. (2018), with probabilities kept from 1e-5 to 1 − 1e-5."""
CLAMP = 1e-5
DTYPES = {"float32": torch.float32, "float64": torch.float64}
OnEpoch = Callable[[int, int, Mapping[str, float]], None]
"""Epoch from 1, epochs in all, its metrics."""


@dataclass(frozen=True)
class BagOptions:
    """How a classifier of bags is trained.

    Attributes:
        epochs: Passes over the training bags, at least 1.
        batch_size: Bags a step; 1 in Ilse et al. (2018).
        learning_rate: Of Adam; 5e-4 in Ilse et al.
        weight_decay: L2 of all parameters, as in Ilse et al.
        patience: Stop after this many epochs without a better development score; None never.
        select: What chooses the epoch: `roc_auc` or `accuracy` on the development bags, the
            lowest training `loss`, or `auto`, ROC-AUC where it is defined.
        loss: A name of `LOSSES`.
        seed: Of initial parameters and batches: equal seeds, equal parameters.
        dtype: `float32` or `float64`.
        device: Where to train.

    Raises:
        SettingsError: An option out of range.
    """

    epochs: int = 40
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    patience: int | None = None
    select: str = "auto"
    loss: str = "cross_entropy"
    seed: int = 0
    dtype: str = "float32"
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
                ("select", self.select, self.select in SELECTIONS, f"one of {SELECTIONS}"),
                ("loss", self.loss, self.loss in LOSSES, f"one of {LOSSES}"),
                ("dtype", self.dtype, self.dtype in DTYPES, f"one of {tuple(DTYPES)}"),
            )
            if not fine
        ]
        if wrong:
            raise SettingsError("; ".join(wrong))
        check_device(self.device)


@dataclass(frozen=True)
class BagFit:
    """What training gave.

    Attributes:
        net: The network with the parameters of the best epoch.
        history: One row an epoch: `loss` (mean over bags), `dev_accuracy` and, where every class
            has development bags, `dev_roc_auc`.
        best_epoch: The epoch, from 1, whose parameters are kept: that with the best score and,
            among equals, the lowest development loss.
        dev: The development metrics of that epoch.
    """

    net: BagClassifier
    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    dev: Mapping[str, float]


@dataclass(frozen=True)
class Prepared:
    """Everything of a training that does not depend on the seed.

    Attributes:
        train: The training bags.
        dev: The development bags.
        class_weights: `(C,)`, of the loss.
        metric: What chooses the epoch.
    """

    train: BagTensors
    dev: BagTensors
    class_weights: Float[Tensor, " C"]
    metric: str


def prepare(config: BagConfig, train: BagDataset, dev: BagDataset, options: BagOptions) -> Prepared:
    """Check the data, and bring them into the form that training reads.

    Raises:
        DataError: Bags cannot be used, are all of one class, or leave the score that chooses the
            epoch undefined.
    """
    where = (DTYPES[options.dtype], options.device)
    bags = bag_tensors(train, config, "training", *where)
    dev_bags = bag_tensors(dev, config, "development", *where)
    counts = torch.bincount(bags.labels, minlength=len(config.classes))
    if int((counts > 0).sum()) < 2:
        name = config.classes[int(bags.labels[0])]
        raise DataError(f"all {len(bags)} training bags are of class {name!r}; give others")
    weights = torch.ones_like(counts, dtype=bags.values.dtype)
    if options.loss == "balanced":
        weights = len(bags) / (len(counts) * counts.clamp_min(1).to(weights.dtype))
    metric = selection_metric(options.select, dev_bags.labels.cpu(), config.classes)
    return Prepared(bags, dev_bags, weights, metric)


def bag_loss(
    outputs: Float[Tensor, "B C"],
    labels: Int[Tensor, " B"],
    loss: str,
    class_weights: Float[Tensor, " C"],
) -> Tensor:
    """The mean loss of a batch.

    Args:
        outputs: Log-probabilities.
        labels: Class indices.
        loss: A name of `LOSSES`.
        class_weights: What a bag of each class counts.

    Example:
        >>> outputs = torch.tensor([[0.25, 0.75], [1.0, 0.0]]).log()
        >>> labels = torch.tensor([1, 1])
        >>> round(bag_loss(outputs, labels, "clamped", torch.ones(2)).item(), 3)
        5.9
    """
    chosen = outputs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    if loss == "clamped":
        chosen = chosen.exp().clamp(CLAMP, 1 - CLAMP).log()
    return -(class_weights[labels] * chosen).mean()


class Selection:
    """Which epoch is the best so far, and whether to stop.

    Attributes:
        history: The metrics of each epoch.
        best_epoch: The epoch with the best score, and among equals with the lowest development
            loss; 0 before any.
        stopped: Whether patience has run out.
    """

    def __init__(self, metric: str, patience: int | None) -> None:
        self.history: list[Mapping[str, float]] = []
        self.best_epoch = 0
        self.stopped = False
        self._metric, self._patience = metric, patience
        self._best = (-math.inf, -math.inf)

    def add(
        self, loss: float, outputs: Float[Tensor, "n C"], labels: Int[Tensor, " n"], seed: int
    ) -> bool:
        """Take in an epoch; whether it is the best so far.

        Raises:
            ModelError: Its loss or outputs are no numbers.
        """
        epoch = len(self.history) + 1
        if not (math.isfinite(loss) and bool(torch.isfinite(outputs.exp()).all())):
            raise ModelError(
                f"seed {seed}: the loss is {loss} in epoch {epoch}, or an output is no number: "
                "training has diverged; lower the learning rate, or scale the features"
            )
        scores = score(outputs.cpu(), labels.cpu())
        self.history.append({"loss": loss, **{f"dev_{k}": v for k, v in scores.items()}})
        # few development bags are soon all right: then the surer epoch is the better one
        chosen = outputs.gather(-1, labels.unsqueeze(-1)).mean()
        reached = (-loss if self._metric == "loss" else scores[self._metric], float(chosen))
        if reached > self._best:
            self._best, self.best_epoch = reached, epoch
            return True
        self.stopped = self._patience is not None and epoch - self.best_epoch >= self._patience
        return False

    def fit(self, net: BagClassifier) -> BagFit:
        """The result, with the network of the best epoch."""
        dev = {k: v for k, v in self.history[self.best_epoch - 1].items() if k != "loss"}
        return BagFit(net, tuple(self.history), self.best_epoch, dev)


@torch.no_grad()
def predict_bags(net: BagClassifier, bags: BagTensors) -> Float[Tensor, "n C"]:
    """Log-probabilities in the order of the bags."""
    outputs = bags.values.new_empty(len(bags), len(net.config.classes))
    for rows in bags.groups():
        instances, mask, _ = bags.take(rows)
        outputs[rows] = net(instances, mask)
    return outputs


def train_bags(
    config: BagConfig,
    train: BagDataset,
    dev: BagDataset,
    options: BagOptions | None = None,
    *,
    on_epoch: OnEpoch | None = None,
) -> BagFit:
    """Train a classifier with Adam, and keep the epoch that does best on the development bags.

    Args:
        config: The network.
        train: Labelled bags, scaled as they should be (see `standardised`).
        dev: Labelled bags for model selection; never the test split.
        options: How to train.
        on_epoch: Called after every epoch.

    Raises:
        DataError: As `prepare`.
        SettingsError: As `BagClassifier`.
        ModelError: Training diverges.
    """
    options = options or BagOptions()
    data = prepare(config, train, dev, options)
    net = new_bag_net(config, options.seed, DTYPES[options.dtype]).to(options.device)
    optimizer = adam(net.parameters(), options)
    generator = torch.Generator().manual_seed(options.seed)
    selection = Selection(data.metric, options.patience)
    best = net.state_dict()
    for epoch in range(1, options.epochs + 1):
        total = 0.0
        for rows in epoch_batches(len(data.train), options.batch_size, generator):
            instances, mask, labels = data.train.take(rows.to(options.device))
            outputs = net(instances, mask)
            loss = bag_loss(outputs, labels, options.loss, data.class_weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        outputs = predict_bags(net, data.dev)
        if selection.add(total / len(data.train), outputs, data.dev.labels, options.seed):
            best = {name: value.clone() for name, value in net.state_dict().items()}
        if on_epoch is not None:
            on_epoch(epoch, options.epochs, selection.history[-1])
        if selection.stopped:
            break
    net.load_state_dict(best)
    return selection.fit(net)


def adam(parameters: object, options: BagOptions) -> torch.optim.Adam:
    """Adam as both ways of training use it."""
    return torch.optim.Adam(
        parameters,  # type: ignore[arg-type]
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
    )
