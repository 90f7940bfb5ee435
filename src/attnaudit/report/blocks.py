"""What the page of a study is made of: sections of tables, pictures, texts and words."""

from __future__ import annotations

from dataclasses import dataclass

from attnaudit.report.charts import Figure
from attnaudit.report.instances import Instance


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
