"""The shortcut check and the remedies on bags."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.errors import DataError
from attnaudit.evidence.judges.reading import read
from attnaudit.models.bags.model import BagModel
from attnaudit.models.cut import Batch, States
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig
from attnaudit.nets.selective.mask_laws import MaskLaw
from attnaudit.remedies.instance_weighting import fit_mask_neutral
from attnaudit.remedies.random_pretraining import random_attention_pretrain
from attnaudit.training.fitting import fit_jointly
from attnaudit.training.options import options_for
from attnaudit.training.train import train
from tests.judging import SMALL as FEW
from tests.judging import finding, judged
from tests.toys import dataset

SMALL = FEW.model_copy(update={"epochs": 20})
SPLITS = generate_bag_splits("presence", "gaussian", n_train=300, n_dev=100, n_test=400, delta=6.0)
FAST = options_for("selector", epochs=2, batch_size=32)


class Coded(BagModel):
    """All weight lies on the first two instances, which are the same in every bag.

    Which of the two it is tells whether the others have a positive mean.
    """

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        states = super().encode_embedded(batch, embedded)
        code = batch.inputs[:, 2:, :2].sum((1, 2)) > 0
        return States(states.hidden, states.units, {**states.extra, "code": code})

    def attend(self, states: States) -> Tensor:
        weights = torch.zeros(states.units.shape, dtype=states.hidden.dtype)
        weights[torch.arange(len(weights)), states.extra["code"].long()] = 1.0
        return weights

    def leave_one_out(self, batch: Batch, states: States) -> Tensor | None:
        return None  # the base class knows another attention


def coded_bags(count: int, seed: int) -> BagDataset:
    draw = np.random.default_rng(seed)
    ends = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    bags = []
    for i in range(count):
        label = i % 2
        rest = draw.normal(0.0, 1.0, (8, 3))
        rest[:, :2] += 0.5 if label else -0.5
        bags.append(bag_record(f"{seed}-{i}", np.concatenate([ends, rest]), label))
    return BagDataset("coded", tuple(bags), ("minus", "plus"), (3,))


def untrained(shape: tuple[int, ...], kind: type[BagModel] = BagModel) -> BagModel:
    torch.manual_seed(0)
    return kind(BagClassifier(BagConfig(("minus", "plus"), shape, hidden=16, attention=8)))


def test_a_pool_whose_weights_are_honest_does_not_rely_on_a_code() -> None:
    options = options_for("bags", epochs=20)
    model = train(SPLITS, kind="bags", hidden=16, options=options, progress=False).model
    report = judged(model, SPLITS, SMALL).report
    gap = finding(report, "gap")
    assert gap.headline is not None
    assert (gap.headline.value or 0) < 0.03
    assert report.performance.verdict.value == "pass"
    assert gap.verdict.value == "pass"
    records = {line.name: line.facts.get("records") for line in report.cells}
    assert [records[f"weights on {name}"] for name in SPLITS] == [300, 100, 400]


def test_a_code_between_two_empty_instances_is_caught() -> None:
    splits = {"train": coded_bags(400, 0), "dev": coded_bags(150, 1), "test": coded_bags(300, 2)}
    options = options_for("selector", epochs=10, batch_size=32, learning_rate=5e-3)
    model = fit_jointly(untrained((3,), Coded), splits["train"], splits["dev"], options).model
    said = read(model, splits["test"])
    assert np.mean(said.predicted == said.labels) > 0.9
    report = judged(model, splits, SMALL).report
    assert report.judgement.verdict.value == "fail"
    # the decoder reads the form of the weights, so there are twice as many judges
    assert sum(note.startswith("gaps of the 4") for note in finding(report, "gap").notes) == 1
    assert finding(report, "swaps").verdict.value == "fail"


def test_the_remedies_take_bags() -> None:
    data = {name: data.select(data.bags[:80]) for name, data in SPLITS.items()}
    model = untrained(data["train"].shape)
    before = model.fingerprint()
    train, dev = data["train"], data["dev"]
    done = random_attention_pretrain(model, train, dev, MaskLaw(), FAST, held_out=1)
    weighed = fit_mask_neutral(model, train, dev, FAST, folds=2)
    assert model.fingerprint() == before
    assert len({before, done.model.fingerprint(), weighed.model.fingerprint()}) == 3
    for remedied in (done.model, weighed.model):
        assert all(abs(row.sum() - 1) < 1e-5 for row in read(remedied, dev).weights)


def test_texts_are_no_bags() -> None:
    texts = {name: dataset(20, seed=i) for i, name in enumerate(("train", "dev", "test"))}
    with pytest.raises(DataError, match=r"holds texts, and .* reads bags"):
        judged(untrained(SPLITS["train"].shape), texts)
