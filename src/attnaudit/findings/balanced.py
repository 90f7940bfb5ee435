"""Means that count every class alike, so that the larger class is worth no more than chance."""

from __future__ import annotations

import numpy as np

from attnaudit.findings.findings import Estimate
from attnaudit.findings.metrics import draws_of
from attnaudit.findings.settings import Settings

LEAST_OF_CLASS = 5
"""Instances of a class from which its share has an interval that means something. Ours."""


def too_rare(labels: np.ndarray) -> str | None:
    """What to say of a class with too few instances for balanced accuracy; None where none has.

    Example:
        >>> too_rare(np.array([0] * 90 + [1] * 2))
        'a class has 2 instances: too few to tell a balanced accuracy from chance'
    """
    least = int(np.unique(labels, return_counts=True)[1].min())
    if least >= LEAST_OF_CLASS:
        return None
    return f"a class has {least} instances: too few to tell a balanced accuracy from chance"


def class_mean(values: np.ndarray, labels: np.ndarray) -> float:
    """The mean over the classes of the mean of their instances.

    Args:
        values: `(N,)`; of 1 where an instance is predicted, it is the balanced accuracy.
        labels: `(N,)`, class indices.

    Example:
        >>> class_mean(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1]))
        0.5
    """
    return float(np.mean([values[labels == c].mean() for c in np.unique(labels)]))


def balanced_mean(
    values: np.ndarray,
    labels: np.ndarray,
    settings: Settings,
    *,
    statistic: str,
    subject: str,
    null: float | None = 0.0,
) -> Estimate:
    """`class_mean` with a bootstrap interval over instances.

    Draws that miss a class are left out. A difference is paired, as values are differences.
    """
    classes = np.unique(labels) == labels[:, None]  # (N, C)
    drawn = []
    for draws in draws_of(len(labels), settings):
        counts = draws @ classes
        some = (counts > 0).all(1)
        sums = draws[some] @ (values[:, None] * classes)
        drawn.append((sums / counts[some]).mean(1))
    found = np.concatenate(drawn)
    ends = (0.5 - settings.confidence / 2, 0.5 + settings.confidence / 2)
    low, high = (float(q) for q in np.quantile(found, ends)) if len(found) > 1 else (None, None)
    return Estimate(
        statistic=statistic,
        subject=subject,
        value=class_mean(values, labels),
        low=low,
        high=high,
        n=len(labels),
        null=null,
    )
