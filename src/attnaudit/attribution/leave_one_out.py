"""Leave-one-out: delete each unit, run the whole model again."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.attribution.contract import Attribution, Options, on_units
from attnaudit.measures.divergence import total_variation
from attnaudit.models.cut import Batch, Model
from attnaudit.models.edits import delete
from attnaudit.models.encoded import Encoded


def deleted_outputs(encoded: Encoded, budget: int) -> Float[Tensor, "B L C"]:
    """Log-probabilities with each unit deleted and everything recomputed.

    The model's own fast way is taken where it has one; rows of positions that are no units are
    undefined.
    """
    with torch.no_grad():
        fast = encoded.model.leave_one_out(encoded.batch, encoded.states)
        if fast is not None:
            return fast
        return _one_by_one(encoded.model, encoded.batch, encoded.outputs, budget)


def _one_by_one(model: Model, batch: Batch, outputs: Tensor, budget: int) -> Tensor:
    row, column = batch.units.nonzero(as_tuple=True)
    result = outputs.new_full((*batch.units.shape, outputs.shape[-1]), torch.nan)
    step = max(1, budget // batch.units.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        repeated = batch.take(row[part])
        drop = torch.zeros_like(repeated.units)
        drop[torch.arange(len(drop), device=drop.device), column[part]] = True
        result[row[part], column[part]] = model.forward(delete(repeated, drop, model))
    return result


def leave_one_out(encoded: Encoded, options: Options) -> Attribution:
    """How far the output moves without each unit (Jain & Wallace 2019, section 4.1).

    The size is the total variation distance between the outputs with and without the unit; the
    sign is positive where the predicted class loses probability without it. Rows of instances
    that are too long for it are NaN.
    """
    long = too_long(encoded, options.longest)
    if not long.any():
        return Attribution(_changes(encoded, options))
    scores = torch.full_like(encoded.weights, torch.nan, dtype=torch.float64)
    short = (~long).nonzero().squeeze(-1)
    if len(short):
        some = Encoded(encoded.model, encoded.batch.take(short))
        scores[short] = _changes(some, options)
    return Attribution(on_units(scores, encoded))


def too_long(encoded: Encoded, longest: int) -> Bool[Tensor, " B"]:
    """Instances that have more units than `longest`; none where it is cheap anyway."""
    counts = encoded.units.sum(1)
    return (counts > longest) & (not encoded.model.cheap_deletions)


def _changes(encoded: Encoded, options: Options) -> Float[Tensor, "B L"]:
    # in double precision, or a saturated model's effects drown in the rounding of p near 1
    outputs = deleted_outputs(encoded, options.token_budget).double()
    whole = encoded.outputs.double()
    change = total_variation(outputs.exp(), whole.exp().unsqueeze(1))
    loss = encoded.of_target(whole).unsqueeze(1) - encoded.of_target(outputs)
    signed = torch.where(loss < 0, -change, change)
    # a text of one unit leaves an empty text, for which a model need not have an answer
    alone = encoded.units.sum(1, keepdim=True) <= 1
    return on_units(torch.where(alone & signed.isnan(), 0.0, signed), encoded)
