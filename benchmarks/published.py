"""The published procedures of "Attention is not Explanation", written plainly and honestly.

One encoder pass a deleted position, one decode a permutation, 500 optimiser steps through hidden
states, one SciPy call an instance. Batches of 32 texts sorted by length, as in the paper. Nothing
here is slowed on purpose; nothing is used twice either.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from attnaudit.models.cut import Batch
from attnaudit.nets.text.classifier import AttentionClassifier

BATCH = 32
ADVERSARIES = 5
STEPS = 500


def batches_of(batch: Batch, size: int = BATCH) -> list[Batch]:
    """Batches of 32 in order, each cut to its own longest text."""
    parts = []
    for start in range(0, len(batch), size):
        part = batch.take(torch.arange(start, min(start + size, len(batch))))
        longest = int(part.present.sum(1).max())
        parts.append(
            Batch(
                part.ids,
                part.inputs[:, :longest],
                part.present[:, :longest],
                part.units[:, :longest],
            )
        )
    return parts


def encode(net: AttentionClassifier, part: Batch) -> Tensor:
    """Hidden states of one batch."""
    return net.encode(net.embed(part.inputs), part.present, part.units)


def probability(net: AttentionClassifier, hidden: Tensor, weights: Tensor) -> Tensor:
    """Probability of class 1 from hidden states and weights `(..., L)`."""
    context = torch.einsum("...l,...lh->...h", weights, hidden)
    return torch.sigmoid(net.head(context, {})).squeeze(-1)


def gradients(net: AttentionClassifier, part: Batch) -> np.ndarray:
    """Gradient importance, weights held fixed (spec 4.1)."""
    embedded = net.embed(part.inputs).detach().requires_grad_()
    hidden = net.encode(embedded, part.present, part.units)
    weights = net.attend(hidden, part.units).detach()
    probability(net, hidden, weights).sum().backward()
    return (embedded * embedded.grad).sum(-1).abs().detach().numpy()


@torch.no_grad()
def leave_one_out(net: AttentionClassifier, part: Batch) -> np.ndarray:
    """Delete one column of the batch at a time and run the whole model again (spec 4.2)."""
    result = np.zeros(part.inputs.shape)
    for position in range(1, part.inputs.shape[1] - 1):
        keep = [i for i in range(part.inputs.shape[1]) if i != position]
        # lengths shrink by one for every text, as in the paper; shorter texts are not read here
        present = part.present[:, 1:]
        units = part.units[:, keep].clone()
        last = present.sum(1) - 1
        units[torch.arange(len(units)), last] = False
        shorter = Batch(part.ids, part.inputs[:, keep], present, units)
        hidden = encode(net, shorter)
        output = probability(net, hidden, net.attend(hidden, shorter.units))
        result[:, position] = output.numpy()
    return result


@torch.no_grad()
def base(net: AttentionClassifier, part: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, weights and probability: what the other procedures start from."""
    hidden = encode(net, part)
    weights = net.attend(hidden, part.units)
    return hidden, weights, probability(net, hidden, weights)


@torch.no_grad()
def permutations(
    net: AttentionClassifier, part: Batch, hidden: Tensor, weights: Tensor, count: int = 100
) -> np.ndarray:
    """Outputs under random permutations of the weights, one decode each (spec 4.3)."""
    outputs = []
    for _ in range(count):
        shuffled = weights.clone()
        for row in range(len(part)):
            places = part.units[row].nonzero().squeeze(1)
            shuffled[row, places] = weights[
                row, places[torch.from_numpy(np.random.permutation(len(places)))]
            ]
        outputs.append(probability(net, hidden, shuffled).numpy())
    return np.stack(outputs, 1)


def _kl(a: Tensor, b: Tensor) -> Tensor:
    return (a * (torch.log(a + 1e-10) - torch.log(b + 1e-10))).sum(-1)


def _jsd(a: Tensor, b: Tensor) -> Tensor:
    middle = (a + b) / 2
    return 0.5 * _kl(a, middle) + 0.5 * _kl(b, middle)


def adversary(
    net: AttentionClassifier, part: Batch, hidden: Tensor, weights: Tensor, output: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient search for adversarial weights (spec 4.4): output changes and divergences."""
    size, length = weights.shape
    logits = math.log(1 / length) + 3 * torch.randn(size, ADVERSARIES, length)
    logits.requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.01, amsgrad=True)
    closed = ~part.units.unsqueeze(1)
    original = weights.unsqueeze(1)

    def state() -> tuple[Tensor, Tensor, Tensor]:
        other = torch.softmax(logits.masked_fill(closed, -math.inf), -1)
        change = (probability(net, hidden.unsqueeze(1), other) - output.unsqueeze(1)).abs()
        return other, change, _jsd(other, original)

    for _ in range(STEPS):
        other, change, divergence = state()
        pairs = _jsd(other.unsqueeze(1), other.unsqueeze(2)).sum((1, 2)) / ADVERSARIES**2
        loss = (-divergence + 500 * torch.relu(change - 0.01)).sum() - pairs.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        _, change, divergence = state()
    return change.numpy(), divergence.numpy()


def rank_statistics(first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    """One SciPy call an instance: tau and p."""
    return np.array([tuple(kendalltau(a, b)) for a, b in zip(first, second, strict=True)])
