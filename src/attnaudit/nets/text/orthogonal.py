"""The orthogonal LSTM: each state is made orthogonal to the mean of the states before it.

Mohankumar et al. (2020), "Towards Transparent and Explainable Attention Models", section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-6
"""Added to the squared length of the mean, which is 0 before the first step."""


def orthogonal_states(
    lstms: Sequence[nn.LSTM], inputs: Sequence[Float[Tensor, "B L E"]]
) -> tuple[Float[Tensor, "B L h"], ...]:
    """The states of several orthogonal LSTMs of one size, each over its own inputs.

    At step `t` (from 0) the cell gives `h`; with `m` the sum of the earlier states divided by
    `t + 1`, the state is `h − (h·m / (m·m + ε)) m`, and it, not `h`, is what the next step sees.
    All LSTMs advance together, so a step of two directions costs little more than one of one.

    Args:
        lstms: The parameters; only these are used of them.
        inputs: What each of them reads, from its first step on.

    Returns:
        One tensor of states per LSTM.
    """
    gates = torch.stack(
        [
            torch.addmm(
                _by_kind(lstm, "bias_ih_l0") + _by_kind(lstm, "bias_hh_l0"),
                read.transpose(0, 1).reshape(-1, read.shape[-1]),
                _by_kind(lstm, "weight_ih_l0").T,
            ).view(read.shape[1], read.shape[0], -1)
            for lstm, read in zip(lstms, inputs, strict=True)
        ],
        dim=1,
    )
    recurrent = torch.stack([_by_kind(lstm, "weight_hh_l0").T for lstm in lstms])
    return tuple(_steps(gates, recurrent).permute(1, 2, 0, 3).unbind(0))


def _by_kind(lstm: nn.LSTM, name: str) -> Tensor:
    """A parameter with its gates in the order input, forget, output, cell: one sigmoid for all."""
    write, forget, new, output = lstm.get_parameter(name).chunk(4)
    return torch.cat([write, forget, output, new])


def _steps(
    gates: Float[Tensor, "L D B G"], recurrent: Float[Tensor, "D h G"]
) -> Float[Tensor, "L D B h"]:
    """States from what the inputs add to the gates.

    Steps are unbound and not indexed: the backward pass of an index fills an array of all steps.
    """
    size = recurrent.shape[1]
    cell = total = state = gates.new_zeros(*gates.shape[1:-1], size)
    states = []
    for step, gate in enumerate(gates.unbind(0)):
        gate = torch.baddbmm(gate, state, recurrent)
        logistic, new = torch.split(gate, [3 * size, size], dim=-1)
        write, forget, output = logistic.sigmoid().chunk(3, dim=-1)
        cell = torch.addcmul(forget * cell, write, new.tanh())
        state = output * cell.tanh()
        if step:  # h·m / (m·m + ε) m, with both sides multiplied by (step + 1)²
            length = torch.linalg.vecdot(total, total) + EPSILON * (step + 1) ** 2
            share = torch.linalg.vecdot(state, total) / length
            state = torch.addcmul(state, share.unsqueeze(-1), total, value=-1)
        total = total + state
        states.append(state)
    return torch.stack(states)
