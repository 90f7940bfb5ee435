"""Leave-one-out for the bidirectional LSTM: a staircase of half-changed texts.

Deleting position `i` leaves the forward states before it and the backward states after it as they
were. So each direction is run from the gap to its own end only, starting from the state on the
near side of the gap; the input gates of every token are computed once. All deletions of all texts
advance together: texts are aligned where a direction ends, so that rows only join, never leave,
and the active rows are always a prefix ("staircase"). At each position one half of the state is
unchanged, hence attention and head, which are linear in the state before any tanh, need only the
other half anew; no array of size (B, L, L, H) is ever held.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.nets.selective.readout import BUDGET, Readout
from attnaudit.nets.text.attentions import Scorer, masked_softmax
from attnaudit.nets.text.classifier import AttentionClassifier
from attnaudit.nets.text.encoders import BiLSTMEncoder


@dataclass(frozen=True)
class Pass:
    """One direction over a batch, in its own time: all texts end at the last step.

    Before a text starts, its columns hold zeros.

    Attributes:
        first: `(B,)`, with `sign` the position read at each time: `first + sign · time`.
        sign: 1 forwards, -1 backwards.
        gates: `(N, B, 4h)`, input gates `x W_ih + b` with the cell gate's part doubled.
        recurrent: `(h, 4h)`, likewise.
        hidden: `(N + 1, B, h)`, states of the full text; row `d` is the state before time `d`.
        cells: `(N + 1, B, h)`, cell states of the full text.
        project: `(h, A + O)`, this direction's part of the attention's projection and the head.
        rest: `(N, B, A + O)`, the rest of both, from the unchanged direction.
        units: `(N, B)`, whether that position may receive weight.
    """

    first: Int[Tensor, " B"]
    sign: int
    gates: Float[Tensor, "N B G"]
    recurrent: Float[Tensor, "h G"]
    hidden: Float[Tensor, "N1 B h"]
    cells: Float[Tensor, "N1 B h"]
    project: Float[Tensor, "h P"]
    rest: Float[Tensor, "N B P"]
    units: Bool[Tensor, "N B"]


def bilstm_deletions(
    net: AttentionClassifier,
    readout: Readout,
    embedded: Float[Tensor, "B L E"],
    present: Bool[Tensor, "B L"],
    units: Bool[Tensor, "B L"],
    hidden: Float[Tensor, "B L H"],
) -> Float[Tensor, "B L O"]:
    """Logits with each position deleted; see `leave_one_out`."""
    lengths = present.sum(dim=1)
    longest = int(lengths.max()) if len(lengths) else 0
    logits = hidden.new_zeros(*units.shape, len(readout.head_bias))
    texts, deleted = units.nonzero(as_tuple=True)
    if not len(texts):
        return logits
    passes = [
        _pass(net, readout, embedded, present, units, hidden, first, sign)
        for first, sign in ((lengths - longest, 1), (torch.full_like(lengths, longest - 1), -1))
    ]
    # Memory: energies and scores of two passes a row, and a row's gates, states and projections.
    row = 2 * longest * (1 + logits.shape[-1]) + 12 * hidden.shape[-1]
    step = max(1, BUDGET // row)
    pooled = torch.cat(
        [
            _pooled(
                passes, readout.scorer, texts[start : start + step], deleted[start : start + step]
            )
            for start in range(0, len(texts), step)
        ]
    )
    logits[texts, deleted] = pooled
    return logits + readout.head_bias


def _pass(
    net: AttentionClassifier,
    readout: Readout,
    embedded: Tensor,
    present: Tensor,
    units: Tensor,
    hidden: Tensor,
    first: Int[Tensor, " B"],
    sign: int,
) -> Pass:
    """Everything of one direction that is computed once."""
    encoder = net.encoder
    assert isinstance(encoder, BiLSTMEncoder)
    reverse = sign < 0
    half, lstm = encoder.width // 2, encoder.backwards if reverse else encoder.forwards
    size = torch.ones(4 * half, dtype=hidden.dtype, device=hidden.device)
    size[2 * half : 3 * half] = 2.0  # PyTorch's order is input, forget, cell, output
    weight_ih, weight_hh = (
        lstm.get_parameter(name) * size.unsqueeze(1) for name in ("weight_ih_l0", "weight_hh_l0")
    )
    bias = lstm.get_parameter("bias_ih_l0") + lstm.get_parameter("bias_hh_l0")

    own, other = (slice(half, None), slice(half)) if reverse else (slice(half), slice(half, None))
    texts = torch.arange(embedded.shape[0], device=embedded.device)
    longest = int(present.sum(dim=1).max())
    position = first + sign * torch.arange(longest, device=embedded.device).unsqueeze(1)
    index = position.clamp(min=0)
    started = (present[texts, index] & (position >= 0)).unsqueeze(-1)
    states = hidden[texts, index].mul_(started)
    before = torch.cat([torch.zeros_like(states[:1, :, own]), states[..., own]])
    gates = _affine(embedded[texts, index], weight_ih, bias * size)
    weight = torch.cat([readout.scorer.weight, readout.head])
    constant = torch.cat([readout.scorer.bias, torch.zeros_like(readout.head_bias)])
    return Pass(
        first,
        sign,
        gates,
        weight_hh.T.contiguous(),
        before,
        _cells(gates, before[:-1], weight_hh, started),
        weight[:, own].T.contiguous(),
        _affine(states[..., other], weight[:, other], constant),
        units[texts, index] & started.squeeze(-1),
    )


def _affine(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`inputs @ weight.T + bias` over the last dimension, in one kernel."""
    flat = inputs.reshape(-1, inputs.shape[-1])
    return torch.addmm(bias, flat, weight.T).view(*inputs.shape[:-1], len(bias))


def _cells(
    gates: Float[Tensor, "N B G"],
    before: Float[Tensor, "N B h"],
    weight_hh: Float[Tensor, "G h"],
    started: Bool[Tensor, "N B 1"],
) -> Float[Tensor, "N1 B h"]:
    """Cell states of the full texts: with all hidden states known, gates need no recurrence."""
    flat = torch.addmm(gates.flatten(0, 1), before.flatten(0, 1), weight_hh.T).sigmoid_()
    write, forget, new, _ = flat.view(gates.shape).chunk(4, dim=-1)
    write.mul_(new.sub_(0.5)).mul_(started)
    cells = before.new_zeros(len(before) + 1, *before.shape[1:])
    for time in range(len(before)):
        torch.mul(forget[time], cells[time], out=cells[time + 1]).add_(write[time], alpha=2.0)
    return cells


def _pooled(
    passes: list[Pass], scorer: Scorer, texts: Int[Tensor, " R"], deleted: Int[Tensor, " R"]
) -> Float[Tensor, "R O"]:
    """Pooled scores `Σ_t weights_t · scores_t` of each row: one text with one position deleted."""
    energies, scores, masks = [], [], []
    for direction in passes:
        # The time at which this direction would have read the deleted position.
        when = direction.sign * (deleted - direction.first[texts])
        order = torch.argsort(when, stable=True)
        back = torch.argsort(order)
        energy, score = _staircase(direction, scorer, texts[order], when[order])
        time = torch.arange(len(direction.gates), device=when.device).unsqueeze(1)
        energies.append(energy[:, back])
        scores.append(score[:, back])
        masks.append(direction.units[:, texts] & (time > when))
    weights = masked_softmax(torch.cat(energies), torch.cat(masks), dim=0)
    return torch.einsum("nr,nro->ro", weights, torch.cat(scores))


def _staircase(
    direction: Pass, scorer: Scorer, texts: Int[Tensor, " R"], when: Int[Tensor, " R"]
) -> tuple[Float[Tensor, "N R"], Float[Tensor, "N R O"]]:
    """Run one direction beyond each gap; rows come in the order in which they join.

    Returns:
        Energies and scores at each time after the gap; zeros before.
    """
    gates, recurrent = direction.gates, direction.recurrent
    steps, rows, half = len(gates), len(texts), len(recurrent)
    energies = gates.new_zeros(steps, rows)
    width = len(scorer.vector)
    scores = gates.new_zeros(steps, rows, direction.project.shape[1] - width)
    hidden, cell = direction.hidden[when, texts], direction.cells[when, texts]
    joined = torch.bincount(when, minlength=steps).cumsum(dim=0).tolist()
    gate_rows, cell_rows = gates.new_empty(rows, 4 * half), gates.new_empty(rows, half)
    projected_rows = gates.new_empty(rows, direction.project.shape[1])
    for time in range(1, steps):
        active = joined[time - 1]
        if not active:
            continue
        text, state, memory = texts[:active], hidden[:active], cell[:active]
        gate, squashed = gate_rows[:active], cell_rows[:active]
        projected = projected_rows[:active]
        torch.index_select(gates[time], 0, text, out=gate)
        gate.addmm_(state, recurrent).sigmoid_()
        write, forget, new, output = gate.chunk(4, dim=1)
        memory.mul_(forget).addcmul_(write, new.sub_(0.5), value=2.0)
        torch.mul(memory, 2.0, out=squashed).sigmoid_().sub_(0.5).mul_(2.0)
        torch.mul(squashed, output, out=state)
        torch.index_select(direction.rest[time], 0, text, out=projected)
        projected.addmm_(state, direction.project)
        energies[time, :active] = scorer(projected[:, :width])
        scores[time, :active] = projected[:, width:]
    return energies, scores
