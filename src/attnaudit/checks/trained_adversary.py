"""Can a whole model be trained to say the same with other weights?

Wiegreffe & Pinter 2019, section 4. Not one adversary an instance, as in the check `adversary`, but
one model for all; and what it reaches is set beside what another seed does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnaudit.checks import seeds
from attnaudit.controls.declaration import Control
from attnaudit.evidence.trainings.design import Design, Training
from attnaudit.evidence.trainings.results import Results
from attnaudit.findings.estimates import average, share, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.metrics import performance

NAME = "trained_adversary"


def adversaries(design: Design) -> tuple[Training, ...]:
    """One adversary a strength, from weak to strong."""
    return tuple(design.adversary(strength) for strength in sorted(set(design.lambdas)))


def trainings(design: Design) -> tuple[Training, ...]:
    """The adversaries, and what they are set beside: further seeds, and equal weights."""
    return (*seeds.trainings(design), design.replaced("uniform"), *adversaries(design))


def conclude(results: Results) -> list[Finding]:
    """The largest divergence at (nearly) the same predictions, against the most different seed."""
    design = results.design
    done = [t for t in adversaries(design) if results.has(t)]
    others = seeds.finished(results)
    estimates = list(curve(results))
    notes = results.missing(trainings(design))
    thresholds = {
        "epsilon": results.thresholds.epsilon,
        "adversary_jsd": results.thresholds.adversary_jsd,
        "advantage": results.bars.advantage,
        "least_instances": float(results.thresholds.least_instances),
    }
    best = _best(results, done)
    if best is None or not others:
        why = _why_not(results, done, bool(others))
        verdict = Verdict.INCONCLUSIVE if done and others else Verdict.NOT_APPLICABLE
        return [
            Finding(
                check=NAME,
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
    found = seeds.calibration(results)
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
            check=NAME,
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
    design = results.design
    for training in (*adversaries(design), *seeds.others(design), design.replaced("uniform")):
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
    near = [t for t in done if float(results.column(t, "tvd").mean()) <= results.thresholds.epsilon]
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
        f"above the {results.thresholds.epsilon:g} that counts as the same. More epochs, or "
        "smaller strengths, may tell."
    )


def _verdict(results: Results, lead: Estimate, reached: Estimate) -> Verdict:
    if lead.n < results.thresholds.least_instances or lead.low is None or lead.high is None:
        return Verdict.INCONCLUSIVE
    if lead.high < results.bars.advantage:
        return Verdict.PASS
    beyond = lead.low >= results.bars.advantage
    different = (reached.low or 0.0) >= results.thresholds.adversary_jsd
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
    found = seeds.calibration(results)
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


TRAINED_ADVERSARY = Control(
    name=NAME,
    title="Trained adversary",
    paper="Wiegreffe & Pinter 2019, section 4",
    question="Can a whole model be trained to say the same as this one, text by text, with other "
    "weights, and does it get further than another seed does by itself?",
    statistic="largest mean divergence at a mean output change of at most .05, less that of the "
    "most different seed, paired by instance",
    null="0: no further than another seed",
    higher_is_better=False,
    needs=frozenset({"retraining"}),
    cost="1 long one for each strength, all those of `seeds`, and one with equal weights",
    caveat="Adversaries that fail prove nothing: other strengths, or more epochs, may succeed. One "
    "that succeeds shows that other weights can go with these predictions, not that the weights "
    "of this model are wrong.",
    says={
        Verdict.PASS: "no model trained to have other weights gets further than another seed",
        Verdict.FAIL: "a model can be trained to say the same with other weights",
        Verdict.INCONCLUSIVE: "whether a model can be trained to say the same with other weights "
        "is not certain",
        Verdict.NOT_APPLICABLE: "adversaries could not be trained",
    },
    trainings=trainings,
    conclude=conclude,
)
