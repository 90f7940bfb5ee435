"""Texts from an opened source: one data set, or train, dev and test with the classes of train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnaudit.data.drawing import content, draw
from attnaudit.data.labels import Scheme
from attnaudit.data.named.named import columns_for, named_set, open_named, with_classes
from attnaudit.data.named.sets import NAMED_SETS, NamedSet
from attnaudit.data.reading import Reading
from attnaudit.data.records import Dataset
from attnaudit.data.sources.folders import choose_split
from attnaudit.data.sources.frames import listed
from attnaudit.data.sources.opening import Opened, Place, open_place
from attnaudit.data.splits import FRACTIONS, SPLITS, split_dataset
from attnaudit.data.texts.build import build_dataset
from attnaudit.data.texts.columns import Columns, text_columns
from attnaudit.data.texts.lengths import Bounds, within
from attnaudit.errors import DataError, SettingsError

# The share of train that becomes dev where only dev is missing, as in Jain & Wallace 2019.
DEV_FRACTION = 0.15


@dataclass(frozen=True)
class Texts:
    """Texts of a source that is opened.

    Attributes:
        opened: What reads its splits; None for a set that is generated.
        entry: The named set that it is, or None.
        reading: How it is read.
        columns: What its columns mean.
    """

    opened: Opened | None
    entry: NamedSet | None
    reading: Reading
    columns: Columns

    def data(self, split: str | None) -> Dataset:
        """One split; without its name the test split of several, or all rows of a table."""
        reading, bounds = self.reading, self.columns.bounds
        if self.opened is None:
            made = self._made()
            chosen, note = choose_split(f"the set {self._name!r}", split, list(made))
            data = draw(within(made[chosen], bounds), reading.limit, reading.seed)
            data = replace(data, notes=(note, *data.notes) if note else data.notes)
        else:
            data = self._built(self.opened, split, self.columns, reading.limit)
        return replace(data, name=reading.name or data.name)

    def splits(self) -> dict[str, Dataset]:
        """Train, dev and test, with the classes of train in each.

        Where the source has no dev split, 15 % of train becomes one; without splits at all it is
        cut 80 : 10 : 10; a missing test split is cut out of train too. Notes say so.
        """
        reading, bounds = self.reading, self.columns.bounds
        if self.opened is None:
            splits = self._made()
        else:
            splits = self._cut(self.opened, None if bounds.active else reading.limit)
        # After the cut, because strict bounds are those of each split.
        splits = {split: within(splits[split], bounds) for split in SPLITS}
        splits = {split: draw(data, reading.limit, reading.seed) for split, data in splits.items()}
        train = splits["train"]
        return {split: _with_overlap(data, train, reading.name) for split, data in splits.items()}

    @property
    def _name(self) -> str:
        return self.entry.name if self.entry else ""

    def _made(self) -> dict[str, Dataset]:
        """All splits of a set that is generated."""
        made = self.entry.make() if self.entry and self.entry.make else {}
        classes = self.columns.scheme.classes
        return {name: with_classes(data, classes) for name, data in made.items()}

    def _built(
        self, opened: Opened, split: str | None, columns: Columns, limit: int | None
    ) -> Dataset:
        """One split, with bounds on the number of units before the draw."""
        # Bounds leave out some of what is read, so that no less than all will do.
        few = None if columns.bounds.active or self.entry is None else limit
        read = opened.read(split, few, self.reading.seed)
        classes = columns.scheme.classes
        if self.entry is not None:
            columns = columns_for(self.entry, read.table, columns)
        name = self._name or self.reading.name or opened.name
        data = build_dataset(read.table, columns, name, read.split, limit, self.reading.seed)
        data = with_classes(data, classes) if self.entry is not None else data
        return replace(data, notes=(*read.notes, *data.notes))

    def _cut(self, opened: Opened, limit: int | None) -> dict[str, Dataset]:
        """All three splits, those that are missing cut out of train.

        Their classes are those of train, unless the set decides on them.
        """
        columns, available = replace(self.columns, bounds=Bounds()), opened.splits
        if available and "train" not in available:
            raise DataError(f"there is no train split: the splits are {listed(available)}")
        shares = _shares(available)
        enough = None if limit is None else math.ceil(limit / shares[0])
        train = self._built(opened, "train" if available else None, columns, enough)
        cut = shares[0] < 1
        splits = split_dataset(train, shares, self.reading.seed) if cut else {"train": train}
        decided = self.entry is not None and bool(self.entry.classes)
        if not decided and train.classes and columns.scheme.classes is None:
            columns = replace(columns, scheme=Scheme(train.classes, by_position=False))
        for split in SPLITS[1:]:
            if split in available:
                try:
                    splits[split] = self._built(opened, split, columns, limit)
                except DataError as error:
                    hint = f" (the classes are those of train; this is the split {split!r})"
                    raise DataError(f"{error}{hint}") from error
        return splits


def open_texts(place: Place, reading: Reading) -> Texts:
    """A source of texts.

    Raises:
        DataError: It cannot be read.
        SettingsError: An option that is out of range or means nothing here.
    """
    columns = text_columns(reading, place)
    entry = named_set(place, reading)
    if entry is not None:
        opened = None if entry.make else open_named(entry, reading.data_dir)
        return Texts(opened, entry, reading, columns)
    if reading.data_dir is not None:
        raise SettingsError(
            f"data_dir= (--data-dir) goes with a named set: one of {listed(list(NAMED_SETS))}"
        )
    return Texts(open_place(place, NAMED_SETS), None, reading, columns)


def _shares(available: Sequence[str]) -> tuple[float, float, float]:
    """The shares of train that stay train, and become dev and test where these are missing."""
    if "dev" not in available and "test" in available:
        return 1 - DEV_FRACTION, DEV_FRACTION, 0.0
    dev = 0.0 if "dev" in available else FRACTIONS[1]
    test = 0.0 if "test" in available else FRACTIONS[2]
    return 1 - dev - test, dev, test


def _with_overlap(data: Dataset, train: Dataset, name: str | None) -> Dataset:
    """A note on texts that are in train too, and the name that was asked for."""
    known = {content(record) for record in train} if data.split != "train" else set()
    shared = sum(content(record) in known for record in data)
    word = "pairs" if data.has_questions else "texts"
    note = (f"{shared} of {len(data)} {word} are in train too",) if shared else ()
    return replace(data, name=name or data.name, notes=(*data.notes, *note))
