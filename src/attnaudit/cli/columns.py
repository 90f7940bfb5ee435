"""`--column ROLE=NAME`: which column of the data holds what, for the columns that are rare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from attnaudit.errors import SettingsError

TEXT_ROLES = ("id", "truth", "question", "allowed")
BAG_ROLES = ("bag", "truth", "key_type", "features", "coordinates")
PAIR_ROLES = ("a", "b", "score", "id")
PLURAL = {"features": "feature_columns", "coordinates": "coordinate_columns"}
"""Roles of several columns, with commas between."""

Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="ROLE=NAME",
        rich_help_panel="Data",
        help="A column by its role; repeat for more. Roles of texts: id, truth (0/1 per unit: "
        "evidence), question (read beside the text), allowed (answers). Of bags: bag, truth, "
        "key_type, features and coordinates (with commas between). Of pairs: a, b, score, id.",
    ),
]
BagColumn = Annotated[
    str | None, typer.Option(help="The bag of each row of a table; 'bag' by default.")
]
Features = Annotated[
    str | None,
    typer.Option(
        help="Columns of numbers, comma-separated; by default all that mean nothing else."
    ),
]
KeyTypes = Annotated[
    str | None, typer.Option(help="Kinds of key instances, 0 for none; 'key_type' by default.")
]
Coordinates = Annotated[
    str | None, typer.Option(help="Two columns, comma-separated: x, y; 'x,y' by default.")
]


def columns_by_role(given: Iterable[str], roles: Iterable[str]) -> dict[str, str | list[str]]:
    """The arguments of a loader that name columns.

    Args:
        given: `role=name`, each role once.
        roles: Those that the data have.

    Raises:
        SettingsError: Not of that form, or a role that the data do not have.

    Example:
        >>> columns_by_role(["id=key", "truth=rationale"], TEXT_ROLES)
        {'id_column': 'key', 'truth_column': 'rationale'}
    """
    found: dict[str, str | list[str]] = {}
    for one in given:
        role, equals, name = one.partition("=")
        if not equals or not name:
            raise SettingsError(f"--column {one!r}: write a role, '=' and the name of a column")
        if role not in roles:
            raise SettingsError(f"--column {one!r}: the roles here are {', '.join(roles)}")
        key = PLURAL.get(role, f"{role}_column")
        if key in found:
            raise SettingsError(f"--column names the role {role!r} twice")
        found[key] = name.split(",") if role in PLURAL else name
    return found


def bag_reading(
    *,
    bag_column: str | None = None,
    features: str | None = None,
    key_types: str | None = None,
    coordinates: str | None = None,
) -> dict[str, Any]:
    """The options of reading bags that were given, by the names of `load_bags`."""
    given = {"bag": bag_column, "key_type": key_types}
    given |= {"features": features, "coordinates": coordinates}
    some = [f"{role}={name}" for role, name in given.items() if name]
    return dict(columns_by_role(some, BAG_ROLES))
