"""The gap between a model and its neutral judges, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from attnaudit.checks.swaps import FORWARD, SWAPS
from attnaudit.evidence.judges.judge import Judged
from attnaudit.evidence.judges.reading import Reading
from attnaudit.findings.balanced import balanced_mean, class_mean, too_rare
from attnaudit.findings.estimates import spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.metrics import difference, performance
from attnaudit.nets.selective.mask_laws import MaskLaw
from attnaudit.shortcuts.settings import ShortcutSettings, below

NAME = "gap"
SUBJECTS = {
    "informed": "informed decoder",
    "plain": "judge, prior not fitted",
    "model, salient weights": "model, salient weights",
}
NEAR_CHANCE = 0.1
"""Balanced accuracy over chance up to which a judge has read nothing. Ours."""
LARGER_CLASS = "larger class"
LARGER = f"model - {LARGER_CLASS}"


def conclude_gap(
    reading: Reading,
    judged: Judged,
    settings: ShortcutSettings,
    others: Sequence[Finding] = (),
) -> Finding:
    """Whether the model predicts more from its weights than a neutral judge of the same weights.

    The gap is one of balanced accuracy. Where judges are blind (see `is_blind`) it is that to
    chance.

    Args:
        reading: The model on the held-out records.
        judged: What the judges say of them.
        settings: The bars.
        others: Findings on the same weights: leak, weights only, swaps.

    Returns:
        `pass` where the gap lies below the bar. `fail` where it lies above and four things hold:
        so does that of most judges alone (of two at least, where the decoder provably reads the
        form of weights, see `reads_form`); so does what the informed decoder has beyond the judges,
        which were trained in the same way; judges are not as far behind where no code can help (see
        `_behind`); and the judges are not weak (see `is_weak`), or wholly
        blind (see `is_blind`; two judges at least), or one of the other findings fails too. Else
        `inconclusive`.
    """
    labels, audit, bars = reading.labels, settings.audit(), settings.bars
    chance = 1 / len(np.unique(labels))
    right = (reading.predicted == labels).astype(np.float64)
    by_judges = _right(judged.own, labels)
    informed = _right(judged.others["informed"][:1], labels)[0]
    balanced = partial(balanced_mean, labels=labels, settings=audit, statistic="judge_gap")
    headline = balanced(right - by_judges.mean(0), subject="model - judge")
    each = [
        balanced(right - one, subject=f"model - judge {i + 1}") for i, one in enumerate(by_judges)
    ]
    spared = balanced(informed - by_judges.mean(0), subject="informed decoder - judge")
    own = [reading.probabilities] * len(judged.own)
    estimates = [headline, *difference(labels, own, judged.own, audit, "model - judge")]
    estimates += performance(labels, [reading.probabilities], audit, "model")
    estimates += performance(labels, judged.own, audit, "judge")
    estimates += each
    for name, runs in judged.others.items():
        some = labels[judged.known] if name == "truth" else labels
        subject = SUBJECTS.get(name, f"judge, {name}")
        estimates += performance(some, runs, audit, subject)[:1]
    estimates.append(spared)
    accuracy, taught = class_mean(right, labels), class_mean(informed, labels)
    powerless = taught - chance < bars.power * (accuracy - chance)
    weak = is_weak(judged, labels, accuracy, settings)
    failed = {finding.check for finding in others if finding.verdict is Verdict.FAIL}
    # where the decoder provably reads the form, so do judges, by the accident of initial values
    accident = reads_form(others)
    blind = weak and not powerless and is_blind(judged, labels, settings)
    notes = [_words_of(judged.law, settings), *_range(each)]
    if accident:
        notes.append(
            f"{len(each)} judges, twice as many as usual: the decoder reads the form of the "
            "weights, so judges do too, each rightly or wrongly by accident"
        )
    if blind:
        headline = balanced(right - chance, subject=LARGER)
        spared = balanced(informed - chance, subject=f"informed decoder - {LARGER_CLASS}")
        estimates = [headline, *estimates, spared]
        notes.append(
            "the judges are near chance under random masks, under equal weights, and under the "
            f"model's own, yet a decoder trained on the model's own weights reaches {taught:.3f}: "
            "no weights that are independent of the label can be read here, so the gap is taken "
            "to the larger class"
        )
    verdict = below(headline, bars.gap, audit.thresholds.least_instances)
    if (rare := too_rare(labels)) is not None and verdict is Verdict.FAIL:
        verdict = Verdict.INCONCLUSIVE
        notes.append(rare)
    if powerless and verdict is not Verdict.PASS:
        verdict = Verdict.INCONCLUSIVE
        notes.append(
            "a decoder trained afresh on the model's own weights reaches a balanced accuracy of "
            f"{taught:.3f} only: the judges' training has no power here (more epochs or records "
            "may help)"
        )
    if verdict is Verdict.FAIL:
        doubts = []
        if not blind and not _enough_above(each, bars.gap, accident):
            few = "all judges but one" if accident else "most judges"
            doubts.append(f"{few} alone leave no gap above the bar")
        if below(spared, bars.gap, audit.thresholds.least_instances) is not Verdict.FAIL:
            doubts.append(
                "a decoder trained on the model's own weights, in the same way as the judges, is "
                f"not clearly better than they are on average ({spoken(spared, 3)}): their "
                "training is too short, or has too few records, to show a code"
            )
        if (behind := _behind(judged, labels, right - by_judges.mean(0), settings)) is not None:
            estimates += behind
            if below(behind[1], bars.gap, audit.thresholds.least_instances) is not Verdict.FAIL:
                doubts.append(
                    "the judges are nearly as far behind under weights that favour units as the "
                    f"model does in other records, which carry no code ({spoken(behind[0], 3)}): "
                    "they are trained too little for such weights"
                )
        alone = len(judged.own) == 1
        if not failed and (alone or (weak and not blind)):
            doubts.append(
                (
                    "there is one judge only"
                    if alone
                    else "the judges read too little from weights that are independent of the label"
                )
                + ", and neither the probes nor the interventions show a code"
            )
        verdict = Verdict.INCONCLUSIVE if doubts else verdict
        notes += doubts
    return Finding(
        check=NAME,
        subject="weights",
        verdict=verdict,
        headline=headline,
        sentence=_sentence(verdict, accuracy, chance, by_judges, labels, headline),
        estimates=tuple(estimates),
        notes=tuple(notes),
        thresholds={
            "gap": bars.gap,
            "power": bars.power,
            "least_instances": float(audit.thresholds.least_instances),
        },
    )


def _behind(
    judged: Judged, labels: np.ndarray, gap: np.ndarray, settings: ShortcutSettings
) -> tuple[Estimate, Estimate] | None:
    """How far judges are behind the model under salient weights, and the gap beyond that.

    Salient weights favour a unit as the model does in other records, and carry no code: what the
    model has over its judges there is better training. None where there are no such weights, or
    the judges are not behind.
    """
    model = judged.others.get("model, salient weights")
    if model is None:
        return None
    by_judges = _right(judged.others["salient weights"], labels).mean(0)
    control = _right(model, labels)[0] - by_judges
    behind, beyond = (
        balanced_mean(values, labels, settings.audit(), statistic="judge_gap", subject=subject)
        for values, subject in (
            (control, "model - judge, salient weights"),
            (gap - control, "model - judge, beyond that of salient weights"),
        )
    )
    return (behind, beyond) if (behind.value or 0.0) > 0 else None


def reads_form(findings: Sequence[Finding]) -> bool:
    """Whether an intervention shows that the decoder reads the form of the weights.

    Then neutral judges read that too, rightly or wrongly, each by the accident of its initial
    values: more of them are needed, and one that agrees with the model says little.
    """
    return any(f.check in (FORWARD, SWAPS) and f.verdict is Verdict.FAIL for f in findings)


def _sentence(
    verdict: Verdict,
    accuracy: float,
    chance: float,
    by_judges: np.ndarray,
    labels: np.ndarray,
    headline: Estimate,
) -> str:
    several = "neutral judge" if len(by_judges) == 1 else f"mean of {len(by_judges)} neutral judges"
    judges = f"{several} {class_mean(by_judges.mean(0), labels):.3f}"
    if headline.subject == LARGER:
        judges = f"a neutral judge can but guess {chance:.3f}"
    figures = f"balanced accuracy {accuracy:.3f}, {judges}; gap {spoken(headline, 3)}"
    return {
        Verdict.FAIL: "The model reads from its weights what a neutral judge of the same weights "
        f"does not: it relies on a code ({figures}).",
        Verdict.PASS: "A neutral judge of the same weights predicts as well as the model: nothing "
        f"points to a code ({figures}).",
    }.get(verdict, f"Whether the model relies on a code in its weights is not certain ({figures}).")


def _words_of(law: MaskLaw, settings: ShortcutSettings) -> str:
    if settings.judge_masks == "half":
        return "judges were trained with every unit shown with probability 1/2"
    drawn = f"random soft masks of a spread of up to {law.sigma:g}"
    if law.kind == "hard":
        drawn = f"{law.k} random units of equal weight"
    mixed = settings.judge_masks == "mixed"
    if not mixed:
        return f"judges were trained with {drawn}"
    return (
        f"judges were trained with {drawn}, with every unit shown with probability 1/2, with equal "
        "weights, and (texts) with units favoured as the model favours them in other records"
    )


def _range(each: Sequence[Estimate]) -> list[str]:
    values = [e.value for e in each if e.value is not None]
    if len(values) < 2:
        return ["one judge: the interval covers other records, not other judges"]
    return [f"gaps of the {len(values)} judges: {min(values):.3f} to {max(values):.3f}"]


def is_weak(
    judged: Judged, labels: np.ndarray, accuracy: float, settings: ShortcutSettings
) -> bool:
    """Whether judges read little from weights that are independent of the label.

    Under none of random masks, equal weights, salient weights and known evidence they gain as much
    over chance as the informed decoder must: a share `power` of the gain of the model, whose
    balanced accuracy is given.
    """
    chance = 1 / len(np.unique(labels))
    gains = [class_mean(right, some) - chance for right, some in _independent(judged, labels)]
    return max(gains) < settings.bars.power * (accuracy - chance)


def is_blind(judged: Judged, labels: np.ndarray, settings: ShortcutSettings) -> bool:
    """Whether judges read nothing from weights: they always say one class, or guess.

    Their mean balanced accuracy under random masks, equal weights, salient weights and known
    evidence must be certainly below chance and `NEAR_CHANCE`, and that under the model's own
    weights below chance and the bar of a leak. A judge that reads the model's weights is not blind,
    however rarely random masks show it the evidence.
    """
    everything = [(*some, NEAR_CHANCE) for some in _independent(judged, labels)]
    everything.append((_right(judged.own, labels).mean(0), labels, settings.bars.leak))
    for right, some, most in everything:
        gain = balanced_mean(
            right - 1 / len(np.unique(some)),
            some,
            settings.audit(),
            statistic="gain",
            subject="judge",
        )
        if gain.high is None or gain.high > most:
            return False
    return True


def _independent(judged: Judged, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How often judges are right under weights that are none of the model's, and the labels."""
    for name in ("random masks", "equal weights", "salient weights", "truth"):
        if name in judged.others:
            some = labels[judged.known] if name == "truth" else labels
            # with evidence in one class only, whoever always says that class is right
            if len(np.unique(some)) == len(np.unique(labels)):
                yield _right(judged.others[name], some).mean(0), some


def _right(runs: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """`(R, N)`, 1 where a run predicts the label."""
    return np.stack([(said.argmax(1) == labels).astype(np.float64) for said in runs])


def _enough_above(each: Sequence[Estimate], bar: float, accident: bool) -> bool:
    """Whether enough judges, each for itself, leave a gap above the bar: more than half of them.

    Where judges read the form of the weights by accident, it is two: others that agree with the
    model say little, and one may be badly trained.
    """
    above = sum((e.value or 0.0) > bar for e in each)
    return above >= min(2, len(each)) if accident else 2 * above > len(each)
