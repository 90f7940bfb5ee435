"""A check of pair explanations, declared by data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from attnaudit.evidence.pairs.view import PairView
from attnaudit.findings.findings import Finding
from attnaudit.pair_checks.settings import PairSettings

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class PairCheck:
    """One question put to the explanations of pairs of texts.

    `measure` runs on some pairs and gives columns with one row a pair; `conclude` reads all rows.
    So no result depends on how many pairs are worked on at a time.

    Attributes:
        name: The key in `PAIR_CHECKS`, and the prefix of its columns.
        title: What tables call it.
        paper: Where the question comes from.
        question: What it asks, in plain words.
        statistic: What the headline is.
        null: What the headline would be where there is nothing to find.
        higher_is_better: Direction of the headline.
        decisive: Whether a failure alone forbids showing the explanation.
        caveat: When not to trust it.
        measure: Pairs to columns.
        conclude: All columns to findings.
    """

    name: str
    title: str
    paper: str
    question: str
    statistic: str
    null: str
    higher_is_better: bool
    decisive: bool
    caveat: str
    measure: Callable[[PairView], Columns]
    conclude: Callable[[pl.DataFrame, PairSettings], list[Finding]]
