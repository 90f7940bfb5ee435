"""Which code measured: a version alone does not tell what was edited in a checkout."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path

ROOMS = ("measures", "nets", "models", "attribution", "siamese", "checks", "runs")
"""What decides the numbers of an instance."""


@cache
def code_fingerprint(root: Path = Path(__file__).parents[1], rooms: tuple[str, ...] = ROOMS) -> str:
    """A hash of the source files that decide the numbers; a few milliseconds, once a process.

    Args:
        root: The folder of the package.
        rooms: The folders in it that count.
    """
    digest = blake2b(digest_size=16)
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            # line ends are the business of the checkout
            source = path.read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{path.relative_to(root).as_posix()} {len(source)}\n".encode() + source)
    return digest.hexdigest()
