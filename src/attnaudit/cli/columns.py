"""`--column ROLE=NAME`: which column of the data holds what, for the columns that are rare."""

from __future__ import annotations

from typing import Annotated

import typer

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
