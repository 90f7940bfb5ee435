"""Stability: does a neutral word or a mark more leave the explanation as it was?"""

from __future__ import annotations

import numpy as np

from attnaudit.checks.declaration import PAIRS, Check
from attnaudit.checks.randomised_weights import correlation
from attnaudit.data import kinds
from attnaudit.evidence.pairs.chunks import PairBatch, Pairs
from attnaudit.evidence.pairs.pair_methods import scores_of
from attnaudit.evidence.pairs.rivals import undecided
from attnaudit.evidence.pairs.view import Array, Columns, PairView
from attnaudit.findings.estimates import above, average, spoken, values_of
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.settings import LEAST_INSTANCES, Bar
from attnaudit.findings.wording import Statistic
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens

STABLE_RANK = Bar(
    "stable_rank",
    0.8,
    "Rank correlation that an explanation must keep where an added word or mark leaves the score "
    "as it was. Ours.",
    least=-1.0,
)
SAME_SCORE = Bar(
    "same_score",
    0.05,
    "Change of the similarity up to which an added word or mark counts as neutral, in units of a "
    "cosine. Ours.",
)
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
        columns[kind] = ranks
        columns[f"{kind}.moved"] = np.abs(moved)
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


def conclude(evidence: Pairs) -> list[Finding]:
    """Ranks are asked to stay only where the score did: what moves it is not neutral."""
    frame, settings = evidence.frame, evidence.settings
    same_score, bar, least = settings.bar(SAME_SCORE), settings.bar(STABLE_RANK), settings.least
    estimates, kept = [], []
    for kind in ADDITIONS:
        ranks = values_of(frame, kind)
        moved = values_of(frame, f"{kind}.moved")
        same = np.where(moved <= same_score, ranks, np.nan)
        kept.append(same)
        elsewhere = np.where(moved > same_score, ranks, np.nan)
        for group, values in ((kind, same), (f"{kind}, score moved", elsewhere)):
            estimates.append(
                average(
                    values,
                    settings,
                    statistic="spearman",
                    subject="integrated~added",
                    group=group,
                    null=0.0,
                )
            )
        estimates.append(
            average(
                moved,
                settings,
                statistic="score_moved",
                subject="score",
                group=kind,
                null=0.0,
            )
        )
    both = np.array(kept)
    known = np.isfinite(both)
    mean = np.where(known.any(0), np.where(known, both, 0).sum(0) / known.sum(0).clip(1), np.nan)
    headline = average(mean, settings, statistic="spearman", subject="integrated~added", null=0.0)
    verdict = above(headline, bar, least)
    base = (
        f"Where {settings.pairs.word!r} or {settings.pairs.mark!r} in the first text moves the "
        f"similarity by at most {same_score:g}, the pairs' scores keep a mean Spearman correlation "
        f"of {spoken(headline)}."
    )
    sentence = {
        Verdict.PASS: f"{base} The explanation is as steady as the score.",
        Verdict.FAIL: f"{base} The explanation changes where the score does not.",
        Verdict.INCONCLUSIVE: f"{base} " + undecided(headline, least, bar),
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
            thresholds=settings.used(STABLE_RANK, SAME_SCORE, LEAST_INSTANCES),
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


STABILITY = Check(
    name="stability",
    title="Stability",
    paper="Alvarez-Melis & Jaakkola 2018",
    question="Where an added word or mark leaves the score, does it leave the explanation too?",
    statistic="mean Spearman's ρ of the other tokens' pair scores before and after, where the "
    "score moves little",
    null="0",
    higher_is_better=True,
    range=(-1.0, 1.0),
    group=PAIRS,
    kinds=(kinds.PAIRS,),
    asks=PairBatch(measure),
    conclude=conclude,
    decisive=False,
    caveat="Whether a word is neutral is for the encoder to say: pairs whose score moves are left "
    "out and counted.",
    bars=(STABLE_RANK, SAME_SCORE, LEAST_INSTANCES),
    bar=STABLE_RANK,
    words={"score_moved": Statistic("mean change of the score", "by the addition, as a cosine")},
)
