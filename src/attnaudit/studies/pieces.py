"""What the pages of several studies show: data sets with their cells, and violins by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import polars as pl

from attnaudit.errors import RunError
from attnaudit.findings.estimates import BINS
from attnaudit.findings.findings import Estimate
from attnaudit.findings.wording import count, number, spoken
from attnaudit.report.blocks import Picture, Row, StudyTable, Write, picture, table, told
from attnaudit.report.charts import Guide, Series
from attnaudit.report.curves import Curve, Violin, curves, violins
from attnaudit.studies.claims import PAPERS
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.schema import CellRecord

ENCODERS = {"bilstm": "BiLSTM", "cnn": "CNN"}
WEIGHTS = [f"max weight [{low:.2f}, {min(high, 1.0):.2f})" for low, high in pairwise(BINS)]
"""Groups of texts by their largest weight."""
T = TypeVar("T")


def kept(read: Callable[[], T]) -> T | None:
    """What a cell's folder holds; None where that is gone, as its numbers stand without."""
    try:
        return read()
    except (RunError, pl.exceptions.PolarsError, OSError):
        return None


@dataclass(frozen=True)
class Shown:
    """A data set on the page.

    Attributes:
        name: Its name.
        title: What the page calls it.
        records: Its cells.
        main: The cell whose instances are drawn.
        folder: Of that cell.
    """

    name: str
    title: str
    records: tuple[CellRecord, ...]
    main: CellRecord
    folder: Path

    @property
    def titled(self) -> str:
        """The set and its main model."""
        return f"{self.title}, {model_of(self.main)}"

    @property
    def sizes(self) -> str:
        """How many texts each split has."""
        sizes = self.main.facts.get("sizes", {})
        texts = ", ".join(f"{name} {count(int(size))}" for name, size in sizes.items())
        spec = self.main.spec
        return (
            f"{self.title}: {texts} texts; hidden {spec['hidden']}, {spec['embedding_dim']} "
            f"numbers a word, {spec['epochs']} epochs"
        )

    def seed_of(self, record: CellRecord) -> list[str]:
        """The seed of a cell, where the set has several."""
        several = len({r.spec["seed"] for r in self.records}) > 1
        return [f"seed {record.spec['seed']}"] if several else []


S = TypeVar("S", bound=Shown)


def shown_of(results: Results, titles: Mapping[str, str], kind: type[S]) -> Iterator[S]:
    """The data sets that were measured; the papers' model is drawn where it was run."""
    for name, title in titles.items():
        records = results.where(data=name)
        if records:
            main = min(records, key=lambda r: (*map(str.__ne__, r.model, PAPERS), r.spec["seed"]))
            yield kind(name, title, tuple(records), main, results.folder_of(main))


def model_of(record: CellRecord) -> str:
    """Encoder and attention of a cell, as people write them."""
    encoder, attention = record.model
    return f"{ENCODERS.get(encoder, encoder)} + {attention}"


def weights_of(group: str) -> str:
    """A group by the largest weight, as people write it.

    Example:
        >>> weights_of("max weight [0.25, 0.50)")
        '0.25 to 0.50'
    """
    return group.removeprefix("max weight ").strip("[)").replace(", ", " to ")


def weights_label(group: str) -> str:
    """The same with what it is."""
    return f"largest weight {weights_of(group)}" if group in WEIGHTS else group


class Column(NamedTuple):
    """A number of a cell: what the table calls it, which estimate it is, and how it is written."""

    head: str
    statistic: str
    subject: str
    write: Write = number
    group: str = "all"

    def of(self, record: CellRecord) -> Estimate | None:
        """The estimate in a cell."""
        return find(record.rows, self.statistic, self.subject, self.group)


def table_of(
    words: tuple[str, str, str], columns: Sequence[Column], cells: Iterable[tuple[str, CellRecord]]
) -> StudyTable | None:
    """A table of cells, after its title, its caption and what the first column holds."""
    rows = [Row(name, tuple(told(c.of(cell), c.write) for c in columns)) for name, cell in cells]
    return table(*words, [column.head for column in columns], rows)


def said_of(rows: Iterable[tuple[str, Estimate | None]]) -> list[str]:
    """Estimates in words, for those who do not see a picture."""
    return [f"{label}: {spoken(found)}" for label, found in rows if found is not None]


def violin_picture(
    name: str,
    title: str,
    rows: Sequence[Violin],
    across: tuple[float, str],
    sides: str,
    legend: Iterable[Series],
    guides: Sequence[Guide] = (),
) -> Picture:
    """Violins with medians and quartiles.

    Args:
        name: Unique on the page.
        title: What is seen.
        rows: From above.
        across: The end of the axis, which begins at 0, and its title.
        sides: What is above and below a line, or nothing.
        legend: Series that need telling apart.
        guides: Vertical lines.
    """
    medians = [
        f"{row.label}, {half.name}: median {number(float(np.nanmedian(half.values)))}"
        for row in rows
        for half in row.halves
        if np.isfinite(half.values).any()
    ]
    caption = (
        f"The thicker, the more texts{sides and f'; {sides}'}. Dots and lines are medians and "
        "quartiles. Each side is scaled to its own peak."
    )
    spec = violins(rows, domain=(0.0, across[0]), axis=across[1], guides=guides)
    return picture(name, title, caption, spec, medians, legend)


def curve_picture(
    name: str,
    words: tuple[str, str],
    drawn: Sequence[Curve],
    domain: tuple[tuple[float, float], tuple[float, float]],
    axes: tuple[str, str],
    said: Iterable[str],
    scale: Literal["linear", "log"] = "linear",
) -> Picture:
    """Curves of two measures, all of them told apart, under a title and a caption."""
    x, y = domain
    spec = curves(drawn, x=x, y=y, axes=axes, scale=scale)
    return picture(name, *words, spec, said, (curve.series for curve in drawn))
