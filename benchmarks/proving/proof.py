"""That a case is what it is said to be: by what happens without the evidence, and with it alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from attnaudit.measures.detection import auroc
from attnaudit.models.edits import delete
from attnaudit.models.encoded import Encoded
from benchmarks.proving.constructions import Case


@dataclass(frozen=True)
class Proof:
    """What was measured on a case, means over its instances.

    Attributes:
        accuracy: Of the model.
        kept: Share of predictions that stay when everything but evidence is deleted.
        lost: Share of predictions that stay when the evidence is deleted.
        highlighted: Share that stays when everything but the units above the mean weight is
            deleted.
        auroc: Of the weights for the evidence.
        mass: Weight on evidence.
    """

    accuracy: float
    kept: float
    lost: float
    highlighted: float
    auroc: float
    mass: float


@torch.no_grad()
def prove(case: Case) -> Proof:
    """Measure it."""
    model, records = case.model, list(case.data)
    batch = model.collate(records)
    encoded = Encoded(model, batch)
    truth = torch.zeros_like(batch.units)
    for row, record in enumerate(records):
        truth[row, batch.units[row]] = torch.as_tensor(record.truth, dtype=torch.bool)
    predicted = encoded.predicted
    counts = batch.units.sum(1, keepdim=True)
    high = (encoded.weights > 1 / counts) & batch.units

    def same(drop: torch.Tensor) -> float:
        outputs = model.forward(delete(batch, drop & batch.units, model))
        return float((outputs.argmax(-1) == predicted).double().mean())

    labels = torch.tensor([record.label for record in records])
    found = auroc(encoded.weights, truth, batch.units)
    return Proof(
        float((predicted == labels).double().mean()),
        same(~truth),
        same(truth),
        same(~high),
        float(found[~found.isnan()].mean()),
        float((encoded.weights * truth).sum(1).mean()),
    )
