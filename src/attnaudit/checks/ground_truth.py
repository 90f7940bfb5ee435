"""Ground truth: do the weights find the units that are known to be evidence?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from attnaudit.attribution import METHODS
from attnaudit.checks.declaration import ATTENTION, Check, estimate_of
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.view import Columns, View, column
from attnaudit.findings.estimates import (
    above,
    average,
    by_predicted,
    spoken,
    values_of,
    worth_recommending,
)
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    THIRD,
    Figure,
    Guide,
    IntervalRow,
    Intervals,
    Series,
    told,
)
from attnaudit.findings.settings import LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import Statistic, threshold, value_of
from attnaudit.findings.wording import subject as called
from attnaudit.measures.attained import attained_share
from attnaudit.measures.detection import (
    auroc,
    average_precision,
    coverage,
    mass_on_truth,
    token_f1,
    top_one_hit,
)
from attnaudit.measures.instances import key_type_mass, least_type_share, lift, pooled_auroc

AUROC = Bar(
    "truth_auroc",
    0.8,
    "Instance AUROC against known evidence below which attention is called a silent failure (our "
    "reading of Haab et al. 2022).",
)
MASS = Bar(
    "truth_attained",
    0.3,
    "Share of the weight that could lie on known evidence that does, from a random order (0) to "
    "the best order of the same weights (1): with less, a high rank of evidence is a second "
    "place. Ours.",
)
CLASS = Bar(
    "truth_class",
    0.1,
    "The same for each predicted class: below it, its evidence is found about as well as by a "
    "random order, whatever the other classes do. Ours.",
)
MARGIN = Bar(
    "truth_margin",
    0.05,
    "How much AUROC for known evidence another attribution must have over the weights to be "
    "recommended, mean over instances. As the erasure margin. Ours.",
)
WORSE = {
    Verdict.PASS: (Verdict.FAIL, Verdict.INCONCLUSIVE),
    Verdict.INCONCLUSIVE: (Verdict.FAIL,),
}
"""What counts where order and place of the weights say different things."""
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
    attained = attained_share(view.encoded.weights, flags.double(), view.units)
    columns["attained_truth.weights"] = column(attained.masked_fill(unknown, float("nan")))
    share = (flags & view.units).sum(1) / view.units.sum(1).clamp(min=1)
    # of the instances that the other statistics are defined on, so that the two compare
    some = unknown | auroc(view.ranked("weights"), flags, view.units).isnan()
    columns["evidence_share"] = column(share.double().masked_fill(some, float("nan")))
    return columns


def conclude(evidence: Instances) -> list[Finding]:
    """The weights' AUROC against the bar, with random and oracle rows by the same rule."""
    frame, settings = evidence.frame, evidence.settings
    if "auroc.weights" not in frame.columns:
        return []
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
    attained = [
        average(
            values_of(part, "attained_truth.weights"),
            settings,
            statistic="attained_truth",
            subject="weights",
            group=group,
            null=0.0,
        )
        for group, part in by_predicted(frame, evidence.classes)
    ]
    mass, kinds = own[0], _kinds(frame, settings)
    by_method = {e.subject: e for e in estimates if e.statistic == "auroc"}
    leads = _leads(by_method, frame, settings)
    best = _best(leads, settings)
    findings = []
    for subject in ("weights", "random", "oracle"):
        headline = by_method[subject]
        verdict = above(headline, settings.bar(AUROC), settings.least)
        if subject == "weights":
            # a high rank is no use where nearly all of the weight stands elsewhere
            for place in attained:
                bar = MASS if place.group == "all" else CLASS
                said = above(place, settings.bar(bar), settings.least)
                over_all = place.group == "all" or said is Verdict.FAIL
                if over_all and said in WORSE.get(verdict, ()):
                    verdict, headline = said, place
        findings.append(
            Finding(
                check="ground_truth",
                subject=subject,
                verdict=verdict,
                sentence=_sentence(subject, verdict, by_method[subject], mass, share)
                + (_on_kinds(kinds) if subject == "weights" else ""),
                headline=headline,
                estimates=(*estimates, *own, *attained, share, _pooled(frame), *kinds, *leads)
                if subject == "weights"
                else (headline,),
                thresholds=settings.used(AUROC, MASS, CLASS, MARGIN, LEAST_INSTANCES),
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
    by_method: dict[str, Estimate], frame: pl.DataFrame, settings: Settings
) -> tuple[Estimate, ...]:
    """The lead over the weights of the method that finds the most evidence, if there is one."""
    rivals = {m: e for m, e in by_method.items() if m not in ("weights", "random", "oracle")}
    if not rivals:
        return ()
    best = max(rivals, key=lambda m: -1.0 if rivals[m].value is None else rivals[m].value or 0.0)
    some = _tried(frame, best)
    over = values_of(some, f"auroc.{best}") - values_of(some, "auroc.weights")
    return (average(over, settings, statistic="auroc_lead", subject=f"{best}-weights", null=0.0),)


def _best(leads: Sequence[Estimate], settings: Settings) -> str | None:
    """The method that finds more evidence than the weights by the margin, if there is one."""
    margin, least = settings.bar(MARGIN), settings.least
    worth = [e for e in leads if worth_recommending(e, margin, least)]
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


def requires(finding: Finding) -> str:
    """What it takes to pass: of what the verdict rests on."""
    headline, bars = finding.headline, finding.thresholds
    name = AUROC.name
    if headline is not None and headline.statistic == "attained_truth":
        name = MASS.name if headline.group == "all" else CLASS.name
    bar = bars.get(name)
    return "" if bar is None else f"at least {threshold(bar)}"


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Figure]:
    """How well every attribution finds the known evidence."""
    finding = findings[0]
    known = {m: estimate_of(finding, "auroc", m) for m in (*METHODS, "oracle")}
    found = {m: e for m, e in known.items() if e is not None}
    if finding.headline is None:
        return []
    colours = {"weights": ACCENT, "random": MUTED, "oracle": MUTED}
    methods = sorted(found, key=lambda m: 1.0 if found[m].value is None else -(found[m].value or 0))
    rows = [IntervalRow(called(m), (found[m],), (colours.get(m, THIRD),)) for m in methods]
    bar = finding.thresholds[AUROC.name]
    return [
        Figure(
            "ground_truth",
            "How well each attribution finds the known evidence: the weights "
            f"{value_of(found.get('weights') or finding.headline)}",
            "Mean AUROC of an instance's units, with its interval: the chance that a unit of "
            "evidence scores above another unit. Random scores and the evidence itself are there "
            "for calibration.",
            Intervals(
                rows=tuple(rows),
                series=(Series("AUROC", ACCENT),),
                domain=(0, 1),
                axis="AUROC (0 to 1)",
                guides=(
                    Guide(0.5, "chance 0.5"),
                    Guide(bar, f"bar {threshold(bar)}", dashed=False),
                ),
            ),
            told(rows),
        )
    ]


GROUND_TRUTH = Check(
    name="ground_truth",
    title="Known evidence",
    paper="Haab et al. 2022; DeYoung et al. 2020",
    question="Do the weights find the units that are known to be evidence?",
    statistic="mean over instances of the AUROC of the weights for the evidence",
    null="0.5",
    higher_is_better=True,
    needs=frozenset({"truth"}),
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure, None),
    conclude=conclude,
    decisive=True,
    caveat="Human or generated evidence says what should matter. A model may rightly use something "
    "else; then this check fails although the weights are faithful.",
    bars=(AUROC, MASS, CLASS, MARGIN, LEAST_INSTANCES),
    bar=AUROC,
    requires=requires,
    recommends=2,
    lead="its AUROC for the known evidence is {lead} above that of the weights, mean over "
    "instances",
    picture=picture,
    words={
        "auroc": Statistic("mean AUROC", "of each instance, for the evidence; 0.5 is chance"),
        "auroc_lead": Statistic(
            "mean lead in AUROC", "best other attribution less the weights, paired"
        ),
        "attained_truth": Statistic(
            "mean attained share of evidence", "of the weight that could lie there; 0 is random"
        ),
        "average_precision": Statistic("mean average precision", "chance is the share of evidence"),
        "token_f1": Statistic("mean unit F1", "at as many units as are evidence"),
        "evidence_share": Statistic("mean share of evidence", "among the units", percent=True),
        "mass_on_evidence": Statistic(
            "mean weight on evidence", "share of the weight", percent=True
        ),
        "top_one": Statistic(
            "evidence first", "the highest weight stands on evidence", percent=True
        ),
        "lift": Statistic(
            "mean lift", "weight on evidence over its share of the units; 1 is chance"
        ),
        "coverage": Statistic(
            "mean coverage", "evidence with more than an even share of the weight", percent=True
        ),
        "pooled_auroc": Statistic("pooled AUROC", "all units as one sample; n counts instances"),
        "key_type_mass": Statistic(
            "mean weight on a kind", "share of it, by kind of evidence", True
        ),
        "least_type_share": Statistic(
            "mean least kind",
            "smallest share of the weight on evidence that one kind has",
            percent=True,
        ),
    },
)
