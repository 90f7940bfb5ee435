"""A remedy, declared by data: tables, docs and the command line are made from this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attnaudit.errors import SettingsError
from attnaudit.nets.text.classifier import Pass
from attnaudit.training.fitting import Refit
from attnaudit.training.text import Penalty

RECURRENT = ("bilstm",)
"""The encoders whose states see the whole text, for which these remedies were made."""


@dataclass(frozen=True)
class Remedy:
    """A training change that is to make the weights better explanations.

    Attributes:
        name: The key in `REMEDIES`, and what the command line calls it.
        title: What tables call it.
        paper: Where it comes from.
        changes: What it changes, in one sentence.
        promises: What its authors expect of it.
        caveat: What it costs, or where it does not apply.
        encoder: The encoder that it puts in the place of the recurrent one, or None.
        penalty: From its weight λ to a further loss term, or None.
        weight: The default λ.
        refit: What trains a model from the start in its own way, or None.
    """

    name: str
    title: str
    paper: str
    changes: str
    promises: str
    caveat: str
    encoder: str | None = None
    penalty: Callable[[float], Penalty] | None = None
    weight: float | None = None
    refit: Refit | None = None

    def training(self, encoder: str = "bilstm", weight: float | None = None) -> dict[str, Any]:
        """The arguments of `attnaudit.train` that switch the remedy on.

        Args:
            encoder: The encoder without the remedy.
            weight: λ, where the remedy has one.

        Raises:
            SettingsError: The encoder is not recurrent, or λ is negative or not the remedy's.

        Example:
            >>> from attnaudit.remedies import REMEDIES
            >>> REMEDIES["orthogonal"].training()
            {'encoder': 'orthogonal', 'remedy': 'orthogonal'}
        """
        if self.refit is None and encoder not in (*RECURRENT, self.encoder):
            raise SettingsError(
                f"the remedy {self.name!r} is for the encoder {' or '.join(RECURRENT)}, not for "
                f"{encoder!r}, whose states do not all see the whole text"
            )
        if self.penalty is None:
            if weight is not None:
                raise SettingsError(f"the remedy {self.name!r} has no weight; leave it out")
            given = {} if self.refit is None else {"refit": self.refit}
            return {"encoder": self.encoder or encoder, "remedy": self.name, **given}
        weight = self.weight if weight is None else weight
        if weight is None or not weight >= 0:
            raise SettingsError(f"the weight of {self.name!r} is {weight}; it must be 0 or more")
        penalty = self.penalty(weight)
        return {"encoder": self.encoder or encoder, "remedy": self.name, "penalty": penalty}


def as_the_loss(values: Tensor, passed: Pass) -> Tensor:
    """One number an instance, put together as the loss of the labels is.

    That is a sum for one logit and a mean otherwise, so that λ weighs the term against the
    cross-entropy of an instance, whatever the size of the batch.

    Args:
        values: `(B,)`; NaN counts as 0 and has no gradient.
        passed: The pass that they come from.
    """
    known = values.nan_to_num()
    return known.sum() if passed.logits.shape[-1] == 1 else known.mean()
