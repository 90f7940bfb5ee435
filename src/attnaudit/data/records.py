"""Records: what an instance is before any model sees it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Text:
    """One text, cut into units.

    Attributes:
        id: Unique within its data set; random draws are keyed by it.
        text: The text as it came.
        units: The tokens, as they stand in the text, unless a text pipeline changed them.
        offsets: Where each unit stands in `text`: `(start, end)`, end exclusive.
        label: Index into the data set's `classes`, or None where unknown.
        truth: One bool per unit: is it evidence for the label? None where unknown.
    """

    id: str
    text: str
    units: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    label: int | None = None
    truth: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True)
class TextPair(Text):
    """A text that is attended over, and a second text that is read beside it.

    `text` and `units` are what the weights stand on (a passage, a premise); the question (or
    hypothesis) is read whole and gets no weights.

    Attributes:
        question: The second text as it came.
        question_units: Its tokens.
        allowed: Indices of the classes that may be the answer for this instance; None for all.
    """

    question: str = ""
    question_units: tuple[str, ...] = ()
    allowed: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Begun(TextPair):
    """A text with the beginning of another that is known to follow, such as its translation.

    Attributes:
        following: The word that comes next.
    """

    following: str = ""


@dataclass(frozen=True, slots=True)
class TextAt(Text):
    """A text of which one word is asked about: its tag, or what it is where it is hidden.

    `units` are the other words: the word itself cannot be erased and gets no weight.

    Attributes:
        asked: The word as it stands in the text.
        asked_offset: Where it stands.
    """

    asked: str = ""
    asked_offset: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Dataset:
    """Records with the names of their classes.

    Example:
        >>> from attnaudit.data.texts.tokens import text_record
        >>> data = Dataset("demo", (text_record("a", "good film", label=1),), ("neg", "pos"))
        >>> len(data), data.class_counts
        (1, {'neg': 0, 'pos': 1})
    """

    name: str
    records: tuple[Text, ...]
    classes: tuple[str, ...]
    split: str = "all"
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Text]:
        return iter(self.records)

    @property
    def has_truth(self) -> bool:
        """Whether any record says which of its units are evidence."""
        return any(record.truth is not None for record in self.records)

    @property
    def has_questions(self) -> bool:
        """Whether the records are pairs of a text and a question."""
        return any(isinstance(record, TextPair) for record in self.records)

    @property
    def class_counts(self) -> dict[str, int]:
        """How many records carry each label."""
        counts = Counter(record.label for record in self.records)
        return {name: counts.get(index, 0) for index, name in enumerate(self.classes)}

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of ids, units, labels, truth and questions: equal data, equal fingerprint."""
        digest = hashlib.sha256("\x1f".join(self.classes).encode())
        for record in self.records:
            digest.update(repr((record.id, record.units, record.label, record.truth)).encode())
            if isinstance(record, TextPair):
                digest.update(repr((record.question_units, record.allowed)).encode())
            if isinstance(record, TextAt):
                digest.update(repr((record.asked, record.asked_offset)).encode())
        return digest.hexdigest()

    def select(self, records: Sequence[Text], split: str | None = None) -> Dataset:
        """The same data set with other records."""
        return replace(self, records=tuple(records), split=split or self.split)

    def noted(self, *notes: str) -> Dataset:
        """The same data set with further notes."""
        return replace(self, notes=(*self.notes, *notes))

    def relabelled(self, labels: Sequence[int | None], classes: tuple[str, ...]) -> Dataset:
        """The same records with other labels, one each, and other classes."""
        pairs = zip(self.records, labels, strict=True)
        records = tuple(replace(record, label=label) for record, label in pairs)
        return replace(self, records=records, classes=classes)
