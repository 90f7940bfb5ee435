"""Ground truth: do the weights find the units that are known to be evidence?"""

from __future__ import annotations

import polars as pl

from attnaudit.attribution import METHODS
from attnaudit.checks.declaration import Check, Columns, Facts
from attnaudit.checks.estimates import above, average, spoken, values_of
from attnaudit.checks.findings import Estimate, Finding, Verdict
from attnaudit.checks.view import View, column
from attnaudit.measures.detection import auroc, average_precision, mass_on_truth, token_f1

STATISTICS = {"auroc": auroc, "average_precision": average_precision, "token_f1": token_f1}


def measure(view: View) -> Columns:
    """Detection of the evidence by every attribution, and the weights' mass on it."""
    if all(record.truth is None for record in view.records):
        return {}
    truth = view.truth
    unknown = truth.isnan().any(1)
    flags = truth.nan_to_num() > 0
    columns = {}
    for name in (*view.applicable(), "oracle"):
        scores = view.scores(name)
        missing = unknown | scores.isnan().any(1)
        for statistic, function in STATISTICS.items():
            value = function(scores.nan_to_num(), flags, view.units).double()
            columns[f"{statistic}.{name}"] = column(value.masked_fill(missing, float("nan")))
    mass = mass_on_truth(view.encoded.weights, flags, view.units).double()
    share = (flags & view.units).sum(1) / view.units.sum(1).clamp(min=1)
    columns["mass.weights"] = column(mass.masked_fill(unknown, float("nan")))
    columns["evidence_share"] = column(share.double().masked_fill(unknown, float("nan")))
    return columns


def conclude(frame: pl.DataFrame, facts: Facts) -> list[Finding]:
    """The weights' AUROC against the bar, with random and oracle rows by the same rule."""
    if "auroc.weights" not in frame.columns:
        return []
    settings, bars = facts.settings, facts.settings.thresholds
    methods = [m for m in (*METHODS, "oracle") if f"auroc.{m}" in frame.columns]
    share = average(values_of(frame, "evidence_share"), settings, statistic="evidence_share",
                    subject="truth")  # fmt: skip
    nulls = {"auroc": 0.5, "average_precision": share.value, "token_f1": share.value}
    estimates = [
        average(values_of(_tried(frame, method), f"{statistic}.{method}"), settings,
                statistic=statistic, subject=method, null=nulls[statistic])
        for statistic in STATISTICS
        for method in methods
    ]  # fmt: skip
    mass = average(values_of(frame, "mass.weights"), settings, statistic="mass_on_evidence",
                   subject="weights", null=share.value)  # fmt: skip
    by_method = {e.subject: e for e in estimates if e.statistic == "auroc"}
    best = _best(by_method, frame, facts)
    findings = []
    for subject in ("weights", "random", "oracle"):
        headline = by_method[subject]
        verdict = above(headline, bars.truth_auroc, bars.least_instances)
        findings.append(
            Finding(
                check="ground_truth", subject=subject, verdict=verdict,
                sentence=_sentence(subject, verdict, headline, mass, share),
                headline=headline,
                estimates=(*estimates, mass, share) if subject == "weights" else (headline,),
                thresholds={"truth_auroc": bars.truth_auroc,
                            "least_instances": float(bars.least_instances)},
                recommended=best if subject == "weights" else None,
            )
        )  # fmt: skip
    return findings


def _tried(frame: pl.DataFrame, method: str) -> pl.DataFrame:
    """The instances on which the method was computed."""
    costly = method in METHODS and METHODS[method].costly
    return frame.filter(pl.col("drawn")) if costly else frame


def _best(by_method: dict[str, Estimate], frame: pl.DataFrame, facts: Facts) -> str | None:
    """The method that finds clearly more evidence than the weights, if there is one."""
    rivals = {m: e for m, e in by_method.items() if m not in ("weights", "random", "oracle")}
    if not rivals:
        return None
    best = max(rivals, key=lambda m: -1.0 if rivals[m].value is None else rivals[m].value or 0.0)
    lead = average(
        values_of(_tried(frame, best), f"auroc.{best}")
        - values_of(_tried(frame, best), "auroc.weights"),
        facts.settings,
        statistic="auroc_lead", subject=f"{best}-weights", null=0.0,
    )  # fmt: skip
    return best if lead.low is not None and lead.low > 0 else None


def _sentence(
    subject: str, verdict: Verdict, headline: Estimate, mass: Estimate, share: Estimate
) -> str:
    if verdict is Verdict.NOT_APPLICABLE:
        return "No instance has both evidence and other units."
    if subject != "weights":
        return f"{subject.capitalize()} scores, for calibration: AUROC {spoken(headline)}."
    found = {
        Verdict.PASS: "The weights find the known evidence",
        Verdict.FAIL: "The weights do not find the known evidence",
        Verdict.INCONCLUSIVE: "Whether the weights find the known evidence cannot be decided",
    }[verdict]
    return (
        f"{found}: AUROC {spoken(headline)}, 0.5 by chance. {spoken(mass)} of the weight lies on "
        f"evidence, which is {spoken(share)} of the units."
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
