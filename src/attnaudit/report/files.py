"""Reports on disk: written whole or not at all, with an error that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

from attnaudit.errors import RunError
from attnaudit.files import tidy, writable, write_whole

HEAD = 1 << 16
"""Bytes of a file by which it is told whether attnaudit wrote it."""
REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your disk quota is used up; free some space",
    errno.EROFS: "it lies on a read-only disk; choose another place",
    errno.EACCES: "permission denied; choose a place that you may write",
    errno.EPERM: "permission denied; choose a place that you may write",
    errno.ENOTDIR: "part of its path is a file; choose another place",
    errno.EEXIST: "part of its path is a file; choose another place",
    errno.EISDIR: "it is a folder; give the name of a file in it",
}


def write_text(path: Path, text: str) -> Path:
    """Write `text` to `path`, folders included, and give the path back.

    Raises:
        RunError: It cannot be written. The audit itself is not touched.
    """
    # a lone surrogate in a name has no UTF-8 form
    return write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: Path, content: bytes) -> Path:
    """The same for bytes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tidy(path.parent, path.name)
        write_whole(path, content)
    except OSError as error:
        why = REASONS.get(error.errno or 0, str(error))
        raise RunError(f"cannot write to {path}: {why}, then write the report again.") from error
    return path


def check_output(
    path: Path, option: str, *, overwrite: bool = False, reads: Iterable[object] = ()
) -> None:
    """Refuse a file to be written that is somebody's already, before any work.

    A page, or a table of pairs, that attnaudit wrote is written again.

    Args:
        path: Where it would be.
        option: The option that names it.
        overwrite: Replace whatever file is there.
        reads: What the work reads, which is never replaced.

    Raises:
        RunError: It cannot be written, is being read, or holds something else.
    """
    for source in reads:
        named = isinstance(source, str | Path) and Path(source).exists()
        if named and path.resolve() == Path(str(source)).resolve():
            raise RunError(f"{path} is being read: name another file for {option}.")
    why = writable(path) or (f"{path} is a folder" if path.is_dir() else None)
    if why is not None:
        raise RunError(f"cannot write to {path}: {why}; name another file for {option}.")
    if path.exists() and not overwrite and not _ours(path):
        raise RunError(
            f"{path} was not written by attnaudit: name another file for {option}, or pass "
            "--overwrite to replace it."
        )


def _ours(path: Path) -> bool:
    """Whether a file looks like a page or a table of pairs that attnaudit wrote."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(HEAD)
    if b'<meta name="generator" content="attnaudit' in start or not start:
        return True
    return start.startswith(b'[{"a": ') and b'"score": ' in start and path.suffix == ".json"
