"""Can a whole model be trained to say the same with other weights?

Wiegreffe & Pinter 2019, section 4. Not one adversary per instance, as in the check `adversary`, but
one model for all; and what it reaches is set beside what another seed does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from attnaudit.checks.declaration import RETRAINING, Check, estimate_of
from attnaudit.data.kinds import TEXTS
from attnaudit.evidence.trainings.asked import Trainings
from attnaudit.evidence.trainings.design import Training, Variants
from attnaudit.evidence.trainings.results import ADVANTAGE, Results
from attnaudit.findings.estimates import average, share, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.metrics import performance
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    THIRD,
    Block,
    Curve,
    Curves,
    Figure,
    Series,
    estimates_table,
)
from attnaudit.findings.settings import ADVERSARY_JSD, EPSILON, LEAST_INSTANCES
from attnaudit.findings.wording import typeset


def adversaries(variants: Variants) -> tuple[Training, ...]:
    """One adversary per strength, from weak to strong."""
    return tuple(
        variants.adversary(strength) for strength in sorted(set(variants.settings.lambdas))
    )


def trainings(variants: Variants) -> tuple[Training, ...]:
    """The adversaries, and what they are set beside: further seeds, and equal weights."""
    return (variants.base, *variants.seeds, variants.replaced("uniform"), *adversaries(variants))


def conclude(results: Results) -> list[Finding]:
    """The largest divergence at (nearly) the same predictions, against the most different seed."""
    variants = results.variants
    done = [t for t in adversaries(variants) if results.has(t)]
    others = results.seeds
    estimates = list(curve(results))
    notes = results.missing(trainings(variants))
    thresholds = results.settings.used(EPSILON, ADVERSARY_JSD, ADVANTAGE, LEAST_INSTANCES)
    best = _best(results, done)
    if best is None or not others:
        why = _why_not(results, done, bool(others))
        verdict = Verdict.INCONCLUSIVE if done and others else Verdict.NOT_APPLICABLE
        return [
            Finding(
                check="trained_adversary",
                subject="weights",
                verdict=verdict,
                sentence=why,
                estimates=tuple(estimates),
                thresholds=thresholds,
                notes=notes,
            )
        ]
    farthest = max(others, key=lambda t: float(results.column(t, "jsd").mean()))
    lead = average(
        results.column(best, "jsd") - results.column(farthest, "jsd"),
        results.settings,
        statistic="jsd_beyond_seeds",
        subject="weights",
        null=0.0,
    )
    reached = next(e for e in estimates if (e.statistic, e.subject) == ("mean_jsd", best.name))
    found = results.calibration
    if found is not None:
        estimates.append(
            share(
                found.beyond(results.column(best, "jsd")).astype(float),
                results.settings,
                statistic="beyond_seeds_share",
                subject=best.name,
                null=found.beyond_null,
            )
        )
    verdict = results.gated(_verdict(results, lead, reached))
    return [
        Finding(
            check="trained_adversary",
            subject="weights",
            verdict=verdict,
            headline=lead,
            estimates=(lead, *estimates),
            thresholds=thresholds,
            notes=notes,
            sentence=_sentence(results, verdict, best, farthest, lead, reached),
        )
    ]


def curve(results: Results) -> Iterator[Estimate]:
    """Output change, divergence and performance of every model, against the base."""
    variants = results.variants
    for training in (*adversaries(variants), *variants.seeds, variants.replaced("uniform")):
        if not results.has(training):
            continue
        for what in ("tvd", "jsd"):
            yield average(
                results.column(training, what),
                results.settings,
                statistic=f"mean_{what}",
                subject=training.name,
            )
        yield from performance(
            results.labels,
            [results.outputs[training.name].probabilities],
            results.settings,
            training.name,
        )[:2]


def _best(results: Results, done: list[Training]) -> Training | None:
    """The adversary with the largest mean divergence among those that keep the predictions."""
    near = [
        t for t in done if float(results.column(t, "tvd").mean()) <= results.settings.bar(EPSILON)
    ]
    return max(near, key=lambda t: float(results.column(t, "jsd").mean()), default=None)


def _why_not(results: Results, done: list[Training], seeds_done: bool) -> str:
    if not done:
        return "No adversary could be trained."
    if not seeds_done:
        return (
            "No further seed could be trained, so there is nothing to set the adversaries beside."
        )
    least = min(float(results.column(t, "tvd").mean()) for t in done)
    return (
        f"No adversary keeps the predictions: the mean output change is {least:.2f} at the least, "
        f"above the {results.settings.bar(EPSILON):g} that counts as the same. More epochs, or "
        "smaller strengths, may tell."
    )


def _verdict(results: Results, lead: Estimate, reached: Estimate) -> Verdict:
    if lead.n < results.settings.least or lead.low is None or lead.high is None:
        return Verdict.INCONCLUSIVE
    if lead.high < results.settings.bar(ADVANTAGE):
        return Verdict.PASS
    beyond = lead.low >= results.settings.bar(ADVANTAGE)
    different = (reached.low or 0.0) >= results.settings.bar(ADVERSARY_JSD)
    return Verdict.FAIL if beyond and different else Verdict.INCONCLUSIVE


def _sentence(
    results: Results,
    verdict: Verdict,
    best: Training,
    farthest: Training,
    lead: Estimate,
    reached: Estimate,
) -> str:
    tvd = float(np.mean(results.column(best, "tvd")))
    seed = float(np.mean(results.column(farthest, "jsd")))
    figures = (
        f"λ = {best.strength:g}: mean divergence {spoken(reached)} at a mean output change of "
        f"{tvd:.3f}; mean divergence of the most different seed {seed:.2f}; mean difference "
        f"{spoken(lead)}"
    )
    found = results.calibration
    if found is not None and reached.value is not None:
        beyond = float(found.beyond(results.column(best, "jsd")).mean())
        figures += (
            f"; {found.says_mean(reached.value, 'its mean')}; on {beyond:.0%} of the texts beyond "
            f"every seed, where one more seed would be on {found.beyond_null:.0%}"
        )
    if results.near_chance:
        return f"The model itself is near chance, so nothing can be said ({figures})."
    return {
        Verdict.FAIL: "A model can be trained to say the same with other weights, far beyond what "
        f"another seed does: the weights are not the only story ({figures}).",
        Verdict.PASS: "No model that was trained to say the same with other weights gets further "
        f"than another seed does ({figures}).",
    }.get(
        verdict,
        "A model that was trained to say the same with other weights gets somewhat "
        f"further than another seed does ({figures}).",
    )


def picture(results: Results, findings: Sequence[Finding]) -> list[Block]:
    """What other weights cost: every model beside the base, and every number."""
    finding, variants = findings[0], results.variants
    table = estimates_table("All numbers", finding.estimates)
    kinds = {
        Series("trained adversaries, one per strength", ACCENT): adversaries(variants),
        Series("other seeds", MUTED, "square"): variants.seeds,
        Series("equal weights", THIRD, "diamond"): (variants.replaced("uniform"),),
    }
    rows = []
    for series, trainings in kinds.items():
        points = []
        for name in (training.name for training in trainings):
            jsd, tvd = (estimate_of(finding, f"mean_{w}", name) for w in ("jsd", "tvd"))
            if jsd is not None and tvd is not None and None not in (jsd.value, tvd.value):
                label = name.replace("adversary ", "λ = ")
                points.append((float(jsd.value or 0), float(tvd.value or 0), label))
        joined = series.colour == ACCENT
        if points:
            rows.append(Curve(series, tuple(points if joined else sorted(points)), joined))
    if not rows:
        return [table]
    epsilon = finding.thresholds[EPSILON.name]
    highest = max(y for row in rows for _, y, _ in row.points)
    figure = Figure(
        "tradeoff",
        "What other weights cost",
        "Each point is a model, set beside the one in question: how different its weights are, "
        "and how different its predictions. Far right and low is a model that says the same for "
        f"other reasons; up to {epsilon:g} counts as the same prediction.",
        Curves(
            rows=tuple(rows),
            x=(0.0, math.log(2)),
            y=(0.0, max(1.15 * highest, 2 * epsilon)),
            axes=("mean divergence of the weights", "mean output change"),
        ),
        typeset(finding.sentence),
        tuple(row.series for row in rows),
    )
    return [figure, table]


TRAINED_ADVERSARY = Check(
    name="trained_adversary",
    title="Trained adversary",
    paper="Wiegreffe & Pinter 2019, section 4",
    question="Can a whole model be trained to say the same as this one, text by text, with other "
    "weights, and does it get further than another seed does by itself?",
    statistic="largest mean divergence at a mean output change of at most .05, less that of the "
    "most different seed, paired by instance",
    null="0: no further than another seed",
    higher_is_better=False,
    group=RETRAINING,
    kinds=(TEXTS,),
    cost="1 long one for each strength, all those of `seeds`, and one with equal weights",
    caveat="Adversaries that fail prove nothing: other strengths, or more epochs, may succeed. One "
    "that succeeds shows that other weights can go with these predictions, not that the weights "
    "of this model are wrong.",
    asks=Trainings(trainings),
    conclude=conclude,
    decisive=False,
    range=(-math.log(2), math.log(2)),
    bars=(EPSILON, ADVERSARY_JSD, ADVANTAGE, LEAST_INSTANCES),
    bar=ADVANTAGE,
    picture=picture,
)
