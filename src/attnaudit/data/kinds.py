"""The kinds of records, and what data sets of every kind have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeAlias

from attnaudit.data.bags.records import Bag, BagDataset
from attnaudit.data.records import Text

Record: TypeAlias = Text | Bag
Records = Literal["texts", "bags", "pairs"]
"""What a source is read as."""


@dataclass(frozen=True)
class Kind:
    """What a model reads and what is explained of it, with the nouns that messages have for it.

    Attributes:
        name: The kind itself, in the singular.
        instance: The noun for one record.
        instances: The noun for several, which is also how a source of them is read.
        unit: The noun for what one score belongs to.
        units: The noun for several.
        explained: The explanation on trial.
        target: What it explains.
    """

    name: str
    instance: str
    instances: Records
    unit: str
    units: str
    explained: str = "weights"
    target: str = "a prediction"


TEXTS = Kind("text", "text", "texts", "word", "words")
BAGS = Kind("bag", "bag", "bags", "instance", "instances")
PAIRS = Kind("pair", "pair", "pairs", "token", "tokens", "token pairs", "the similarity")
KINDS: Mapping[str, Kind] = {kind.instances: kind for kind in (TEXTS, BAGS, PAIRS)}
"""Every kind, by the noun for several."""


class AnyDataset(Protocol):
    """Records with the names of their classes: `Dataset` or `BagDataset`."""

    @property
    def name(self) -> str:
        """What reports call the data."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in index order."""

    @property
    def split(self) -> str:
        """Which split this is."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided on the way."""

    @property
    def records(self) -> tuple[Record, ...]:
        """The records."""

    @property
    def has_truth(self) -> bool:
        """Whether any record says which of its units are evidence."""

    @property
    def class_counts(self) -> dict[str, int]:
        """How many records carry each label."""

    @property
    def fingerprint(self) -> str:
        """Equal data, equal fingerprint."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Record]: ...

    def select(self, records: Sequence[Any], split: str | None = None) -> Self:
        """The same data set with other records."""

    def relabelled(self, labels: Sequence[int | None], classes: tuple[str, ...]) -> Self:
        """The same records with other labels and classes."""

    def noted(self, *notes: str) -> Self:
        """The same data set with further notes."""


def kind_of(data: AnyDataset) -> Kind:
    """What the records of a data set are."""
    return BAGS if isinstance(data, BagDataset) else TEXTS
