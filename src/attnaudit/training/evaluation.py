"""Labels checked and predictions scored, for training and model selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor

from attnaudit.data.kinds import Record
from attnaudit.errors import DataError
from attnaudit.nets.text.classifier import AttentionClassifier, log_probabilities
from attnaudit.nets.text.inputs import Examples

TOKENS = 16_384
"""Padded positions in one batch of predictions."""


def check_labels(
    records: Sequence[Record], classes: Sequence[str], split: str, *, several: bool = False
) -> Int[Tensor, " N"]:
    """The labels of records, where all can be used.

    Args:
        records: The records.
        classes: The names of the classes.
        split: What to call the records.
        several: Whether there must be records of more than one class.

    Raises:
        DataError: There are no records, or one has no label or one that is no index of a class.
    """
    if not records:
        raise DataError(f"there are no {split} records; give at least some of each class")
    for row, record in enumerate(records):
        if not isinstance(record.label, int) or not 0 <= record.label < len(classes):
            raise DataError(
                f"{split} record {record.id!r} (row {row}) has the label {record.label}; it must "
                f"be 0 to {len(classes) - 1}, an index of {tuple(classes)}"
            )
    labels = torch.tensor([record.label for record in records])
    if several and bool((labels == labels[0]).all()):
        name = classes[int(labels[0])]
        raise DataError(f"all {len(labels)} {split} records are of class {name!r}; give others")
    return labels


def selection_metric(select: str, dev_labels: Int[Tensor, " N"], classes: Sequence[str]) -> str:
    """The metric that chooses the epoch: `roc_auc`, `accuracy` or `loss`.

    `auto` is ROC-AUC where every class has development records; with more than two classes it is
    accuracy where one has none.

    Raises:
        DataError: ROC-AUC is asked for, but some class has no development record.
    """
    counts = torch.bincount(dev_labels, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]
    if select == "loss":
        return select
    if select == "accuracy" or (select == "auto" and absent and len(classes) > 2):
        return "accuracy"
    if absent:
        raise DataError(
            f"no development record is of class {', '.join(absent)}, so ROC-AUC is undefined; "
            'give some, or select by "accuracy"'
        )
    return "roc_auc"


def predict(net: AttentionClassifier, examples: Examples) -> Float[Tensor, "N C"]:
    """Log-probabilities on the CPU, in the order of the examples; batches go by length."""
    return outputs_and_weights(net, examples)[0]


@torch.no_grad()
def outputs_and_weights(
    net: AttentionClassifier, examples: Examples
) -> tuple[Float[Tensor, "N C"], list[Float[Tensor, " T"]]]:
    """Log-probabilities, and the weights on the units of each example; both on the CPU."""
    lengths = examples.lengths
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    device, dtype = net.head.weight.device, net.head.weight.dtype
    outputs = torch.empty(len(lengths), len(net.config.classes), dtype=dtype)
    weights = [torch.empty(0, dtype=dtype)] * len(lengths)
    start = 0
    while start < len(order):
        rows = order[start : start + max(1, TOKENS // (lengths[order[start]] + 2))]
        passed = net.run(examples.batch(rows).to(device))
        outputs[rows] = log_probabilities(passed.logits).cpu()
        kept, units = passed.weights.cpu(), passed.units.cpu()
        for place, row in enumerate(rows):
            weights[row] = kept[place][units[place]]
        start += len(rows)
    return outputs, weights


def score(outputs: Float[Tensor, "N C"], labels: Int[Tensor, " N"]) -> dict[str, float]:
    """Accuracy and, where every class has labels, ROC-AUC (mean of one against the rest).

    Args:
        outputs: Log-probabilities.
        labels: Class indices.
    """
    scores = {"accuracy": float((outputs.argmax(dim=-1) == labels).double().mean())}
    classes = outputs.shape[-1]
    if bool((torch.bincount(labels, minlength=classes) > 0).all()):
        probabilities = outputs.double().exp().numpy()
        if classes == 2:
            area = roc_auc_score(labels.numpy(), probabilities[:, 1])
        else:
            # sklearn wants rows that sum to 1 more closely than float32 gives.
            probabilities /= probabilities.sum(axis=1, keepdims=True)
            area = roc_auc_score(labels.numpy(), probabilities, multi_class="ovr")
        scores["roc_auc"] = float(area)
    return scores


def reached(
    scores: Mapping[str, float], metric: str, loss: float, *ties: float
) -> tuple[dict[str, float], tuple[float, ...]]:
    """Development scores under their names in a history, and what the epoch is chosen by.

    Args:
        scores: Those of `score`.
        metric: That of `selection_metric`.
        loss: The training loss.
        ties: What decides between equal scores.
    """
    chosen = -loss if metric == "loss" else scores[metric]
    return {f"dev_{name}": value for name, value in scores.items()}, (chosen, *ties)
