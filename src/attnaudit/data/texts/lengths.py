"""Bounds on the number of units, and what became of records outside them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, SettingsError


@dataclass(frozen=True)
class Bounds:
    """How many units a record may have, both ends included.

    Attributes:
        min_length: The fewest; None for no such bound.
        max_length: The most; None for no such bound.
        strict: Whether a bound that is missing leaves out all shortest, or all longest, records of
            the split. The released code of "Attention is not Explanation" does so: it takes the
            split's own shortest and longest length as bounds and keeps what lies strictly between.
            It does not concern pairs, which that code does not filter.

    Raises:
        SettingsError: A bound below 1, or two that exclude each other.
    """

    min_length: int | None = None
    max_length: int | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        low, high = self.min_length, self.max_length
        if (low is not None and low < 1) or (high is not None and high < (low or 1)):
            raise SettingsError(
                f"min_length={low} and max_length={high} are no bounds: they are numbers of units, "
                "1 or more, the smaller one first"
            )

    @property
    def active(self) -> bool:
        """Whether any record can be left out."""
        return self.strict or self.min_length is not None or self.max_length is not None


def within(data: Dataset, bounds: Bounds) -> Dataset:
    """The records of one split whose number of units lies within the bounds.

    Raises:
        DataError: None does.

    Example:
        >>> from attnaudit.data.texts.tokens import text_record
        >>> texts = ["good", "a good film", "not a good film"]
        >>> records = tuple(text_record(str(i), text) for i, text in enumerate(texts))
        >>> kept = within(Dataset("demo", records, ()), Bounds(min_length=2, strict=True))
        >>> [len(record.units) for record in kept]
        [3]
    """
    if not bounds.active or not len(data):
        return data
    lengths = [len(record.units) for record in data]
    low, high = bounds.min_length or 0, bounds.max_length or max(lengths)
    strict = bounds.strict and not data.has_questions
    shortest = min(lengths) if strict and bounds.min_length is None else -1
    longest = max(lengths) if strict and bounds.max_length is None else -1
    reasons: Counter[str] = Counter()
    kept = []
    for record, length in zip(data.records, lengths, strict=True):
        if length < low:
            reasons[f"have fewer than {low} units"] += 1
        elif length > high:
            reasons[f"have more than {high} units"] += 1
        elif length == shortest:
            reasons[f"have {length} units, the fewest of the split (strict_bounds)"] += 1
        elif length == longest:
            reasons[f"have {length} units, the most of the split (strict_bounds)"] += 1
        else:
            kept.append(record)
    if not kept:
        raise DataError(
            f"{data.name} ({data.split}): no record is left within min_length={bounds.min_length} "
            f"and max_length={bounds.max_length}; the records have {min(lengths)} to "
            f"{max(lengths)} units"
        )
    notes = [
        f"{count} of {len(data)} records {reason} and are left out"
        for reason, count in reasons.items()
    ]
    return replace(data.select(kept), notes=(*data.notes, *notes))
