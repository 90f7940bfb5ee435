"""Files: read within bounds, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

JSON_LIMIT = 1 << 30
"""Bytes: no JSON file of ours comes near it, and one that does is not read into memory."""
PART = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.part")
"""The name of what a killed process leaves while it writes a file or folder."""
LAST = ("config.json", "modules.json")
"""The files without which a folder is no model; they come last where files must come one by one."""


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


def digest_of(known: object) -> str:
    """The SHA-256 of what can be written as JSON, in hexadecimal; the order of keys is nothing.

    Example:
        >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
        True
    """
    return digest(json.dumps(known, sort_keys=True).encode())


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
    handle, name = tempfile.mkstemp(prefix=_prefix(path.name), suffix=".part", dir=path.parent)
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


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Write a folder whole or not at all: a reader finds all of it, what was there, or nothing.

    What is written goes to a folder of a unique name beside it, which takes its place at the end;
    a failure leaves what was there. Where the folder is a mount, whose place nothing can take, or
    nothing may be written beside it, its files come one by one, that which makes it a model last.

    Args:
        folder: What is replaced, if it is there.

    Yields:
        The folder to write into.

    Raises:
        OSError: It cannot be written.
    """
    folder = folder.resolve()
    inside = _only_inside(folder)
    if not inside:
        folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(
        tempfile.mkdtemp(
            prefix=_prefix(folder.name), suffix=".part", dir=folder if inside else folder.parent
        )
    )
    try:
        os.chmod(part, 0o777 & ~_umask())
        yield part
        if inside:
            _move_in(part, folder)
        else:
            _take_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def writable(path: Path) -> str | None:
    """Why a file or folder cannot be written at this place, or None; nothing is made.

    Args:
        path: Where it would be; folders above it may be missing.
    """
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return "the name is too long"
    place = path.resolve()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if place == path.resolve() and not place.is_dir():
        place = place.parent  # a file is replaced, not opened
    if not place.is_dir():
        return f"{place} is a file"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} may not be written"
    return None


def tidy(folder: Path, name: str | None = None, older: float = 0.0) -> None:
    """Take away what killed processes left in a folder while they wrote.

    Args:
        folder: Where to look; sub-folders are not entered.
        name: Take away only what was to become a file or folder of this name.
        older: Seconds; what is younger stays, as a living process may be writing it.
    """
    if not folder.is_dir():
        return
    if name is not None and not (folder / name).exists():
        # killed between the two renames that replace a folder: give back what was there
        for old in sorted(folder.glob(f".{name[:40]}.*.part/{_OLD}")):
            with contextlib.suppress(OSError):
                os.rename(old, folder / name)
                break
    for path in folder.iterdir():
        found = PART.fullmatch(path.name)
        if not found or (name is not None and found[1] != name[:40]):
            continue
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime < older:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


_OLD = ".replaced"


def _take_place(part: Path, folder: Path) -> None:
    """Rename a folder onto a place; what is there goes aside first, and then away."""
    if not folder.exists() or not any(folder.iterdir()):
        os.rename(part, folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=_prefix(folder.name), suffix=".part", dir=folder.parent))
    try:
        os.rename(folder, aside / _OLD)
        try:
            os.rename(part, folder)
        except OSError:
            os.rename(aside / _OLD, folder)
            raise
    finally:
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _move_in(part: Path, folder: Path) -> None:
    """Put the content of a folder in the place of that of another, without renaming the latter."""
    for name in (*LAST, *os.listdir(folder)):
        path = folder / name
        if path == part:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in sorted(os.listdir(part), key=lambda name: name in LAST):
        os.rename(part / name, folder / name)


def _only_inside(folder: Path) -> bool:
    return folder.is_dir() and (
        os.path.ismount(folder) or not os.access(folder.parent, os.W_OK | os.X_OK)
    )


def _prefix(name: str) -> str:
    return f".{name[:40]}."


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before
