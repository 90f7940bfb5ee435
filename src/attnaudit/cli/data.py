"""Data options of the commands to data sets."""

from __future__ import annotations

from pathlib import Path

from attnaudit.data.named import NAMED_SETS, load_named
from attnaudit.data.records import Dataset
from attnaudit.data.sources import load_data


def one_set(
    source: str,
    *,
    split: str | None,
    text_column: str,
    label_column: str | None,
    truth_column: str | None,
    id_column: str | None,
    limit: int | None,
    seed: int,
    tokenizer: str,
    data_dir: str | None,
    drop_unlabelled: bool,
    classes: tuple[str, ...] | None = None,
) -> Dataset:
    """One set of records; a named set gives its test split where none is named."""
    if source in NAMED_SETS:
        return load_named(
            source,
            data_dir=Path(data_dir) if data_dir else None,
            split=split or "test",
            limit=limit,
        )
    return load_data(
        source,
        text_column=text_column,
        label_column=_or_none(label_column),
        truth_column=truth_column,
        id_column=id_column,
        split=split,
        limit=limit,
        seed=seed,
        tokenizer=tokenizer,
        drop_unlabelled=drop_unlabelled,
        classes=classes,
    )


def _or_none(column: str | None) -> str | None:
    return None if column in (None, "none", "") else column
