"""What a user's functions must keep to, tried on the first texts that a wrapped model reads.

Nothing here can be told from a result: dropout that stays on, probabilities where logits are
expected, or an encoder that reads padding give numbers that look like any others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.errors import ModelError
from attnaudit.models.cut import Batch, Model, States, tolerance_of
from attnaudit.models.edits import delete
from attnaudit.models.encoded import check_weights

Outputs: TypeAlias = Literal["logits", "log-probabilities"]

SUMS = 1e-4
"""How close rows of probabilities are to a sum of 1."""
DIRECTIONS = 64
SCALES = (1.0, 30.0, 1000.0)
"""Logits leave [0, 1] when what they are read from grows; a sigmoid or softmax never does."""


class Pass(NamedTuple):
    """One pass of a batch."""

    hidden: Tensor
    weights: Tensor
    probabilities: Tensor


def check_states(states: States, batch: Batch, name: str) -> None:
    """Refuse states that do not fit the batch.

    Raises:
        ModelError: Naming both shapes.
    """
    shape, wanted = tuple(states.hidden.shape), tuple(batch.units.shape)
    if len(shape) != 3 or shape[:2] != wanted:
        raise ModelError(
            f"{name}: encode gave states of shape {shape}, but the batch has {wanted} positions. "
            "Return one vector per stored position, (B, T, H)."
        )


def check_passes(model: Model, batch: Batch) -> None:
    """Refuse functions that give other numbers in another pass, alone, or beside padding.

    Args:
        model: The model.
        batch: A few instances with units.

    Raises:
        ModelError: Naming the function that comes first, and what to do.
    """
    if bool(batch.units.all()):
        # a shorter neighbour, so that the batch has padding
        batch = batch.take(torch.tensor([*range(len(batch)), 0], device=batch.units.device))
        drop = torch.zeros_like(batch.units)
        drop[-1, -1] = batch.units.shape[1] > 1
        batch = delete(batch, drop, model)
    first = _pass(model, batch)
    check_weights(first.weights, batch.units, model.name, batch.ids)
    tolerance = tolerance_of(first.hidden)
    found = _difference(first, _pass(model, batch), batch, tolerance)
    if found:
        raise ModelError(
            f"{model.name}: two passes over the same text differ ({found}). Something random stays "
            "on after eval(), such as F.dropout without training=self.training; turn it off."
        )
    for row in range(len(batch)):
        some = torch.tensor([row], device=batch.units.device)
        alone = delete(batch.take(some), torch.zeros_like(batch.units[:1]), model)
        width = alone.units.shape[1]
        inside = Pass(
            first.hidden[some, :width], first.weights[some, :width], first.probabilities[some]
        )
        own = _pass(model, alone)
        longer = _pass(model, _padded(alone, batch.units.shape[1], model))
        padded = Pass(longer.hidden[:, :width], longer.weights[:, :width], longer.probabilities)
        found = _difference(own, padded, alone, tolerance)
        if found:
            raise ModelError(
                f"{model.name}: padding changes what is said of {batch.ids[row]!r} ({found}). Let "
                "encode ignore positions where `present` is False (pack sequences, or mask "
                "attention), and attend those where `units` is False."
            )
        found = _difference(own, inside, alone, tolerance)
        if found:
            raise ModelError(
                f"{model.name}: {batch.ids[row]!r} alone and in a batch with other texts gets "
                f"other numbers ({found}). Let no function mix the rows of a batch (batch "
                "normalisation in training mode, or a sum over the first axis)."
            )


def kind_of_outputs(rows: Float[Tensor, "N C"], name: str) -> Outputs:
    """Whether decode gives logits or log-probabilities.

    Args:
        rows: What decode makes of vectors near and far, see `probes`.
        name: The model, for messages.

    Raises:
        ModelError: They are probabilities.
    """
    rows = rows[torch.isfinite(rows).all(-1)].double()
    advice = (
        "They would be put through a softmax again, and every number would be wrong: leave the "
        "last softmax or sigmoid out, or give log_softmax in place of softmax."
    )
    if not len(rows):
        return "logits"
    within = bool(((rows >= 0) & (rows <= 1 + SUMS)).all())
    if rows.shape[-1] > 1:
        if within and bool(((rows.sum(-1) - 1).abs() <= SUMS).all()):
            raise ModelError(
                f"{name}: decode must give logits or log-probabilities, but it gives rows of "
                f"probabilities (each sums to 1). {advice}"
            )
        logs = (rows <= SUMS).all() & ((rows.exp().sum(-1) - 1).abs() <= SUMS).all()
        if bool(logs):
            return "log-probabilities"
    # the logarithm of a sigmoid is 0 in all directions in which its logit is large
    below = bool((rows <= SUMS).all()) and bool((rows >= -SUMS).any()) and float(rows.min()) < -1
    if rows.shape[-1] == 1 and below:
        raise ModelError(
            f"{name}: decode must give a logit, but all it gives lies below 0, however large the "
            "vectors it reads, as the logarithm of a sigmoid does. Its sigmoid would be taken, and "
            "every number would be wrong: give the logit itself."
        )
    # numbers that never move are an untrained head, not a sigmoid
    moves = float((rows.amax(0) - rows.amin(0)).max()) > SUMS
    if within and moves:
        raise ModelError(
            f"{name}: decode must give logits, but all it gives lies between 0 and 1, however "
            f"large the vectors it reads, as a sigmoid does. {advice}"
        )
    return "logits"


def probes(states: States, weights: Tensor) -> Float[Tensor, "N H"]:
    """Vectors to ask decode about: pooled states as they are, and random ones near and far."""
    pooled = torch.einsum("bt,bth->bh", weights, states.hidden)
    single = states.hidden[states.units][:DIRECTIONS]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(DIRECTIONS, pooled.shape[-1], generator=generator).to(pooled)
    drawn = drawn * single.abs().mean().clamp_min(1e-3)
    return torch.cat([pooled, single, *(drawn * scale for scale in SCALES)])


def _pass(model: Model, batch: Batch) -> Pass:
    states = model.encode(batch)
    check_states(states, batch, model.name)
    weights = model.attend(states)
    return Pass(states.hidden, weights, model.decode(states, weights).exp())


def _padded(batch: Batch, length: int, model: Model) -> Batch:
    """The batch padded to a length that its model is known to read: many have a longest one."""
    more = max(length - batch.units.shape[1], 0)
    blank = batch.inputs.new_full((len(batch), more), model.pad_value)
    none = torch.zeros_like(blank, dtype=torch.bool)
    return replace(
        batch,
        inputs=torch.cat([batch.inputs, blank], 1),
        present=torch.cat([batch.present, none], 1),
        units=torch.cat([batch.units, none], 1),
    )


def _difference(first: Pass, second: Pass, batch: Batch, tolerance: float) -> str:
    """The first of the functions whose results differ, with by how much; nothing where none."""
    units = batch.units
    scale = first.hidden[units].abs().amax().clamp_min(1.0) if units.any() else 1.0
    gaps = {
        "states of encode": ((first.hidden - second.hidden)[units].abs() / scale).flatten(),
        "weights of attend": (first.weights - second.weights).flatten(),
        "probabilities of decode": (first.probabilities - second.probabilities).flatten(),
    }
    for what, values in gaps.items():
        # what is not finite is refused by its own name where it is read
        values = values[torch.isfinite(values)]
        gap = float(values.abs().max()) if values.numel() else 0.0
        if gap > tolerance:
            return f"the {what} by up to {gap:.2g}"
    return ""
