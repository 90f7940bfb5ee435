"""`attnaudit train-bags`: a classifier of bags, or an ensemble of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from attnaudit.cli.app import OUT, DataDir, Limit, Seed, app, columns_of
from attnaudit.console import visible
from attnaudit.data.bags.modalities import MODALITIES
from attnaudit.data.bags.rules import RULES
from attnaudit.models.ensemble import RULES as ENSEMBLE_RULES
from attnaudit.nets.bags.classifier import HEADS
from attnaudit.nets.bags.encoders import BAG_ENCODERS
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.progress import bars
from attnaudit.training.bag_loop import LOSSES, BagOptions
from attnaudit.training.bags import TrainedBags, train_bag_model

BagData = Annotated[
    str,
    typer.Argument(
        help="An .npz file, a table with one row an instance (CSV, JSONL, Parquet), a folder with "
        "one file a split, a classic set, or a generated one: RULE-MODALITY, e.g. "
        f"conjunction-digits (rules: {', '.join(RULES)}; modalities: {', '.join(MODALITIES)})."
    ),
]
Pool = Annotated[str, typer.Option(help=", ".join(BAG_POOLS))]
Encoder = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(BAG_ENCODERS)}; by default what fits the instances."),
]
Head = Annotated[str, typer.Option(help=", ".join(HEADS))]
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


@app.command("train-bags")
def train_bags_command(
    data: BagData,
    out: Annotated[Path, typer.Option(help="Folder for the model.")] = Path("model"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that attnaudit saved there.")
    ] = False,
    pool: Pool = "gated",
    encoder: Encoder = None,
    head: Head = "linear",
    hidden: Annotated[int, typer.Option(min=1, help="Numbers of an encoded instance.")] = 32,
    attention: Annotated[int, typer.Option(min=1, help="Rows inside the attention.")] = 16,
    heads: Annotated[int, typer.Option(min=1, help="Heads, in pools that have several.")] = 4,
    shown: Annotated[
        int | None, typer.Option(min=0, help="The head whose weights are shown; all by default.")
    ] = None,
    members: Annotated[
        int, typer.Option(min=1, help="2 or more make an ensemble of so many seeds.")
    ] = 1,
    rule: Annotated[
        str, typer.Option(help=f"How an ensemble's weights are joined: {', '.join(ENSEMBLE_RULES)}")
    ] = "mean",
    epochs: Annotated[int, typer.Option(min=1)] = 40,
    batch_size: Annotated[int, typer.Option(min=1, help="Bags a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    loss: Annotated[str, typer.Option(help=", ".join(LOSSES))] = "cross_entropy",
    scale: Annotated[
        bool | None,
        typer.Option("--scale/--no-scale", help="Standardise features; by default if no images."),
    ] = None,
    bag_column: BagColumn = None,
    label_column: Annotated[
        str | None, typer.Option(help="The bag's label; 'label' by default.")
    ] = None,
    features: Features = None,
    truth_column: Annotated[
        str | None, typer.Option(help="1 for key instances; 'truth' by default.")
    ] = None,
    key_types: KeyTypes = None,
    coordinates: Coordinates = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
) -> None:
    """Train a classifier of bags (multiple-instance learning) to be audited.

    Without splits in the data, 80 % of the bags are trained on, 10 % choose the epoch, and 10 %
    are held out; they are stored with the model and audited by `attnaudit audit MODEL`.

    Example: attnaudit train-bags slides.parquet --bag-column slide --pool gated --members 6
    """
    options = BagOptions(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        loss=loss,
        seed=seed,
        device=device,
    )
    columns = columns_of(
        bag=bag_column,
        label=label_column,
        truth=truth_column,
        key_type=key_types,
        features=features,
        coordinates=coordinates,
    )
    with bars() as progress:
        done = train_bag_model(
            data,
            encoder=encoder,
            pool=pool,
            head=head,
            hidden=hidden,
            attention=attention,
            heads=heads,
            shown=shown,
            scale=scale,
            members=members,
            rule=rule,
            options=options,
            out=out,
            overwrite=overwrite,
            progress=progress,
            limit=limit,
            seed=seed,
            columns=columns,
            data_dir=data_dir,
        )
    _show(done)
    OUT.print_place("Model", out)
    OUT.print_line(
        f"Held out: {len(done.splits['test']):,} bags. Audit the model on them with: "
        f"attnaudit audit {out}"
    )


def _show(done: TrainedBags) -> None:
    sizes = ", ".join(f"{name} {len(part)}" for name, part in done.splits.items())
    table = Table(title=f"{visible(done.model.name)} ({sizes} bags)", title_justify="left")
    names = list(done.fits[0].dev)
    for name in ("member", "epoch kept", *names):
        table.add_column(name.replace("_", " "), justify="right")
    for number, fit in enumerate(done.fits, start=1):
        table.add_row(
            str(number),
            f"{fit.best_epoch} of {len(fit.history)}",
            *(f"{fit.dev[name]:.4f}" for name in names),
        )
    OUT.print(table)
    for note in done.splits["train"].notes:
        OUT.print_line(f"data: {note}")
