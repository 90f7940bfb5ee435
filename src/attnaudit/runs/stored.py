"""A report from its file: there, whole, and of the schema that is read here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from attnaudit.errors import RunError

Stored = TypeVar("Stored", bound=BaseModel)


def read_stored(
    path: Path, kind: type[Stored], version: int, what: str, command: str, again: str
) -> Stored:
    """What a finished run has stored.

    Args:
        path: The file, in JSON, with a `schema_version`.
        kind: What it holds.
        version: The schema that is read.
        what: What a folder without the file does not hold, in words.
        command: What writes such a folder.
        again: What to run again, in words.

    Raises:
        RunError: There is nothing, or it is damaged or of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("schema_version")
    except FileNotFoundError:
        raise RunError(
            f"{path.parent} holds no {what}: it has no {path.name}. Give the folder that "
            f"`attnaudit {command} --out` wrote."
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged ({error}): run the {again} again.") from error
    if found != version:
        raise RunError(
            f"{path} has schema version {found}, this attnaudit reads {version}: run the {again} "
            "again."
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path} is damaged at {where!r}: {first['msg']}.") from error
