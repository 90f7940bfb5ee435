"""How seeds are graded: their bars, their rows, who does its task, and whose weights fail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from attnaudit.evidence.seeds.ceilings import Ceilings
from attnaudit.findings.settings import Bar, Settings
from attnaudit.measures.bootstrap import wilson_interval

BAG_BAR = Bar("bag_bar", 0.90, "Bag AUC from which a seed counts as accurate. Ours.")
BAG_ROOM = Bar(
    "bag_room",
    0.05,
    "Where the best possible bag AUC is known, a seed that comes as close to it is accurate, if "
    "that is less than bag_bar. Ours.",
)
INSTANCE_BAR = Bar(
    "instance_bar",
    0.80,
    "Mean instance AUROC below which an accurate seed is a silent failure (our reading of Haab et "
    "al. 2022).",
)
INSTANCE_ROOM = Bar(
    "instance_room",
    0.10,
    "Where the best possible instance AUROC is below 1, the relative bar is as much below it. "
    "Ours.",
)
INVERTED = Bar(
    "inverted", 0.50, "Mean instance AUROC below which the weights point away from keys."
)
COVERAGE_TOP = Bar(
    "coverage_top",
    0.90,
    "Share of top-1 hits, in the bags of some label, from which a silent failure is one of "
    "coverage: the top is a key, and other keys are passed over. Ours.",
)
LEAST_ACCURATE = Bar(
    "least_accurate",
    5,
    "Fewer accurate seeds than this: not good enough to audit. Fewer seeds in all: not enough to "
    "tell. Ours.",
    least=1,
    most=math.inf,
    whole=True,
)
BARS = (BAG_BAR, BAG_ROOM, INSTANCE_BAR, INSTANCE_ROOM, INVERTED, COVERAGE_TOP, LEAST_ACCURATE)
SILENT_KINDS = ("inverted", "coverage", "other")
STEPS = 0.025


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Grade(_Frozen):
    """One source of weights: a seed, an ensemble, or a calibration row.

    Attributes:
        subject: `seed 3`, `random`, `oracle`, `supervised`, `ensemble of 24`, …
        seed: Its seed, or None.
        roc_auc: Bag AUC on the test bags; None where it is undefined.
        dev_roc_auc: The same on the development bags, by which saved members are chosen.
        accuracy: Share of test bags predicted.
        auroc: Mean instance AUROC, over bags that have keys and other instances.
        average_precision: Mean average precision.
        top_one: Share of bags whose largest weight is on a key.
        mass: Mean share of the weight that is on keys.
        lift: Mean of that over the share of keys.
        coverage: Mean share of keys with more weight than equal weights give.
        pooled_auroc: AUROC of all instances of all bags as one sample.
        least_type_share: Mean smallest share of the key mass of a type, in bags with two or more.
        type_mass: Mean share of the weight on keys of each type, in bags that have it.
        by_label: AUROC and top-1 in the bags of each label: `{"positive": (auroc, top-1, bags)}`.
        bags: How many bags the means are over.
        kind: `fine`, `inaccurate`, `inverted`, `coverage` or `other`; the last three are silent
            failures. None for rows that are no seeds, or without truth.
        epoch: The epoch that was kept.
    """

    subject: str
    seed: int | None = None
    roc_auc: float | None = None
    dev_roc_auc: float | None = None
    accuracy: float | None = None
    auroc: float | None = None
    average_precision: float | None = None
    top_one: float | None = None
    mass: float | None = None
    lift: float | None = None
    coverage: float | None = None
    pooled_auroc: float | None = None
    least_type_share: float | None = None
    type_mass: tuple[float | None, ...] = ()
    by_label: dict[str, tuple[float | None, float | None, int]] = {}
    bags: int = 0
    kind: str | None = None
    epoch: int | None = None


class CurvePoint(_Frozen):
    """How many accurate seeds have an instance AUROC below a bar."""

    bar: float
    share: float
    low: float
    high: float


class EnsembleRow(_Frozen):
    """Ensembles of one size and one way to average.

    Attributes:
        average: `weights` or `ranks`.
        members: How many seeds each has.
        subsets: How many were drawn; `every` says that they are all there are.
        every: Whether they are all subsets of that size.
        mean: Mean over them of the instance AUROC; None without truth.
        worst: The smallest of the `subsets`: of more of them it is lower by chance alone.
        low: Their 2.5 % quantile.
        high: Their 97.5 % quantile.
        roc_auc: Mean bag AUC of the mean probabilities.
        accurate: Share whose bag AUC reaches its bar.
        silent: Share of the accurate ones that is below the instance bar; None where none is
            accurate.
        silent_low: Lower end of its interval, as from ensembles that share no seed.
        silent_high: Upper end.
        disjoint: How many ensembles of this size share no seed.
        agreement: Mean Spearman between the weights of ensembles that share no seed.
    """

    average: str
    members: int
    subsets: int
    every: bool
    mean: float | None = None
    worst: float | None = None
    low: float | None = None
    high: float | None = None
    roc_auc: float | None = None
    accurate: float | None = None
    silent: float | None = None
    silent_low: float | None = None
    silent_high: float | None = None
    disjoint: int
    agreement: float | None = None


def bars_in_force(settings: Settings, ceilings: Ceilings) -> dict[str, float]:
    """The bars as they apply, with what can be reached in view.

    `bag` and `instance` are the smaller of the bar and what the ceiling leaves; `relative` is
    there where the best instance AUROC is known and below 1.

    Example:
        >>> bars_in_force(Settings(), Ceilings(instance=0.921, bag=0.82))
        {'bag': 0.77, 'instance': 0.8, 'relative': 0.821}
    """
    bag = settings.bar(BAG_BAR)
    if ceilings.bag is not None:
        bag = min(bag, round(ceilings.bag - settings.bar(BAG_ROOM), 6))
    found = {"bag": bag, "instance": settings.bar(INSTANCE_BAR)}
    if ceilings.instance is not None and ceilings.instance < 1:
        found["relative"] = round(ceilings.instance - settings.bar(INSTANCE_ROOM), 6)
        found["instance"] = min(found["instance"], found["relative"])
    return found


def kind_of(row: Grade, force: Mapping[str, float], settings: Settings) -> str | None:
    """Whether a seed is accurate and, if so, whether and how its weights fail.

    Returns:
        `inaccurate`, `fine`, or a silent failure: `inverted` (the weights point away from keys),
        `coverage` (the top weight is on a key in the bags of some label, and others are passed
        over) or `other`. None where bag AUC or instance AUROC is unknown.

    Example:
        >>> row = Grade(subject="seed 0", roc_auc=0.97, auroc=0.7, top_one=0.99)
        >>> settings = Settings()
        >>> kind_of(row, bars_in_force(settings, Ceilings()), settings)
        'coverage'
    """
    if row.roc_auc is None or row.auroc is None:
        return None
    if not is_accurate(row, force):
        return "inaccurate"
    if row.auroc >= force["instance"]:
        return "fine"
    if row.auroc < settings.bar(INVERTED):
        return "inverted"
    tops = [row.top_one or 0.0, *(top or 0.0 for _, top, _ in row.by_label.values())]
    return "coverage" if max(tops) >= settings.bar(COVERAGE_TOP) else "other"


def is_accurate(row: Grade, force: Mapping[str, float]) -> bool:
    """Whether a seed does its task: its bag AUC is known, and at its bar or above."""
    return row.roc_auc is not None and row.roc_auc >= force["bag"]


def accurate(rows: Sequence[Grade], force: Mapping[str, float]) -> list[Grade]:
    """The seeds that do their task."""
    return [row for row in rows if is_accurate(row, force)]


def places_of(rows: Sequence[Grade], force: Mapping[str, float]) -> list[int]:
    """The places of the seeds that do their task."""
    return [place for place, row in enumerate(rows) if is_accurate(row, force)]


def chosen_on_dev(rows: Sequence[Grade], force: Mapping[str, float]) -> list[int]:
    """The places of the seeds whose bag AUC on the development bags reaches the bar.

    A model of several seeds is made of these: choosing by the test bags would leave none to audit
    it on. Development bags have chosen the epoch, so that their AUC is a little too high.
    """
    return [
        place
        for place, row in enumerate(rows)
        if row.dev_roc_auc is not None and row.dev_roc_auc >= force["bag"]
    ]


def curve_of(rows: Sequence[Grade], force: Mapping[str, float]) -> tuple[CurvePoint, ...]:
    """P(instance AUROC < t | bag AUC at or above its bar) for t from 0 to 1, with intervals."""
    values = np.array([row.auroc for row in accurate(rows, force) if row.auroc is not None])
    if not len(values):
        return ()
    points = []
    for bar in np.round(np.arange(0, 1 + STEPS / 2, STEPS), 3).tolist():
        found = wilson_interval(int((values < bar).sum()), len(values))
        points.append(
            CurvePoint(
                bar=bar, share=found.value or 0.0, low=found.low or 0.0, high=found.high or 0.0
            )
        )
    return tuple(points)
