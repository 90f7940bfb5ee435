"""Options of the study and its cells: rules × modalities × pools, sizes of signal, classic sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from attnaudit.data.bags.rules import RULES
from attnaudit.data.bags.sets import BAG_SETS
from attnaudit.nets.bags.classifier import HEADS
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.studies.declaration import Cell, Names, Planned
from attnaudit.studies.options import UntrainedOptions, check_names
from attnaudit.studies.schema import Missing, Spec
from attnaudit.studies.sources import GIVE

GRID, SIGNAL, MANY, CLASSIC = "grid", "signal", "many", "classic"
"""What a cell is for: the grid, the ceiling of Gaussian bags, many seeds, or a classic set."""
MODALITIES = ("digits", "gaussian", "motifs", "sentences")
DELTA = 3.0
"""How far the key types of Gaussian bags are from other instances, in the grid."""
BAG_SECONDS = 9e-5
"""CPU seconds of one bag in one epoch of one seed."""
STEP_SECONDS, INSTANCE_SECONDS = 4e-4, 3.5e-5
"""The same of classic sets: of a bag, whatever the seeds, and of an instance and seed."""
Whole = Annotated[int, Field(ge=1)]


class HaabOptions(UntrainedOptions):
    """Options of this study.

    Attributes:
        data: Rules of generated bags, and names of classic sets.
        modalities: What instances of generated bags are made of.
        pools: Pools of the grid on digits; the first alone on other modalities.
        bags: Training bags of the grid.
        test_bags: Test bags of generated data.
        members: Seeds of each setting of the grid; with fewer than five nothing is audited.
        many: Seeds where silent failures are looked for.
        many_bags: Training bags there.
        heads: Heads of the network there.
        draws: Draws of the data there.
        deltas: How far key types of Gaussian bags are from others, where ceilings are known.
        epochs: Of generated bags.
        learning_rate: Of generated bags.
        repeats: Repetitions of 10-fold cross-validation on classic sets.
        fold_members: Seeds of each fold.
        fold_epochs: Of classic sets.
    """

    data: Names = (*RULES, *BAG_SETS)
    modalities: Names = MODALITIES
    pools: Names = ("gated", "additive", "self_attention")
    bags: Whole = 200
    test_bags: Whole = 500
    members: Whole = 6
    many: Annotated[int, Field(ge=0)] = 24
    many_bags: Whole = 500
    heads: Names = ("linear",)
    draws: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    deltas: tuple[Annotated[float, Field(gt=0)], ...] = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    epochs: Whole = 40
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    repeats: Whole = 2
    fold_members: Whole = 2
    fold_epochs: Whole = 40


def quick(data_dir: Path | None) -> dict[str, object]:
    """Presence, conjunction, exclusive or and absence on digits, and Musk1 where it is there."""
    there = data_dir is not None and (mil_folder(data_dir) / "musk1.npz").is_file()
    rules = ("presence", "conjunction", "exclusive_or", "absence")
    return {
        "data": (*rules, *(("musk1",) if there else ())),
        "modalities": ("digits", "sentences"),
        "members": 6,
        "many": 20,
        "heads": ("linear",),
        "draws": (1,),
        "deltas": (1.5, 3.0, 6.0),
        "test_bags": 300,
        "repeats": 1,
        "fold_members": 2,
        "fold_epochs": 20,
    }


def plan(options: HaabOptions, data_dir: Path | None) -> Planned:
    """The grid, the signal, many seeds, then the classic sets.

    Raises:
        SettingsError: A name that nothing has.
    """
    _check(options)
    classic, missing = _classic(options, data_dir)
    return Planned((*_grid(options), *_signal(options), *_many(options), *classic), tuple(missing))


def mil_folder(data_dir: Path) -> Path:
    """Where the classic sets are: in `mil` below the folder of data sets, or in itself."""
    return data_dir / "mil" if (data_dir / "mil").is_dir() else data_dir


def setting_of(spec: Spec) -> str:
    """Rule, modality, pool and head of a cell, in words."""
    if spec["part"] == CLASSIC:
        return f"{spec['data']}, {spec['pool']}"
    head = "" if spec["head"] == "linear" else " + mlp"
    words = [f"{spec['data'].replace('_', ' ')} of {spec['modality']}"]
    words.append(spec["pool"].replace("_", "-") + head)
    if spec["modality"] == "gaussian":
        words.append(f"Δ = {spec['delta']:g}")
    return ", ".join(words)


def _rules(options: HaabOptions) -> list[str]:
    return [name for name in options.data if name in RULES]


def _grid(options: HaabOptions) -> Iterator[Cell]:
    for rule, modality in product(_rules(options), options.modalities):
        for pool in options.pools if modality == "digits" else options.pools[:1]:
            yield _cell(options, GRID, (rule, modality, pool), options.members)


def _signal(options: HaabOptions) -> Iterator[Cell]:
    setting = ("presence", "gaussian", options.pools[0])
    for delta in options.deltas if "presence" in options.data else ():
        own = {"delta": delta, "bags": 2 * options.bags}
        yield _cell(options, SIGNAL, setting, options.members, **own)


def _many(options: HaabOptions) -> Iterator[Cell]:
    setting = ("conjunction", "digits", "self_attention")
    if "conjunction" in options.data and options.many:
        for draw, head in product(options.draws, options.heads):
            own = {"head": head, "bags": options.many_bags, "draw": draw}
            yield _cell(options, MANY, setting, options.many, **own)


def _cell(
    options: HaabOptions, part: str, setting: tuple[str, str, str], members: int, **own: object
) -> Cell:
    """A cell of a rule, a modality and a pool, with what it has of its own."""
    rule, modality, pool = setting
    spec: dict[str, Any] = {
        "part": part,
        "data": rule,
        "modality": modality,
        "pool": pool,
        "head": "linear",
        "bags": options.bags,
        "test_bags": options.test_bags,
        "members": members,
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "draw": 0,
        "delta": DELTA if modality == "gaussian" else 0.0,
        "device": options.device,
        **own,
    }
    name = f"{setting_of(spec)}, {spec['bags']} bags, {members} seeds, draw {spec['draw']}, {part}"
    return Cell(name, spec, 3 + BAG_SECONDS * spec["bags"] * spec["epochs"] * members)


def _classic(options: HaabOptions, data_dir: Path | None) -> tuple[list[Cell], list[Missing]]:
    cells, missing = [], []
    for name in (name for name in options.data if name in BAG_SETS):
        path = None if data_dir is None else mil_folder(data_dir) / f"{name}.npz"
        if path is None or not path.is_file():
            reason = "no folder of data sets was given" if path is None else f"{path} is not there"
            give = f"{GIVE}; classic sets lie in its folder mil."
            missing.append(Missing(what=name, reason=f"{reason}. {give}"))
            continue
        spec = {
            "part": CLASSIC,
            "data": name,
            "modality": "file",
            "pool": options.pools[0],
            "digest": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
            "repeats": options.repeats,
            "members": options.fold_members,
            "epochs": options.fold_epochs,
            "device": options.device,
        }
        size = BAG_SETS[name]
        epoch = STEP_SECONDS * size.bags
        epoch += INSTANCE_SECONDS * size.instances * options.fold_members
        cost = 10 * options.repeats * options.fold_epochs * epoch
        cells.append(Cell(f"{name}, {options.pools[0]}, 10-fold x {options.repeats}", spec, cost))
    return cells, missing


def _check(options: HaabOptions) -> None:
    weighted = tuple(name for name, pool in BAG_POOLS.items() if pool.weights == "learned")
    check_names(
        (options.data, (*RULES, *BAG_SETS), "rule or classic set of this study"),
        (options.modalities, MODALITIES, "modality of this study"),
        (options.pools, weighted, "pool of this study"),
        (options.heads, HEADS, "head of this study"),
    )
