"""What the page of a study is made of: sections of tables, pictures, texts and words."""

from __future__ import annotations

from dataclasses import dataclass

from attnaudit.findings.pictures import Figure, Table
from attnaudit.report.instances import Instance


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


Block = Table | Figure | Texts | Words


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
