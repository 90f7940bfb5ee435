"""What the page of a study is made of: sections of tables, pictures, texts and words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from attnaudit.findings.findings import Estimate
from attnaudit.findings.wording import NOTHING, number
from attnaudit.report.charts import Figure, Series
from attnaudit.report.instances import Instance
from attnaudit.report.vega import Spec


@dataclass(frozen=True)
class Value:
    """One cell of a table.

    Attributes:
        text: What stands there.
        more: In small print below: an interval, a sample size.
        differs: Why it is marked as different from the paper's, or nothing.
        paper: Whether it is the paper's own.
    """

    text: str
    more: str = ""
    differs: str = ""
    paper: bool = False


@dataclass(frozen=True)
class Row:
    """One row: its name, its values, and whether it belongs to the row above."""

    name: str
    values: tuple[Value, ...]
    inner: bool = False


@dataclass(frozen=True)
class StudyTable:
    """A table with numbers in every column but the first.

    Attributes:
        title: What it shows.
        caption: How to read it.
        first: What the first column holds.
        head: Names of the other columns.
        rows: The rows.
        folded: Whether it is shown only when asked for.
    """

    title: str
    caption: str
    first: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    folded: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A picture with its words."""

    figure: Figure
    kind: str = "picture"


@dataclass(frozen=True)
class Texts:
    """Texts with heat maps; `id` is unique on the page."""

    id: str
    title: str
    instances: tuple[Instance, ...]
    kind: str = "texts"


@dataclass(frozen=True)
class Words:
    """Paragraphs, or points of a list."""

    title: str
    points: tuple[str, ...]
    kind: str = "words"


Block = StudyTable | Picture | Texts | Words


@dataclass(frozen=True)
class StudySection:
    """One part of the page.

    Attributes:
        id: Unique on the page; links point at it.
        title: Its heading.
        lead: What it shows, in a sentence or two.
        blocks: What it is made of, in order.
    """

    id: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


Write = Callable[[float | None], str]
finely: Write = partial(number, digits=3)
percent: Write = partial(number, percent=True)


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
) -> StudyTable | None:
    """A table without the columns in which no row has a value; None without any."""
    rows = tuple(rows)
    kept = [i for i in range(len(head)) if any(r.values[i].text != NOTHING for r in rows)]
    shown = tuple(Row(r.name, tuple(r.values[i] for i in kept), r.inner) for r in rows)
    heads = tuple(head[i] for i in kept)
    return StudyTable(title, caption, first, heads, shown, folded) if kept else None


def picture(
    name: str,
    title: str,
    caption: str,
    spec: Spec,
    said: Iterable[str],
    legend: Iterable[Series] = (),
) -> Picture:
    """A picture with its words; what it shows is said in parts."""
    return Picture(Figure(name, title, caption, spec, "; ".join(said), tuple(legend)))


def section(id: str, title: str, lead: str, *blocks: Block | None) -> StudySection:
    """A part of the page, of the blocks that there are."""
    return StudySection(id, title, lead, tuple(b for b in blocks if b is not None))
