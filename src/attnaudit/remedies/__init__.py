"""Remedies: training changes that are to make weights better explanations."""

from __future__ import annotations

from attnaudit.errors import SettingsError
from attnaudit.remedies.declaration import Remedy
from attnaudit.remedies.diversity import DIVERSITY, ORTHOGONAL
from attnaudit.remedies.shortcuts import (
    HELD_OUT_PRETRAINING,
    INSTANCE_WEIGHTING,
    RANDOM_PRETRAINING,
)
from attnaudit.remedies.tying import TYING

REMEDIES: dict[str, Remedy] = {
    remedy.name: remedy
    for remedy in (
        DIVERSITY,
        ORTHOGONAL,
        TYING,
        RANDOM_PRETRAINING,
        HELD_OUT_PRETRAINING,
        INSTANCE_WEIGHTING,
    )
}

__all__ = ["REMEDIES", "Remedy", "find_remedy"]


def find_remedy(name: str) -> Remedy:
    """The remedy of that name.

    Raises:
        SettingsError: There is none.
    """
    if name not in REMEDIES:
        raise SettingsError(f"no remedy is called {name!r}; there are: {', '.join(REMEDIES)}")
    return REMEDIES[name]
