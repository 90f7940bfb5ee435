"""The gap between a model and its neutral judges, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnaudit.checks import Estimate, Finding, Verdict
from attnaudit.checks.estimates import average, spoken
from attnaudit.controls.metrics import difference, performance
from attnaudit.nets.mask_laws import MaskLaw
from attnaudit.shortcuts.judge import Judged
from attnaudit.shortcuts.probe import most_common
from attnaudit.shortcuts.reading import Reading
from attnaudit.shortcuts.settings import ShortcutSettings, below

NAME = "gap"
SUBJECTS = {"informed": "informed decoder", "plain": "judge, prior not fitted"}
LARGER = "model - larger class"


def conclude_gap(reading: Reading, judged: Judged, settings: ShortcutSettings) -> Finding:
    """Whether the model predicts more from its weights than a neutral judge of the same weights.

    Returns:
        `fail` where the gap lies above the bar, and does for most judges alone; `pass` where it
        lies below; `inconclusive` where even a decoder trained on the model's own weights does not
        learn, so that a judge trained in the same way says nothing. Where judges are blind (see
        `is_blind`) the gap is that to the larger class.
    """
    labels, audit, bars = reading.labels, settings.audit(), settings.bars
    majority = float(np.mean(labels == most_common(labels)))
    own = [reading.probabilities] * len(judged.own)
    gaps = difference(labels, own, judged.own, audit, "model - judge")
    headline = gaps[0].model_copy(update={"statistic": "judge_gap"})
    estimates = [headline, *gaps[1:]]
    estimates += performance(labels, [reading.probabilities], audit, "model")
    estimates += performance(labels, judged.own, audit, "judge")
    each = [
        e.model_copy(update={"statistic": "judge_gap"})
        for i, said in enumerate(judged.own)
        for e in difference(labels, own[:1], [said], audit, f"model - judge {i + 1}")[:1]
    ]
    estimates += each
    for name, runs in judged.others.items():
        some = labels[judged.known] if name == "truth" else labels
        subject = SUBJECTS.get(name, f"judge, {name}")
        estimates += performance(some, runs, audit, subject)[:1]
    spared = difference(labels, [judged.others["informed"][0]] * len(judged.own), judged.own, audit,
                        "informed decoder - judge")[0]  # fmt: skip
    estimates.append(spared)
    accuracy = float((reading.predicted == labels).mean())
    informed = float((judged.others["informed"][0].argmax(1) == labels).mean())
    powerless = informed - majority < bars.power * (accuracy - majority)
    blind = not powerless and is_blind(judged, labels, settings)
    notes = [_words_of(judged.law, settings), *_range(each)]
    if blind:
        headline = average(
            (reading.predicted == labels) - majority, audit, statistic="judge_gap",
            subject=LARGER, null=0.0,
        )  # fmt: skip
        estimates.insert(0, headline)
        notes.append(
            "the judges are at chance under random masks and under equal weights, yet a decoder "
            f"trained on the model's own weights reaches {informed:.3f}: no weights that are "
            "independent of the label can be read here. What the judges get right from the "
            "model's weights they get by accident, so the gap is taken to the larger class"
        )
    verdict = below(headline, bars.gap, audit.thresholds.least_instances)
    if not blind and verdict is Verdict.FAIL and not _most_above(each, bars.gap):
        verdict = Verdict.INCONCLUSIVE
    if powerless and verdict is not Verdict.PASS:
        verdict = Verdict.INCONCLUSIVE
        notes.append(
            f"a decoder trained afresh on the model's own weights reaches {informed:.3f} only: "
            "the judges' training has no power here (more epochs or records may help)"
        )
    return Finding(
        check=NAME, subject="weights", verdict=verdict, headline=headline,
        sentence=_sentence(verdict, accuracy, judged, labels, headline),
        estimates=tuple(estimates), notes=tuple(notes),
        thresholds={"gap": bars.gap, "power": bars.power,
                    "least_instances": float(audit.thresholds.least_instances)},
    )  # fmt: skip


def _sentence(
    verdict: Verdict, accuracy: float, judged: Judged, labels: np.ndarray, headline: Estimate
) -> str:
    read = float(np.mean([(p.argmax(1) == labels).mean() for p in judged.own]))
    judges = f"neutral judge {read:.3f}"
    if headline.subject == LARGER:
        majority = float(np.mean(labels == most_common(labels)))
        judges = f"a neutral judge can but name the larger class {majority:.3f}"
    figures = f"accuracy {accuracy:.3f}, {judges}; gap {spoken(headline, 3)}"
    return {
        Verdict.FAIL: "The model reads from its weights what a neutral judge of the same weights "
        f"does not: it relies on a code ({figures}).",
        Verdict.PASS: "A neutral judge of the same weights predicts as well as the model: nothing "
        f"points to a code ({figures}).",
    }.get(verdict, f"Whether the model relies on a code in its weights is not certain ({figures}).")


def _words_of(law: MaskLaw, settings: ShortcutSettings) -> str:
    if settings.judge_masks == "half":
        return "judges were trained with every unit shown with probability 1/2"
    if law.kind == "hard":
        return f"judges were trained with {law.k} random units of equal weight"
    return f"judges were trained with random soft masks of a spread of up to {law.sigma:g}"


def _range(each: Sequence[Estimate]) -> list[str]:
    values = [e.value for e in each if e.value is not None]
    if len(values) < 2:
        return ["one judge: the interval covers other texts, not other judges"]
    return [f"gaps of the {len(values)} judges: {min(values):.3f} to {max(values):.3f}"]


def is_blind(judged: Judged, labels: np.ndarray, settings: ShortcutSettings) -> bool:
    """Whether judges read nothing from weights that are independent of the label.

    Their accuracy under random masks, equal weights and known evidence must be certainly below the
    larger class and the bar of the gap. The best judge then always says the larger class; what a
    trained one makes of a code is an accident of its initial values, and may be right or wrong.
    """
    for name in ("random masks", "equal weights", "truth"):
        if name in judged.others:
            some = labels[judged.known] if name == "truth" else labels
            right = np.mean([p.argmax(1) == some for p in judged.others[name]], axis=0)
            gain = average(right - np.mean(some == most_common(some)), settings.audit(),
                           statistic="gain", subject=name)  # fmt: skip
            if gain.high is None or gain.high > settings.bars.gap:
                return False
    return True


def _most_above(each: Sequence[Estimate], bar: float) -> bool:
    """Whether more than half of the judges, each for itself, leave a gap above the bar."""
    return 2 * sum((e.value or 0.0) > bar for e in each) > len(each)
