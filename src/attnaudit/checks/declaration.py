"""A check, declared by data: tables, docs, report, terminal and card are made from this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attnaudit.data.kinds import Kind
from attnaudit.evidence.contract import Asked
from attnaudit.findings.findings import Estimate, Finding
from attnaudit.findings.pictures import Block
from attnaudit.findings.settings import Bar
from attnaudit.findings.wording import Statistic

ATTENTION, RANKING, SITES, RETRAINING, SHORTCUT, MANY_SEEDS, PAIRS = (
    "attention",
    "ranking",
    "sites",
    "retraining",
    "shortcut",
    "seeds",
    "pairs",
)
"""Groups of checks that are asked for together."""
WITH_SPLITS = (RETRAINING, SHORTCUT, MANY_SEEDS)
"""Those that train or fit something: they need the data with its splits."""


@dataclass(frozen=True)
class Check:
    """One question, from one paper, put to a model and data.

    Attributes:
        name: The key in `CHECKS`.
        title: What tables call it.
        paper: Where the question comes from.
        question: What it asks, in plain words.
        statistic: What the headline is.
        null: What the headline would be where there is nothing to find.
        higher_is_better: Direction of the headline.
        range: Lowest and highest possible headline.
        group: The checks it is asked for with; `attention` and `pairs` are the usual ones.
        asks: The evidence that it reads.
        conclude: Evidence to findings; an empty list where it does not apply.
        decisive: Whether a failure alone forbids showing the explanation.
        essential: Whether the answer stays open where it does not apply.
        caveat: When not to trust it.
        bars: The constants that its verdict uses.
        bar: The one that the whole interval of the headline is held against, where it is one.
        requires: What it takes to pass, in words, where that is not `bar` alone.
        needs: What data must have, such as `truth`.
        kinds: What it can be put to, by what the model reads.
        defers_to: The check that decides in its place where that one can decide.
        recommends: Rank of its recommendation among those of other checks; 0 for none.
        lead: Why what it recommends is better, with `{lead}` for by how much.
        gate: Whether nothing is judged where it fails.
        shut: Headline and advice where it fails, of a gate.
        words: How its statistics are written.
        picture: What it shows: evidence and its findings to tables and pictures as plain data.
        cost: What has to be computed besides the batches, in words.
    """

    name: str
    title: str
    paper: str
    question: str
    statistic: str
    null: str
    higher_is_better: bool
    group: str
    kinds: tuple[Kind, ...]
    asks: Asked
    conclude: Callable[[Any], list[Finding]]
    decisive: bool
    caveat: str
    essential: bool = False
    range: tuple[float, float] = (0.0, 1.0)
    bars: tuple[Bar, ...] = ()
    bar: Bar | None = None
    requires: Callable[[Finding], str] | None = None
    needs: frozenset[str] = frozenset()
    defers_to: str | None = None
    recommends: int = 0
    lead: str = "it is ahead by {lead}"
    gate: bool = False
    shut: tuple[str, str] = ("", "")
    words: Mapping[str, Statistic] = field(default_factory=dict)
    picture: Callable[[Any, Sequence[Finding]], Sequence[Block]] | None = None
    cost: str = ""


def estimate_of(
    finding: Finding, statistic: str, subject: str, group: str = "all"
) -> Estimate | None:
    """The estimate of a finding with that statistic, subject and group, or None."""
    wanted = (statistic, subject, group)
    return next((e for e in finding.estimates if (e.statistic, e.subject, e.group) == wanted), None)
