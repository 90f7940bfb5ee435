"""Bags from an opened source: one data set, or train, dev and test with the classes of train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attnaudit.data.bags.build import build_bags
from attnaudit.data.bags.generated import generate_bag_splits, generate_bags
from attnaudit.data.bags.modalities import MODALITIES
from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.rows import bag_rows
from attnaudit.data.bags.rules import RULES
from attnaudit.data.bags.sets import BAG_SETS, bag_set_table
from attnaudit.data.bags.splits import split_bags
from attnaudit.data.drawing import draw
from attnaudit.data.reading import Reading
from attnaudit.data.sources.files import BAG_SUFFIXES, path_exists
from attnaudit.data.sources.folders import data_files, split_name
from attnaudit.data.sources.frames import Table, listed
from attnaudit.data.sources.opening import Opened, Place, open_place
from attnaudit.data.splits import SPLITS
from attnaudit.errors import DataError, SettingsError

DEV_SHARE = 0.15
"""Of the training bags, where there are no bags for development."""
GENERATED = tuple(f"{rule}-{modality}" for rule in RULES for modality in MODALITIES)
"""The names of generated data: what makes a bag positive, and what its instances are."""
SIZES = {"train": 200, "dev": 100, "test": 500}
"""Bags of a generated split."""
_CLAM = (".h5", ".hdf5", ".pt")
_RECIPE = (
    "this is not read. CLAM keeps the bag of one slide per file: gather them into one .npz with "
    "numpy.savez(path, instances=, coordinates=, bag=, label=), where instances and coordinates "
    "are the arrays `features` and `coords` of all files one below the other (numpy.concatenate), "
    "bag is the name of the slide once per instance, and label its label once per instance. Bags "
    f"are read from {', '.join(BAG_SUFFIXES)}"
)


@dataclass(frozen=True)
class MadeBags:
    """Bags that are generated.

    Attributes:
        rule: What makes a bag positive.
        modality: What its instances are.
        reading: How many there are, and by which seed.
    """

    rule: str
    modality: str
    reading: Reading

    def data(self, split: str | None) -> BagDataset:
        """One split, the test split by default."""
        part = split_name(split or "test")
        if part not in SPLITS:
            raise SettingsError(f"split is {split!r}; generated bags have {', '.join(SPLITS)}")
        options = {"n_bags": SIZES[part], "seed": self.reading.seed, **self._options}
        data = generate_bags(self.rule, self.modality, split=part, **options)
        return draw(data, self.reading.limit, self.reading.seed)

    def splits(self) -> dict[str, BagDataset]:
        """Train, dev and test; the limit is the size of each."""
        limit = self.reading.limit
        sizes = {f"n_{name}": min(limit or size, size) for name, size in SIZES.items()}
        options = {**sizes, "seed": self.reading.seed, **self._options}
        return generate_bag_splits(self.rule, self.modality, **options)

    @property
    def _options(self) -> dict[str, Any]:
        folder = self.reading.data_dir
        return dict(self.reading.generator) | ({} if folder is None else {"folder": folder})


@dataclass(frozen=True)
class Bags:
    """Bags of a source that is opened.

    Attributes:
        opened: What reads its splits.
        reading: How it is read.
    """

    opened: Opened
    reading: Reading

    def data(self, split: str | None) -> BagDataset:
        """One split; without its name the test split, where there is one, or all rows."""
        table = self.opened.table
        if split is None and table is not None and self.opened.splits:
            split = "test"
        return draw(self._built(split), self.reading.limit, self.reading.seed)

    def splits(self) -> dict[str, BagDataset]:
        """Train, dev and test, with the classes of train in each.

        Without splits the bags are cut 80 : 10 : 10; where dev or test is missing, 15 % of train
        becomes it.
        """
        available, seed = self.opened.splits, self.reading.seed
        if not available:
            parts = split_bags(self._built(None), seed=seed)
        elif "train" not in available:
            raise DataError(f"there is no train split: the splits are {listed(available)}")
        else:
            if self.opened.table is not None:
                _check_undivided(self.opened.table, self.reading.column("bag", "bag") or "bag")
            train = self._built("train")
            # so that a split may lack a class
            classes = self.reading.classes or train.classes or None
            others = {name: self._built(name, classes) for name in SPLITS[1:] if name in available}
            parts = {"train": train, **others}
        train = parts["train"]
        parts = {
            name: _with_overlap(part.in_order_of(train.features), train)
            for name, part in parts.items()
        }
        shares = {"dev": (1 - DEV_SHARE, DEV_SHARE, 0), "test": (1 - DEV_SHARE, 0, DEV_SHARE)}
        for name in SPLITS[1:]:
            if name not in parts:
                parts |= split_bags(parts["train"], shares[name], seed)
        return {name: draw(parts[name], self.reading.limit, seed) for name in SPLITS}

    def _built(self, split: str | None, classes: Sequence[str] | None = None) -> BagDataset:
        read, reading = self.opened.read(split), self.reading
        classes = reading.classes if classes is None else classes
        stored = read.table.arrays.classes if read.table.arrays else None
        if classes is None and not reading.regression:
            classes = stored
        name = reading.name or self.opened.name
        rows = bag_rows(read.table, reading)
        data = build_bags(rows, name, read.split, classes, reading.regression)
        return replace(data, notes=(*read.notes, *data.notes))


def open_bags(place: Place, reading: Reading) -> Bags | MadeBags:
    """A source of bags: generated, a classic set, or one row per instance.

    Raises:
        DataError: It cannot be read.
        SettingsError: An option that means nothing here.
    """
    if isinstance(place, str) and place in GENERATED and not Path(place).is_dir():
        rule, modality = place.rsplit("-", 1)
        return _made(rule, modality, reading)
    if reading.generator:
        raise SettingsError("generator= is about bags that are generated; leave it out")
    if isinstance(place, str) and place in BAG_SETS:
        entry, folder = BAG_SETS[place], reading.data_dir
        if folder is None:
            raise SettingsError(
                f"the set {place!r} needs data_dir= (--data-dir): the folder with a copy of one's "
                "own"
            )
        if reading.given.keys() & reading.columns.keys() or reading.regression:
            raise SettingsError(
                f"the set {place!r} says itself what is in it: leave out the names of columns, and "
                "regression="
            )
        return Bags(Opened(place, place, table=bag_set_table(entry, folder)), reading)
    if reading.data_dir is not None:
        raise SettingsError(
            f"data_dir= (--data-dir) goes with a classic set: one of {listed(list(BAG_SETS))}"
        )
    if isinstance(place, str | Path) and path_exists(place):
        path = Path(place)
        files = path.iterdir() if path.is_dir() else (path,)
        of_clam = any(file.suffix.lower() in _CLAM for file in files)
        if of_clam and not data_files(path, BAG_SUFFIXES):
            raise DataError(f"{place}: {_RECIPE}")
    return Bags(open_place(place, (*BAG_SETS, *GENERATED), BAG_SUFFIXES), reading)


def _made(rule: str, modality: str, reading: Reading) -> MadeBags:
    named = [words for name, words in reading.given.items() if name in reading.columns]
    if named:
        raise SettingsError(f"generated bags are not read: leave out {named[0]}")
    if reading.data_dir is not None and modality != "mnist":
        raise SettingsError(f"{modality} is generated: leave out data_dir= (--data-dir)")
    return MadeBags(rule, modality, reading)


def _check_undivided(table: Table, bag_column: str) -> None:
    """Refuse splits of other names, and a bag with rows of two splits."""
    found = [split_name(str(value)) for value in table.column("split", "split")]
    strange = sorted(set(found) - set(SPLITS))
    if strange:
        raise DataError(
            f"{table.name}: the column 'split' holds {strange[0]!r}; it may hold train, dev and "
            "test. Rename it, or leave such rows out"
        )
    first: dict[object, str] = {}
    for row, bag in enumerate(table.column(bag_column, "bag")):
        if first.setdefault(bag, found[row]) != found[row]:
            raise DataError(
                f"{table.place(row)}: bag {bag!r} has rows of the splits {first[bag]} and "
                f"{found[row]}; a bag is never divided, or training would see what it is tested on"
            )


def _with_overlap(part: BagDataset, train: BagDataset) -> BagDataset:
    """The split with a note where bags of train occur in it."""
    if part.split == "train":
        return part
    seen = {bag.instances.numpy().tobytes() for bag in train}
    both = sum(bag.instances.numpy().tobytes() in seen for bag in part)
    if not both:
        return part
    return part.noted(f"{part.split}: {both} of {len(part)} bags are in train too")
