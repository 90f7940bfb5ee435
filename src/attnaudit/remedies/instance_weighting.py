"""Instance weighting: training as if the weights told nothing of the label.

Bai et al. (2021), "Why Attentions May Not Be Interpretable?"; the estimator of `P(y | mask)` and
its normalisation follow the same group's earlier work (Zhang et al., ACL 2020). With the weights
`w = P(y) / P(y | m)` the expected loss is that of a distribution in which label and mask are
independent and everything else is as it was, wherever `P(y | m) > 0`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.judges.probe import features
from attnaudit.evidence.judges.reading import labels_of, read
from attnaudit.models.cut import Model
from attnaudit.training.fitting import fit_jointly
from attnaudit.training.options import DEFAULTS, TrainOptions
from attnaudit.training.result import Trained

CLIP = (0.05, 20.0)
FOLDS = 5
POSITIONS = 16
"""Weights from each end, and largest weights, that the estimator sees."""
LEAST_SIZE = 0.2
"""Effective sample size, as a share of the instances, below which there is a warning."""
RARE, MOST_RARE = 0.05, 0.1
"""No overlap: a label with less than the first probability; a warning beyond the second share."""

ESTIMATORS: dict[str, Callable[[int], ClassifierMixin]] = {
    "logistic": lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "mlp": lambda seed: make_pipeline(
        StandardScaler(),
        MLPClassifier(
            (32,),
            alpha=1e-2,
            learning_rate_init=1e-2,
            tol=1e-3,
            n_iter_no_change=5,
            random_state=seed,
        ),
    ),
    "forest": lambda seed: RandomForestClassifier(
        100, criterion="entropy", max_depth=20, random_state=seed
    ),
}
"""What estimates `P(y | m)`, by a seed."""


@dataclass(frozen=True)
class NeutralWeights:
    """Weights of instances under which the masks tell as little of the label as can be.

    Attributes:
        weights: `(N,)`, 0 or more; mean 1 within each class, and so over all.
        auc: Of the cross-fitted `P(y | m)`: how well masks tell the label. 0.5 is not at all.
        weighted_auc: The same under the weights; it is to be near 0.5.
        effective_size: `(Σw)² / Σw²`, in instances.
        poor_overlap: Share of instances whose label has a probability below `RARE`.
        warnings: What is wrong with them, in words.
    """

    weights: np.ndarray
    auc: float
    weighted_auc: float
    effective_size: float
    poor_overlap: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class MaskNeutral(Trained[Model]):
    """What mask-neutral training gave.

    Attributes:
        neutral: The weights of the instances before each epoch.
    """

    neutral: tuple[NeutralWeights, ...] = ()


def mask_neutral_weights(
    masks: np.ndarray | Sequence[np.ndarray],
    y: np.ndarray | Sequence[int],
    estimator: str = "logistic",
    folds: int = FOLDS,
    clip: tuple[float, float] = CLIP,
    seed: int = 0,
) -> NeutralWeights:
    """`P(y) / P(y | m)` for each instance, with `P(y | m)` from the other folds.

    The weights are clipped between two divisions by their mean within the class, which keep the
    frequencies of the classes as they are.

    Args:
        masks: Features `(N, F)`; or one row of weights an instance, which is then seen from its
            head, from its tail and sorted (`POSITIONS` of each).
        y: Class indices.
        estimator: A name of `ESTIMATORS`.
        folds: Parts that are predicted by what the others say, 2 or more.
        clip: Smallest and largest weight.
        seed: Of folds and estimator.

    Raises:
        DataError: Lengths differ, there is one class only, or a class has fewer than `folds`
            instances.
        SettingsError: No such estimator, fewer than 2 folds, or a `clip` that does not hold 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 2, 400)
        >>> told = mask_neutral_weights(np.stack([y + rng.normal(size=400)], 1), y)
        >>> told.auc > 0.7, abs(told.weighted_auc - 0.5) < 0.05
        (True, True)
    """
    if estimator not in ESTIMATORS:
        raise SettingsError(f"no estimator is called {estimator!r}; there are {list(ESTIMATORS)}")
    if folds < 2:
        raise SettingsError(f"folds is {folds}; it takes 2 or more to predict one from the others")
    if not 0 <= clip[0] <= 1 <= clip[1]:
        raise SettingsError(f"clip is {clip}; give a range from 0 or more that holds 1")
    labels = np.asarray(y)
    seen = masks if isinstance(masks, np.ndarray) else features(masks, POSITIONS)
    if len(seen) != len(labels):
        raise DataError(f"there are {len(seen)} masks but {len(labels)} labels; give one each")
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < folds:
        raise DataError(
            f"the classes {classes.tolist()} have {counts.tolist()} instances; it takes two "
            f"classes with {folds} each, one a fold"
        )
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    told = cross_val_predict(
        ESTIMATORS[estimator](seed), seen, index, cv=cut, method="predict_proba"
    )
    own = told[np.arange(len(index)), index]
    weights = (counts / len(index))[index] / np.maximum(own, 1e-12)
    weights = _class_mean_one(np.clip(_class_mean_one(weights, index), *clip), index)
    size = float(weights.sum() ** 2 / (weights**2).sum())
    rare = float((own < RARE).mean())
    return NeutralWeights(
        weights,
        _auc(index, told, None),
        _auc(index, told, weights),
        size,
        rare,
        _warnings(size, rare, len(index)),
    )


def fit_mask_neutral(
    model: Model,
    train: AnyDataset,
    dev: AnyDataset,
    options: TrainOptions | None = None,
    *,
    estimator: str = "logistic",
    folds: int = FOLDS,
    clip: tuple[float, float] = CLIP,
    fresh: bool = True,
) -> MaskNeutral:
    """Train a model whose instances are weighted anew before each epoch, by its own masks.

    Args:
        model: Any model with the cut; it is not changed.
        train: Labelled records.
        dev: Labelled records that choose the epoch; their scores are unweighted.
        options: How to train.
        estimator: A name of `ESTIMATORS`.
        folds: Of the cross-fitting.
        clip: Smallest and largest weight.
        fresh: Whether to start from new initial values, by `options.seed`; else from those that
            the model has.

    Raises:
        DataError: A record has no label, or there are too few of a class.
        ModelError: There is nothing to train, or the loss is no number.
        SettingsError: See `mask_neutral_weights`.
    """
    options = options or DEFAULTS["selector"]
    labels = labels_of(train)
    found: list[NeutralWeights] = []

    def reweigh(current: Model) -> Tensor:
        rows = read(current, train).weights
        seed = options.seed + len(found)
        found.append(mask_neutral_weights(rows, labels, estimator, folds, clip, seed))
        return torch.from_numpy(found[-1].weights).float()

    fitted = fit_jointly(model, train, dev, options, weights=reweigh, fresh=fresh)
    used = found[fitted.best_epoch - 1]
    worth = (
        f"instance weights of the epoch kept: worth {used.effective_size:,.0f} of {len(labels):,} "
        f"instances; AUC of the label from the weights {used.auc:.2f}, weighted "
        f"{used.weighted_auc:.2f}"
    )
    return MaskNeutral(
        fitted.model,
        fitted.history,
        fitted.best_epoch,
        fitted.dev,
        (worth, *used.warnings),
        parameters=fitted.parameters,
        neutral=tuple(found),
    )


def _class_mean_one(weights: np.ndarray, index: np.ndarray) -> np.ndarray:
    totals = np.bincount(index, weights)
    return np.asarray(weights * (np.bincount(index) / totals)[index])


def _auc(index: np.ndarray, told: np.ndarray, weights: np.ndarray | None) -> float:
    if told.shape[1] == 2:
        return float(roc_auc_score(index, told[:, 1], sample_weight=weights))
    areas = [
        roc_auc_score(index == c, told[:, c], sample_weight=weights) for c in range(told.shape[1])
    ]
    return float(np.mean(areas))


def _warnings(size: float, rare: float, count: int) -> tuple[str, ...]:
    said = []
    if size < LEAST_SIZE * count:
        said.append(
            f"the weights are worth {size:.0f} of {count} instances: a few decide the training"
        )
    if rare > MOST_RARE:
        said.append(
            f"{rare:.0%} of the instances have a label that their mask all but rules out, so no "
            "weights make label and mask independent"
        )
    return tuple(said)
