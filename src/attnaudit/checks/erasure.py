"""Erasure: does the prediction fall with the units that score highest?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from attnaudit.attribution import METHODS
from attnaudit.checks.declaration import Check, Columns, Facts
from attnaudit.errors import NotApplicable
from attnaudit.evidence.batch.erasing import OPERATORS, ZERO_WEIGHT, run_erased, without_weight
from attnaudit.evidence.batch.view import View, as_ranked, column
from attnaudit.findings.estimates import (
    above,
    average,
    share,
    spoken,
    values_of,
    worth_recommending,
)
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.measures.curves import area_over_fractions, removal_order, selected
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.measures.seeded import instance_uniform
from attnaudit.models.encoded import Encoded

NULL = "null"
NOTHING = 1e-9
"""A gain of exactly 0, as of erasing everything, is none."""
COMPLETENESS = "completeness_error.integrated_gradients"
CALIBRATION = ("random", "oracle", NULL)
MOST_STEPS = 64


def by_size(name: str) -> str:
    """What the magnitudes of a signed method are called.

    Example:
        >>> by_size("leave_one_out")
        '|leave_one_out|'
    """
    return f"|{name}|"


def title_of(name: str) -> str:
    """The title of a method, or of its magnitudes."""
    bare = name.strip("|")
    title = METHODS[bare].title
    return title if bare == name else f"the size of {title}"


def measure(view: View) -> Columns:
    """Comprehensiveness and sufficiency of every attribution, and decision flips."""
    rows = view.rows
    size = len(view.encoded)
    if not len(rows):
        return {}
    some = view.sample
    scores = {name: view.scores(name)[rows] for name in view.applicable()}
    scores[NULL] = instance_uniform(some.batch.ids, some.units, 1, view.settings.seed, NULL)[:, 0]
    # weights have no sign, so the fair rivals are the sizes of signed scores
    for name in [name for name in scores if name in METHODS and METHODS[name].signed]:
        scores[by_size(name)] = scores[name].abs()
    if any(view.records[int(row)].truth is not None for row in rows):
        scores["oracle"] = view.truth[rows]
    scores = {name: as_ranked(name, values, some.units) for name, values in scores.items()}
    undefined, constant = view.single[rows], view.constant[rows]
    ranks = {name: removal_order(torch.nan_to_num(s), some.units) for name, s in scores.items()}
    columns: dict[str, Tensor] = {}
    for operator in view.settings.operators:
        columns |= _areas(some, ranks, operator, view)
    for name, order in ranks.items():
        columns |= _flips(some, order, name)
    columns |= _single_weight(some, view.settings.seed)
    if "oracle" in scores:
        unknown = scores["oracle"].isnan().any(1)
        for name in [name for name in columns if ".oracle" in name]:
            columns[name] = columns[name].masked_fill(unknown, torch.nan)
    # equal scores rank nothing, so the order in which they are erased says nothing of them
    for method, values in scores.items():
        flat = constant if method == "weights" else _equal(values, some.units)
        if method in METHODS or method.strip("|") in METHODS:
            flat = flat | values.isnan().any(1)  # left out for their length
        for name in [name for name in columns if name.endswith(f".{method}")]:
            columns[name] = columns[name].masked_fill(flat, torch.nan)
    full: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        whole = torch.full((size,), torch.nan, dtype=torch.float64)
        whole[rows.cpu()] = values.double().masked_fill(undefined, torch.nan).cpu()
        full[name] = column(whole)
    return full


def _equal(scores: Tensor, units: Tensor) -> Tensor:
    highest = scores.masked_fill(~units, -torch.inf).amax(1)
    return highest <= scores.masked_fill(~units, torch.inf).amin(1)


def _areas(some: Encoded, ranks: dict[str, Tensor], operator: str, view: View) -> dict[str, Tensor]:
    """Area over the fractions, as the mean over them (DeYoung et al. 2020, AOPC)."""
    fractions = view.settings.fractions
    erase = [
        chosen if kind == "comprehensiveness" else some.units & ~chosen
        for order in ranks.values()
        for kind in ("comprehensiveness", "sufficiency")
        for fraction in fractions
        for chosen in (selected(order, fraction, some.units),)
    ]
    rows = torch.arange(len(some), device=some.units.device).repeat(len(erase))
    try:
        erased = run_erased(some, rows, torch.cat(erase), operator, view.settings.token_budget)
    except NotApplicable:
        return {}
    whole = some.of_target(some.outputs)
    fall = whole - erased.probability.view(len(ranks), 2, len(fractions), len(some))
    result: dict[str, Tensor] = {}
    for index, name in enumerate(ranks):
        for kind, curve in zip(("comprehensiveness", "sufficiency"), fall[index], strict=True):
            result[f"{kind}.{operator}.{name}"] = area_over_fractions(curve.T, fractions)
    if erased.features is not None and view.drift is not None:
        own = list(ranks).index("weights")
        shape = (len(ranks), 2 * len(fractions), len(some))
        far = (view.drift.distance(erased.features) > view.drift.bar).reshape(shape)[own]
        result[f"drift.{operator}"] = torch.as_tensor(far.mean(0), device=whole.device)
    return result


def _flips(some: Encoded, order: Tensor, name: str) -> dict[str, Tensor]:
    """The least share of units, in this order, whose weights must go to flip the decision.

    Source: Serrano & Smith 2019, section 5. All units where nothing flips it.
    """
    counts = some.units.sum(1, keepdim=True)
    # every count up to 64 units; beyond, 64 equal steps. Whole numbers, so that the company of
    # other instances in the batch cannot round a step up
    most = (counts - 1).clamp(min=1)
    steps = most.clamp(max=MOST_STEPS)
    step = torch.arange(1, int(steps.max()) + 1, device=order.device).unsqueeze(0)
    sizes = -(-torch.minimum(step, steps) * most // steps)
    erase = (order.unsqueeze(1) < sizes.unsqueeze(2)) & some.units.unsqueeze(1)
    with torch.no_grad():
        outputs = some.decode(erase, lambda part: without_weight(some.weights, part))
    flipped = outputs.argmax(-1) != some.predicted.unsqueeze(1)
    ever = flipped.any(1)
    at = flipped.to(torch.uint8).argmax(1, keepdim=True)
    share = (sizes.gather(1, at) / counts).squeeze(1)
    units = torch.where(ever, share, 1.0)
    mass = (some.weights.unsqueeze(1) * erase).sum(-1).gather(1, at).squeeze(1)
    return {
        f"flip_fraction.{name}": units,
        f"flip_mass.{name}": torch.where(ever, mass, 1.0),
        f"never_flipped.{name}": (~ever).double(),
    }


def _single_weight(some: Encoded, seed: int) -> dict[str, Tensor]:
    """Zero the largest weight or a random other one (Serrano & Smith 2019, section 4)."""
    top = as_ranked("weights", some.weights, some.units).masked_fill(~some.units, -1.0).argmax(1)
    others = some.units.clone()
    others.scatter_(1, top.unsqueeze(1), False)
    draws = instance_uniform(some.batch.ids, some.units, 1, seed, "other weight")[:, 0]
    other = draws.to(some.weights).masked_fill(~others, -1.0).argmax(1)
    erase = torch.zeros_like(some.units).unsqueeze(1).repeat(1, 2, 1)
    for slot, index in enumerate((top, other)):
        erase[:, slot].scatter_(1, index.unsqueeze(1), True)
    with torch.no_grad():
        outputs = some.decode(without_weight(some.weights, erase)).exp()
    moved = jensen_shannon(outputs, some.probabilities.unsqueeze(1))
    flipped = (outputs.argmax(-1) != some.predicted.unsqueeze(1)).double()
    return {
        "delta_js": moved[:, 0] - moved[:, 1],
        "flip_top": flipped[:, 0],
        "flip_other": flipped[:, 1],
    }


def conclude(frame: pl.DataFrame, facts: Facts) -> list[Finding]:
    """Weights against the best other attribution and against random erasure."""
    settings = facts.settings
    operators = [o for o in settings.operators if f"comprehensiveness.{o}.weights" in frame.columns]
    if not operators:
        return []
    frame = frame.filter(pl.col("drawn"))
    sizes = [by_size(m) for m in METHODS if METHODS[m].signed]
    methods = [m for m in (*METHODS, *sizes, "oracle") if f"flip_fraction.{m}" in frame.columns]
    estimates = _table(frame, operators, methods, facts)
    signless = [m for m in methods if m not in METHODS or not METHODS[m].signed]
    rivals = [m for m in signless if m not in (*CALIBRATION, "weights")]
    shown = [m for m in methods if m in METHODS and m not in (*CALIBRATION, "weights")]
    findings = []
    for subject in ("weights", "random"):
        found = {o: _compare(frame, o, subject, rivals, facts) for o in operators}
        verdicts = {o: _rule(gain, lead, facts) for o, (gain, lead, _) in found.items()}
        verdict, (gain, lead, best) = verdicts[operators[0]], found[operators[0]]
        _, over, better = _compare(frame, operators[0], subject, shown, facts)
        bars = settings.thresholds
        worth = worth_recommending(over, bars.erasure_margin, bars.least_instances)
        ahead = worth_recommending(lead, bars.erasure_margin, bars.least_instances)
        notes = [
            f"Erasure by {o} ({OPERATORS[o]}) says: {verdicts[o].value}."
            for o in operators[1:]
            if verdicts[o] != verdict
        ]
        notes += _drift_notes(estimates) + _completeness_notes(frame, facts)
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
                thresholds={
                    "erasure_margin": settings.thresholds.erasure_margin,
                    "least_instances": float(settings.thresholds.least_instances),
                },
                notes=tuple(notes) if own else (),
                recommended=better if own and worth else None,
            )
        )
    return findings


def _table(
    frame: pl.DataFrame, operators: Sequence[str], methods: list[str], facts: Facts
) -> list[Estimate]:
    settings = facts.settings
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
    frame: pl.DataFrame, operator: str, subject: str, rivals: list[str], facts: Facts
) -> tuple[Estimate, Estimate, str]:
    """Paired: subject over random, and best rival over subject."""
    kind = f"comprehensiveness.{operator}"
    own = values_of(frame, f"{kind}.{subject}")
    values = {rival: values_of(frame, f"{kind}.{rival}") for rival in rivals}
    best = max(rivals, key=lambda name: float(np.nan_to_num(values[name]).mean()))
    gain = average(
        own - values_of(frame, f"{kind}.{NULL}"),
        facts.settings,
        statistic="comprehensiveness_over_random",
        subject=subject,
        group=operator,
        null=0.0,
    )
    lead = average(
        values_of(frame, f"{kind}.{best}") - own,
        facts.settings,
        statistic="comprehensiveness_lead",
        subject=f"{best}-{subject}",
        group=operator,
        null=0.0,
    )
    return gain, lead, best


def _clearly_better(lead: Estimate) -> bool:
    return lead.low is not None and lead.low > 0


def _rule(gain: Estimate, lead: Estimate, facts: Facts) -> Verdict:
    bars = facts.settings.thresholds
    over_random = above(gain, NOTHING, bars.least_instances)
    if over_random in (Verdict.NOT_APPLICABLE, Verdict.FAIL):
        return over_random
    if gain.n < bars.least_instances or lead.low is None or lead.high is None:
        return Verdict.INCONCLUSIVE
    if lead.low >= bars.erasure_margin:
        return Verdict.FAIL
    if over_random is Verdict.PASS and lead.high < bars.erasure_margin:
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


def _completeness_notes(frame: pl.DataFrame, facts: Facts) -> list[str]:
    """How many integrated gradients do not add up to their tolerance."""
    if COMPLETENESS not in frame.columns:
        return []
    tolerance = facts.settings.ig_tolerance
    missed = values_of(frame, COMPLETENESS) > tolerance
    if not missed.any():
        return []
    return [
        f"Integrated gradients of {missed.sum()} of {len(missed)} instances miss their sum by more "
        f"than {tolerance:g} after {facts.settings.ig_max_nodes} nodes; read their rows with care."
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
    needs=frozenset(),
    decisive=True,
    caveat="Erased inputs are unlike the data (see the drift), and leave-one-out, which deletes "
    "too, plays at home against the operator 'delete'. Compare the operators.",
    measure=measure,
    conclude=conclude,
)
