"""What the tables of many pairs say: do they add up, and how few pairs explain how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from attnaudit.data.pairs.scored_pairs import ScoredPair
from attnaudit.findings.estimates import average, share
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.measures.bootstrap import Interval, bootstrap_interval, bootstrap_metric
from attnaudit.models.siamese.parts_of_speech import SPECIAL, tags_of
from attnaudit.models.siamese.reading import cumulative_shares
from attnaudit.models.siamese.spearman import rank_correlation
from attnaudit.models.siamese.table import PairTable
from attnaudit.studies.moeller2023.kinds import NEGATION, first

Array = npt.NDArray[np.float64]
FULL, PLAIN = "full table", "plain matrix"
CURVE = tuple(round(0.05 * step, 2) for step in range(21))
"""Shares of the token pairs at which the cumulative curve is drawn."""


def size_of(table: PairTable, tolerance: float) -> float:
    """What errors are relative to: 1 for cosine, `|e(a)| |e(b)|` for dot."""
    return table.tolerance / tolerance


def additivity(
    tables: Sequence[PairTable], pairs: Sequence[ScoredPair], tolerance: float, settings: Settings
) -> Iterator[Estimate]:
    """Errors of both sums, and how they rank pairs; relative to the lengths for dot."""
    sizes = np.array([size_of(t, tolerance) for t in tables])
    scores = np.array([t.score for t in tables])
    labels = np.array([p.score for p in pairs])
    for subject, sums in sums_of(tables).items():
        errors = np.abs(scores - sums) / sizes
        within = (errors <= tolerance).astype(float)
        yield share(within, settings, statistic="within_tolerance", subject=subject)
        yield average(errors, settings, statistic="absolute_error", subject=subject)
        largest = float(errors.max())
        yield Estimate(statistic="largest_error", subject=subject, value=largest, n=len(errors))
        yield correlation(scores, sums, settings, "spearman_score", subject)
        yield correlation(labels, sums, settings, "spearman_labels", subject)
    yield correlation(labels, scores, settings, "spearman_labels", "score")
    references = np.array([(t.reference_a + t.reference_b) / 2 for t in tables])
    yield average(references, settings, statistic="reference_size", subject="e(r) over e(x)")
    corners = np.array([t.corner for t in tables]) / sizes
    yield average(corners, settings, statistic="corner", subject="e(r)e(r)")


def sums_of(tables: Sequence[PairTable]) -> dict[str, Array]:
    """The sum of the whole table and of the plain matrix, pair by pair."""
    return {
        FULL: np.array([t.total for t in tables]),
        PLAIN: np.array([float(t.pairs.sum()) for t in tables]),
    }


def correlation(
    first: Array, second: Array, settings: Settings, statistic: str, subject: str
) -> Estimate:
    """Spearman's ρ with its bootstrap interval over pairs."""
    found = Interval(None, None, None, len(first))
    if len(set(first.tolist())) > 1 and len(set(second.tolist())) > 1:
        found = bootstrap_metric(
            first,
            second,
            rank_correlation,
            confidence=settings.confidence,
            resamples=min(settings.resamples, 1000),
            seed=settings.seed,
        )
    return Estimate(statistic=statistic, subject=subject, **asdict(found))


def paired_gap(
    first: Array, second: Array, labels: Array, settings: Settings
) -> tuple[float, float, float]:
    """How much better the first scores agree with people than the second, by Spearman's ρ.

    Args:
        first: Scores of N pairs by one model.
        second: Scores of the same pairs by another.
        labels: People's scores of them.
        settings: Of the interval.

    Returns:
        The difference and its bootstrap interval, paired: every resample draws the same pairs for
        both. NaN throughout where a correlation is undefined.
    """
    rng = np.random.default_rng(settings.seed)
    drawn = rng.integers(0, len(labels), size=(min(settings.resamples, 1000), len(labels)))
    gaps = [
        rank_correlation(first[rows], labels[rows]) - rank_correlation(second[rows], labels[rows])
        for rows in (np.arange(len(labels)), *drawn)
    ]
    low, high = np.quantile(
        gaps[1:], (0.5 - settings.confidence / 2, 0.5 + settings.confidence / 2)
    )
    return gaps[0], float(low), float(high)


def concentration(tables: Sequence[PairTable], settings: Settings) -> Iterator[Estimate]:
    """The first 5 % of the token pairs by value, and the share of negative pairs.

    The share of a score or of a sum has no bound where that is near 0, so medians over pairs of
    texts are given. Entries that are exactly 0, such as those of special tokens at layer 0, are
    no evidence of either sign and are left out of the share of negative ones.
    """
    of_sum, of_score, of_magnitude, negative, half = [], [], [], [], []
    for table in tables:
        values = np.sort(table.pairs.numpy().ravel())[::-1]
        top, whole = values[: first(len(values))].sum(), values.sum()
        of_sum.append(top / whole if whole > 0 else np.nan)
        of_score.append(top / table.score if abs(table.score) > table.tolerance else np.nan)
        sizes = np.sort(np.abs(values))[::-1]
        of_magnitude.append(sizes[: first(len(values))].sum() / max(sizes.sum(), 1e-300))
        half.append((1 + int(np.searchsorted(sizes.cumsum(), sizes.sum() / 2))) / len(sizes))
        known = values[values != 0]
        negative.append((known < 0).mean() if len(known) else np.nan)
    yield median(np.array(of_sum), settings, "top_share", "of the plain sum")
    yield median(np.array(of_score), settings, "top_share", "of the score")
    yield average(np.array(of_magnitude), settings, statistic="top_share", subject="of magnitudes")
    yield average(np.array(half), settings, statistic="pairs_for_half", subject="of magnitudes")
    yield average(np.array(negative), settings, statistic="negative_share", subject="pairs")


def median(values: Array, settings: Settings, statistic: str, subject: str) -> Estimate:
    """The median with its bootstrap interval; NaN counts as undefined."""
    found = bootstrap_interval(
        values,
        "median",
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    return Estimate(statistic=statistic, subject=subject, **asdict(found))


def curves_of(tables: Sequence[PairTable]) -> dict[str, list[float]]:
    """Cumulative shares at `CURVE`, over pairs of texts: of the plain sum and of magnitudes.

    Of the sum, pairs are added by value and the median is taken; of magnitudes by size, and the
    mean.
    """
    wanted: dict[str, tuple[Literal["value", "magnitude"], Callable[[Array], Array]]] = {
        "sum": ("value", lambda rows: np.nanmedian(rows, axis=0)),
        "magnitude": ("magnitude", lambda rows: rows.mean(axis=0)),
    }
    found = {}
    for name, (order, middle) in wanted.items():
        rows = []
        for table in tables:
            shares = cumulative_shares(table, order=order)
            column = "value" if order == "value" else "of_magnitude"
            heights = shares[column].to_numpy()
            if order == "value":
                heights = heights / heights[-1] if heights[-1] > 0 else heights * np.nan
            rows.append(np.interp(CURVE, shares["of_pairs"].to_numpy(), heights))
        kept = np.array(rows)
        kept = kept[np.isfinite(kept).all(1)]
        found[name] = middle(kept).tolist() if len(kept) else []
    return found


def negation(tables: Sequence[PairTable], settings: Settings) -> Iterator[Estimate]:
    """What a word of denial adds to the score where only one of both texts has any.

    `contribution` is the sum of its row of the full table, for a word of several tokens or several
    such words of all of them; `other words` the mean size of the rows of single other tokens of the
    same text; `relative` the size of the first, a token, over the second.
    """
    signed, others, relative = [], [], []
    for table in tables:
        found = [_denials(t.text) for t in (table.a, table.b)]
        if bool(found[0]) == bool(found[1]):
            continue
        values, tokens = (table.values, table.a) if found[0] else (table.values.T, table.b)
        tags = np.array(tags_of(tokens, found[0] or found[1]))
        rows = values[:-1].sum(1).numpy()
        plain = (tags != SPECIAL) & (tags != "negation")
        if not (tags == "negation").any() or not plain.any():
            continue
        denial, mean = rows[tags == "negation"], float(np.abs(rows[plain]).mean())
        signed.append(float(denial.sum()))
        others.append(mean)
        relative.append(float(np.abs(denial).mean()) / mean)
    yield average(np.array(signed), settings, statistic="negation", subject="contribution")
    yield average(np.array(others), settings, statistic="negation", subject="other words")
    yield average(np.array(relative), settings, statistic="negation", subject="relative", null=1.0)


def _denials(text: str) -> list[tuple[int, int, str]]:
    return [(*match.span(), "negation") for match in NEGATION.finditer(text)]


def scatter_of(tables: Sequence[PairTable], pairs: Sequence[ScoredPair]) -> dict[str, Any]:
    """Score, sums and people's score of each pair, for the page."""
    sums = sums_of(tables)
    return {
        "score": [t.score for t in tables],
        "full": sums[FULL].tolist(),
        "plain": sums[PLAIN].tolist(),
        "label": [p.score for p in pairs],
    }
