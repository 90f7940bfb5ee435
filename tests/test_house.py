"""The house stays as it is drawn: imports point down, without a circle, to public names only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import attnaudit

ROOT = Path(attnaudit.__file__).parent
ROOMS = (
    *("version", "errors", "files", "console", "progress", "manifest", "hub"),
    *("measures", "data", "nets", "models", "training", "attribution", "findings", "runs"),
    *("evidence", "checks", "audits", "remedies", "report", "studies", "api", "cli"),
)
"""From the ground up: a room imports from itself and from what stands before it."""
DOORS = ("__init__", "__main__")
"""These may import from everywhere, and nothing imports from them."""


def module_of(path: Path) -> str:
    parts = ("attnaudit", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


MODULES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(module: str) -> Iterator[tuple[str, str]]:
    """What a module imports of the project, as module and name, wherever the import stands."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("attnaudit"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, "") if whole in MODULES else (node.module or "", alias.name)
        if isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.startswith("attnaudit"))


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_every_room_has_its_place():
    assert {room_of(module) for module in MODULES} == {*ROOMS, *DOORS}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room):
    below = ROOMS[: ROOMS.index(room) + 1]
    climbing = [
        f"{module} imports {other}"
        for module in MODULES
        if room_of(module) == room
        for other, _ in imports_of(module)
        if room_of(other) not in below
    ]
    assert not climbing


def test_there_is_no_circle():
    graph = {module: {m for m, _ in imports_of(module)} - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(f"a circle of imports: {' → '.join(circle.args[1])}")


def test_private_names_stay_at_home():
    taken = [
        f"{module} takes {name} from {other}"
        for module in MODULES
        for other, name in imports_of(module)
        if name.startswith("_") and not name.startswith("__")
    ]
    assert not taken
