"""Files of a run folder: written whole and noted, and checked when they are read."""

from __future__ import annotations

import errno
import warnings
from pathlib import Path

from attnaudit import manifest
from attnaudit.errors import DamagedWarning, RunError
from attnaudit.manifest import ChangedError, Manifest


def write_noted(path: Path, content: bytes, folder: Path) -> None:
    """Write a file of a run folder whole or not at all, and note its digest there.

    Args:
        path: The file.
        content: All of it.
        folder: The folder whose manifest notes it.

    Raises:
        RunError: It cannot be written; the message says why.
    """
    try:
        manifest.write_noted(path, content, folder)
    except OSError as error:
        raise explained(error, folder) from error


def read_noted(path: Path, folder: Path, known: Manifest | None = None) -> bytes | None:
    """What was written to a file of a run folder; None where it must be made again.

    A file that is damaged, or that somebody has changed, is told of in a warning.

    Args:
        path: The file.
        folder: The folder whose manifest notes it.
        known: That manifest, where it is at hand.
    """
    try:
        return manifest.read_noted(path, folder, known)
    except ChangedError as error:
        warnings.warn(f"{error}: made again.", DamagedWarning, stacklevel=2)
        return None


def read_sure(path: Path, folder: Path, what: str, again: str) -> bytes:
    """What was written to a file of a finished run.

    Args:
        path: The file.
        folder: The folder whose manifest notes it.
        what: What a folder without it does not hold, in words.
        again: How to make it again, in words.

    Raises:
        RunError: It is not there, or not what was written.
    """
    try:
        content = manifest.read_noted(path, folder)
    except ChangedError as error:
        raise RunError(f"{error}: {again}") from error
    if content is None and path.exists():
        raise RunError(f"{path} was not written to its end, or by an earlier attnaudit: {again}")
    if content is None:
        raise RunError(f"{folder} holds no {what}: it has no {path.name}. {again}")
    return content


def explained(error: OSError, folder: Path) -> RunError:
    """An error of the file system in words."""
    reasons = {
        errno.ENOSPC: "the disk is full. Instances finished so far are kept: free some space and "
        "run the same command again",
        errno.EDQUOT: "your disk quota is used up. Finished instances are kept: free some space "
        "and run the same command again",
        errno.EROFS: "it lies on a read-only disk. Choose another folder",
        errno.EACCES: "permission denied. Choose a folder that you may write",
        errno.EPERM: "permission denied. Choose a folder that you may write",
        errno.ENOTDIR: "part of its path is a file. Choose another folder",
        errno.EEXIST: "it is a file. Choose another folder",
    }
    why = reasons.get(error.errno or 0, str(error))
    return RunError(f"cannot write to {folder}: {why}.")


def lock(descriptor: int, folder: Path) -> None:
    """Hold an open lock file, or say that another process does.

    Raises:
        RunError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # no such lock on this system
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RunError(
            f"another run is writing to {folder} right now. Wait for it, or choose another."
        ) from error
