"""Agreement: do the weights order the units as gradient and leave-one-out do?"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from scipy.stats import norm

from attnaudit.checks.declaration import Check, Columns, Facts
from attnaudit.evidence.batch.view import View, column
from attnaudit.findings.estimates import average, by_predicted, share, spoken, values_of
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.measures.rank import (
    expected_top_k_overlap,
    kendall_null,
    kendall_tau,
    spearman,
    top_k_overlap,
)

SIGNIFICANCE = 0.05
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
    columns: dict[str, np.ndarray] = {}
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


def conclude(frame: pl.DataFrame, facts: Facts) -> list[Finding]:
    """One finding for the weights and one for random weights, by the same rule."""
    found = [p for p in (f"{a}~{b}" for a, b in PAIRS) if f"tau.{p}" in frame.columns]
    estimates = [
        estimate
        for group, part in by_predicted(frame, facts.classes)
        for pair in found
        for estimate in _of_pair(part, pair, group, facts)
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
    return [
        _judge(subject, frame, found, estimates, notes, facts) for subject in ("weights", "random")
    ]


def _of_pair(part: pl.DataFrame, pair: str, group: str, facts: Facts) -> list[Estimate]:
    settings = facts.settings
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
    frame: pl.DataFrame,
    found: list[str],
    estimates: list[Estimate],
    notes: list[str],
    facts: Facts,
) -> Finding:
    settings, bars = facts.settings, facts.settings.thresholds
    taus = {e.subject: e for e in estimates if e.statistic == "kendall_tau" and e.group == "all"}
    own = {y: taus[f"{subject}~{y}"] for y in YARDSTICKS if f"{subject}~{y}" in found}
    mutual = taus.get("gradient~leave_one_out")
    worst = min(own.values(), key=lambda e: np.inf if e.value is None else e.value)
    thresholds = {
        "agreement_tau": bars.agreement_tau,
        "yardstick_tau": bars.yardstick_tau,
        "least_instances": float(bars.least_instances),
    }
    bar = bars.agreement_tau
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
        if mutual is not None and bar < bars.agreement_tau:
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
    verdict = _rule(shortfalls, mutual, bars.yardstick_tau, bars.least_instances)
    agreements = ", with ".join(
        f"{'leave-one-out' if y == 'leave_one_out' else y} {spoken(e)}" for y, e in own.items()
    )
    who = "The weights" if subject == "weights" else "Random weights, for calibration,"
    sentence = f"{who} agree with {agreements} (Kendall tau, mean over instances)"
    if mutual is not None:
        sentence += f"; gradient and leave-one-out agree with each other {spoken(mutual)}"
    whose = ", the yardsticks' own" if bar < bars.agreement_tau else ""
    sentence += f". The bar is {round(bar, 2) + 0.0:.2f}{whose}. "
    sentence += {
        Verdict.PASS: "They order the units as well as the yardsticks allow.",
        Verdict.FAIL: "They order the units otherwise than what moves the output.",
        Verdict.NOT_APPLICABLE: "No instance allows a rank correlation.",
        Verdict.INCONCLUSIVE: "The yardsticks themselves do not agree, so they cannot judge."
        if _unreliable(mutual, bars.yardstick_tau)
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
        thresholds=thresholds,
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


AGREEMENT = Check(
    name="agreement",
    title="Agreement with gradient and leave-one-out",
    paper="Jain & Wallace 2019, section 4.1; Wiegreffe & Pinter 2019",
    question="Do the weights rank the units as gradient and leave-one-out rank them?",
    statistic="mean over instances of Kendall tau-b, the lower of the two means",
    null="0, give or take the bound that unrelated orders of the same lengths stay below",
    higher_is_better=True,
    range=(-1.0, 1.0),
    needs=frozenset(),
    decisive=True,
    caveat="Neither yardstick is the truth: where known evidence can judge, this check only "
    "cautions. Where the yardsticks disagree with each other they cannot judge; the order of "
    "units that do not matter is noise to all of them; and 'share significant' mostly measures "
    "length.",
    measure=measure,
    conclude=conclude,
    stands_in_for="ground_truth",
    attributions=("gradient", "leave_one_out", "random"),
)
