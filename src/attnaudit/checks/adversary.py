"""Adversary: is there another explanation of the same prediction?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from attnaudit.checks.declaration import ATTENTION, Check, estimate_of
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.view import Columns, View, column
from attnaudit.findings.estimates import (
    average,
    by_max_weight,
    by_predicted,
    share,
    spoken,
    values_of,
)
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    Distribution,
    Distributions,
    Figure,
    Guide,
    histogram,
    told,
)
from attnaudit.findings.settings import ADVERSARY_JSD, EPSILON, LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import Statistic, threshold, value_of
from attnaudit.measures.adversary_exact import bounds_multiclass, exact_adversary
from attnaudit.measures.adversary_permutation import permutation_adversary, reversed_order
from attnaudit.measures.adversary_search import (
    SearchResult,
    search_adversary,
    search_adversary_autograd,
)
from attnaudit.measures.divergence import jensen_shannon, total_variation
from attnaudit.measures.seeded import instance_normal
from attnaudit.models.encoded import Encoded

SHARE = Bar(
    "adversary_share",
    0.5,
    "Share of instances with such an adversary from which the check fails. Ours.",
)
PATIENCE = 50
BINS_DRAWN = 35
CHEAP = 10_000
"""Numbers per alternative up to which a part of a model is searched through by default."""
CLOSED = -1e4
"""The logit of a class that is not allowed, where the model says minus infinity."""

KINDS = {
    "permutation": "the same weights in another order",
    "exact": "any weights, the certified maximum",
    "bounded": "any weights, the best found (a lower bound)",
    "search": "any weights, the published search",
}
SHORT = {
    "permutation": "same weights, reordered",
    "exact": "any weights, certified",
    "bounded": "any weights, best found",
    "search": "any weights, searched",
}


def measure(view: View) -> Columns:
    """Every adversary that the decoder allows, with its weights for the pictures.

    What costs much runs on the instances chosen for that: the best order, bounds for several
    classes, and the search where decode is not linear.
    """
    encoded, sample = view.encoded, view.sample
    epsilon, linear = view.settings.bar(EPSILON), view.encoded.linear
    columns: dict[str, np.ndarray | list[list[float] | None]] = {}
    if linear is not None and linear.scores.shape[-1] == 2:
        scores = linear.scores[..., 1] - linear.scores[..., 0]
        bias = (linear.bias[..., 1] - linear.bias[..., 0]).expand(len(encoded))
        exact = exact_adversary(scores, bias, encoded.weights, encoded.units, epsilon)
        columns |= _found(view, "exact", exact.jsd, exact.output_change, exact.weights)
        if len(view.rows):
            best = permutation_adversary(
                scores[view.rows], bias[view.rows], sample.weights, sample.units, epsilon
            )
            columns |= _found(
                view,
                "permutation",
                best.jsd,
                best.output_change,
                best.weights,
                view.rows,
                permutation_upper=best.upper,
                attainable=best.attainable,
            )
    else:
        columns |= _best_of_permutations(view)
        if len(view.rows) and sample.linear is not None:
            bounds = bounds_multiclass(
                sample.linear.scores,
                sample.linear.bias.clamp(min=CLOSED),
                sample.weights,
                sample.units,
                epsilon,
            )
            columns |= _found(
                view,
                "bounded",
                bounds.lower,
                bounds.output_change,
                bounds.weights,
                view.rows,
                bounded_upper=bounds.upper,
            )
    if linear is None and len(view.rows) and (view.settings.search or cheap(view)):
        columns |= _searched(view, sample, view.rows)
    elif linear is not None and view.settings.search:
        columns |= _searched(view, encoded, None)
    return columns


def cheap(view: View) -> bool:
    """Whether 500 steps of the search take seconds: not through layers of a transformer."""
    size = view.encoded.model.decode_size(view.encoded.states)
    return not view.encoded.model.partial or size <= CHEAP


def _searched(view: View, encoded: Encoded, rows: Tensor | None) -> Columns:
    result = search(encoded, view.settings)
    every = torch.arange(len(encoded), device=result.best.device)
    chosen, kept = result.best.clamp(min=0), result.best >= 0
    found = result.weights[every, chosen].to(encoded.weights)
    weights = torch.where(kept.unsqueeze(1), found, encoded.weights)
    change = torch.where(kept, result.output_change[every, chosen].double(), 0.0)
    return _found(view, "search", result.best_jsd, change, weights, rows)


def search(encoded: Encoded, settings: Settings) -> SearchResult:
    """The published search (section 4.2.2), in score space where decode is linear."""
    noise = instance_normal(
        encoded.batch.ids, encoded.units, settings.search_candidates, settings.seed, "search"
    )
    noise = noise.to(encoded.weights)
    epsilon, hinge = settings.bar(EPSILON), settings.search_hinge
    count, steps = settings.search_candidates, settings.search_steps
    if encoded.linear is None:
        return search_adversary_autograd(
            encoded.decode,
            encoded.weights,
            encoded.units,
            candidates=count,
            epsilon=epsilon,
            hinge=hinge,
            steps=steps,
            noise=noise,
        )
    return search_adversary(
        encoded.linear.scores,
        encoded.linear.bias.clamp(min=CLOSED),
        encoded.weights,
        encoded.units,
        candidates=count,
        epsilon=epsilon,
        hinge=hinge,
        steps=steps,
        noise=noise,
        patience=PATIENCE,
    )


def _found(
    view: View,
    kind: str,
    jsd: Tensor,
    change: Tensor,
    weights: Tensor,
    rows: Tensor | None = None,
    **more: Tensor,
) -> Columns:
    """Columns of one adversary; instances that are not among `rows` get none."""
    size = len(view.encoded)
    rows = torch.arange(size, device=view.units.device) if rows is None else rows
    single = view.single[rows]
    columns: dict[str, np.ndarray | list[list[float] | None]] = {}
    numbers = {f"{kind}_jsd": jsd, **more}
    for name, values in (*numbers.items(), (f"{kind}_tvd", change)):
        whole = torch.full((size,), torch.nan, dtype=torch.float64)
        values = values.double().masked_fill(single, torch.nan) if name in numbers else values
        whole[rows.cpu()] = values.double().cpu()
        columns[name] = column(whole)
    lists: list[list[float] | None] = [None] * size
    for place, row in enumerate(rows.tolist()):
        lists[row] = weights[place][view.units[row]].tolist()
    return {**columns, f"{kind}_weights": lists}


def _best_of_permutations(view: View) -> Columns:
    """Without a linear decode: the best of the random orders and the opposite order."""
    encoded, epsilon = view.encoded, view.settings.bar(EPSILON)
    shuffled, outputs = view.permutations
    opposite = reversed_order(encoded.weights, encoded.units).unsqueeze(1)
    with torch.no_grad():
        last = encoded.decode(opposite).exp()
    candidates = torch.cat([encoded.weights.unsqueeze(1), shuffled, opposite], 1)
    outputs = torch.cat([encoded.probabilities.unsqueeze(1), outputs.exp(), last], 1)
    change = total_variation(outputs, encoded.probabilities.unsqueeze(1))
    jsd = jensen_shannon(candidates, encoded.weights.unsqueeze(1))
    attainable = jsd[:, -1]
    best = jsd.masked_fill(change > epsilon, -1.0).argmax(1)
    rows = torch.arange(len(best), device=best.device)
    return _found(
        view,
        "permutation",
        jsd[rows, best],
        change[rows, best],
        candidates[rows, best],
        attainable=attainable,
    )


def conclude(evidence: Instances) -> list[Finding]:
    """The share of instances for which the same weights, reordered, explain as well."""
    frame, settings = evidence.frame, evidence.settings
    kinds = [kind for kind in KINDS if f"{kind}_jsd" in frame.columns]
    estimates: list[Estimate] = []
    for group, whole in by_predicted(frame, evidence.classes):
        for kind in kinds:
            part = _tried(whole, kind)
            jsd = values_of(part, f"{kind}_jsd")
            estimates.append(
                average(jsd, settings, statistic="max_jsd", subject=kind, group=group, null=0.0)
            )
            for name, inside in by_max_weight(part) if group == "all" else ():
                if len(inside):
                    estimates.append(
                        average(
                            values_of(inside, f"{kind}_jsd"),
                            settings,
                            statistic="max_jsd",
                            subject=kind,
                            group=name,
                            null=0.0,
                        )
                    )
    shares = {kind: _share(frame, kind, settings) for kind in kinds}
    for bound in ("permutation_upper", "bounded_upper"):
        if bound in frame.columns:
            kind = bound.removesuffix("_upper")
            estimates.append(
                average(
                    values_of(_tried(frame, kind), bound),
                    settings,
                    statistic="max_jsd_upper_bound",
                    subject=kind,
                )
            )
    headline = shares["permutation"]
    verdict = _rule(headline, settings.bar(SHARE), settings.least)
    certified = "permutation_upper" in frame.columns
    if verdict is Verdict.PASS and not certified:
        # what random orders do not find may exist all the same
        verdict = Verdict.INCONCLUSIVE
    how = KINDS["permutation"]
    sentence = {
        Verdict.FAIL: f"For {_percent(headline)} of the instances, {how} give a clearly "
        "different explanation of the same prediction.",
        Verdict.PASS: f"Only for {_percent(headline)} of the instances do {how} give a clearly "
        "different explanation of the same prediction.",
        Verdict.INCONCLUSIVE: f"For {_percent(headline)} of the instances, {how} give a clearly "
        "different explanation of the same prediction. That does not decide: it is too close to "
        "the bar, rests on too few instances, or on some orders tried and no proof.",
        Verdict.NOT_APPLICABLE: "The weights are too flat for any order of them to look different.",
    }[verdict]
    means = {e.subject: e for e in estimates if e.statistic == "max_jsd" and e.group == "all"}
    sentence += (
        " Largest divergence found (0 to 0.69), mean over instances: "
        + "; ".join(f"{KINDS[kind]} {spoken(means[kind])}" for kind in kinds)
        + "."
    )
    notes = [
        "An alternative explanation does not make the first one false (Wiegreffe & Pinter 2019): "
        "a failure here means 'do not say the reason', and does not decide the audit alone."
    ]
    flat = shares["permutation"].undefined
    if flat:
        notes.append(
            f"{flat} instances have weights too flat for any order of them to look different; "
            "they are counted apart."
        )
    return [
        Finding(
            check="adversary",
            subject="weights",
            verdict=verdict,
            sentence=sentence,
            headline=headline,
            estimates=(*shares.values(), *estimates),
            thresholds=settings.used(EPSILON, ADVERSARY_JSD, SHARE, LEAST_INSTANCES),
            notes=tuple(notes),
        )
    ]


def _tried(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The instances on which this adversary was sought."""
    return frame.filter(pl.col(f"{kind}_weights").is_not_null())


def _share(frame: pl.DataFrame, kind: str, settings: Settings) -> Estimate:
    bar = settings.bar(ADVERSARY_JSD)
    frame = _tried(frame, kind)
    jsd = values_of(frame, f"{kind}_jsd")
    flags = np.where(np.isfinite(jsd), (jsd >= bar).astype(float), np.nan)
    if kind == "permutation":
        # weights too flat for any order of them to differ say nothing
        flags[values_of(frame, "attainable") < bar] = np.nan
    return share(flags, settings, statistic="contestable_share", subject=kind, null=0.0)


def _rule(headline: Estimate, bar: float, least: int) -> Verdict:
    if headline.value is None:
        return Verdict.NOT_APPLICABLE
    if headline.n < least or headline.low is None or headline.high is None:
        return Verdict.INCONCLUSIVE
    if headline.low >= bar:
        return Verdict.FAIL
    return Verdict.PASS if headline.high < bar else Verdict.INCONCLUSIVE


def _percent(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "an unknown share"
    return f"{estimate.value:.0%} ({estimate.low:.0%} to {estimate.high:.0%}, n = {estimate.n})"


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Figure]:
    """How different an explanation of the same prediction can be, by kind of adversary."""
    frame, finding = evidence.frame, findings[0]
    rows = [
        Distribution(
            SHORT[kind],
            histogram(values_of(frame, f"{kind}_jsd"), (0, 0.7), BINS_DRAWN),
            estimate_of(finding, "max_jsd", kind),
            ACCENT if kind == "permutation" else MUTED,
        )
        for kind in KINDS
        if f"{kind}_jsd" in frame.columns
    ]
    if finding.headline is None or not rows:
        return []
    bar = finding.thresholds[ADVERSARY_JSD.name]
    return [
        Figure(
            "adversary",
            "How different another explanation of the same prediction can be: "
            f"{value_of(finding.headline)} of the instances lie beyond the bar",
            "Instances by the largest Jensen-Shannon divergence between the model's weights and "
            "others that leave the prediction where it was. 0 is the same explanation, 0.69 has "
            "nothing in common with it. Heights are scaled within each row.",
            Distributions(
                rows=tuple(rows),
                domain=(0, 0.7),
                bins=BINS_DRAWN,
                axis="largest divergence (Jensen-Shannon, 0 to 0.69)",
                guides=(Guide(bar, f"clearly different {threshold(bar)}", dashed=False),),
            ),
            told(rows),
        )
    ]


ADVERSARY = Check(
    name="adversary",
    title="Adversarial weights",
    paper="Jain & Wallace 2019, section 4.2.2; the exact maximum is ours",
    question="Could other weights be shown for the same prediction?",
    statistic="share of instances with a different explanation of the same prediction",
    null="0: no other weights give the same prediction",
    higher_is_better=False,
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure),
    conclude=conclude,
    decisive=False,
    caveat="The certified maximum is near ln 2 for almost every model, because two well-chosen "
    "units suffice: read the same-weights adversary. Existence of another explanation does not "
    "make the first one unfaithful.",
    bars=(EPSILON, ADVERSARY_JSD, SHARE, LEAST_INSTANCES),
    bar=SHARE,
    picture=picture,
    words={
        "contestable_share": Statistic(
            "share contestable", "instances with a different explanation, same prediction", True
        ),
        "max_jsd": Statistic("mean largest divergence", "Jensen-Shannon, 0 to ln 2 = 0.69"),
        "max_jsd_upper_bound": Statistic(
            "mean upper bound of it", "Jensen-Shannon, 0 to ln 2 = 0.69"
        ),
    },
)
