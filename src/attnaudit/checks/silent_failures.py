"""Silent failures: seeds that do their task and whose weights do not find the keys.

The thresholds are ours (`Bars`), after the finding of Haab et al. (2022), whose own numbers are
not known: high classification performance with weights that are not aligned with the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from attnaudit.findings.estimates import share, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.measures.bootstrap import bootstrap_interval, wilson_interval
from attnaudit.silent.schema import Bars, Ceilings, CurvePoint, Grade

PERFORMANCE, SILENT = "performance", "silent_failures"
SILENT_KINDS = ("inverted", "coverage", "other")
STEPS = 0.025


def bars_in_force(bars: Bars, ceilings: Ceilings) -> dict[str, float]:
    """The bars as they apply, with what can be reached in view.

    `bag` and `instance` are the smaller of the bar and what the ceiling leaves; `relative` is
    there where the best instance AUROC is known and below 1.

    Example:
        >>> bars_in_force(Bars(), Ceilings(instance=0.921, bag=0.82))
        {'bag': 0.77, 'instance': 0.8, 'relative': 0.821}
    """
    bag = bars.bag_bar
    if ceilings.bag is not None:
        bag = min(bag, round(ceilings.bag - bars.bag_room, 6))
    found = {"bag": bag, "instance": bars.instance_bar}
    if ceilings.instance is not None and ceilings.instance < 1:
        found["relative"] = round(ceilings.instance - bars.instance_room, 6)
        found["instance"] = min(bars.instance_bar, found["relative"])
    return found


def kind_of(row: Grade, force: Mapping[str, float], bars: Bars) -> str | None:
    """Whether a seed is accurate and, if so, whether and how its weights fail.

    Returns:
        `inaccurate`, `fine`, or a silent failure: `inverted` (the weights point away from keys),
        `coverage` (the top weight is on a key in the bags of some label, and others are passed
        over) or `other`. None where bag AUC or instance AUROC is unknown.

    Example:
        >>> row = Grade(subject="seed 0", roc_auc=0.97, auroc=0.7, top_one=0.99)
        >>> kind_of(row, bars_in_force(Bars(), Ceilings()), Bars())
        'coverage'
    """
    if row.roc_auc is None or row.auroc is None:
        return None
    if not is_accurate(row, force):
        return "inaccurate"
    if row.auroc >= force["instance"]:
        return "fine"
    if row.auroc < bars.inverted:
        return "inverted"
    tops = [row.top_one or 0.0, *(top or 0.0 for _, top, _ in row.by_label.values())]
    return "coverage" if max(tops) >= bars.coverage_top else "other"


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


def gate(rows: Sequence[Grade], force: Mapping[str, float], bars: Bars) -> Finding:
    """Whether enough seeds do their task to say anything of their weights.

    Passes where `least_accurate` seeds or more do, fails where fewer do, and is inconclusive where
    there are fewer seeds than that.
    """
    passed = len(accurate(rows, force))
    aucs = np.array([np.nan if row.roc_auc is None else row.roc_auc for row in rows])
    mean = _over_seeds(aucs, "roc_auc", "seeds", 0.5)
    estimate = _share(passed, len(rows), "accurate_share", "seeds")
    least = bars.least_accurate
    verdict = (
        Verdict.PASS
        if passed >= least
        else (Verdict.FAIL if len(rows) >= least else Verdict.INCONCLUSIVE)
    )
    said = (
        f"{passed} of {len(rows)} seeds reach a bag AUC of {force['bag']:.2f} "
        f"(mean over seeds {spoken(mean)})"
    )
    sentence = {
        Verdict.PASS: f"The network does its task: {said}.",
        Verdict.FAIL: f"The network is not good enough to audit: {said}. Give more training bags, "
        "another network or another learning rate.",
        Verdict.INCONCLUSIVE: f"Not enough seeds: {said}, and {least} accurate ones or more are "
        "needed. Train more seeds.",
    }[verdict]
    return Finding(
        check=PERFORMANCE,
        subject="seeds",
        verdict=verdict,
        sentence=sentence,
        headline=estimate,
        estimates=(estimate, mean),
        thresholds={"bag_bar": force["bag"], "least_accurate": float(bars.least_accurate)},
    )


def silent_finding(
    rows: Sequence[Grade],
    force: Mapping[str, float],
    bars: Bars,
    good: bool,
    chance: Grade | None = None,
) -> Finding:
    """How often a seed fails without a sign of it in its task.

    Fails where a silent failure was found, passes where `least_seeds` or more accurate seeds have
    none, and is inconclusive with fewer.

    Args:
        rows: One a seed, with its kind.
        force: The bars as they apply.
        bars: The bars.
        good: Whether the gate has passed.
        chance: The grade of random weights on the same bags: the null of what has no fixed one.
    """
    able = [row for row in accurate(rows, force) if row.auroc is not None]
    failures = [row for row in able if row.kind in SILENT_KINDS]
    estimates = _estimates(rows, able, failures, force, chance)
    headline = estimates[0]
    verdict = Verdict.NOT_APPLICABLE
    if not any(row.auroc is not None for row in rows):
        sentence = (
            "Which instances are keys is not known, so silent failures cannot be seen; the "
            "agreement of seeds is what can be had."
        )
    elif not good:
        sentence = "Too few accurate seeds, so nothing is said of silent failures."
    else:
        verdict = (
            Verdict.FAIL
            if failures
            else (Verdict.PASS if len(able) >= bars.least_seeds else Verdict.INCONCLUSIVE)
        )
        sentence = _sentence(rows, able, failures, headline, force, bars)
    return Finding(
        check=SILENT,
        subject="weights",
        verdict=verdict,
        sentence=sentence,
        headline=headline if verdict is not Verdict.NOT_APPLICABLE else None,
        estimates=tuple(estimates),
        notes=tuple(_notes(able, failures, bars, verdict)),
        thresholds={
            **{f"{name}_bar": value for name, value in force.items()},
            "least_seeds": float(bars.least_seeds),
        },
    )


def _sentence(
    rows: Sequence[Grade],
    able: Sequence[Grade],
    failures: Sequence[Grade],
    headline: Estimate,
    force: Mapping[str, float],
    bars: Bars,
) -> str:
    values = [row.auroc for row in able if row.auroc is not None]
    spread = f"mean instance AUROC of a seed from {min(values):.2f} to {max(values):.2f}"
    if not failures:
        bound = f"rates up to {min(1.0, 3 / len(able)):.0%} cannot be excluded (3 / {len(able)})"
        rare = (
            ""
            if len(able) >= bars.least_seeds
            else (f" With fewer than {bars.least_seeds} seeds this cannot speak about rare events.")
        )
        return f"None of {len(able)} accurate seeds fails silently ({spread}); {bound}.{rare}"
    kinds = [
        f"{sum(r.kind == kind for r in failures)} {words}"
        for kind, words in (
            ("inverted", "inverted"),
            ("coverage", "by coverage"),
            ("other", "otherwise"),
        )
        if any(r.kind == kind for r in failures)
    ]
    sentence = (
        f"{len(failures)} of {len(able)} accurate seeds fail silently: a share of "
        f"{spoken(headline)}, {', '.join(kinds)}; {spread}."
    )
    shares = [row.least_type_share for row in failures if row.least_type_share is not None]
    if shares:
        sentence += (
            f" In bags with two types of keys, the type with less weight has on average "
            f"{float(np.mean(shares)):.2f} of the key mass (mean over these seeds)."
        )
    return sentence


def _notes(
    able: Sequence[Grade], failures: Sequence[Grade], bars: Bars, verdict: Verdict
) -> list[str]:
    notes = []
    if verdict is Verdict.FAIL and len(able) < bars.least_seeds:
        notes.append(
            f"The rate rests on {len(able)} accurate seeds; {bars.least_seeds} or more are needed "
            "to speak about it, and 50 for events of 5 %."
        )
    if verdict is not Verdict.NOT_APPLICABLE:
        notes.append(
            "All seeds are trained and tested on the same bags: the interval is over "
            "seeds, not over data."
        )
    return notes


def _estimates(
    rows: Sequence[Grade],
    able: Sequence[Grade],
    failures: Sequence[Grade],
    force: Mapping[str, float],
    chance: Grade | None,
) -> list[Estimate]:
    known = [row for row in rows if row.auroc is not None]
    found = [
        _share(len(failures), len(able), "silent_share", "accurate seeds"),
        _share(len(failures), len(known), "silent_share", "all seeds"),
    ]
    for kind in SILENT_KINDS:
        here = sum(row.kind == kind for row in failures)
        found.append(_share(here, len(able), "silent_share", "accurate seeds", kind))
    if "relative" in force:
        below = sum(row.auroc is not None and row.auroc < force["relative"] for row in able)
        found.append(_share(below, len(able), "below_relative_share", "accurate seeds"))
    for group, some in (("all", known), ("accurate", able)):
        for statistic, null in STATISTICS.items():
            values = np.array(
                [np.nan if getattr(r, statistic) is None else getattr(r, statistic) for r in some]
            )
            if null is None and chance is not None:
                null = getattr(chance, statistic)
            found.append(_over_seeds(values, statistic, "weights", null, group))
    return found


STATISTICS = {
    "auroc": 0.5,
    "average_precision": None,
    "top_one": None,
    "mass": None,
    "lift": 1.0,
    "coverage": None,
    "pooled_auroc": 0.5,
    "least_type_share": None,
}
"""What is expected of weights that say nothing; None: what random weights have on these bags."""


def _share(successes: int, n: int, statistic: str, subject: str, group: str = "all") -> Estimate:
    flags = np.arange(n) < successes
    return share(flags.astype(float), Settings(), statistic=statistic, subject=subject, group=group)


def _over_seeds(
    values: np.ndarray, statistic: str, subject: str, null: float | None, group: str = "all"
) -> Estimate:
    """The mean over seeds, with a bootstrap interval over seeds."""
    found = bootstrap_interval(values)
    return Estimate(
        statistic=statistic,
        subject=subject,
        group=group,
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        undefined=found.undefined,
        null=null,
    )
