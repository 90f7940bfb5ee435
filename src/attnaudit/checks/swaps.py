"""Three interventions on the forward pass: weights alone, weights of another, content of another.

No layer is trained again. A partner's weights are laid over an instance from its first unit on,
cut or padded at the end, and made to sum to 1 again; partners are of equal or nearly equal length.
Any foreign weights miss the evidence, so flips by weights of another predicted class are set
beside flips by weights of the same class: what is left is what the weights say of the class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnaudit.errors import NotApplicable
from attnaudit.evidence.judges.probe import most_common
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
from attnaudit.findings.estimates import average, share, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.metrics import performance
from attnaudit.findings.performance import balanced
from attnaudit.measures.bootstrap import bootstrap_metric
from attnaudit.models.cut import Batch, Model, States
from attnaudit.shortcuts.settings import ShortcutSettings, below

EVEN = 1e-6
"""How much more than an even share a weight may have by rounding."""
FORWARD, SWAPS = "weights_only", "swaps"


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


def mean_states(model: Model, reading: Reading, settings: ShortcutSettings) -> MeanStates:
    """Mean hidden vectors of the units: of all, and of the places near head and tail.

    Units with more than an even share of the weight are left out wherever a place has others: they
    may be the evidence, and where evidence of one class tends to stand early, say, the mean of an
    early place would still tell the label by its content.
    """
    places = settings.positions
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


def conclude_forward(model: Model, reading: Reading, settings: ShortcutSettings) -> Finding:
    """What the decoder makes of the weights when no content is left behind them.

    Returns:
        `fail` where it still predicts the label clearly better than chance.
    """
    labels, means = reading.labels, mean_states(model, reading, settings)
    audit = settings.audit()
    majority = float(np.mean(labels == most_common(labels)))
    # two replacements are tried: half the error for each
    confidence = 0.5 + settings.confidence / 2
    chance = 1 / len(np.unique(labels))
    above_chance, estimates = [], []
    for subject in ("one mean vector", "mean vector of the place"):
        said = np.exp(
            decode_with(
                model,
                reading.data.records,
                reading.weights,
                budget=settings.token_budget,
                change=without_content(means, subject != "one mean vector"),
            )
        )
        # a constant answer is at chance in every resample, whatever the larger class is
        found = bootstrap_metric(
            labels,
            said.argmax(1),
            lambda y, p: balanced(y, p) - chance,
            confidence=confidence,
            resamples=settings.resamples,
            seed=settings.seed,
        )
        above_chance.append(
            Estimate(
                statistic="balanced_accuracy_above_chance",
                subject=subject,
                value=found.value,
                low=found.low,
                high=found.high,
                n=found.n,
                null=0.0,
            )
        )
        for estimate in performance(labels, [said], audit, subject):
            null = {"accuracy": majority, "roc_auc": 0.5}.get(estimate.statistic)
            estimates.append(estimate.model_copy(update={"null": null}))
    headline = max(above_chance, key=lambda e: e.value or 0.0)
    verdict = below(headline, settings.bars.leak, audit.thresholds.least_instances)
    figures = (
        f"balanced accuracy above chance {spoken(headline, 3)}, the better of two replacements"
    )
    sentence = {
        Verdict.FAIL: "With the content taken away, the decoder still reads the label from the "
        f"weights ({figures}).",
        Verdict.PASS: "With the content taken away, the decoder reads little or nothing from the "
        f"weights ({figures}).",
    }.get(verdict, f"What the decoder reads from the weights alone is not certain ({figures}).")
    return Finding(
        check=FORWARD,
        subject="weights",
        verdict=verdict,
        sentence=sentence,
        headline=headline,
        estimates=(*above_chance, *estimates),
        thresholds={
            "leak": settings.bars.leak,
            "least_instances": float(audit.thresholds.least_instances),
        },
    )


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


def swap(model: Model, reading: Reading, settings: ShortcutSettings) -> Flips:
    """Swap weights and content between instances.

    Raises:
        NotApplicable: The model predicts one class only.
    """
    if len(np.unique(reading.predicted)) < 2:
        raise NotApplicable("the model predicts one class only, so there is nothing to swap with")
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


def conclude_swaps(model: Model, reading: Reading, settings: ShortcutSettings) -> Finding:
    """Whether predictions follow the weights of another instance, beyond losing the evidence.

    Returns:
        `fail` where weights of another class flip clearly more than weights of the same class.
    """
    try:
        flips = swap(model, reading, settings)
    except NotApplicable as error:
        return Finding(
            check=SWAPS,
            subject="weights",
            verdict=Verdict.NOT_APPLICABLE,
            sentence=f"Nothing was swapped: {error}.",
        )
    audit = settings.audit()
    rates = {
        "weights of another class": flips.other,
        "weights of the same class": flips.same,
        "content of another class": flips.content,
        "equal weights": flips.equal,
    }
    shown = [share(f, audit, statistic="flip_share", subject=s) for s, f in rates.items()]
    headline = average(
        flips.other - flips.same,
        audit,
        statistic="flips_by_class",
        null=0.0,
        subject="weights of another class - of the same class",
    )
    part = shortcut_share(flips, settings)
    verdict = below(headline, settings.bars.swap, audit.thresholds.least_instances)
    other, same, content = (e.value if e.value is not None else float("nan") for e in shown[:3])
    figures = (
        f"share flipped by weights of another class {other:.2f}, of the same class {same:.2f}, "
        f"mean paired difference {spoken(headline)}; by content of another class {content:.2f}"
    )
    sentence = {
        Verdict.FAIL: f"Predictions follow the weights of another instance ({figures}).",
        Verdict.PASS: "Weights of another class change predictions hardly more than other weights "
        f"of the same class ({figures}).",
    }.get(verdict, f"Whether predictions follow the weights of others is not certain ({figures}).")
    return Finding(
        check=SWAPS,
        subject="weights",
        verdict=verdict,
        sentence=sentence,
        headline=headline,
        estimates=(headline, *shown, part),
        thresholds={
            "swap": settings.bars.swap,
            "least_instances": float(audit.thresholds.least_instances),
        },
    )


def shortcut_share(flips: Flips, settings: ShortcutSettings) -> Estimate:
    """Flips by weights over flips by weights and by content, with a bootstrap interval."""
    both = np.stack([flips.other, flips.content])
    known = both[:, np.isfinite(both).all(0)]
    n = known.shape[1]
    value = low = high = None
    if known.sum() > 0:
        value = float(known[0].sum() / known.sum())
        rng = np.random.default_rng(settings.seed)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=settings.resamples) @ known.T
        some = drawn[drawn.sum(1) > 0]
        tail = 0.5 - settings.confidence / 2
        low, high = (float(q) for q in np.quantile(some[:, 0] / some.sum(1), (tail, 1 - tail)))
    return Estimate(
        statistic="shortcut_share",
        subject="weights of another class",
        value=value,
        low=low,
        high=high,
        n=n,
        undefined=both.shape[1] - n,
    )


def _ranks(units: Tensor) -> tuple[Tensor, Tensor]:
    """The place of each unit from the first one, and from the last one; from 0."""
    first = units.long().cumsum(1) - 1
    last = units.sum(1, keepdim=True) - 1 - first
    return first.clamp(min=0), last.clamp(min=0)
