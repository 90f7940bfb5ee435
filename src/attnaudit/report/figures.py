"""Which picture each check has. Values come from the instances, means from the findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from attnaudit.attribution import METHODS
from attnaudit.audit.audit import AuditResult
from attnaudit.evidence.batch.erasing import OPERATORS
from attnaudit.findings.estimates import BINS
from attnaudit.findings.findings import Estimate, Finding
from attnaudit.findings.wording import number, shortened, spoken, subject, threshold, value_of
from attnaudit.report.charts import (
    ACCENT,
    MUTED,
    Distribution,
    Figure,
    Guide,
    IntervalRow,
    Series,
    distribution_rows,
    interval_rows,
)
from attnaudit.report.evidence import bar_in_force

MOST_CLASSES_DRAWN = 3
"""With more, four bins for each class are rows enough to lose sight, of few instances each."""
SECOND, THIRD, FOURTH = "var(--second)", "var(--third)", "var(--fourth)"
PALETTE = (ACCENT, SECOND, THIRD, FOURTH)
SHAPES = ("circle", "square", "triangle-up", "diamond")
SHORT = {
    "weights": "weights",
    "random": "random",
    "permutation": "same weights, reordered",
    "exact": "any weights, certified",
    "bounded": "any weights, best found",
    "search": "any weights, searched",
}


def figures_of(result: AuditResult, finding: Finding) -> tuple[Figure, ...]:
    """The pictures of one finding about the weights; none where there is nothing to draw."""
    draw = DRAWN.get(finding.check)
    if draw is None or finding.headline is None or result.instances.is_empty():
        return ()
    return tuple(draw(result, finding))


def agreement(result: AuditResult, finding: Finding) -> Iterator[Figure]:
    """How alike weights and yardsticks order the units, instance by instance."""
    frame, estimates = result.instances, _all_of(result, "agreement")
    pairs = (
        ("weights~gradient", ACCENT),
        ("weights~leave_one_out", ACCENT),
        ("gradient~leave_one_out", THIRD),
        ("random~gradient", MUTED),
        ("random~leave_one_out", MUTED),
    )
    rows = [
        Distribution(
            " · ".join(SHORT.get(part, subject(part)) for part in pair.split("~")),
            _values(frame, f"agreement/tau.{pair}"),
            _find(estimates, "kendall_tau", pair),
            colour,
        )
        for pair, colour in pairs
        if f"agreement/tau.{pair}" in frame.columns
    ]
    if not rows:
        return
    own = [_find(estimates, "kendall_tau", pair) for pair, _ in pairs[:2]]
    said = [f"{subject(e.subject.split('~')[1])} {value_of(e)}" for e in own if e is not None]
    asked = finding.thresholds.get("agreement_tau", 0.5)
    own_bar = bar_in_force(finding)
    bar = asked if own_bar is None else own_bar
    lowered = (
        f" The bar is the tau of gradient and leave-one-out with each other, {number(bar)}, which "
        f"is less than the {threshold(asked)} that is asked at most."
        if bar < asked
        else ""
    )
    yield Figure(
        name="agreement",
        title=f"How alike the units are ordered: weights and {', weights and '.join(said)}",
        caption="One histogram a pair: instances by their Kendall tau-b (1 the same order, 0 "
        "unrelated, −1 the opposite order). The dot is the mean, the line its interval. Random "
        "scores show what unrelated orders look like at these lengths. Heights are scaled within "
        f"each row.{lowered}",
        spec=distribution_rows(
            rows,
            domain=(-1, 1),
            bins=40,
            axis="Kendall tau-b (−1 to 1)",
            guides=(Guide(0, "unrelated 0"), Guide(bar, f"bar {number(bar)}", dashed=False)),
        ),
        description=_described(rows),
    )


def permutation(result: AuditResult, finding: Finding) -> Iterator[Figure]:
    """How far the output moves under permuted weights, by the largest weight and the class."""
    frame, classes = result.instances, result.report.plan.model.classes
    rows = [_moved(frame, finding, "all instances", "all", pl.lit(True), MUTED)]
    split = len(classes) <= MOST_CLASSES_DRAWN
    for low, high in pairwise(BINS):
        inside = (pl.col("max_weight") >= low) & (pl.col("max_weight") < high)
        weight = f"max weight [{low:.2f}, {min(high, 1.0):.2f})"
        size = f"{low:.2f}–{min(high, 1.0):.2f}"
        label = f"largest weight {size}"
        if not split:
            rows.append(_moved(frame, finding, label, weight, inside, ACCENT, size))
            continue
        for index, name in enumerate(classes):
            rows.append(
                _moved(
                    frame,
                    finding,
                    f"{label}, {shortened(name, 12)}",
                    f"predicted={name}, {weight}",
                    inside & (pl.col("predicted") == index),
                    PALETTE[index % 4],
                    f"{size}, {shortened(name, 12)}",
                )
            )
    rows = [row for row in rows if len(row.values)]
    if not rows:
        return
    bar = finding.thresholds.get("permutation_tvd", 0.1)
    yield Figure(
        name="permutation",
        title="How far the prediction moves when the same weights stand elsewhere: "
        f"{value_of(finding.headline)} on average"
        if finding.headline
        else "How far the prediction moves when the same weights stand elsewhere",
        caption="Instances by their median output change over permutations, for each size of the "
        "largest weight"
        + (" and each predicted class" if split else "")
        + ". Near-uniform weights change little whatever they mean: read the lower rows. Heights "
        "are scaled within each row.",
        spec=distribution_rows(
            rows,
            domain=(0, 1),
            bins=40,
            axis="median output change (total variation, 0 to 1)",
            guides=(Guide(bar, f"bar {threshold(bar)}", dashed=False),),
        ),
        description=_described(rows),
    )


def _moved(
    frame: pl.DataFrame,
    finding: Finding,
    label: str,
    group: str,
    inside: pl.Expr,
    colour: str,
    short: str = "",
) -> Distribution:
    values = _values(frame.filter(inside), "permutation/median_tvd")
    return Distribution(
        label,
        values[np.isfinite(values)],
        _find(finding.estimates, "median_tvd", "weights", group),
        colour,
        short,
    )


def adversary(result: AuditResult, finding: Finding) -> Iterator[Figure]:
    """How different an explanation of the same prediction can be, by kind of adversary."""
    kinds = [k for k in SHORT if f"adversary/{k}_jsd" in result.instances.columns]
    rows = [
        Distribution(
            SHORT[kind],
            _values(result.instances, f"adversary/{kind}_jsd"),
            _find(finding.estimates, "max_jsd", kind),
            ACCENT if kind == "permutation" else MUTED,
        )
        for kind in kinds
    ]
    if not rows:
        return
    bar = finding.thresholds.get("adversary_jsd", 0.4)
    share = finding.headline
    yield Figure(
        name="adversary",
        title="How different another explanation of the same prediction can be: "
        f"{value_of(share)} of the instances lie beyond the bar"
        if share is not None
        else "How different another explanation of the same prediction can be",
        caption="Instances by the largest Jensen-Shannon divergence between the model's weights "
        "and others that leave the prediction where it was. 0 is the same explanation, 0.69 has "
        "nothing in common with it. Heights are scaled within each row.",
        spec=distribution_rows(
            rows,
            domain=(0, 0.7),
            bins=35,
            axis="largest divergence (Jensen-Shannon, 0 to 0.69)",
            guides=(Guide(bar, f"clearly different {threshold(bar)}", dashed=False),),
        ),
        description=_described(rows),
    )


def erasure(result: AuditResult, finding: Finding) -> Iterator[Figure]:
    """Comprehensiveness and sufficiency of every attribution, by erasure operator."""
    present = {e.group for e in finding.estimates if e.statistic == "comprehensiveness"}
    operators = [o for o in (*OPERATORS, *sorted(present - set(OPERATORS))) if o in present]
    series = tuple(
        Series(o.replace("_", " "), PALETTE[i % 4], SHAPES[i % 4]) for i, o in enumerate(operators)
    )
    for kind, title, better in (
        (
            "comprehensiveness",
            "What the prediction loses without the highest units",
            "Further right is better: the erased units mattered.",
        ),
        (
            "sufficiency",
            "What the prediction loses with nothing but the highest units",
            "Further left is better: the units kept were enough.",
        ),
    ):
        rows = [
            IntervalRow(
                subject(method),
                tuple(_find(finding.estimates, kind, method, o) for o in operators),
            )
            for method in _ranked(finding.estimates, kind, operators)
        ]
        if not rows:
            continue
        yield Figure(
            name=kind,
            title=title,
            caption=f"Mean {kind} over fixed fractions of the units, with its interval, one colour "
            f"an erasure operator. {better} A grey tick is what random units give. "
            "The size of a signed score is what weights, which have no sign, are compared with.",
            spec=interval_rows(
                rows,
                series,
                domain=_domain(rows),
                nulls=True,
                axis=f"{kind} (fall in probability)",
                guides=(Guide(0, "no fall 0"),),
            ),
            description=_told(rows),
            legend=series,
        )


def ground_truth(result: AuditResult, finding: Finding) -> Iterator[Figure]:
    """How well every attribution finds the known evidence."""
    methods = [m for m in (*METHODS, "oracle") if _find(finding.estimates, "auroc", m)]
    methods.sort(key=lambda m: -(_value(_find(finding.estimates, "auroc", m))))
    rows = [
        IntervalRow(
            subject(m),
            (_find(finding.estimates, "auroc", m),),
            (ACCENT if m == "weights" else MUTED if m in ("random", "oracle") else THIRD,),
        )
        for m in methods
    ]
    bar = finding.thresholds.get("truth_auroc", 0.8)
    yield Figure(
        name="ground_truth",
        title="How well each attribution finds the known evidence: the weights "
        f"{value_of(finding.headline)}"
        if finding.headline
        else "How well each attribution finds the known evidence",
        caption="Mean AUROC of an instance's units, with its interval: the chance that a unit of "
        "evidence scores above another unit. Random scores and the evidence itself are there for "
        "calibration.",
        spec=interval_rows(
            rows,
            (Series("AUROC", ACCENT),),
            domain=(0, 1),
            axis="AUROC (0 to 1)",
            guides=(Guide(0.5, "chance 0.5"), Guide(bar, f"bar {threshold(bar)}", dashed=False)),
        ),
        description=_told(rows),
    )


DRAWN: dict[str, Callable[[AuditResult, Finding], Iterator[Figure]]] = {
    "agreement": agreement,
    "permutation": permutation,
    "adversary": adversary,
    "erasure": erasure,
    "ground_truth": ground_truth,
}


def _find(
    estimates: Sequence[Estimate], statistic: str, about: str, group: str = "all"
) -> Estimate | None:
    return next(
        (
            e
            for e in estimates
            if e.statistic == statistic and e.subject == about and e.group == group
        ),
        None,
    )


def _ranked(estimates: Sequence[Estimate], kind: str, operators: Sequence[str]) -> list[str]:
    """Every attribution that was erased by: weights, the others best first, calibration last."""
    value = {
        e.subject: _value(e) for e in estimates if e.statistic == kind and e.group == operators[0]
    }
    best = -1 if kind == "comprehensiveness" else 1
    place = {"weights": 0, "random": 2, "oracle": 3}
    return sorted(value, key=lambda name: (place.get(name, 1), best * value[name]))


def _all_of(result: AuditResult, check: str) -> list[Estimate]:
    return [e for f in result.report.findings if f.check == check for e in f.estimates]


def _values(frame: pl.DataFrame, column: str) -> np.ndarray:
    if column not in frame.columns:
        return np.empty(0)
    return frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _value(estimate: Estimate | None) -> float:
    return -1.0 if estimate is None or estimate.value is None else estimate.value


def _domain(rows: Sequence[IntervalRow]) -> tuple[float, float]:
    """Zero, every interval and every null, with a little room."""
    ends = [0.0]
    for row in rows:
        for e in row.estimates:
            if e is not None:
                ends += [v for v in (e.value, e.low, e.high, e.null) if v is not None]
    room = 0.04 * (max(ends) - min(ends) or 1.0)
    return round(min(ends) - room, 3), round(max(ends) + room, 3)


def _described(rows: Sequence[Distribution]) -> str:
    return "; ".join(f"{r.label}: {spoken(r.estimate)}" for r in rows if r.estimate is not None)


def _told(rows: Sequence[IntervalRow]) -> str:
    return "; ".join(
        f"{r.label}: {spoken(e)}" for r in rows for e in r.estimates[:1] if e is not None
    )
