"""The versions that `make lowest` tests are the lower bounds that are declared."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNTESTED = {"spacy", "ray"}
"""Packages that no test needs, or whose tests are left out where it is absent."""
LOWEST = ROOT / "constraints-lowest.txt"


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at the end: 1.0 is 1.0.0.

    Example:
        >>> numbers("2.10.0")
        (2, 10)
    """
    found = [int(part) for part in version.split(".")]
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)


@pytest.mark.skipif(not LOWEST.exists(), reason="not a checkout")
def test_the_lowest_versions_are_the_declared_bounds() -> None:
    lines = [line for line in LOWEST.read_text().splitlines() if not line.startswith("#")]
    lowest = {name: numbers(version) for name, version in (line.split("==") for line in lines)}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = list(settings["project"]["dependencies"])
    for extra in settings["project"]["optional-dependencies"].values():
        needed += extra
    bounds = [line.split(">=") for line in needed]
    assert {name for name, _ in bounds} - UNTESTED == set(lowest)
    # a package of the development group has the same bound there
    bounds += [
        line.split(">=")
        for line in settings["dependency-groups"]["dev"]
        if line.split(">=")[0] in lowest
    ]
    wrong = [name for name, low in bounds if numbers(low) != lowest.get(name, numbers(low))]
    assert wrong == []
