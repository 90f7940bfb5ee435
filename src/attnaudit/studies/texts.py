"""Studies of text classifiers: data sets x encoders x attentions x seeds, planned and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path

from attnaudit.audits.result import AuditResult
from attnaudit.audits.run import run_audit
from attnaudit.data.named.paper import PaperSettings
from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, RunError
from attnaudit.findings.findings import Estimate, Finding
from attnaudit.findings.settings import Settings
from attnaudit.models.cut import Model
from attnaudit.runs.execute import watched
from attnaudit.studies.declaration import Cell, Limit, Options, Place
from attnaudit.studies.schema import Spec
from attnaudit.studies.sources import GENERATED, splits_of

AUDIT_FOLDER = "audit"
PIPELINE = "jain2019"
COST = {"bilstm": 1.0, "cnn": 0.6, "average": 0.3}
"""Of an encoder, beside the LSTM's; others count as the LSTM."""
TRAIN_COST, TEST_COST = 3.5e-5, 0.018
"""CPU seconds of a training unit (300 numbers a word, 128 hidden) and of an audited text."""


class TextOptions(Options):
    """Options of a study that trains text classifiers.

    Attributes:
        epochs: In place of each set's own.
        hidden: In place of each set's own.
        embedding_dim: In place of each set's own.
        pipeline: The text pipeline: the papers', or nothing for this package's own.
        strict_bounds: Leave out all shortest and longest texts of a split, as the released code
            does where it has no bound.
        vectors: A file of pretrained word vectors (text or npz) in place of random ones.
        search: Whether to run Jain & Wallace's search.
    """

    epochs: Limit = None
    hidden: Limit = None
    embedding_dim: Limit = None
    pipeline: str = PIPELINE
    strict_bounds: bool = False
    vectors: Path | None = None
    search: bool = True


def text_cells(
    options: TextOptions,
    sources: Mapping[str, str],
    own: Callable[[str], tuple[str, PaperSettings, Spec]],
    cost_of: Callable[[Spec], float],
) -> list[Cell]:
    """One cell for each data set, encoder, attention and seed.

    Args:
        options: What was asked for.
        sources: The data sets that can be had, with where each comes from.
        own: From a set to its title, how it is trained on, and what else decides its numbers.
        cost_of: From a specification to CPU seconds.

    Raises:
        DataError: The word vectors cannot be read.
    """
    vectors, cells = _vectors(options.vectors), []
    for data, source in sources.items():
        title, training, more = own(data)
        piped = source != GENERATED and bool(options.pipeline)
        reading = {"pipeline": options.pipeline, "strict_bounds": options.strict_bounds}
        about = {
            "data": data,
            "source": source,
            "train_limit": options.train_limit,
            "test_limit": options.test_limit,
            "reading": reading if piped else {},
            "epochs": options.epochs or training.epochs,
            "batch_size": training.batch,
            "hidden": options.hidden or training.hidden,
            "embedding_dim": options.embedding_dim or training.embedding,
            "min_df": training.min_df,
            "search": options.search,
            "device": options.device,
            **vectors,
            **more,
        }
        for encoder, attention, seed in product(
            options.encoders, options.attentions, options.seeds
        ):
            spec = {**about, "encoder": encoder, "attention": attention, "seed": seed}
            name = f"{title}, {encoder} + {attention}, seed {seed}"
            cells.append(Cell(name, spec, cost_of(spec)))
    return cells


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


def costs_of(spec: Spec, texts: tuple[int, int], length: int) -> tuple[float, float]:
    """CPU seconds, roughly: of an epoch with the LSTM, and of auditing the test texts with it."""
    limits = (spec["train_limit"], spec["test_limit"])
    train, test = (min(size, limit or size) for size, limit in zip(texts, limits, strict=True))
    size = 0.25 + 0.75 * spec["hidden"] * spec["embedding_dim"] / (128 * 300)
    return TRAIN_COST * train * length * size, TEST_COST * test * (1 + length / 40)


def splits_for(spec: Spec, place: Place) -> dict[str, Dataset]:
    """The splits of a cell.

    Raises:
        AttnauditError: The set cannot be had or used.
    """
    limits = spec["train_limit"], spec["test_limit"]
    return splits_of(spec["data"], place.data_dir, *limits, **spec["reading"])


def notes_of(splits: Mapping[str, Dataset]) -> list[str]:
    """What a reader must know of the data."""
    return [f"{name}: {note}" for name, part in splits.items() for note in part.notes]


def audited(model: Model, data: Dataset, settings: Settings, place: Place) -> AuditResult:
    """The audit of a cell's model; one that was interrupted goes on where it stopped."""
    folder, watch = place.folder / AUDIT_FOLDER, watched(place.progress)
    try:
        return run_audit(model, data, settings, out=folder, watch=watch)
    except RunError:
        # begun by other code: start afresh
        return run_audit(model, data, settings, out=folder, watch=watch, overwrite=True)


def under_checks(findings: Iterable[Finding]) -> Iterator[Estimate]:
    """Every estimate once, its subject after the name of its check: checks share some subjects."""
    seen: set[tuple[str, str, str]] = set()
    for finding in findings:
        for estimate in finding.estimates:
            row = estimate.model_copy(update={"subject": f"{finding.check}/{estimate.subject}"})
            key = (row.statistic, row.subject, row.group)
            if key not in seen:
                seen.add(key)
                yield row
