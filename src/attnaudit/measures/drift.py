"""How far perturbed inputs drift from the data: a Mahalanobis distance with a held-out bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COMPONENTS = 16
LEAST = 40


@dataclass(frozen=True)
class DriftReference:
    """The cloud of unperturbed features, fitted on one half and calibrated on the other.

    Attributes:
        mean: `(D,)`, of the first half.
        axes: `(K, D)`, its principal axes.
        precision: `(K, K)`, inverse covariance along the axes (Ledoit-Wolf).
        bar: The distance that 5 % of the second half exceed.
    """

    mean: np.ndarray
    axes: np.ndarray
    precision: np.ndarray
    bar: float

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distances of features `(N, D)`: `(N,)`, ≥ 0."""
        along = (features - self.mean) @ self.axes.T
        squared = np.einsum("nk,kl,nl->n", along, self.precision, along)
        return np.asarray(np.sqrt(squared.clip(min=0)))


def fit_drift(features: np.ndarray, seed: int = 0) -> DriftReference | None:
    """Fit the reference on features `(N, D)` of the data as it is.

    Returns:
        The reference, or None where fewer than 40 instances, or features that never vary, leave
        nothing to fit.
    """
    # scikit-learn takes a second to import: only where it is used
    from sklearn.covariance import LedoitWolf
    from sklearn.decomposition import PCA

    features = np.asarray(features, dtype=np.float64)
    if len(features) < LEAST or not features.std(axis=0).max() > 0:
        return None
    order = np.random.default_rng(seed).permutation(len(features))
    fit, held = features[order[: len(order) // 2]], features[order[len(order) // 2 :]]
    pca = PCA(min(COMPONENTS, fit.shape[1], len(fit) // 4), svd_solver="full").fit(fit)
    cloud = LedoitWolf().fit(pca.transform(fit))
    reference = DriftReference(pca.mean_, pca.components_, cloud.precision_, 0.0)
    bar = float(np.quantile(reference.distance(held), 0.95))
    return DriftReference(reference.mean, reference.axes, reference.precision, bar)
