"""Batches as evidence: instances are measured chunk by chunk, for all checks at once."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Self

import numpy as np
import polars as pl
import torch
from safetensors.numpy import load, save

from attnaudit.attribution import METHODS
from attnaudit.data.bags.records import Bag
from attnaudit.data.kinds import AnyDataset, Record
from attnaudit.data.records import Text
from attnaudit.errors import ModelError, NotApplicable, RunError
from attnaudit.evidence.batch.erasing import mean_state
from attnaudit.evidence.batch.view import Columns, View, column
from attnaudit.evidence.contract import Design
from attnaudit.findings.findings import Finding
from attnaudit.findings.settings import SECTIONS, Settings
from attnaudit.measures.drift import DriftReference, fit_drift
from attnaudit.models.batches import by_length, groups, with_backoff
from attnaudit.models.cut import Model
from attnaudit.models.encoded import Encoded
from attnaudit.runs.cell import Cell, Outcome, Place, home_of
from attnaudit.runs.disk import read_sure, write_noted
from attnaudit.runs.execute import Done
from attnaudit.runs.inputs import Input
from attnaudit.runs.store import AGAIN, Store

DRIFT_LIMIT = 2000
SHOWN = ("weights", "leave_one_out")
"""Attributions that reports show of any audit."""
CHUNK, DRIFT, ROOM = "instances.parquet", "drift.safetensors", "instances"


@dataclass(frozen=True)
class Instances:
    """What was measured on every instance, as one check sees it.

    Attributes:
        frame: One row per instance in the order of the data: what is known of it, and the check's
            own columns by the names that `measure` gave them.
        classes: Names of the model's outputs.
        settings: Settings and bars.
    """

    frame: pl.DataFrame
    classes: tuple[str, ...]
    settings: Settings

    @property
    def gate(self) -> Finding | None:
        """Whether the model is good enough is a check of its own here."""
        return None


@dataclass(frozen=True)
class Batch:
    """What a check asks of every batch.

    `measure` gives columns with one row per instance; the rows of batches, processes and machines
    are simply put together, so that no result depends on batch size or order.

    Attributes:
        measure: Instances to columns; None where the check reads what is known of all instances.
        attributions: Names of the attributions that it looks at, besides the weights; None for
            every one that the model allows.
        drift: Whether it asks how far perturbed inputs drift from the data.
    """

    measure: Callable[[View], Columns] | None = None
    attributions: tuple[str, ...] | None = ()
    drift: bool = False

    @classmethod
    def cells(cls, design: Design, asked: Mapping[str, Self]) -> list[Cell]:
        """One cell per chunk, and one for the drift reference where a check asks for it."""
        settings, data, model = design.settings, _data_of(design), _model_of(design)
        size = len(data.get())
        shared: dict[str, object] = {
            "model": model.fingerprint,
            "data": data.fingerprint,
            "settings": settings.model_dump(
                mode="json",
                exclude={"token_budget", "checks", "resamples", "confidence", *SECTIONS},
            ),
        }
        code: tuple[str, ...] = (type(model.get()).__module__,)
        needs: tuple[Cell, ...] = ()
        if any(one.drift for one in asked.values()):
            work = DriftWork(model, data, settings)
            needs = (Cell("drift", work, shared, code=code, room=ROOM, vital=True, single=False),)
        measured = {name: one for name, one in asked.items() if one.measure is not None}
        homes = (home_of(one.measure) for one in measured.values() if one.measure is not None)
        code = tuple(sorted({*code, *homes}))
        return [
            Cell(
                f"chunk {start // settings.chunk:05d}",
                ChunkWork(model, data, settings, measured, start),
                {**shared, "checks": sorted(measured), "start": start},
                needs,
                code=code,
                room=ROOM,
                vital=True,
                single=False,
            )
            for start in range(0, size, settings.chunk)
        ]

    @classmethod
    def gather(
        cls, design: Design, asked: Mapping[str, Self], store: Store, done: Done
    ) -> dict[str, Instances]:
        """All instances, as each check sees them."""
        chunks = [cell for cell in cls.cells(design, asked) if cell.name in done.records]
        frame = read_instances(store, [cell.place for cell in chunks if cell.name != "drift"])
        classes = _model_of(design).get().classes
        return {name: Instances(own_of(frame, name), classes, design.settings) for name in asked}


def read_instances(store: Store, places: Sequence[str]) -> pl.DataFrame:
    """The tables of some chunks as one, in the order of the data.

    Raises:
        RunError: One is gone, or not what was written.
    """
    if not places:
        raise RunError(f"{store.folder} holds no instances. {AGAIN}")
    folders = [store.folder / place for place in places]
    parts = [read_sure(folder / CHUNK, folder, "instances", AGAIN) for folder in folders]
    return merge([pl.read_parquet(io.BytesIO(part)) for part in parts])


def merge(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Chunks to one table in the order of the data: the order of chunks does not matter."""
    return pl.concat(frames, how="diagonal_relaxed").sort("index")


def own_of(frame: pl.DataFrame, check: str) -> pl.DataFrame:
    """What is known of every instance, and the columns of one check without its prefix."""
    prefix = f"{check}/"
    own = {name: name.removeprefix(prefix) for name in frame.columns if name.startswith(prefix)}
    shared = [name for name in frame.columns if "/" not in name]
    return frame.select([*shared, *own]).rename(own)


def drawn(ids: Sequence[str], limit: int, seed: int, stream: str) -> np.ndarray:
    """A flag for each id: is it among `limit` drawn by the seed, whatever the order of ids?"""
    keys = [blake2b(f"{seed}\x1f{stream}\x1f{i}".encode(), digest_size=8).digest() for i in ids]
    flags = np.zeros(len(ids), dtype=bool)
    flags[sorted(range(len(ids)), key=keys.__getitem__)[:limit]] = True
    return flags


@dataclass(frozen=True)
class DriftWork:
    """The reference for erased inputs, fitted on the data as it is."""

    model: Input[Model]
    data: Input[AnyDataset]
    settings: Settings

    def __call__(self, cell: Cell, place: Place) -> Outcome:
        """Fit it and store it in the cell's folder; too few instances give none."""
        model, data, settings = self.model.get(), self.data.get(), self.settings
        flags = drawn([r.id for r in data], DRIFT_LIMIT, settings.seed, "drift")
        records = [r for r, flag in zip(data, flags, strict=True) if flag]
        features: list[np.ndarray] = []

        def encode(part: Sequence[Record]) -> list[np.ndarray]:
            with torch.no_grad():
                states = model.encode(model.collate(part))
            return [mean_state(states.hidden, states.units)]

        records = [records[i] for i in by_length(records)]
        ids = [r.id for r in records]
        for part in groups([len(r.units) for r in records], settings.token_budget):
            place.progress("encoding", len(features), len(records))
            features += [row for block in with_backoff(encode, records[part]) for row in block]
        place.progress("encoding", len(records), len(records))
        # by id, so that the halves do not depend on the order of the data
        order = sorted(range(len(ids)), key=ids.__getitem__)
        found = fit_drift(np.stack(features)[order], settings.seed)
        if found is not None:
            tensors = {
                "mean": found.mean,
                "axes": found.axes,
                "precision": found.precision,
                "bar": np.array([found.bar]),
            }
            content = save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
            write_noted(place.folder / DRIFT, content, place.folder)
        return Outcome(facts={"fitted": found is not None})


def _drift_of(place: Place) -> DriftReference | None:
    """The drift reference that a chunk was given, if there is one."""
    folder = place.needs.get("drift")
    if folder is None or not (folder / DRIFT).exists():
        return None
    found = load(read_sure(folder / DRIFT, folder, "drift reference", AGAIN))
    return DriftReference(found["mean"], found["axes"], found["precision"], float(found["bar"][0]))


@dataclass(frozen=True)
class ChunkWork:
    """Some instances of similar length, measured for all checks.

    Attributes:
        model: The model.
        data: The data.
        settings: Settings and bars.
        asked: What each check asks for.
        start: The first instance, in the order of lengths.
    """

    model: Input[Model]
    data: Input[AnyDataset]
    settings: Settings
    asked: Mapping[str, Batch]
    start: int

    def __call__(self, cell: Cell, place: Place) -> Outcome:
        """Measure them and store their table in the cell's folder."""
        data, drift, total = self.data.get(), _drift_of(place), len(self.data.get())
        chunk = by_length(data.records)[self.start : self.start + self.settings.chunk]
        flags = drawn(
            [r.id for r in data], self.settings.costly_limit, self.settings.seed, "erasure"
        )
        records = [data.records[i] for i in chunk]
        index = {data.records[i].id: i for i in chunk}
        frames: list[pl.DataFrame] = []

        def measure(part: Sequence[Record]) -> list[pl.DataFrame]:
            rows = np.array([index[r.id] for r in part])
            return [self.measured(part, rows, flags[rows], drift)]

        place.progress("auditing", self.start, total)
        for part in groups([len(r.units) for r in records], self.settings.token_budget):
            frames += with_backoff(measure, records[part])
            place.progress("auditing", self.start + part.stop, total)
        content = io.BytesIO()
        # through memory: polars reports a full disk as an error of its own, without its number
        merge(frames).write_parquet(content)
        write_noted(place.folder / CHUNK, content.getvalue(), place.folder)
        return Outcome(facts={"instances": len(records)})

    @cached_property
    def _attributions(self) -> set[str]:
        """The attributions that some check looks at, and those that reports show of any audit."""
        wanted = set(SHOWN)
        for one in self.asked.values():
            wanted |= set(METHODS if one.attributions is None else one.attributions)
        return wanted

    def measured(
        self,
        records: Sequence[Record],
        index: np.ndarray,
        chosen: np.ndarray,
        drift: DriftReference | None,
    ) -> pl.DataFrame:
        """One batch, measured for all checks.

        Args:
            records: The instances.
            index: Their places in the data.
            chosen: Which of them are drawn for costly work.
            drift: The reference for erased inputs, if there is one.
        """
        model = self.model.get()
        encoded = Encoded(model, model.collate(records), trace=True)
        for record, count in zip(records, encoded.units.sum(1).tolist(), strict=True):
            if count != len(record.units):
                raise ModelError(
                    f"{model.name} attends over {count} units of {record.id!r}, which has "
                    f"{len(record.units)}. Scores and units must fit one to one: shorten the text "
                    "before the audit instead of inside the model."
                )
        view = View(encoded, list(records), self.settings, chosen, drift)
        columns = _base(view, index, self._attributions)
        for name, one in self.asked.items():
            if one.measure is None:
                continue
            try:
                found = one.measure(view)
            except NotApplicable:
                continue
            columns |= {f"{name}/{column}": values for column, values in found.items()}
        return pl.DataFrame(columns, nan_to_null=True)


def _base(view: View, index: np.ndarray, attributions: set[str]) -> dict[str, object]:
    """What every check and picture needs to know of an instance."""
    encoded = view.encoded
    columns: dict[str, object] = {
        "index": index,
        "id": [r.id for r in view.records],
        "length": column(view.units.sum(1)).astype(np.int64),
        "label": pl.Series([r.label for r in view.records], dtype=pl.Int64),
        "predicted": column(encoded.predicted).astype(np.int64),
        "max_weight": column(encoded.weights.amax(1)),
        "drawn": view.chosen,
        "units": [list(r.units) for r in view.records],
        "truth": pl.Series(
            [None if r.truth is None else [bool(flag) for flag in r.truth] for r in view.records],
            dtype=pl.List(pl.Boolean),
        ),
        **_text_columns(view.records),
        **_bag_columns(view.records),
    }
    names = encoded.model.names(encoded.batch)
    if any(name != encoded.model.classes for name in names):
        columns["outputs"] = [list(name) for name in names]
    known = encoded.model.answers(view.records, encoded.batch)
    if known is not None:
        columns["answer"] = [None if one is None else one.said for one in known]
        columns["right"] = [None if one is None else one.right for one in known]
    for position in range(encoded.outputs.shape[1]):
        columns[f"probability.{position}"] = column(encoded.probabilities[:, position])
    for name in view.applicable(attributions):
        columns[f"scores.{name}"] = view.per_unit(view.scores(name))
    error = None
    if "scores.integrated_gradients" in columns:
        error = view.attribution("integrated_gradients").error
    if error is not None:
        columns["completeness_error.integrated_gradients"] = column(error)
    return columns


def _text_columns(records: Sequence[Record]) -> dict[str, object]:
    """Whether a unit stands apart from the one before, so that texts can be shown as they came."""
    texts = [record for record in records if isinstance(record, Text)]
    if not texts:
        return {}
    rows = []
    for record in texts:
        ends = [0, *(end for _, end in record.offsets)]
        rows.append([start > ends[k] for k, (start, _) in enumerate(record.offsets)])
    return {"spaced": pl.Series(rows, dtype=pl.List(pl.Boolean))}


def _bag_columns(records: Sequence[Record]) -> dict[str, object]:
    """What only bags have: kinds of key instances, and where instances lie."""
    bags = [record for record in records if isinstance(record, Bag)]
    if not bags:
        return {}
    return {
        "key_types": pl.Series(
            [None if b.key_types is None else b.key_types.tolist() for b in bags],
            dtype=pl.List(pl.Int64),
        ),
        "coordinates": pl.Series(
            [None if b.coordinates is None else b.coordinates.tolist() for b in bags],
            dtype=pl.List(pl.List(pl.Float64)),
        ),
    }


def _model_of(design: Design) -> Input[Model]:
    if design.model is None:
        raise NotApplicable("there is no model whose batches could be read")
    return design.model


def _data_of(design: Design) -> Input[AnyDataset]:
    if design.data is None:
        raise NotApplicable("there are no data to audit on")
    return design.data
