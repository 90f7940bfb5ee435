"""What a trained network says of every instance, and how far two networks are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from attnaudit.data.records import Dataset
from attnaudit.measures.divergence import jensen_shannon, total_variation
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.inputs import Given, examples_of
from attnaudit.runs.disk import read_sure, write_noted
from attnaudit.runs.store import AGAIN
from attnaudit.training.evaluation import outputs_and_weights

AT_ONCE = 512
"""Instances whose weights are padded to one length together."""


@dataclass(frozen=True)
class Outputs:
    """Predictions and weights, in the order of the data.

    Attributes:
        log_probabilities: `(N, C)`.
        weights: One `(T,)` per instance, over its units.
    """

    log_probabilities: Float[Tensor, "N C"]
    weights: tuple[Float[Tensor, " T"], ...]

    @cached_property
    def probabilities(self) -> np.ndarray:
        """`(N, C)` float64."""
        found: np.ndarray = self.log_probabilities.double().exp().numpy()
        return found

    @cached_property
    def predicted(self) -> np.ndarray:
        """`(N,)`, the index of the likeliest class."""
        return np.asarray(self.probabilities.argmax(1))

    @cached_property
    def max_weight(self) -> np.ndarray:
        """`(N,)`, the largest weight; NaN where there is no unit."""
        return np.array([float(w.max()) if len(w) else np.nan for w in self.weights])

    def save(self, path: Path) -> None:
        """Write them whole or not at all.

        Raises:
            RunError: The file cannot be written.
        """
        tensors = {
            "log_probabilities": self.log_probabilities.contiguous(),
            "weights": torch.cat(self.weights),
            "lengths": torch.tensor([len(w) for w in self.weights]),
        }
        write_noted(path, save(tensors), path.parent)


def read_outputs(path: Path) -> Outputs:
    """What `Outputs.save` wrote.

    Raises:
        RunError: It is not there, or not what was written.
    """
    found = load(read_sure(path, path.parent, "outputs", AGAIN))
    weights = torch.split(found["weights"], found["lengths"].tolist())
    return Outputs(found["log_probabilities"], tuple(weights))


def outputs_of(model: TextClassifier, data: Dataset, given: Given | None = None) -> Outputs:
    """What a model says of every record.

    Args:
        model: A network of ours.
        data: The records.
        given: Weights of each record, for the attention `given`.

    Raises:
        DataError: A question is missing, or given weights do not fit.
    """
    labels = torch.zeros(len(data), dtype=torch.long)  # not looked at
    examples = examples_of(
        data.records,
        model.vocabulary,
        labels,
        len(model.classes),
        question=model.net.config.question,
        given=given,
    )
    log_probabilities, weights = outputs_and_weights(model.net, examples)
    return Outputs(log_probabilities, tuple(weights))


def between(one: Outputs, other: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Distances of two networks on each instance.

    Returns:
        Total variation of the predictions, 0 to 1, and Jensen-Shannon divergence of the weights,
        0 to ln 2; each `(N,)`.
    """
    tvd = total_variation(
        one.log_probabilities.double().exp(), other.log_probabilities.double().exp()
    )
    parts = [
        jensen_shannon(padded(one.weights[i : i + AT_ONCE]), padded(other.weights[i : i + AT_ONCE]))
        for i in range(0, len(one.weights), AT_ONCE)
    ]
    return tvd.numpy(), torch.cat(parts).numpy()


def padded(weights: Sequence[Float[Tensor, " T"]]) -> Float[Tensor, "B L"]:
    """Weights of several instances in float64, 0 where one has no more units."""
    result: Tensor = pad_sequence([w.double() for w in weights], batch_first=True)
    return result
