"""Many seeds of a network of bags at once against one after another: CPU seconds, one thread.

Prints a table and writes `build/bag_seeds.json`. Both sides train the same seeds on the same bags
for the same epochs, and the largest difference of their outputs on the test bags is shown.
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

from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.evidence.seeds.members import read_weights
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig
from attnaudit.training.bags import train_bags, train_many
from attnaudit.training.options import TrainOptions, options_for
from attnaudit.training.result import Trained

OUT = Path("build")
SETTINGS = (
    ("presence", "gated", 8),
    ("presence", "gated", 24),
    ("conjunction", "self_attention", 24),
)


def compared(rule: str, pool: str, seeds: int, bags: int, epochs: int) -> dict[str, Any]:
    """One row: CPU seconds of both ways, their ratio, and how far the results are apart."""
    splits = generate_bag_splits(rule, "digits", bags, 100, 200)
    train, dev = splits["train"], splits["dev"]
    config = BagConfig(train.classes, train.shape, pool=pool)

    def options(seed: int = 0) -> TrainOptions:
        return options_for("bags", epochs=epochs, learning_rate=3e-3, seed=seed)

    few = options_for("bags", epochs=1)
    train_many(config, train, dev, (0, 1), few)  # first calls pay for caches
    start = time.process_time()
    at_once = train_many(config, train, dev, range(seeds), options())
    middle = time.process_time()
    one_by_one = [train_bags(config, train, dev, options(seed)) for seed in range(seeds)]
    end = time.process_time()

    def outputs(fit: Trained[BagClassifier]) -> torch.Tensor:
        return read_weights(fit.model, splits["test"])[1].exp()

    apart = max(
        float((outputs(a) - outputs(b)).abs().max())
        for a, b in zip(at_once, one_by_one, strict=True)
    )
    return {
        "setting": f"{rule}, {pool}, {seeds} seeds",
        "one by one, s": round(end - middle, 2),
        "at once, s": round(middle - start, 2),
        "ratio": round((end - middle) / (middle - start), 2),
        "outputs apart": f"{apart:.1e}",
    }


def main(
    bags: Annotated[int, typer.Option(help="Training bags.")] = 200,
    epochs: Annotated[int, typer.Option(help="Passes over them.")] = 10,
) -> None:
    """Compare both ways of training many seeds."""
    torch.set_num_threads(1)
    rows = [compared(*setting, bags, epochs) for setting in SETTINGS]
    table = Table(title=f"CPU seconds, one thread, {bags} bags, {epochs} epochs")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    OUT.mkdir(exist_ok=True)
    (OUT / "bag_seeds.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
