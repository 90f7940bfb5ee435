"""Draws from data of any kind, and what makes two records the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from attnaudit.data.kinds import AnyDataset
from attnaudit.data.records import Text, TextPair

Data = TypeVar("Data", bound=AnyDataset)
Row = TypeVar("Row")


def draw(data: Data, limit: int | None, seed: int) -> Data:
    """At most `limit` records, drawn at random; they keep their order."""
    chosen, notes = drawn_rows(data.records, limit, seed)
    return data.select(chosen).noted(*notes)


def drawn_rows(rows: Sequence[Row], limit: int | None, seed: int) -> tuple[list[Row], list[str]]:
    """At most `limit` of the rows in their order, and a note where some are left out."""
    if limit is None or limit >= len(rows):
        return list(rows), []
    places = sorted(random.Random(seed).sample(range(len(rows)), limit))
    note = f"a random {limit} of {len(rows)} records (seed {seed})"
    return [rows[place] for place in places], [note]


def content(record: Text) -> tuple[str, ...]:
    """What makes two records the same: the text, and the question where there is one."""
    return (record.text, record.question) if isinstance(record, TextPair) else (record.text,)
