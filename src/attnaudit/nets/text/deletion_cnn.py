"""Leave-one-out for the convolutional encoder: only windows that span the gap change.

With deleted position `i` and a kernel that sees `p` tokens either side, the window of position
`i + δ` with `0 < |δ| ≤ p` loses token `i` and gains the next one beyond its far edge. Its tokens
are those at `i + o` for a run of offsets `o` that skips 0, whatever `i` is. Each tap of each
kernel is applied once to each token; a changed window is then a sum of shifted taps.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad

from attnaudit.nets.selective.readout import Readout, pooled_without
from attnaudit.nets.text.classifier import AttentionClassifier
from attnaudit.nets.text.encoders import KERNELS, CNNEncoder

REACH = max(KERNELS) // 2
"""How far from the gap a window may span it."""
STEPS = tuple(step for step in range(-REACH, REACH + 1) if step)
"""The changed positions, relative to the deleted one."""
EDGE = 2 * REACH
"""The farthest token, relative to the deleted one, that a changed window reads."""


def window(step: int, half: int) -> list[int]:
    """The offsets from the deleted position that the window at `step` reads after the deletion.

    Example:
        >>> window(1, 3)
        [-3, -2, -1, 1, 2, 3, 4]
        >>> window(-2, 2)
        [-4, -3, -2, -1, 1]
    """
    inside = range(step - half, step + half + 1)
    if step > 0:
        return [offset if offset > 0 else offset - 1 for offset in inside]
    return [offset if offset < 0 else offset + 1 for offset in inside]


def cnn_deletions(
    net: AttentionClassifier,
    readout: Readout,
    embedded: Float[Tensor, "B L E"],
    present: Bool[Tensor, "B L"],
    units: Bool[Tensor, "B L"],
    hidden: Float[Tensor, "B L H"],
) -> Float[Tensor, "B L O"]:
    """Logits with each position deleted; see `leave_one_out`."""
    encoder = net.encoder
    assert isinstance(encoder, CNNEncoder)
    groups = len(KERNELS)
    channels = encoder.width // groups
    kept = _shifted(hidden)
    near_units = _shifted(units.unsqueeze(-1)).squeeze(-1)
    changed = torch.empty_like(kept)
    for group, convolution in enumerate(encoder.convolutions):
        assert isinstance(convolution, nn.Conv1d)
        part = slice(group * channels, (group + 1) * channels)
        changed[..., part] = _changed_windows(embedded, convolution, kept[..., part])
    return (
        pooled_without(
            readout.energies(hidden),
            hidden @ readout.head.T,
            units,
            reach=REACH,
            changed_energies=readout.energies(changed),
            changed_scores=changed @ readout.head.T,
            changed_units=near_units,
        )
        + readout.head_bias
    )


def _shifted(values: Tensor) -> Tensor:
    """`(B, L, D, ·)`: what stands at `i + step` for each position `i` and each of `STEPS`."""
    length = values.shape[1]
    padded = pad(values, (0, 0, REACH, REACH))
    return torch.stack([padded[:, REACH + step : REACH + step + length] for step in STEPS], dim=2)


def _changed_windows(
    inputs: Float[Tensor, "B L E"],
    convolution: nn.Conv1d,
    kept: Float[Tensor, "B L D c"],
) -> Float[Tensor, "B L D c"]:
    """The states of one kernel near each gap; `kept` where its window does not span the gap."""
    weight = convolution.weight  # (c, E, taps)
    assert convolution.bias is not None
    channels, _, width = weight.shape
    length = inputs.shape[1]
    flat = weight.permute(1, 2, 0).reshape(inputs.shape[2], width * channels)
    taps = pad(inputs @ flat, (0, 0, EDGE, EDGE)).view(-1, length + 2 * EDGE, width, channels)
    windows = kept.clone()
    for place, step in enumerate(STEPS):
        if abs(step) > width // 2:
            continue
        total = convolution.bias.expand(*inputs.shape[:2], channels).clone()
        for tap, offset in enumerate(window(step, width // 2)):
            total += taps[:, EDGE + offset : EDGE + offset + length, tap]
        windows[:, :, place] = total.relu_()
    return windows
