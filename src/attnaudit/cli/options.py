"""Options that several commands share: one name, one help, one panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from attnaudit.data.named.paper import PIPELINES
from attnaudit.data.reading import parse_columns
from attnaudit.data.texts.tokens import TOKENIZERS
from attnaudit.models.transformer.options import DTYPES

DATA, RUN = "Data", "Run"


def panel(name: str, help: str, *names: str, **more: Any) -> Any:
    """An option in a panel of the help."""
    return typer.Option(*names, help=help, rich_help_panel=name, **more)


Columns = Annotated[
    list[str] | None,
    panel(
        DATA,
        "A column by its role; repeat for more. Roles of texts: text, label (label=none for data "
        "without), truth (0/1 per unit: evidence), id, question (read beside the text), allowed "
        "(answers). Of bags: bag, label, truth, key_type, features and coordinates (with commas "
        "between), name. Of pairs: a, b, score, id.",
        "--column",
        metavar="ROLE=NAME",
    ),
]
Split = Annotated[str | None, panel(DATA, "Split of the data: train, dev, test.")]
Limit = Annotated[int | None, panel(DATA, "Use this many records, drawn by the seed.", min=1)]
Classes = Annotated[
    str | None, panel(DATA, "Names of the classes in index order, with commas between.")
]
Tokenizer = Annotated[
    str | None, panel(DATA, f"How texts are cut into units: {', '.join(TOKENIZERS)}.")
]
Pipeline = Annotated[
    str | None, panel(DATA, f"Read texts as a paper does: {', '.join(PIPELINES)}.")
]
MinLength = Annotated[int | None, panel(DATA, "Leave out texts of fewer units.", min=1)]
MaxLength = Annotated[int | None, panel(DATA, "Leave out texts of more units.", min=1)]
StrictBounds = Annotated[
    bool | None, panel(DATA, "With the side effect of the paper's code.", "--strict-bounds")
]
DataDir = Annotated[
    str | None, panel(DATA, "Folder with your copy of a named data set (see `list data`).")
]
DropUnlabelled = Annotated[
    bool | None, panel(DATA, "Leave out records without a label.", "--drop-unlabelled")
]
DropEmpty = Annotated[bool | None, panel(DATA, "Leave out records without text.", "--drop-empty")]
Seed = Annotated[int | None, panel(RUN, "Seed of everything random; 0 by default.")]
Device = Annotated[str | None, panel(RUN, "cpu, cuda, …")]
Workers = Annotated[int, panel(RUN, "Cells of the work at a time; numbers stay equal.", min=1)]
EngineNamed = Annotated[
    str | None,
    panel(
        RUN,
        "Where cells run: inline, processes, ray (a cluster of this machine) or ray:ADDRESS. The "
        "run folder must be seen by every node.",
        "--engine",
    ),
]
DryRun = Annotated[
    bool, panel(RUN, "Say what would be run and how long; run nothing.", "--dry-run")
]
TRANSFORMER = "Transformer"
SiteAt = Annotated[
    str | None,
    panel(
        TRANSFORMER,
        "Where attention is read: layer=10,head=5, head=0+3 for the mean of two, cross for "
        "cross-attention; by default the last layer, mean of heads.",
        "--site",
    ),
]
Target = Annotated[
    str | None,
    panel(
        TRANSFORMER,
        "The label to explain, where labels do not exclude each other; of a language model two "
        'tokens to choose between, as "Rome|Paris".',
        "--target",
    ),
]
Dtype = Annotated[str, panel(TRANSFORMER, f"Precision: {', '.join(DTYPES)}.", "--dtype")]
Layer = Annotated[
    int,
    panel(
        "Similarity",
        "0 explains by input tokens; k by the outputs of the k-th layer, which is faster and "
        "mixes tokens more.",
        min=0,
    ),
]
Reference = Annotated[
    str, panel("Similarity", "padding, mask, zero, mean, or a token of the vocabulary.")
]
Tolerance = Annotated[
    float, panel("Similarity", "How far the sum of a table may lie from the score.")
]


def reading_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of reading among those of a command that were given.

    Raises:
        SettingsError: A column without a role.
    """
    found = {name: given[name] for name in READING if given.get(name) is not None}
    if given.get("column"):
        found["columns"] = parse_columns(given["column"])
    if "classes" in found:
        found["classes"] = tuple(found["classes"].split(","))
    return found


READING = (
    *("split", "limit", "classes", "tokenizer", "pipeline", "min_length", "max_length"),
    *("strict_bounds", "data_dir", "drop_unlabelled", "drop_empty", "seed"),
)
"""Options of commands that say how data are read."""
