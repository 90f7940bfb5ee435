"""Ground truth: do the weights find the units that are known to be evidence?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from attnaudit.attribution import METHODS
from attnaudit.checks.declaration import Check, Columns, Facts
from attnaudit.evidence.batch.view import View, column
from attnaudit.findings.estimates import above, average, spoken, values_of, worth_recommending
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.measures.detection import (
    auroc,
    average_precision,
    coverage,
    mass_on_truth,
    token_f1,
    top_one_hit,
)
from attnaudit.measures.instances import key_type_mass, least_type_share, lift, pooled_auroc

STATISTICS = {"auroc": auroc, "average_precision": average_precision, "token_f1": token_f1}
OF_WEIGHTS = {
    "mass_on_evidence": mass_on_truth,
    "top_one": top_one_hit,
    "lift": lift,
    "coverage": coverage,
}
"""Statistics that only weights have: their values count, not their order alone."""
COLLAPSED = 0.1
"""Below this share of the evidence mass a kind of evidence counts as passed over."""


def measure(view: View) -> Columns:
    """Detection of the evidence by every attribution, and the weights' mass on it."""
    if all(record.truth is None for record in view.records):
        return {}
    truth = view.truth
    unknown = truth.isnan().any(1)
    flags = truth.nan_to_num() > 0
    columns = {}
    for name in (*view.applicable(), "oracle"):
        scores = view.ranked(name)
        missing = unknown | scores.isnan().any(1)
        for statistic, function in STATISTICS.items():
            value = function(scores.nan_to_num(), flags, view.units).double()
            columns[f"{statistic}.{name}"] = column(value.masked_fill(missing, float("nan")))
    for statistic, of_weights in OF_WEIGHTS.items():
        # the place of the largest is a matter of rank, the others are of the values themselves
        own = view.ranked("weights") if statistic == "top_one" else view.encoded.weights
        value = of_weights(own, flags, view.units).double()
        columns[f"{statistic}.weights"] = column(value.masked_fill(unknown, float("nan")))
    share = (flags & view.units).sum(1) / view.units.sum(1).clamp(min=1)
    # of the instances that the other statistics are defined on, so that the two compare
    some = unknown | auroc(view.ranked("weights"), flags, view.units).isnan()
    columns["evidence_share"] = column(share.double().masked_fill(some, float("nan")))
    return columns


def conclude(frame: pl.DataFrame, facts: Facts) -> list[Finding]:
    """The weights' AUROC against the bar, with random and oracle rows by the same rule."""
    if "auroc.weights" not in frame.columns:
        return []
    settings, bars = facts.settings, facts.settings.thresholds
    methods = [m for m in (*METHODS, "oracle") if f"auroc.{m}" in frame.columns]
    share = average(
        values_of(frame, "evidence_share"), settings, statistic="evidence_share", subject="truth"
    )
    nulls = {"auroc": 0.5, "average_precision": share.value, "token_f1": share.value}
    estimates = [
        average(
            values_of(_tried(frame, method), f"{statistic}.{method}"),
            settings,
            statistic=statistic,
            subject=method,
            null=nulls[statistic],
        )
        for statistic in STATISTICS
        for method in methods
    ]
    nulls |= {"mass_on_evidence": share.value, "top_one": share.value, "lift": 1.0}
    own = [
        average(
            values_of(frame, f"{statistic}.weights"),
            settings,
            statistic=statistic,
            subject="weights",
            null=nulls.get(statistic),
        )
        for statistic in OF_WEIGHTS
    ]
    mass, kinds = own[0], _kinds(frame, settings)
    by_method = {e.subject: e for e in estimates if e.statistic == "auroc"}
    leads = _leads(by_method, frame, facts)
    best = _best(leads, facts)
    findings = []
    for subject in ("weights", "random", "oracle"):
        headline = by_method[subject]
        verdict = above(headline, bars.truth_auroc, bars.least_instances)
        findings.append(
            Finding(
                check="ground_truth",
                subject=subject,
                verdict=verdict,
                sentence=_sentence(subject, verdict, headline, mass, share)
                + (_on_kinds(kinds) if subject == "weights" else ""),
                headline=headline,
                estimates=(*estimates, *own, share, _pooled(frame), *kinds, *leads)
                if subject == "weights"
                else (headline,),
                thresholds={
                    "truth_auroc": bars.truth_auroc,
                    "truth_margin": bars.truth_margin,
                    "least_instances": float(bars.least_instances),
                },
                recommended=best if subject == "weights" else None,
            )
        )
    return findings


def _pooled(frame: pl.DataFrame) -> Estimate:
    """All units of all instances as one sample; without an interval, since units are no sample."""
    known = frame.filter(pl.col("truth").is_not_null() & pl.col("scores.weights").is_not_null())
    weights, truth, units = _padded(known, "scores.weights", "truth")
    value = pooled_auroc(weights.double(), truth > 0, units)
    return Estimate(
        statistic="pooled_auroc",
        subject="weights",
        value=None if math.isnan(value) else value,
        n=len(known),
        undefined=len(frame) - len(known),
        null=0.5,
    )


def _kinds(frame: pl.DataFrame, settings: Settings) -> list[Estimate]:
    """Where evidence is of several kinds: the weight on each, and the smallest share of them."""
    if "key_types" not in frame.columns:
        return []
    known = frame.filter(pl.col("key_types").is_not_null() & pl.col("scores.weights").is_not_null())
    types = known["key_types"].list.max().max()
    if not isinstance(types, int) or types < 2:
        return []
    weights, key_types, units = _padded(known, "scores.weights", "key_types")
    masses = key_type_mass(weights.double(), key_types.long(), units, types)
    estimates = [
        average(
            masses[:, kind - 1].numpy(),
            settings,
            statistic="key_type_mass",
            subject="weights",
            group=f"type {kind}",
        )
        for kind in range(1, types + 1)
    ]
    least = least_type_share(weights.double(), key_types.long(), units, types)
    estimates.append(
        average(least.numpy(), settings, statistic="least_type_share", subject="weights")
    )
    return estimates


def _padded(frame: pl.DataFrame, *columns: str) -> tuple[Tensor, ...]:
    """List columns as padded tensors `(B, L)`, and after them the mask of the units."""
    rows = [
        [torch.tensor(values, dtype=torch.float64) for values in frame[name].to_list()]
        for name in columns
    ]
    if not len(frame):
        empty = torch.zeros(0, 1, dtype=torch.float64)
        return (*(empty for _ in columns), empty > 0)
    lengths = torch.tensor([len(row) for row in rows[0]])
    units = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    return (*(pad_sequence(row, batch_first=True) for row in rows), units)


def _on_kinds(kinds: list[Estimate]) -> str:
    """What is to be said where evidence is of several kinds, and one of them is passed over."""
    least = next((e for e in kinds if e.statistic == "least_type_share"), None)
    if least is None or least.high is None or least.high >= COLLAPSED:
        return ""
    return (
        " Where an instance holds several kinds of evidence, the weights stand on one of them: the "
        f"least kind has on average {spoken(least)} of the weight on evidence."
    )


def _tried(frame: pl.DataFrame, method: str) -> pl.DataFrame:
    """The instances on which the method was computed."""
    costly = method in METHODS and METHODS[method].costly
    return frame.filter(pl.col("drawn")) if costly else frame


def _leads(
    by_method: dict[str, Estimate], frame: pl.DataFrame, facts: Facts
) -> tuple[Estimate, ...]:
    """The lead over the weights of the method that finds the most evidence, if there is one."""
    rivals = {m: e for m, e in by_method.items() if m not in ("weights", "random", "oracle")}
    if not rivals:
        return ()
    best = max(rivals, key=lambda m: -1.0 if rivals[m].value is None else rivals[m].value or 0.0)
    some = _tried(frame, best)
    over = values_of(some, f"auroc.{best}") - values_of(some, "auroc.weights")
    return (
        average(over, facts.settings, statistic="auroc_lead", subject=f"{best}-weights", null=0.0),
    )


def _best(leads: Sequence[Estimate], facts: Facts) -> str | None:
    """The method that finds more evidence than the weights by the margin, if there is one."""
    bars = facts.settings.thresholds
    worth = [e for e in leads if worth_recommending(e, bars.truth_margin, bars.least_instances)]
    return worth[0].subject.removesuffix("-weights") if worth else None


def _sentence(
    subject: str, verdict: Verdict, headline: Estimate, mass: Estimate, share: Estimate
) -> str:
    if verdict is Verdict.NOT_APPLICABLE:
        return "No instance has both evidence and other units."
    if subject != "weights":
        return f"{subject.capitalize()} scores, for calibration: mean AUROC {spoken(headline)}."
    found = {
        Verdict.PASS: "The weights find the known evidence",
        Verdict.FAIL: "The weights do not find the known evidence",
        Verdict.INCONCLUSIVE: "Whether the weights find the known evidence cannot be decided",
    }[verdict]
    return (
        f"{found}: AUROC {spoken(headline)}, mean over instances, 0.5 by chance. On average "
        f"{spoken(mass)} of the weight lies on evidence, which is {spoken(share)} of the units."
    )


GROUND_TRUTH = Check(
    name="ground_truth",
    title="Known evidence",
    paper="Haab et al. 2022; DeYoung et al. 2020",
    question="Do the weights find the units that are known to be evidence?",
    statistic="mean over instances of the AUROC of the weights for the evidence",
    null="0.5",
    higher_is_better=True,
    range=(0.0, 1.0),
    needs=frozenset({"truth"}),
    decisive=True,
    caveat="Human or generated evidence says what should matter. A model may rightly use something "
    "else; then this check fails although the weights are faithful.",
    measure=measure,
    conclude=conclude,
)
