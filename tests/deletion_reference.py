"""The plain way to leave one out, as an independent reference: build shorter texts, run them."""

from __future__ import annotations

import torch
from torch import Tensor

from attnaudit.nets.text.classifier import AttentionClassifier


def brute_force(
    net: AttentionClassifier, embedded: Tensor, present: Tensor, units: Tensor
) -> Tensor:
    """`(B, L, C)` log-probabilities, one text and one deletion at a time."""
    result = torch.full((*units.shape, len(net.config.classes)), torch.nan, dtype=embedded.dtype)
    for row in range(len(units)):
        for position in units[row].nonzero().flatten().tolist():
            keep = present[row].clone()
            keep[position] = False
            shorter = embedded[row, keep].unsqueeze(0)
            only = units[row, keep].unsqueeze(0)
            hidden = net.encode(shorter, torch.ones_like(only), only)
            result[row, position] = net.decode(hidden, net.attend(hidden, only))[0]
    return result


def plain(net: AttentionClassifier, embedded: Tensor, present: Tensor, units: Tensor) -> Tensor:
    """The procedure of the released code: per position, delete it in the whole batch, run again."""
    result = torch.full((*units.shape, len(net.config.classes)), torch.nan, dtype=embedded.dtype)
    for position in range(1, embedded.shape[1] - 1):
        rows = units[:, position]

        def without(values: Tensor, at: int = position) -> Tensor:
            return torch.cat([values[:, :at], values[:, at + 1 :]], dim=1)

        shorter = without(units)
        hidden = net.encode(without(embedded), without(present), shorter)
        outputs = net.decode(hidden, net.attend(hidden, shorter))
        result[rows, position] = outputs[rows]
    return result
