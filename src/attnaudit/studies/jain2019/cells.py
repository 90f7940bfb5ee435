"""The cells of the study: data sets x encoders x attentions x seeds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from attnaudit.errors import DataError, SettingsError
from attnaudit.nets.text.attentions import ATTENTIONS
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.studies.declaration import Cell, Limit, Names, Options, Planned
from attnaudit.studies.jain2019.settings import (
    GENERATED,
    PIPELINE,
    REAL,
    SETTINGS,
    Setting,
    training_of,
)
from attnaudit.studies.sources import GENERATED as GENERATED_SOURCE
from attnaudit.studies.sources import folder_of, known_sets

COST = {"bilstm": 1.0, "cnn": 0.6, "average": 0.3}
"""Of an encoder, beside the LSTM's; others count as the LSTM."""
TRAIN_COST, TEST_COST = 3.5e-5, 0.018
"""CPU seconds of a training unit (300 numbers a word, 128 hidden) and of an audited text."""


class JainOptions(Options):
    """Options of this study.

    Attributes:
        epochs: In place of each set's own.
        hidden: In place of each set's own.
        embedding_dim: In place of each set's own.
        pipeline: The text pipeline: the paper's, or nothing for this package's own.
        strict_bounds: Leave out all shortest and longest texts of a split, as the released code
            does where it has no bound.
        vectors: A file of pretrained word vectors (text or npz) in place of random ones.
        search: Whether to run the published search beside the exact adversary.
        permutations: Of each instance's weights.
    """

    data: Names = REAL
    encoders: Names = ("bilstm", "cnn", "average")
    attentions: Names = ("additive", "dot")
    epochs: Limit = None
    hidden: Limit = None
    embedding_dim: Limit = None
    pipeline: str = PIPELINE
    strict_bounds: bool = False
    vectors: Path | None = None
    search: bool = True
    permutations: Limit = 100


def quick(data_dir: Path | None) -> dict[str, Any]:
    """Small sizes on generated data; SST and bAbI join where `data_dir` has them."""
    there = [n for n in ("sst", "babi_1") if (folder := folder_of(n, data_dir)) and folder.is_dir()]
    return {
        "data": (*GENERATED, *there),
        "train_limit": 800,
        "test_limit": 200,
        "hidden": 32,
        "embedding_dim": 50,
    }


def plan(options: JainOptions, data_dir: Path | None) -> Planned:
    """One cell for each data set, encoder, attention and seed; what cannot be had is missing.

    Raises:
        SettingsError: A name that nothing has.
    """
    for names, known, what in (
        (options.encoders, ENCODERS, "encoder"),
        (options.attentions, ATTENTIONS, "attention"),
        (options.data, SETTINGS, "data set of this study"),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise SettingsError(
                f"{unknown[0]!r} is no {what}; there are: {', '.join(map(str, known))}."
            )
    sources, missing = known_sets([d for d in SETTINGS if d in options.data], data_dir)
    cells = tuple(
        Cell(
            f"{SETTINGS[data].title}, {encoder} + {attention}, seed {seed}",
            spec := _spec(options, data, source, encoder, attention, seed),
            cost_of(spec, SETTINGS[data]),
        )
        for data, source in sources.items()
        for encoder in options.encoders
        for attention in options.attentions
        for seed in options.seeds
    )
    return Planned(cells, tuple(missing))


def _spec(
    options: JainOptions, data: str, source: str, encoder: str, attention: str, seed: int
) -> dict[str, Any]:
    own = training_of(data)
    reading: dict[str, Any] = {}
    if source != GENERATED_SOURCE and options.pipeline:
        reading = {"pipeline": options.pipeline, "strict_bounds": options.strict_bounds}
    return {
        "data": data,
        "source": source,
        "encoder": encoder,
        "attention": attention,
        "seed": seed,
        "train_limit": options.train_limit,
        "test_limit": options.test_limit or SETTINGS[data].test_limit,
        "reading": reading,
        "epochs": options.epochs or own.epochs,
        "batch_size": own.batch,
        "hidden": options.hidden or own.hidden,
        "embedding_dim": options.embedding_dim or own.embedding,
        "min_df": own.min_df,
        "search": options.search,
        "permutations": options.permutations,
        "device": options.device,
        **_vectors(options.vectors),
    }


def _vectors(path: Path | None) -> dict[str, str]:
    """A file of word vectors by place and content.

    Raises:
        DataError: It cannot be read.
    """
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    return {"vectors": str(path.resolve()), "vectors_digest": digest[:16]}


def cost_of(spec: dict[str, Any], own: Setting) -> float:
    """CPU seconds, roughly: training goes with units read, the audit with texts and units."""
    train, test = (
        min(size, limit or size)
        for size, limit in zip(own.texts, (spec["train_limit"], spec["test_limit"]), strict=True)
    )
    size: float = 0.25 + 0.75 * spec["hidden"] * spec["embedding_dim"] / (128 * 300)
    encoder = COST.get(str(spec["encoder"]), 1.0)
    training: float = TRAIN_COST * train * own.length * spec["epochs"] * size * encoder
    searched = 2 if spec["search"] else 1
    auditing: float = TEST_COST * test * (1 + own.length / 40) * searched * encoder
    return 2.0 + training + auditing
