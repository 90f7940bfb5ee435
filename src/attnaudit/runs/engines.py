"""Engines by name."""

from __future__ import annotations

from attnaudit.errors import SettingsError
from attnaudit.runs.engine import Engine, Inline, Processes
from attnaudit.runs.ray_engine import RayEngine

ENGINES = ("inline", "processes", "ray")


def engine_of(workers: int, name: str | None = None) -> Engine:
    """The engine for so many cells at a time.

    Args:
        workers: How many.
        name: `inline`, `processes`, `ray`, or `ray:ADDRESS` for a running cluster; by default
            `inline` for one worker and `processes` for more.

    Raises:
        SettingsError: `workers` is below 1, or no engine is called so.
        MissingExtra: The package ray is absent.
        RunError: There is no cluster at the address.
    """
    if workers < 1:
        raise SettingsError(f"workers is {workers}; it must be 1 or more.")
    kind, _, address = (name or "").partition(":")
    if kind not in ("", *ENGINES):
        raise SettingsError(f"no engine is called {name!r}; there are: {', '.join(ENGINES)}.")
    if kind == "ray":
        return RayEngine(workers if workers > 1 or not address else 0, address or None)
    if kind == "processes" or (not kind and workers > 1):
        return Processes(workers)
    return Inline()
