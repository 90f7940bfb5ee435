"""Do the weights alone tell the label? A probe that sees no token.

Bai et al. 2021 call it a combinatorial shortcut when the weights carry what the layers behind them
need. The probe sees the weights of an instance from its head, from its tail, and sorted by size;
it is cross-fitted, so every prediction is for an instance that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import DataError
from attnaudit.evidence.judges.reading import Reading, Row
from attnaudit.findings.balanced import class_mean
from attnaudit.findings.findings import Estimate
from attnaudit.findings.metrics import performance
from attnaudit.findings.settings import Settings

RIDGE = 1.0
"""Penalty of the linear probe whose null is drawn, for features of variance 1."""
FOREST_DEPTH = 20
ESTIMATORS = ("logistic", "forest")


@dataclass(frozen=True)
class DefaultUnits:
    """Tokens that stand in every record and mean nothing.

    Bai et al. 2021 put them into every text; weight on them that depends on the label can be
    nothing but a leak.
    """

    tokens: tuple[str, ...] = ()

    def check(self, data: AnyDataset) -> None:
        """Refuse tokens that are in no record.

        Raises:
            DataError: One is.
        """
        found = {unit.lower() for record in data for unit in record.units} if self.tokens else set()
        missing = [token for token in self.tokens if token.lower() not in found]
        if missing:
            raise DataError(
                f"{data.name}: no record has one of the default tokens {', '.join(missing)}; name "
                "units as they stand in the data"
            )

    def rows(self, reading: Reading) -> list[Row]:
        """The weights on them, in their order, one row per instance."""
        names = {token.lower() for token in self.tokens}
        return [
            row[[i for i, unit in enumerate(record.units[: len(row)]) if unit.lower() in names]]
            for record, row in zip(reading.data, reading.weights, strict=True)
        ]


@dataclass(frozen=True)
class Probed:
    """What one probe said.

    Attributes:
        name: What it saw: `weights`, `default tokens`, `length`.
        labels: `(N,)`.
        said: By estimator, cross-fitted probabilities `(N, C)`.
        null: `(R + 1,)`, the balanced accuracy of the linear probe, then that with each shuffle.
    """

    name: str
    labels: np.ndarray
    said: Mapping[str, np.ndarray]
    null: np.ndarray

    @cached_property
    def right(self) -> dict[str, np.ndarray]:
        """By estimator, whether each instance was predicted, `(N,)`."""
        return {k: (s.argmax(1) == self.labels).astype(np.float64) for k, s in self.said.items()}

    @cached_property
    def balanced(self) -> dict[str, float]:
        """By estimator, its balanced accuracy."""
        return {kind: class_mean(hits, self.labels) for kind, hits in self.right.items()}

    @property
    def best(self) -> str:
        """The estimator with the highest balanced accuracy."""
        return max(self.balanced, key=lambda name: self.balanced[name])

    @property
    def p_value(self) -> float:
        """Share of shuffled labels with which the linear probe does as well."""
        shuffled = self.null[1:]
        return float((1 + (shuffled >= self.null[0] - 1e-12).sum()) / (1 + len(shuffled)))

    def estimates(self, settings: Settings) -> list[Estimate]:
        """Accuracy, F1 and ROC-AUC of each estimator, and the null of the linear one."""
        labels, estimates = self.labels, []
        majority = float(np.mean(labels == most_common(labels)))
        for kind, said in self.said.items():
            for estimate in performance(labels, [said], settings, f"{self.name}, {kind}"):
                null = {"accuracy": majority, "roc_auc": 0.5}.get(estimate.statistic)
                estimates.append(estimate.model_copy(update={"null": null}))
        value, shuffled = float(self.null[0]), self.null[1:]
        tail = settings.confidence / 2
        low, high = (float(end) for end in np.quantile(shuffled, (0.5 - tail, 0.5 + tail)))
        mean, subject = float(shuffled.mean()), f"{self.name}, linear"

        def one(statistic: str, value: float, n: int, subject: str = subject) -> Estimate:
            return Estimate(statistic=statistic, subject=subject, value=value, n=n)

        under = one("balanced_accuracy_under_null", mean, len(shuffled))
        estimates += [
            one("balanced_accuracy", value, len(labels)).model_copy(update={"null": mean}),
            under.model_copy(update={"low": low, "high": high}),
            one("p_value", self.p_value, len(shuffled)),
        ]
        chance = {"null": 1 / len(np.unique(labels))}
        for kind, found in self.balanced.items():
            balanced = one("balanced_accuracy", found, len(labels), f"{self.name}, {kind}")
            estimates.append(balanced.model_copy(update=chance))
        return estimates


def probes(reading: Reading, defaults: DefaultUnits, settings: Settings) -> list[Probed]:
    """Probes of the weights, of those on default tokens where there are any, and of the length."""
    lengths, positions = reading.lengths.astype(np.float64), settings.judges.positions
    seen = {"weights": features(reading.weights, positions)}
    if defaults.tokens:
        seen["default tokens"] = features(defaults.rows(reading), positions)
    seen["length"] = np.stack([lengths, np.log1p(lengths)], axis=1)
    return [probe(name, what, reading.labels, settings) for name, what in seen.items()]


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


def probe(name: str, seen: np.ndarray, labels: np.ndarray, settings: Settings) -> Probed:
    """Cross-fitted accuracy of the label from some features; every class weighs the same.

    Args:
        name: What the features are.
        seen: `(N, F)`.
        labels: `(N,)` class indices.
        settings: Folds, trees, permutations, confidence and seed.

    Returns:
        What logistic regression and random forest say, and a permutation null of a linear probe,
        whose 200 refits cost one matrix product per fold.

    Raises:
        DataError: A class has fewer than two instances.
    """
    folds = folds_of(labels, settings)
    classes = np.unique(labels)
    found = {}
    logistic = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
    )
    forest = RandomForestClassifier(
        settings.judges.trees,
        max_depth=FOREST_DEPTH,
        criterion="entropy",
        min_samples_leaf=2,
        class_weight="balanced",
        random_state=settings.seed,
    )
    for kind, estimator in zip(ESTIMATORS, (logistic, forest), strict=True):
        said = cross_val_predict(estimator, seen, labels, cv=folds, method="predict_proba")
        found[kind] = np.zeros((len(labels), int(classes.max()) + 1))
        found[kind][:, classes] = said
    value, shuffled = linear_null(seen, labels, folds, settings)
    return Probed(name, labels, found, np.array([value, *shuffled]))


def linear_null(
    seen: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: Settings,
) -> tuple[float, np.ndarray]:
    """Balanced cross-fitted accuracy of a ridge classifier, and that with shuffled labels.

    Scores are taken relative to the shares of the classes, so that a small one is predicted too.

    Returns:
        The balanced accuracy, and one `(R,)` of labels that are shuffled over all instances.
    """
    rng = np.random.default_rng(settings.seed)
    drawn = [labels, *(rng.permutation(labels) for _ in range(settings.judges.permutations))]
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


def folds_of(labels: np.ndarray, settings: Settings) -> list[tuple[np.ndarray, np.ndarray]]:
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
    cut = StratifiedKFold(
        min(settings.judges.folds, least), shuffle=True, random_state=settings.seed
    )
    return list(cut.split(np.zeros(len(labels)), labels))


def most_common(labels: np.ndarray) -> int:
    """The class that most instances have; the first of several."""
    values, counts = np.unique(labels, return_counts=True)
    return int(values[counts.argmax()])
