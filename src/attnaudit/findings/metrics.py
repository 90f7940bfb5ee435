"""Accuracy, F1 and ROC-AUC of trained models, and paired differences, with intervals.

All are functions of how often each instance is drawn, so a bootstrap over instances is a few
matrix products, and two models are compared on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.stats import chi2, t

from attnaudit.findings.estimates import share
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings

AT_ONCE = 1 << 20
"""Numbers in one block of draws."""
MOST = 1000
"""Resamples of these metrics, at most."""

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Labels `(N,)`, probabilities `(N, C)` and draws `(R, N)` to values `(R,)`."""


def accuracy(labels: np.ndarray, probabilities: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The share of labels predicted."""
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    return np.asarray(draws @ right / draws.sum(1))


def f1(labels: np.ndarray, probabilities: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """F1 of the second of two classes; with more, the mean of the classes that have labels."""
    chosen = [1] if probabilities.shape[1] == 2 else np.unique(labels).tolist()
    predicted = probabilities.argmax(1)
    values = []
    for index in chosen:
        hits = draws @ ((labels == index) & (predicted == index)).astype(np.float64)
        said = draws @ ((labels == index).astype(np.float64) + (predicted == index))
        values.append(np.divide(2 * hits, said, out=np.zeros_like(hits), where=said > 0))
    return np.asarray(np.mean(values, axis=0))


def roc_auc(labels: np.ndarray, probabilities: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """ROC-AUC of the second of two classes; NaN for draws of one class.

    The share of pairs of a positive and a negative that are ordered rightly; ties count a half.
    """
    order = np.argsort(probabilities[:, 1], kind="stable")
    scores = probabilities[order, 1]
    starts = np.flatnonzero(np.diff(scores, prepend=-np.inf))
    positive = draws[:, order] * (labels[order] == 1)
    negative = draws[:, order] - positive
    above = np.add.reduceat(positive, starts, axis=1)
    beside = np.add.reduceat(negative, starts, axis=1)
    below = beside.cumsum(1) - beside
    pairs = positive.sum(1) * negative.sum(1)
    rightly = (above * (below + 0.5 * beside)).sum(1)
    found = np.divide(rightly, pairs, out=np.full(len(draws), np.nan), where=pairs > 0)
    return np.asarray(found)


def metrics_of(classes: int) -> dict[str, Metric]:
    """The metrics that a task has; ROC-AUC with two classes only."""
    found: dict[str, Metric] = {"accuracy": accuracy, "f1": f1}
    return found | {"roc_auc": roc_auc} if classes == 2 else found


def performance(
    labels: np.ndarray, runs: Sequence[np.ndarray], settings: Settings, subject: str
) -> list[Estimate]:
    """Each metric as the mean over runs (seeds), with an interval over instances.

    Args:
        labels: `(N,)`.
        runs: Probabilities `(N, C)` of each run.
        settings: Confidence, resamples and seed.
        subject: Of the estimates.
    """
    estimates = _estimates(labels, runs, None, settings, subject)
    if len(runs) == 1:  # a share has an interval in closed form, with a width at 1 too
        right = (runs[0].argmax(1) == labels).astype(float)
        estimates[0] = share(right, settings, statistic="accuracy", subject=subject)
    return estimates


def difference(
    labels: np.ndarray,
    runs: Sequence[np.ndarray],
    others: Sequence[np.ndarray],
    settings: Settings,
    subject: str,
) -> list[Estimate]:
    """Each metric of `runs` less that of `others`, paired by instance and by run.

    Args:
        labels: `(N,)`.
        runs: Probabilities `(N, C)` of each run.
        others: As many of the other models.
        settings: Confidence, resamples and seed.
        subject: Of the estimates, whose statistics are called `accuracy_difference` and so on.
    """
    return _estimates(labels, runs, others, settings, subject)


def with_seeds(
    estimates: Sequence[Estimate],
    labels: np.ndarray,
    groups: Sequence[Sequence[np.ndarray]],
    pairs: int,
    settings: Settings,
) -> tuple[list[Estimate], Estimate | None]:
    """Differences whose intervals cover what other seeds would give, beside other instances.

    Two trainings differ by their seeds alone by √2 times the standard deviation over seeds, which
    is pooled over `groups`; Student's t says how far that reaches, and it is added to the interval
    over instances as independent errors are.

    Args:
        estimates: What `difference` gave.
        labels: `(N,)`.
        groups: Probabilities `(N, C)` of trainings that differ by nothing but the seed.
        pairs: How many trainings of each kind the differences are means over.
        settings: Confidence.

    Returns:
        The wider differences, and the standard deviation of the accuracy with its interval; the
        differences as they are and None where no group has two trainings.
    """
    several = [group for group in groups if len(group) > 1]
    free = sum(len(group) - 1 for group in several)
    if not free:
        return list(estimates), None
    whole = np.ones((1, len(labels)))
    tail = 0.5 + settings.confidence / 2
    wider, sd = [], 0.0
    for estimate, metric in zip(
        estimates, metrics_of(several[0][0].shape[1]).values(), strict=True
    ):
        values = [np.array([metric(labels, p, whole)[0] for p in group]) for group in several]
        spread = float(np.sqrt(sum(((v - v.mean()) ** 2).sum() for v in values) / free))
        sd = spread if metric is accuracy else sd
        reach = float(t.ppf(tail, free)) * spread * np.sqrt(2 / pairs)
        wider.append(estimate.model_copy(update=_wider(estimate, float(reach))))
    ends = (float(sd * np.sqrt(free / chi2.ppf(q, free))) for q in (tail, 1 - tail))
    low, high = ends
    found = Estimate(
        statistic="accuracy_seed_sd",
        subject=estimates[0].subject,
        value=sd,
        low=low,
        high=high,
        n=free + len(several),
    )
    return wider, found


def _wider(estimate: Estimate, reach: float) -> dict[str, float]:
    """The ends of an interval with a further, independent reach to each side."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return {}
    return {
        "low": estimate.value - float(np.hypot(estimate.value - estimate.low, reach)),
        "high": estimate.value + float(np.hypot(estimate.high - estimate.value, reach)),
    }


def _estimates(
    labels: np.ndarray,
    runs: Sequence[np.ndarray],
    others: Sequence[np.ndarray] | None,
    settings: Settings,
    subject: str,
) -> list[Estimate]:
    metrics = metrics_of(runs[0].shape[1])

    def values(draws: np.ndarray) -> np.ndarray:
        """`(metrics, R)`."""
        found = [np.mean([m(labels, run, draws) for run in runs], axis=0) for m in metrics.values()]
        if others is not None:
            less = [np.mean([m(labels, run, draws) for run in others], 0) for m in metrics.values()]
            found = [a - b for a, b in zip(found, less, strict=True)]
        return np.stack(found)

    point = values(np.ones((1, len(labels))))[:, 0]
    drawn = np.concatenate([values(d) for d in draws_of(len(labels), settings)], axis=1)
    ends = (0.5 - settings.confidence / 2, 0.5 + settings.confidence / 2)
    found = []
    for name, value, row in zip(metrics, point, drawn, strict=True):
        # with one class among the labels there is no ROC-AUC
        defined = bool(np.isfinite(value))
        low, high = np.nanquantile(row, ends) if defined else (None, None)
        found.append(
            Estimate(
                statistic=name if others is None else f"{name}_difference",
                subject=subject,
                value=float(value) if defined else None,
                low=low,
                high=high,
                n=len(labels),
                null=None if others is None else 0.0,
            )
        )
    return found


def draws_of(n: int, settings: Settings) -> Iterator[np.ndarray]:
    """How often each instance is drawn, in blocks; the same for all metrics and models."""
    rng = np.random.default_rng(settings.seed)
    resamples, step = min(settings.resamples, MOST), max(1, AT_ONCE // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        places = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(places.ravel(), minlength=rows * n)
        yield counts.reshape(rows, n).astype(np.float64)
