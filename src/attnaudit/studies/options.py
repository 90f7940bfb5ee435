"""Options of studies beyond those that all have, and names that they may hold."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, get_origin

from pydantic import ValidationInfo, field_validator

from attnaudit.errors import SettingsError
from attnaudit.studies.declaration import Options


class ListOptions(Options):
    """Options of which one value may stand for several."""

    @field_validator("*", mode="before")
    @classmethod
    def _one_is_several(cls, given: object, info: ValidationInfo) -> object:
        """`--set layers=3` gives one text, and `--set steps=` an empty one."""
        field = cls.model_fields[str(info.field_name)]
        if get_origin(field.annotation) is tuple and isinstance(given, str | int | float):
            return () if given == "" else (given,)
        return given


class UntrainedOptions(ListOptions):
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
