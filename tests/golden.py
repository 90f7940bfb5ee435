"""A classifier trained by the authors of "Attention is not Explanation", and its raw results."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import polars as pl
from safetensors.torch import load_file

from attnaudit.models.cut import Batch
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.vocabulary import FIRST_WORD, Vocabulary, pad_sequences
from tests.shared import shared_dir

NAMES = {
    "encoder.embedding.": "embedding.",
    "encoder.rnn.": "encoder.forwards.",
    "decoder.attention.attn1.": "attention.projection.",
    "decoder.attention.attn2.": "attention.vector.",
    "decoder.linear_1.": "head.",
}


def golden_dir() -> Path:
    """The folder of the golden model, or a skip that says why."""
    return shared_dir("golden/sst-bilstm-additive")


@cache
def golden_model() -> TextClassifier:
    """The reference implementation's parameters in our network; words are called `w4`, `w5`, …"""
    state = {}
    for name, tensor in load_file(golden_dir() / "weights.safetensors").items():
        old = next(prefix for prefix in NAMES if name.startswith(prefix))
        new = NAMES[old] + name.removeprefix(old)
        if new.endswith("_reverse"):
            new = new.replace("forwards", "backwards").removesuffix("_reverse")
        state[new] = tensor
    size = len(state["embedding.weight"])
    net = AttentionClassifier(ClassifierConfig(("negative", "positive")), size)
    net.load_state_dict(state)
    words = tuple(f"w{index}" for index in range(FIRST_WORD, size))
    return TextClassifier(net, Vocabulary(words), name="golden")


@cache
def golden_instances() -> pl.DataFrame:
    """One row a sentence, sorted by length; lists run over stored positions, markers included."""
    return pl.read_parquet(golden_dir() / "instances.parquet")


def golden_batches(size: int = 32) -> Iterator[tuple[slice, Batch]]:
    """Batches of the sentences in their order, and which rows of the instances they are."""
    sentences = golden_instances()["token_ids"].to_list()
    for start in range(0, len(sentences), size):
        part = slice(start, min(start + size, len(sentences)))
        ids, present, units = pad_sequences([ids[1:-1] for ids in sentences[part]])
        yield part, Batch(tuple(map(str, range(part.start, part.stop))), ids, present, units)
