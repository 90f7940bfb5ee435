"""Reports on disk: written whole or not at all, with an error that says what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from attnaudit.errors import RunError

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
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        why = REASONS.get(error.errno or 0, str(error))
        raise RunError(f"cannot write to {path}: {why}, then write the report again.") from error
    return path
