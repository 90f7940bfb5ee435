"""Intervals: the bootstrap over instances, and Wilson's for shares.

Values are sorted before they are resampled, so an interval depends on the values and the seed, and
not on the order in which batches or workers delivered them. A paired difference is an interval of
the differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.stats

from attnaudit.errors import DataError, SettingsError

RESAMPLES = 2000
"""Of this many, about fifty lie beyond each end of a 95 % interval."""

DRAWS_AT_ONCE = 1 << 20
"""How many values are drawn in one step; bounds memory and has no influence on the result."""

EVERY_VALUE = 20_000
"""Up to so many values, a resample of a mean draws every value."""

EXTREMES = 2_048
"""Beyond `EVERY_VALUE`, so many values at each end are still drawn one by one."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        value: The estimate; None without values.
        low: Lower end; None with fewer than two values.
        high: Upper end; None with fewer than two values.
        n: How many values it rests on.
        undefined: How many values were NaN and are left out.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int = 0


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Literal["mean", "median"] = "mean",
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of a mean or a median over instances.

    Efron and Tibshirani (1993), chapter 13. The resamples of a median are drawn through the order
    statistics of uniform numbers, which is exact and costs nothing per value. The resamples of a
    mean draw every value up to 20,000; beyond, the 2,048 smallest and the 2,048 largest values are
    drawn one by one and the sum of those between them from its normal limit, whose error is far
    below that of 2,000 resamples.

    Args:
        values: One number per instance, in any order; NaN counts as undefined.
        statistic: `mean` or `median`.
        confidence: Share of intervals that hold the truth, between 0 and 1.
        resamples: How many resamples to draw.
        seed: Of the resamples.

    Returns:
        The estimate and its interval; without an interval below two values.

    Raises:
        DataError: The values are not one-dimensional, or one is infinite.
        SettingsError: An option is out of range.

    Example:
        >>> interval = bootstrap_interval([1.0, 2.0, 3.0, 4.0, float("nan")], seed=1)
        >>> interval.value, interval.n, interval.undefined, interval.low < 2.5 < interval.high
        (2.5, 4, 1, True)
    """
    _check_options(confidence, resamples)
    if statistic not in ("mean", "median"):
        raise SettingsError(f"statistic is {statistic!r}; choose 'mean' or 'median'")
    everything = _one_dimensional(values, "values")
    known = np.sort(everything[~np.isnan(everything)])
    n, undefined = len(known), len(everything) - len(known)
    if np.isinf(known).any():
        raise DataError(
            f"{int(np.isinf(known).sum())} of {n} values are infinite, so their {statistic} has "
            "no interval; give NaN for values that are undefined"
        )
    if n == 0:
        return Interval(None, None, None, 0, undefined)
    value = float(known.mean() if statistic == "mean" else np.median(known))
    if n == 1:
        return Interval(value, None, None, 1, undefined)
    rng = np.random.default_rng(seed)
    if statistic == "median":
        drawn = _medians(known, resamples, rng)
    elif n <= EVERY_VALUE:
        drawn = _means(known, resamples, rng)
    else:
        drawn = _means_of_many(known, resamples, rng)
    low, high = _ends(drawn, confidence)
    return Interval(value, low, high, n, undefined)


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share (Wilson 1927).

    Unlike a bootstrap interval it has a width at 0 of n and at n of n.

    Args:
        successes: How many of the `n` have the property.
        n: How many there are.
        confidence: Share of intervals that hold the truth, between 0 and 1.

    Returns:
        The share and its interval within [0, 1]; None throughout where `n` is 0.

    Raises:
        SettingsError: `confidence` is outside (0, 1).
        DataError: `successes` is not between 0 and `n`.

    Example:
        >>> interval = wilson_interval(0, 20)
        >>> interval.value, interval.low, round(interval.high, 3)
        (0.0, 0.0, 0.161)
    """
    _check_options(confidence, 1)
    if not 0 <= successes <= n:
        raise DataError(f"{successes} successes of {n}: give a number from 0 to {n}")
    if n == 0:
        return Interval(None, None, None, 0)
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    # At the ends the interval touches 0 or 1 exactly; rounding must not move it inside.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Interval(share, low, high, n)


def bootstrap_metric(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    metric: Callable[[npt.NDArray[np.generic], npt.NDArray[np.generic]], float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of a metric of labels and scores, resampled in pairs.

    Resamples with labels of a single class are left out, as most metrics are undefined there.

    Beyond 20,000 pairs a resample draws 20,000 of `n`, and its distance from the estimate is
    scaled by `sqrt(20,000 / n)` (m out of n bootstrap, Politis, Romano and Wolf 1999), so that an
    interval of millions costs as much as one of 20,000.

    Args:
        labels: One label per instance.
        scores: One score or predicted label per instance; a pair with a NaN in it is undefined.
        metric: Takes labels and scores, returns a number; e.g. `sklearn.metrics.roc_auc_score`.
        confidence: Share of intervals that hold the truth, between 0 and 1.
        resamples: How many resamples to draw.
        seed: Of the resamples.

    Returns:
        The metric and its interval; None throughout where there is only one class, and without
        an interval where hardly any resample has two.

    Raises:
        DataError: The two are not one-dimensional and of one length.
        SettingsError: An option is out of range.

    Example:
        >>> accuracy = lambda y, p: float((y == p).mean())
        >>> bootstrap_metric([0, 1, 1, 0] * 5, [0, 1, 0, 0] * 5, accuracy).value
        0.75
    """
    _check_options(confidence, resamples)
    label, score = np.asarray(labels), np.asarray(scores)
    if label.ndim != 1 or label.shape != score.shape:
        raise DataError(
            f"labels have shape {label.shape} and scores {score.shape}; give one of each per "
            "instance, in one dimension"
        )
    known = ~(_is_nan(label) | _is_nan(score))
    undefined = int((~known).sum())
    # Sorted, so that the order of the instances has no influence.
    order = np.lexsort((score[known], label[known]))
    label, score = label[known][order], score[known][order]
    n = len(label)
    if n == 0 or (label == label[0]).all():
        return Interval(None, None, None, n, undefined)
    value = float(metric(label, score))
    rng = np.random.default_rng(seed)
    drawn = []
    size = min(n, EVERY_VALUE)
    for _ in range(resamples):
        index = np.sort(rng.integers(0, n, size=size))
        if label[index[0]] != label[index[-1]]:  # sorted by label: the ends differ, or nothing does
            drawn.append(float(metric(label[index], score[index])))
    if len(drawn) < max(2, resamples // 10):
        return Interval(value, None, None, n, undefined)
    low, high = _ends(value + (np.array(drawn) - value) * math.sqrt(size / n), confidence)
    return Interval(value, low, high, n, undefined)


def _means(known: Array, resamples: int, rng: np.random.Generator) -> Array:
    drawn = np.empty(resamples)
    step = max(1, DRAWS_AT_ONCE // len(known))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        # 32-bit draws are taken from the stream one after another, in whatever portions.
        index = rng.integers(0, len(known), size=(rows, len(known)), dtype=np.uint32)
        drawn[start : start + rows] = known[index].mean(1)
    return drawn


def _means_of_many(known: Array, resamples: int, rng: np.random.Generator) -> Array:
    """Means of resamples: the extremes one by one, the middle from its normal limit.

    What makes a bootstrap mean of many values deviate from a normal law is its few extreme
    values. The number of draws from the middle is binomial; given it, their sum is a sum of
    independent draws from more than 15,000 values without extremes.
    """
    n = len(known)
    middle = known[EXTREMES:-EXTREMES]
    extreme = np.concatenate((known[:EXTREMES], known[-EXTREMES:]))
    counts = rng.binomial(n, len(middle) / n, size=resamples)
    spread = rng.standard_normal(resamples) * np.sqrt(counts) * middle.std()
    sums = counts * middle.mean() + spread
    for row, left in enumerate(n - counts):
        sums[row] += extreme[rng.integers(0, len(extreme), size=left)].sum()
    return np.asarray(sums / n)


def _medians(known: Array, resamples: int, rng: np.random.Generator) -> Array:
    """Medians of resamples, through the middle order statistics of n uniform places.

    The k-th smallest of n uniform numbers is Beta(k, n − k + 1), and given it the next one is
    the smallest of n − k uniform numbers above it. The value at place ⌊n U⌋ of the sorted values
    is then the k-th smallest of a resample.
    """
    n = len(known)
    k = (n + 1) // 2
    first = rng.beta(k, n - k + 1, size=resamples)
    low = known[np.minimum((first * n).astype(np.int64), n - 1)]
    if n % 2:
        return low
    second = first + (1 - first) * rng.beta(1, n - k, size=resamples)
    return np.asarray((low + known[np.minimum((second * n).astype(np.int64), n - 1)]) / 2)


def _ends(drawn: Array, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, (0.5 - confidence / 2, 0.5 + confidence / 2))
    return float(low), float(high)


def _one_dimensional(values: npt.ArrayLike, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise DataError(f"{name} have shape {array.shape}; give one number per instance")
    return array


def _is_nan(values: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    if np.issubdtype(values.dtype, np.floating):
        return np.asarray(np.isnan(values.astype(np.float64)))
    return np.zeros(len(values), dtype=np.bool_)


def _check_options(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1:
        raise SettingsError(f"confidence is {confidence}, but must lie between 0 and 1, e.g. 0.95")
    if resamples < 1:
        raise SettingsError(f"resamples is {resamples}, but at least 1 is needed")
