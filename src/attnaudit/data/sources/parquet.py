"""How much a Parquet file unpacks to, from its footer, before anything of it is unpacked.

Repetition makes a Parquet file small: a billion equal values, or one long text in a million rows,
take a few kilobytes. The footer says how many values each column holds. It is written in the
compact protocol of Apache Thrift, of which this reads what the footer has.
"""

from __future__ import annotations

from typing import Any

import polars as pl

_MAGIC = b"PAR1"
_TEXT, _FIXED = 6, 7
"""Physical types: byte arrays, and those of one length."""
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8, _TEXT: 16, _FIXED: 16}
"""Bytes that a value of each physical type takes at least, once read."""
_DEEPEST = 32
# Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData in parquet.thrift.
_GROUPS, _COLUMNS, _META, _TYPE, _VALUES, _UNPACKED = 4, 1, 3, 1, 5, 6


def unpacked_size(raw: bytes) -> int:
    """Bytes that the columns of a Parquet file take at least, once they are read.

    Raises:
        ValueError: The footer cannot be read.
    """
    if len(raw) < 12 or not raw.startswith(_MAGIC) or not raw.endswith(_MAGIC):
        raise ValueError("it does not begin and end as a Parquet file")
    length = int.from_bytes(raw[-8:-4], "little")
    if length > len(raw) - 12:
        raise ValueError("its footer is cut short")
    try:
        footer = _Compact(raw[-8 - length : -8]).struct(0)
        chunks = [column[_META] for group in footer[_GROUPS] for column in group[_COLUMNS]]
        return sum(
            max(int(chunk[_UNPACKED]), int(chunk[_VALUES]) * _WIDTHS[chunk[_TYPE]])
            for chunk in chunks
        )
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("its footer is damaged") from error


def text_size(series: pl.Series) -> int:
    """Bytes of the texts of a column, each counted as often as it occurs, in lists too."""
    while isinstance(series.dtype, pl.List | pl.Array):
        series = series.explode()
    if series.dtype != pl.String:
        return 0
    return int(series.str.len_bytes().sum() or 0)


class _Compact:
    """A reader of structs in Thrift's compact protocol: field numbers to values."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("its footer is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else _signed(self._varint())
            fields[number] = self._value(head & 15, depth, in_list=False)
        return fields

    def _value(self, kind: int, depth: int, in_list: bool) -> Any:
        if kind in (1, 2):
            return self._byte() == 1 if in_list else kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return _signed(self._varint())
        if kind in (7, 8):
            return self._take(8 if kind == 7 else self._varint())
        if kind in (9, 10):
            head = self._byte()
            size = self._varint() if head >> 4 == 15 else head >> 4
            if size > len(self.raw) - self.at:
                raise ValueError("its footer is damaged")
            return [self._value(head & 15, depth + 1, in_list=True) for _ in range(size)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("its footer is damaged")

    def _byte(self) -> int:
        self.at += 1
        return self.raw[self.at - 1]

    def _take(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self.raw):
            raise ValueError("its footer is cut short")
        return self.raw[self.at - size : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("its footer is damaged")


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
