"""Running a model on erased inputs: every distinct erasure once, whoever asks for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.models.batches import groups
from attnaudit.models.edits import EDITS
from attnaudit.models.encoded import Encoded

ZERO_WEIGHT = "zero_weight"
OPERATORS = {
    "delete": "units are taken out and the gap closes",
    "mask": "units become the unknown or mask token and may still receive weight",
    "pad": "units are blanked in place and receive no weight",
    ZERO_WEIGHT: "units keep their states but lose their weight; the rest is renormalised",
}


@dataclass(frozen=True)
class Erased:
    """What came of the erasures.

    Attributes:
        probability: `(N,)`, of the class predicted on the whole input.
        features: `(N, H)`, mean state over the units left, or None for `zero_weight`.
    """

    probability: Float[Tensor, " N"]
    features: np.ndarray | None


def without_weight(
    weights: Float[Tensor, "B L"], erase: Bool[Tensor, "B K L"]
) -> Float[Tensor, "B K L"]:
    """Weights with some set to 0 and the rest renormalised; all 0 where nothing is left.

    Source: Serrano & Smith 2019, section 3.
    """
    kept = weights.unsqueeze(1) * ~erase
    total = kept.sum(-1, keepdim=True)
    return torch.where(total > 0, kept / total.clamp(min=torch.finfo(kept.dtype).tiny), 0.0)


def run_erased(
    encoded: Encoded, rows: Tensor, erase: Bool[Tensor, "N L"], operator: str, budget: int
) -> Erased:
    """Run the model on `N` erasures.

    Args:
        encoded: The whole inputs.
        rows: `(N,)`, which instance each erasure is of.
        erase: `(N, L)`, the units to erase.
        operator: A key of `OPERATORS`.
        budget: Padded tokens in one pass.

    Raises:
        NotApplicable: The model lacks what the operator needs.
    """
    if operator == ZERO_WEIGHT:
        return Erased(_decode_without(encoded, rows, erase), None)
    packed = np.packbits(erase.cpu().numpy(), axis=1)
    keys = np.concatenate([rows.cpu().numpy()[:, None].view(np.uint8), packed], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    device = rows.device
    index = torch.as_tensor(first, device=device)
    lengths = encoded.batch.present[rows[index]].sum(1)
    if operator == "delete":
        lengths = lengths - erase[index].sum(1)
    index = index[torch.argsort(lengths, stable=True)]
    ordered = lengths.sort(stable=True).values.tolist()

    probability = torch.empty(len(rows), device=device)
    features: np.ndarray | None = None
    with torch.no_grad():
        for part in groups(ordered, budget):
            some = index[part]
            batch = EDITS[operator](encoded.batch.take(rows[some]), erase[some], encoded.model)
            states = encoded.model.encode(batch)
            outputs = encoded.model.decode(states, encoded.model.attend(states))
            target = encoded.targets[rows[some]].unsqueeze(1)
            probability[some] = outputs.gather(1, target).squeeze(1).exp().float()
            mean = mean_state(states.hidden, states.units)
            if features is None:
                features = np.empty((len(rows), mean.shape[1]), dtype=np.float32)
            features[some.cpu().numpy()] = mean
    source = first[inverse.reshape(-1)]
    if features is not None:
        features = features[source]
    return Erased(probability[torch.as_tensor(source, device=device)], features)


def mean_state(hidden: Tensor, units: Tensor) -> np.ndarray:
    """The mean state over the units: `(B, H)`, 0 where there are none."""
    total = torch.einsum("blh,bl->bh", hidden.float(), units.float())
    return (total / units.sum(1, keepdim=True).clamp(min=1)).cpu().numpy()


def _decode_without(encoded: Encoded, rows: Tensor, erase: Tensor) -> Tensor:
    """`rows` must hold every instance equally often, in blocks: K erasures of all B."""
    size = len(encoded)
    stacked = erase.view(-1, size, erase.shape[1]).transpose(0, 1)
    with torch.no_grad():
        outputs = encoded.decode(stacked, lambda part: without_weight(encoded.weights, part))
    return encoded.of_target(outputs).transpose(0, 1).flatten().float()
