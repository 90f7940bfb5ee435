"""Effect: do the weights stand on the units that the prediction rests on?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from attnaudit.checks.declaration import ATTENTION, Check, estimate_of
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.view import Columns, View, column
from attnaudit.findings.estimates import above, average, by_predicted, spoken, values_of
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
from attnaudit.findings.settings import LEAST_INSTANCES, Bar
from attnaudit.findings.wording import Statistic, threshold, value_of
from attnaudit.measures.attained import attained_share
from attnaudit.measures.seeded import permuted

ATTAINED = Bar(
    "attained_share",
    0.6,
    "Share of the reachable effect that weights must mark, mean over instances. Half way between "
    "the lowest of models that are honest by construction and the highest of those that are not "
    "(docs/verdict.md). Ours.",
)
YARDSTICK = "shapley"
IDLE = 0.1
"""Units with less than this share of the largest effect do next to nothing."""
DOUBTFUL = 0.2
"""Above this share, what weights say for something else, or leave out, is worth a sentence."""
SIDES = {"either_way": 0.0, "against": None, "left_out": None, "idle_peaks": None}
"""Further statistics of the weights, with what they are by chance where that is known."""
BINS_DRAWN = 40
HALVES = ("shorter half", "longer half", "less sure half", "surer half")


def measure(view: View) -> Columns:
    """The attained share of the weights, of the same weights in random order, and of evidence."""
    encoded, units = view.encoded, view.units
    values = view.attribution(YARDSTICK).scores.double()
    helpful = values.clamp(min=0)
    shuffled = permuted(
        encoded.weights, encoded.batch.ids, units, 1, view.settings.seed, "attained"
    )[:, 0]
    columns: dict[str, np.ndarray | list[list[float] | None]] = {}
    for name, weights in {"weights": encoded.weights, "random": shuffled}.items():
        share = attained_share(weights, helpful, units)
        # equal weights mark nothing, up to the rounding that attended to them
        columns[f"attained.{name}"] = column(share.masked_fill(view.constant, torch.nan))
    if any(record.truth is not None for record in view.records):
        truth = view.truth.double()
        columns["attained.oracle"] = column(attained_share(truth, helpful, units))
    columns["either_way"] = column(
        attained_share(encoded.weights, values.abs(), units).masked_fill(view.constant, torch.nan)
    )
    columns |= _sides(encoded.weights.double(), values, units)
    return columns


def _sides(weights: Tensor, values: Tensor, units: Tensor) -> Columns:
    """The weight on units that speak against the target, and the effect that has little weight."""
    count = units.sum(1, keepdim=True).clamp(min=1)
    helpful = torch.where(units, values.clamp(min=0), 0.0)
    harmful = torch.where(units, (-values).clamp(min=0), 0.0)
    marked = weights * (helpful + harmful)
    below = units & (weights < 1 / count)
    missed = (helpful * below).sum(1) / helpful.sum(1)
    # what stands out of an even share, and of that what stands on units that do next to nothing
    peaks = torch.where(units, (weights - 1 / count).clamp(min=0), 0.0)
    size = helpful + harmful
    idle = peaks * (size < IDLE * size.amax(1, keepdim=True))
    return {
        "against": column((weights * harmful).sum(1) / marked.sum(1)),
        "left_out": column(missed),
        "idle_peaks": column(
            (idle.sum(1) / peaks.sum(1)).masked_fill(size.amax(1) <= 0, torch.nan)
        ),
    }


def conclude(evidence: Instances) -> list[Finding]:
    """The mean over instances against the bar, and that of classes and sizes beside it."""
    frame = evidence.frame
    if "attained.weights" not in frame.columns:
        return []
    return [_finding(subject, evidence) for subject in ("weights", "random")]


def _finding(subject: str, evidence: Instances) -> Finding:
    settings, frame = evidence.settings, evidence.frame.filter(pl.col("drawn"))
    bar, least = settings.bar(ATTAINED), settings.least
    groups = [
        average(
            values_of(part, f"attained.{subject}"),
            settings,
            statistic="attained_share",
            subject=subject,
            group=group,
            null=0.0,
        )
        for group, part in _groups(frame, evidence.classes)
    ]
    headline = groups[0]
    verdict = above(headline, bar, least)
    apart = [e for e in groups[1:] if above(e, bar, least) is Verdict.FAIL]
    classes = [e for e in apart if e.group.startswith("predicted=")]
    # true of most classes and false of one is false for whoever looks at that one
    if verdict is Verdict.PASS and classes:
        verdict = Verdict.FAIL
    thresholds = settings.used(ATTAINED, LEAST_INSTANCES)
    if subject != "weights":
        return Finding(
            check="effect",
            subject=subject,
            verdict=verdict,
            sentence="The same weights in random order, for calibration, reach "
            f"{spoken(headline)} of the effect that they could mark.",
            headline=headline,
            estimates=(headline,),
            thresholds=thresholds,
        )
    sides = [
        average(values_of(frame, name), settings, statistic=name, subject="weights", null=null)
        for name, null in SIDES.items()
    ]
    known = [f"attained.{name}" for name in ("oracle",) if f"attained.{name}" in frame.columns]
    others = [
        average(
            values_of(frame, name), settings, statistic="attained_share", subject="oracle", null=0.0
        )
        for name in known
    ]
    lead = Estimate(
        statistic="attained_lead",
        subject=f"{YARDSTICK}-weights",
        value=None if headline.value is None else 1 - headline.value,
        low=None if headline.high is None else 1 - headline.high,
        high=None if headline.low is None else 1 - headline.low,
        n=headline.n,
        undefined=headline.undefined,
        null=0.0,
    )
    return Finding(
        check="effect",
        subject=subject,
        verdict=verdict,
        sentence=_sentence(verdict, headline, apart, sides),
        headline=headline,
        estimates=(*groups, *sides, *others, lead),
        thresholds=thresholds,
        notes=_notes(headline),
        recommended=YARDSTICK if verdict is Verdict.FAIL else None,
    )


def _groups(frame: pl.DataFrame, classes: Sequence[str]) -> Iterator[tuple[str, pl.DataFrame]]:
    """All instances, those of each predicted class, the shorter and longer, the surer and less."""
    yield from by_predicted(frame, classes)
    certainty = pl.max_horizontal(pl.col(f"probability.{c}") for c in range(len(classes)))
    for value, (low, high) in ((pl.col("length"), HALVES[:2]), (certainty, HALVES[2:])):
        middle = value.median()
        yield low, frame.filter(value <= middle)
        yield high, frame.filter(value > middle)


def _notes(headline: Estimate) -> tuple[str, ...]:
    if not headline.undefined:
        return ()
    return (
        f"{headline.undefined} instances have equal weights, one unit, or no unit that moves the "
        "output, and are counted apart.",
    )


def _sentence(
    verdict: Verdict, headline: Estimate, apart: list[Estimate], sides: list[Estimate]
) -> str:
    if verdict is Verdict.NOT_APPLICABLE:
        return "The weights of every instance are all equal, or no unit moves the output."
    reached = (
        f"the weights mark {spoken(headline)} of the effect that they could mark, mean over "
        "instances (0 in random order, 1 at best)"
    )
    said = {
        Verdict.PASS: f"The weights stand on the units that the prediction rests on: {reached}.",
        Verdict.FAIL: "The weights do not stand on the units that the prediction rests on: "
        f"{reached}.",
        Verdict.INCONCLUSIVE: "Whether the weights stand on the units that the prediction rests "
        f"on cannot be decided: {reached}.",
    }[verdict]
    return said + _apart(headline, apart) + _on_sides(verdict, sides)


def _apart(headline: Estimate, apart: list[Estimate]) -> str:
    """Which groups of instances the weights are wrong for, where it is not all of them."""
    mean = headline.value
    somewhere = [e for e in apart if mean is not None and e.value is not None and e.value < mean]
    names = [
        f"the {e.group}" if e.group in HALVES else f"those {e.group.replace('=', ' as ')}"
        for e in somewhere
    ]
    figures = (f"{name} {spoken(e)}" for name, e in zip(names, somewhere, strict=True))
    return f" They are wrong above all for {' and '.join(figures)}." if somewhere else ""


def _on_sides(verdict: Verdict, sides: list[Estimate]) -> str:
    """What is to be said of weights that mix for and against, or leave units out."""
    _, against, left_out, idle = sides
    said = ""
    if against.low is not None and against.low > DOUBTFUL:
        said += (
            f" Of the effect under the weights {spoken(against)} speaks against the prediction; "
            "weights have no sign and cannot say so."
        )
    if verdict is Verdict.PASS and idle.low is not None and idle.low > DOUBTFUL:
        said += (
            f" But {spoken(idle)} of the weight that stands out lies on units that do next to "
            "nothing: look at the highest weight of an instance, and less at the others."
        )
    if verdict is Verdict.PASS and left_out.low is not None and left_out.low > 2 * DOUBTFUL:
        said += (
            f" They are incomplete: {spoken(left_out)} of the effect lies on units with less than "
            "an even share of the weight."
        )
    return said


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Figure]:
    """How much of the reachable effect the weights mark, instance by instance."""
    frame, finding = evidence.frame, findings[0]
    if finding.headline is None or "attained.weights" not in frame.columns:
        return []
    rows = []
    for name, label, colour in (
        ("weights", "weights", ACCENT),
        ("random", "in random order", MUTED),
        ("oracle", "known evidence", THIRD),
    ):
        if f"attained.{name}" in frame.columns:
            counts = histogram(
                np.clip(values_of(frame, f"attained.{name}"), -1, 1), (-1, 1), BINS_DRAWN
            )
            known = (estimate_of(f, "attained_share", name) for f in findings)
            rows.append(Distribution(label, counts, next((e for e in known if e), None), colour))
    bar = finding.thresholds[ATTAINED.name]
    return [
        Figure(
            "effect",
            "How much of the effect that they could mark the weights mark: "
            f"{value_of(finding.headline)} on average",
            "Instances by the effect under their weights, on a scale from the same weights in "
            "random order (0) to the best order of the same weights (1). The effect of a unit is "
            "its Shapley value in log-odds, as far as it speaks for the prediction. What is below "
            "−1 stands at −1. Heights are scaled within each row.",
            Distributions(
                rows=tuple(rows),
                domain=(-1, 1),
                bins=BINS_DRAWN,
                axis="attained share (1 at best)",
                guides=(Guide(0, "random 0"), Guide(bar, f"bar {threshold(bar)}", dashed=False)),
            ),
            told(rows),
        )
    ]


EFFECT = Check(
    name="effect",
    title="Weight where the effect is",
    paper="Shapley 1953; Štrumbelj & Kononenko 2010; the attained share is ours",
    question="Do the weights stand on the units that the prediction rests on?",
    statistic="mean over instances of the attained share: the effect under the weights, from that "
    "of a random order (0) to that of the best order of the same weights (1)",
    null="0: the same weights in random order",
    higher_is_better=True,
    range=(-math.inf, 1.0),
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure, (YARDSTICK,)),
    conclude=conclude,
    decisive=True,
    defers_to="ground_truth",
    caveat="Units are judged by deleting others: shortened inputs are unlike the data, and a model "
    "may say odd things of them. Weights that mark the right units and do nothing pass it; "
    "permuting them shows that.",
    bars=(ATTAINED, LEAST_INSTANCES),
    bar=ATTAINED,
    recommends=1,
    lead="the weights miss {lead} of the effect that they could mark, mean over instances",
    picture=picture,
    words={
        "attained_share": Statistic(
            "mean attained share", "of the effect that the weights could mark; 0 is random"
        ),
        "either_way": Statistic(
            "the same either way", "with effects against the prediction counted like those for it"
        ),
        "against": Statistic(
            "effect against", "share of the marked effect that speaks against", percent=True
        ),
        "left_out": Statistic(
            "effect left out", "on units with less than an even share of the weight", percent=True
        ),
        "idle_peaks": Statistic(
            "idle peaks",
            "weight above an even share on units that do next to nothing",
            percent=True,
        ),
        "attained_lead": Statistic("mean share missed", "1 less the attained share"),
    },
)
