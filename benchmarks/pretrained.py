"""Does agreement change when the encoder is pretrained? SST, from scratch and above MiniLM.

Trains additive attention above five encoders on the binary Stanford Sentiment Treebank: a BiLSTM
and the context-free average encoder from scratch; the last layer of all-MiniLM-L6-v2, its word
vectors alone (layer 0), and the last layer of the same transformer with random weights. Audits
agreement and permutation on the same test texts, prints a table and writes
`build/pretrained.json`. About eight minutes on one core.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import torch
import typer
from rich.console import Console
from rich.table import Table
from tests.shared import SHARED

import attnaudit
from attnaudit.data.records import Dataset
from attnaudit.data.sources.resolve import resolve
from attnaudit.evidence.batch.chunks import drawn
from attnaudit.models.cut import Model
from attnaudit.nets.pretrained.frozen import FrozenTransformer
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.training.options import TrainOptions
from attnaudit.training.text import train_above

OUT = Path("build/pretrained.json")
ROWS = {
    "accuracy": ("accuracy", "model"),
    "ROC-AUC": ("roc_auc", "model"),
    "tau(weights, gradient)": ("kendall_tau", "weights~gradient"),
    "tau(weights, leave-one-out)": ("kendall_tau", "weights~leave_one_out"),
    "tau(gradient, leave-one-out)": ("kendall_tau", "gradient~leave_one_out"),
    "permutation, median TVD": ("median_tvd", "weights"),
}
MODELS = ("bilstm", "average", "minilm", "minilm, layer 0", "minilm, random weights")


def trained(kind: str, splits: dict[str, Dataset], seed: int) -> Model:
    options = TrainOptions(seed=seed)
    if not kind.startswith("minilm"):
        return attnaudit.train(splits, encoder=kind, options=options, progress=False).model
    encoder = load_transformer("minilm", 0 if kind.endswith("layer 0") else -1)
    if kind.endswith("random weights"):
        encoder = randomised(encoder, seed)
    return train_above(splits, encoder, options, name=kind).model


def randomised(encoder: FrozenTransformer, seed: int) -> FrozenTransformer:
    """The same transformer and tokenizer, with the weights that its training began with."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(encoder.transformer)(encoder.transformer.config)
    fresh.pooler = None
    return FrozenTransformer(encoder.source, fresh, encoder.words)


def measured(model: Model, test: Dataset, seed: int) -> dict[str, dict[str, float]]:
    # what is costly (integrated gradients) is not looked at here, so it runs on one text
    settings = attnaudit.Settings(
        checks=("agreement", "permutation"), costly_limit=1, ig_max_nodes=8, seed=seed
    )
    frame = attnaudit.audit(model, test, settings=settings, progress=False).frame
    frame = frame.filter(pl.col("group") == "all")
    found = {}
    for name, (statistic, method) in ROWS.items():
        row = frame.filter((pl.col("statistic") == statistic) & (pl.col("method") == method))
        found[name] = {key: row[key][0] for key in ("value", "low", "high", "n")}
    return found


def main(
    seed: Annotated[int, typer.Option(help="Of training and audit.")] = 0,
    train_texts: Annotated[int, typer.Option(help="Texts to train on, of 6920.")] = 6920,
    test_texts: Annotated[int, typer.Option(help="Texts to audit, drawn by the seed 0.")] = 600,
) -> None:
    """Measure, print and write build/pretrained.json."""
    splits = resolve("sst", data_dir=SHARED / "data" / "sst").splits()
    splits["train"] = few(splits["train"], train_texts)
    # the authors keep test texts of more than five words: the same here
    longer = splits["test"].select([r for r in splits["test"] if len(r.units) > 5])
    test = few(longer, test_texts)
    found: dict[str, Any] = {}
    for kind in MODELS:
        start = time.process_time()
        model = trained(kind, splits, seed)
        middle = time.process_time()
        found[kind] = measured(model, test, seed)
        found[kind]["CPU seconds"] = {
            "train": middle - start,
            "audit": time.process_time() - middle,
        }
        print(kind, json.dumps(found[kind]))
    table = Table(title=f"SST, additive attention: {len(splits['train'])} train, {len(test)} test")
    for column in ("quantity", *MODELS):
        table.add_column(column, overflow="fold")
    for name in ROWS:
        rows = [found[kind][name] for kind in MODELS]
        cells = [f"{r['value']:.3f} ({r['low']:.3f} to {r['high']:.3f}, {r['n']})" for r in rows]
        table.add_row(name, *cells)
    Console().print(table)
    OUT.parent.mkdir(exist_ok=True)
    sizes = {name: len(part) for name, part in {**splits, "audited": test}.items()}
    OUT.write_text(json.dumps({"seed": seed, "sizes": sizes, "models": found}, indent=2))


def few(data: Dataset, limit: int) -> Dataset:
    flags = drawn([record.id for record in data], limit, 0, "benchmark")
    return data.select([record for record, flag in zip(data, flags, strict=True) if flag])


if __name__ == "__main__":
    typer.run(main)
