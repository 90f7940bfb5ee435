"""`attnaudit demo`: the main job on built-in text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnaudit import api
from attnaudit.checks import Settings
from attnaudit.cli.app import OUT, Seed, app
from attnaudit.cli.output import show_result
from attnaudit.cli.train import show_training
from attnaudit.data.splits import load_splits
from attnaudit.nets.training import TrainOptions
from attnaudit.progress import bars
from attnaudit.training import train as train_model


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for model, run and report.")] = Path(
        "runs/demo"
    ),
    seed: Seed = 0,
) -> None:
    """Train a model on built-in reviews and audit it: under three minutes, no other input."""
    OUT.print(
        "Reviews made up on the spot, whose evidence words are known; a BiLSTM with additive\n"
        "attention learns to tell good from bad ones. May its weights be shown as the reason?"
    )
    with OUT.status("writing reviews"):
        splits = load_splits("reviews")
    with bars() as progress:
        done = train_model(
            splits, hidden=64, embedding_dim=100, options=TrainOptions(epochs=4, seed=seed),
            out=out / "model", progress=progress,
        )  # fmt: skip
        show_training(done)
        result = api.audit(
            done.model, splits["test"], settings=Settings(seed=seed), out=out / "audit",
            overwrite=True, progress=progress,
        )  # fmt: skip
    show_result(result, out / "audit")
