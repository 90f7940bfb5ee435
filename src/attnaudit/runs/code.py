"""Which code measured: a version alone does not tell what was edited in a checkout."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(attnaudit[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)"
    r"|import[ \t]+(attnaudit[\w.]*))",
    re.MULTILINE,
)
TYPES = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+.*\n|\n)+", re.MULTILINE)


@cache
def code_fingerprint(*modules: str, root: Path = ROOT) -> str:
    """A hash of the source files that decide what some modules compute, found from imports.

    Imports inside functions count too, and the texts that a module has beside it. It takes a few
    milliseconds, once per process.

    Args:
        modules: Dotted names, such as `attnaudit.checks.permutation`.
        root: The folder of the package.
    """
    digest = blake2b(digest_size=16)
    for name, path in sorted(_closure(modules, root).items()):
        # line ends are the business of the checkout
        files = [file for file in (path, path.with_suffix(".toml")) if file.is_file()]
        source = b"".join(file.read_bytes() for file in files).replace(b"\r\n", b"\n")
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _closure(modules: Iterable[str], root: Path) -> dict[str, Path]:
    """The modules, and all of ours that they import, by name."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if path is not None and name not in found:
            found[name] = path
            waiting += _imported(path, root)
    return found


@cache
def _imported(path: Path, root: Path) -> tuple[str, ...]:
    """The names that a file imports from the package; of each module also what it may hold."""
    found = []
    # what types alone need decides no number
    source = TYPES.sub("", path.read_text(encoding="utf-8"))
    for module, names, plain in IMPORT.findall(source):
        found.append(module or plain)
        for part in names.strip("()").split(","):
            # a name may itself be a module
            found += [f"{module}.{part.split()[0]}"] if part.split() else []
    return tuple(found)


def _file(name: str, root: Path) -> Path | None:
    """The file of a module or package; None for a name that is neither."""
    path = root.joinpath(*name.split(".")[1:])
    if path == root:
        return None  # the public names lead to everything
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None
