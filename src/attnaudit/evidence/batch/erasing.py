"""Running a model on erased inputs: every distinct erasure once, whoever asks for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.attribution import METHODS
from attnaudit.errors import NotApplicable
from attnaudit.evidence.batch.view import Columns, View, as_ranked, column
from attnaudit.measures.curves import area_over_fractions, removal_order, selected
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.measures.seeded import instance_uniform
from attnaudit.models.batches import groups
from attnaudit.models.edits import EDITS
from attnaudit.models.encoded import Encoded

NULL = "null"
MOST_STEPS = 64
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
            outputs = encoded.model.said(states)
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


def by_size(name: str) -> str:
    """What the magnitudes of a signed method are called.

    Example:
        >>> by_size("leave_one_out")
        '|leave_one_out|'
    """
    return f"|{name}|"


def measure_erasure(view: View) -> Columns:
    """Comprehensiveness and sufficiency of every attribution, and decision flips."""
    rows = view.rows
    size = len(view.encoded)
    if not len(rows):
        return {}
    some = view.sample
    scores = {name: view.scores(name)[rows] for name in view.applicable()}
    scores[NULL] = instance_uniform(some.batch.ids, some.units, 1, view.settings.seed, NULL)[:, 0]
    # weights have no sign, so the fair rivals are the sizes of signed scores
    for name in [name for name in scores if name in METHODS and METHODS[name].signed]:
        scores[by_size(name)] = scores[name].abs()
    if any(view.records[int(row)].truth is not None for row in rows):
        scores["oracle"] = view.truth[rows]
    scores = {name: as_ranked(name, values, some.units) for name, values in scores.items()}
    undefined, constant = view.single[rows], view.constant[rows]
    ranks = {name: removal_order(torch.nan_to_num(s), some.units) for name, s in scores.items()}
    columns: dict[str, Tensor] = {}
    for operator in view.settings.operators:
        columns |= _areas(some, ranks, operator, view)
    for name, order in ranks.items():
        columns |= _flips(some, order, name)
    columns |= _single_weight(some, view.settings.seed)
    if "oracle" in scores:
        unknown = scores["oracle"].isnan().any(1)
        for name in [name for name in columns if ".oracle" in name]:
            columns[name] = columns[name].masked_fill(unknown, torch.nan)
    # equal scores rank nothing, so the order in which they are erased says nothing of them
    for method, values in scores.items():
        flat = constant if method == "weights" else _equal(values, some.units)
        if method in METHODS or method.strip("|") in METHODS:
            flat = flat | values.isnan().any(1)  # left out for their length
        for name in [name for name in columns if name.endswith(f".{method}")]:
            columns[name] = columns[name].masked_fill(flat, torch.nan)
    full: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        whole = torch.full((size,), torch.nan, dtype=torch.float64)
        whole[rows.cpu()] = values.double().masked_fill(undefined, torch.nan).cpu()
        full[name] = column(whole)
    return full


def _equal(scores: Tensor, units: Tensor) -> Tensor:
    highest = scores.masked_fill(~units, -torch.inf).amax(1)
    return highest <= scores.masked_fill(~units, torch.inf).amin(1)


def _areas(some: Encoded, ranks: dict[str, Tensor], operator: str, view: View) -> dict[str, Tensor]:
    """Area over the fractions, as the mean over them (DeYoung et al. 2020, AOPC)."""
    fractions = view.settings.fractions
    erase = [
        chosen if kind == "comprehensiveness" else some.units & ~chosen
        for order in ranks.values()
        for kind in ("comprehensiveness", "sufficiency")
        for fraction in fractions
        for chosen in (selected(order, fraction, some.units),)
    ]
    rows = torch.arange(len(some), device=some.units.device).repeat(len(erase))
    try:
        erased = run_erased(some, rows, torch.cat(erase), operator, view.settings.token_budget)
    except NotApplicable:
        return {}
    whole = some.of_target(some.outputs)
    fall = whole - erased.probability.view(len(ranks), 2, len(fractions), len(some))
    result: dict[str, Tensor] = {}
    for index, name in enumerate(ranks):
        for kind, curve in zip(("comprehensiveness", "sufficiency"), fall[index], strict=True):
            result[f"{kind}.{operator}.{name}"] = area_over_fractions(curve.T, fractions)
    if erased.features is not None and view.drift is not None:
        own = list(ranks).index("weights")
        shape = (len(ranks), 2 * len(fractions), len(some))
        far = (view.drift.distance(erased.features) > view.drift.bar).reshape(shape)[own]
        result[f"drift.{operator}"] = torch.as_tensor(far.mean(0), device=whole.device)
    return result


def _flips(some: Encoded, order: Tensor, name: str) -> dict[str, Tensor]:
    """The least share of units, in this order, whose weights must go to flip the decision.

    Source: Serrano & Smith 2019, section 5. All units where nothing flips it.
    """
    counts = some.units.sum(1, keepdim=True)
    # every count up to 64 units; beyond, 64 equal steps. Whole numbers, so that the company of
    # other instances in the batch cannot round a step up
    most = (counts - 1).clamp(min=1)
    steps = most.clamp(max=MOST_STEPS)
    step = torch.arange(1, int(steps.max()) + 1, device=order.device).unsqueeze(0)
    sizes = -(-torch.minimum(step, steps) * most // steps)
    erase = (order.unsqueeze(1) < sizes.unsqueeze(2)) & some.units.unsqueeze(1)
    with torch.no_grad():
        outputs = some.decode(erase, lambda part: without_weight(some.weights, part))
    flipped = outputs.argmax(-1) != some.predicted.unsqueeze(1)
    ever = flipped.any(1)
    at = flipped.to(torch.uint8).argmax(1, keepdim=True)
    share = (sizes.gather(1, at) / counts).squeeze(1)
    units = torch.where(ever, share, 1.0)
    mass = (some.weights.unsqueeze(1) * erase).sum(-1).gather(1, at).squeeze(1)
    return {
        f"flip_fraction.{name}": units,
        f"flip_mass.{name}": torch.where(ever, mass, 1.0),
        f"never_flipped.{name}": (~ever).double(),
    }


def _single_weight(some: Encoded, seed: int) -> dict[str, Tensor]:
    """Zero the largest weight or a random other one (Serrano & Smith 2019, section 4)."""
    top = as_ranked("weights", some.weights, some.units).masked_fill(~some.units, -1.0).argmax(1)
    others = some.units.clone()
    others.scatter_(1, top.unsqueeze(1), False)
    draws = instance_uniform(some.batch.ids, some.units, 1, seed, "other weight")[:, 0]
    other = draws.to(some.weights).masked_fill(~others, -1.0).argmax(1)
    erase = torch.zeros_like(some.units).unsqueeze(1).repeat(1, 2, 1)
    for slot, index in enumerate((top, other)):
        erase[:, slot].scatter_(1, index.unsqueeze(1), True)
    with torch.no_grad():
        outputs = some.decode(without_weight(some.weights, erase)).exp()
    moved = jensen_shannon(outputs, some.probabilities.unsqueeze(1))
    flipped = (outputs.argmax(-1) != some.predicted.unsqueeze(1)).double()
    return {
        "delta_js": moved[:, 0] - moved[:, 1],
        "flip_top": flipped[:, 0],
        "flip_other": flipped[:, 1],
    }
