"""The prior of a judge, fitted to the weights that it is to read.

A judge learns under random masks; under weights that always stand on strong words all its scores
shift, and its arg-max suffers although its order does not. One temperature and one number a class,
fitted on development records, mend that. So few numbers cannot learn a code.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

RIDGE = 1e-3
"""Penalty per instance, so that separable records do not drive the numbers to infinity."""

FLOOR = -60.0
"""Classes that are ruled out have a log-probability of minus infinity, which has no gradient."""


def fit_prior(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Temperature and biases with the highest likelihood of the labels.

    Args:
        log_probabilities: `(N, C)`.
        labels: `(N,)`.

    Returns:
        `(C + 1,)`: the logarithm of the factor, which stays positive, and a bias a class.
    """
    log_probabilities = np.maximum(log_probabilities, FLOOR)
    rows, count = np.arange(len(labels)), log_probabilities.shape[1]

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        factor = np.exp(numbers[0])
        said = log_softmax(factor * log_probabilities + numbers[1:], axis=1)
        error = np.exp(said)
        error[rows, labels] -= 1
        slope = np.concatenate(
            [[factor * (error * log_probabilities).sum(1).mean()], error.mean(0)]
        )
        penalty = RIDGE * float(numbers @ numbers)
        return float(-said[rows, labels].mean()) + penalty, slope + 2 * RIDGE * numbers

    bounds = [(-5.0, 3.0), *[(-50.0, 50.0)] * count]
    found = minimize(loss, np.zeros(count + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x)


def with_prior(log_probabilities: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Probabilities `(N, C)` under a prior of `fit_prior`.

    Example:
        >>> said = np.log([[0.6, 0.4], [0.9, 0.1]])
        >>> with_prior(said, np.array([0.0, 0.0, 1.0])).argmax(1).tolist()
        [1, 0]
    """
    scores = np.exp(prior[0]) * np.maximum(log_probabilities, FLOOR) + prior[1:]
    return np.asarray(np.exp(log_softmax(scores, axis=1)))
