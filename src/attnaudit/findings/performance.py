"""How good a model is at its task: nothing is said of the weights of one that only guesses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.stats import rankdata

from attnaudit.findings.estimates import above, average, share, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.settings import LEAST_INSTANCES, Bar, Settings
from attnaudit.measures.bootstrap import bootstrap_metric

SKILL = Bar(
    "skill",
    0.3,
    "Least skill to be worth an audit: (balanced accuracy - chance) / (1 - chance). Ours; .65 for "
    "two classes.",
)
NAME = "performance"
MOST = 1000


def conclude_performance(
    frame: pl.DataFrame, classes: Sequence[str], settings: Settings
) -> Finding:
    """Balanced accuracy over chance, with accuracy, ROC-AUC and the majority rate beside it.

    Args:
        frame: The instances, with `label`, `predicted` and `probability.0`, `probability.1`, …
        classes: Names of the model's outputs.
        settings: Settings and bars.

    Returns:
        `fail` where the model is near chance, `not applicable` where no labels are known.
    """
    if "right" in frame.columns and frame["right"].drop_nulls().len():
        return _by_answers(frame, settings)
    known = frame.filter(pl.col("label").is_not_null())
    labels = known["label"].to_numpy()
    several = len(np.unique(labels))
    if len(known) == 0 or several < 2:
        why = "The data has no labels" if len(known) == 0 else "All labels are of one class"
        return Finding(
            check=NAME,
            subject="model",
            verdict=Verdict.NOT_APPLICABLE,
            sentence=f"{why}, so whether the model is good enough to audit is not known.",
        )
    predicted = known["predicted"].to_numpy()
    chance = 1 / several
    skill = bootstrap_metric(
        labels,
        predicted,
        lambda y, p: (balanced(y, p) - chance) / (1 - chance),
        confidence=settings.confidence,
        resamples=min(settings.resamples, MOST),
        seed=settings.seed,
    )
    headline = Estimate(
        statistic="skill",
        subject="model",
        value=skill.value,
        low=skill.low,
        high=skill.high,
        n=skill.n,
        undefined=len(frame) - len(known),
        null=0.0,
    )
    majority = float(np.bincount(labels.astype(int)).max() / len(labels))
    estimates = [
        headline,
        share(
            (labels == predicted).astype(float),
            settings,
            statistic="accuracy",
            subject="model",
            null=majority,
        ),
        *_auc(known, labels, classes, settings),
    ]
    verdict = above(headline, settings.bar(SKILL), settings.least)
    accuracy = estimates[1]
    figures = f"accuracy {accuracy.value:.2f}, the larger class {majority:.2f}, n = {accuracy.n}"
    sentence = {
        Verdict.PASS: f"The model does its task ({figures}).",
        Verdict.FAIL: f"The model is near chance ({figures}): it is not good enough to audit.",
        Verdict.INCONCLUSIVE: f"Whether the model is good enough to audit is not certain "
        f"({figures}).",
        Verdict.NOT_APPLICABLE: "Performance is undefined.",
    }[verdict]
    return Finding(
        check=NAME,
        subject="model",
        verdict=verdict,
        sentence=sentence,
        headline=headline,
        estimates=tuple(estimates),
        thresholds=settings.used(SKILL, LEAST_INSTANCES),
    )


def _by_answers(frame: pl.DataFrame, settings: Settings) -> Finding:
    """How often a model that chooses among tokens says the known one, over always the commonest."""
    known = frame.filter(pl.col("right").is_not_null())
    counts = known["answer"].value_counts()["count"]
    commonest = float(counts.max() or 0) / len(known)  # type: ignore[arg-type]
    right = known["right"].to_numpy().astype(float)
    accuracy = share(right, settings, statistic="accuracy", subject="model", null=commonest)
    over = (right - commonest) / max(1 - commonest, 1e-9)
    headline = average(over, settings, statistic="skill", subject="model", null=0.0)
    verdict = above(headline, settings.bar(SKILL), settings.least)
    figures = (
        f"the known token is the likeliest in {spoken(accuracy)}; always the commonest one would "
        f"be right in {commonest:.2f}"
    )
    sentence = {
        Verdict.PASS: f"The model does its task ({figures}).",
        Verdict.FAIL: f"The model hardly does its task ({figures}): it is not good enough to "
        "audit.",
    }.get(verdict, f"Whether the model is good enough to audit is not certain ({figures}).")
    return Finding(
        check=NAME,
        subject="model",
        verdict=verdict,
        sentence=sentence,
        headline=headline,
        estimates=(headline, accuracy),
        thresholds=settings.used(SKILL, LEAST_INSTANCES),
    )


def balanced(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the classes of the share of their labels that are predicted."""
    return float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))


def _rank_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """ROC-AUC as the Mann-Whitney statistic: far quicker to resample than scikit-learn's."""
    positives = int((labels == 1).sum())
    above = float(rankdata(scores)[labels == 1].sum()) - positives * (positives + 1) / 2
    return above / (positives * (len(labels) - positives))


def _auc(
    known: pl.DataFrame, labels: np.ndarray, classes: Sequence[str], settings: Settings
) -> list[Estimate]:
    if len(classes) != 2:
        return []
    interval = bootstrap_metric(
        labels,
        known["probability.1"].to_numpy(),
        _rank_auc,
        confidence=settings.confidence,
        resamples=min(settings.resamples, MOST),
        seed=settings.seed,
    )
    return [
        Estimate(
            statistic="roc_auc",
            subject="model",
            value=interval.value,
            low=interval.low,
            high=interval.high,
            n=interval.n,
            null=0.5,
        )
    ]
