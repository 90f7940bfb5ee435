"""Damaged inputs for every reader: records or a clear error, within bounds of time and memory.

`python -m benchmarks.fuzz` makes inputs whose content is known, damages three of four, and reads
each in a process of its own with a limit on its memory. A fault is

- a traceback: any exception that is not one of `attnaudit.errors`, or the end of the process;
- a wrong number: a valid input that is not read as it was written, or, where digests are kept, a
  damaged one that is read as something else;
- too slow, in processor seconds, or too big: the limit on memory was reached.

Inputs with a fault are kept below `--keep`; the exit status is then 1. Input `i` of a reader
depends on the seed and on `i` alone, so `--reader NAME --first i --count 1` makes it again.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import pandas as pd
import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from attnaudit.errors import AttnauditError
from benchmarks.fuzz_mutations import change_file, change_rows
from benchmarks.fuzz_readers import READERS, expected_texts, read_texts, texts

KEEP = Path("build/fuzz")
VALID = 0.25
"""Share of inputs that are left as they were written."""
PATIENCE = 20
"""Seconds on the clock for each processor second allowed: the machine may be busy."""
FAULTS = ("traceback", "wrong number", "too slow", "too big", "process ended")
OUTCOMES = ("read", "refused", *FAULTS)


class TooSlow(BaseException):
    """Raised by the timer; no reader may catch it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        index: Which input.
        outcome: One of `OUTCOMES`.
        detail: What was done to it, and the last line of a traceback.
    """

    index: int
    outcome: str
    detail: str


def _frame(rows: list[dict[Any, Any]]) -> object:
    return pl.DataFrame(rows, strict=False)


def _pandas(rows: list[dict[Any, Any]]) -> object:
    return pd.DataFrame(rows)


MEMORY: dict[str, Callable[[list[dict[Any, Any]]], object]] = {
    "list": lambda rows: rows,
    "polars": _frame,
    "pandas": _pandas,
}
"""Readers of what is in memory already: from rows to the object that is read."""
NAMES = (*READERS, *MEMORY)


def one_in_memory(name: str, rng: random.Random) -> tuple[str, str]:
    """Outcome and detail of one object in memory."""
    rows = texts(rng)
    wanted = expected_texts(rows)
    valid = rng.random() < VALID
    if valid:
        source = MEMORY[name](rows)
    else:
        changed = change_rows(rng, [dict(row) for row in rows])
        try:
            source = MEMORY[name](changed)
        except Exception:  # the library of the frame refuses it, which is no matter of ours
            return "refused", "no frame"
    found = read_texts(source)
    return ("wrong number", "valid") if valid and found != wanted else ("read", "")


def one_on_disk(name: str, rng: random.Random, folder: Path) -> tuple[str, str]:
    """Outcome and detail of one input in a folder."""
    reader = READERS[name]
    wanted = reader.write(rng, folder)
    valid = rng.random() < VALID
    done = "valid" if valid else change_file(rng, folder)
    try:
        found = reader.read(folder)
    except AttnauditError as error:
        # a message that cannot be printed is a traceback later
        str(error).encode("utf-8", "backslashreplace")
        return ("wrong number", f"valid input refused: {error}") if valid else ("refused", done)
    if (valid or reader.whole) and found != wanted:
        return "wrong number", done
    return "read", done


def run_one(name: str, seed: int, index: int, folder: Path) -> Outcome:
    """Make one input in an empty folder, read it, and say what became of it."""
    rng = random.Random(f"{name} {seed} {index}")
    try:
        if name in MEMORY:
            outcome, detail = one_in_memory(name, rng)
        else:
            outcome, detail = one_on_disk(name, rng, folder)
    except AttnauditError as error:
        outcome, detail = "refused", type(error).__name__
    except TooSlow:
        outcome, detail = "too slow", _place()
    except MemoryError:
        outcome, detail = "too big", _place()
    except BaseException as error:
        # a panic of a Rust library is a BaseException too
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        outcome, detail = "traceback", f"{type(error).__name__}: {str(error)[:90]!a} {_place()}"
    return Outcome(index, outcome, detail)


def _place() -> str:
    """Where in the package the last exception was raised."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    own = [frame for frame in frames if "attnaudit" in frame.filename]
    return f"[{Path(own[-1].filename).name}:{own[-1].lineno}]" if own else ""


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def worker(name: str, seed: int, first: int, stop: int, seconds: float, room: int) -> None:
    """Read inputs one after the other; one line of JSON for each, as it is done."""
    signal.signal(signal.SIGPROF, _out_of_time)
    with tempfile.TemporaryDirectory() as warm:
        run_one(name, seed, -1, Path(warm))  # what is imported late counts for no input
    # what is mapped now, plus the room that an input may take
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (room << 20), resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for index in range(first, stop):
        folder = Path(tempfile.mkdtemp(prefix=f"{index}-", dir=os.environ["FUZZ_FOLDER"]))
        # the timer repeats, for the case that the first exception is raised where none can be
        signal.setitimer(signal.ITIMER_PROF, seconds, 0.5)
        try:
            found = run_one(name, seed, index, folder)
            signal.setitimer(signal.ITIMER_PROF, 0)
        except TooSlow:
            found = Outcome(index, "too slow", "")
        if found.outcome not in FAULTS:
            shutil.rmtree(folder)
        print(json.dumps([found.index, found.outcome, found.detail]), flush=True)


def outcomes(
    name: str, seed: int, first: int, count: int, seconds: float, room: int, folder: Path
) -> Iterator[Outcome]:
    """All inputs of one reader; a worker that ends or hangs is replaced by another."""
    stop = first + count
    while first < stop:
        call = [
            sys.executable,
            "-m",
            "benchmarks.fuzz",
            "--worker",
            "--reader",
            name,
            "--seed",
            str(seed),
            "--first",
            str(first),
            "--count",
            str(stop - first),
            "--seconds",
            str(seconds),
            "--room",
            str(room),
        ]
        environment = {
            **os.environ,
            "FUZZ_FOLDER": str(folder),
            "POLARS_MAX_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        process = subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        begun = first
        hung = False
        for line in _lines(process, PATIENCE * seconds + 60):
            if line is None:
                hung = True
                process.kill()
                break
            index, outcome, detail = json.loads(line)
            yield Outcome(index, outcome, detail)
            first = index + 1
        complaint = process.communicate()[1].decode(errors="replace").strip().splitlines()
        if first < stop:
            last = complaint[-1][:160] if complaint else ""
            if first == begun and not any(folder.glob(f"{first}-*")):
                raise RuntimeError(f"the worker of {name} does not start: {last}")
            reason = f"status {process.returncode}: {last}"
            yield Outcome(first, "too slow" if hung else "process ended", reason)
            first += 1


def _lines(process: subprocess.Popen[bytes], patience: float) -> Iterator[str | None]:
    """What a worker prints; None where it is silent for too long."""
    assert process.stdout is not None
    descriptor, rest = process.stdout.fileno(), b""
    while True:
        if not select.select([descriptor], [], [], patience)[0]:
            yield None
            return
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return
        *done, rest = (rest + chunk).split(b"\n")
        for line in done:
            if line.startswith(b"["):
                yield line.decode()


def fuzz(
    names: list[str], count: int, seed: int, first: int, seconds: float, room: int, keep: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row of the table for each reader, and a line for each fault."""
    rows, faults = [], []
    for name in names:
        begin, counts = time.monotonic(), Counter[str]()
        folder = keep / name.replace(" ", "_")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for found in outcomes(name, seed, first, count, seconds, room, folder):
            counts[found.outcome] += 1
            if found.outcome in FAULTS:
                faults.append(f"{name} {found.index}: {found.outcome}: {found.detail}")
        if not any(folder.iterdir()):
            folder.rmdir()
        took = time.monotonic() - begin
        rows.append(
            {
                "reader": name,
                **{outcome: counts[outcome] for outcome in OUTCOMES},
                "seconds": round(took),
            }
        )
    return rows, faults


def main(
    count: Annotated[int, typer.Option(help="Inputs per reader.")] = 2000,
    seed: Annotated[int, typer.Option(help="Other inputs for another seed.")] = 0,
    reader: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    first: Annotated[int, typer.Option(help="Number of the first input.")] = 0,
    seconds: Annotated[float, typer.Option(help="Processor seconds per input.")] = 5.0,
    room: Annotated[int, typer.Option(help="MiB of address space per input.")] = 1024,
    keep: Annotated[Path, typer.Option(help="Folder for inputs with a fault.")] = KEEP,
    worker_: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """Damage inputs of every reader and see what it makes of them."""
    names = reader or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}: choose among {', '.join(NAMES)}")
    if worker_:
        worker(names[0], seed, first, first + count, seconds, room)
        return
    rows, faults = fuzz(names, count, seed, first, seconds, room, keep.resolve())
    table = Table(title=f"{count} inputs per reader, seed {seed}")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "reader" else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=120).print(table)
    for line in faults:
        print(line.encode("ascii", "backslashreplace").decode())
    if faults:
        print(f"{len(faults)} faults; the inputs are kept in {keep}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
