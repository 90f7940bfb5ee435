"""Agreement: do the weights order the units as gradient and leave-one-out do?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from scipy.stats import norm

from attnaudit.checks.declaration import ATTENTION, Check, estimate_of
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.view import Columns, View, column
from attnaudit.findings.estimates import average, by_predicted, share, spoken, values_of
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    THIRD,
    Distribution,
    Distributions,
    Figure,
    Guide,
    histogram,
    told,
)
from attnaudit.findings.settings import LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import Statistic, number, threshold, value_of
from attnaudit.findings.wording import subject as called
from attnaudit.measures.rank import (
    expected_top_k_overlap,
    kendall_null,
    kendall_tau,
    spearman,
    top_k_overlap,
)

TAU = Bar(
    "agreement_tau",
    0.5,
    "Kendall tau that weights must reach with gradient and leave-one-out (three of four pairs "
    "ordered alike), or the tau of those two with each other where that is smaller: what the "
    "yardsticks do not share cannot be asked of the weights. Ours, after Wiegreffe & Pinter 2019.",
)
YARDSTICK_TAU = Bar(
    "yardstick_tau",
    0.2,
    "Below this tau between gradient and leave-one-out the yardsticks do not measure one thing, "
    "and agreement is `inconclusive`. Ours.",
)
SIGNIFICANCE = 0.05
BINS_DRAWN = 40
SHORT = {"weights": "weights", "random": "random"}
YARDSTICKS = ("gradient", "leave_one_out")
PAIRS = (
    ("weights", "gradient"),
    ("weights", "leave_one_out"),
    ("gradient", "leave_one_out"),
    ("random", "gradient"),
    ("random", "leave_one_out"),
)


def measure(view: View) -> Columns:
    """Rank statistics of every pair; magnitudes are compared, as in the paper."""
    columns: dict[str, np.ndarray | list[list[float] | None]] = {}
    known = view.applicable({name for pair in PAIRS for name in pair})
    for first, second in PAIRS:
        if first not in known or second not in known:
            continue
        a, b = view.ranked(first, size=True), view.ranked(second, size=True)
        tau = kendall_tau(a, b, view.units)
        undefined = ~tau.defined
        pair = f"{first}~{second}"
        columns[f"tau.{pair}"] = column(tau.value)
        significant = (tau.p_value <= SIGNIFICANCE).double().masked_fill(undefined, torch.nan)
        columns[f"significant.{pair}"] = column(significant)
        columns[f"spearman.{pair}"] = column(spearman(a, b, view.units))
        overlap = top_k_overlap(a, b, view.units, view.settings.top_k).double()
        columns[f"top_k.{pair}"] = column(overlap.masked_fill(undefined, torch.nan))
    lengths = view.units.sum(1)
    columns["null_sd"] = column(kendall_null(lengths).sd)
    columns["top_k_null"] = column(expected_top_k_overlap(lengths, view.settings.top_k))
    return columns


def conclude(evidence: Instances) -> list[Finding]:
    """One finding for the weights and one for random weights, by the same rule."""
    frame = evidence.frame
    found = [p for p in (f"{a}~{b}" for a, b in PAIRS) if f"tau.{p}" in frame.columns]
    estimates = [
        estimate
        for group, part in by_predicted(frame, evidence.classes)
        for pair in found
        for estimate in _of_pair(part, pair, group, evidence.settings)
    ]
    notes = []
    if "weights~gradient" not in found:
        notes.append("The model gives no gradients: leave-one-out is the only yardstick.")
    undefined = max((e.undefined for e in estimates if e.group == "all"), default=0)
    if undefined:
        notes.append(
            f"{undefined} instances have no rank correlation (one unit, all weights equal, "
            "or too long for leave-one-out) "
            "and are counted apart, not averaged in."
        )
    return [_judge(subject, evidence, found, estimates, notes) for subject in ("weights", "random")]


def _of_pair(part: pl.DataFrame, pair: str, group: str, settings: Settings) -> list[Estimate]:
    tau = values_of(part, f"tau.{pair}")
    about = {"subject": pair, "group": group}
    return [
        average(tau, settings, statistic="kendall_tau", null=0.0, **about),
        _null_bound(part, tau, pair, group, settings.confidence),
        share(
            values_of(part, f"significant.{pair}"),
            settings,
            statistic="significant_share",
            null=SIGNIFICANCE,
            **about,
        ),
        average(
            values_of(part, f"spearman.{pair}"), settings, statistic="spearman", null=0.0, **about
        ),
        average(
            values_of(part, f"top_k.{pair}"),
            settings,
            statistic="top_k_overlap",
            null=_chance_overlap(part),
            **about,
        ),
    ]


def _null_bound(
    part: pl.DataFrame, tau: np.ndarray, pair: str, group: str, confidence: float
) -> Estimate:
    """What a mean tau of unrelated orders would stay below, at these very lengths."""
    spread = values_of(part, "null_sd")[np.isfinite(tau)]
    n = len(spread)
    bound = float(norm.ppf(0.5 + confidence / 2) * np.sqrt((spread**2).sum()) / n) if n else None
    return Estimate(
        statistic="kendall_tau_null_bound",
        subject=pair,
        group=group,
        value=bound,
        n=n,
        undefined=len(tau) - n,
        null=0.0,
    )


def _chance_overlap(part: pl.DataFrame) -> float | None:
    return float(np.nanmean(values_of(part, "top_k_null"))) if len(part) else None


def _judge(
    subject: str,
    evidence: Instances,
    found: list[str],
    estimates: list[Estimate],
    notes: list[str],
) -> Finding:
    frame, settings = evidence.frame, evidence.settings
    asked, least_tau = settings.bar(TAU), settings.bar(YARDSTICK_TAU)
    taus = {e.subject: e for e in estimates if e.statistic == "kendall_tau" and e.group == "all"}
    own = {y: taus[f"{subject}~{y}"] for y in YARDSTICKS if f"{subject}~{y}" in found}
    mutual = taus.get("gradient~leave_one_out")
    worst = min(own.values(), key=lambda e: np.inf if e.value is None else e.value)
    bar = asked
    if mutual is not None and mutual.value is not None:
        bar = min(bar, mutual.value)
    in_force = Estimate(
        statistic="agreement_bar",
        subject="gradient~leave_one_out",
        value=bar,
        n=worst.n if mutual is None else mutual.n,
    )
    # paired by instance, so that what makes an instance hard for all does not widen the interval
    shortfalls = []
    for yardstick in own:
        tau = values_of(frame, f"tau.{subject}~{yardstick}")
        reference = np.full(len(tau), bar)
        if mutual is not None and bar < asked:
            reference = values_of(frame, "tau.gradient~leave_one_out")
        shortfalls.append(
            average(
                tau - reference,
                settings,
                statistic="tau_above_bar",
                subject=f"{subject}~{yardstick}",
                null=0.0,
            )
        )
    verdict = _rule(shortfalls, mutual, least_tau, settings.least)
    agreements = ", with ".join(
        f"{'leave-one-out' if y == 'leave_one_out' else y} {spoken(e)}" for y, e in own.items()
    )
    who = "The weights" if subject == "weights" else "Random weights, for calibration,"
    sentence = f"{who} agree with {agreements} (Kendall tau, mean over instances)"
    if mutual is not None:
        sentence += f"; gradient and leave-one-out agree with each other {spoken(mutual)}"
    whose = ", the yardsticks' own" if bar < asked else ""
    sentence += f". The bar is {round(bar, 2) + 0.0:.2f}{whose}. "
    sentence += {
        Verdict.PASS: "They order the units as well as the yardsticks allow.",
        Verdict.FAIL: "They order the units otherwise than what moves the output.",
        Verdict.NOT_APPLICABLE: "No instance allows a rank correlation.",
        Verdict.INCONCLUSIVE: "The yardsticks themselves do not agree, so they cannot judge."
        if _unreliable(mutual, least_tau)
        else "That is too close to the bar, or too few instances, to decide.",
    }[verdict]
    return Finding(
        check="agreement",
        subject=subject,
        verdict=verdict,
        sentence=sentence,
        headline=worst,
        estimates=(
            *(
                e
                for e in estimates
                if e.subject.startswith(subject)
                or (subject == "weights" and not e.subject.startswith("random"))
            ),
            *shortfalls,
            in_force,
        ),
        thresholds=settings.used(TAU, YARDSTICK_TAU, LEAST_INSTANCES),
        notes=tuple(notes),
    )


def _unreliable(mutual: Estimate | None, bar: float) -> bool:
    return mutual is not None and (mutual.low is None or mutual.low < bar)


def _rule(
    shortfalls: list[Estimate], mutual: Estimate | None, yardstick_bar: float, least: int
) -> Verdict:
    if all(e.value is None for e in shortfalls):
        return Verdict.NOT_APPLICABLE
    if any(e.n < least or e.low is None or e.high is None for e in shortfalls):
        return Verdict.INCONCLUSIVE
    if _unreliable(mutual, yardstick_bar):
        return Verdict.INCONCLUSIVE
    if all(e.low is not None and e.low >= 0 for e in shortfalls):
        return Verdict.PASS
    if any(e.high is not None and e.high < 0 for e in shortfalls):
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def bar_in_force(finding: Finding) -> float:
    """The bar that the check has set itself on these data."""
    found = (e.value for e in finding.estimates if e.statistic == "agreement_bar")
    value = next(found, None)
    return finding.thresholds[TAU.name] if value is None else value


def requires(finding: Finding) -> str:
    """What it takes to pass: the bar as it was set, in two digits where it was measured."""
    if not finding.thresholds:
        return ""
    bar = bar_in_force(finding)
    return f"at least {threshold(bar) if round(bar, 3) == bar else number(bar)}"


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Figure]:
    """How alike weights and yardsticks order the units, instance by instance."""
    frame, finding = evidence.frame, findings[0]
    colours = (ACCENT, ACCENT, THIRD, MUTED, MUTED)
    rows = []
    for (one, other), colour in zip(PAIRS, colours, strict=True):
        pair = f"{one}~{other}"
        if f"tau.{pair}" in frame.columns:
            known = (estimate_of(f, "kendall_tau", pair) for f in findings)
            mean = next((e for e in known if e is not None), None)
            counts = histogram(values_of(frame, f"tau.{pair}"), (-1, 1), BINS_DRAWN)
            label = " · ".join(SHORT.get(name, called(name)) for name in (one, other))
            rows.append(Distribution(label, counts, mean, colour))
    if finding.headline is None or not rows:
        return []
    own = [estimate_of(finding, "kendall_tau", f"weights~{y}") for y in YARDSTICKS]
    said = [f"{called(e.subject.split('~')[1])} {value_of(e)}" for e in own if e is not None]
    asked, bar = finding.thresholds[TAU.name], bar_in_force(finding)
    lowered = (
        f" The bar is the tau of gradient and leave-one-out with each other, {number(bar)}, which "
        f"is less than the {threshold(asked)} that is asked at most."
        if bar < asked
        else ""
    )
    return [
        Figure(
            "agreement",
            f"How alike the units are ordered: weights and {', weights and '.join(said)}",
            "One histogram per pair: instances by their Kendall tau-b (1 the same order, 0 "
            "unrelated, −1 the opposite order). The dot is the mean, the line its interval. Random "
            "scores show what unrelated orders look like at these lengths. Heights are scaled "
            f"within each row.{lowered}",
            Distributions(
                rows=tuple(rows),
                domain=(-1, 1),
                bins=BINS_DRAWN,
                axis="Kendall tau-b (−1 to 1)",
                guides=(Guide(0, "unrelated 0"), Guide(bar, f"bar {number(bar)}", dashed=False)),
            ),
            told(rows),
        )
    ]


AGREEMENT = Check(
    name="agreement",
    title="Agreement with gradient and leave-one-out",
    paper="Jain & Wallace 2019, section 4.1; Wiegreffe & Pinter 2019",
    question="Do the weights rank the units as gradient and leave-one-out rank them?",
    statistic="mean over instances of Kendall tau-b, the lower of the two means",
    null="0, give or take the bound that unrelated orders of the same lengths stay below",
    higher_is_better=True,
    range=(-1.0, 1.0),
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure, ("gradient", "leave_one_out", "random")),
    conclude=conclude,
    decisive=False,
    caveat="Neither yardstick is the truth: where known evidence can judge, this check only "
    "cautions. Where the yardsticks disagree with each other they cannot judge; the order of "
    "units that do not matter is noise to all of them; and 'share significant' mostly measures "
    "length.",
    bars=(TAU, YARDSTICK_TAU, LEAST_INSTANCES),
    requires=requires,
    picture=picture,
    words={
        "kendall_tau": Statistic(
            "mean Kendall tau-b", "−1 opposite order, 0 unrelated, 1 same order"
        ),
        "kendall_tau_null_bound": Statistic(
            "bound of unrelated orders", "the mean tau that unrelated orders stay below"
        ),
        "significant_share": Statistic(
            "share significant", "instances with p ≤ 0.05; grows with length", percent=True
        ),
        "top_k_overlap": Statistic("mean top-k overlap", "share of highest units in common", True),
        "agreement_bar": Statistic(
            "bar in force", "the tau asked of weights: the yardsticks' own where that is lower"
        ),
        "tau_above_bar": Statistic(
            "mean tau above its bar", "paired by instance; below 0 falls short"
        ),
    },
)
