"""The cells of the study: settings x methods x seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from attnaudit.errors import SettingsError
from attnaudit.studies.bai2021.settings import (
    HELD_OUT,
    JOINT,
    METHODS,
    ONLY,
    PRETRAIN,
    SETTINGS,
    WEIGHT,
    Setting,
)
from attnaudit.studies.declaration import Cell, Limit, Names, Options, Planned
from attnaudit.studies.options import check_names
from attnaudit.studies.sources import GENERATED, known_sets

COSTS = {JOINT: 1.0, PRETRAIN: 1.4, HELD_OUT: 3.0, WEIGHT: 1.4}
"""Of the methods, against joint training, the check included."""
Whole = Annotated[int, Field(ge=1)]


class BaiOptions(Options):
    """Options of this study.

    Attributes:
        data: Generated tasks and named sets; settings of others are left out.
        settings: Names of `SETTINGS`.
        methods: `joint`, `pretrain`, `held_out` (ours), `weight`. Where default tokens are all
            there is, joint alone: no weights can be honest there.
        seeds: One cell each; a generated task is drawn anew for every seed.
        train_limit: At most so many training texts.
        test_limit: At most so many test texts.
        epochs: Most epochs of each training.
        hidden: Hidden size of generator and downstream network.
        embedding_dim: Size of word vectors.
        judges: Neutral judges of a model.
        judge_epochs: Most epochs of a judge.
        explanations: Whether agreement and erasure are measured on real texts.
    """

    data: Names = ("order", "bow", "sst", "imdb")
    settings: Names = tuple(SETTINGS)
    methods: Names = tuple(METHODS)
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    train_limit: Limit = None
    test_limit: Limit = 2000
    epochs: Whole = 20
    hidden: Whole = 32
    embedding_dim: Whole = 32
    judges: Whole = 3
    judge_epochs: Whole = 20
    explanations: bool = True

    # the networks are those of the settings
    encoders: ClassVar[None] = None  # type: ignore[misc]
    attentions: ClassVar[None] = None  # type: ignore[misc]


def quick(data_dir: Path | None) -> dict[str, object]:
    """Generated tasks before a sum, two seeds; default tokens on SST where `data_dir` has it."""
    settings = ["order/hard/pool", "order/soft/pool", "bow/hard/pool"]
    data = ["order", "bow"]
    if data_dir is not None and (data_dir / "sst").is_dir():
        settings.append("sst/only/soft")
        data.append("sst")
    return {
        "settings": tuple(settings),
        "data": tuple(data),
        "seeds": (0, 1),
        "train_limit": 2000,
        "test_limit": 1000,
        "epochs": 10,
        "judge_epochs": 8,
        "judges": 2,
        "explanations": False,
    }


def plan(options: BaiOptions, data_dir: Path | None) -> Planned:
    """One cell for each setting, method and seed.

    Raises:
        SettingsError: No such setting or method, or nothing is left.
    """
    check_names(
        (options.settings, SETTINGS, "setting of this study"),
        (options.methods, METHODS, "method of this study"),
    )
    wanted = {
        name: SETTINGS[name] for name in options.settings if SETTINGS[name].data in options.data
    }
    if not wanted:
        raise SettingsError(
            f"no setting is about {', '.join(options.data)}; the settings are: "
            f"{', '.join(SETTINGS)}"
        )
    real = [setting.data for setting in wanted.values() if not setting.generated]
    sources, missing = known_sets(real, data_dir)
    cells: list[Cell] = []
    for name, setting in wanted.items():
        if not setting.generated and setting.data not in sources:
            continue
        methods = (JOINT,) if setting.variant == ONLY else options.methods
        cells += [
            _cell(name, setting, method, seed, sources, options)
            for method in methods
            for seed in options.seeds
        ]
    return Planned(tuple(cells), tuple(missing))


def _cell(
    name: str,
    setting: Setting,
    method: str,
    seed: int,
    sources: dict[str, str],
    options: BaiOptions,
) -> Cell:
    same = ("train_limit", "test_limit", "epochs", "hidden", "embedding_dim", "judges")
    spec = {
        "setting": name,
        "source": sources.get(setting.data, GENERATED),
        "method": method,
        "seed": seed,
        **{part: getattr(setting, part) for part in ("data", "variant", "mask", "downstream", "k")},
        **{option: getattr(options, option) for option in (*same, "judge_epochs")},
        "explanations": options.explanations and not setting.generated and setting.variant != ONLY,
    }
    cost = setting.cost * COSTS[method] * options.epochs / 20
    return Cell(f"{setting.title}, {METHODS[method]}, seed {seed}", spec, cost)
