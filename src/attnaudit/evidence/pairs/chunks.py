"""Pairs of texts as evidence: their tables are measured chunk by chunk, for all checks at once."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import polars as pl

from attnaudit.errors import NotApplicable
from attnaudit.evidence.batch.chunks import CHUNK, ROOM, own_of, read_instances
from attnaudit.evidence.contract import Design
from attnaudit.evidence.pairs.view import Columns, PairView, Shared
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.models.siamese.own_score import Pair
from attnaudit.runs.cell import Cell, Outcome, Place, home_of
from attnaudit.runs.disk import write_noted
from attnaudit.runs.execute import Done
from attnaudit.runs.inputs import Input
from attnaudit.runs.store import Store


@dataclass(frozen=True)
class TextPairs:
    """The part of a design that checks of pairs need.

    Attributes:
        shared: The explainer that is audited, and what all pairs have in common.
        pairs: Pairs of texts, each once.
        code: The module that makes the tables.
    """

    shared: Input[Shared]
    pairs: Input[Sequence[Pair]]
    code: str


@dataclass(frozen=True)
class Pairs:
    """What was measured on every pair, as one check sees it.

    Attributes:
        frame: One row per pair in the order given: its texts, score and kind, and the check's own
            columns; null where a pair has no value.
        settings: Settings and bars.
    """

    frame: pl.DataFrame
    settings: Settings

    @property
    def gate(self) -> Finding:
        """That scores are the model's own: a chunk in which they are not ends the run."""
        return Finding(
            check="own_score",
            subject="model",
            verdict=Verdict.PASS,
            sentence=f"The scores that are explained are the model's own, of all "
            f"{self.frame.height} pairs.",
        )


@dataclass(frozen=True)
class PairBatch:
    """What a check asks of every pair.

    Attributes:
        measure: Pairs to columns with one row per pair, so that no result depends on how many are
            worked on at a time.
    """

    measure: Callable[[PairView], Columns]

    @classmethod
    def cells(cls, design: Design, asked: Mapping[str, Self]) -> list[Cell]:
        """One cell per chunk of pairs."""
        part, settings = _part_of(design), design.settings
        homes = {home_of(one.measure) for one in asked.values()}
        spec = {
            "explainer": part.shared.fingerprint,
            "pairs": part.pairs.fingerprint,
            "seed": settings.seed,
            "settings": settings.pairs.model_dump(mode="json", exclude={"token_budget"}),
            "checks": sorted(asked),
        }
        return [
            Cell(
                f"chunk of pairs {start // settings.pairs.chunk:05d}",
                PairWork(part.shared, part.pairs, settings.pairs.chunk, asked, start),
                {**spec, "start": start},
                code=tuple(sorted({*homes, part.code})),
                room=ROOM,
                vital=True,
                single=False,
            )
            for start in range(0, len(part.pairs.get()), settings.pairs.chunk)
        ]

    @classmethod
    def gather(
        cls, design: Design, asked: Mapping[str, Self], store: Store, done: Done
    ) -> dict[str, Pairs]:
        """All pairs, as each check sees them."""
        frame = read_instances(store, [cell.place for cell in cls.cells(design, asked)])
        return {name: Pairs(own_of(frame, name), design.settings) for name in asked}


@dataclass(frozen=True)
class PairWork:
    """Some pairs, measured for all checks.

    Attributes:
        shared: The explainer, and what all pairs have in common.
        pairs: All pairs.
        size: How many are measured.
        asked: What each check asks for.
        start: The first of them.
    """

    shared: Input[Shared]
    pairs: Input[Sequence[Pair]]
    size: int
    asked: Mapping[str, PairBatch]
    start: int

    def __call__(self, cell: Cell, place: Place) -> Outcome:
        """Measure them and store their table in the cell's folder."""
        pairs = self.pairs.get()
        place.progress("pairs", self.start, len(pairs))
        view = PairView(self.shared.get(), pairs[self.start : self.start + self.size])
        columns = {
            f"{name}/{column}": values
            for name, one in self.asked.items()
            for column, values in one.measure(view).items()
        }
        frame = _facts(view, self.start).hstack(pl.DataFrame(columns).fill_nan(None))
        content = io.BytesIO()
        frame.write_parquet(content)
        write_noted(place.folder / CHUNK, content.getvalue(), place.folder)
        place.progress("pairs", self.start + len(view), len(pairs))
        return Outcome(facts={"instances": len(view)})


def _facts(view: PairView, first: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "index": range(first, first + len(view)),
            "a": [a for a, _ in view.pairs],
            "b": [b for _, b in view.pairs],
            "score": view.scores,
            "units_a": [len(a) for a, _ in view.units],
            "units_b": [len(b) for _, b in view.units],
            "short": ~view.rankable,
            "identical": [a == b for a, b in view.pairs],
        }
    )


def _part_of(design: Design) -> TextPairs:
    part = design.part(TextPairs)
    if part is None:
        raise NotApplicable("there are no pairs of texts whose similarity could be explained")
    return part
