"""A report from its file: there, whole, and of the schema that is read here."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from attnaudit.errors import RunError
from attnaudit.files import parse_json
from attnaudit.runs.disk import read_sure
from attnaudit.runs.folders import refuse_other

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
    refuse_other(path.parent, command)
    if not path.exists():
        raise RunError(
            f"{path.parent} holds no {what}: it has no {path.name}. Give the folder that "
            f"`attnaudit {command} --out` wrote."
        )
    try:
        content = parse_json(path.read_bytes().decode())
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): run the {again} again.") from error
    found = content.get("schema_version")
    if found != version:
        raise RunError(
            f"{path} has schema version {found}, this attnaudit reads {version}: run the {again} "
            "again."
        )
    try:
        stored = kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path} is damaged at {where!r}: {first['msg']}.") from error
    # last, as what is plainly damaged, or of another version, has a message of its own
    read_sure(path, path.parent, what, f"Run the {again} again.")
    return stored
