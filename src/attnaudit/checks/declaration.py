"""A check, declared by data: tables, docs and report are made from this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from attnaudit.evidence.batch.view import View
from attnaudit.findings.findings import Finding
from attnaudit.findings.settings import Settings

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What concluding needs to know besides the instances.

    Attributes:
        classes: Names of the model's outputs.
        settings: The audit's settings.
    """

    classes: Sequence[str]
    settings: Settings


@dataclass(frozen=True)
class Check:
    """One question, from one paper, put to a model and data.

    `measure` runs on every batch and gives columns with one row per instance; the rows of
    batches, processes and machines are simply put together, sorted by instance, and `conclude`
    reads them all. So no result depends on batch size or order.

    Attributes:
        name: The key in `CHECKS`, and the prefix of its columns.
        title: What tables call it.
        paper: Where the question comes from.
        question: What it asks, in plain words.
        statistic: What the headline is.
        null: What the headline would be where there is nothing to find.
        higher_is_better: Direction of the headline.
        range: Lowest and highest possible headline.
        needs: `truth`, `gradients`, `retraining`, or nothing.
        decisive: Whether a failure alone forbids showing the weights.
        caveat: When not to trust it.
        attributions: The names of the attributions that it looks at, besides the weights; None for
            every one that the model allows.
        stands_in_for: The check whose place it takes where that one cannot decide; None for a
            check that speaks for itself.
        measure: Instances to columns.
        conclude: All columns to findings.
    """

    name: str
    title: str
    paper: str
    question: str
    statistic: str
    null: str
    higher_is_better: bool
    range: tuple[float, float]
    needs: frozenset[str]
    decisive: bool
    caveat: str
    measure: Callable[[View], Columns]
    conclude: Callable[[pl.DataFrame, Facts], list[Finding]]
    stands_in_for: str | None = None
    attributions: tuple[str, ...] | None = None
