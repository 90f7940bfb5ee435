"""What large runs cost: engines per cell, intervals of millions, and memory by number of texts.

`python -m benchmarks.scale` prints three tables. Memory is the peak of a fresh process per size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from attnaudit.measures.bootstrap import bootstrap_interval, bootstrap_metric
from attnaudit.runs.cell import Cell, Outcome, Place
from attnaudit.runs.engines import engine_of
from attnaudit.runs.execute import run_cells
from attnaudit.runs.store import Store

SIZES = (2_000, 20_000)


def nothing(cell: Cell, place: Place) -> Outcome:
    """A cell that does nothing."""
    return Outcome()


def engine_overhead(cells: int = 200) -> None:
    """Milliseconds per empty cell, once the workers are there."""
    for name in ("inline", "processes", "ray"):
        with tempfile.TemporaryDirectory() as folder:
            engine = engine_of(2, name)
            store = Store(Path(folder) / "run", "audit")
            warm = [Cell(f"warm {k}", nothing, {"warm": k}) for k in range(4)]
            work = [Cell(f"cell {k}", nothing, {"k": k}) for k in range(cells)]
            first = time.perf_counter()
            run_cells(warm, store, engine=_Kept(engine))
            start = time.perf_counter()
            run_cells(work, store, engine=engine)
            end = time.perf_counter()
        ready, each = start - first, 1000 * (end - start) / cells
        print(f"{name}: {ready:.1f} s to begin, {each:.1f} ms per cell", flush=True)


class _Kept:
    """An engine that is not closed by the run that uses it."""

    def __init__(self, engine) -> None:
        self.engine, self.slots, self.remote = engine, engine.slots, engine.remote
        self.start, self.hear = engine.start, engine.hear

    def close(self) -> None:
        """It goes on."""


def bootstrap_large() -> None:
    """CPU seconds of an interval, by number of values."""
    draw = np.random.default_rng(0)
    for n in (20_000, 200_000, 2_000_000):
        values, labels = draw.random(n), draw.integers(0, 2, n)
        said = np.where(draw.random(n) < 0.8, labels, 1 - labels)
        found = []
        for work in (
            lambda: bootstrap_interval(values),
            lambda: bootstrap_interval(values, "median"),
            lambda: bootstrap_metric(labels, said, lambda y, p: float((y == p).mean())),
        ):
            start = time.process_time()
            work()
            found.append(time.process_time() - start)
        print(
            f"{n:>9,} values: mean {found[0]:.2f} s, median {found[1]:.2f} s, accuracy "
            f"{found[2]:.2f} s",
            flush=True,
        )


def memory_growth(sizes: tuple[int, ...]) -> None:
    """Peak memory of a whole audit of a small network, in a process of its own per size."""
    for size in sizes:
        code = f"from benchmarks.scale import audit_of; audit_of({size})"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        print(done.stdout.strip().splitlines()[-1], flush=True)


def audit_of(size: int) -> None:
    """Audit so many generated texts and print what it took."""
    from attnaudit import Settings, audit
    from attnaudit.data.generated.reviews import generate_review_splits
    from attnaudit.training.options import TrainOptions
    from attnaudit.training.train import train

    splits = generate_review_splits(600, 100, size)
    net = train(
        splits,
        encoder="average",
        hidden=16,
        embedding_dim=16,
        progress=False,
        options=TrainOptions(epochs=3),
    ).model
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        audit(
            net,
            splits["test"],
            checks=("permutation", "effect"),
            settings=Settings(permutations=20, costly_limit=200),
            out=Path(folder) / "run",
            progress=False,
        )
        seconds = time.process_time() - start
        stored = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{size:,} texts: {before:.0f} MiB before, {peak:.0f} MiB at the most, "
        f"{seconds:.0f} CPU s, {size / seconds:.0f} texts per s, {stored:.1f} MiB stored"
    )


def main() -> None:
    """All three, or those that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["engines", "bootstrap", "memory"])
    parser.add_argument("--sizes", default=json.dumps(SIZES))
    chosen = parser.parse_args()
    if "engines" in chosen.parts:
        engine_overhead()
    if "bootstrap" in chosen.parts:
        bootstrap_large()
    if "memory" in chosen.parts:
        memory_growth(tuple(json.loads(chosen.sizes)))


if __name__ == "__main__":
    main()
