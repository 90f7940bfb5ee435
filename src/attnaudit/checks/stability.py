"""Stability: does a neutral word or a mark more leave the explanation as it was?"""

from __future__ import annotations

import numpy as np
import polars as pl

from attnaudit.checks.randomised_weights import correlation
from attnaudit.evidence.pairs.pair_methods import scores_of
from attnaudit.evidence.pairs.rivals import undecided
from attnaudit.evidence.pairs.view import Array, PairView
from attnaudit.findings.estimates import above, average, spoken, values_of
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.pair_checks.declaration import Columns, PairCheck
from attnaudit.pair_checks.settings import PairSettings

ADDITIONS = ("word", "mark")
ENDS = ".!?;:"


def added(text: str, word: str) -> tuple[str, int, int]:
    """The text with a word before its final marks, where that stands, and by how much it grew.

    Example:
        >>> added("A cat sleeps.", "indeed")
        ('A cat sleeps indeed.', 12, 7)
    """
    end = len(text.rstrip().rstrip(ENDS).rstrip())
    return f"{text[:end]} {word}{text[end:]}", end, len(word) + 1


def marked(text: str, mark: str) -> tuple[str, int, int]:
    """The text with a mark after its end, where that stands, and by how much it grew.

    Example:
        >>> marked("A cat sleeps", ".")
        ('A cat sleeps.', 12, 1)
    """
    end = len(text.rstrip())
    return f"{text[:end]}{mark}{text[end:]}", end, len(mark)


def measure(view: PairView) -> Columns:
    """Rank correlation of the pair's other tokens, and what the score moved, for each addition.

    Only the first text is added to. A pair whose other tokens are read differently after the
    addition has no value.
    """
    own = scores_of(view, "integrated")
    columns: dict[str, Array] = {}
    for kind in ADDITIONS:
        grown = [
            added(a, view.settings.word) if kind == "word" else marked(a, view.settings.mark)
            for a, _ in view.pairs
        ]
        texts = [(text, b) for (text, _, _), (_, b) in zip(grown, view.pairs, strict=True)]
        after = PairView(view.shared, texts)
        ranks, moved = np.full((2, len(view)), np.nan)
        for row, (table, (_, at, by)) in enumerate(zip(after.tables, grown, strict=True)):
            places = _same_places(view.tokens[row][0], table, view.units[row][0], at, by)
            if places is None:
                continue
            pairs = table.pairs.double().cpu().numpy()[np.ix_(places, view.units[row][1])]
            ranks[row] = correlation(own[row].pairs, pairs, bool(view.rankable[row]))
            moved[row] = (after.scores[row] - view.scores[row]) * float(view.scale[row])
        columns[f"stability.{kind}"] = ranks
        columns[f"stability.{kind}.moved"] = np.abs(moved)
    return columns


def _same_places(before: Tokens, table: PairTable, units: Array, at: int, by: int) -> Array | None:
    """Where the units of a text stand after it grew; None where one is read as another token."""
    after = {
        (span, id): place
        for place, (span, id) in enumerate(zip(table.a.offsets, table.a.ids, strict=True))
    }
    places = []
    for unit in units:
        start, end = before.offsets[unit]
        shift = by if start >= at else 0
        place = after.get(((start + shift, end + shift), before.ids[unit]))
        if place is None:
            return None
        places.append(place)
    return np.array(places, dtype=int)


def conclude(frame: pl.DataFrame, settings: PairSettings) -> list[Finding]:
    """Ranks are asked to stay only where the score did: what moves it is not neutral."""
    bars = settings.thresholds
    estimates, kept = [], []
    for kind in ADDITIONS:
        ranks = values_of(frame, f"stability.{kind}")
        moved = values_of(frame, f"stability.{kind}.moved")
        same = np.where(moved <= bars.same_score, ranks, np.nan)
        kept.append(same)
        elsewhere = np.where(moved > bars.same_score, ranks, np.nan)
        for group, values in ((kind, same), (f"{kind}, score moved", elsewhere)):
            estimates.append(
                average(
                    values,
                    settings.sampling,
                    statistic="spearman",
                    subject="integrated~added",
                    group=group,
                    null=0.0,
                )
            )
        estimates.append(
            average(
                moved,
                settings.sampling,
                statistic="score_moved",
                subject="score",
                group=kind,
                null=0.0,
            )
        )
    both = np.array(kept)
    known = np.isfinite(both)
    mean = np.where(known.any(0), np.where(known, both, 0).sum(0) / known.sum(0).clip(1), np.nan)
    headline = average(
        mean, settings.sampling, statistic="spearman", subject="integrated~added", null=0.0
    )
    verdict = above(headline, bars.stable_rank, bars.least_pairs)
    base = (
        f"Where {settings.word!r} or {settings.mark!r} in the first text moves the similarity by "
        f"at most {bars.same_score:g}, the pairs' scores keep a mean Spearman correlation of "
        f"{spoken(headline)}."
    )
    sentence = {
        Verdict.PASS: f"{base} The explanation is as steady as the score.",
        Verdict.FAIL: f"{base} The explanation changes where the score does not.",
        Verdict.INCONCLUSIVE: f"{base} " + undecided(headline, bars.least_pairs, bars.stable_rank),
        Verdict.NOT_APPLICABLE: "There is no pair with scores that differ and a neutral addition.",
    }[verdict]
    return [
        Finding(
            check="stability",
            subject="integrated",
            verdict=verdict,
            sentence=sentence,
            headline=headline,
            estimates=(headline, *estimates),
            thresholds={
                "stable_rank": bars.stable_rank,
                "same_score": bars.same_score,
                "least_pairs": float(bars.least_pairs),
            },
            notes=_left_out(headline),
        )
    ]


def _left_out(headline: Estimate) -> tuple[str, ...]:
    if not headline.undefined:
        return ()
    return (
        f"{headline.undefined} of {headline.n + headline.undefined} pairs have no value and are "
        "left out: no addition was neutral, it changed how other tokens are read, or nothing can "
        "be ranked.",
    )


STABILITY = PairCheck(
    name="stability",
    title="Stability",
    paper="Alvarez-Melis & Jaakkola 2018",
    question="Where an added word or mark leaves the score, does it leave the explanation too?",
    statistic="mean Spearman's ρ of the other tokens' pair scores before and after, where the "
    "score moves little",
    null="0",
    higher_is_better=True,
    decisive=False,
    caveat="Whether a word is neutral is for the encoder to say: pairs whose score moves are left "
    "out and counted.",
    measure=measure,
    conclude=conclude,
)
