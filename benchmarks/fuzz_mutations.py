"""What is done to inputs: to bytes, to lines and fields, to JSON values, to rows in memory."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

Change = Callable[[random.Random, bytes], bytes]
ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\ufeff",
    "\ud800",
    "NaN",
    "Infinity",
    "1e400",
    "-0",
    "9" * 5000,
    "x" * 70_000,
    "a1.b-" * 3000,
    "\u0301" * 500,
    "[" * 3000,
    "[1, 2]",
    "=1+1",
    "../../x",
)
ODD_VALUES: tuple[Any, ...] = (
    *ODD_TEXTS,
    None,
    True,
    False,
    -1,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    2**63,
    2**64,
    10**400,
    -(2**63),
    [],
    {},
    [[]],
    [None],
    ["a", 1],
    [1, 2],
    {"a": 1},
    [["x"] * 3],
)
ODD_OBJECTS: tuple[Any, ...] = (
    np.int64(1),
    np.float32(0.5),
    np.array([1, 2]),
    np.array(["a"]),
    b"bytes",
    object(),
    1j,
    {1, 2},
    (1, 2),
    pd.Timestamp("2020-01-01"),
    pd.NA,
    pl.Series([1, 2]),
    Path("x"),
)
JSON_TEXTS = (
    "9" * 5000,
    "-" + "9" * 4301,
    "1e999999",
    "[" * 100_000,
    '{"a":' * 50_000,
    '"\\ud800"',
    "NaN",
    "-Infinity",
    "0x10",
    "'a'",
    "nul",
    "1.",
    "01",
    '"\t"',
    "{}",
    "[]",
    '{"a": 1, "a": 2}',
)


def flipped(rng: random.Random, raw: bytes) -> bytes:
    """A few bits turned."""
    found = bytearray(raw)
    for _ in range(rng.choice((1, 1, 3, 20))):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut_short(rng: random.Random, raw: bytes) -> bytes:
    """The beginning alone, or the end."""
    place = rng.randrange(len(raw))
    return raw[:place] if rng.random() < 0.8 else raw[place:]


def inserted(rng: random.Random, raw: bytes) -> bytes:
    """Bytes put in that mean something somewhere."""
    pieces = (
        b'"',
        b"'",
        b"\0",
        b"\n",
        b"\r",
        b",",
        b"\t",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\x1f\x8b",
        b"PK\x03\x04",
        b"\\",
        b"{",
        b"[",
        b"]" * 9,
        b'""',
        b"\xc2\xa0",
        b"9" * 400,
        struct.pack("<q", -1),
        struct.pack("<Q", 2**62),
        b"\x80\x04.",
    )
    place = rng.randint(0, len(raw))
    return raw[:place] + rng.choice(pieces) + raw[place:]


def repeated(rng: random.Random, raw: bytes) -> bytes:
    """A stretch twice, or gone, or moved to the end."""
    start, stop = sorted((rng.randint(0, len(raw)), rng.randint(0, len(raw))))
    piece = raw[start:stop]
    return rng.choice(
        (
            raw[:stop] + piece + raw[stop:],
            raw[:start] + raw[stop:],
            raw[:start] + raw[stop:] + piece,
            raw[:start] + piece * 50 + raw[stop:],
        )
    )


def lines_changed(rng: random.Random, raw: bytes) -> bytes:
    """Lines swapped, doubled, left out, or the header twice."""
    lines = raw.split(b"\n")
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    if rng.random() < 0.5:
        lines.insert(rng.randint(0, len(lines)), rng.choice((lines[0], b"", b",", b'"')))
    if rng.random() < 0.3:
        del lines[rng.randrange(len(lines))]
    return rng.choice((b"\n", b"\n", b"\r\n", b"\r")).join(lines)


def field_changed(rng: random.Random, raw: bytes) -> bytes:
    """A field of a separated table replaced by something odd, in the header too."""
    lines = raw.split(b"\n")
    place = rng.randrange(len(lines))
    mark = b"\t" if b"\t" in lines[0] else b","
    fields = lines[place].split(mark)
    odd = rng.choice((*ODD_TEXTS, "text", "label", "split", "bag")).encode("utf-8", "surrogatepass")
    fields[rng.randrange(len(fields))] = odd
    lines[place] = mark.join(fields)
    return b"\n".join(lines)


def recoded(rng: random.Random, raw: bytes) -> bytes:
    """Another encoding than UTF-8."""
    text = raw.decode("utf-8", "replace")
    name = rng.choice(("utf-16", "utf-32", "latin-1", "cp1252", "utf-7", "utf-16-be"))
    return text.encode(name, "replace")


def json_changed(rng: random.Random, raw: bytes) -> bytes:
    """A value of a JSON text replaced, renamed, nested, or written as no number can be."""
    text = raw.decode("utf-8", "replace")
    whole = rng.random() < 0.5 or "\n" not in text.strip()
    lines = [text] if whole else text.split("\n")
    place = rng.randrange(len(lines))
    try:
        value = json.loads(lines[place].lstrip("\ufeff"))
    except ValueError:
        return inserted(rng, raw)
    lines[place] = json.dumps(_odd(rng, value), ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.3:
        lines[place] = lines[place].replace('"@"', rng.choice(JSON_TEXTS))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _odd(rng: random.Random, value: Any) -> Any:
    """A value with one place of it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        found = dict(value)
        action = rng.random()
        if action < 0.15:
            del found[key]
        elif action < 0.3:
            found[rng.choice((*ODD_TEXTS[:10], "format", "text"))] = found.pop(key)
        else:
            found[key] = _odd(rng, value[key])
        return found
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        found = list(value)
        found[place] = _odd(rng, value[place])
        return found * 2 if rng.random() < 0.1 else found
    # "@" is replaced by a text that is not JSON
    return "@" if rng.random() < 0.3 else rng.choice(ODD_VALUES)


def inside_gzip(rng: random.Random, raw: bytes) -> bytes:
    """What is packed is changed and packed again; or much is packed into little."""
    if rng.random() < 0.02:
        return gzip.compress(b"text,label\n" + b"a" * (64 << 20), 1, mtime=0)
    try:
        content = gzip.decompress(raw)
    except (OSError, EOFError):
        return flipped(rng, raw)
    return gzip.compress(rng.choice(TEXT_CHANGES)(rng, content), mtime=0)


def inside_npz(rng: random.Random, raw: bytes) -> bytes:
    """An array replaced, renamed or left out; or its header changed."""
    with np.load(io.BytesIO(raw)) as file:
        arrays = {name: file[name] for name in file.files}
    name = rng.choice(list(arrays))
    size = len(arrays["bag"])
    action = rng.random()
    if action < 0.15:
        del arrays[name]
    elif action < 0.3:
        arrays[rng.choice(("truth", "name", "coordinates", "classes", "x"))] = arrays.pop(name)
    else:
        arrays[name] = rng.choice(
            (
                np.array(1),
                np.zeros((size, 0)),
                np.zeros(0),
                np.full(size, np.nan),
                np.full((size, 2), np.inf),
                np.zeros((size, 2), complex),
                np.full(size, 2**63, "u8"),
                np.zeros((size, 2, 2)),
                np.array(["x"] * size),
                np.array([b"x"] * size),
                np.zeros(size, "M8[s]"),
                np.zeros(size, [("a", "i4")]),
                np.zeros(size + 1),
                np.array([""] * size),
                np.array([None] * size),
                arrays[name][::-1],
            )
        )
    file = io.BytesIO()
    np.savez(file, **arrays)
    changed = file.getvalue()
    if rng.random() < 0.3:
        changed = changed.replace(
            b"'shape': (",
            rng.choice(
                (
                    b"'shape': (9999999999999,",
                    b"'shape': (-1,",
                    b"'shape': ((",
                    b"'shape': (" + b"9" * 90,
                )
            ),
            1,
        )
        # the sizes in the archive no longer fit; written anew they do
        changed = _rezipped(rng, changed)
    return changed


def _rezipped(rng: random.Random, raw: bytes) -> bytes:
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }"
        header += b" " * (118 - len(header)) + b"\n"
        array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        archive.writestr("instances.npy", array)
        archive.writestr("bag.npy", raw[: rng.randint(0, 200)])
    return file.getvalue()


def inside_parquet(rng: random.Random, raw: bytes) -> bytes:
    """A column of another type, renamed, twice the rows, nested."""
    frame = pl.read_parquet(io.BytesIO(raw))
    name = rng.choice(frame.columns)
    size = frame.height
    column = rng.choice(
        (
            pl.Series([None] * size),
            pl.Series([[1, 2]] * size),
            pl.Series([b"\xff"] * size),
            pl.Series([{"a": 1}] * size),
            pl.Series([2**63] * size, dtype=pl.UInt64),
            pl.Series([float("nan")] * size),
            pl.Series([True] * size),
            pl.Series(["x"] * size),
            pl.Series(["9" * 5000] * size),
            pl.Series([0] * size).cast(pl.Datetime),
            pl.Series(["a"] * size, dtype=pl.Categorical),
            pl.Series([1] * size).cast(pl.Decimal(10, 2)),
            frame[name].reverse(),
        )
    ).alias(name)
    frame = frame.with_columns(column)
    if rng.random() < 0.2:
        frame = frame.rename({name: rng.choice(("__index_level_0__", "", "Text", "split"))})
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


BYTE_CHANGES: tuple[Change, ...] = (flipped, cut_short, inserted, repeated)
TEXT_CHANGES: tuple[Change, ...] = (*BYTE_CHANGES, lines_changed, field_changed, recoded)


def changes_of(path: Path) -> tuple[Change, ...]:
    """What can be done to a file of this name."""
    suffix = path.suffix
    if suffix == ".gz":
        return (*BYTE_CHANGES, inside_gzip, inside_gzip)
    if suffix == ".npz":
        return (*BYTE_CHANGES, inside_npz, inside_npz)
    if suffix == ".parquet":
        return (*BYTE_CHANGES, inside_parquet, inside_parquet)
    if suffix in (".json", ".jsonl"):
        return (*BYTE_CHANGES, lines_changed, recoded, json_changed, json_changed, json_changed)
    if suffix == ".safetensors":
        return BYTE_CHANGES
    return TEXT_CHANGES


def change_file(rng: random.Random, folder: Path) -> str:
    """Change one file below a folder in one or two ways; what was done, in words."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    done = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        raw = path.read_bytes()
        if not raw:
            break
        change = rng.choice(changes_of(path))
        try:
            path.write_bytes(change(rng, raw))
        except (
            ValueError,
            OSError,
            EOFError,
            KeyError,
            TypeError,
            MemoryError,
            RecursionError,
            zlib.error,
            zipfile.BadZipFile,
            NotImplementedError,  # zipfile's word for versions that it does not read
            pl.exceptions.PolarsError,
        ):
            # the first change has left what the second cannot open
            break
        done.append(change.__name__)
    return f"{path.relative_to(folder)}: {', '.join(done)}"


def change_rows(rng: random.Random, rows: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
    """Rows in memory with a value, a key or a row replaced."""
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        key = rng.choice(list(row) or ["text"])
        action = rng.random()
        if action < 0.15:
            row.pop(key, None)
        elif action < 0.3:
            row[rng.choice((1, 0.5, None, True, "", "\ud800", ("a",)))] = row.pop(key, None)
        elif action < 0.8:
            row[key] = rng.choice((*ODD_VALUES, *ODD_OBJECTS))
        else:
            odd = rng.choice((*ODD_VALUES, *ODD_OBJECTS))
            for each in rows:
                each[key] = odd
    return rows
