"""Weights graded against known keys: seeds, chance, an oracle, and a supervised classifier."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.bags.records import BagDataset
from attnaudit.errors import NotApplicable
from attnaudit.evidence.seeds.grades import Grade
from attnaudit.evidence.seeds.layout import Layout
from attnaudit.evidence.seeds.members import Members
from attnaudit.measures.detection import (
    auroc,
    average_precision,
    coverage,
    mass_on_truth,
    roc_auc,
    top_one_hit,
)
from attnaudit.measures.instances import key_type_mass, least_type_share, lift
from attnaudit.measures.seeded import instance_uniform
from attnaudit.training.evaluation import score

MOST_TRAINED = 20_000
"""Instances that the supervised classifier is trained on, at most."""
EPOCHS = 60
"""Passes over them, at most."""
MEASURES = {
    "auroc": auroc,
    "average_precision": average_precision,
    "top_one": top_one_hit,
    "mass": mass_on_truth,
    "lift": lift,
    "coverage": coverage,
}


def grade_members(members: Members, layout: Layout) -> tuple[Grade, ...]:
    """One row a seed: how well it does its task, and how well its weights find keys."""
    return tuple(
        grade(
            f"seed {seed}",
            layout,
            members.weights[place],
            members.outputs[place],
            seed=seed,
            epoch=int(members.epochs[place]),
            dev=float(members.dev[place]),
        )
        for place, seed in enumerate(members.seeds)
    )


def grade(
    subject: str,
    layout: Layout,
    weights: Float[Tensor, " T"],
    outputs: Float[Tensor, "n C"] | None = None,
    *,
    seed: int | None = None,
    epoch: int | None = None,
    dev: float | None = None,
) -> Grade:
    """Grade one source of weights.

    Args:
        subject: What it is.
        layout: The test bags.
        weights: `(T,)`, one number an instance, 0 or larger.
        outputs: `(n, C)`, log-probabilities of the bags, where there are any.
        seed: Of the member.
        epoch: Which epoch it keeps.
        dev: Its bag AUC on the development bags, where it is defined.
    """
    task = {} if outputs is None else score(outputs, layout.labels)
    found: dict[str, float | None] = {}
    by_label = {}
    bags = 0
    if layout.has_truth:
        one = weights.unsqueeze(0)
        per_bag = {name: layout.graded(one, measure)[0] for name, measure in MEASURES.items()}
        bags = int((~per_bag["auroc"].isnan()).sum())
        found = {name: _mean(values) for name, values in per_bag.items()}
        for label, name in enumerate(layout.classes):
            here = layout.labels == label
            some = per_bag["auroc"][here]
            by_label[name] = (
                _mean(some),
                _mean(per_bag["top_one"][here]),
                int((~some.isnan()).sum()),
            )
        instances = layout.known_instances
        pooled = roc_auc(layout.truth[instances].numpy(), weights[instances].numpy())
        found["pooled_auroc"] = None if math.isnan(pooled) else pooled
    shares = _type_shares(layout, weights) if layout.types > 1 else {}
    return Grade(
        subject=subject,
        seed=seed,
        epoch=epoch,
        roc_auc=task.get("roc_auc"),
        dev_roc_auc=None if dev is None or math.isnan(dev) else dev,
        accuracy=task.get("accuracy"),
        by_label=by_label,
        bags=bags,
        **found,
        **shares,
    )


def _type_shares(layout: Layout, weights: Float[Tensor, " T"]) -> dict[str, object]:
    masses = torch.full((len(layout), layout.types), math.nan, dtype=torch.float64)
    least = torch.full((len(layout),), math.nan, dtype=torch.float64)
    for rows, index, mask in layout.groups():
        given = (weights[index], layout.key_types[index], mask, layout.types)
        masses[rows], least[rows] = key_type_mass(*given), least_type_share(*given)
    masses[~layout.known], least[~layout.known] = math.nan, math.nan
    return {
        "type_mass": tuple(_mean(masses[:, k]) for k in range(layout.types)),
        "least_type_share": _mean(least),
    }


def reference_weights(
    layout: Layout, train: BagDataset, test: BagDataset, seed: int = 0
) -> tuple[dict[str, Float[Tensor, " T"]], tuple[str, ...]]:
    """Weights that calibrate: drawn at random, the truth itself, and a supervised classifier.

    Returns:
        The weights by name, and notes on what could not be had.
    """
    if not layout.has_truth:
        return {}, ()
    found = {"random": _random(layout, seed), "oracle": layout.truth.float()}
    notes: tuple[str, ...] = ()
    try:
        found["supervised"] = supervised_scores(train, test, seed)
    except NotApplicable as error:
        notes = (str(error),)
    return found, notes


def supervised_scores(train: BagDataset, test: BagDataset, seed: int = 0) -> Float[Tensor, " T"]:
    """The probability that each test instance is a key, from a classifier told so in training.

    A small network (64 hidden units) on standardised features. What it reaches is a ceiling in
    practice, not a bound.

    Args:
        train: Bags with truth; at most `MOST_TRAINED` instances are drawn.
        test: Bags to score.
        seed: Of draw and network.

    Raises:
        NotApplicable: The training bags have no truth, or only keys, or none.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = [bag for bag in train if bag.truth is not None]
    flags = [bag.truth for bag in known if bag.truth is not None]
    labels = torch.cat(flags).numpy() if flags else np.zeros(0, dtype=bool)
    if len(np.unique(labels)) < 2:
        raise NotApplicable(
            "the training bags do not say which instances are keys, so no supervised classifier "
            "is set beside the weights"
        )
    values = torch.cat([bag.instances.flatten(1) for bag in known]).numpy()
    if len(values) > MOST_TRAINED:
        drawn = np.random.default_rng(seed).permutation(len(values))[:MOST_TRAINED]
        values, labels = values[drawn], labels[drawn]
    model = make_pipeline(
        StandardScaler(),
        MLPClassifier((64,), alpha=0.1, max_iter=EPOCHS, random_state=seed),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(values, labels)
    asked = torch.cat([bag.instances.flatten(1) for bag in test]).numpy()
    return torch.from_numpy(model.predict_proba(asked)[:, 1]).float()


def _random(layout: Layout, seed: int) -> Float[Tensor, " T"]:
    weights = torch.zeros(len(layout.truth), dtype=torch.float64)
    for rows, index, mask in layout.groups():
        ids = [layout.ids[row] for row in rows.tolist()]
        drawn = instance_uniform(ids, mask, 1, seed, "random weights").squeeze(1)
        weights[index[mask]] = drawn[mask]
    return weights.float()


def bag_auc(outputs: Float[Tensor, "n C"], layout: Layout) -> float:
    """Bag AUC of log-probabilities, NaN where a class has no test bag."""
    return score(outputs, layout.labels).get("roc_auc", math.nan)


def _mean(values: Float[Tensor, " n"]) -> float | None:
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else None
