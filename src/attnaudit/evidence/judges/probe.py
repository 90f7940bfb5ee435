"""Do the weights alone tell the label? A probe that sees no token.

Bai et al. 2021 call it a combinatorial shortcut when the weights carry what the layers behind them
need. The probe sees the weights of an instance from its head, from its tail, and sorted by size;
it is cross-fitted, so every prediction is for an instance that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attnaudit.errors import DataError
from attnaudit.evidence.judges.reading import Row
from attnaudit.findings.balanced import class_mean
from attnaudit.findings.findings import Estimate
from attnaudit.findings.metrics import performance
from attnaudit.shortcuts.settings import ShortcutSettings

RIDGE = 1.0
"""Penalty of the linear probe whose null is drawn, for features of variance 1."""
FOREST_DEPTH = 20


@dataclass(frozen=True)
class Probed:
    """What one probe reached.

    Attributes:
        name: What it saw: `weights`, `default tokens`, `length`.
        right: By estimator, whether each instance was predicted, `(N,)`.
        balanced: By estimator, its balanced accuracy.
        estimates: Accuracy, F1 and ROC-AUC of each estimator, and the null of the linear one.
        p_value: Share of shuffled labels with which the linear probe does as well.
    """

    name: str
    right: dict[str, np.ndarray]
    balanced: dict[str, float]
    estimates: tuple[Estimate, ...]
    p_value: float

    @property
    def best(self) -> str:
        """The estimator with the highest balanced accuracy."""
        return max(self.balanced, key=lambda name: self.balanced[name])


def features(rows: Sequence[Row], positions: int) -> np.ndarray:
    """Weights as vectors of one length: from the head, from the tail, and sorted.

    Args:
        rows: Weights, one row an instance.
        positions: How many of each.

    Returns:
        `(N, 3 * P)`, with `P` the smaller of `positions` and the longest row; 0 where a row ends.

    Example:
        >>> features([np.array([0.1, 0.9])], 3).tolist()
        [[0.1, 0.9, 0.9, 0.1, 0.9, 0.1]]
    """
    width = max(1, min(positions, max((len(row) for row in rows), default=1)))
    found = np.zeros((len(rows), 3, width))
    for index, row in enumerate(rows):
        for part, view in enumerate((row, row[::-1], -np.sort(-row))):
            some = view[:width]
            found[index, part, : len(some)] = some
    return found.reshape(len(rows), -1)


def probe(name: str, seen: np.ndarray, labels: np.ndarray, settings: ShortcutSettings) -> Probed:
    """Cross-fitted accuracy of the label from some features; every class weighs the same.

    Args:
        name: What the features are.
        seen: `(N, F)`.
        labels: `(N,)` class indices.
        settings: Folds, trees, permutations, confidence and seed.

    Returns:
        Logistic regression and random forest with intervals, and a permutation null of a linear
        probe, whose 200 refits cost one matrix product a fold.

    Raises:
        DataError: A class has fewer than two instances.
    """
    folds = folds_of(labels, settings)
    classes = np.unique(labels)
    majority = float(np.mean(labels == most_common(labels)))
    right, estimates = {}, []
    estimators = {
        "logistic": make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
        ),
        "forest": RandomForestClassifier(
            settings.trees,
            max_depth=FOREST_DEPTH,
            criterion="entropy",
            min_samples_leaf=2,
            class_weight="balanced",
            random_state=settings.seed,
        ),
    }
    for kind, estimator in estimators.items():
        said = cross_val_predict(estimator, seen, labels, cv=folds, method="predict_proba")
        wide = np.zeros((len(labels), int(classes.max()) + 1))
        wide[:, classes] = said
        right[kind] = (wide.argmax(1) == labels).astype(np.float64)
        for estimate in performance(labels, [wide], settings.audit(), f"{name}, {kind}"):
            null = {"accuracy": majority, "roc_auc": 0.5}.get(estimate.statistic)
            estimates.append(estimate.model_copy(update={"null": null}))
    value, shuffled = linear_null(seen, labels, folds, settings)
    p_value = float((1 + (shuffled >= value - 1e-12).sum()) / (1 + len(shuffled)))
    ends = np.quantile(shuffled, (0.5 - settings.confidence / 2, 0.5 + settings.confidence / 2))
    subject = f"{name}, linear"
    n = len(labels)
    estimates += [
        Estimate(
            statistic="balanced_accuracy",
            subject=subject,
            value=value,
            n=n,
            null=float(shuffled.mean()),
        ),
        Estimate(
            statistic="balanced_accuracy_under_null",
            subject=subject,
            value=float(shuffled.mean()),
            low=float(ends[0]),
            high=float(ends[1]),
            n=len(shuffled),
        ),
        Estimate(statistic="p_value", subject=subject, value=p_value, n=len(shuffled)),
    ]
    balanced = {kind: class_mean(hits, labels) for kind, hits in right.items()}
    estimates += [
        Estimate(
            statistic="balanced_accuracy",
            subject=f"{name}, {kind}",
            value=found,
            n=n,
            null=1 / len(classes),
        )
        for kind, found in balanced.items()
    ]
    return Probed(name, right, balanced, tuple(estimates), p_value)


def linear_null(
    seen: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: ShortcutSettings,
) -> tuple[float, np.ndarray]:
    """Balanced cross-fitted accuracy of a ridge classifier, and that with shuffled labels.

    Scores are taken relative to the shares of the classes, so that a small one is predicted too.

    Returns:
        The balanced accuracy, and one `(R,)` of labels that are shuffled over all instances.
    """
    rng = np.random.default_rng(settings.seed)
    drawn = [labels, *(rng.permutation(labels) for _ in range(settings.permutations))]
    many = np.stack(drawn)  # (R + 1, N)
    classes = np.unique(labels)
    targets = (many[:, :, None] == classes).astype(np.float64)  # (R + 1, N, C)
    right = np.zeros(many.shape)
    for fitted, tested in folds:
        mean, spread = seen[fitted].mean(0), seen[fitted].std(0)
        scale = np.where(spread > 1e-12, spread, 1.0)
        x, z = (seen[fitted] - mean) / scale, (seen[tested] - mean) / scale
        hat = z @ np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T)
        some = targets[:, fitted]
        base = some.mean(1, keepdims=True)
        scores = np.einsum("tf,rfc->rtc", hat, some - base, optimize=True)
        right[:, tested] = classes[scores.argmax(-1)] == many[:, tested]
    shares = targets / targets.sum(1, keepdims=True)
    accuracy = np.einsum("rn,rnc->rc", right, shares).mean(1)
    return float(accuracy[0]), accuracy[1:]


def folds_of(labels: np.ndarray, settings: ShortcutSettings) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds with the classes in equal shares; fewer where a class is small.

    Raises:
        DataError: There is one class only, or one has a single instance.
    """
    counts = np.unique(labels, return_counts=True)[1]
    least = int(counts.min()) if len(counts) else 0
    if len(counts) < 2 or least < 2:
        raise DataError(
            f"the labels have {len(counts)} classes, the smallest with {least} instances; a probe "
            "needs two classes with two instances each"
        )
    cut = StratifiedKFold(min(settings.folds, least), shuffle=True, random_state=settings.seed)
    return list(cut.split(np.zeros(len(labels)), labels))


def most_common(labels: np.ndarray) -> int:
    """The class that most instances have; the first of several."""
    values, counts = np.unique(labels, return_counts=True)
    return int(values[counts.argmax()])
