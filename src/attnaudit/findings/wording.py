"""How numbers, statistics and methods are written, the same in every report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from attnaudit.attribution import EVERY
from attnaudit.findings.findings import Estimate, Verdict

NOTHING = "–"
MINUS = "−"
QUESTION = "May these attention weights be shown as an explanation?"
QUESTIONS = {"pairs": "May these token pairs be shown as the reason for the similarity?"}
"""What an audit asks, by what the model reads, where that is not `QUESTION`."""

SIGNS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✕",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_APPLICABLE: "○",
}

SUBJECTS = {
    "oracle": "known evidence",
    "null": "random units",
    "random": "random scores",
    "truth": "known evidence",
    "permutation": "same weights, other order",
    "exact": "any weights, certified maximum",
    "bounded": "any weights, best found",
    "search": "any weights, published search",
    "largest weight - other weight": "largest weight less another",
    "integrated": "the table",
    "plain": "the plain matrix",
    "alignment": "alignment of token vectors",
}


@dataclass(frozen=True)
class Statistic:
    """What a statistic is called, and whether it is a share that reads best in percent."""

    title: str
    meaning: str
    percent: bool = False


STATISTICS = {
    "spearman": Statistic("mean Spearman rho", "−1 opposite order, 0 unrelated, 1 same order"),
}


def declare(words: Mapping[str, Statistic]) -> None:
    """Add the words of a check's own statistics; the registry of checks does so for every check."""
    STATISTICS.update(words)


def statistic(name: str) -> Statistic:
    """The wording of a statistic; an unknown one is written as it is named."""
    return STATISTICS.get(name, Statistic(name.replace("_", " "), ""))


def subject(name: str) -> str:
    """A method, or a pair of them, in words.

    Example:
        >>> subject("weights~leave_one_out"), subject("gradient-weights")
        ('attention weights and leave-one-out', 'gradient over attention weights')
    """
    if name in SUBJECTS:
        return SUBJECTS[name]
    if name in EVERY:
        return EVERY[name].title
    if len(name) > 2 and name.startswith("|") and name.endswith("|"):
        return f"size of {subject(name[1:-1])}"
    for mark, word in (("~", " and "), ("-", " over ")):
        first, found, second = name.partition(mark)
        if found:
            return f"{subject(first)}{word}{subject(second)}"
    return name.replace("_", " ")


def number(value: float | None, digits: int = 2, *, percent: bool = False) -> str:
    """A number as people read it: fixed digits, a true minus, never −0.

    Example:
        >>> number(-0.204), number(-0.001), number(0.5, percent=True), number(None)
        ('−0.20', '0.00', '50%', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if percent:
        value, digits = value * 100, max(digits - 2, 0)
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS) + ("%" if percent else "")


def digits_for(estimate: Estimate) -> int:
    """Two digits, or three or four where the interval is narrower than two can show."""
    if estimate.low is None or estimate.high is None:
        return 2
    width = estimate.high - estimate.low
    return 2 if width >= 0.02 or width == 0 else 3 if width >= 0.002 else 4


def value_of(estimate: Estimate) -> str:
    """The value of an estimate."""
    return number(
        estimate.value, digits_for(estimate), percent=statistic(estimate.statistic).percent
    )


def interval_of(estimate: Estimate) -> str:
    """The interval of an estimate, or a dash.

    Example:
        >>> interval_of(Estimate(statistic="t", subject="w", value=0.2, low=-0.1, high=0.5, n=9))
        '−0.10 to 0.50'
    """
    if estimate.low is None or estimate.high is None:
        return NOTHING
    digits, percent = digits_for(estimate), statistic(estimate.statistic).percent
    low = number(estimate.low, digits, percent=percent).removesuffix("%")
    return f"{low} to {number(estimate.high, digits, percent=percent)}"


def null_of(estimate: Estimate) -> str:
    """What to expect where there is nothing to find, or a dash."""
    if estimate.null is None:
        return NOTHING
    shown = statistic(estimate.statistic)
    if estimate.null in (0, 1) and not shown.percent:
        return f"{estimate.null:.0f}"
    return number(estimate.null, digits_for(estimate), percent=shown.percent)


def spoken(estimate: Estimate) -> str:
    """Value, interval and sample size in one phrase.

    Example:
        >>> spoken(Estimate(statistic="t", subject="w", value=0.2, low=0.1, high=0.3, n=1900))
        '0.20 (0.10 to 0.30, n = 1,900)'
    """
    if estimate.value is None:
        return f"undefined (n = {count(estimate.n)})"
    if estimate.low is None or estimate.high is None:
        return f"{value_of(estimate)} (n = {count(estimate.n)})"
    return f"{value_of(estimate)} ({interval_of(estimate)}, n = {count(estimate.n)})"


def count(value: int) -> str:
    """A count with thousands set apart."""
    return f"{value:,}"


def threshold(value: float) -> str:
    """A threshold as it was set: no digits added, none lost."""
    return f"{value:g}"


def spoken_time(seconds: float, *, exact: bool = False) -> str:
    """A stretch of time as an estimate: no digits that it does not have.

    Args:
        seconds: How long.
        exact: Whether seconds are worth saying.

    Example:
        >>> spoken_time(41), spoken_time(33, exact=True), spoken_time(130), spoken_time(9000)
        ('40 seconds', '33 seconds', '2 minutes', '2.5 hours')
    """
    if seconds < 60 or (exact and seconds < 90):
        shown = max(1.0, seconds) if exact else max(10.0, round(seconds, -1))
        return f"{shown:.0f} second{'' if round(shown) == 1 else 's'}"
    if seconds < 90 * 60:
        minutes = round(seconds / 60)
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{seconds / 3600:.1f} hours"


def duration(seconds: float) -> str:
    """A stretch of time.

    Example:
        >>> duration(8.25), duration(75), duration(7300)
        ('8.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def shortened(text: str, longest: int = 24) -> str:
    """Text that fits a label, cut in the middle."""
    if len(text) <= longest:
        return text
    head = (longest - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def typeset(text: str) -> str:
    """A sentence with true minus signs, no −0.00, and sizes that do not break across lines.

    Example:
        >>> typeset("tau -0.00 (-0.03 to 0.01, n = 300)").replace("\u00a0", "_")
        'tau 0.00 (−0.03 to 0.01, n_=_300)'
    """
    text = re.sub(r"(?<=[\s(])-(?=\d)", MINUS, text)
    text = re.sub(rf"{MINUS}(0(?:\.0+)?)(?![\d.])", r"\1", text)
    return re.sub(r"\bn = (\d*)", lambda n: f"n\u00a0=\u00a0{_grouped(n[1])}", text)


def _grouped(digits: str) -> str:
    return count(int(digits)) if digits else ""


def prose(description: str | None) -> str:
    """A declared description without the marks of code."""
    return (description or "").replace("`", "")
