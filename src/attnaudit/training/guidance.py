"""Loss terms that steer the weights away from the known evidence, or towards it.

Hiding it gives the control that an audit must catch: a model that uses words it claims not to look
at (Pruthi et al. 2020, "Learning to Deceive with Attention-Based Explanations").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnaudit.data.records import Text
from attnaudit.errors import DataError
from attnaudit.nets.text.classifier import Pass
from attnaudit.training.text import Penalty

LEAST_MASS = 1e-6


def hide_evidence(records: Sequence[Text], strength: float = 1.0) -> Penalty:
    """`-strength · log(1 - m)` with `m` the weight on evidence (Pruthi et al. 2020, section 3).

    Args:
        records: The training records, in the order in which they are trained on, with truth.
        strength: λ.

    Raises:
        DataError: A record without truth.
    """
    return _steered(records, lambda mass: -strength * torch.log1p(-mass.clamp(max=1 - LEAST_MASS)))


def show_evidence(records: Sequence[Text], strength: float = 1.0) -> Penalty:
    """`-strength · log(m)` with `m` the weight on evidence, where a text has any.

    Raises:
        DataError: A record without truth.
    """
    return _steered(records, lambda mass: -strength * torch.log(mass.clamp(min=LEAST_MASS)))


def _steered(records: Sequence[Text], cost: object) -> Penalty:
    for record in records:
        if record.truth is None:
            raise DataError(f"record {record.id!r} does not say which of its units are evidence.")
    evidence = [torch.tensor(record.truth, dtype=torch.bool) for record in records]

    def penalty(passed: Pass, rows: Tensor) -> Tensor:
        units = passed.units
        flags = torch.zeros_like(units)
        flags[units] = torch.cat([evidence[row] for row in rows.tolist()]).to(units.device)
        some = flags.any(1)
        mass = (passed.weights * flags).sum(1)
        result: Tensor = cost(mass)[some].sum()  # type: ignore[operator]
        return result

    return penalty
