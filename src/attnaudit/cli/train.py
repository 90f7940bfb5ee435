"""`attnaudit train`: a classifier with attention, from labelled text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from attnaudit.cli.app import (
    OUT,
    DataDir,
    DropEmpty,
    DropUnlabelled,
    LabelColumn,
    Limit,
    Seed,
    TextColumn,
    Tokens,
    app,
    label_of,
)
from attnaudit.nets.attentions import ATTENTIONS
from attnaudit.nets.encoders import ENCODERS
from attnaudit.nets.training import TrainOptions
from attnaudit.progress import bars
from attnaudit.training import Trained
from attnaudit.training import train as train_model


@app.command()
def train(
    data: Annotated[
        str,
        typer.Argument(
            help="CSV, JSONL (.gz), Parquet, a folder of splits, a named set such as "
            "'reviews', or a hub name."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")] = Path("model"),
    encoder: Annotated[str, typer.Option(help=", ".join(ENCODERS))] = "bilstm",
    attention: Annotated[str, typer.Option(help=", ".join(ATTENTIONS))] = "additive",
    hidden: Annotated[int, typer.Option(min=1, help="Hidden size.")] = 128,
    embedding_dim: Annotated[int, typer.Option(min=1, help="Size of word vectors.")] = 300,
    vectors: Annotated[
        Path | None, typer.Option(help="Pretrained word vectors: text (.vec, .txt, .gz) or .npz.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 8,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many epochs without a better score.")
    ] = None,
    min_df: Annotated[int, typer.Option(min=1, help="Texts a word must occur in.")] = 1,
    classes: Annotated[
        str | None, typer.Option(help="Names of the classes in index order, with commas between.")
    ] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    limit: Limit = None,
    tokenizer: Tokens = None,
    data_dir: DataDir = None,
    drop_unlabelled: DropUnlabelled = False,
    drop_empty: DropEmpty = False,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
) -> None:
    """Train a text classifier that pools by attention, and save it.

    Example: attnaudit train reviews.csv --out model --encoder bilstm --attention additive
    """  # fmt: skip
    options = TrainOptions(
        epochs=epochs, patience=patience, min_df=min_df, seed=seed, device=device
    )
    named = {"classes": tuple(classes.split(","))} if classes else {}
    with bars() as progress:
        done = train_model(
            data, encoder=encoder, attention=attention, hidden=hidden,
            embedding_dim=embedding_dim, vectors=vectors, options=options, out=out,
            progress=progress, text_column=text_column, label_column=label_of(label_column),
            limit=limit, tokenizer=tokenizer, data_dir=data_dir, drop_unlabelled=drop_unlabelled,
            drop_empty=drop_empty, seed=seed, **named,  # type: ignore[arg-type]
        )  # fmt: skip
    show_training(done)
    OUT.print(f"Model: {out.resolve()}", soft_wrap=True, markup=False)


def show_training(done: Trained, *, notes: bool = True) -> None:
    """Print one row an epoch, and which is kept; then what is to be noted of the data."""
    sizes = ", ".join(f"{name} {len(part)}" for name, part in done.splits.items())
    table = Table(title=f"{done.model.name} ({sizes})", title_justify="left")
    names = list(done.result.history[0])
    for name in ("epoch", *names):
        table.add_column(name.replace("_", " "), justify="right")
    for epoch, row in enumerate(done.result.history, start=1):
        mark = " *" if epoch == done.result.best_epoch else "  "
        table.add_row(f"{epoch}{mark}", *(f"{row[name]:.4f}" for name in names))
    OUT.print(table)
    OUT.print("* kept: best on the development split")
    for part in done.splits.values() if notes else ():
        for note in part.notes:
            OUT.print(f"{part.split}: {note}", markup=False)
    if done.coverage is not None:
        share = f"{done.coverage.found} of {done.coverage.total}"
        OUT.print(f"Pretrained vectors for {share} words.")
