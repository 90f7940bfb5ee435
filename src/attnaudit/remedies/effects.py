"""What a remedy changed: quantities paired by instance, and the outcome in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from attnaudit.findings.estimates import average, share, spoken, values_of
from attnaudit.findings.findings import Estimate, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.remedies import REMEDIES

LEAST_SEEDS = 3
"""With fewer seeds nothing is decided: two give one difference to tell a remedy from chance by."""
TRUTH = "truth_auroc"
"""The one quantity that only some data allow."""
SHOWN_DIGITS = 3
"""Digits of a difference in a sentence."""


@dataclass(frozen=True)
class Quantity:
    """What is compared, from the instances of an audit.

    Attributes:
        name: Its key.
        title: What sentences call it.
        column: From the instances of an audit.
        judged: Whether more of it makes weights better explanations. (Accuracy is what a remedy
            may cost; conicity is how two of them work, not what they are for.)
        stands_in: Whether it is not judged where the evidence is known, which decides then.
    """

    name: str
    title: str
    column: pl.Expr
    judged: bool
    stands_in: bool = False


QUANTITIES = (
    Quantity(
        "accuracy", "accuracy", (pl.col("label") == pl.col("predicted")).cast(pl.Float64), False
    ),
    Quantity("conicity", "conicity", pl.col("conicity"), False),
    Quantity(
        "tau_gradient",
        "agreement with gradient",
        pl.col("agreement/tau.weights~gradient"),
        True,
        stands_in=True,
    ),
    Quantity(
        "tau_leave_one_out",
        "agreement with leave-one-out",
        pl.col("agreement/tau.weights~leave_one_out"),
        True,
        stands_in=True,
    ),
    Quantity(
        "permutation",
        "the output change under permuted weights",
        pl.col("permutation/median_tvd"),
        True,
    ),
    Quantity(
        "comprehensiveness",
        "comprehensiveness above that of random units",
        pl.col("erasure/comprehensiveness.delete.weights")
        - pl.col("erasure/comprehensiveness.delete.random"),
        True,
    ),
    Quantity(
        TRUTH, "agreement with the known evidence", pl.col("ground_truth/auroc.weights"), True
    ),
)
TITLES = {quantity.name: quantity.title for quantity in QUANTITIES}


@dataclass(frozen=True)
class Row:
    """One network, with or without a remedy.

    Attributes:
        remedy: A name of `REMEDIES`, or `none`.
        estimates: By name of `QUANTITIES`. Values are means over seeds for each instance;
            intervals are over instances.
        verdicts: Of the audits, one a seed.
    """

    remedy: str
    estimates: Mapping[str, Estimate]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Effect:
    """What a remedy did.

    Attributes:
        remedy: A name of `REMEDIES`.
        differences: With the remedy minus without, paired by instance.
        by_seed: The same difference for each seed alone.
        spread: The null: the largest difference between two seeds of the network without it.
        outcome: `helped`, `helped at a price`, `did not help`, `did harm`; `not certain` with
            fewer than `LEAST_SEEDS` seeds.
        sentence: The same in words, with the figures.
    """

    remedy: str
    differences: Mapping[str, Estimate]
    by_seed: Mapping[str, tuple[float, ...]]
    spread: Mapping[str, float]
    outcome: str
    sentence: str


def _known(frames: Sequence[pl.DataFrame]) -> list[Quantity]:
    return [quantity for quantity in QUANTITIES if quantity.name in frames[0].columns]


def _over_seeds(frames: Sequence[pl.DataFrame], name: str) -> np.ndarray:
    """The mean over seeds, one value an instance; NaN where a seed has none."""
    return np.asarray(np.stack([values_of(frame, name) for frame in frames]).mean(0))


def estimates_of(
    frames: Sequence[pl.DataFrame], settings: Settings, null: float | None
) -> dict[str, Estimate]:
    """Every quantity of one network.

    Args:
        frames: One a seed, with a column a quantity and a row an instance.
        settings: Of the intervals.
        null: The conicity of random states.
    """
    estimates = {}
    for quantity in _known(frames):
        values = _over_seeds(frames, quantity.name)
        make: Callable[..., Estimate] = average
        if quantity.name == "accuracy" and len(frames) == 1:
            make = share
        nulls = {"accuracy": None, "conicity": null, TRUTH: 0.5}
        estimates[quantity.name] = make(
            values,
            settings,
            statistic=quantity.name,
            subject="weights",
            null=nulls.get(quantity.name, 0.0),
        )
    return estimates


def effect_of(
    plain: Row,
    remedied: Row,
    before: Sequence[pl.DataFrame],
    after: Sequence[pl.DataFrame],
    settings: Settings,
) -> Effect:
    """What a remedy did, paired by instance.

    A change counts where its interval lies on one side of 0, all seeds agree in sign, and it is
    larger than any difference that seeds alone make without the remedy.

    Args:
        plain: The network without it.
        remedied: The network with it.
        before: The instances of the first, one frame a seed.
        after: Those of the second, for the same seeds and in the same order.
        settings: Of the intervals.
    """
    name = remedied.remedy
    differences, by_seed = {}, {}
    for quantity in _known(before):
        change = _over_seeds(after, quantity.name) - _over_seeds(before, quantity.name)
        differences[quantity.name] = average(
            change, settings, statistic=f"{quantity.name}_difference", subject=name, null=0.0
        )
        with np.errstate(invalid="ignore"):
            by_seed[quantity.name] = tuple(
                float(np.nanmean(change)) if np.isfinite(change).any() else float("nan")
                for new, old in zip(after, before, strict=True)
                for change in (values_of(new, quantity.name) - values_of(old, quantity.name),)
            )
    spread = {quantity.name: spread_of(before, quantity.name) for quantity in _known(before)}
    signs = {q: _sign(differences[q], by_seed[q], spread[q]) for q in differences}
    judged = [
        quantity.name
        for quantity in _known(before)
        if quantity.judged and not (quantity.stands_in and TRUTH in differences)
    ]
    better = [q for q in judged if signs[q] > 0]
    worse = [q for q in judged if signs[q] < 0]
    outcome = _outcome(bool(better), bool(worse) or signs["accuracy"] < 0, bool(worse))
    outcome = outcome if len(before) >= LEAST_SEEDS else "not certain"
    sentence = _sentence(
        name, outcome, differences, spread, signs, (plain.verdicts, remedied.verdicts)
    )
    return Effect(name, differences, by_seed, spread, outcome, sentence)


def spread_of(frames: Sequence[pl.DataFrame], name: str) -> float:
    """The largest difference of a quantity's mean between two seeds, paired by instance.

    Args:
        frames: Of one network, one a seed.
        name: Of the quantity.

    Returns:
        0 or more; NaN with fewer than two seeds, or where no instance has the quantity in both.

    Example:
        >>> spread_of([pl.DataFrame({"a": [0.1, 0.2]}), pl.DataFrame({"a": [0.4, 0.3]})], "a")
        0.2
    """
    values = [values_of(frame, name) for frame in frames]
    changes = [one - other for one, other in combinations(values, 2)]
    known = [abs(float(np.nanmean(c))) for c in changes if np.isfinite(c).any()]
    return max(known, default=float("nan"))


def _sign(difference: Estimate, by_seed: Sequence[float], spread: float) -> int:
    """1 or -1 where the interval lies on one side of 0 and all seeds agree, else 0.

    And 0 where the change is no larger than what seeds alone make, or where that is not known, or
    where it rounds to 0 as it is shown.
    """
    if difference.value is None or difference.low is None or difference.high is None:
        return 0
    if len(by_seed) < LEAST_SEEDS or not abs(difference.value) > spread:
        return 0
    if round(difference.value, SHOWN_DIGITS) == 0:
        return 0
    if difference.low > 0 and all(value > 0 for value in by_seed):
        return 1
    return -1 if difference.high < 0 and all(value < 0 for value in by_seed) else 0


def _outcome(better: bool, price: bool, worse: bool) -> str:
    if better:
        return "helped at a price" if price else "helped"
    return "did harm" if worse else "did not help"


def _sentence(
    name: str,
    outcome: str,
    differences: Mapping[str, Estimate],
    spread: Mapping[str, float],
    signs: Mapping[str, int],
    verdicts: tuple[tuple[Verdict, ...], tuple[Verdict, ...]],
) -> str:
    seeds = len(verdicts[0])
    over = "one seed" if seeds == 1 else f"{seeds} seeds"
    said = {
        q: f"{TITLES[q]} {spoken(found, SHOWN_DIGITS)}"
        + ("" if np.isnan(spread[q]) else f"; seeds alone {spread[q]:.3f}")
        for q, found in differences.items()
    }
    parts = []
    for sign, verb in ((1, "rose"), (-1, "fell"), (0, "did not clearly change")):
        some = [said[q] for q in signs if signs[q] == sign]
        if some:
            parts.append(f"{verb}: {', '.join(some)}")
    old, new = (" and ".join(sorted({verdict.value for verdict in some})) for some in verdicts)
    answer = f"The audit says {new} with it and {old} without."
    if old == new:
        answer = f"The audit says {new} with it as without."
    title, change = REMEDIES[name].title, ". ".join(parts)
    if seeds < LEAST_SEEDS:
        return (
            f"Whether {title} helped is not certain: it was tried with {over}, and it takes "
            f"{LEAST_SEEDS} to tell a remedy from chance in training. With it minus without: "
            f"{', '.join(said.values())}. {answer}"
        )
    return f"{title} {outcome} ({over}). With it minus without, {change}. {answer}"
