"""Readers: a file on disk becomes a table, or an error that names the place."""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from attnaudit.data.faults import also, checked
from attnaudit.data.sources.frames import Table, from_polars, from_rows, listed
from attnaudit.data.sources.npz import npz_table
from attnaudit.data.sources.parquet import text_size, unpacked_size
from attnaudit.data.sources.unpacking import gunzip, most_bytes, read_whole, too_large
from attnaudit.errors import DataError, first_line
from attnaudit.files import parse_json

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
BAG_SUFFIXES = (".npz", *SUFFIXES)
"""Bags are also read from arrays."""
_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def path_exists(source: str | Path) -> bool:
    """Whether there is a file or folder; False for strings that can be no path.

    Example:
        >>> path_exists(""), path_exists("a text given by mistake " * 99)
        (False, False)
    """
    try:
        return str(source) != "" and Path(source).exists()
    except (OSError, ValueError):
        return False


def data_suffix(path: Path, known: Sequence[str] = SUFFIXES) -> str | None:
    """The suffix that says how to read a file, without `.gz`; None where there is no reader.

    Example:
        >>> data_suffix(Path("train.jsonl.gz")), data_suffix(Path("notes.txt"))
        ('.jsonl', None)
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in known else None


def data_stem(path: Path) -> str:
    """A file's name without what `data_suffix` reads.

    Example:
        >>> data_stem(Path("data/train.jsonl.gz"))
        'train'
    """
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    suffix = data_suffix(path, BAG_SUFFIXES)
    return name.removesuffix(name[-len(suffix) :]) if suffix else name


def read_file(path: Path, known: Sequence[str] = SUFFIXES) -> Table:
    """A data file as a table.

    Args:
        path: A file with one of these suffixes, text formats also with `.gz`. Text is UTF-8, with
            or without a byte order mark.
        known: `SUFFIXES` or `BAG_SUFFIXES`.

    Raises:
        DataError: The file cannot be read, is not what its suffix says, or unpacks to more than
            `attnaudit.data.sources.unpacking` allows.
    """
    suffix = data_suffix(path, known)
    if suffix is None:
        raise DataError(
            f"{path} has no suffix that can be read: use one of {', '.join(known)} "
            "(text formats also with .gz)"
        )
    if suffix == ".npz":
        return npz_table(path)
    raw = read_whole(path)
    if suffix == ".parquet":
        return _read_parquet(raw, str(path))
    return _TEXT_READERS[suffix](decode(_unpack(raw, path), str(path)), str(path))


def read_text(path: Path) -> str:
    """A text file, also with `.gz`.

    Raises:
        DataError: It cannot be read, or is no UTF-8.
    """
    return decode(_unpack(read_whole(path), path), str(path))


def decode(raw: bytes, name: str) -> str:
    """Bytes as UTF-8 text, without a byte order mark.

    Raises:
        DataError: They are something else; the message names the line and the byte.
    """
    if raw.startswith(_UTF16):
        raise DataError(f"{name} is encoded as UTF-16: save it as UTF-8")
    zero = raw.find(b"\0")
    if zero >= 0:
        raise DataError(f"{name} is binary, not text: byte {zero} is zero")
    body = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}: byte 0x{body[error.start]:02x} at position "
            f"{error.start + len(raw) - len(body)} is not valid UTF-8. Save the file as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{name} is empty: it holds nothing but blanks")
    return text


def _unpack(raw: bytes, path: Path) -> bytes:
    """Gzip undone, where there is any."""
    if not raw.startswith(_GZIP):
        if path.suffix.lower() == ".gz":
            raise DataError(f"{path} is no gzip file, although its name ends in .gz")
        return raw
    return gunzip(raw, path)


def _read_parquet(raw: bytes, name: str) -> Table:
    try:
        if unpacked_size(raw) > most_bytes(len(raw)):
            raise too_large(name, len(raw))
        frame = pl.read_parquet(io.BytesIO(raw))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = first_line(error)
        raise DataError(
            f"{name} is no readable Parquet file ({reason}): it may be cut short, fetch it again"
        ) from error
    # One text in many rows is one in the frame, and many once rows are made of it.
    if sum(text_size(column) for column in frame) > most_bytes(len(raw)):
        raise too_large(name, len(raw))
    return from_polars(frame, name)


def _read_json_lines(text: str, name: str) -> Table:
    # Only "\n" ends a line: a text may hold other separators, such as U+2028.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]

    def place(line: tuple[int, str]) -> str:
        return f"{name}, line {line[0]}"

    rows = checked(lines, lambda line: _parse(line[1], place(line)), place)
    return from_rows(rows, name, [number for number, _ in lines], "line")


def _read_json(text: str, name: str) -> Table:
    if text.lstrip().startswith("["):
        return from_rows(_parse(text, name), name)
    return _read_json_lines(text, name)


def _parse(text: str, place: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        # a line of JSON lines is line 1 of what was parsed
        reason = str(error).replace(", line 1, column", ", column")
        raise DataError(
            f"{place}: {reason}. Expected one object per line, or a list of objects"
        ) from error


def _read_csv(text: str, name: str) -> Table:
    header = text.split("\n", 1)[0]
    # Spreadsheets of many countries write ";" because the comma is their decimal mark.
    others = [sign for sign in ";\t" if sign in header and "," not in header]
    table = _table(_csv_rows(text, others[0] if others else ",", name), name)
    if others:
        note = f"{name}: columns are separated by {others[0]!r}"
        return Table(**{**vars(table), "notes": (*table.notes, note)})
    return table


def _read_tsv(text: str, name: str) -> Table:
    if '"' not in text:
        return _table(_csv_rows(text, "\t", name), name)
    # Quotation marks in a .tsv are either quoting or part of the text; see which gives a table.
    plain = [line.split("\t") for line in text.replace("\r\n", "\n").split("\n")]
    plain = [[] if row == [""] else row for row in plain]
    even = len({len(row) for row in plain if row}) == 1
    try:
        quoted = _csv_rows(text, "\t", name)
    except DataError:
        quoted = []
    if even and sum(map(bool, quoted)) < sum(map(bool, plain)):
        return _table(plain, name)
    return _table(quoted or _csv_rows(text, "\t", name), name)


_TEXT_READERS: dict[str, Callable[[str, str], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
}


def _csv_rows(text: str, delimiter: str, name: str) -> list[list[str]]:
    rows: list[list[str]] = []
    blank: list[str] = []  # one for all, so that blank rows take no memory of their own
    try:
        with long_fields():
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
                rows.append(row or blank)  # noqa: PERF401 - the count is needed where one fails
    except csv.Error as error:
        raise DataError(
            f"{name}, row {len(rows) + 1}: {error}. Texts that hold quotation marks must be "
            'quoted, with each mark inside doubled ("")'
        ) from error
    return rows


def _table(rows: list[list[str]], name: str) -> Table:
    """Rows of fields, the header first; an empty field is a missing value."""
    header, *body = rows
    columns = tuple(header)
    if len(set(columns)) < len(columns):
        raise DataError(f"{name} has two columns of one name in its header: {listed(columns)}")
    # The header is row 1, as a spreadsheet counts; blank rows count and are left out.
    kept = [(number, row) for number, row in enumerate(body, start=2) if row]
    if not kept:
        raise DataError(f"{name} has a header ({listed(columns)}) and no rows")
    ragged = [(number, len(row)) for number, row in kept if len(row) != len(columns)]
    if ragged:
        number, found = ragged[0]
        raise DataError(
            f"{name}, row {number}: {found} fields, but the header has {len(columns)}. "
            "Texts that hold the separator must be quoted"
            + also(ragged, lambda row: f"{name}, row {row[0]}")
        )

    def values(column: str) -> list[Any]:
        index = columns.index(column)
        return [row[index] or None for _, row in kept]

    return Table(name, columns, len(kept), values, [number for number, _ in kept])


@contextmanager
def long_fields() -> Iterator[None]:
    """Lets the csv module read texts of any length."""
    before = csv.field_size_limit()
    # A C long; on Windows that has 32 bits.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
