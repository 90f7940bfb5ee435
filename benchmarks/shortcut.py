"""What the shortcut check costs, in trainings of the model: CPU seconds, one thread.

Trains on SST and checks each model beside its training. Prints a table and writes
`build/shortcut.json`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from attnaudit.audits.run import run_audit
from attnaudit.checks.declaration import SHORTCUT
from attnaudit.data.sources.resolve import resolve
from attnaudit.findings.settings import Settings
from attnaudit.models.cut import Model
from attnaudit.training.text import train_above
from attnaudit.training.train import train

OUT = Path("build")
MODELS = ("average", "cnn", "bilstm", "minilm", "masks")


def trained(name: str, splits: Any) -> Model:
    """A model of a kind, trained as the command line does by default."""
    if name == "masks":
        return train(splits, kind="selector", mask="hard", keep=5, progress=False).model
    if name == "minilm":
        return train_above(splits, "minilm").model
    return train(splits, encoder=name, progress=False).model


def compared(name: str, splits: Any) -> dict[str, Any]:
    """One row: CPU seconds of training and of the check, its parts, and the ratio."""
    start = time.process_time()
    model = trained(name, splits)
    middle = time.process_time()
    report = run_audit(model, splits["test"], Settings(checks=(SHORTCUT,)), splits=splits).report
    training, check = middle - start, time.process_time() - middle
    return {
        "model": name,
        "texts": len(splits["train"]),
        "training, s": round(training, 1),
        "check, s": round(check, 1),
        "of it judges, s": round(sum(c.seconds for c in report.cells if "judge" in c.name), 1),
        "trainings": round(check / training, 2),
        "verdict": report.judgement.asked.value,
    }


def main(
    data: Annotated[Path, typer.Option(help="Folder of SST.")] = Path("../shared/data/sst"),
    models: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(MODELS),
    limits: Annotated[str, typer.Option(help="Training texts, comma-separated; 0: all.")] = "0",
) -> None:
    """Measure, print, and keep the numbers."""
    torch.set_num_threads(1)
    rows = []
    for limit in map(int, limits.split(",")):
        splits = resolve("sst", data_dir=data, limit=limit or None).splits()
        rows += [compared(name, splits) for name in models.split(",")]
    table = Table(title="The shortcut check on SST")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    OUT.mkdir(exist_ok=True)
    (OUT / "shortcut.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    typer.run(main)
