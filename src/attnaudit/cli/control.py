"""`attnaudit control`: train a model again with one thing changed, and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from attnaudit.cli.app import (
    OUT,
    DataDir,
    DropEmpty,
    DropUnlabelled,
    IdColumn,
    LabelColumn,
    Limit,
    Seed,
    TextColumn,
    Tokens,
    app,
    label_of,
)
from attnaudit.cli.output import told
from attnaudit.cli.study import _watched as watched
from attnaudit.console import visible
from attnaudit.controls.registry import CONTROLS
from attnaudit.controls.run import ControlReport, finish_controls, prepare_controls
from attnaudit.data.splits import load_splits
from attnaudit.evidence.trainings.design import ADVERSARY_EPOCHS, LAMBDAS, SEEDS, Design, Recipe
from attnaudit.findings.estimates import spoken
from attnaudit.findings.findings import Verdict
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.report.controls import write_controls
from attnaudit.runs.folders import check_run
from attnaudit.training.options import TrainOptions

TONES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_APPLICABLE: "dim",
}


@app.command()
def control(
    data: Annotated[
        str,
        typer.Argument(
            help="CSV, JSONL (.gz), Parquet, a folder of splits, a named set such as "
            "'reviews', or a hub name."
        ),
    ],
    controls: Annotated[
        list[str] | None,
        typer.Option(
            "--control", help=f"Run this one only; repeat for more: {', '.join(CONTROLS)}."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Run folder; finished trainings are kept there.")
    ] = Path("runs/control"),
    base: Annotated[
        Path | None, typer.Option(help="Folder of the model in question, if it is trained already.")
    ] = None,
    encoder: Annotated[str, typer.Option(help=", ".join(ENCODERS))] = "bilstm",
    attention: Annotated[str, typer.Option(help=", ".join(LEARNED))] = "additive",
    hidden: Annotated[int, typer.Option(min=1, help="Hidden size.")] = 128,
    embedding_dim: Annotated[int, typer.Option(min=1, help="Size of word vectors.")] = 300,
    vectors: Annotated[
        Path | None, typer.Option(help="Pretrained word vectors: text (.vec, .txt, .gz) or .npz.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 8,
    min_df: Annotated[int, typer.Option(min=1, help="Texts a word must occur in.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="Further seeds.")] = SEEDS,
    repeats: Annotated[
        int, typer.Option(min=1, help="Seeds with which replacements are compared.")
    ] = 1,
    strengths: Annotated[
        list[float] | None,
        typer.Option("--lambda", help="Strength of the trained adversary; repeat for more."),
    ] = None,
    adversary_epochs: Annotated[
        int, typer.Option(min=1, help="Most epochs of the trained adversary.")
    ] = ADVERSARY_EPOCHS,
    workers: Annotated[
        int, typer.Option(min=1, help="Trainings at a time; numbers stay equal.")
    ] = 1,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    id_column: IdColumn = None,
    limit: Limit = None,
    tokenizer: Tokens = None,
    data_dir: DataDir = None,
    drop_unlabelled: DropUnlabelled = False,
    drop_empty: DropEmpty = False,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the findings of other controls there.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be trained and how long; train nothing."),
    ] = False,
) -> None:
    """Ask what only further trainings can answer: does attention matter, are its weights stable?

    Says beforehand how long it will take. Writes findings.json, instances and estimates as
    Parquet, every model, and controls.html into the run folder. The same command goes on where it
    stopped. Exit code 1 means that a training failed.

    Example: attnaudit control reviews --control uniform --control seeds --seeds 3 --workers 2
    """
    check_run(out, "control", reads=(data, base, vectors, data_dir))
    options = TrainOptions(epochs=epochs, min_df=min_df, seed=seed, device=device)
    recipe = Recipe(encoder, attention, hidden, embedding_dim, vectors, options)
    design = Design(
        recipe,
        seeds=seeds,
        repeats=repeats,
        lambdas=tuple(strengths or LAMBDAS),
        adversary_epochs=adversary_epochs,
    )
    with OUT.status("reading the data"):
        splits = load_splits(
            data,
            text_column=text_column,
            label_column=label_of(label_column),
            id_column=id_column,
            limit=limit,
            tokenizer=tokenizer,
            data_dir=data_dir,
            drop_unlabelled=drop_unlabelled,
            drop_empty=drop_empty,
            seed=seed,
        )
    work = prepare_controls(splits, design, controls, out, base=base, overwrite=overwrite)
    with OUT.status("timing a few batches"):
        said = work.forecast(workers)
    OUT.print_line(f"{said[0].upper()}{said[1:]}.")
    if dry_run:
        OUT.print_line("Trainings: " + ", ".join(work.waiting))
        return
    with told(), watched(len(work.waiting)) as watch:
        report = finish_controls(work, controls, workers=workers, watch=watch)
    page = write_controls(report, out / "controls.html")
    OUT.print(findings_table(report))
    OUT.print_line(report.judgement, "bold")
    for what, path in (("Report", page), ("Run", out)):
        OUT.print_place(what, path)
    if any(training.failed for training in report.report.trainings):
        raise typer.Exit(1)


def findings_table(report: ControlReport) -> Table:
    """One row a finding: its verdict, what it rests on, and the sentence."""
    table = Table(
        title=f"Controls on {visible(report.report.data)}", title_justify="left", show_lines=True
    )
    for column in ("control", "verdict", "headline"):
        table.add_column(column, no_wrap=column == "verdict")
    table.add_column("finding", ratio=1)
    for finding in (report.report.gate, *report.findings):
        tone = TONES[finding.verdict]
        notes = "".join(f"\n{visible(note)}" for note in finding.notes)
        table.add_row(
            Text.assemble(finding.check, (f"\n{visible(finding.subject)}", "dim")),
            Text(finding.verdict.value, style=tone),
            "" if finding.headline is None else spoken(finding.headline, 3),
            Text.assemble(visible(finding.sentence), (notes, "dim")),
        )
    return table
