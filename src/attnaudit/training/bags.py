"""Training of classifiers of bags: one, or many seeds side by side in one computation."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.func import functional_call, stack_module_state

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.scaling import scaled, scaling_of
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.bags.model import BagModel
from attnaudit.models.ensemble import RULES, Ensemble
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig, new_bag_net
from attnaudit.nets.bags.inputs import INSTANCES, BagTensors, bag_tensors, epoch_batches
from attnaudit.training.evaluation import reached, score, selection_metric
from attnaudit.training.loop import Learner, NetLearner, Scores, State, finite, run
from attnaudit.training.options import DEFAULTS, TrainOptions
from attnaudit.training.result import Trained

BagSplits = Mapping[str, BagDataset]
CLAMP = 1e-5
DTYPES = {"float32": torch.float32, "float64": torch.float64}
LARGE_IMAGE = 400
"""Images of more pixels are read by a convolutional encoder by default."""
SEEDS_AT_ONCE = 16
"""Networks that are trained side by side; more take more memory."""


def train_bag_model(
    splits: BagSplits,
    options: TrainOptions | None = None,
    *,
    encoder: str | None = None,
    pool: str = "gated",
    head: str = "linear",
    hidden: int = 32,
    attention_size: int = 16,
    heads: int = 4,
    shown: int | None = None,
    scale: bool | None = None,
    members: int = 1,
    rule: str = "mean",
    name: str | None = None,
) -> Trained[BagModel | Ensemble]:
    """Train a classifier of bags, or an ensemble of such, for multiple-instance learning.

    Args:
        splits: `train` and `dev`, labelled.
        options: How to train; members have the seeds from that of the options on.
        encoder: A name of `BAG_ENCODERS`; by default `mnist_cnn` for large images, else `mlp`.
        pool: A name of `BAG_POOLS`.
        head: linear or mlp.
        hidden: Numbers per encoded instance.
        attention_size: Rows of the layer inside an additive attention.
        heads: Attention heads, in pools that have several.
        shown: The head whose weights are shown; None for the mean of the heads.
        scale: Whether features are standardised by those of train, inside the model; by default
            where instances are vectors and no images.
        members: With 2 or more, an ensemble of so many seeds.
        rule: How the weights of an ensemble's members become one: mean or ranks.
        name: What reports call the model.

    Raises:
        AttnauditError: Unusable data or options, or training that diverges.
    """
    if members < 1:
        raise SettingsError(f"members= (--members) must be 1 or more, got {members}")
    if rule not in RULES:
        raise SettingsError(f"rule= (--rule) is {rule!r}; choose one of {', '.join(RULES)}")
    train, options = splits["train"], options or DEFAULTS["bags"]
    shape, features = train.shape, train.features
    if encoder is None:
        encoder = "mnist_cnn" if len(shape) == 3 and math.prod(shape) > LARGE_IMAGE else "mlp"
    config = BagConfig(
        train.classes, shape, encoder, pool, head, hidden, attention_size, heads, shown
    )
    scaling = scaling_of(train) if (len(shape) == 1 if scale is None else scale) else None
    dev = splits["dev"]
    if scaling is not None:
        train, dev = scaled(train, scaling), scaled(dev, scaling)
    if members == 1:
        fit = train_bags(config, train, dev, options)
        return fit.holding(BagModel(fit.model, name, scaling, features))
    seeds = range(options.seed, options.seed + members)
    fits = train_many(config, train, dev, seeds, options)
    models = [BagModel(fit.model, None, scaling, features) for fit in fits]
    return fits[0].holding(Ensemble(models, rule, name), members=fits)


def train_bags(
    config: BagConfig, train: BagDataset, dev: BagDataset, options: TrainOptions | None = None
) -> Trained[BagClassifier]:
    """Train one network with Adam.

    Args:
        config: The network.
        train: Labelled bags, scaled as they should be (see `standardised`).
        dev: Labelled bags for model selection; never the test split.
        options: How to train.

    Returns:
        The network of the best epoch: that with the best score and, among equals, the lowest
        development loss.

    Raises:
        DataError: Bags cannot be used, are all of one class, or leave the score that chooses the
            epoch undefined.
        SettingsError: As `BagClassifier`.
        ModelError: Training diverges.
    """
    options = options or DEFAULTS["bags"]
    return run(_BagLearner(config, _prepared(config, train, dev, options), options), options)[0]


def train_many(
    config: BagConfig,
    train: BagDataset,
    dev: BagDataset,
    seeds: Sequence[int],
    options: TrainOptions | None = None,
    *,
    at_once: int = SEEDS_AT_ONCE,
) -> tuple[Trained[BagClassifier], ...]:
    """Train one network per seed, side by side in one computation.

    Each seed has the initial parameters, the batches, the choice of the epoch and the early stop
    that `train_bags` gives it, so that results are the same up to rounding; in single precision
    rounding can grow over many steps, and two epochs with nearly equal scores can change places.

    Args:
        config: The network.
        train: Labelled bags.
        dev: Labelled bags for model selection; never the test split.
        seeds: One or more, all different; they take the place of `options.seed`.
        options: How to train.
        at_once: How many seeds to train side by side.

    Returns:
        One result per seed, in the order of the seeds.

    Raises:
        DataError: As `train_bags`.
        SettingsError: No seeds, a seed twice, `at_once` below 1, or as `BagClassifier`.
        ModelError: Training diverges; the message names the seed.
    """
    options = options or DEFAULTS["bags"]
    if not seeds or len(set(seeds)) < len(seeds) or at_once < 1:
        raise SettingsError(
            f"seeds are {list(seeds)} and at_once is {at_once}; give one seed or more, each once, "
            "and at_once of 1 or more"
        )
    data = _prepared(config, train, dev, options)
    groups = [seeds[start : start + at_once] for start in range(0, len(seeds), at_once)]
    return tuple(
        fit for some in groups for fit in run(_SeedsLearner(config, data, some, options), options)
    )


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


@dataclass(frozen=True)
class _Prepared:
    """Everything in training that does not depend on the seed.

    Attributes:
        train: The training bags.
        dev: The development bags.
        class_weights: `(C,)`, for the loss.
        metric: What chooses the epoch.
    """

    train: BagTensors
    dev: BagTensors
    class_weights: Float[Tensor, " C"]
    metric: str

    def scores(
        self, loss: float, outputs: Float[Tensor, "n C"], epoch: int, seed: str = ""
    ) -> Scores:
        """Development scores from log-probabilities."""
        finite(outputs.exp().sum(), "the development output", epoch, seed)
        labels = self.dev.labels
        # few development bags are soon all right: then the surer epoch is the better one
        surer = float(outputs.gather(-1, labels.unsqueeze(-1)).mean())
        return reached(score(outputs.cpu(), labels.cpu()), self.metric, loss, surer)


def _prepared(
    config: BagConfig, train: BagDataset, dev: BagDataset, options: TrainOptions
) -> _Prepared:
    """The data, checked, in the form that training reads."""
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
    return _Prepared(bags, dev_bags, weights, metric)


class _BagLearner(NetLearner[Tensor, BagClassifier]):
    """One network."""

    def __init__(self, config: BagConfig, data: _Prepared, options: TrainOptions) -> None:
        self.data, self.options, self.size = data, options, len(data.train)
        net = new_bag_net(config, options.seed, DTYPES[options.dtype]).to(options.device)
        self.net: BagClassifier = net
        self.seeds, self.parameters = (f"seed {options.seed}",), list(net.parameters())
        self.optimizer = _adam(self.parameters, options)
        self.generator = torch.Generator().manual_seed(options.seed)

    def batches(self) -> Sequence[Tensor]:
        return epoch_batches(self.size, self.options.batch_size, self.generator)

    def loss(self, batch: Tensor) -> tuple[Tensor, int]:
        instances, mask, labels = self.data.train.take(batch.to(self.options.device))
        outputs = self.net(instances, mask)
        loss = bag_loss(outputs, labels, self.options.loss, self.data.class_weights)
        return loss, len(batch)

    @torch.no_grad()
    def scores(self, losses: Sequence[float], running: Sequence[int], epoch: int) -> list[Scores]:
        bags = self.data.dev
        outputs = bags.values.new_empty(len(bags), len(self.net.config.classes))
        for rows in bags.groups():
            instances, mask, _ = bags.take(rows)
            outputs[rows] = self.net(instances, mask)
        return [self.data.scores(losses[0], outputs, epoch, *self.seeds)]


class _SeedsLearner(Learner[tuple[Tensor, ...], BagClassifier]):
    """Networks that are trained side by side: parameters stacked, `(S, …)` each."""

    def __init__(
        self, config: BagConfig, data: _Prepared, seeds: Sequence[int], options: TrainOptions
    ) -> None:
        self.data, self.options, self.size = data, options, len(data.train)
        self.seeds = tuple(f"seed {seed}" for seed in seeds)
        dtype = DTYPES[options.dtype]
        self.nets = [new_bag_net(config, seed, dtype).to(options.device) for seed in seeds]
        self.stacked: dict[str, Tensor] = stack_module_state(list(self.nets))[0]
        self.parameters = list(self.stacked.values())
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.optimizer = _adam(self.parameters, options)
        self.base = copy.deepcopy(self.nets[0]).to("meta")

    def batches(self) -> list[tuple[Tensor, ...]]:
        size = self.options.batch_size
        orders = [epoch_batches(self.size, size, generator) for generator in self.generators]
        return list(zip(*orders, strict=True))

    def loss(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, int]:
        instances, mask, labels = self.data.train.take(torch.stack(batch).to(self.options.device))
        return torch.vmap(self._loss)(self.stacked, instances, mask, labels), len(batch[0])

    def _call(
        self, stacked: dict[str, Tensor], instances: Tensor, mask: Bool[Tensor, "B N"]
    ) -> Tensor:
        outputs: Tensor = functional_call(self.base, stacked, (instances, mask))
        return outputs

    def _loss(
        self, stacked: dict[str, Tensor], instances: Tensor, mask: Tensor, labels: Tensor
    ) -> Tensor:
        outputs = self._call(stacked, instances, mask)
        return bag_loss(outputs, labels, self.options.loss, self.data.class_weights)

    @torch.no_grad()
    def scores(self, losses: Sequence[float], running: Sequence[int], epoch: int) -> list[Scores]:
        bags, seeds = self.data.dev, len(self.nets)
        outputs = bags.values.new_empty(seeds, len(bags), len(self.base.config.classes))
        for rows in bags.groups(max(1, INSTANCES // seeds)):
            instances, mask, _ = bags.take(rows)
            call = torch.vmap(self._call, in_dims=(0, None, None))
            outputs[:, rows] = call(self.stacked, instances, mask)
        return [self.data.scores(losses[i], outputs[i], epoch, self.seeds[i]) for i in running]

    def state(self, member: int) -> State:
        return {name: value[member].detach().clone() for name, value in self.stacked.items()}

    @torch.no_grad()
    def restore(self, member: int, state: State) -> BagClassifier:
        for name, parameter in self.nets[member].named_parameters():
            parameter.copy_(state[name])
        return self.nets[member]


def _adam(parameters: Iterable[Tensor], options: TrainOptions) -> torch.optim.Adam:
    return torch.optim.Adam(
        list(parameters), lr=options.learning_rate, weight_decay=options.weight_decay
    )
