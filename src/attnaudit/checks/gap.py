"""The gap between a model and its neutral judges, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from attnaudit.checks.declaration import SHORTCUT, Check
from attnaudit.checks.leak import accuracies, leaks
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.judges.cells import Judgements, Judging
from attnaudit.evidence.judges.interventions import LEAK
from attnaudit.evidence.judges.judge import Judged
from attnaudit.evidence.judges.reading import Reading
from attnaudit.findings.balanced import balanced_mean, class_mean, too_rare
from attnaudit.findings.estimates import below, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.metrics import difference, performance
from attnaudit.findings.pictures import Block, estimates_table
from attnaudit.findings.settings import LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import Statistic
from attnaudit.nets.selective.mask_laws import MaskLaw

GAP = Bar(
    "gap",
    0.03,
    "Balanced accuracy that a model may have above a neutral judge of the same weights. Ours.",
)
POWER = Bar(
    "power",
    0.5,
    "Share of the model's gain over chance that a decoder trained afresh on the model's own "
    "weights must reach: below it, a judge trained the same way says nothing. A judge that reaches "
    "less of it under weights that are independent of the label is weak. Ours.",
)
SUBJECTS = {
    "informed": "informed decoder",
    "plain": "judge, prior not fitted",
    "model, salient weights": "model, salient weights",
}
NEAR_CHANCE = 0.1
"""Balanced accuracy over chance up to which a judge has read nothing. Ours."""
LARGER_CLASS = "larger class"
LARGER = f"model - {LARGER_CLASS}"


def conclude(evidence: Judgements) -> list[Finding]:
    """Whether the model predicts more from its weights than a neutral judge of the same weights.

    The gap is one of balanced accuracy. Where judges are blind (see `is_blind`) it is that to
    chance.

    Returns:
        `pass` where the gap lies below the bar. `fail` where it lies above and four things hold:
        so does that of most judges alone (of two at least, where the decoder provably reads the
        form of weights, see `reads_form`); so does what the informed decoder has beyond the judges,
        which were trained in the same way; judges are not as far behind where no code can help (see
        `_behind`); and the judges are not weak (see `is_weak`), or wholly
        blind (see `is_blind`; two judges at least), or a probe or an intervention fails too. Else
        `inconclusive`.
    """
    if evidence.judged is None:
        return []
    told = evidence.reads_form or leaks(evidence) is Verdict.FAIL
    reading, judged, settings = evidence.reading, evidence.judged, evidence.settings
    return [conclude_gap(reading, judged, settings, accident=evidence.reads_form, told=told)]


def conclude_gap(
    reading: Reading, judged: Judged, settings: Settings, *, accident: bool, told: bool
) -> Finding:
    """The finding on a model and what its judges say.

    Args:
        reading: The model on the held-out records.
        judged: What the judges say of them.
        settings: The bars.
        accident: Whether the decoder provably reads the form of the weights: so do judges, by the
            accident of initial values.
        told: Whether a probe or an intervention shows a code.
    """
    labels, gap, least = reading.labels, settings.bar(GAP), settings.least
    chance = 1 / len(np.unique(labels))
    right = (reading.predicted == labels).astype(np.float64)
    by_judges = _right(judged.own, labels)
    informed = _right(judged.others["informed"][:1], labels)[0]
    balanced = partial(balanced_mean, labels=labels, settings=settings, statistic="judge_gap")
    headline = balanced(right - by_judges.mean(0), subject="model - judge")
    each = [
        balanced(right - one, subject=f"model - judge {i + 1}") for i, one in enumerate(by_judges)
    ]
    spared = balanced(informed - by_judges.mean(0), subject="informed decoder - judge")
    own = [reading.probabilities] * len(judged.own)
    estimates = [headline, *difference(labels, own, judged.own, settings, "model - judge")]
    estimates += performance(labels, [reading.probabilities], settings, "model")
    estimates += performance(labels, judged.own, settings, "judge")
    estimates += each
    for name, runs in judged.others.items():
        some = labels[judged.known] if name == "truth" else labels
        subject = SUBJECTS.get(name, f"judge, {name}")
        estimates += performance(some, runs, settings, subject)[:1]
    estimates.append(spared)
    accuracy, taught = class_mean(right, labels), class_mean(informed, labels)
    powerless = taught - chance < settings.bar(POWER) * (accuracy - chance)
    weak = is_weak(judged, labels, accuracy, settings)
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
    verdict = below(headline, gap, least)
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
        if not blind and not _enough_above(each, gap, accident):
            few = "all judges but one" if accident else "most judges"
            doubts.append(f"{few} alone leave no gap above the bar")
        if below(spared, gap, least) is not Verdict.FAIL:
            doubts.append(
                "a decoder trained on the model's own weights, in the same way as the judges, is "
                f"not clearly better than they are on average ({spoken(spared, 3)}): their "
                "training is too short, or has too few records, to show a code"
            )
        if (behind := _behind(judged, labels, right - by_judges.mean(0), settings)) is not None:
            estimates += behind
            if below(behind[1], gap, least) is not Verdict.FAIL:
                doubts.append(
                    "the judges are nearly as far behind under weights that favour units as the "
                    f"model does in other records, which carry no code ({spoken(behind[0], 3)}): "
                    "they are trained too little for such weights"
                )
        alone = len(judged.own) == 1
        if not told and (alone or (weak and not blind)):
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
        check="gap",
        subject="weights",
        verdict=verdict,
        headline=headline,
        sentence=_sentence(verdict, told, _figures(accuracy, chance, by_judges, labels, headline)),
        estimates=tuple(estimates),
        notes=tuple(notes),
        thresholds=settings.used(GAP, POWER, LEAST_INSTANCES),
    )


def _behind(
    judged: Judged, labels: np.ndarray, gap: np.ndarray, settings: Settings
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
        balanced_mean(values, labels, settings, statistic="judge_gap", subject=subject)
        for values, subject in (
            (control, "model - judge, salient weights"),
            (gap - control, "model - judge, beyond that of salient weights"),
        )
    )
    return (behind, beyond) if (behind.value or 0.0) > 0 else None


def _figures(
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
    return f"balanced accuracy {accuracy:.3f}, {judges}; gap {spoken(headline, 3)}"


def _sentence(verdict: Verdict, told: bool, figures: str) -> str:
    if verdict is Verdict.FAIL:
        return (
            "The model relies on a code in its weights, so they are no measure of importance: it "
            f"reads from them what a neutral judge of the same weights does not ({figures})."
        )
    if verdict is not Verdict.PASS:
        return f"Whether the model relies on a code in its weights is not certain ({figures})."
    if told:
        return (
            "The model does not need what the form of its weights tells: a neutral judge of the "
            f"same weights predicts as well ({figures})."
        )
    return (
        "The weights carry no code that the model relies on: a neutral judge of the same weights "
        f"predicts as well ({figures})."
    )


def _words_of(law: MaskLaw, settings: Settings) -> str:
    if settings.judges.masks == "half":
        return "judges were trained with every unit shown with probability 1/2"
    drawn = f"random soft masks of a spread of up to {law.sigma:g}"
    if law.kind == "hard":
        drawn = f"{law.k} random units of equal weight"
    mixed = settings.judges.masks == "mixed"
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


def is_weak(judged: Judged, labels: np.ndarray, accuracy: float, settings: Settings) -> bool:
    """Whether judges read little from weights that are independent of the label.

    Under none of random masks, equal weights, salient weights and known evidence they gain as much
    over chance as the informed decoder must: a share `power` of the gain of the model, whose
    balanced accuracy is given.
    """
    chance = 1 / len(np.unique(labels))
    gains = [class_mean(right, some) - chance for right, some in _independent(judged, labels)]
    return max(gains) < settings.bar(POWER) * (accuracy - chance)


def is_blind(judged: Judged, labels: np.ndarray, settings: Settings) -> bool:
    """Whether judges read nothing from weights: they always say one class, or guess.

    Their mean balanced accuracy under random masks, equal weights, salient weights and known
    evidence must be certainly below chance and `NEAR_CHANCE`, and that under the model's own
    weights below chance and the bar of a leak. A judge that reads the model's weights is not blind,
    however rarely random masks show it the evidence.
    """
    everything = [(*some, NEAR_CHANCE) for some in _independent(judged, labels)]
    everything.append((_right(judged.own, labels).mean(0), labels, settings.bar(LEAK)))
    for right, some, most in everything:
        gain = balanced_mean(
            right - 1 / len(np.unique(some)),
            some,
            settings,
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


def picture(evidence: Judgements, findings: Sequence[Finding]) -> list[Block]:
    """Accuracies of the model and its judges, and every number."""
    estimates = findings[0].estimates
    return [
        *accuracies("gap", "Accuracy: the model, and means of judges", estimates),
        estimates_table("All numbers of the model and its judges", estimates),
    ]


RELIANCE = Check(
    name="gap",
    title="Reliance on a code",
    paper="Bai et al. 2021; EVAL-X of Jethani et al. 2021",
    question="Does the model need its own code?",
    statistic="balanced accuracy of the model less the mean of judges that learnt with masks which "
    "tell nothing of the label, and read the same weights; paired by record",
    null="0: judges that cannot know a code predict as well",
    higher_is_better=False,
    range=(-1.0, 1.0),
    group=SHORTCUT,
    kinds=(TEXTS, BAGS),
    asks=Judging(probes=True, interventions=True, judges=True),
    conclude=conclude,
    decisive=True,
    caveat="Where no weights independent of the label can be read at all, the informed decoder "
    "shows that the training of the judges has power.",
    bars=(GAP, POWER, LEAK, LEAST_INSTANCES),
    bar=GAP,
    picture=picture,
    words={
        "judge_gap": Statistic("gap", "balanced accuracy beyond a neutral judge, paired"),
    },
    cost="trains three neutral judges, or six where the decoder reads the form of the weights, and "
    "one informed decoder",
)
