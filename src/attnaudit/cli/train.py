"""`attnaudit train`: a classifier with attention, from labelled text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from attnaudit.cli.app import (
    OUT,
    AllowedColumn,
    DataDir,
    DropEmpty,
    DropUnlabelled,
    IdColumn,
    LabelColumn,
    Limit,
    MaxLength,
    MinLength,
    Pipeline,
    QuestionColumn,
    Seed,
    StrictBounds,
    TextColumn,
    Tokens,
    TruthColumn,
    app,
    columns_of,
)
from attnaudit.console import visible
from attnaudit.errors import SettingsError
from attnaudit.nets.selective.mask_laws import KINDS
from attnaudit.nets.selective.net import DOWNSTREAMS, SelectiveConfig
from attnaudit.nets.text.attentions import ATTENTIONS
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.progress import bars
from attnaudit.remedies import REMEDIES, find_remedy
from attnaudit.training.options import FitOptions
from attnaudit.training.selective import TrainedSelective, train_selective
from attnaudit.training.text_loop import TrainOptions
from attnaudit.training.train import Trained, TrainedAbove, train_above
from attnaudit.training.train import train as train_model


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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that attnaudit saved there.")
    ] = False,
    encoder: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(ENCODERS)}; or a pretrained one that stays as it is: minilm, a "
            "folder, or a hub name."
        ),
    ] = "bilstm",
    attention: Annotated[str, typer.Option(help=", ".join(ATTENTIONS))] = "additive",
    remedy: Annotated[
        str | None, typer.Option(help=f"Train for better weights: {', '.join(REMEDIES)}.")
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(
            help=f"A mask generator before the network, instead of attention: {', '.join(KINDS)}. "
            "See --keep, --downstream, --defaults."
        ),
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Units that a hard mask keeps.")] = None,
    downstream: Annotated[
        str, typer.Option(help=f"What reads the masked words: {', '.join(DOWNSTREAMS)}.")
    ] = "pool",
    defaults: Annotated[
        str | None,
        typer.Option(
            help="Tokens that are the same in every text: 'ends' adds two, 'only' leaves nothing "
            "else to attend to."
        ),
    ] = None,
    hidden: Annotated[
        int | None, typer.Option(min=1, help="Hidden size; 128, or 32 with --masks.")
    ] = None,
    embedding_dim: Annotated[
        int | None, typer.Option(min=1, help="Size of word vectors; 300, or 32 with --masks.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Pretrained word vectors: text (.vec, .txt, .gz) or .npz.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="8; 20 with --masks or a remedy against shortcuts.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many epochs without a better score.")
    ] = None,
    min_df: Annotated[int, typer.Option(min=1, help="Texts a word must occur in.")] = 1,
    classes: Annotated[
        str | None, typer.Option(help="Names of the classes in index order, with commas between.")
    ] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    truth_column: TruthColumn = None,
    id_column: IdColumn = None,
    question_column: QuestionColumn = None,
    allowed_column: AllowedColumn = None,
    limit: Limit = None,
    tokenizer: Tokens = None,
    pipeline: Pipeline = None,
    min_length: MinLength = None,
    max_length: MaxLength = None,
    strict_bounds: StrictBounds = False,
    data_dir: DataDir = None,
    drop_unlabelled: DropUnlabelled = False,
    drop_empty: DropEmpty = False,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
) -> None:
    """Train a text classifier that pools by attention, and save it.

    Data without splits are cut into train, dev and test. The test split is stored with the model,
    with ids and evidence where columns hold them: `attnaudit audit MODEL` audits on it.

    Example: attnaudit train reviews.csv --out model --encoder bilstm --attention additive
    """
    reading: dict[str, Any] = {
        "columns": columns_of(
            text=text_column,
            label=label_column,
            truth=truth_column,
            id=id_column,
            question=question_column,
            allowed=allowed_column,
        ),
        "limit": limit,
        "tokenizer": tokenizer,
        "pipeline": pipeline,
        "min_length": min_length,
        "max_length": max_length,
        "strict_bounds": strict_bounds,
        "data_dir": data_dir,
        "drop_unlabelled": drop_unlabelled,
        "drop_empty": drop_empty,
        "seed": seed,
    }
    if classes:
        reading["classes"] = tuple(classes.split(","))
    _refuse_unused(
        masks,
        encoder,
        with_masks={
            "--keep": keep is not None,
            "--defaults": defaults is not None,
            "--downstream": downstream != "pool",
        },
        without_masks={
            "--vectors": vectors is not None,
            "--encoder": encoder != "bilstm",
            "--attention": attention != "additive",
            "--device": device != "cpu",
        },
        own_words={
            "--vectors": vectors is not None,
            "--hidden": hidden is not None,
            "--embedding-dim": embedding_dim is not None,
            "--min-df": min_df != 1,
        },
    )
    own_way = masks is not None or (remedy is not None and find_remedy(remedy).refit is not None)
    epochs = epochs or (FitOptions.epochs if own_way else TrainOptions.epochs)
    done: Trained | TrainedAbove | TrainedSelective
    if masks is not None:
        fitting = FitOptions(epochs=epochs, patience=patience or FitOptions.patience, seed=seed)
        with bars() as progress:
            done = train_selective(
                data,
                mask=masks,
                k=keep,
                downstream=downstream,
                defaults=defaults,
                remedy=remedy,
                hidden=hidden or SelectiveConfig.hidden,
                embedding_dim=embedding_dim or SelectiveConfig.embedding_dim,
                options=fitting,
                min_df=min_df,
                out=out,
                overwrite=overwrite,
                progress=progress,
                **reading,
            )
        _told(done, out)
        return
    options = TrainOptions(
        epochs=epochs, patience=patience, min_df=min_df, seed=seed, device=device
    )
    hidden, embedding_dim = hidden or 128, embedding_dim or 300
    changed: dict[str, Any] = {"encoder": encoder}
    if remedy:
        changed = find_remedy(remedy).training(encoder)
    with bars() as progress:
        if changed["encoder"] in ENCODERS:
            done = train_model(
                data,
                attention=attention,
                hidden=hidden,
                embedding_dim=embedding_dim,
                vectors=vectors,
                options=options,
                out=out,
                overwrite=overwrite,
                progress=progress,
                **changed,
                **reading,
            )
        else:
            done = train_above(
                data,
                encoder,
                attention=attention,
                options=options,
                out=out,
                overwrite=overwrite,
                progress=progress,
                refit=changed.get("refit"),
                **reading,
            )
    _told(done, out)


def _refuse_unused(
    masks: str | None,
    encoder: str,
    *,
    with_masks: dict[str, bool],
    without_masks: dict[str, bool],
    own_words: dict[str, bool],
) -> None:
    """Refuse options that were given and mean nothing here."""
    for option, given in with_masks.items():
        if given and masks is None:
            raise SettingsError(f"{option} goes with --masks")
    for option, given in without_masks.items():
        if given and masks is not None:
            raise SettingsError(
                f"{option} does not go with --masks: a mask generator has a network and vectors of "
                "its own, and is trained on the CPU"
            )
    for option, given in own_words.items():
        if given and masks is None and encoder not in ENCODERS:
            raise SettingsError(
                f"{option} does not go with --encoder {encoder}: a pretrained encoder has words "
                "and sizes of its own"
            )


def _told(done: Trained | TrainedAbove | TrainedSelective, out: Path) -> None:
    show_training(done)
    OUT.print_place("Model", out)
    test = done.splits.get("test")
    if test is not None:
        OUT.print_line(
            f"Held out: {len(test):,} texts. Audit the model on them with: attnaudit audit {out}"
        )


def show_training(done: Trained | TrainedAbove | TrainedSelective, *, notes: bool = True) -> None:
    """Print one row an epoch, and which is kept; then what is to be noted of the data."""
    sizes = ", ".join(f"{name} {len(part)}" for name, part in done.splits.items())
    table = Table(title=f"{visible(done.model.name)} ({sizes})", title_justify="left")
    names = list(done.result.history[0])
    for name in ("epoch", *names):
        table.add_column(name.replace("_", " "), justify="right")
    for epoch, row in enumerate(done.result.history, start=1):
        mark = " *" if epoch == done.result.best_epoch else "  "
        table.add_row(f"{epoch}{mark}", *(f"{row[name]:.4f}" for name in names))
    OUT.print(table)
    OUT.print("* kept: best on the development split")
    for line in done.result.notes:
        OUT.print_line(line)
    for line in data_notes(done) if notes else ():
        OUT.print_line(line)
    if isinstance(done, Trained) and done.coverage is not None:
        share = f"{done.coverage.found} of {done.coverage.total}"
        OUT.print(f"Pretrained vectors for {share} words.")


def data_notes(done: Trained | TrainedAbove | TrainedSelective) -> list[str]:
    """What is to be noted of the data, each thing once: of all splits first, then of each."""
    parts = done.splits.values()
    shared = [n for n in next(iter(parts)).notes if all(n in part.notes for part in parts)]
    own = [
        f"{part.split}: {note.removeprefix(f'{part.split}: ')}"
        for part in parts
        for note in part.notes
        if note not in shared
    ]
    return [f"data: {note}" for note in shared] + own
