"""Parts of a claim to its answer: the same few rules for every study."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from attnaudit.findings.findings import Estimate
from attnaudit.studies.declaration import find
from attnaudit.studies.schema import CellRecord, Claim, Holds, Measured, Part

EVERYWHERE = (
    "Holds where it holds in every data set that counts, fails where it fails in more than half "
    "of them, and is undecided otherwise."
)
"""How the parts decide, in words; a claim's own rule stands before it."""
LEAST = 30
"""Fewer instances than this decide nothing, as in the checks (`Thresholds.least_instances`)."""
SEEDS = (
    "The value is the mean over seeds; its interval reaches over those of all seeds. Where some "
    "seeds have no value, nothing is decided."
)


PAPERS = ("bilstm", "additive")
"""Encoder and attention of the model of which the papers say the most."""
Found = Callable[[CellRecord], Measured | None]
Rule = Callable[[Measured | None], Holds]


class Partial(Measured):
    """A mean over seeds of which some have no value: shown, with how many, and deciding nothing."""


def parts_of(record: CellRecord) -> tuple[str, str]:
    """Encoder and attention of a cell."""
    return str(record.spec["encoder"]), str(record.spec["attention"])


def measured(estimate: Estimate | None, unit: str) -> Measured | None:
    """An estimate as a claim shows it; None where it has no value."""
    if estimate is None or estimate.value is None:
        return None
    return Measured(
        value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.n, unit=unit
    )


def value(statistic: str, subject: str, unit: str, group: str = "all") -> Found:
    """What finds an estimate in a cell."""
    return lambda record: measured(find(record.rows, statistic, subject, group), unit)


def over(found: Sequence[Measured | None], unit: str | None = None) -> Measured | None:
    """Several numbers as one: their mean, an interval that reaches over all, the smallest n.

    Where some are None, what is left is a `Partial`, whose unit says how many there are: seeds
    that failed are not like the others, so the rest does not speak for them.

    Example:
        >>> both = [Measured(value=0.2, low=0.1, high=0.3, n=9, unit="tau"),
        ...         Measured(value=0.4, low=0.3, high=0.5, n=8, unit="tau")]
        >>> one = over(both)
        >>> round(one.value, 2), one.low, one.high, one.n
        (0.3, 0.1, 0.5, 8)
    """
    known = [m for m in found if m is not None]
    if not known:
        return None
    unit = unit or known[0].unit
    kind: type[Measured] = Measured
    if len(known) < len(found):
        kind, unit = Partial, f"{unit}; {len(known)} of {len(found)} seeds"
    elif any(isinstance(m, Partial) for m in known):
        kind = Partial
    if len(known) == 1:
        return kind(**known[0].model_dump() | {"unit": unit})
    return kind(
        value=math.fsum(m.value for m in known) / len(known),
        low=min(m.value if m.low is None else m.low for m in known),
        high=max(m.value if m.high is None else m.high for m in known),
        n=min(m.n for m in known),
        unit=unit,
    )


def difference(first: Measured | None, second: Measured | None, unit: str) -> Measured | None:
    """First less second, of different models: the interval of Zou & Donner (2008).

    Example:
        >>> a = Measured(value=0.7, low=0.6, high=0.8, n=50, unit="tau")
        >>> b = Measured(value=0.3, low=0.2, high=0.4, n=40, unit="tau")
        >>> gap = difference(a, b, "tau")
        >>> round(gap.value, 2), round(gap.low, 3), round(gap.high, 3), gap.n
        (0.4, 0.259, 0.541, 40)
    """
    if first is None or second is None:
        return None
    value = first.value - second.value
    low = high = None
    if None not in (first.low, first.high, second.low, second.high):
        assert first.low is not None
        assert first.high is not None
        assert second.low is not None
        assert second.high is not None
        low = value - math.hypot(first.value - first.low, second.high - second.value)
        high = value + math.hypot(first.high - first.value, second.value - second.low)
    kind: type[Measured] = Measured
    if isinstance(first, Partial) or isinstance(second, Partial):
        kind, unit = Partial, f"{unit}; not of all seeds"
    return kind(value=value, low=low, high=high, n=min(first.n, second.n), unit=unit)


def less(first: float | None, second: float | None) -> float | None:
    """A difference of two of the paper's numbers, where it has both."""
    return None if first is None or second is None else first - second


def above(found: Measured | None, bar: float) -> Holds:
    """Yes where the whole interval lies above the bar, no where it lies below.

    Undecided with fewer than `LEAST` instances, whose intervals are not to be trusted, and where
    some seeds have no value.
    """
    if found is None:
        return Holds.NOT_MEASURED
    if isinstance(found, Partial) or found.n < LEAST or found.low is None or found.high is None:
        return Holds.UNDECIDED
    if found.low > bar:
        return Holds.YES
    return Holds.NO if found.high < bar else Holds.UNDECIDED


def opposite(answer: Holds) -> Holds:
    """No for yes, and yes for no."""
    return {Holds.YES: Holds.NO, Holds.NO: Holds.YES}.get(answer, answer)


def below(found: Measured | None, bar: float) -> Holds:
    """Yes where the whole interval lies below the bar, no where it lies above."""
    return opposite(above(found, bar))


def undecided(found: Measured | None) -> Holds:
    """The answer where what was measured can tell nothing."""
    return Holds.NOT_MEASURED if found is None else Holds.UNDECIDED


def near_chance(record: CellRecord) -> bool:
    """Whether a model is not good enough to say anything about."""
    return record.facts.get("gate") == "fail"


def part_of(
    of: str, found: Measured | None, rule: Rule, counts: bool = True, half: str = ""
) -> Part:
    """A part with its answer."""
    return Part(of=of, measured=found, holds=rule(found), counts=counts, half=half)


def shown(part: Part) -> Part:
    """The same part, which is shown and does not count."""
    return part.model_copy(update={"counts": False})


def seed_parts(
    found: Sequence[tuple[int, Measured | None]],
    named: Callable[[str], str],
    rule: Rule,
    stated: float | None,
    doubtful: bool,
) -> Iterator[Part]:
    """The mean over seeds, and where there are several, every seed for information.

    Args:
        found: Seeds and their numbers.
        named: From what tells a seed, or nothing, to the name of the part.
        rule: From the number to the answer.
        stated: The paper's own number.
        doubtful: Whether the models can tell nothing: nothing is decided, and nothing counts.
    """
    several = [(f"seed {seed}", one) for seed, one in found] if len(found) > 1 else []
    whole = [("", over([one for _, one in found]))] if found else []
    for seed, one in (*whole, *several):
        part = part_of(named(seed), one, undecided if doubtful else rule, not (seed or doubtful))
        yield part.model_copy(update={"paper": stated})


def stood_in(found: Iterable[tuple[bool, bool, Part]]) -> list[Part]:
    """Parts, of which generated data count only where nothing of the paper's was measured.

    Args:
        found: Whether the data stand in for the paper's, whether the model is the one that
            counts, and the part.
    """
    known = [(stands, part if first else shown(part), first) for stands, first, part in found]
    # a set that can tell nothing is not replaced by generated data either
    real = any(first and part.measured is not None and not stands for stands, part, first in known)
    return [shown(part) if real and stands else part for stands, part, _ in known]


def data_notes(
    records: Sequence[CellRecord], said: Sequence[str], stands_in: Sequence[bool]
) -> list[str]:
    """How the data of a study differ from the paper's, set by set, limits first."""
    limited = {r.spec["train_limit"] for r in records} - {None}
    generated = bool(stands_in) and all(stands_in)
    return [
        *(["Generated data stand in for the paper's, which were not given"] if generated else []),
        *([f"At most {min(limited):,} training texts a set"] if limited else []),
        *said,
    ]


def decide(parts: Sequence[Part], halves: Sequence[str] = ("",)) -> Holds:
    """The answer of several parts, as `EVERYWHERE` says.

    A claim with two halves holds where both do, and fails where one does.
    """
    answers = [_of_half([p for p in parts if p.half == half]) for half in halves]
    if all(a is Holds.NOT_MEASURED for a in answers):
        return Holds.NOT_MEASURED
    if Holds.NO in answers:
        return Holds.NO
    return Holds.YES if all(a is Holds.YES for a in answers) else Holds.UNDECIDED


def _of_half(parts: Sequence[Part]) -> Holds:
    answers = [p.holds for p in parts if p.counts and p.holds is not Holds.NOT_MEASURED]
    if not answers:
        # what was measured and can tell nothing leaves the claim open
        shown = any(p.holds is Holds.UNDECIDED for p in parts)
        return Holds.UNDECIDED if shown else Holds.NOT_MEASURED
    if all(a is Holds.YES for a in answers):
        return Holds.YES
    return Holds.NO if 2 * answers.count(Holds.NO) > len(answers) else Holds.UNDECIDED


def claim_of(
    parts: Sequence[Part],
    *,
    id: str,
    claim: str,
    paper: str,
    rule: str,
    note: str = "",
    halves: Sequence[str] = ("",),
) -> Claim:
    """A claim from its parts: the answer, and one number over all parts that count."""
    counting = [p.measured for p in parts if p.counts and p.measured is not None]
    whole = over(counting)
    if whole is not None and len(counting) > 1:
        whole = whole.model_copy(update={"unit": f"{whole.unit}; mean of {len(counting)} settings"})
    holds = decide(parts, halves)
    if holds is Holds.UNDECIDED and not counting:
        note = f"Nothing that was measured can tell. {note}".strip()
    return Claim(
        id=id,
        claim=claim,
        paper=paper,
        measured=whole,
        rule=f"{rule} {EVERYWHERE}",
        holds=holds,
        note=note,
        parts=tuple(parts),
    )
