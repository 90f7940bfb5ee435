"""Edits of a batch: delete, mask or pad units. Ids and positions only; no text is re-tokenised."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from attnaudit.errors import NotApplicable
from attnaudit.models.cut import Batch, Model


def delete(batch: Batch, drop: Bool[Tensor, "B L"], model: Model) -> Batch:
    """Take positions out and close the gaps; the batch may get shorter.

    Args:
        batch: The instances.
        drop: `(B, L)`, what to take out; must be units.
        model: Tells what padding is.

    Returns:
        A batch as long as its longest remaining instance.
    """
    keep = batch.present & ~drop
    length = max(1, int(keep.sum(1).max())) if len(batch) else 1
    # a stable sort moves kept positions to the front and leaves their order as it is
    order = torch.argsort((~keep).to(torch.uint8), dim=1, stable=True)[:, :length]
    present = keep.gather(1, order)
    index = (
        order
        if batch.inputs.dim() == 2
        else order.unsqueeze(-1).expand(-1, -1, batch.inputs.shape[2])
    )
    inputs = batch.inputs.gather(1, index)
    gone = present if batch.inputs.dim() == 2 else present.unsqueeze(-1)
    inputs = torch.where(gone, inputs, torch.full_like(inputs, model.pad_value))
    units = batch.units.gather(1, order) & present
    return replace(batch, inputs=inputs, present=present, units=units)


def mask(batch: Batch, where: Bool[Tensor, "B L"], model: Model) -> Batch:
    """Replace units by the model's unknown or mask token; they may still receive weight.

    Raises:
        NotApplicable: The model has no such token.
    """
    if model.mask_value is None:
        raise NotApplicable(f"{model.name} has no mask value (set `mask_value` to use this edit)")
    return replace(batch, inputs=_filled(batch, where, model.mask_value))


def pad(batch: Batch, where: Bool[Tensor, "B L"], model: Model) -> Batch:
    """Blank units in place: the encoder reads padding there and they receive no weight."""
    return replace(batch, inputs=_filled(batch, where, model.pad_value), units=batch.units & ~where)


def _filled(batch: Batch, where: Tensor, value: float) -> Tensor:
    spread = where if batch.inputs.dim() == 2 else where.unsqueeze(-1)
    return torch.where(spread, torch.full_like(batch.inputs, value), batch.inputs)


EDITS = {"delete": delete, "mask": mask, "pad": pad}
