"""Findings do not depend on the batch size, the order of records, the chunk or the threads."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attnaudit.audits.run import run_audit
from attnaudit.data.bags.records import BagDataset
from attnaudit.data.kinds import BAGS
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.findings.settings import Settings
from attnaudit.models.bags.model import BagModel
from attnaudit.models.cut import Model
from attnaudit.models.encoded import Encoded
from attnaudit.models.ensemble import Ensemble
from attnaudit.models.pretrained.model import PretrainedClassifier, pooling_config
from attnaudit.models.selective.model import new_selective
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.bags.classifier import BagConfig, new_bag_net
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.nets.text.vocabulary import build_vocabulary
from attnaudit.training.text import new_net
from tests.test_bag_models import bags
from tests.tiny_transformers import tiny
from tests.toys import WORDS, reader

CLASSES = ("neg", "pos")
SHARES = ("effect/", "permutation/weights/moved/")
SETTINGS = Settings(
    resamples=100, permutations=10, costly_limit=24, ig_max_nodes=32, search_steps=5
)


def texts(count: int = 28) -> list:
    """Texts in which words occur again, so that units have scores equal but for rounding."""
    draw = random.Random(0)
    rows = [draw.choices(WORDS[:9], k=draw.randint(2, 15)) for _ in range(count)]
    return [
        text_record(f"r{i}", " ".join([*row, ".", "."]), i % 2, tokenizer="whitespace")
        for i, row in enumerate(rows)
    ]


def pooled(encoder: str, attention: str, seed: int = 0) -> TextClassifier:
    vocabulary = build_vocabulary(texts())
    config = ClassifierConfig(CLASSES, encoder, attention, hidden=8, embedding_dim=6)
    net = new_net(config, len(vocabulary), seed)
    for parameter in net.parameters():
        parameter.data.mul_(2)
    return TextClassifier(net, vocabulary)


def selective(seed: int = 0) -> Model:
    return new_selective(SelectiveConfig(CLASSES, mask="soft"), build_vocabulary(texts()), seed)


def pretrained(folder: Path) -> Model:
    encoder = load_transformer(tiny("bert", folder, texts=[r.text for r in texts()]), -1)
    net = new_net(pooling_config(encoder, CLASSES, "additive"), None, seed=1)
    return PretrainedClassifier(encoder, net)


def bag_model(pool: str, seed: int = 0) -> BagModel:
    config = BagConfig(("no", "yes"), (4,), pool=pool, hidden=6, attention=3)
    return BagModel(new_bag_net(config, seed, torch.float32))


KINDS = {
    "bilstm": lambda folder: pooled("bilstm", "additive"),
    "cnn": lambda folder: pooled("cnn", "dot"),
    "average": lambda folder: pooled("average", "additive"),
    "wrapped": lambda folder: reader(),
    "wrapped, deep": lambda folder: reader(deep=True),
    "selective": lambda folder: selective(),
    "pretrained": pretrained,
    "bags": lambda folder: bag_model("gated"),
    "ensemble": lambda folder: Ensemble([pooled("bilstm", "additive", s) for s in (0, 1)]),
    "ensemble of ranks": lambda folder: Ensemble([bag_model("gated", s) for s in (0, 1)], "ranks"),
}


def data_of(model: Model) -> Dataset | BagDataset:
    """Labelled with what the model says, so that it is good enough to audit."""
    if model.kind == BAGS:
        return bags(sizes=[2 + i % 11 for i in range(28)])
    records = texts()
    said = Encoded(model, model.collate(records)).predicted.tolist()
    truth = [tuple(unit == records[0].units[0] for unit in r.units) for r in records]
    labelled = [
        replace(r, label=label, truth=flags)
        for r, label, flags in zip(records, said, truth, strict=True)
    ]
    return Dataset("made", tuple(labelled), CLASSES)


def numbers(model: Model, data: Dataset | BagDataset, **changes: int) -> dict[str, float | None]:
    report = run_audit(model, data, SETTINGS.model_copy(update=changes)).report
    found: dict[str, float | None] = {}
    for finding in (report.performance, *report.findings):
        for estimate in finding.estimates:
            name = "/".join(
                (
                    finding.check,
                    finding.subject,
                    estimate.statistic,
                    estimate.subject,
                    estimate.group,
                )
            )
            found |= {
                f"{name}/{part}": getattr(estimate, part)
                for part in ("value", "low", "high", "n", "undefined")
            }
    return found


def far(one: dict[str, float | None], other: dict[str, float | None]) -> dict[str, object]:
    """What differs by more than 1e-6; shares of log-odds, which enlarge rounding, by 1e-5."""
    assert one.keys() == other.keys()

    def same(a: float | None, b: float | None, tolerance: float) -> bool:
        return a == b or (a is not None and b is not None and abs(a - b) <= tolerance)

    return {
        name: (value, other[name])
        for name, value in one.items()
        if not same(value, other[name], 1e-5 if name.startswith(SHARES) else 1e-6)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_findings_are_those_of_the_records_alone(kind: str, tmp_path: Path) -> None:
    if kind == "pretrained":
        pytest.importorskip("transformers")
    model = KINDS[kind](tmp_path)
    data = data_of(model)
    backwards = data.select(data.records[::-1])
    assert not far(numbers(model, data), numbers(model, backwards, token_budget=40, chunk=9))


def test_findings_do_not_depend_on_threads(tmp_path: Path) -> None:
    model = KINDS["cnn"](tmp_path)
    data = data_of(model)
    few = data.select(data.records[:12])
    one = numbers(model, few)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        other = numbers(model, few)
    finally:
        torch.set_num_threads(threads)
    assert not far(one, other)
