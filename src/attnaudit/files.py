"""Files: read within bounds, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path

JSON_LIMIT = 1 << 30
"""Bytes: no JSON file of ours comes near it, and one that does is not read into memory."""


def parse_json(text: str) -> object:
    """The value of a JSON text.

    Raises:
        ValueError: The text is not valid JSON, is nested too deeply or holds a number that is too
            long to read; the message says which and where.

    Example:
        >>> parse_json('{"a": [1, 2]}')
        {'a': [1, 2]}
        >>> parse_json("[" * 200_000)
        Traceback (most recent call last):
        ...
        ValueError: not valid JSON: it is nested too deeply
    """
    try:
        found: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError:
        raise ValueError("not valid JSON: it is nested too deeply") from None
    except ValueError:
        # Python refuses integers of more than 4,300 digits, whose conversion takes quadratic time
        raise ValueError("not valid JSON: it holds a number of thousands of digits") from None
    return found


def read_json(path: Path) -> object:
    """The value in a JSON file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a regular file of moderate size, not UTF-8 or not valid JSON; the
            message says which.
    """
    raw = read_bytes(path, JSON_LIMIT)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not valid UTF-8: byte {error.start}") from error
    return parse_json(text)


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        limit: The most bytes that it may have.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is a pipe or a device, which may have no end, or exceeds `limit`.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        raise ValueError("not a regular file but a pipe or a device")
    if about.st_size > limit:
        raise ValueError(f"{about.st_size:,} bytes, more than the {limit:,} that are read")
    return path.read_bytes()


def digest(content: bytes) -> str:
    """The SHA-256 of `content`, in hexadecimal.

    Example:
        >>> digest(b"")[:8]
        'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader never sees a part of it.

    The content goes to a file of a unique name beside it, which then takes its place; a failure
    leaves neither.

    Args:
        path: The file; its folder must exist.
        content: All of it.

    Raises:
        OSError: It cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes a file that its owner alone may read; a report is as readable as any other
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before
