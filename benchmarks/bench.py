"""Speed against the published procedures: both sides in one run, CPU seconds, one thread.

Prints a table and writes `build/bench.json` (rows of name, baseline_cpu_s, ours_cpu_s, ratio, and
peak memory) and `build/growth.html` (cost against sentence length and count). Without the golden
model the same sizes are used with random parameters and generated lengths.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import altair as alt
import numpy as np
import polars as pl
import torch
import typer
from rich.console import Console
from rich.table import Table
from tests.golden import golden_dir, golden_instances, golden_model

from attnaudit.attribution import METHODS, Options
from attnaudit.checks.adversary import search
from attnaudit.data.records import Text
from attnaudit.evidence.batch.view import View
from attnaudit.findings.settings import Settings
from attnaudit.measures.adversary_exact import exact_adversary
from attnaudit.measures.rank import kendall_tau
from attnaudit.models.batches import groups
from attnaudit.models.cut import Batch
from attnaudit.models.encoded import Encoded
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.vocabulary import Vocabulary, pad_sequences
from benchmarks import published

WORDS, BUDGET = 5169, 2048
OUT = Path("build")
Data = list[list[int]]


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


def ours_batches(data: Data) -> list[Batch]:
    """Batches by length under the token budget, as an audit makes them."""
    parts = groups([len(s) + 2 for s in data], BUDGET)
    return [_renamed(batch_of(data[part]), part.start) for part in parts]


def _renamed(batch: Batch, start: int) -> Batch:
    ids = tuple(str(start + i) for i in range(len(batch)))
    return Batch(ids, batch.inputs, batch.present, batch.units)


def view_of(encoder: str, batch: Batch) -> View:
    """A batch as the checks see it."""
    encoded = Encoded(model(encoder), batch, trace=True)
    records = [Text(i, "", (), ()) for i in batch.ids]
    return View(encoded, records, Settings(search_hinge=0.01), np.ones(len(batch), bool), None)


# --- the two sides of every row: prepare (not timed), then run (timed) ------------------------
# Both sides of a single procedure start from the batch as it is encoded once; the battery counts
# everything.


def published_parts(encoder: str, data: Data) -> list[tuple[Batch, tuple]]:
    net = model(encoder).net
    return [(part, published.base(net, part)) for part in published.batches_of(batch_of(data))]


def our_views(encoder: str, data: Data) -> list[View]:
    views = [view_of(encoder, batch) for batch in ours_batches(data)]
    for view in views:
        _ = view.encoded.outputs
    return views


def published_leave_one_out(encoder: str, prepared: list) -> None:
    for part, _ in prepared:
        published.leave_one_out(model(encoder).net, part)


def ours_leave_one_out(encoder: str, prepared: list[View]) -> None:
    for view in prepared:
        METHODS["leave_one_out"].compute(view.encoded, Options())


def published_permutation(encoder: str, prepared: list) -> None:
    for part, (hidden, weights, _) in prepared:
        np.median(published.permutations(model(encoder).net, part, hidden, weights), 1)


def ours_permutation(encoder: str, prepared: list[View]) -> None:
    for view in prepared:
        _permutations(view_again(view))


def view_again(view: View) -> View:
    """The same encoded batch without what a former run has cached."""
    return View(view.encoded, view.records, view.settings, view.chosen, None)


def _permutations(view: View) -> None:
    _ = (view.permutations[1][..., 1] - view.encoded.probabilities[:, 1:]).abs().median(1)


def published_search(encoder: str, prepared: list) -> None:
    for part, (hidden, weights, output) in prepared:
        published.adversary(model(encoder).net, part, hidden, weights, output)


def ours_search(encoder: str, prepared: list[View]) -> None:
    for view in prepared:
        search(view.encoded, view.settings)


def ours_exact(encoder: str, prepared: list[View]) -> None:
    for view in prepared:
        _exact(view.encoded)


def _exact(encoded: Encoded) -> None:
    linear = encoded.linear
    scores = linear.scores[..., 1] - linear.scores[..., 0]
    bias = linear.bias[..., 1] - linear.bias[..., 0]
    exact_adversary(scores, bias, encoded.weights, encoded.units, 0.05)


def rank_lists(encoder: str, data: Data) -> tuple[list[np.ndarray], list[np.ndarray]]:
    draw = np.random.default_rng(0)
    first, second = ([draw.random(len(s)).astype(np.float32) for s in data] for _ in range(2))
    return first, second


def rank_tensors(encoder: str, data: Data) -> list[tuple[torch.Tensor, ...]]:
    first, second = rank_lists(encoder, data)
    parts, start = [], 0
    for batch in ours_batches(data):
        end = start + len(batch)
        a, b = torch.zeros(batch.units.shape), torch.zeros(batch.units.shape)
        a[batch.units] = torch.from_numpy(np.concatenate(first[start:end]))
        b[batch.units] = torch.from_numpy(np.concatenate(second[start:end]))
        parts.append((a, b, batch.units))
        start = end
    return parts


def published_ranks(encoder: str, prepared: tuple) -> None:
    published.rank_statistics(*prepared)


def ours_ranks(encoder: str, prepared: list) -> None:
    for a, b, mask in prepared:
        kendall_tau(a, b, mask)


def unprepared(encoder: str, data: Data) -> Data:
    return data


def published_battery(encoder: str, data: Data) -> None:
    """Gradient, leave-one-out, 100 permutations, the search and three tau an instance."""
    net = model(encoder).net
    for part in published.batches_of(batch_of(data)):
        gradient = published.gradients(net, part)
        removed = published.leave_one_out(net, part)
        hidden, weights, output = published.base(net, part)
        published.permutations(net, part, hidden, weights)
        published.adversary(net, part, hidden, weights, output)
        change = np.abs(removed - output.numpy()[:, None])
        rows = [part.units[i].numpy() for i in range(len(part))]
        lists = [
            [x[i][rows[i]] for i in range(len(part))] for x in (weights.numpy(), gradient, change)
        ]
        for a, b in ((0, 1), (0, 2), (1, 2)):
            published.rank_statistics(lists[a], lists[b])


def ours_battery(encoder: str, data: Data, *, exact: bool = False) -> None:
    """The same quantities, shared as the audit shares them."""
    for batch in ours_batches(data):
        view = view_of(encoder, batch)
        gradient, removed = view.scores("gradient"), view.scores("leave_one_out").abs()
        weights = view.encoded.weights
        _permutations(view)
        if exact:
            _exact(view.encoded)
        else:
            search(view.encoded, view.settings)
        for a, b in ((weights, gradient), (weights, removed), (gradient, removed)):
            kendall_tau(a, b, batch.units)


def ours_battery_exact(encoder: str, data: Data) -> None:
    ours_battery(encoder, data, exact=True)


@dataclass(frozen=True)
class Side:
    """One side of a comparison: what is prepared, and what is timed."""

    prepare: Callable[[str, Data], Any]
    run: Callable[[str, Any], None]


P_LOO = Side(published_parts, published_leave_one_out)
P_SEARCH = Side(published_parts, published_search)
P_BATTERY = Side(unprepared, published_battery)
O_LOO = Side(our_views, ours_leave_one_out)
ROWS: dict[str, tuple[str, Side, Side]] = {
    "leave_one_out.bilstm": ("bilstm", P_LOO, O_LOO),
    "leave_one_out.cnn": ("cnn", P_LOO, O_LOO),
    "leave_one_out.average": ("average", P_LOO, O_LOO),
    "permutation": (
        "bilstm",
        Side(published_parts, published_permutation),
        Side(our_views, ours_permutation),
    ),
    "adversary_search": ("bilstm", P_SEARCH, Side(our_views, ours_search)),
    "adversary_exact": ("bilstm", P_SEARCH, Side(our_views, ours_exact)),
    "rank_statistics": (
        "bilstm",
        Side(rank_lists, published_ranks),
        Side(rank_tensors, ours_ranks),
    ),
    "battery": ("bilstm", P_BATTERY, Side(unprepared, ours_battery)),
    "battery_exact": ("bilstm", P_BATTERY, Side(unprepared, ours_battery_exact)),
}


def seconds(side: Side, encoder: str, data: Data, repeat: int = 1) -> float:
    """CPU seconds of the fastest of some runs."""
    prepared, best = side.prepare(encoder, data), float("inf")
    for _ in range(repeat):
        start = time.process_time()
        side.run(encoder, prepared)
        best = min(best, time.process_time() - start)
    return best


def peak_mib() -> float:
    """Peak resident MiB of this process alone; `getrusage` would count what the parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def memory(name: str, side: str, count: int) -> float | None:
    """Peak resident MiB of one side in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.bench",
        "--memory-of",
        name,
        "--side",
        side,
        "--count",
        str(count),
    ]
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
                theirs = None  # 500 steps a batch: left out of the picture, not of the table
            for side, function in (("published", theirs), ("ours", ours)):
                if function is None:
                    continue
                size = length if axis.startswith("length") else count
                rows.append(
                    {
                        "what": name,
                        "axis": axis,
                        "size": size,
                        "side": side,
                        "cpu_s": max(seconds(function, encoder, data), 1e-4),
                    }
                )
    table = pl.DataFrame(rows)
    table.write_json(OUT / "growth.json")
    chart = (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(
            alt.X("size:Q", scale=alt.Scale(type="log")),
            alt.Y("cpu_s:Q", scale=alt.Scale(type="log"), title="CPU seconds"),
            color="side:N",
            column="what:N",
            row="axis:N",
        )
        .properties(width=180, height=150)
        .resolve_scale(x="independent", y="independent")
    )
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
    data = sentences() if memory_of else sentences()[:count]
    if memory_of:
        encoder, theirs, ours = ROWS[memory_of]
        chosen = ours if side == "ours" else theirs
        chosen.run(encoder, chosen.prepare(encoder, data[-count:]))
        print(peak_mib())
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
        row = {
            "name": name,
            "baseline_cpu_s": round(base, 4),
            "ours_cpu_s": round(own, 4),
            "ratio": round(base / own, 1),
        }
        if with_memory:
            some = min(count, 256)
            row["baseline_peak_mib"] = memory(name, "published", some)
            row["ours_peak_mib"] = memory(name, "ours", some)
        results.append(row)
    table = Table(title=f"CPU seconds, one thread, {len(data)} sentences")
    for key in results[0]:
        table.add_column(key.replace("_cpu_s", " s").replace("_peak_mib", " MiB"), no_wrap=True)
    for row in results:
        table.add_row(
            *(
                f"{v:.1f}" if isinstance(v, float) and k != "ours_cpu_s" else str(v)
                for k, v in row.items()
            )
        )
    Console().print(table)
    (OUT / "bench.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    if with_growth and not only:
        growth()


if __name__ == "__main__":
    typer.run(main)
