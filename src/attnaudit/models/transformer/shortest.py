"""The shortest way of decoding at a site that gives what the whole model gives."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from attnaudit.errors import ModelError, first_line
from attnaudit.models.cut import Batch, States
from attnaudit.models.transformer.rerun import Cut, Mode
from attnaudit.models.transformer.stack import Stack
from attnaudit.models.transformer.tasks import Task

EXACT = 1e-5
"""Difference of probabilities up to which a shorter way of decoding counts as the same."""
HALF = 2000.0
"""How much larger it may be in half precision."""
ERRORS = (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError)
"""What a family's own code may raise on one row, or on several lengths in one pass."""


class Cuttable(Protocol):
    """A transformer that is being cut."""

    model: PreTrainedModel
    base_name: str
    task: Task
    stack: Stack
    cut: Cut

    def encode(self, batch: Batch) -> States:
        """One pass, kept at the cut."""

    def attend(self, states: States) -> Tensor:
        """The site's row."""

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """Log-probabilities with other weights at the site."""

    def whole(self, batch: Batch) -> Tensor:
        """The unmodified model."""


@torch.no_grad()
def shortest_cut(made: Cuttable, batch: Batch) -> Cut:
    """The shortest way of decoding that gives what whole copies of the model give, on a probe.

    Args:
        made: The transformer, cut the plain way.
        batch: The probe: a few short inputs.

    Raises:
        ModelError: Not even running the model anew gives what the unmodified model gives.
    """
    name, plain = made.base_name, made.cut
    exact = next(made.model.parameters()).dtype == torch.float32
    most = EXACT if exact else EXACT * HALF
    try:
        states = made.encode(batch)
        own = made.attend(states)
        said = made.whole(batch).exp()
        gap = float((made.decode(states, own).exp() - said).abs().max())
    except ERRORS as error:
        raise ModelError(
            f"{name} ({type(made.model).__name__}) cannot be cut at its attention: "
            f"{first_line(error)}"
        ) from error
    if not gap <= most:
        raise ModelError(
            f"{name}: with nothing replaced its outputs differ by {gap:.1g} from those of the "
            "unmodified model, so what would be audited is another model"
        )
    if made.stack.soft:
        return plain
    draws = torch.rand(*own.shape, generator=torch.Generator().manual_seed(0)).to(own)
    other = draws * batch.units
    other = other / other.sum(1, keepdim=True) * (own * batch.units).sum(1, keepdim=True)
    alternatives = torch.stack([own, own * ~batch.units + other], 1)
    wanted = made.decode(states, alternatives).exp()
    modes: tuple[Mode, ...] = ("tail", "rows") if made.task.causal else ("rows",)
    for mode in modes:
        for small in (True, False):
            made.cut = dataclasses.replace(plain, mode=mode, small=small)
            if _gap(made, batch, alternatives, wanted, said) <= most:
                return made.cut
    return plain


def _gap(made: Cuttable, batch: Batch, maps: Tensor, wanted: Tensor, said: Tensor) -> float:
    """How far this way of decoding is off; infinite where it cannot be run."""
    try:
        states = made.encode(batch)
        found = made.decode(states, maps).exp()
    except ERRORS:
        return float("inf")
    assert states.outputs is not None
    gaps = (found - wanted).abs().max(), (states.outputs.exp() - said).abs().max()
    worst = max(map(float, gaps))
    return worst if worst == worst else float("inf")
