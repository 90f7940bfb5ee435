"""One way to data: a source is resolved once, and then read as texts, bags or pairs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, overload

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.kinds import Records
from attnaudit.data.pairs.scored_pairs import ScoredPairs, open_pairs
from attnaudit.data.reading import ROLES, Reading
from attnaudit.data.records import Dataset
from attnaudit.data.sources.files import path_exists
from attnaudit.data.sources.opening import Place
from attnaudit.data.splits import split_dataset
from attnaudit.data.texts.loading import open_texts
from attnaudit.errors import DataError, SettingsError

Data = TypeVar("Data")


class Readable(Protocol[Data]):
    """A source that is opened: its splits are known, and read when they are asked for."""

    def data(self, split: str | None) -> Data:
        """One split."""

    def splits(self) -> dict[str, Data]:
        """Train, dev and test."""


@dataclass(frozen=True)
class Source(Generic[Data]):
    """Where data are and how they are read: all that another process needs to read the same.

    Attributes:
        place: A file, a folder, a name, a frame, a list, or a data set.
        kind: `texts`, `bags` or `pairs`.
        reading: How it is read.
    """

    place: Place
    kind: Records
    reading: Reading = field(default_factory=Reading)

    def data(self, split: str | None = None) -> Data:
        """One split; by default the one that `reading` names.

        Raises:
            DataError: The source cannot be used; the message names the file, row and column.
            MissingExtra: A set of the hub without the package `datasets`.
            SettingsError: An option that is out of range or means nothing here.
        """
        return self._opened.data(split or self.reading.split)

    def splits(self) -> dict[str, Data]:
        """Train, dev and test, with the classes of train in each; what is missing is cut.

        Raises:
            DataError: As `data`; there is no train split, or too few records to cut it.
            MissingExtra: As `data`.
            SettingsError: As `data`.
        """
        if self.reading.split is not None:
            raise SettingsError("all splits are taken here: leave out split= (--split)")
        return self._opened.splits()

    @functools.cached_property
    def _opened(self) -> Readable[Data]:
        if isinstance(self.place, Dataset | BagDataset):
            return cast(Readable[Data], _InMemory(self.place, self.reading))
        if self.kind == "bags":
            # scipy and scikit-learn, by which bags are made and cut, take a second to import
            from attnaudit.data.bags.loading import open_bags

            return cast(Readable[Data], open_bags(self.place, self.reading))
        opened = open_texts if self.kind == "texts" else open_pairs
        return cast(Readable[Data], opened(self.place, self.reading))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of the options and of the content: of files, of what is in memory, of a name.

        Files are told by their content and not by their place.
        """
        digest = hashlib.sha256(self.kind.encode())
        for each in fields(self.reading):
            if each.name != "data_dir":
                digest.update(repr((each.name, getattr(self.reading, each.name))).encode())
        folder = self.reading.data_dir
        if not isinstance(self.place, str | Path):
            known = isinstance(self.place, Dataset | BagDataset)
            whole = self.place if known else self.data("all")
            digest.update(str(getattr(whole, "fingerprint", whole)).encode())
        elif folder is None and path_exists(self.place):
            digest.update(files_digest(Path(self.place)))
        else:
            digest.update(str(self.place).encode())
            digest.update(b"" if folder is None else files_digest(Path(folder)))
        return digest.hexdigest()

    def __reduce__(self) -> tuple[type[Source[Data]], tuple[Place, Records, Reading]]:
        return type(self), (self.place, self.kind, self.reading)


@overload
def resolve(place: Place, kind: Literal["texts"] = "texts", **options: Any) -> Source[Dataset]: ...
@overload
def resolve(place: Place, kind: Literal["bags"], **options: Any) -> Source[BagDataset]: ...
@overload
def resolve(place: Place, kind: Literal["pairs"], **options: Any) -> Source[ScoredPairs]: ...
@overload
def resolve(place: Place, kind: Records, **options: Any) -> Source[Any]: ...
def resolve(place: Place, kind: Records = "texts", **options: Any) -> Source[Any]:
    """Where data are and how they are read, checked; nothing is read before it is asked for.

    Args:
        place: A file (.csv, .tsv, .jsonl, .ndjson, .json, .parquet; text formats also with .gz; for
            bags also .npz), a folder with one file a split, a polars or pandas frame, a
            `datasets.Dataset`, a list of dictionaries, a named set (`reviews`, see `NAMED_SETS`;
            `musk1`, `presence-digits`, `stsb`), a set on the hub (`owner/name`,
            `owner/name:configuration`), or a data set. Bags are also read from an object with `X`
            and `obs`, such as AnnData, and pairs from a list of `(a, b, score)`.
        kind: What the records are.
        **options: Those of `Reading`: `columns`, `split`, `limit`, `seed`, …

    Raises:
        SettingsError: An option that is out of range, or means nothing for this kind.

    Example:
        >>> rows = [{"words": "good film", "label": "pos"}, {"words": "bad film", "label": "neg"}]
        >>> resolve(rows, columns={"text": "words"}).data().class_counts
        {'neg': 1, 'pos': 1}
        >>> {name: len(data) for name, data in resolve("reviews", limit=100).splits().items()}
        {'train': 100, 'dev': 100, 'test': 100}
    """
    if kind not in ROLES:
        raise SettingsError(f"unknown kind of data {kind!r}: choose one of {', '.join(ROLES)}")
    reading = Reading(**options)
    reading.check(kind)
    if isinstance(place, Dataset | BagDataset):
        kind = "texts" if isinstance(place, Dataset) else "bags"
        given = [words for name, words in reading.given.items() if name != "seed"]
        if given:
            raise SettingsError(
                f"{given[0]} says how data are read, and a data set is read already; leave it out"
            )
    return Source(place, kind, reading)


def load_data(place: Place, **options: Any) -> Dataset:
    """Texts with labels, from wherever they are: `resolve(place, **options).data()`.

    Example:
        >>> rows = [{"text": "good film", "label": "pos"}, {"text": "bad film", "label": "neg"}]
        >>> data = load_data(rows)
        >>> data.classes, [record.label for record in data]
        (('neg', 'pos'), [1, 0])
    """
    return resolve(place, "texts", **options).data()


def files_digest(place: Path) -> bytes:
    """A SHA-256 of a file, or of all files of a folder by name and content."""
    digest = hashlib.sha256()
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if path.is_file():
            digest.update(path.name.encode() if place.is_dir() else b"")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.digest()


@dataclass(frozen=True)
class _InMemory:
    """A data set that is read already."""

    whole: Dataset | BagDataset
    reading: Reading

    def data(self, split: str | None) -> Dataset | BagDataset:
        if split not in (None, self.whole.split):
            raise DataError(f"{self.whole.name} is the split {self.whole.split!r}, not {split!r}")
        return self.whole

    def splits(self) -> Mapping[str, Dataset | BagDataset]:
        if isinstance(self.whole, Dataset):
            return split_dataset(self.whole, seed=self.reading.seed)
        from attnaudit.data.bags.splits import split_bags

        return split_bags(self.whole, seed=self.reading.seed)
