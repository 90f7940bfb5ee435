"""Exact leave-one-out: every unit deleted in turn and everything recomputed.

Deleting a unit closes the gap: what stood on its right moves one place to the left, and states,
weights and output all follow ("Attention is not Explanation", section 4.1). Only what can change
is computed again: the sum of the weights for the context-free encoder, the windows around the gap
for the convolutions, one direction on either side of it for the LSTM.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.errors import NotApplicable
from attnaudit.nets.selective.readout import Readout, means_without
from attnaudit.nets.text.classifier import AttentionClassifier
from attnaudit.nets.text.deletion_bilstm import bilstm_deletions
from attnaudit.nets.text.deletion_cnn import cnn_deletions
from attnaudit.nets.text.encoders import compaction

Deletions = Callable[[AttentionClassifier, Readout, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Net, readout, embedded, present, units, hidden to logits `(B, L, O)`."""


def average_deletions(
    net: AttentionClassifier,
    readout: Readout,
    embedded: Float[Tensor, "B L E"],
    present: Bool[Tensor, "B L"],
    units: Bool[Tensor, "B L"],
    hidden: Float[Tensor, "B L H"],
) -> Float[Tensor, "B L O"]:
    """Without context no state changes, and the weights that are left keep their ratio."""
    energies = readout.energies(hidden)
    return means_without(energies, hidden @ readout.head.T, units) + readout.head_bias


DELETIONS: dict[str, Deletions] = {
    "bilstm": bilstm_deletions,
    "cnn": cnn_deletions,
    "average": average_deletions,
    "identity": average_deletions,
}


def has_deletions(net: AttentionClassifier) -> bool:
    """Whether the network has the fast way."""
    return net.config.encoder in DELETIONS and Readout.of(net) is not None


@torch.no_grad()
def leave_one_out(
    net: AttentionClassifier,
    embedded: Float[Tensor, "B L E"],
    present: Bool[Tensor, "B L"],
    units: Bool[Tensor, "B L"],
    hidden: Float[Tensor, "B L H"],
) -> Float[Tensor, "B L C"]:
    """Log-probabilities with each unit deleted and the whole network run again.

    The result is that of building every shorter text and running it, to rounding.

    Args:
        net: The network.
        embedded: The embedded texts.
        present: The positions that the encoder reads.
        units: The positions to delete, one at a time.
        hidden: The encoder's states of the full texts.

    Returns:
        Log-probabilities; NaN in the rows of positions that are no units.

    Raises:
        NotApplicable: The network has no fast way.
    """
    name, readout = net.config.encoder, Readout.of(net)
    if name not in DELETIONS or readout is None:
        raise NotApplicable(
            f"{name} with {net.config.attention} attention has no fast leave-one-out"
        )
    order = compaction(present)
    if order is not None:
        embedded = embedded.gather(1, order.unsqueeze(-1).expand_as(embedded))
        hidden = hidden.gather(1, order.unsqueeze(-1).expand_as(hidden))
        present, units = present.gather(1, order), units.gather(1, order)
    embedded = embedded.masked_fill(~present.unsqueeze(-1), 0.0)
    logits = DELETIONS[name](net, readout, embedded, present, units, hidden)
    outputs = readout.log_probabilities(logits)
    outputs.masked_fill_(~units.unsqueeze(-1), torch.nan)
    if order is None:
        return outputs
    return torch.empty_like(outputs).scatter_(1, order.unsqueeze(-1).expand_as(outputs), outputs)
