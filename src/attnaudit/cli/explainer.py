"""`attnaudit explainer`: a model that chooses the words of a black box, in the manner of L2X."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from attnaudit.cli.app import (
    OUT,
    DataDir,
    LabelColumn,
    Limit,
    Seed,
    TextColumn,
    Tokens,
    app,
    columns_of,
)
from attnaudit.console import visible
from attnaudit.findings.estimates import spoken
from attnaudit.models.load import load
from attnaudit.progress import bars
from attnaudit.remedies.explainer import Fidelity
from attnaudit.training.options import FitOptions
from attnaudit.training.selective import explain_black_box


@app.command()
def explainer(
    model: Annotated[str, typer.Argument(help="Folder of the black box, any saved model.")],
    data: Annotated[
        str, typer.Argument(help="Texts, as for `attnaudit train`; labels are not learnt from.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the explainer.")] = Path("explainer"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that attnaudit saved there.")
    ] = False,
    keep: Annotated[int, typer.Option(min=1, help="Units to choose in each text.")] = 10,
    epochs: Annotated[int, typer.Option(min=1)] = FitOptions.epochs,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    limit: Limit = None,
    tokenizer: Tokens = None,
    data_dir: DataDir = None,
    seed: Seed = 0,
) -> None:
    """Train a model that chooses the words from which a black box's answer can be told.

    Such hard-mask explainers (L2X and its kin) look faithful when what they choose predicts the
    answer. But the choice itself can tell it. So the agreement with the black box is given from
    the chosen words and from all others, by the black box itself and by fresh networks; and the
    saved explainer is a model like any other: check it with `attnaudit shortcut`.

    Example: attnaudit explainer model reviews --keep 5 --out explainer
    """
    black_box = load(model)
    with bars() as progress:
        done = explain_black_box(
            black_box,
            data,
            k=keep,
            out=out,
            overwrite=overwrite,
            progress=progress,
            options=FitOptions(epochs=epochs, seed=seed, select="accuracy"),
            columns=columns_of(text=text_column, label=label_column),
            limit=limit,
            tokenizer=tokenizer,
            data_dir=data_dir,
            seed=seed,
        )
    OUT.print(fidelity_table(done.fidelity, black_box.name))
    OUT.print_place("Model", out)
    OUT.print_line(f"Does the choice tell the answer? attnaudit shortcut {out} {data}")


def fidelity_table(found: Fidelity, name: str) -> Table:
    """Agreement with the black box, by what was read and by whom."""
    table = Table(title=f"Agreement with {visible(name)}", title_justify="left")
    for column in ("read by", "the chosen units", "all others"):
        table.add_column(column, overflow="fold")
    rows = (
        ("the black box itself", found.fs_m, found.fu_m),
        ("a fresh network", found.fs_a, found.fu_a),
    )
    for who, chosen, others in rows:
        table.add_row(who, *("not trained" if e is None else spoken(e) for e in (chosen, others)))
    table.caption = f"always naming its most frequent class: {found.majority:.2f}"
    return table
