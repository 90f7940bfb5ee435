"""Does attention matter? Its weights replaced, in training and test, by ones that know less.

Wiegreffe & Pinter 2019, section 3.1, for equal weights; fixed random weights, weights of the
position, and weights of the word alone are the replacements of Tay et al. 2021 ("Synthesizer").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnaudit.checks.declaration import RETRAINING, Check
from attnaudit.data.kinds import TEXTS
from attnaudit.evidence.trainings.asked import Trainings
from attnaudit.evidence.trainings.design import Training, Variants
from attnaudit.evidence.trainings.results import MARGIN, ONE_SEED, Results
from attnaudit.findings.estimates import above, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.metrics import difference, performance, with_seeds
from attnaudit.findings.pictures import (
    Block,
    Guide,
    IntervalRow,
    estimates_table,
    interval_figure,
)
from attnaudit.findings.settings import LEAST_INSTANCES

WITH = {
    "uniform": "equal weights",
    "random": "fixed random weights",
    "position": "weights that know the position alone",
    "own_token": "weights that see each word without its context",
}
FEW = {
    "uniform": "equal weights",
    "random": "fixed random weights",
    "position": "the position alone",
    "own_token": "the word alone",
}
"""The same in few words."""
MEANS = {
    "uniform": (
        "attention is not needed for this task, and its weights say little about the prediction",
        "attention matters here",
    ),
    "random": (
        "which units get the weight hardly matters for this task",
        "it matters which units get the weight",
    ),
    "position": (
        "attention needs to know no more than the place of a unit",
        "attention needs to know more than the place of a unit",
    ),
    "own_token": (
        "attention works like a list of important words; context adds nothing to it",
        "attention needs the context of a word",
    ),
}
"""What it means that a replacement does as well as learned weights, and that it does not."""


def trainings(variants: Variants) -> tuple[Training, ...]:
    """The model in question and each replacement, once per seed."""
    return tuple(
        training
        for repeat in range(variants.settings.repeats)
        for training in (
            variants.learned(repeat),
            *(variants.replaced(r, repeat) for r in variants.settings.replacements),
        )
    )


def conclude(results: Results) -> list[Finding]:
    """One finding per replacement: what its model loses against the learned attention."""
    return [_finding(results, name) for name in results.variants.settings.replacements]


def _finding(results: Results, name: str) -> Finding:
    variants = results.variants
    pairs = [
        (variants.learned(r), variants.replaced(name, r)) for r in range(variants.settings.repeats)
    ]
    both = [(a, b) for a, b in pairs if results.has(a) and results.has(b)]
    notes = results.missing(tuple(t for pair in pairs for t in pair))
    thresholds = results.settings.used(MARGIN, LEAST_INSTANCES)
    if not both:
        return Finding(
            check="uniform",
            subject=name,
            verdict=Verdict.NOT_APPLICABLE,
            thresholds=thresholds,
            sentence=f"The training with {WITH[name]} has failed.",
            notes=notes,
        )
    learned = [results.outputs[a.name].probabilities for a, _ in both]
    other = [results.outputs[b.name].probabilities for _, b in both]
    labels, settings = results.labels, results.settings
    spread = [_at_hand(results), other]
    lost, sd = with_seeds(
        difference(labels, learned, other, settings, name), labels, spread, len(both), settings
    )
    mine = performance(labels, learned, settings, "learned")
    theirs = performance(labels, other, settings, name)
    estimates = [*lost, *mine, *theirs, *_by_seed(results, both, name)]
    estimates += [sd] if sd is not None else []
    notes += () if sd is not None else (ONE_SEED,)
    verdict = results.gated(above(lost[0], results.settings.bar(MARGIN), results.settings.least))
    return Finding(
        check="uniform",
        subject=name,
        verdict=verdict,
        headline=lost[0],
        estimates=tuple(estimates),
        sentence=_sentence(results, name, verdict, lost[0], mine[0], theirs[0], sd, len(both)),
        thresholds=thresholds,
        notes=notes,
    )


def _at_hand(results: Results) -> list[np.ndarray]:
    """What the model in question says from every seed that has been trained, whatever for."""
    variants = results.variants
    most = max(variants.settings.seeds + 1, variants.settings.repeats)
    found = [variants.learned(k) for k in range(most)]
    return [results.outputs[t.name].probabilities for t in found if results.has(t)]


def _by_seed(results: Results, both: list[tuple[Training, Training]], name: str) -> list[Estimate]:
    """The difference for each seed alone, where there are several."""
    if len(both) < 2:
        return []
    return [
        estimate.model_copy(update={"group": f"seed {a.options.seed}"})
        for a, b in both
        for estimate in difference(
            results.labels,
            [results.outputs[a.name].probabilities],
            [results.outputs[b.name].probabilities],
            results.settings,
            name,
        )[:1]
    ]


def _sentence(
    results: Results,
    name: str,
    verdict: Verdict,
    lost: Estimate,
    mine: Estimate,
    theirs: Estimate,
    sd: Estimate | None,
    seeds: int,
) -> str:
    rests = "one seed" if seeds == 1 else f"means over {seeds} seeds"
    if sd is not None:
        rests += f", other seeds included in the interval, SD {sd.value:.3f} of {sd.n} trainings"
    figures = (
        f"accuracy {theirs.value:.3f} with {WITH[name]}, {mine.value:.3f} with learned ones; "
        f"difference {spoken(lost, 3)}; {rests}"
    )
    if results.near_chance:
        return f"The model itself is near chance, so nothing can be said ({figures})."
    useless, needed = MEANS[name]
    said = WITH[name][0].upper() + WITH[name][1:]
    return {
        Verdict.FAIL: f"{said} do as well as learned ones: {useless} ({figures}).",
        Verdict.PASS: f"{said} do clearly worse than learned ones: {needed} ({figures}).",
    }.get(verdict, f"Whether {WITH[name]} do as well as learned ones is not certain ({figures}).")


def picture(results: Results, findings: Sequence[Finding]) -> list[Block]:
    """What is lost with each replacement, and every number."""
    known = [(f, f.headline) for f in findings if f.headline is not None]
    tables = [estimates_table(f"All numbers: {FEW[f.subject]}", f.estimates) for f, _ in known]
    figure = interval_figure(
        "uniform",
        "What is lost without learned weights",
        [IntervalRow(FEW[f.subject], (headline,)) for f, headline in known],
        "difference in accuracy",
        "Accuracy of the learned attention less that of each replacement, on the same texts. Left "
        "of the line the two count as equally good.",
        (Guide(findings[0].thresholds[MARGIN.name], "equally good"),),
    )
    return [figure, *tables]


UNIFORM = Check(
    name="uniform",
    title="Uniform and other replacements",
    paper="Wiegreffe & Pinter 2019, section 3.1; replacements of Tay et al. 2021",
    question="Does the task need attention: is a model worse when its weights are replaced, in "
    "training and test, by equal ones, or by ones that know less?",
    statistic="accuracy of the learned attention less that of the replacement, paired by instance",
    null="0: the weights do not matter",
    higher_is_better=True,
    group=RETRAINING,
    kinds=(TEXTS,),
    cost="1 for each replacement, and the model itself; all that for each of the repeats",
    caveat="An encoder that reads context can move what it found to every state, and then equal "
    "weights lose nothing, although the learned ones are not arbitrary. A task that needs "
    "attention does not make the weights faithful.",
    asks=Trainings(trainings),
    conclude=conclude,
    decisive=False,
    bars=(MARGIN, LEAST_INSTANCES),
    bar=MARGIN,
    picture=picture,
)
