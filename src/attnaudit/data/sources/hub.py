"""Data sets of the Hugging Face hub, through the optional package `datasets`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from attnaudit.data.sources.folders import SplitReader, split_name
from attnaudit.data.sources.frames import Table
from attnaudit.errors import DataError, MissingExtra, first_line
from attnaudit.hub import cached_if_unreachable

Found = TypeVar("Found")

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")


def is_hub_name(source: str) -> bool:
    """Whether a string can be a name on the hub: `owner/name`, or `owner/name:configuration`.

    Example:
        >>> is_hub_name("stanfordnlp/imdb"), is_hub_name("nyu-mll/glue:sst2"), is_hub_name("a.csv")
        (True, True, False)
    """
    return _HUB_NAME.fullmatch(source) is not None


def hub_splits(source: str) -> dict[str, SplitReader]:
    """What reads each split of a set on the hub; no code of the set is run.

    Raises:
        DataError: The hub cannot be reached, or has no such set; reading raises it too.
        MissingExtra: The package `datasets` is absent.
    """
    path, _, configuration = source.partition(":")
    datasets = _library()

    def asked(method: Callable[..., Found], **options: str) -> Found:
        try:
            with cached_if_unreachable(datasets.config):
                return method(path, configuration or None, **options)
        except Exception as error:
            raise _failed(source, error) from error

    def reader(name: str) -> SplitReader:
        return lambda limit, seed: from_hub(
            asked(datasets.load_dataset, split=name), f"{source} ({name})"
        )

    return {split_name(name): reader(name) for name in asked(datasets.get_dataset_split_names)}


def from_hub(data: Any, name: str) -> Table:
    """A `datasets.Dataset` as a table; rows count from 1.

    Raises:
        DataError: It has no rows, is streamed, or is a dictionary of splits.
    """
    if isinstance(data, dict):
        raise DataError(f"{name} is a dictionary of splits {sorted(data)}: give one of them")
    if not hasattr(data, "__len__"):
        raise DataError(
            f"{name} is streamed ({type(data).__name__}), so that its size is not known: give its "
            "first rows as a list, such as list(data.take(1000)), or load it without streaming=True"
        )
    if not len(data):
        raise DataError(f"{name} is empty: there are no rows")
    class_names = {
        column: tuple(feature.names)
        for column, feature in data.features.items()
        if hasattr(feature, "names")
    }
    return Table(
        name=name,
        columns=tuple(data.column_names),
        size=len(data),
        values=lambda column: list(data[column]),
        numbers=range(1, len(data) + 1),
        class_names=class_names,
    )


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "hub", "Loading from the Hugging Face hub") from error
    return datasets


def _failed(source: str, error: Exception) -> DataError:
    # The library raises many kinds of errors here: network, missing set, damaged cache.
    reason = first_line(error)
    return DataError(
        f"the data set {source!r} could not be loaded from the hub: {type(error).__name__}: "
        f"{reason}. There is no file or folder of that name either. Offline, give a local file "
        "or folder instead"
    )
