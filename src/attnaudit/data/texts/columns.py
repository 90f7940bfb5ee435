"""What the columns of a table of texts mean, and how its texts are cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from attnaudit.data.labels import Scheme
from attnaudit.data.named.paper import PIPELINES, PaperSettings
from attnaudit.data.reading import Reading
from attnaudit.data.texts.lengths import Bounds
from attnaudit.errors import SettingsError


@dataclass(frozen=True)
class Columns:
    """What the columns of a table mean, and how its texts are read.

    Attributes:
        text: The column of texts, or of lists of units.
        label: The column of labels, or None for data without labels.
        id: The column of ids, or None for row numbers.
        truth: The column of truth, or None.
        question: The column of questions, read beside the text; None for single texts.
        allowed: The column of the answers that each question allows, or None.
        tokenizer: A name in `TOKENIZERS`; None for `whitespace` where the column is called
            `tokens`, else `words`.
        cleaner: A name in `CLEANERS`, which then decides on the units; None for none.
        bounds: How many units a record may have.
        truth_in: What truth counts: `characters` of the text, or the units of the tokenizer of
            that name, whichever units the records have; None for the units of the records.
        scheme: How labels become classes.
        clean: Applied to each text before it is cut.
        drop_unlabelled: Leave out rows without a label, instead of an error.
        drop_empty: Leave out rows without text, instead of an error.
    """

    text: str = "text"
    label: str | None = "label"
    id: str | None = None
    truth: str | None = None
    question: str | None = None
    allowed: str | None = None
    tokenizer: str | None = None
    cleaner: str | None = None
    bounds: Bounds = field(default_factory=Bounds)
    truth_in: str | None = None
    scheme: Scheme = field(default_factory=Scheme)
    clean: Callable[[str], str] | None = None
    drop_unlabelled: bool = False
    drop_empty: bool = False


def text_columns(reading: Reading, source: object = None) -> Columns:
    """The columns of a source by the options that were given, under its text pipeline.

    A set that the pipeline knows is cleaned as it was there, and gets its bounds where none are
    given; every other source is cleaned as `general` does.

    Raises:
        SettingsError: No such pipeline, bounds that exclude each other, or too few classes.

    Example:
        >>> columns = text_columns(Reading(pipeline="jain2019"), "sst")
        >>> columns.cleaner, columns.bounds.min_length
        ('sst', 6)
    """
    known: PaperSettings | None = None
    if reading.pipeline is not None:
        if reading.pipeline not in PIPELINES:
            raise SettingsError(
                f"unknown pipeline {reading.pipeline!r}: choose one of {', '.join(PIPELINES)}, or "
                "none"
            )
        found = PIPELINES[reading.pipeline].get(source) if isinstance(source, str) else None
        known = found or PaperSettings("general", 1)
    low, high = (known.min_length, known.max_length) if known else (None, None)
    return Columns(
        text=reading.column("text", "text") or "text",
        label=reading.column("label", "label"),
        id=reading.column("id"),
        truth=reading.column("truth"),
        question=reading.column("question"),
        allowed=reading.column("allowed"),
        tokenizer=reading.tokenizer,
        cleaner=known.cleaner if known else None,
        bounds=Bounds(
            low if reading.min_length is None else reading.min_length,
            high if reading.max_length is None else reading.max_length,
            reading.strict_bounds,
        ),
        scheme=Scheme(None if reading.classes is None else tuple(reading.classes)),
        drop_unlabelled=reading.drop_unlabelled,
        drop_empty=reading.drop_empty,
    )
