"""How much a file may unpack to: a few kilobytes can hold gigabytes, and are refused unread."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path

from attnaudit.errors import DataError, SettingsError
from attnaudit.files import read_bytes

READ_LIMIT = 8 << 30
"""Bytes: the most that is read of one file, unpacked."""
RATIO_LIMIT = 100
"""The most that a compressed file may grow by; text grows by 3 to 20."""
RATIO_FREE = 16 << 20
"""Bytes: a file that unpacks to no more than this may grow by any ratio."""
ARRAYS_FREE = 256 << 20
"""The same for arrays, which take no more memory than is announced; one-hot rows grow 700-fold."""
VARIABLE = "ATTNAUDIT_READ_LIMIT"
"""The environment variable that takes the place of them all: bytes that a file may unpack to."""
_PIECE = 1 << 20


def most_bytes(packed: int | None = None, free: int = RATIO_FREE) -> int:
    """How many bytes a file may hold, or a compressed file of `packed` bytes unpack to.

    Args:
        packed: Its size; None for a file that is not compressed.
        free: Bytes to which it may unpack however small it is.

    Raises:
        SettingsError: The environment variable is not a number of bytes.

    Example:
        >>> most_bytes(1_500_000)
        150000000
    """
    own = os.environ.get(VARIABLE, "").strip()
    if own:
        if not (own.isascii() and own.isdecimal() and len(own) < 19):
            raise SettingsError(f"{VARIABLE} is {own[:40]!r}; it must be a number of bytes")
        return int(own)
    return READ_LIMIT if packed is None else min(READ_LIMIT, max(free, RATIO_LIMIT * packed))


def too_large(path: Path | str, packed: int | None = None, free: int = RATIO_FREE) -> DataError:
    """The error for a file that holds, or unpacks to, more than `most_bytes`."""
    what = "it holds more" if packed is None else f"its {packed:,} bytes unpack to more"
    return DataError(
        f"{path} is too large to be read: {what} than {most_bytes(packed, free):,} bytes. If it is "
        f"what it should be, cut it into parts, or set {VARIABLE} to the bytes that may be read"
    )


def read_whole(path: Path) -> bytes:
    """The content of a file, still compressed where it is.

    Raises:
        DataError: It cannot be read, is a pipe or a device, is empty or too large.
    """
    try:
        raw = read_bytes(path, most_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        if path.is_file():
            raise too_large(path) from error
        raise DataError(f"{path} cannot be read: {error}. Write its content to a file") from error
    if not raw:
        raise DataError(f"{path} is empty: there is nothing in the file")
    return raw


def gunzip(raw: bytes, path: Path) -> bytes:
    """What a gzip file holds, unpacked in pieces so that a bomb is noticed before it is in memory.

    Raises:
        DataError: It is damaged, or unpacks to more than `most_bytes`.
    """
    most = most_bytes(len(raw))
    pieces: list[bytes] = []
    size = 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            while piece := file.read(_PIECE):
                size += len(piece)
                if size > most:
                    raise too_large(path, len(raw))
                pieces.append(piece)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path} is a damaged gzip file ({error}): it may be cut short, fetch it again"
        ) from error
    return b"".join(pieces)
