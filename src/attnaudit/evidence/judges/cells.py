"""Judges as evidence: readings, probes, interventions and trainings, each a cell of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from attnaudit.data.drawing import draw
from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.contract import Design, Splits
from attnaudit.evidence.judges.interventions import (
    LEAK,
    SWAP,
    Flips,
    Interventions,
    intervene,
    reads_form,
)
from attnaudit.evidence.judges.judge import (
    Judged,
    Lesson,
    judged_of,
    said_by_informed,
    said_by_judge,
)
from attnaudit.evidence.judges.probe import ESTIMATORS, DefaultUnits, Probed, folds_of, probes
from attnaudit.evidence.judges.reading import Reading, Row, read
from attnaudit.findings.findings import Finding
from attnaudit.findings.settings import LEAST_INSTANCES, Settings
from attnaudit.models.cut import Model
from attnaudit.models.ensemble import Ensemble
from attnaudit.models.matching import aligned, fitted
from attnaudit.models.pretrained.held import HeldStates, texts_of
from attnaudit.models.pretrained.model import PretrainedClassifier
from attnaudit.models.seen import text_hash
from attnaudit.progress import Report
from attnaudit.runs.cell import Cell, Outcome, Place, with_needs
from attnaudit.runs.disk import read_sure, write_noted
from attnaudit.runs.execute import Done
from attnaudit.runs.inputs import Input
from attnaudit.runs.store import AGAIN, Store
from attnaudit.training.evaluation import check_labels

SAID, NULL = "said.parquet", "null.parquet"
MOST_SHARED = 0.1
"""Share of test records that may stand in train or dev too, as a few do in published data."""
NEEDED = {"train": "training", "dev": "development", "test": "test"}
READ = {split: f"weights on {split}" for split in NEEDED}
PROBES, INTERVENTIONS, INFORMED = "probes of weights", "interventions", "informed decoder"
_AT_HAND: dict[tuple[object, ...], tuple[Model, Splits]] = {}
"""The model and splits that this process works with: at most one of each."""


@dataclass(frozen=True)
class Judgements:
    """What probes, interventions and judges say of the weights on held-out records.

    Attributes:
        settings: Settings and bars, with the resamples of judges.
        reading: The model on the held-out records.
        defaults: Tokens that stand in every record and mean nothing.
        probed: What probes said; empty where not asked, or where a class is too small for them.
        moved: What interventions changed; None where not asked.
        judged: What judges said; None where not asked.
    """

    settings: Settings
    reading: Reading
    defaults: DefaultUnits = field(default_factory=DefaultUnits)
    probed: tuple[Probed, ...] = ()
    moved: Interventions | None = None
    judged: Judged | None = None

    @property
    def gate(self) -> Finding | None:
        """Whether the model is good enough is a check of its own."""
        return None

    @cached_property
    def reads_form(self) -> bool:
        """Whether an intervention shows that the decoder reads the form of the weights."""
        moved = self.moved
        return moved is not None and reads_form(moved, self.reading.labels, self.settings)


@dataclass(frozen=True)
class Subject:
    """A model, the splits that its judges learn and are asked on, and how."""

    model: Input[Model]
    splits: Input[Splits]
    settings: Settings
    defaults: DefaultUnits
    needed: tuple[str, ...]

    def opened(self, report: Report | None = None) -> tuple[Model, Splits]:
        """The model and the splits as cells use them, made once per process.

        Judges pass over texts a hundred times, and a transformer stays as it is: its states of
        all texts are held.
        """
        own = self.settings.judges
        key = (self.model, self.splits, self.needed, own.train_limit, self.settings.seed)
        if key not in _AT_HAND:
            _AT_HAND.clear()
            model, splits = self.model.get(), self.checked()
            if type(model) is PretrainedClassifier:
                records = [record for name in self.needed for record in splits[name]]
                model = HeldStates(model, texts_of(records), report)
            _AT_HAND[key] = model, splits
        return _AT_HAND[key]

    def checked(self) -> dict[str, AnyDataset]:
        """The splits with labels numbered as the model's classes; refused where they do not do."""
        model, splits, found = self.model.get(), self.splits.get(), {}
        for split, what in NEEDED.items():
            if split not in splits:
                raise DataError(
                    f"there is no split {split!r}: judges learn on train and dev, and everything "
                    "is measured on test; `resolve` and `split_dataset` cut data into all three"
                )
            data = found[split] = aligned(fitted(splits[split], model), model)
            check_labels(data.records, data.classes, what, several=True)
        learnt = {text_hash(record) for split in ("train", "dev") for record in found[split]}
        both = [record.id for record in found["test"] if text_hash(record) in learnt]
        if len(both) > MOST_SHARED * len(found["test"]):
            raise DataError(
                f"{len(both)} of {len(found['test'])} test records are in train or dev as well, "
                f"{both[0]!r} for one: a judge must not have seen what it judges. Cut the data anew"
            )
        self.defaults.check(found["test"])
        own = self.settings.judges
        return found | {"train": draw(found["train"], own.train_limit, self.settings.seed)}

    def cell(
        self, work: Callable[..., Outcome], name: str, needs: Sequence[Cell] = (), **spec: object
    ) -> Cell:
        """A cell, with all that decides the numbers of any; `work` takes `spec` by name."""
        settings = self.settings
        shared = {
            "what": name,
            "model": self.model.fingerprint,
            "splits": self.splits.fingerprint,
            "default_units": list(self.defaults.tokens),
            "seed": settings.seed,
            "confidence": settings.confidence,
            "judges": settings.judges.model_dump(mode="json", exclude={"count"}),
            "bars": settings.used(LEAK, SWAP, LEAST_INSTANCES),
        }
        done = partial(work, self, **spec)
        code = (type(self.model.get()).__module__,)
        return Cell(name, done, {**shared, **spec}, tuple(needs), code=code, vital=True)


@dataclass(frozen=True)
class Judging:
    """What a check asks of the weights of a model.

    Attributes:
        probes: Whether probes predict the label from them.
        interventions: Whether they, or what they weigh, are replaced.
        judges: Whether neutral judges read them; that takes the others too.
    """

    probes: bool = False
    interventions: bool = False
    judges: bool = False

    @classmethod
    def cells(cls, design: Design, asked: Mapping[str, Self]) -> list[Cell]:
        """Readings, what is asked of them, and as many judges as may be needed."""
        subject = _subject(design, asked)
        subject.checked()
        judges = any(one.judges for one in asked.values())
        reads = {s: subject.cell(_weights, READ[s], split=s) for s in subject.needed}
        probing = subject.cell(_probes, PROBES, [reads["test"]])
        moving = subject.cell(_interventions, INTERVENTIONS, [reads["test"]])
        cells = [probing] if judges or any(one.probes for one in asked.values()) else []
        cells += [moving] if judges or any(one.interventions for one in asked.values()) else []
        if judges:
            every, count = list(reads.values()), subject.settings.judges.count
            cells += [subject.cell(_judge, f"judge {i + 1}", every, number=i) for i in range(count)]
            # each judge reads the form by an accident of its own: more of them tell what is chance
            cells += [
                subject.cell(_judge, f"judge {i + 1}", [*every, moving], number=i, spare=True)
                for i in range(count, 2 * count)
            ]
            cells.append(subject.cell(_informed, INFORMED, every))
        return cells

    @classmethod
    def gather(
        cls, design: Design, asked: Mapping[str, Self], store: Store, done: Done
    ) -> dict[str, Judgements]:
        """All that was asked of the weights; every check sees the same."""
        _AT_HAND.clear()
        subject, cells = _subject(design, asked), with_needs(cls.cells(design, asked))
        places = {cell.name: store.folder / cell.place for cell in cells}
        test, settings = subject.checked()["test"], subject.settings
        reading = _reading(test, places[READ["test"]])
        judged = None
        if INFORMED in places:
            judges = [
                _arrays(place, SAID)
                for name, place in places.items()
                if name.startswith("judge ") and done.records[name].facts["needed"]
            ]
            judged = judged_of(reading, judges, _arrays(places[INFORMED], SAID), settings)
        found = Judgements(
            settings,
            reading,
            subject.defaults,
            _probed(reading.labels, places[PROBES]) if PROBES in places else (),
            _moved(places[INTERVENTIONS]) if INTERVENTIONS in places else None,
            judged,
        )
        return dict.fromkeys(asked, found)


def is_training(cell: Cell) -> bool:
    """Whether a cell trains a judge or the informed decoder."""
    return isinstance(cell.work, partial) and cell.work.func in (_judge, _informed)


def _subject(design: Design, asked: Mapping[str, Judging]) -> Subject:
    if design.model is None:
        raise NotApplicable("there is no model whose weights could be judged")
    model, settings = design.model.get(), design.settings
    if isinstance(model, Ensemble):
        raise NotApplicable(
            f"{model.name} is an ensemble: each member answers by its own weights, whatever others "
            "are laid over them, so that no judge is neutral. Check its members"
        )
    if design.splits is None:
        raise DataError(
            "there are no splits: judges learn on train and dev, and everything is measured on "
            "test; `resolve` and `split_dataset` cut data into all three"
        )
    own = settings.model_copy(update={"resamples": settings.judges.resamples})
    defaults = design.part(DefaultUnits) or DefaultUnits()
    needed = tuple(NEEDED) if any(one.judges for one in asked.values()) else ("test",)
    return Subject(design.model, design.splits, own, defaults, needed)


def _weights(subject: Subject, cell: Cell, place: Place, split: str) -> Outcome:
    """Read one split: weights and predictions of the model."""
    model, splits = subject.opened(place.progress)
    reading = read(model, splits[split], subject.settings.token_budget)
    columns = {
        "id": [record.id for record in reading.data],
        "weights": _series(reading.weights),
        "said": _series(reading.log_probabilities),
    }
    _write(place, SAID, pl.DataFrame(columns))
    return Outcome(facts={"records": len(reading)})


def _probes(subject: Subject, cell: Cell, place: Place) -> Outcome:
    """Probe the weights; a class that is too small for that leaves no file."""
    reading = _needed(subject, place)["test"]
    try:
        folds_of(reading.labels, subject.settings)
    except DataError as error:
        return Outcome(facts={"probed": False}, notes=[str(error)])
    found = probes(reading, subject.defaults, subject.settings)
    said = {f"{one.name}/{kind}": said for one in found for kind, said in one.said.items()}
    _write(place, SAID, _frame(reading, said))
    _write(place, NULL, pl.DataFrame({one.name: one.null for one in found}))
    return Outcome(facts={"probed": True})


def _interventions(subject: Subject, cell: Cell, place: Place) -> Outcome:
    """Replace weights and content in the forward pass."""
    reading = _needed(subject, place)["test"]
    found = intervene(subject.opened(place.progress)[0], reading, subject.settings)
    flips = {} if found.flips is None else vars(found.flips)
    _write(place, SAID, _frame(reading, {**found.without, **flips}))
    return Outcome(facts={"swapped": bool(flips)})


def _judge(subject: Subject, cell: Cell, place: Place, number: int, spare: bool = False) -> Outcome:
    """Train a neutral judge and ask it; a spare one only where the form of the weights is read."""
    readings, settings = _needed(subject, place), subject.settings
    if spare and not reads_form(
        _moved(place.needs[INTERVENTIONS]), readings["test"].labels, settings
    ):
        return Outcome(facts={"needed": False})
    lesson = Lesson(subject.opened(place.progress)[0], **readings, settings=settings)
    _write(place, SAID, _frame(readings["test"], said_by_judge(lesson, number)))
    return Outcome(facts={"needed": True})


def _informed(subject: Subject, cell: Cell, place: Place) -> Outcome:
    """Train the informed decoder and ask it."""
    readings = _needed(subject, place)
    lesson = Lesson(subject.opened(place.progress)[0], **readings, settings=subject.settings)
    _write(place, SAID, _frame(readings["test"], said_by_informed(lesson)))
    return Outcome()


def _needed(subject: Subject, place: Place) -> dict[str, Reading]:
    """The readings that a cell was given."""
    splits = subject.opened(place.progress)[1]
    given = {split: place.needs.get(name) for split, name in READ.items()}
    return {s: _reading(splits[s], folder) for s, folder in given.items() if folder is not None}


def _reading(data: AnyDataset, folder: Path) -> Reading:
    frame = _read(folder, SAID)
    ends = frame["weights"].list.len().cum_sum().to_numpy()[:-1]
    # an empty row explodes to a null
    rows = np.split(frame["weights"].explode().drop_nulls().to_numpy().copy(), ends)
    return Reading(data, tuple(rows), np.array(frame["said"].to_list()))


def _probed(labels: np.ndarray, folder: Path) -> tuple[Probed, ...]:
    if not (folder / SAID).exists():
        return ()
    said, nulls = _arrays(folder, SAID), _arrays(folder, NULL)
    return tuple(
        Probed(name, labels, {kind: said[f"{name}/{kind}"] for kind in ESTIMATORS}, null)
        for name, null in nulls.items()
    )


def _moved(folder: Path) -> Interventions:
    said = _arrays(folder, SAID)
    flips = {name: values for name, values in said.items() if values.ndim == 1}
    without = {name: values for name, values in said.items() if values.ndim == 2}
    return Interventions(without, Flips(**flips) if flips else None)


def _series(values: Sequence[Row] | np.ndarray) -> pl.Series:
    """Numbers as one column: one per record, or a list of them."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return pl.Series(values)
    return pl.Series([row.tolist() for row in values], dtype=pl.List(pl.Float64))


def _frame(reading: Reading, said: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """One row per held-out record."""
    ids = pl.Series([record.id for record in reading.data])
    return pl.DataFrame({"id": ids, **{name: _series(values) for name, values in said.items()}})


def _arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The columns of a table of `_frame`, as they were."""
    frame = _read(folder, name)
    return {c: np.array(frame[c].to_list(), np.float64) for c in frame.columns if c != "id"}


def _write(place: Place, name: str, frame: pl.DataFrame) -> None:
    content = io.BytesIO()
    frame.write_parquet(content)
    write_noted(place.folder / name, content.getvalue(), place.folder)


def _read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(read_sure(folder / name, folder, "answers", AGAIN)))
