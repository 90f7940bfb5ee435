"""Erasure: does the prediction fall with the units that score highest?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from attnaudit.attribution import METHODS
from attnaudit.checks.declaration import ATTENTION, Check, estimate_of
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.erasing import (
    NULL,
    OPERATORS,
    ZERO_WEIGHT,
    by_size,
    measure_erasure,
)
from attnaudit.findings.estimates import (
    above,
    average,
    share,
    spoken,
    values_of,
    worth_recommending,
)
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    PALETTE,
    SHAPES,
    Figure,
    Guide,
    IntervalRow,
    Intervals,
    Series,
    told,
)
from attnaudit.findings.settings import LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import Statistic, threshold
from attnaudit.findings.wording import subject as called

MARGIN = Bar(
    "erasure_margin",
    0.05,
    "How much mean comprehensiveness (probability) weights may lose against the best other "
    "attribution, and another must gain on them to be recommended. The ε of the adversary. Ours.",
)
NOTHING = 1e-9
"""A gain of exactly 0, as of erasing everything, is none."""
COMPLETENESS = "completeness_error.integrated_gradients"
CALIBRATION = ("random", "oracle", NULL)


def title_of(name: str) -> str:
    """The title of a method, or of its magnitudes."""
    bare = name.strip("|")
    title = METHODS[bare].title
    return title if bare == name else f"the size of {title}"


def conclude(evidence: Instances) -> list[Finding]:
    """Weights against the best other attribution and against random erasure."""
    frame, settings = evidence.frame, evidence.settings
    operators = [o for o in settings.operators if f"comprehensiveness.{o}.weights" in frame.columns]
    if not operators:
        return []
    frame = frame.filter(pl.col("drawn"))
    sizes = [by_size(m) for m in METHODS if METHODS[m].signed]
    methods = [m for m in (*METHODS, *sizes, "oracle") if f"flip_fraction.{m}" in frame.columns]
    estimates = _table(frame, operators, methods, settings)
    signless = [m for m in methods if m not in METHODS or not METHODS[m].signed]
    rivals = [m for m in signless if m not in (*CALIBRATION, "weights")]
    shown = [m for m in methods if m in METHODS and m not in (*CALIBRATION, "weights")]
    findings = []
    for subject in ("weights", "random"):
        found = {o: _compare(frame, o, subject, rivals, settings) for o in operators}
        verdicts = {o: _rule(gain, lead, settings) for o, (gain, lead, _) in found.items()}
        verdict, (gain, lead, best) = verdicts[operators[0]], found[operators[0]]
        _, over, better = _compare(frame, operators[0], subject, shown, settings)
        margin, least = settings.bar(MARGIN), settings.least
        worth = worth_recommending(over, margin, least)
        ahead = worth_recommending(lead, margin, least)
        notes = [
            f"Erasure by {o} ({OPERATORS[o]}) says: {verdicts[o].value}."
            for o in operators[1:]
            if verdicts[o] != verdict
        ]
        notes += _drift_notes(estimates) + _completeness_notes(frame, settings)
        if len(operators) < len(settings.operators):
            left = ", ".join(o for o in settings.operators if o not in operators)
            notes.append(f"This model does not allow erasing by: {left}.")
        if worth and METHODS[better].signed:
            notes.append(
                f"Weights cannot say for or against; {METHODS[better].title}, which can, lowers "
                f"the probability {spoken(over, 3)} further."
            )
        own = subject == "weights"
        findings.append(
            Finding(
                check="erasure",
                subject=subject,
                verdict=verdict,
                sentence=_sentence(subject, verdict, gain, lead, best, ahead),
                headline=next(
                    e
                    for e in estimates
                    if e.statistic == "comprehensiveness"
                    and e.subject == subject
                    and e.group == operators[0]
                ),
                estimates=(*estimates, gain, lead, over) if own else (gain, lead),
                thresholds=settings.used(MARGIN, LEAST_INSTANCES),
                notes=tuple(notes) if own else (),
            )
        )
    return findings


def _table(
    frame: pl.DataFrame, operators: Sequence[str], methods: list[str], settings: Settings
) -> list[Estimate]:
    estimates = []
    for operator in operators:
        for kind in ("comprehensiveness", "sufficiency"):
            null = average(
                values_of(frame, f"{kind}.{operator}.{NULL}"),
                settings,
                statistic=kind,
                subject=NULL,
                group=operator,
            )
            estimates += [
                average(
                    values_of(frame, f"{kind}.{operator}.{method}"),
                    settings,
                    statistic=kind,
                    subject=method,
                    group=operator,
                    null=null.value,
                )
                for method in methods
            ]
        if f"drift.{operator}" in frame.columns:
            estimates.append(
                average(
                    values_of(frame, f"drift.{operator}"),
                    settings,
                    statistic="drifted_share",
                    subject="weights",
                    group=operator,
                    null=0.05,
                )
            )
    for statistic in ("flip_fraction", "flip_mass", "never_flipped"):
        null_value = average(
            values_of(frame, f"{statistic}.{NULL}"), settings, statistic=statistic, subject=NULL
        ).value
        estimates += [
            average(
                values_of(frame, f"{statistic}.{method}"),
                settings,
                statistic=statistic,
                subject=method,
                group=ZERO_WEIGHT,
                null=null_value,
            )
            for method in methods
        ]
    if COMPLETENESS in frame.columns:
        estimates.append(
            average(
                values_of(frame, COMPLETENESS),
                settings,
                statistic="completeness_error",
                subject="integrated_gradients",
                null=0.0,
            )
        )
    estimates.append(
        average(
            values_of(frame, "delta_js"),
            settings,
            statistic="delta_js",
            subject="largest weight - other weight",
            group=ZERO_WEIGHT,
            null=0.0,
        )
    )
    top, other = values_of(frame, "flip_top"), values_of(frame, "flip_other")
    for label, flags in {
        "both": top * other,
        "only the largest": top * (1 - other),
        "only the other": (1 - top) * other,
        "neither": (1 - top) * (1 - other),
    }.items():
        estimates.append(
            share(flags, settings, statistic="flip_by", subject=label, group=ZERO_WEIGHT)
        )
    return estimates


def _compare(
    frame: pl.DataFrame, operator: str, subject: str, rivals: list[str], settings: Settings
) -> tuple[Estimate, Estimate, str]:
    """Paired: subject over random, and best rival over subject."""
    kind = f"comprehensiveness.{operator}"
    own = values_of(frame, f"{kind}.{subject}")
    values = {rival: values_of(frame, f"{kind}.{rival}") for rival in rivals}
    best = max(rivals, key=lambda name: float(np.nan_to_num(values[name]).mean()))
    gain = average(
        own - values_of(frame, f"{kind}.{NULL}"),
        settings,
        statistic="comprehensiveness_over_random",
        subject=subject,
        group=operator,
        null=0.0,
    )
    lead = average(
        values_of(frame, f"{kind}.{best}") - own,
        settings,
        statistic="comprehensiveness_lead",
        subject=f"{best}-{subject}",
        group=operator,
        null=0.0,
    )
    return gain, lead, best


def _clearly_better(lead: Estimate) -> bool:
    return lead.low is not None and lead.low > 0


def _rule(gain: Estimate, lead: Estimate, settings: Settings) -> Verdict:
    margin, least = settings.bar(MARGIN), settings.least
    over_random = above(gain, NOTHING, least)
    if over_random in (Verdict.NOT_APPLICABLE, Verdict.FAIL):
        return over_random
    if gain.n < least or lead.low is None or lead.high is None:
        return Verdict.INCONCLUSIVE
    if lead.low >= margin:
        return Verdict.FAIL
    if over_random is Verdict.PASS and lead.high < margin:
        return Verdict.PASS
    # not better than random while something else is: the weights have failed, not the test
    lost = over_random is Verdict.INCONCLUSIVE and _clearly_better(lead)
    return Verdict.FAIL if lost else Verdict.INCONCLUSIVE


def _sentence(
    subject: str, verdict: Verdict, gain: Estimate, lead: Estimate, best: str, ahead: bool
) -> str:
    title = title_of(best)
    who, own = "the highest weights", "the weights"
    if subject != "weights":
        who, own = "by random scores, for calibration,", "random scores"
    base = (
        f"Erasing {who} lowers the predicted probability by {spoken(gain, 3)} more than erasing "
        f"random units; erasing by {title} lowers it {spoken(lead, 3)} further (means over "
        "instances)."
    )
    better = title[0].upper() + title[1:]
    judged = {
        Verdict.PASS: f"{own[0].upper() + own[1:]} find what the prediction rests on about as well "
        "as any method.",
        Verdict.FAIL: f"{better} finds what the prediction rests on; {own} do not, or clearly "
        "less well."
        if ahead
        else f"{own[0].upper() + own[1:]} do not find what the prediction rests on.",
        Verdict.INCONCLUSIVE: "That is too close, or too few instances, to decide.",
    }
    if verdict is Verdict.NOT_APPLICABLE:
        return "No instance has two units with different weights, so there is nothing to rank."
    return f"{base} {judged[verdict]}"


def _completeness_notes(frame: pl.DataFrame, settings: Settings) -> list[str]:
    """How many integrated gradients do not add up to their tolerance."""
    if COMPLETENESS not in frame.columns:
        return []
    tolerance = settings.ig_tolerance
    missed = values_of(frame, COMPLETENESS) > tolerance
    if not missed.any():
        return []
    return [
        f"Integrated gradients of {missed.sum()} of {len(missed)} instances miss their sum by more "
        f"than {tolerance:g} after {settings.ig_max_nodes} nodes; read their rows with care."
    ]


def _drift_notes(estimates: list[Estimate]) -> list[str]:
    drifts = [e for e in estimates if e.statistic == "drifted_share" and e.value is not None]
    if not drifts:
        return ["Too few instances to gauge how far erased inputs drift from the data."]
    shares = ", ".join(f"{e.group} {e.value:.0%}" for e in drifts)
    return [
        f"Share of erased inputs outside the data (5 % expected of untouched ones): {shares}. "
        "The larger, the less the fall in probability says about the units."
    ]


def requires(finding: Finding) -> str:
    """What it takes to pass."""
    margin = finding.thresholds.get(MARGIN.name)
    best = "" if margin is None else f", and less than {threshold(margin)} below the best"
    return f"above chance{best}"


SEEN = {
    "comprehensiveness": (
        "What the prediction loses without the highest units",
        "Further right is better: the erased units mattered.",
    ),
    "sufficiency": (
        "What the prediction loses with nothing but the highest units",
        "Further left is better: the units kept were enough.",
    ),
}


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Figure]:
    """Comprehensiveness and sufficiency of every attribution, by erasure operator."""
    finding, found = findings[0], []
    present = {e.group for e in finding.estimates if e.statistic == "comprehensiveness"}
    operators = [o for o in (*OPERATORS, *sorted(present - set(OPERATORS))) if o in present]
    series = tuple(
        Series(o.replace("_", " "), PALETTE[i % 4], SHAPES[i % 4]) for i, o in enumerate(operators)
    )
    for kind, (title, better) in SEEN.items():
        rows = [
            IntervalRow(
                called(method), tuple(estimate_of(finding, kind, method, o) for o in operators)
            )
            for method in _ranked(finding, kind, operators)
        ]
        if finding.headline is None or not rows:
            continue
        found.append(
            Figure(
                kind,
                title,
                f"Mean {kind} over fixed fractions of the units, with its interval, one colour per "
                f"erasure operator. {better} A grey tick is what random units give. The size of a "
                "signed score is what weights, which have no sign, are compared with.",
                Intervals(
                    rows=tuple(rows),
                    series=series,
                    domain=_domain(rows),
                    nulls=True,
                    axis=f"{kind} (fall in probability)",
                    guides=(Guide(0, "no fall 0"),),
                ),
                told(rows),
                series,
            )
        )
    return found


def _ranked(finding: Finding, kind: str, operators: Sequence[str]) -> list[str]:
    """Every attribution that was erased by: weights, the others best first, calibration last."""
    value = {
        e.subject: -1.0 if e.value is None else e.value
        for e in finding.estimates
        if operators and e.statistic == kind and e.group == operators[0]
    }
    best = -1 if kind == "comprehensiveness" else 1
    place = {"weights": 0, "random": 2, "oracle": 3}
    return sorted(value, key=lambda name: (place.get(name, 1), best * value[name]))


def _domain(rows: Sequence[IntervalRow]) -> tuple[float, float]:
    """Zero, every interval and every null, with a little room."""
    known = [e for row in rows for e in row.estimates if e is not None]
    ends = [0.0, *(v for e in known for v in (e.value, e.low, e.high, e.null) if v is not None)]
    room = 0.04 * (max(ends) - min(ends) or 1.0)
    return round(min(ends) - room, 3), round(max(ends) + room, 3)


ERASURE = Check(
    name="erasure",
    title="Erasure",
    paper="DeYoung et al. 2020; Serrano & Smith 2019",
    question="Does the predicted probability fall when the highest-scoring units are erased?",
    statistic="comprehensiveness: fall in probability, mean over fixed fractions erased and over "
    "instances",
    null="what erasing random units does",
    higher_is_better=True,
    range=(-1.0, 1.0),
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure_erasure, None, drift=True),
    conclude=conclude,
    decisive=False,
    caveat="Erased inputs are unlike the data (see the drift), and leave-one-out, which deletes "
    "too, plays at home against the operator 'delete'. Compare the operators.",
    bars=(MARGIN, LEAST_INSTANCES),
    requires=requires,
    lead="erasing by it lowers the predicted probability by {lead} more than erasing by the "
    "weights, mean over instances",
    picture=picture,
    words={
        "comprehensiveness": Statistic(
            "mean comprehensiveness",
            "fall in probability when the highest units go; higher is better",
        ),
        "sufficiency": Statistic(
            "mean sufficiency", "fall in probability when only they stay; lower is better"
        ),
        "completeness_error": Statistic(
            "mean completeness error",
            "how far the scores are from their sum, in probability; 0 is exact",
        ),
        "drifted_share": Statistic(
            "share drifted", "erased inputs that lie outside the data", True
        ),
        "flip_fraction": Statistic("mean units to a flip", "share of units; lower is better", True),
        "flip_mass": Statistic("mean weight to a flip", "share of the weight that must go", True),
        "never_flipped": Statistic("never flipped", "share of instances", percent=True),
        "delta_js": Statistic(
            "mean difference in divergence", "largest weight zeroed, less another one"
        ),
        "flip_by": Statistic("decision flipped by zeroing", "share of instances", percent=True),
        "comprehensiveness_over_random": Statistic(
            "mean comprehensiveness over random", "paired by instance, in probability"
        ),
        "comprehensiveness_lead": Statistic(
            "mean lead in comprehensiveness", "best other attribution less this one, paired"
        ),
    },
)
