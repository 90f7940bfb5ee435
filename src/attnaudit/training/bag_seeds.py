"""Many seeds of one classifier of bags, trained at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, stack_module_state

from attnaudit.data.bags.records import BagDataset
from attnaudit.errors import SettingsError
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig, new_bag_net
from attnaudit.nets.bags.inputs import INSTANCES, BagTensors, epoch_batches
from attnaudit.training.bag_loop import (
    DTYPES,
    BagFit,
    BagOptions,
    OnEpoch,
    Prepared,
    Selection,
    adam,
    bag_loss,
    prepare,
)

SEEDS_AT_ONCE = 16
"""Networks that are trained side by side; more take more memory."""


def train_many(
    config: BagConfig,
    train: BagDataset,
    dev: BagDataset,
    seeds: Sequence[int],
    options: BagOptions | None = None,
    *,
    at_once: int = SEEDS_AT_ONCE,
    on_epoch: OnEpoch | None = None,
) -> tuple[BagFit, ...]:
    """Train one network a seed, side by side in one computation.

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
        on_epoch: Called after every epoch of a group of seeds, with the means over the seeds.

    Returns:
        One result a seed, in the order of the seeds.

    Raises:
        DataError: As `train_bags`.
        SettingsError: No seeds, a seed twice, `at_once` below 1, or as `BagClassifier`.
        ModelError: Training diverges; the message names the seed.
    """
    options = options or BagOptions()
    if not seeds or len(set(seeds)) < len(seeds) or at_once < 1:
        raise SettingsError(
            f"seeds are {list(seeds)} and at_once is {at_once}; give one seed or more, each once, "
            "and at_once of 1 or more"
        )
    data = prepare(config, train, dev, options)
    fits: list[BagFit] = []
    for start in range(0, len(seeds), at_once):
        fits += _Group(config, data, seeds[start : start + at_once], options).train(on_epoch)
    return tuple(fits)


class _Group:
    """Seeds that are trained side by side: parameters stacked, `(S, …)` each."""

    def __init__(
        self, config: BagConfig, data: Prepared, seeds: Sequence[int], options: BagOptions
    ) -> None:
        self.data, self.seeds, self.options = data, seeds, options
        dtype = DTYPES[options.dtype]
        self.nets = [new_bag_net(config, seed, dtype).to(options.device) for seed in seeds]
        stacked, _ = stack_module_state(list(self.nets))
        self.parameters: dict[str, Tensor] = stacked
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.optimizer = adam(list(self.parameters.values()), options)
        self.base = copy.deepcopy(self.nets[0]).to("meta")

    def train(self, on_epoch: OnEpoch | None) -> list[BagFit]:
        """Train, and keep the best epoch of each seed."""
        options, metric = self.options, self.data.metric
        selections = [Selection(metric, options.patience) for _ in self.seeds]
        for epoch in range(1, options.epochs + 1):
            losses = self._epoch()
            outputs = self._predict(self.data.dev)
            running = [i for i, selection in enumerate(selections) if not selection.stopped]
            for i in running:
                labels = self.data.dev.labels
                if selections[i].add(float(losses[i]), outputs[i], labels, self.seeds[i]):
                    self._keep(i, self.nets[i])
            if on_epoch is not None:
                rows = [selections[i].history[-1] for i in running]
                means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
                on_epoch(epoch, options.epochs, means)
            if all(selection.stopped for selection in selections):
                break
        return [s.fit(net) for s, net in zip(selections, self.nets, strict=True)]

    def _epoch(self) -> Float[Tensor, " S"]:
        """One pass of each seed over its own batches; the mean loss of a bag."""
        options, data = self.options, self.data
        size, count = options.batch_size, len(data.train)
        orders = [epoch_batches(count, size, generator) for generator in self.generators]
        total = data.train.values.new_zeros(len(self.seeds))
        for rows in zip(*orders, strict=True):
            instances, mask, labels = data.train.take(torch.stack(rows).to(options.device))
            losses = torch.vmap(self._loss)(self.parameters, instances, mask, labels)
            self.optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += losses.detach() * len(rows[0])
        return total / count

    def _call(self, parameters: dict[str, Tensor], instances: Tensor, mask: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self.base, parameters, (instances, mask))
        return outputs

    def _loss(
        self, parameters: dict[str, Tensor], instances: Tensor, mask: Tensor, labels: Tensor
    ) -> Tensor:
        outputs = self._call(parameters, instances, mask)
        return bag_loss(outputs, labels, self.options.loss, self.data.class_weights)

    @torch.no_grad()
    def _predict(self, bags: BagTensors) -> Float[Tensor, "S n C"]:
        """Log-probabilities of each seed, in the order of the bags."""
        classes = len(self.base.config.classes)
        outputs = bags.values.new_empty(len(self.seeds), len(bags), classes)
        for rows in bags.groups(max(1, INSTANCES // len(self.seeds))):
            instances, mask, _ = bags.take(rows)
            call = torch.vmap(self._call, in_dims=(0, None, None))
            outputs[:, rows] = call(self.parameters, instances, mask)
        return outputs

    @torch.no_grad()
    def _keep(self, place: int, net: BagClassifier) -> None:
        for name, parameter in net.named_parameters():
            parameter.copy_(self.parameters[name][place])
