"""What it takes to start: CPU seconds of `import attnaudit` and of `attnaudit --help`, one thread.

Each is the median of several processes, with the bare interpreter beside it, and the modules that
take longest to import are named. Prints a table and writes `build/start.json`.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

OUT = Path("build")
HEAVY = ("torch", "scipy", "sklearn", "polars", "pandas", "transformers", "altair", "rich", "typer")
"""Packages that take long, of which it is told whether a start imports them."""
STARTS = {
    "python": ("-c", "pass"),
    "import attnaudit": ("-c", "import attnaudit"),
    "attnaudit --help": ("-m", "attnaudit", "--help"),
}


def seconds(words: tuple[str, ...]) -> float:
    """CPU seconds of a Python process, with those of its start and end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def heavy(words: tuple[str, ...]) -> list[str]:
    """The long ones among the packages that a start imports."""
    command = [sys.executable, "-X", "importtime", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = set(re.findall(r"\|\s+(\w+)$", done.stderr, flags=re.MULTILINE))
    return [name for name in HEAVY if name in found]


def measured(name: str, processes: int) -> dict[str, Any]:
    """One row: the median, the range, and the long imports."""
    words = STARTS[name]
    seconds(words)  # the first one compiles and fills the disk's cache
    spent = [seconds(words) for _ in range(processes)]
    return {
        "start": name,
        "median, s": round(statistics.median(spent), 3),
        "least, s": round(min(spent), 3),
        "most, s": round(max(spent), 3),
        "imports": ", ".join(heavy(words)) or "none of the long ones",
    }


def main(
    processes: Annotated[int, typer.Option(min=1, help="Processes for each start.")] = 7,
) -> None:
    """Measure, print, and keep the numbers."""
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = [measured(name, processes) for name in STARTS]
    table = Table(title=f"CPU seconds to start, median of {processes} processes")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    OUT.mkdir(exist_ok=True)
    (OUT / "start.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
