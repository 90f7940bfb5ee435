"""Three interventions on the forward pass: weights alone, weights of another, content of another.

No layer is trained again. A partner's weights are laid over an instance from its first unit on,
cut or padded at the end, and made to sum to 1 again; partners are of equal or nearly equal length.
Any foreign weights miss the evidence, so flips by weights of another predicted class are set
beside flips by weights of the same class: what is left is what the weights say of the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnaudit.evidence.judges.reading import (
    Change,
    Reading,
    Row,
    decode_with,
    each_batch,
    equal_rows,
    fitted_to,
    placed_rows,
)
from attnaudit.findings.balanced import class_mean
from attnaudit.findings.estimates import average, below
from attnaudit.findings.findings import Estimate, Verdict
from attnaudit.findings.settings import Bar, Settings
from attnaudit.measures.bootstrap import bootstrap_metric
from attnaudit.models.cut import Batch, Model, States

LEAK = Bar(
    "leak",
    0.05,
    "Balanced accuracy above chance and above the length alone, from which a probe of the weights "
    "counts as a leak. Ours.",
)
SWAP = Bar(
    "swap",
    0.1,
    "Flips by weights of another class beyond those by weights of the same class, from which the "
    "class of the weights counts as read. Ours.",
)
"""Both stand here since they decide how many judges are trained."""
EVEN = 1e-6
"""How much more than an even share a weight may have by rounding."""
CONSTANT, OF_PLACE = "one mean vector", "mean vector of the place"


@dataclass(frozen=True)
class MeanStates:
    """What stands at a unit on the average.

    Attributes:
        constant: `(H,)`, over all units.
        head: `(P, H)`, of the first units of the instances (see `mean_states`).
        tail: `(P, H)`, of the last ones, the last first.
    """

    constant: Tensor
    head: Tensor
    tail: Tensor


def mean_states(model: Model, reading: Reading, settings: Settings) -> MeanStates:
    """Mean hidden vectors of the units: of all, and of the places near head and tail.

    Units with more than an even share of the weight are left out wherever a place has others: they
    may be the evidence, and where evidence of one class tends to stand early, say, the mean of an
    early place would still tell the label by its content.
    """
    places = settings.judges.positions
    width, total = 0, torch.zeros(0)
    # of the units with an even share or less, and of all
    sums, counts = torch.zeros(0), torch.zeros(2, 2, places, dtype=torch.float64)
    with torch.no_grad():
        for rows, batch in each_batch(model, reading.data.records, settings.token_budget):
            hidden, units = model.encode(batch).hidden.double().cpu(), batch.units.cpu()
            if not width:
                width = hidden.shape[-1]
                total = torch.zeros(width + 1, dtype=torch.float64)
                sums = torch.zeros(2, 2, places, width, dtype=torch.float64)
            total += torch.cat([hidden[units].sum(0), units.sum().double().view(1)])
            even = 1 / units.sum(1, keepdim=True).clamp(min=1)
            low = placed_rows([reading.weights[row] for row in rows], batch) <= even + EVEN
            for side, rank in enumerate(_ranks(units)):
                for kind, some in enumerate((low, torch.ones_like(low))):
                    near = units & (rank < places) & some
                    sums[kind, side].index_add_(0, rank[near], hidden[near])
                    counts[kind, side] += torch.bincount(rank[near], minlength=places)
    constant = total[:-1] / total[-1].clamp(min=1)
    seen = counts.unsqueeze(-1) > 0
    mean = sums / counts.clamp(min=1).unsqueeze(-1)
    ends = torch.where(seen[0], mean[0], torch.where(seen[1], mean[1], constant))
    return MeanStates(constant, ends[0], ends[1])


def without_content(means: MeanStates, by_position: bool) -> Change:
    """Replace what stands at every unit by a mean, the same for every record; nothing elsewhere.

    Args:
        means: Of `mean_states`.
        by_position: The mean of the unit's place, counted from the nearer end, where it is near
            one; it keeps default tokens at head and tail apart. Else one vector for all units.
    """

    def change(batch: Batch, states: States) -> States:
        hidden, units = states.hidden, states.units
        blank = means.constant.to(hidden).expand_as(hidden)
        if by_position:
            first, last = (rank.to(hidden.device) for rank in _ranks(units.cpu()))
            places = len(means.head)
            head = means.head.to(hidden)[first.clamp(max=places - 1)]
            tail = means.tail.to(hidden)[last.clamp(max=places - 1)]
            ends = torch.where((first <= last).unsqueeze(-1), head, tail)
            near = (torch.minimum(first, last) < places).unsqueeze(-1)
            blank = torch.where(near, ends, blank)
        return States(blank * units.unsqueeze(-1), units, states.extra)

    return change


@dataclass(frozen=True)
class Interventions:
    """What a model says when its weights, or what they weigh, are replaced.

    Attributes:
        without: Probabilities `(N, C)` with no content left, by what stands in its place.
        flips: What swaps change; None where the model predicts one class only.
    """

    without: Mapping[str, np.ndarray]
    flips: Flips | None


def intervene(model: Model, reading: Reading, settings: Settings) -> Interventions:
    """Every intervention on the held-out records."""
    means = mean_states(model, reading, settings)
    without = {
        blank: np.exp(
            decode_with(
                model,
                reading.data.records,
                reading.weights,
                budget=settings.token_budget,
                change=without_content(means, blank == OF_PLACE),
            )
        )
        for blank in (CONSTANT, OF_PLACE)
    }
    several = len(np.unique(reading.predicted)) > 1
    return Interventions(without, swap(model, reading, settings) if several else None)


def above_chance(moved: Interventions, labels: np.ndarray, settings: Settings) -> list[Estimate]:
    """Balanced accuracy over chance with no content left; one estimate per replacement."""
    # two replacements are tried: half the error for each
    confidence = 0.5 + settings.confidence / 2
    chance = 1 / len(np.unique(labels))
    estimates = []
    for blank, said in moved.without.items():
        # a constant answer is at chance in every resample, whatever the larger class is
        found = bootstrap_metric(
            labels,
            said.argmax(1),
            lambda y, p: class_mean(y == p, y) - chance,
            confidence=confidence,
            resamples=settings.resamples,
            seed=settings.seed,
        )
        estimates.append(
            Estimate(
                statistic="balanced_accuracy_above_chance",
                subject=blank,
                value=found.value,
                low=found.low,
                high=found.high,
                n=found.n,
                null=0.0,
            )
        )
    return estimates


def flips_by_class(flips: Flips, settings: Settings) -> Estimate:
    """Flips by weights of another class beyond those by weights of the same class."""
    return average(
        flips.other - flips.same,
        settings,
        statistic="flips_by_class",
        null=0.0,
        subject="weights of another class - of the same class",
    )


def best_of(estimates: Sequence[Estimate]) -> Estimate:
    """The one with the highest value; the first of several."""
    return max(estimates, key=lambda estimate: estimate.value or 0.0)


def reads_form(moved: Interventions, labels: np.ndarray, settings: Settings) -> bool:
    """Whether an intervention shows that the decoder reads the form of the weights.

    Then neutral judges read that too, rightly or wrongly, each by the accident of its initial
    values: more of them are needed, and one that agrees with the model says little.
    """
    best = best_of(above_chance(moved, labels, settings))
    if below(best, settings.bar(LEAK), settings.least) is Verdict.FAIL:
        return True
    if moved.flips is None:
        return False
    by_class = flips_by_class(moved.flips, settings)
    return below(by_class, settings.bar(SWAP), settings.least) is Verdict.FAIL


@dataclass(frozen=True)
class Flips:
    """Which predictions change; each `(N,)` of 0, 1 or NaN where it is undefined.

    Attributes:
        other: Under the weights of an instance of another predicted class.
        same: Under those of one of the same predicted class.
        content: Under the content of the first, with the own weights.
        equal: Under equal weights.
    """

    other: np.ndarray
    same: np.ndarray
    content: np.ndarray
    equal: np.ndarray


def swap(model: Model, reading: Reading, settings: Settings) -> Flips:
    """Swap weights and content between instances of a model that predicts several classes."""
    records, lengths, weights = reading.data.records, reading.lengths, reading.weights
    rng = np.random.default_rng(settings.seed)
    other = partners(lengths, reading.predicted, rng, same=False)
    same = partners(lengths, reading.predicted, rng, same=True)
    every = np.arange(len(reading))

    def flipped(content: np.ndarray, weight: list[Row], some: np.ndarray) -> np.ndarray:
        """The flips of the instances `some`, each under a content and weights of its own."""
        flags = np.full(len(reading), np.nan)
        fine = [i for i in some if lengths[content[i]] and np.isfinite(weight[i]).all()]
        if fine:
            said = decode_with(
                model,
                [records[content[i]] for i in fine],
                [weight[i] for i in fine],
                budget=settings.token_budget,
            )
            flags[fine] = said.argmax(1) != reading.predicted[fine]
        return flags

    def from_partner(partner: np.ndarray) -> list[Row]:
        return [fitted_to(weights[j], lengths[i]) for i, j in enumerate(partner)]

    own = [fitted_to(weights[i], lengths[j]) for i, j in enumerate(other)]
    return Flips(
        flipped(every, from_partner(other), every),
        flipped(every, from_partner(same), every[same != every]),
        flipped(other, own, every),
        flipped(every, equal_rows(lengths.tolist()), every),
    )


def partners(
    lengths: np.ndarray, predicted: np.ndarray, rng: np.random.Generator, *, same: bool
) -> np.ndarray:
    """For each instance one of another (or of the same) predicted class and nearest length.

    Among those of equal distance one is drawn. An instance that is alone in its class gets itself.
    """
    chosen = np.arange(len(lengths))
    for i in range(len(lengths)):
        fits = (predicted == predicted[i]) if same else (predicted != predicted[i])
        fits[i] = False
        index = np.flatnonzero(fits)
        if len(index):
            apart = np.abs(lengths[index] - lengths[i])
            chosen[i] = rng.choice(index[apart == apart.min()])
    return chosen


def _ranks(units: Tensor) -> tuple[Tensor, Tensor]:
    """The place of each unit from the first one, and from the last one; from 0."""
    first = units.long().cumsum(1) - 1
    last = units.sum(1, keepdim=True) - 1 - first
    return first.clamp(min=0), last.clamp(min=0)
