"""Speed against the published procedures: both sides in one run, CPU seconds, one thread.

Prints a table and writes `build/bench.json` (rows of name, baseline_cpu_s, ours_cpu_s, ratio, and
peak memory) and `build/growth.html` (cost against sentence length and count). Without the golden
model the same sizes are used with random parameters and generated lengths.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated

import altair as alt
import numpy as np
import polars as pl
import torch
import typer
from rich.console import Console
from rich.table import Table

from attnaudit.attribution import METHODS, Options
from attnaudit.checks import Settings
from attnaudit.checks.adversary import search
from attnaudit.checks.view import View
from attnaudit.data.records import Text
from attnaudit.measures.adversary_exact import exact_adversary
from attnaudit.measures.rank import kendall_tau
from attnaudit.models.batches import groups
from attnaudit.models.cut import Batch
from attnaudit.models.encoded import Encoded
from attnaudit.models.pooled import TextClassifier
from attnaudit.nets.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.vocabulary import Vocabulary, pad_sequences
from benchmarks import published
from tests.golden import golden_dir, golden_instances, golden_model

WORDS, BUDGET = 5169, 16_384
OUT = Path("build")


@cache
def model(encoder: str) -> TextClassifier:
    """The golden model, or one of its size with another encoder and random parameters."""
    if encoder == "bilstm":
        return golden_model()
    torch.manual_seed(0)
    config = ClassifierConfig(("negative", "positive"), encoder=encoder)
    words = tuple(f"w{i}" for i in range(WORDS))
    net = AttentionClassifier(config, WORDS + 4)
    return TextClassifier(net, Vocabulary(words), name=encoder)


def batch_of(sentences: list[list[int]]) -> Batch:
    """Word ids as one padded batch."""
    ids, present, units = pad_sequences(sentences)
    return Batch(tuple(map(str, range(len(sentences)))), ids, present, units)


@cache
def sentences() -> list[list[int]]:
    """The word ids of the golden sentences, shortest first."""
    return [ids[1:-1] for ids in golden_instances()["token_ids"].to_list()]


def ours_batches(data: list[list[int]]) -> list[Batch]:
    """Batches by length under the token budget, as an audit makes them."""
    parts = groups([len(s) + 2 for s in data], BUDGET)
    return [_renamed(batch_of(data[part]), part.start) for part in parts]


def _renamed(batch: Batch, start: int) -> Batch:
    ids = tuple(str(start + i) for i in range(len(batch)))
    return Batch(ids, batch.inputs, batch.present, batch.units)


def view_of(encoder: str, batch: Batch) -> View:
    """A batch as the checks see it."""
    encoded = Encoded(model(encoder), batch)
    records = [Text(i, "", (), ()) for i in batch.ids]
    return View(encoded, records, Settings(search_hinge=0.01), np.ones(len(batch), bool), None)


# --- the two sides of every row -------------------------------------------------------------


def published_leave_one_out(encoder: str, data: list[list[int]]) -> None:
    net = model(encoder).net
    for part in published.batches_of(batch_of(data)):
        published.leave_one_out(net, part)


def ours_leave_one_out(encoder: str, data: list[list[int]]) -> None:
    for batch in ours_batches(data):
        METHODS["leave_one_out"].compute(Encoded(model(encoder), batch), Options())


def published_permutation(encoder: str, data: list[list[int]]) -> None:
    net = model(encoder).net
    for part in published.batches_of(batch_of(data)):
        outputs = published.permutations(net, part)
        np.median(outputs, 1)


def ours_permutation(encoder: str, data: list[list[int]]) -> None:
    for batch in ours_batches(data):
        view = view_of(encoder, batch)
        _ = (view.permutations[1][..., 1] - view.encoded.probabilities[:, 1:]).abs().median(1)


def published_search(encoder: str, data: list[list[int]]) -> None:
    net = model(encoder).net
    for part in published.batches_of(batch_of(data)):
        published.adversary(net, part)


def ours_search(encoder: str, data: list[list[int]]) -> None:
    for batch in ours_batches(data):
        search(view_of(encoder, batch))


def ours_exact(encoder: str, data: list[list[int]]) -> None:
    for batch in ours_batches(data):
        _exact(Encoded(model(encoder), batch))


def _exact(encoded: Encoded) -> None:
    linear = encoded.linear
    scores = linear.scores[..., 1] - linear.scores[..., 0]
    bias = linear.bias[..., 1] - linear.bias[..., 0]
    exact_adversary(scores, bias, encoded.weights, encoded.units, 0.05)


@cache
def rank_input(count: int) -> tuple[list[np.ndarray], list[np.ndarray], list[Batch]]:
    draw = np.random.default_rng(0)
    data = sentences()[:count]
    first = [draw.random(len(s)).astype(np.float32) for s in data]
    second = [draw.random(len(s)).astype(np.float32) for s in data]
    return first, second, ours_batches(data)


def published_ranks(encoder: str, data: list[list[int]]) -> None:
    first, second, _ = rank_input(len(data))
    published.rank_statistics(first, second)


def ours_ranks(encoder: str, data: list[list[int]]) -> None:
    first, second, batches = rank_input(len(data))
    start = 0
    for batch in batches:
        a, b = torch.zeros(batch.units.shape), torch.zeros(batch.units.shape)
        end = start + len(batch)
        a[batch.units] = torch.from_numpy(np.concatenate(first[start:end]))
        b[batch.units] = torch.from_numpy(np.concatenate(second[start:end]))
        kendall_tau(a, b, batch.units)
        start = end


def published_battery(encoder: str, data: list[list[int]]) -> None:
    """Gradient, leave-one-out, 100 permutations, the search and three tau an instance."""
    net = model(encoder).net
    for part in published.batches_of(batch_of(data)):
        gradient = published.gradients(net, part)
        removed = published.leave_one_out(net, part)
        published.permutations(net, part)
        published.adversary(net, part)
        with torch.no_grad():
            hidden = published.encode(net, part)
            weights = net.attend(hidden, part.units)
            base = published.probability(net, hidden, weights).numpy()
        change = np.abs(removed - base[:, None])
        rows = [part.units[i].numpy() for i in range(len(part))]
        lists = [
            [x[i][rows[i]] for i in range(len(part))] for x in (weights.numpy(), gradient, change)
        ]
        for a, b in ((0, 1), (0, 2), (1, 2)):
            published.rank_statistics(lists[a], lists[b])


def ours_battery(encoder: str, data: list[list[int]], *, exact: bool = False) -> None:
    """The same quantities, shared as the audit shares them."""
    for batch in ours_batches(data):
        view = view_of(encoder, batch)
        gradient, removed = view.scores("gradient"), view.scores("leave_one_out").abs()
        weights = view.encoded.weights
        (view.permutations[1][..., 1] - view.encoded.probabilities[:, 1:]).abs().median(1)
        if exact:
            _exact(view.encoded)
        else:
            search(view)
        for a, b in ((weights, gradient), (weights, removed), (gradient, removed)):
            kendall_tau(a, b, batch.units)


def ours_battery_exact(encoder: str, data: list[list[int]]) -> None:
    ours_battery(encoder, data, exact=True)


Side = Callable[[str, list[list[int]]], None]
ROWS: dict[str, tuple[str, Side, Side]] = {
    "leave_one_out.bilstm": ("bilstm", published_leave_one_out, ours_leave_one_out),
    "leave_one_out.cnn": ("cnn", published_leave_one_out, ours_leave_one_out),
    "leave_one_out.average": ("average", published_leave_one_out, ours_leave_one_out),
    "permutation": ("bilstm", published_permutation, ours_permutation),
    "adversary_search": ("bilstm", published_search, ours_search),
    "adversary_exact": ("bilstm", published_search, ours_exact),
    "rank_statistics": ("bilstm", published_ranks, ours_ranks),
    "battery": ("bilstm", published_battery, ours_battery),
    "battery_exact": ("bilstm", published_battery, ours_battery_exact),
}


def seconds(side: Side, encoder: str, data: list[list[int]], repeat: int = 1) -> float:
    """CPU seconds of the fastest of some runs."""
    best = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        side(encoder, data)
        best = min(best, time.process_time() - start)
    return best


def memory(name: str, side: str, count: int) -> float | None:
    """Peak resident MiB of one side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench", "--memory-of", name, "--side", side,
               "--count", str(count)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.strip()) if done.returncode == 0 else None


def growth() -> None:
    """Cost against sentence length and count, both sides, drawn on logarithmic axes."""
    draw = np.random.default_rng(0)
    rows = []
    shapes = [(length, 32, "length, 32 texts") for length in (8, 16, 32, 64, 128)]
    shapes += [(18, count, "count, 18 words each") for count in (32, 128, 512)]
    for length, count, axis in shapes:
        data = [draw.integers(4, WORDS, length).tolist() for _ in range(count)]
        for name in ("leave_one_out.bilstm", "leave_one_out.cnn", "permutation", "adversary_exact"):
            encoder, theirs, ours = ROWS[name]
            if name == "adversary_exact":
                theirs = None
            for side, function in (("published", theirs), ("ours", ours)):
                if function is None:
                    continue
                size = length if axis.startswith("length") else count
                rows.append({"what": name, "axis": axis, "size": size, "side": side,
                             "cpu_s": max(seconds(function, encoder, data), 1e-4)})  # fmt: skip
    table = pl.DataFrame(rows)
    table.write_json(OUT / "growth.json")
    chart = (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(
            alt.X("size:Q", scale=alt.Scale(type="log")),
            alt.Y("cpu_s:Q", scale=alt.Scale(type="log"), title="CPU seconds"),
            color="side:N", column="what:N", row="axis:N",
        )
        .properties(width=180, height=150)
        .resolve_scale(x="independent", y="independent")
    )  # fmt: skip
    chart.save(OUT / "growth.html", inline=True)


def main(
    only: Annotated[list[str] | None, typer.Option(help="Rows to run; repeat for more.")] = None,
    count: Annotated[int, typer.Option(help="Sentences.")] = 1725,
    with_growth: Annotated[bool, typer.Option("--growth/--no-growth")] = True,
    with_memory: Annotated[bool, typer.Option("--memory/--no-memory")] = True,
    memory_of: Annotated[str | None, typer.Option(hidden=True)] = None,
    side: Annotated[str, typer.Option(hidden=True)] = "ours",
) -> None:
    """Measure every row, print the table and write build/bench.json."""
    torch.set_num_threads(1)
    golden_dir()
    data = sentences()[:count]
    if memory_of:
        encoder, theirs, ours = ROWS[memory_of]
        (ours if side == "ours" else theirs)(encoder, data)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    OUT.mkdir(exist_ok=True)
    results = []
    baselines: dict[tuple[Side, str], float] = {}
    for name, (encoder, theirs, ours) in ROWS.items():
        if only and name not in only:
            continue
        seconds(ours, encoder, data[::40])  # first calls pay for caches on neither side
        if (theirs, encoder) not in baselines:
            baselines[theirs, encoder] = seconds(theirs, encoder, data)
        base, own = baselines[theirs, encoder], seconds(ours, encoder, data, repeat=2)
        row = {"name": name, "baseline_cpu_s": round(base, 4), "ours_cpu_s": round(own, 4),
               "ratio": round(base / own, 1)}  # fmt: skip
        if with_memory:
            some = min(count, 256)
            row["baseline_peak_mib"] = memory(name, "published", some)
            row["ours_peak_mib"] = memory(name, "ours", some)
        results.append(row)
    table = Table(title=f"CPU seconds, one thread, {len(data)} sentences")
    for key in results[0]:
        table.add_column(key)
    for row in results:
        table.add_row(*(f"{v:.1f}" if isinstance(v, float) and k != "ours_cpu_s" else str(v)
                        for k, v in row.items()))  # fmt: skip
    Console().print(table)
    (OUT / "bench.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    if with_growth and not only:
        growth()


if __name__ == "__main__":
    typer.run(main)
