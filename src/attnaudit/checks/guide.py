"""Do the weights carry information? A context-free model guided by them.

Wiegreffe & Pinter 2019, section 3.4 (their diagnostic model). Each token goes through a linear map
and tanh for itself; weights from elsewhere pool them; a linear map decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from attnaudit.checks.declaration import RETRAINING, Check, estimate_of
from attnaudit.data.kinds import TEXTS
from attnaudit.evidence.trainings.asked import Trainings
from attnaudit.evidence.trainings.design import GUIDE_LAMBDA, GUIDED, Training, Variants
from attnaudit.evidence.trainings.results import ADVANTAGE, MARGIN, ONE_SEED, Results
from attnaudit.findings.estimates import above, average, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.metrics import difference, performance
from attnaudit.findings.pictures import Block, IntervalRow, estimates_table, interval_figure
from attnaudit.findings.settings import EPSILON, LEAST_INSTANCES
from attnaudit.findings.wording import number

SOURCES = {
    "uniform": "equal weights",
    "own": "its own weights",
    "base": "the model's weights",
    "adversary": "the adversary's weights",
}
"""Where a context-free model has its weights from."""


def trainings(variants: Variants) -> tuple[Training, ...]:
    """The context-free model under each source of weights."""
    return tuple(variants.guided().values())


def conclude(results: Results) -> list[Finding]:
    """The base's weights as a guide against ones learned without context; then the adversary's."""
    return [_weights(results), _adversary(results)]


def _weights(results: Results) -> Finding:
    """The base's weights against those that the context-free model learns itself."""
    lacking = _lacking(results, ("base", "own"), "weights")
    if lacking is not None:
        return lacking
    lead = _difference(results, "base", "own")
    estimates = [*lead, *_over_uniform(results), *_performances(results)]
    powerless = _powerless(results)
    verdict = above(lead[0], -results.settings.bar(MARGIN), results.settings.least)
    verdict = Verdict.INCONCLUSIVE if powerless else verdict
    figures = _figures(results, ("uniform", "own", "base"), lead[0])
    sentence = {
        Verdict.PASS: "The model's weights guide a context-free model at least as well as weights "
        f"that it learns itself: they carry information about the words ({figures}).",
        Verdict.FAIL: "The model's weights guide a context-free model worse than weights that it "
        f"learns itself: they point at its own states more than at words ({figures}).",
    }.get(verdict, f"How well the model's weights guide another model is not certain ({figures}).")
    if powerless:
        sentence = (
            "A context-free model does as well with equal weights as with any others, so this "
            f"data cannot tell good weights from bad ({figures})."
        )
    return _finding(results, "weights", verdict, lead[0], estimates, sentence, figures)


def _over_uniform(results: Results) -> list[Estimate]:
    """What each source of weights gains over equal ones."""
    guides = results.variants.guided()
    some = [name for name in ("base", "own") if results.has(guides[name])]
    if not results.has(guides["uniform"]):
        return []
    return [e for name in some for e in _difference(results, name, "uniform")]


def _powerless(results: Results) -> bool:
    """Whether equal weights do as well as any, so that good weights cannot be told from bad."""
    gains = [e for e in _over_uniform(results) if e.statistic == "accuracy_difference"]
    return bool(gains) and all((e.high or 0.0) < results.settings.bar(MARGIN) for e in gains)


def _adversary(results: Results) -> Finding:
    """The base's weights against those of a model trained to have others."""
    lacking = _lacking(results, ("base", "adversary"), "adversary")
    if lacking is not None:
        return lacking
    lead = _difference(results, "base", "adversary")
    reached = _reached(results)
    verdict = above(lead[0], results.settings.bar(MARGIN), results.settings.least)
    why = _no_adversary(results, reached)
    verdict = Verdict.INCONCLUSIVE if why else verdict
    figures = _figures(results, ("base", "adversary"), lead[0])
    sentence = {
        Verdict.PASS: "The weights of a model trained to have others guide worse: they are no "
        f"equally good story ({figures}).",
        Verdict.FAIL: "The weights of a model trained to have others guide as well as the "
        f"model's own ({figures}).",
    }.get(
        verdict,
        f"Whether the adversary's weights guide as well as the model's is not certain ({figures}).",
    )
    if why:
        sentence = f"{why}, so nothing can be concluded from how its weights guide ({figures})."
    return _finding(results, "adversary", verdict, lead[0], [*lead, *reached], sentence, figures)


def _reached(results: Results) -> list[Estimate]:
    """How far the guiding adversary is from the base: its weights, and what it says."""
    adversary = results.variants.adversary(GUIDE_LAMBDA)
    return [
        average(
            results.column(adversary, what),
            results.settings,
            statistic=f"mean_{what}",
            subject="adversary",
        )
        for what in ("jsd", "tvd")
    ]


def _no_adversary(results: Results, reached: list[Estimate]) -> str:
    """Why nothing follows from how well the adversary's weights guide; empty where something does.

    It must say the same as the base with other weights, on data where weights help at all.
    """
    jsd, tvd = ((e.value or 0.0, e) for e in reached)
    if _powerless(results):
        return "Equal weights guide as well as any others"
    if jsd[0] < results.settings.bar(ADVANTAGE):
        return f"The adversary has hardly other weights (mean divergence {spoken(jsd[1])})"
    if tvd[0] > results.settings.bar(EPSILON):
        return f"The adversary does not say the same (mean output change {spoken(tvd[1], 3)})"
    return ""


def _lacking(results: Results, wanted: tuple[str, ...], subject: str) -> Finding | None:
    """The finding where a training that it rests on has failed."""
    guides = results.variants.guided()
    # what a guide was taken from must be there too: the adversary is looked at itself
    some = [t for name in wanted for t in (*guides[name].needs, guides[name])]
    notes = results.missing(tuple(dict.fromkeys(some)))
    if not notes:
        return None
    return Finding(
        check="guide",
        subject=subject,
        verdict=Verdict.NOT_APPLICABLE,
        notes=notes,
        sentence="A training that this rests on has failed.",
    )


def _finding(
    results: Results,
    subject: str,
    verdict: Verdict,
    headline: Estimate,
    estimates: list[Estimate],
    sentence: str,
    figures: str,
) -> Finding:
    notes = (*results.missing(trainings(results.variants)), ONE_SEED)
    if results.variants.recipe.encoder == GUIDED:
        notes += ("the model in question is context-free itself",)
    if results.near_chance:
        sentence = f"The model itself is near chance, so nothing can be said ({figures})."
    return Finding(
        check="guide",
        subject=subject,
        verdict=results.gated(verdict),
        headline=headline,
        estimates=tuple(estimates),
        sentence=sentence,
        notes=notes,
        thresholds=results.settings.used(MARGIN, ADVANTAGE, EPSILON, LEAST_INSTANCES)
        | {"lambda": GUIDE_LAMBDA},
    )


def _difference(results: Results, one: str, other: str) -> list[Estimate]:
    guides = results.variants.guided()
    a, b = (results.outputs[guides[name].name].probabilities for name in (one, other))
    return difference(results.labels, [a], [b], results.settings, f"{one} - {other}")


def _performances(results: Results) -> list[Estimate]:
    return [
        estimate
        for name, training in results.variants.guided().items()
        if results.has(training)
        for estimate in performance(
            results.labels, [results.outputs[training.name].probabilities], results.settings, name
        )
    ]


def _figures(results: Results, names: tuple[str, ...], lead: Estimate) -> str:
    words = {
        "uniform": "equal weights",
        "own": "its own",
        "base": "the model's",
        "adversary": "the adversary's",
    }
    guides, labels = results.variants.guided(), results.labels
    said = [
        f"{float((results.outputs[guides[n].name].predicted == labels).mean()):.3f} with {words[n]}"
        for n in names
        if results.has(guides[n])
    ]
    return f"accuracy {', '.join(said)}; difference of the last two {spoken(lead, 3)}; one seed"


def requires(finding: Finding) -> str:
    """What it takes to pass."""
    margin = finding.thresholds.get(MARGIN.name)
    if margin is None:
        return ""
    return f"at least {number(margin if finding.subject == 'adversary' else -margin)}"


def picture(results: Results, findings: Sequence[Finding]) -> list[Block]:
    """The accuracy of a context-free model under each source of weights, and every number."""
    judged = {"weights": SOURCES["base"], "adversary": SOURCES["adversary"]}
    tables = [estimates_table(f"All numbers: {judged[f.subject]}", f.estimates) for f in findings]
    found = {s: estimate_of(findings[0], "accuracy", s) for s in SOURCES}
    rows = [IntervalRow(SOURCES[s], (one,)) for s, one in found.items() if one is not None]
    if not rows:
        return list(tables)
    figure = interval_figure(
        "guide",
        "A context-free model under four sources of weights",
        rows,
        "accuracy",
        "Each row is the same small model, trained and tested with other weights.",
    )
    return [figure, *tables]


GUIDE = Check(
    name="guide",
    title="Guide",
    paper="Wiegreffe & Pinter 2019, section 3.4",
    question="Do the weights help a model that sees no context, as much as weights that it learns "
    "itself? And do the weights of a model trained to have others?",
    statistic="accuracy of the context-free model guided by the base's weights, less that of the "
    "same model with its own, paired by instance",
    null="0: the base's weights are as good a guide as those learned without context",
    higher_is_better=True,
    group=RETRAINING,
    kinds=(TEXTS,),
    cost="4 of a small model, the model itself, and one trained adversary",
    caveat="Where equal weights do as well, nothing can be told apart; nor is anything learnt from "
    "an adversary that has hardly other weights, or says something else. Weights can also carry "
    "the answer in their form alone, without pointing at any evidence.",
    asks=Trainings(trainings),
    conclude=conclude,
    decisive=False,
    bars=(MARGIN, ADVANTAGE, EPSILON, LEAST_INSTANCES),
    bar=None,
    requires=requires,
    picture=picture,
)
