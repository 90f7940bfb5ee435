"""The run folder of many seeds: held by one process, of one run, and stored whole."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from attnaudit.errors import RunError
from attnaudit.evidence.seeds.layout import Layout
from attnaudit.evidence.seeds.members import FOLDER as MEMBERS
from attnaudit.evidence.seeds.members import Members
from attnaudit.manifest import ChangedError, read_noted
from attnaudit.nets.checkpoint import check_place
from attnaudit.runs.disk import explained, lock, write_noted
from attnaudit.runs.folders import check_run, claim, unclaim
from attnaudit.silent.schema import SILENT_SCHEMA, SilentFile
from attnaudit.version import __version__

PLAN, FILE, SEEDS, WEIGHTS, PAGE, MODEL = (
    "plan.json",
    "silent.json",
    "seeds.parquet",
    "weights.parquet",
    "silent.html",
    "model",
)
REPLACE = "pass overwrite=True (--overwrite) to replace it"


class SilentPlan(BaseModel):
    """Whose run a folder holds.

    Attributes:
        key: A hash of network, data, training and code.
        about: What else decides the numbers, and what the key stands for, as JSON has it.
        seeds: Which were asked for; a later run may add some.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SILENT_SCHEMA
    attnaudit_version: str = __version__
    key: str
    about: dict[str, Any]
    seeds: tuple[int, ...]


def plan_of(key: str, about: Mapping[str, Any], seeds: Sequence[int]) -> SilentPlan:
    """The plan of a run; `about` is brought to what JSON gives back."""
    return SilentPlan(key=key, about=json.loads(json.dumps(about)), seeds=tuple(seeds))


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder until everything is written: two runs cannot write into it at once.

    Raises:
        RunError: Another process holds it, or it cannot be written.
    """
    check_run(folder, "silent")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / ".lock", "a")  # noqa: SIM115 - held for the whole run
    except OSError as error:
        raise explained(error, folder) from error
    with handle:
        lock(handle.fileno(), folder)
        claim(folder, "silent")
        yield


def open_run(folder: Path, plan: SilentPlan, overwrite: bool = False) -> None:
    """Start with this plan, or go on with the same one; seeds may be added.

    Args:
        folder: The run folder, held.
        plan: What is to be run.
        overwrite: Take away another run that the folder holds.

    Raises:
        RunError: The folder holds another run.
        ModelError: Something lies beside the model that no run has written.
    """
    ours = any((folder / name).exists() for name in (PLAN, FILE))
    # what somebody has put beside the model is not lost with it
    check_place(folder / MODEL, overwrite=True)
    if ours and overwrite:
        _clear(folder)
        ours = False
    if ours:
        why = _difference(folder, plan)
        if why:
            raise RunError(
                f"{folder} holds another run over seeds: {why}. Choose another folder, or "
                f"{REPLACE}."
            )
    write_noted(folder / PLAN, plan.model_dump_json(indent=2).encode(), folder)


def store(
    folder: Path, report: SilentFile, frame: pl.DataFrame, members: Members, layout: Layout
) -> None:
    """Write what was found; the model of an earlier try is taken away first.

    Raises:
        RunError: The folder cannot be written.
    """
    _remove(folder / MODEL, folder)
    _write_table(folder / SEEDS, frame, folder)
    sizes = layout.sizes.tolist()
    columns = {
        "bag": [id for id, size in zip(layout.ids, sizes, strict=True) for _ in range(size)],
        "instance": torch.cat([torch.arange(size) for size in sizes]).numpy(),
        **{
            f"weight.{seed}": row.numpy()
            for seed, row in zip(members.seeds, members.weights, strict=True)
        },
    }
    _write_table(folder / WEIGHTS, pl.DataFrame(columns), folder)
    write_noted(folder / FILE, report.model_dump_json(indent=2).encode(), folder)


def _difference(folder: Path, plan: SilentPlan) -> str | None:
    path = folder / PLAN
    if not path.exists():
        return f"it has no {PLAN}, so whose it is is not known"
    try:
        read_noted(path, folder)
        before = SilentPlan.model_validate_json(path.read_bytes())
    except ChangedError:
        return f"its {PLAN} is not what was written"
    except (OSError, ValidationError):
        return f"its {PLAN} cannot be read"
    for name, value in plan.about.items():
        old = before.about.get(name)
        if old == value:
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            changed = [f"{k} was {old.get(k)}" for k in value if old.get(k) != value[k]]
            return f"{name} differs ({', '.join(changed)})"
        return f"{name} was {old}"
    left = sorted(set(before.seeds) - set(plan.seeds))
    if left:
        return f"it has {len(left)} seeds that are not asked for now, such as {left[0]}"
    if before.key == plan.key:
        return None
    if before.attnaudit_version != plan.attnaudit_version:
        return f"by attnaudit {before.attnaudit_version}"
    return "of other bags of the same name, or by other source code"


def _clear(folder: Path) -> None:
    """Take away what an earlier run left here, and nothing else."""
    groups = (folder / MEMBERS).glob("*.safetensors")
    # the plan goes last: while it stands, what is left is known to be another run's
    for path in (
        folder / MODEL,
        *groups,
        *(folder / n for n in (WEIGHTS, SEEDS, PAGE, FILE, PLAN)),
    ):
        _remove(path, folder)
    unclaim(folder, "silent")


def _remove(path: Path, folder: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise explained(error, folder) from error


def _write_table(path: Path, frame: pl.DataFrame, folder: Path) -> None:
    content = io.BytesIO()
    frame.write_parquet(content)
    write_noted(path, content.getvalue(), folder)
