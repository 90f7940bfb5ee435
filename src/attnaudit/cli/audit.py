"""`attnaudit audit`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnaudit import api
from attnaudit.audit.held_out import choose
from attnaudit.checks.registry import CHECKS
from attnaudit.cli.app import (
    ERR,
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
    Split,
    StrictBounds,
    TextColumn,
    Tokens,
    TruthColumn,
    app,
    columns_of,
)
from attnaudit.cli.columns import BagColumn, Coordinates, Features, KeyTypes
from attnaudit.cli.output import show_result, told
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings, read_settings
from attnaudit.models.load import load
from attnaudit.progress import bars
from attnaudit.runs.folders import check_run

CheckNames = Annotated[
    list[str] | None,
    typer.Option("--check", help=f"Run this check only; repeat for more: {', '.join(CHECKS)}."),
]


@app.command()
def audit(
    model: Annotated[str, typer.Argument(help="Folder of a model that `attnaudit train` wrote.")],
    data: Annotated[
        str | None,
        typer.Argument(
            help="CSV, JSONL (.gz), Parquet, a folder of splits, a named set or a hub name. "
            "Without it: the test split that `attnaudit train` held out.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Run folder; an interrupted audit goes on there.")
    ] = Path("runs/audit"),
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    truth_column: TruthColumn = None,
    id_column: IdColumn = None,
    question_column: QuestionColumn = None,
    allowed_column: AllowedColumn = None,
    bag_column: BagColumn = None,
    features: Features = None,
    key_types: KeyTypes = None,
    coordinates: Coordinates = None,
    split: Split = None,
    limit: Limit = None,
    tokenizer: Tokens = None,
    pipeline: Pipeline = None,
    min_length: MinLength = None,
    max_length: MaxLength = None,
    strict_bounds: StrictBounds = False,
    data_dir: DataDir = None,
    drop_unlabelled: DropUnlabelled = False,
    drop_empty: DropEmpty = False,
    include_training_texts: Annotated[
        bool,
        typer.Option("--include-training-texts", help="Keep texts that the model was trained on."),
    ] = False,
    check: CheckNames = None,
    search: Annotated[
        bool, typer.Option("--search", help="Run the published adversary search as well.")
    ] = False,
    settings_file: Annotated[
        Path | None,
        typer.Option("--settings", help="JSON file with settings and thresholds to change."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 unless the verdict is 'pass'.")
    ] = False,
    costly_limit: Annotated[
        int | None,
        typer.Option(min=1, help="Instances for what costs the most: erasure, best order."),
    ] = None,
    longest: Annotated[
        int | None,
        typer.Option(min=1, help="Units above which costly leave-one-out is left out."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another audit in the run folder.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
) -> None:
    """Check whether a model's attention weights may be shown as an explanation.

    Writes findings.json, instances as Parquet, report.html and card.md into the run folder.
    Texts that the model was trained on are left out, where `attnaudit train` has noted them.
    Exit code 0 means the audit ran, whatever its verdict; with --strict, that it passed.

    Example: attnaudit audit model/ reviews.csv --text-column review --label-column stars
    """
    check_run(out, "audit", reads=(model, data, settings_file, data_dir))
    base = read_settings(settings_file) if settings_file else Settings()
    loaded = load(model, device)
    with OUT.status("reading the data"):
        chosen = choose(
            loaded,
            data,
            include=include_training_texts,
            split=split,
            columns=columns_of(
                text=text_column,
                label=label_column,
                truth=truth_column,
                id=id_column,
                question=question_column,
                allowed=allowed_column,
                bag=bag_column,
                features=features,
                key_type=key_types,
                coordinates=coordinates,
            ),
            pipeline=pipeline,
            min_length=min_length,
            max_length=max_length,
            strict_bounds=strict_bounds,
            limit=limit,
            seed=base.seed if seed is None else seed,
            tokenizer=tokenizer,
            data_dir=data_dir,
            drop_unlabelled=drop_unlabelled,
            drop_empty=drop_empty,
        )
    if chosen.left_out:
        ERR.print(
            f"{chosen.left_out:,} {loaded.kind.instances} were in the model's training data and "
            f"are left out; {len(chosen.data):,} remain.",
            style="yellow",
        )
    flags: dict[str, object] = {
        "seed": seed,
        "search": search or None,
        "costly_limit": costly_limit,
        "longest": longest,
        "checks": tuple(check) if check else None,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    settings = Settings.model_validate({**base.model_dump(), **given})
    with told(), bars() as progress:
        result = api.audit(
            loaded, chosen, settings=settings, out=out, overwrite=overwrite, progress=progress
        )
    show_result(result, out)
    if strict and result.verdict is not Verdict.PASS:
        raise typer.Exit(1)
