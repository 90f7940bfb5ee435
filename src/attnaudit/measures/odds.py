"""Log-odds of one class against all others: the scale on which effects of units do not saturate."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def log_odds(outputs: Float[Tensor, "B *rest C"], target: Int[Tensor, " B"]) -> Tensor:
    """`log p_c - log (1 - p_c)` of the target class `c` of each instance.

    The complement is summed from the other classes, so that nothing is lost to rounding where the
    model is sure.

    Args:
        outputs: Log-probabilities `(B, ..., C)`.
        target: `(B,)`, the class of each instance.

    Returns:
        `(B, ...)`; infinite where the other classes have no probability at all.

    Example:
        >>> outputs = torch.tensor([[0.25, 0.75]]).log()
        >>> round(log_odds(outputs, torch.tensor([1])).item(), 4)
        1.0986
    """
    index = target.view(-1, *[1] * (outputs.dim() - 1)).expand(*outputs.shape[:-1], 1)
    own = outputs.gather(-1, index).squeeze(-1)
    return own - outputs.scatter(-1, index, -torch.inf).logsumexp(-1)
