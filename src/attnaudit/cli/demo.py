"""`attnaudit demo`: the main job on built-in text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from attnaudit import api
from attnaudit.cli.app import OUT
from attnaudit.cli.output import show_result
from attnaudit.cli.train import show_training
from attnaudit.data.sources.resolve import resolve
from attnaudit.findings.settings import Settings
from attnaudit.nets.checkpoint import check_place
from attnaudit.progress import bars
from attnaudit.runs.folders import check_run
from attnaudit.training.guidance import hide_evidence
from attnaudit.training.text import Penalty
from attnaudit.training.train import train as train_model


def demo(
    out: Annotated[Path, typer.Option(help="Folder for models, runs and reports.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Train two models on built-in reviews and audit both: about a minute, no other input.

    The first is trained as usual. The second is trained to be as right while it looks away from
    the words that decide (Pruthi et al. 2020). The reviews are made up, so these words are known.

    Example: attnaudit demo --out runs/demo
    """
    for name in ("plain", "deceptive"):
        check_place(out / name / "model", overwrite=True)
        check_run(out / name / "audit", "audit")
    OUT.print("Writing reviews whose decisive words are known, and training two classifiers:")
    splits = resolve("reviews").splits()
    twins: dict[str, Penalty | None] = {
        "plain": None,
        "deceptive": hide_evidence(splits["train"].records),
    }
    table = Table(title="May these weights be shown?", title_justify="left")
    for column in ("model", "accuracy", "weight on evidence", "verdict", "report"):
        table.add_column(column, overflow="fold")
    for name, penalty in twins.items():
        folder = out / name
        OUT.rule(f"the {name} model")
        with bars() as progress:
            done = train_model(
                splits,
                hidden=64,
                embedding_dim=100,
                penalty=penalty,
                name=f"{name} BiLSTM",
                epochs=4,
                seed=seed,
                out=folder / "model",
                overwrite=True,
                progress=progress,
            )
            show_training(done, notes=name == "plain")
            result = api.audit(
                done.model,
                splits["test"],
                settings=Settings(seed=seed, costly_limit=300),
                out=folder / "audit",
                overwrite=True,
                progress=progress,
            )
        show_result(result, folder / "audit")
        values = {
            (e.statistic, e.subject): e.value
            for f in (result.report.performance, *result.findings)
            for e in f.estimates
        }
        table.add_row(
            name,
            f"{values['accuracy', 'model']:.2f}",
            f"{values['mass_on_evidence', 'weights']:.2f}",
            result.verdict.value,
            str(folder / "audit" / "report.html"),
        )
    OUT.print(table)
