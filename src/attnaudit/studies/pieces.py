"""What the pages of several studies show: data sets with their cells, and violins by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import polars as pl

from attnaudit.errors import RunError
from attnaudit.findings.estimates import BINS
from attnaudit.findings.findings import Estimate
from attnaudit.findings.pictures import (
    ACCENT,
    Chart,
    Curve,
    Curves,
    Distribution,
    Distributions,
    Figure,
    Guide,
    IntervalRow,
    Intervals,
    Row,
    Series,
    Table,
    Value,
    Violin,
    Violins,
    histogram,
)
from attnaudit.findings.wording import NOTHING, count, number, spoken
from attnaudit.report.blocks import Block, StudySection
from attnaudit.studies.claims import PAPERS, parts_of
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.schema import CellRecord

ENCODERS = {"bilstm": "BiLSTM", "cnn": "CNN"}
WEIGHTS = [f"max weight [{low:.2f}, {min(high, 1.0):.2f})" for low, high in pairwise(BINS)]
"""Groups of texts by their largest weight."""
BARS = 40
"""Of a histogram."""
T = TypeVar("T")
Write = Callable[[float | None], str]
finely: Write = partial(number, digits=3)
percent: Write = partial(number, percent=True)


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
            main = min(
                records, key=lambda r: (*map(str.__ne__, parts_of(r), PAPERS), r.spec["seed"])
            )
            yield kind(name, title, tuple(records), main, results.folder_of(main))


def model_of(record: CellRecord) -> str:
    """Encoder and attention of a cell, as people write them."""
    encoder, attention = parts_of(record)
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
) -> Table | None:
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
) -> Figure:
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
        f"{row.label}, {half.name}: median {number(half.quartiles[1])}"
        for row in rows
        for half in row.halves
        if half.quartiles is not None
    ]
    caption = (
        f"The thicker, the more texts{sides and f'; {sides}'}. Dots and lines are medians and "
        "quartiles. Each side is scaled to its own peak."
    )
    domain = (0.0, across[0])
    chart = Violins(rows=tuple(rows), domain=domain, axis=across[1], guides=tuple(guides))
    return picture(name, title, caption, chart, medians, legend)


def curve_picture(
    name: str,
    words: tuple[str, str],
    drawn: Sequence[Curve],
    domain: tuple[tuple[float, float], tuple[float, float]],
    axes: tuple[str, str],
    said: Iterable[str],
    scale: Literal["linear", "log"] = "linear",
) -> Figure:
    """Curves of two measures, all of them told apart, under a title and a caption."""
    x, y = domain
    chart = Curves(rows=tuple(drawn), x=x, y=y, axes=axes, scale=scale)
    return picture(name, *words, chart, said, (curve.series for curve in drawn))


def told(found: Estimate | None, write: Write = number) -> Value:
    """A number as it stands in a table, with its interval in small print."""
    if found is None or found.value is None:
        return Value(NOTHING)
    ends = [write(end) for end in (found.low, found.high) if end is not None]
    return Value(write(found.value), " to ".join(ends))


def beside(
    found: Estimate | None,
    stated: float | None,
    close: float,
    write: Write = number,
    paper: str = "",
) -> Value:
    """A number of ours, marked where the paper's lies further than `close` from its interval.

    Args:
        found: Ours.
        stated: The paper's, or None.
        close: In units of the number.
        write: How ours is written.
        paper: How the paper's is, where not to two digits.
    """
    here = told(found, write)
    if found is None or found.value is None or stated is None:
        return here
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    if low - close <= stated <= high + close:
        return here
    side = "above" if found.value > stated else "below"
    said = f"{side} the paper's {paper or number(stated)} by more than {close} beyond the interval"
    return replace(here, differs=said)


def theirs(stated: float | None, write: Write = number) -> Value:
    """A number of the paper's."""
    return Value(write(stated), paper=True)


def table(
    title: str,
    caption: str,
    first: str,
    head: Sequence[str],
    rows: Iterable[Row],
    folded: bool = False,
) -> Table | None:
    """A table without the columns in which no row has a value; None without any."""
    rows = tuple(rows)
    kept = [i for i in range(len(head)) if any(r.values[i].text != NOTHING for r in rows)]
    shown = tuple(Row(r.name, tuple(r.values[i] for i in kept), r.inner) for r in rows)
    heads = tuple(head[i] for i in kept)
    return Table(title, caption, first, heads, shown, folded) if kept else None


def picture(
    name: str,
    title: str,
    caption: str,
    chart: Chart,
    said: Iterable[str],
    legend: Iterable[Series] = (),
) -> Figure:
    """A picture with its words; what it shows is said in parts."""
    return Figure(name, title, caption, chart, "; ".join(said), tuple(legend))


def section(id: str, title: str, lead: str, *blocks: Block | None) -> StudySection:
    """A part of the page, of the blocks that there are."""
    return StudySection(id, title, lead, tuple(b for b in blocks if b is not None))


def interval_picture(
    name: str,
    words: tuple[str, str],
    rows: Sequence[IntervalRow],
    series: Sequence[Series],
    domain: tuple[float, float],
    axis: str,
    said: Iterable[str],
    guides: Sequence[Guide] = (),
) -> Figure:
    """Intervals one above the other, under a title and a caption."""
    chart = Intervals(
        rows=tuple(rows), series=tuple(series), domain=domain, axis=axis, guides=tuple(guides)
    )
    return picture(name, *words, chart, said, series if len(series) > 1 else ())


def ends_of(rows: Iterable[IntervalRow]) -> list[float]:
    """Every value and every end of intervals."""
    known = [e for row in rows for e in row.estimates if e is not None]
    return [x for e in known for x in (e.value, e.low, e.high) if x is not None]


class Histogram(NamedTuple):
    """A row of histograms: a value per text, and their mean."""

    label: str
    values: np.ndarray
    mean: Estimate | None
    colour: str = ACCENT
    short: str = ""


def histogram_picture(
    name: str,
    words: tuple[str, str],
    rows: Sequence[Histogram],
    domain: tuple[float, float],
    axis: str,
    guide: Guide,
) -> Figure | None:
    """Histograms of the texts, with their means; None where there is nothing to draw."""
    if not rows:
        return None
    drawn = tuple(
        Distribution(row.label, histogram(row.values, domain, BARS), *row[2:]) for row in rows
    )
    chart = Distributions(rows=drawn, domain=domain, bins=BARS, axis=axis, guides=(guide,))
    said = said_of((row.label, row.mean) for row in rows)
    return picture(name, words[0], f"{words[1]} Heights are scaled within each row.", chart, said)
