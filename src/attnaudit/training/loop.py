"""The one training loop: epochs, choice of the epoch, patience, divergence, the best state."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from attnaudit.errors import ModelError
from attnaudit.training.options import TrainOptions
from attnaudit.training.result import Trained

B = TypeVar("B")
M = TypeVar("M")
State = Mapping[str, Tensor]
Scores = tuple[Mapping[str, float], tuple[float, ...]]
"""Development scores by name, and what the epoch is chosen by: the larger, the better."""
LENGTH_NOISE = 0.1
"""Relative noise on lengths before sorting, so that batches differ between epochs."""


class Learner(ABC, Generic[B, M]):
    """What differs between kinds of training; the loop does the rest.

    Attributes:
        optimizer: Changes the parameters.
        parameters: What is trained.
        size: By what the summed losses of an epoch are divided.
        seeds: What messages call each of the members that are trained side by side; one by default.
    """

    optimizer: torch.optim.Optimizer
    parameters: Sequence[Tensor]
    size: int
    seeds: Sequence[str] = ("",)

    @abstractmethod
    def batches(self) -> Sequence[B]:
        """The batches of the next epoch."""

    @abstractmethod
    def loss(self, batch: B) -> tuple[Tensor, int]:
        """The loss of a batch, one number per member, and what it counts in the epoch's mean."""

    @abstractmethod
    def scores(self, losses: Sequence[float], running: Sequence[int], epoch: int) -> list[Scores]:
        """Development scores of the members that are still running, given the epoch's losses."""

    @abstractmethod
    def state(self, member: int) -> State:
        """A copy of what training changes."""

    @abstractmethod
    def restore(self, member: int, state: State) -> M:
        """The model with a state."""

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Around the steps of an epoch."""
        yield

    def stepped(self) -> None:
        """After every step."""


class NetLearner(Learner[B, M]):
    """A learner of all parameters of one module, which is the model."""

    net: nn.Module

    def state(self, member: int) -> State:
        """A copy of parameters and buffers."""
        return {name: value.clone() for name, value in self.net.state_dict().items()}

    def restore(self, member: int, state: State) -> M:
        """The module with a state."""
        self.net.load_state_dict(state)
        return self.net  # type: ignore[return-value]


@dataclass
class _Course:
    """Which epoch of a member is the best so far, and whether it has stopped."""

    history: list[Mapping[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: tuple[float, ...] = ()
    state: State = field(default_factory=dict)
    stopped: bool = False


def run(learner: Learner[B, M], options: TrainOptions) -> tuple[Trained[M], ...]:
    """Train, and keep the epoch that does best on the development records.

    Args:
        learner: What is trained, on what.
        options: Epochs, patience, clipping, progress.

    Returns:
        One result per member.

    Raises:
        ModelError: A loss or an output is no longer a number.
    """
    courses = [_Course() for _ in learner.seeds]
    for epoch in range(1, options.epochs + 1):
        losses = _epoch(learner, options, epoch)
        running = [i for i, course in enumerate(courses) if not course.stopped]
        for i in running:
            finite(losses[i], "the loss", epoch, learner.seeds[i])
        found = learner.scores(losses, running, epoch)
        for i, (scores, reached) in zip(running, found, strict=True):
            course = courses[i]
            course.history.append({"loss": losses[i], **scores})
            if course.best_epoch == 0 or reached > course.best:
                course.best_epoch, course.best = epoch, reached
                course.state = learner.state(i)
            elif options.patience is not None:
                course.stopped = epoch - course.best_epoch >= options.patience
        if all(course.stopped for course in courses):
            break
    return tuple(_ended(learner.restore(i, one.state), one) for i, one in enumerate(courses))


def _epoch(learner: Learner[B, M], options: TrainOptions, epoch: int) -> list[float]:
    """One pass over the training records; the mean loss of each member."""
    total: float | Tensor = 0.0
    batches = learner.batches()
    with learner.training():
        for done, batch in enumerate(batches, start=1):
            losses, weight = learner.loss(batch)
            alone = losses.dim() == 0
            values = finite(losses, "the loss", epoch, *learner.seeds) if alone else losses.detach()
            learner.optimizer.zero_grad(set_to_none=True)
            losses.sum().backward(inputs=list(learner.parameters))  # type: ignore[no-untyped-call]
            if options.clip is not None:
                torch.nn.utils.clip_grad_norm_(learner.parameters, options.clip)
            learner.optimizer.step()
            learner.stepped()
            total = total + values * weight
            if options.report is not None:
                steps = len(batches)
                options.report("training", (epoch - 1) * steps + done, options.epochs * steps)
    mean = total / learner.size
    return [float(value) for value in (mean if isinstance(mean, Tensor) else [mean])]


def _ended(model: M, course: _Course) -> Trained[M]:
    kept = course.history[course.best_epoch - 1]
    dev = {name: value for name, value in kept.items() if name != "loss"}
    return Trained(model, tuple(course.history), course.best_epoch, dev)


def finite(value: float | Tensor, what: str, epoch: int, who: str = "") -> float:
    """The number, where it is one.

    Raises:
        ModelError: It is NaN or infinite.
    """
    number = float(value.detach() if isinstance(value, Tensor) else value)
    if not math.isfinite(number):
        raise ModelError(
            f"{who}{': ' if who else ''}{what} is {number} in epoch {epoch}: training has "
            "diverged; lower the learning rate, set clip, or check vectors, penalty and the scale "
            "of features"
        )
    return number


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
