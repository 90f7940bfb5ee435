"""Do the weights leak the label? Probes of the weights against what any weights show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnaudit.checks.declaration import SHORTCUT, Check
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.errors import DataError
from attnaudit.evidence.judges.cells import Judgements, Judging
from attnaudit.evidence.judges.interventions import LEAK, best_of
from attnaudit.evidence.judges.probe import Probed, folds_of
from attnaudit.findings.balanced import balanced_mean, too_rare
from attnaudit.findings.estimates import average, below, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    Block,
    Guide,
    IntervalRow,
    Row,
    Table,
    Value,
    estimates_table,
    interval_figure,
)
from attnaudit.findings.settings import LEAST_INSTANCES
from attnaudit.findings.wording import Statistic, count, interval_of, null_of, value_of

NAME = "leak"
SIGNIFICANT = 0.05


def default_mass(evidence: Judgements) -> list[Estimate]:
    """Mean weight on default tokens: of all instances, and of each labelled class."""
    reading, defaults = evidence.reading, evidence.defaults
    if not defaults.tokens:
        return []
    mass = np.array([row.sum() for row in defaults.rows(reading)])
    labels = reading.labels
    groups = [("all", np.ones(len(mass), dtype=bool))]
    groups += [(f"label={name}", labels == i) for i, name in enumerate(reading.data.classes)]
    names = {token.lower() for token in defaults.tokens}
    share = np.mean(
        [sum(u.lower() in names for u in r.units) / max(1, len(r.units)) for r in reading.data]
    )
    return [
        average(
            mass[some],
            evidence.settings,
            statistic="default_mass",
            subject="default tokens",
            group=group,
            null=float(share),
        )
        for group, some in groups
        if some.any()
    ]


def reference_of(evidence: Judgements) -> tuple[np.ndarray | float, float]:
    """What probes are compared with: chance, or hits of a probe of the length; and its level."""
    length = next(probed for probed in evidence.probed if probed.name == "length")
    chance, longer = 1 / len(np.unique(length.labels)), length.balanced[length.best]
    return (length.right[length.best], longer) if longer > chance else (chance, chance)


def leaks_of(evidence: Judgements) -> list[Estimate]:
    """How far each probe of weights is above the reference."""
    probed = [one for one in evidence.probed if one.name != "length"]
    reference = reference_of(evidence)[0]
    # every estimator and every view of the weights is a try, and the best one is taken
    tries = sum(len(one.said) for one in probed)
    confidence = 1 - (1 - evidence.settings.confidence) / tries
    strict = evidence.settings.model_copy(update={"confidence": confidence})
    return [
        balanced_mean(
            one.right[one.best] - reference,
            one.labels,
            strict,
            statistic="leak",
            subject=one.name,
        )
        for one in probed
    ]


def leaks(evidence: Judgements) -> Verdict:
    """Whether the best probe is above the reference by the bar."""
    if not evidence.probed:
        return Verdict.INCONCLUSIVE
    settings = evidence.settings
    verdict = below(best_of(leaks_of(evidence)), settings.bar(LEAK), settings.least)
    rare = verdict is Verdict.FAIL and too_rare(evidence.reading.labels) is not None
    return Verdict.INCONCLUSIVE if rare else verdict


def conclude(evidence: Judgements) -> list[Finding]:
    """Whether the weights alone tell the label.

    The headline is the balanced accuracy of the better of two probes, above the better of two
    references: chance, and a probe of the number of units, which any weights show. It is paired by
    instance, and its confidence is raised for the choice between the probes (Bonferroni).

    Returns:
        `fail` where the weights leak the label, `pass` where a leak above the bar is ruled out,
        `inconclusive` where a class has too few instances for the folds of a probe.
    """
    labels, settings, mass = evidence.reading.labels, evidence.settings, default_mass(evidence)
    try:
        folds_of(labels, settings)
    except DataError as error:
        return [
            Finding(
                check=NAME,
                subject="weights",
                verdict=Verdict.INCONCLUSIVE,
                sentence=f"Whether the weights tell the label was not probed: {error}.",
                estimates=tuple(mass),
            )
        ]
    found, verdict = leaks_of(evidence), leaks(evidence)
    headline, level = best_of(found), reference_of(evidence)[1]
    source = next(one for one in evidence.probed if one.name == headline.subject)
    figures = (
        f"the best probe of {'the weights' if source.name == 'weights' else 'the default tokens'} "
        f"has a cross-fitted balanced accuracy of {source.balanced[source.best]:.3f}, the "
        f"reference {level:.3f}; difference {spoken(headline, 3)}"
    )
    sentence = {
        Verdict.FAIL: f"The weights alone tell the label: they leak ({figures}).",
        Verdict.PASS: f"The form of the weights tells little or nothing of the label ({figures}).",
    }.get(verdict, f"Whether the form of the weights tells the label is not certain ({figures}).")
    return [
        Finding(
            check=NAME,
            subject="weights",
            verdict=verdict,
            sentence=sentence,
            headline=headline,
            estimates=(
                *found,
                *mass,
                *(e for probed in evidence.probed for e in probed.estimates(settings)),
            ),
            thresholds=settings.used(LEAK, LEAST_INSTANCES),
            notes=tuple(_notes(evidence, headline, verdict, source, level)),
        )
    ]


def _notes(
    evidence: Judgements, headline: Estimate, verdict: Verdict, source: Probed, level: float
) -> list[str]:
    settings, labels, notes = evidence.settings, evidence.reading.labels, []
    bar, rare = settings.bar(LEAK), too_rare(labels)
    if rare is not None and below(headline, bar, settings.least) is Verdict.FAIL:
        notes.append(rare)
    if verdict is Verdict.FAIL and source.p_value > SIGNIFICANT:
        notes.append(
            "the linear probe does no better than with shuffled labels "
            f"(p = {source.p_value:.2f}): the leak is not linear in the weights"
        )
    if level > 1 / len(np.unique(labels)) + bar:
        notes.append(
            f"the number of units alone tells the label with a balanced accuracy of {level:.2f}; "
            "the probe is compared with that"
        )
    return notes


def accuracies(name: str, title: str, estimates: Sequence[Estimate]) -> list[Block]:
    """The accuracies among some estimates, beside the share of the larger class."""
    some = [e for e in estimates if e.statistic == "accuracy" and e.low is not None]
    if not some:
        return []
    null = next((e.null for e in some if e.null is not None), None)
    guides = () if null is None else (Guide(null, "larger class"),)
    rows = [IntervalRow(e.subject, (e,)) for e in some]
    caption = "With intervals over records."
    return [interval_figure(name, title, rows, "accuracy", caption, guides)]


def picture(evidence: Judgements, findings: Sequence[Finding]) -> list[Block]:
    """Accuracies of probes, the weight on default tokens, and every number."""
    estimates = findings[0].estimates
    mass = [e for e in estimates if e.statistic == "default_mass"]
    rows = [
        Row(
            e.group,
            (Value(value_of(e)), Value(interval_of(e)), Value(count(e.n)), Value(null_of(e))),
        )
        for e in mass
    ]
    defaults = Table(
        "Weight on default tokens",
        "They stand in every text and mean nothing: a difference between classes is a message.",
        "texts",
        ("mean weight", "interval", "n", "mean even share"),
        tuple(rows),
    )
    return [
        *accuracies("leak", "Accuracy of probes that see weights and no word", estimates),
        *([defaults] if mass else []),
        *([estimates_table("All numbers of the probes", estimates)] if estimates else []),
    ]


LEAKED = Check(
    name=NAME,
    title="Label in the weights",
    paper="Bai et al. 2021",
    question="Do the weights alone tell the label?",
    statistic="cross-fitted balanced accuracy of the best probe that sees the weights and no word, "
    "above chance or a probe of the number of units, whichever is better",
    null="0: the weights tell no more than chance or the number of units",
    higher_is_better=False,
    range=(-1.0, 1.0),
    group=SHORTCUT,
    kinds=(TEXTS, BAGS),
    asks=Judging(probes=True),
    conclude=conclude,
    decisive=False,
    caveat="A probe of the form misses a code that lies in which words are chosen: that is what "
    "neutral judges are for.",
    bars=(LEAK, LEAST_INSTANCES),
    bar=LEAK,
    picture=picture,
    words={
        "balanced_accuracy": Statistic("balanced accuracy", "every class counts alike"),
        "balanced_accuracy_under_null": Statistic(
            "the same, labels shuffled", "mean and range over shuffles"
        ),
        "p_value": Statistic("p", "share of shuffled labels that are predicted as well"),
        "leak": Statistic("leak", "balanced accuracy of the best probe over its reference"),
        "default_mass": Statistic(
            "mean weight on default tokens", "share of the weight", percent=True
        ),
    },
    cost="two probes of the weights, cross-fitted",
)
