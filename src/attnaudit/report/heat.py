"""Heat maps as data: units with their shade, clipped around what scores highest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from attnaudit.attribution import EVERY
from attnaudit.findings.wording import NOTHING, number

FULL_EFFECT = 0.05
"""Effects on the probability have their full colour from here on: what Jain & Wallace 2019 still
count as the same prediction is never loud."""
FULL_SHARES = 3
"""Weights have their full colour from so many times an even share."""
WEIGHTS = ("weights", "permutation", "exact", "bounded", "search")
"""The model's weights, and those of the adversaries."""
MOST_UNITS = 80
CONTEXT = 5
SMALLEST_GAP = 3
TOP = 5


@dataclass(frozen=True)
class Unit:
    """One unit as it is shown.

    Attributes:
        text: As it stands in the data, or, in place of clipped units, how many they are.
        score: The score in words.
        shade: -1 to 1, the score over the largest magnitude of its row, or over the floor where
            that is more.
        rank: 1 for the largest magnitude; 0 in a gap.
        evidence: Whether it is known evidence.
        gap: Whether it stands for clipped units.
        spaced: Whether it stands apart from the unit before.
    """

    text: str
    score: str = ""
    shade: float = 0.0
    rank: int = 0
    evidence: bool = False
    gap: bool = False
    spaced: bool = True


@dataclass(frozen=True)
class HeatRow:
    """One attribution of one text.

    Attributes:
        title: Which attribution.
        note: What to know of it.
        units: The units shown, gaps among them.
        top: The units with the highest scores, in words.
        signed: Whether scores can speak against the prediction.
    """

    title: str
    note: str
    units: tuple[Unit, ...]
    top: tuple[tuple[str, str], ...]
    signed: bool


def heat_row(
    title: str,
    units: Sequence[str],
    scores: Sequence[float | None],
    *,
    truth: Sequence[bool] | None = None,
    spaced: Sequence[bool] | None = None,
    windows: Sequence[tuple[int, int]] | None = None,
    signed: bool = False,
    note: str = "",
    floor: float = 0.0,
) -> HeatRow:
    """Units and scores as a row of a heat map.

    Args:
        title: Which attribution.
        units: The units of the text.
        scores: One score per unit.
        truth: Which units are evidence.
        spaced: Which units stand apart from the one before; all by default.
        windows: Which units are shown; all by default.
        signed: Whether scores can speak against the prediction.
        note: What to know of it.
        floor: The least score that has the full colour (`floor_of`).
    """
    values = [_finite(score) for score in scores]
    largest = max((abs(v) for v in values), default=0.0)
    full = max(largest, floor)
    order = ranking(values)
    rank = {position: place + 1 for place, position in enumerate(order)}
    shown: list[Unit] = []
    last = 0
    for start, end in windows if windows is not None else [(0, len(units))]:
        shown += _gap(start - last)
        shown += [
            Unit(
                text=units[i],
                score=score_of(scores[i], largest),
                shade=round(values[i] / full, 3) if full else 0.0,
                rank=rank[i],
                evidence=bool(truth[i]) if truth is not None else False,
                spaced=bool(spaced[i]) if spaced is not None else True,
            )
            for i in range(start, end)
        ]
        last = end
    shown += _gap(len(units) - last)
    named = [(units[i], score_of(scores[i], largest)) for i in order[:TOP] if values[i]]
    # a score that rounds to 0 is no news
    top = tuple((unit, score) for unit, score in named if score.strip("−0."))
    return HeatRow(title, note, tuple(shown), top, signed)


def floor_of(method: str, length: int) -> float:
    """The least score that has the full colour, so that small scores do not look loud.

    Args:
        method: A name in `EVERY`, or a kind of adversary, whose scores are weights.
        length: Units of the text.

    Returns:
        0.05 for effects on the probability; three even shares for weights; 0 for what has no
        scale of its own, which is shaded against the largest of its row.

    Example:
        >>> floor_of("leave_one_out", 12), floor_of("weights", 12), floor_of("gradient", 12)
        (0.05, 0.25, 0.0)
    """
    if method in WEIGHTS:
        return min(1.0, FULL_SHARES / max(length, 1))
    return FULL_EFFECT if method in EVERY and EVERY[method].signed else 0.0


def ranking(values: Sequence[float]) -> list[int]:
    """Positions by falling magnitude; the earlier first among equals."""
    return sorted(range(len(values)), key=lambda i: -abs(values[i]))


def score_of(value: float | None, largest: float) -> str:
    """A score with digits enough to tell the units of its row apart.

    Example:
        >>> score_of(0.25, 0.5), score_of(0.00012, 0.0004), score_of(None, 1.0)
        ('0.250', '0.000120', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    digits = 3 if largest >= 0.01 or largest == 0 else min(2 - math.floor(math.log10(largest)), 9)
    return number(value, digits - 1 if largest >= 10 else digits)


def windows_of(
    rows: Sequence[Sequence[float | None]], length: int, most: int = MOST_UNITS
) -> list[tuple[int, int]]:
    """Which stretches of a text to show: all of a short one, else around the highest scores.

    Every row has its turn, highest score first, until `most` units are shown.

    Example:
        >>> windows_of([[0.0] * 50 + [1.0] + [0.0] * 49], 100, most=11)
        [(45, 56)]
    """
    if length <= most or not rows:
        return [(0, length)]
    orders = [ranking([_finite(v) for v in row]) for row in rows]
    kept: set[int] = set()
    for place in range(length):
        for order in orders:
            i = order[place]
            near = set(range(max(0, i - CONTEXT), min(length, i + CONTEXT + 1)))
            if kept and len(kept | near) > most:
                return _stretches(sorted(kept))
            kept |= near
    return _stretches(sorted(kept))


def _stretches(kept: Sequence[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for i in kept:
        if found and i - found[-1][1] <= SMALLEST_GAP:
            found[-1] = (found[-1][0], i + 1)
        else:
            found.append((i, i + 1))
    return found


def _gap(size: int) -> list[Unit]:
    if size <= 0:
        return []
    return [Unit(text=f"… {size} unit{'s' if size > 1 else ''} …", gap=True)]


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
