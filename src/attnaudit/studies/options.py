"""Options of studies beyond those that all have, and names that they may hold."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from attnaudit.errors import SettingsError
from attnaudit.studies.declaration import Options


class UntrainedOptions(Options):
    """Options of a study that has no encoders, attentions and seeds of texts."""

    encoders: ClassVar[None] = None  # type: ignore[misc]
    attentions: ClassVar[None] = None  # type: ignore[misc]
    seeds: ClassVar[None] = None  # type: ignore[misc]
    train_limit: ClassVar[None] = None  # type: ignore[misc]
    test_limit: ClassVar[None] = None  # type: ignore[misc]


def check_names(*named: tuple[Collection[str], Collection[str], str]) -> None:
    """See to it that every name is known.

    Args:
        named: The names given, those that there are, and what they name.

    Raises:
        SettingsError: One is not.
    """
    for given, known, what in named:
        for name in given:
            if name not in known:
                raise SettingsError(f"{name!r} is no {what}; there are: {', '.join(known)}.")
