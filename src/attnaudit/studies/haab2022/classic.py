"""Classic sets: repeated 10-fold cross-validation, and how far seeds of one fold agree."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from attnaudit.checks.seed_agreement import agreement_nulls, pair_agreement
from attnaudit.data.bags.scaling import standardised
from attnaudit.data.bags.splits import bag_folds
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import DataError
from attnaudit.evidence.seeds.layout import lay_out
from attnaudit.evidence.seeds.members import train_members
from attnaudit.evidence.seeds.network import Network
from attnaudit.findings.estimates import average
from attnaudit.findings.settings import Settings
from attnaudit.measures.detection import roc_auc
from attnaudit.nets.bags.classifier import BagConfig
from attnaudit.runs.cell import Outcome
from attnaudit.studies.declaration import Place
from attnaudit.studies.haab2022.cells import mil_folder
from attnaudit.studies.schema import Spec
from attnaudit.training.options import options_for

FOLDS = 10
RATE, DECAY, BATCH, HIDDEN, ATTENTION = 1e-3, 5e-3, 8, 64, 64
"""After Ilse et al. (2018), supplement, with fewer epochs and small batches instead of one bag."""


def measure_classic(spec: Spec, place: Place) -> Outcome:
    """Accuracy over bags, and agreement of seeds on the bags that they were not trained on.

    The last epoch is kept (lowest training loss): no bag is set aside for choosing one.

    Raises:
        DataError: The set cannot be read.
    """
    if place.data_dir is None:
        raise DataError("classic sets need a folder of data sets")
    data = resolve(spec["data"], "bags", data_dir=mil_folder(place.data_dir)).data()
    options = options_for(
        "bags",
        epochs=spec["epochs"],
        batch_size=BATCH,
        learning_rate=RATE,
        weight_decay=DECAY,
        select="loss",
        device=place.device,
    )
    config = BagConfig(
        data.classes, data.shape, pool=spec["pool"], hidden=HIDDEN, attention=ATTENTION
    )
    correct: dict[str, list[float]] = defaultdict(list)
    agreed: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    nulls: dict[str, list[float]] = defaultdict(list)
    repeat_scores: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    total = FOLDS * spec["repeats"]
    for number, fold in enumerate(bag_folds(data, FOLDS, spec["repeats"])):
        place.progress("folds", number, total)
        train, test = standardised(fold.train, fold.test)
        splits = {"train": train, "dev": train, "test": test}
        seeds = [1000 * fold.repeat + 100 * fold.fold + i for i in range(spec["members"])]
        members = train_members(Network(config, options), splits, seeds, folder=place.folder)
        layout = lay_out(test)
        hits = (members.outputs.argmax(-1) == layout.labels).double().mean(0)
        found = pair_agreement(members.weights, layout)
        for name, null in agreement_nulls(members.weights, layout).items():
            nulls[name] += [] if null is None else [null]
        same = _same_decision(members.outputs.argmax(-1).numpy())
        for row, id in enumerate(layout.ids):
            correct[id].append(float(hits[row]))
            agreed["same_decision"][id].append(float(same[row]))
            for name, values in found.items():
                agreed[name][id].append(float(values[row]))
        for place_of, outputs in enumerate(members.outputs):
            chances = outputs[:, 1].exp().tolist()
            repeat_scores[fold.repeat, place_of] += list(
                zip(layout.labels.tolist(), chances, strict=True)
            )
    areas = [
        roc_auc(*(np.array(column) for column in zip(*scores, strict=True)))
        for scores in repeat_scores.values()
    ]
    majority = max(Counter(bag.label for bag in data).values()) / len(data)
    means: list[tuple[np.ndarray, str, str, float | None]] = [
        (_means(correct), "accuracy", "seeds", majority)
    ]
    means += [
        (_means(values), name, "seed~seed", float(np.mean(nulls[name])) if nulls[name] else None)
        for name, values in agreed.items()
    ]
    rows = [
        average(values, Settings(), statistic=name, subject=subject, null=null)
        for values, name, subject, null in means
    ]
    facts = {
        "bags": len(data),
        "roc_auc": float(np.mean(areas)),
        "runs": len(repeat_scores),
        "accuracies": [_accuracy(scores) for scores in repeat_scores.values()],
    }
    return Outcome(rows, facts)


def _means(values: Mapping[str, list[float]]) -> np.ndarray:
    """One number a bag: the mean of what is defined of it."""
    found = []
    for some in values.values():
        known = [value for value in some if not math.isnan(value)]
        found.append(float(np.mean(known)) if known else math.nan)
    return np.array(found)


def _same_decision(decisions: np.ndarray) -> np.ndarray:
    """How often two seeds decide alike on each bag."""
    count = len(decisions)
    if count < 2:
        return np.full(decisions.shape[1], math.nan)
    pairs = [decisions[a] == decisions[b] for a in range(count) for b in range(a)]
    return np.asarray(np.mean(pairs, axis=0))


def _accuracy(scores: list[tuple[int, float]]) -> float:
    return float(np.mean([(chance >= 0.5) == bool(label) for label, chance in scores]))
