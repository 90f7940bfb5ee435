"""What attnaudit wrote into a folder: of which kind it is, and a digest of every file.

A file is written first and noted then. A process that is killed between the two leaves a file that
is not noted, which counts as not finished.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath

from attnaudit.files import digest, read_bytes, read_json, write_whole

MANIFEST = "manifest.json"
FORMAT, VERSION = "attnaudit-manifest", 1
FILE_LIMIT = 1 << 40
"""Bytes: pipes and devices, which may have no end, are not read at all."""


@dataclass(frozen=True)
class Manifest:
    """The file `manifest.json` of a folder.

    Attributes:
        kind: What the folder holds: a kind of run, `model`, or nothing where it is a part of one.
        plan: A hash of what was asked, where another run of the kind must not be replaced.
        files: The SHA-256 of each file by its path in the folder, with slashes.
    """

    kind: str = ""
    plan: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


class ChangedError(ValueError):
    """A file is not what was written; the message says which and how."""


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where it has none of ours.

    Raises:
        ChangedError: It is damaged.
    """
    path = folder / MANIFEST
    try:
        found = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ChangedError(f"{path} is damaged ({error})") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    kind, plan, files = (found.get(name) for name in ("kind", "plan", "files"))
    fine = (
        isinstance(kind, str)
        and isinstance(plan, str)
        and isinstance(files, dict)
        and all(isinstance(value, str) and _inside(name) for name, value in files.items())
    )
    if not fine or found.get("version") != VERSION:
        raise ChangedError(f"{path} is damaged, or of another version of attnaudit")
    return Manifest(str(kind), str(plan), dict(files or {}))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Store a manifest.

    Raises:
        OSError: It cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    write_whole(folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False).encode())


def known_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, an empty one where there is none or a damaged one."""
    try:
        return read_manifest(folder) or Manifest()
    except ChangedError:
        return Manifest()


def write_noted(path: Path, content: bytes, folder: Path) -> None:
    """Write a file whole or not at all, and note its digest in the manifest of its folder.

    Args:
        path: The file.
        content: All of it.
        folder: The folder of the manifest, which is that of the file or above it.

    Raises:
        OSError: It cannot be written.
    """
    write_whole(path, content)
    before = known_manifest(folder)
    files = {**before.files, path.relative_to(folder).as_posix(): digest(content)}
    write_manifest(folder, replace(before, files=files))


def read_noted(path: Path, folder: Path, manifest: Manifest | None = None) -> bytes | None:
    """The content of a file as it was written; None where it was never written to its end.

    Args:
        path: The file.
        folder: The folder of the manifest.
        manifest: Its manifest, where it is at hand.

    Raises:
        ChangedError: The file or the manifest is not what was written.
    """
    known = (manifest or read_manifest(folder) or Manifest()).files
    wanted = known.get(path.relative_to(folder).as_posix())
    if wanted is None:
        return None
    try:
        content = read_bytes(path, FILE_LIMIT)
    except FileNotFoundError:
        raise ChangedError(f"{path} is gone") from None
    except (OSError, ValueError) as error:
        raise ChangedError(f"{path} cannot be read any more ({error})") from error
    if digest(content) != wanted:
        raise ChangedError(f"{path} is not what was written")
    return content


def seal(folder: Path, kind: str, names: Iterable[str] | None = None) -> None:
    """Note what lies in a folder as what was written.

    Args:
        folder: The folder.
        kind: What it holds.
        names: Files to note beside those that are noted already; by default all of the folder, and
            no others. Of these, files that are gone are noted no more.

    Raises:
        OSError: A file cannot be read, or the manifest not written.
    """
    files: dict[str, str] = {}
    if names is not None:
        names = tuple(names)
        files = {k: v for k, v in known_manifest(folder).files.items() if k not in names}
    for name in names if names is not None else contents(folder):
        if (folder / name).exists():
            files[name] = digest((folder / name).read_bytes())
    write_manifest(folder, Manifest(kind, "", dict(sorted(files.items()))))


def contents(folder: Path) -> list[str]:
    """The files below a folder but its manifest, with slashes."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
    return sorted(name for name in found if name != MANIFEST)


def changes(folder: Path, optional: Collection[str] = ()) -> list[str]:
    """What of a folder, and of those below it, is not as it was written; one sentence each.

    Args:
        folder: A folder; one without a manifest has no changes.
        optional: Files that may be taken away.
    """
    said = []
    for path in sorted(folder.rglob(MANIFEST)):
        try:
            manifest = read_manifest(path.parent)
        except ChangedError as error:
            said.append(str(error))
            continue
        for name in manifest.files if manifest else ():
            if name in optional and not (path.parent / name).exists():
                continue
            try:
                read_noted(path.parent / name, path.parent, manifest)
            except ChangedError as error:
                said.append(str(error))
    return said


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
