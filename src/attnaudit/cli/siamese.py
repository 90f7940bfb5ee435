"""`attnaudit siamese`: a similarity model whose token pairs add up exactly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from attnaudit.cli.app import OUT, DataDir, IdColumn, Limit, Seed, app, columns_of
from attnaudit.data.pairs.scored_pairs import FIRST, PAIR_SETS, SCORE, SECOND
from attnaudit.data.sources.resolve import resolve
from attnaudit.nets.checkpoint import check_place
from attnaudit.progress import bars

if TYPE_CHECKING:
    from attnaudit.measures.bootstrap import Interval


@app.command()
def siamese(
    data: Annotated[
        str,
        typer.Argument(
            help="Pairs with scores: CSV, JSONL (.gz), Parquet, a folder of splits, "
            f"{', '.join(PAIR_SETS)}, or a hub name."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")] = Path("exact"),
    model: Annotated[
        str,
        typer.Option(help="minilm, the folder of a sentence-transformers model, or a hub name."),
    ] = "minilm",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that attnaudit saved there.")
    ] = False,
    loss: Annotated[str, typer.Option(help="What is fitted to the scores: cosine, dot.")] = (
        "cosine"
    ),
    epochs: Annotated[int, typer.Option(min=1)] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="The highest, after the warm-up.")] = 2e-5,
    top: Annotated[
        float | None,
        typer.Option(help="The score that stands for a similarity of 1; 1 or 5 by default."),
    ] = None,
    a_column: Annotated[
        str | None, typer.Option(help=f"Column of the first text; else {', '.join(FIRST)}.")
    ] = None,
    b_column: Annotated[
        str | None, typer.Option(help=f"Column of the second text; else {', '.join(SECOND)}.")
    ] = None,
    score_column: Annotated[
        str | None, typer.Option(help=f"Column of the score; else {', '.join(SCORE)}.")
    ] = None,
    id_column: IdColumn = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
) -> None:
    """Train the exact model: similarities that token pairs explain without a rest.

    A model is shifted so that its reference input has the embedding zero (Möller et al. 2023), and
    fine-tuned on pairs of texts that people scored. Data without splits are cut into train, dev and
    test; dev chooses the epoch, and test is looked at once, at the end.

    Example: attnaudit siamese pairs.csv --model minilm --out exact
    """
    # sentence-transformers takes seconds to import
    from attnaudit.models.siamese.spearman import spearman_of
    from attnaudit.training.siamese import finetune

    check_place(out, overwrite=overwrite, reads=(data, model, data_dir))
    splits = resolve(
        data,
        "pairs",
        limit=limit,
        seed=seed,
        data_dir=data_dir,
        columns=columns_of(a=a_column, b=b_column, score=score_column, id=id_column),
    ).splits()
    with bars() as progress:
        done = finetune(
            model,
            splits["train"],
            dev=splits["dev"],
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            loss=loss,  # type: ignore[arg-type]
            top=top,
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress if progress is not None else False,
        )
        test = spearman_of(done.model, splits["test"], kind=loss)  # type: ignore[arg-type]
    table = Table(
        title=f"Spearman correlation with the scores ({done.pairs:,} training pairs)",
        title_justify="left",
    )
    for name in ("model", "pairs", "n", "Spearman", "95 % interval"):
        table.add_column(name, justify="left" if name in ("model", "pairs") else "right")
    for name, part, found in (
        ("as given", "dev", done.plain),
        ("shifted, before training", "dev", done.before),
        (f"shifted, after epoch {done.best_epoch}", "dev", done.after),
        ("", "test", test),
    ):
        table.add_row(name, part, f"{found.n:,}", *_spoken(found))
    OUT.print(table)
    OUT.print_place("Model", out)


def _spoken(found: Interval) -> tuple[str, str]:
    if found.value is None or found.low is None or found.high is None:
        return "undefined" if found.value is None else f"{found.value:.4f}", ""
    return f"{found.value:.4f}", f"{found.low:.4f} to {found.high:.4f}"
