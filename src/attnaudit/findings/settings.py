"""What an audit can be told, and what a bar is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from attnaudit.attribution.contract import LONGEST
from attnaudit.errors import SettingsError
from attnaudit.files import read_json

Share = Annotated[float, Field(ge=0, le=1)]
Some = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Operator = Literal["delete", "mask", "pad", "zero_weight"]
PairOperator = Literal["delete", "mask", "reference"]


@dataclass(frozen=True)
class Bar:
    """A named constant that turns a statistic into a verdict; settings can change it.

    Attributes:
        name: What settings call it.
        value: What it is by default.
        source: What it means and where it comes from.
        least: Lowest value that makes sense.
        most: Highest value that makes sense.
        whole: Whether it is a count.
    """

    name: str
    value: float
    source: str
    least: float = 0.0
    most: float = 1.0
    whole: bool = False


LEAST_INSTANCES = Bar(
    "least_instances",
    30,
    "Fewer defined instances than this give `inconclusive`. Ours.",
    least=1,
    most=math.inf,
    whole=True,
)
EPSILON = Bar(
    "epsilon",
    0.05,
    "Output change up to which a prediction counts as the same (Jain & Wallace 2019, released "
    "selection).",
)
ADVERSARY_JSD = Bar(
    "adversary_jsd",
    0.4,
    "Divergence from which weights count as a different explanation (Wiegreffe & Pinter 2019, "
    "table of adversaries).",
)


class SeedSettings(BaseModel):
    """From which seeds one network is trained, and what is made of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    which: tuple[int, ...] = Field(
        tuple(range(24)), description="The seeds; a number stands for so many of them, from 0."
    )
    at_once: Positive = Field(8, description="Seeds trained side by side, and stored together.")
    subsets: Positive = Field(
        100, description="Ensembles drawn of each size, where there are more."
    )

    @field_validator("which", mode="before")
    @classmethod
    def _so_many(cls, given: object) -> object:
        return tuple(range(given)) if isinstance(given, int) else given


Replacement = Literal["uniform", "random", "position", "own_token"]
"""Attentions that know less than a learned one."""
Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TrainingSettings(BaseModel):
    """What checks that retrain train besides the model in question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: Positive = Field(
        8, description="Further seeds; as many as Wiegreffe & Pinter 2019 have (section 3.2)."
    )
    repeats: Positive = Field(
        1, description="Seeds with which learned weights and their replacements are compared."
    )
    replacements: tuple[Replacement, ...] = Field(
        ("uniform", "random", "position", "own_token"),
        min_length=1,
        description="Attentions in the place of the learned one.",
    )
    lambdas: tuple[Strength, ...] = Field(
        (0.0, 1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 1e-2),
        min_length=1,
        description="Strengths of the trained adversary; 0 asks for the predictions alone.",
    )
    adversary_epochs: Positive = Field(80, description="Most epochs of the trained adversary.")
    adversary_patience: Positive = Field(
        10, description="Epochs without a lower training loss after which it stops."
    )


class PairSettings(BaseModel):
    """What checks of pairs of texts can be told, bars apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fractions: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.1, 0.2, 0.3, 0.5),
        min_length=1,
        description="Of a text's tokens that are removed or kept; of the shorter text's for pairs.",
    )
    operators: tuple[PairOperator, ...] = Field(
        ("delete", "mask"),
        min_length=1,
        description="How tokens are removed; the verdict rests on the first.",
    )
    draws: Positive = Field(5, description="Random orders whose mean is the null of a pair.")
    copies: Positive = Field(1, description="Randomised encoders.")
    word: str = Field("indeed", min_length=1, description="The neutral word that is added.")
    mark: str = Field(".", min_length=1, description="The punctuation mark that is added.")
    chunk: Positive = Field(64, description="Pairs finished, and stored, at a time.")
    token_budget: Positive = Field(4096, description="Tokens in one pass.")


class JudgeSettings(BaseModel):
    """How weights are probed for the label, and how neutral judges of them are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resamples: Annotated[int, Field(ge=100)] = 1000
    folds: Annotated[int, Field(ge=2)] = 5
    permutations: Annotated[int, Field(ge=100, description="Shuffled labels of the null.")] = 200
    positions: Positive = Field(
        16, description="Weights from each end, and largest weights, that a probe sees."
    )
    trees: Positive = Field(100, description="Trees of the random forest.")
    count: Positive = Field(
        3,
        description="Seeds of the neutral judge; twice as many where the decoder provably reads "
        "the form of the weights.",
    )
    epochs: Positive = Field(20, description="Most epochs of a judge.")
    patience: Positive = Field(
        4, description="Epochs without a better development score after which a judge stops."
    )
    rate: Annotated[float, Field(gt=0, description="Learning rate of a judge.")] = 3e-3
    decay: Annotated[float, Field(ge=0, description="L2 of a judge.")] = 0.0
    masks: Literal["mixed", "law", "half"] = Field(
        "mixed",
        description="What a judge learns on: `law`, random masks like the model's own; `half`, "
        "every unit shown with probability 1/2 (EVAL-X, Jethani et al. 2021); `mixed`, these two, "
        "equal weights and, for texts, masks that favour a unit as the model favours it in other "
        "records, in equal shares.",
    )
    draws: Positive = Field(4, description="Random masks per instance and step.")
    train_limit: Positive | None = Field(
        None, description="Training records of a judge, drawn by the seed; None: all."
    )


class Settings(BaseModel):
    """The resolved configuration of an audit; it is stored beside the findings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 2000
    checks: tuple[str, ...] = Field(
        (), description="Names of checks; those that are usual for the kind of model by default."
    )
    bars: Mapping[str, float] = Field(
        {}, description="Bars of verdicts that are not as declared, by name."
    )
    token_budget: Positive = Field(
        2048, description="Padded tokens in one pass: small for a CPU's cache, larger for a GPU."
    )
    chunk: Positive = Field(256, description="Instances finished, and stored, at a time.")
    permutations: Positive = 100
    top_k: Some = Field(0.1, description="Share of units that top-k overlap compares.")
    search: bool = Field(
        False,
        description="Run the published 500-step search also where the exact adversary is known.",
    )
    search_candidates: Positive = 5
    search_steps: Positive = 500
    search_hinge: Share | None = Field(
        None, description="The search's own ε; the released code has .01. None: the same ε."
    )
    fractions: tuple[Some, ...] = Field(
        (0.01, 0.05, 0.1, 0.2, 0.5),
        min_length=1,
        description="Of units erased (DeYoung et al. 2020).",
    )
    operators: tuple[Operator, ...] = Field(("delete", "mask", "pad", "zero_weight"), min_length=1)
    costly_limit: Positive = Field(
        500,
        description="Instances, drawn by the seed, for what costs the most: erasure and the best "
        "order of the weights.",
    )
    longest: Positive = Field(
        LONGEST,
        description="Units above which leave-one-out is not computed, where its cost grows with "
        "their square (recurrent encoders, wrapped modules).",
    )
    ig_tolerance: Annotated[float, Field(gt=0)] = Field(
        0.005, description="Completeness error, in probability, integrated gradients may have."
    )
    ig_max_nodes: Positive = Field(
        64,
        ge=8,
        description="Nodes after which they stop all the same; the error left is reported.",
    )
    seeds: SeedSettings = SeedSettings()
    trainings: TrainingSettings = TrainingSettings()
    pairs: PairSettings = Field(PairSettings(), description="Checks of pairs of texts.")
    judges: JudgeSettings = JudgeSettings()

    def bar(self, bar: Bar) -> float:
        """The value of a bar: as set here, else as declared.

        Example:
            >>> Settings(bars={"epsilon": 0.1}).bar(EPSILON), Settings().bar(LEAST_INSTANCES)
            (0.1, 30)
        """
        return self.bars.get(bar.name, bar.value)

    def used(self, *bars: Bar) -> dict[str, float]:
        """The values of some bars by name, as findings list them."""
        return {bar.name: float(self.bar(bar)) for bar in bars}

    @property
    def least(self) -> int:
        """The fewest defined instances that decide anything."""
        return int(self.bar(LEAST_INSTANCES))


SECTIONS = frozenset(
    name for name, field in Settings.model_fields.items() if isinstance(field.default, BaseModel)
)
"""The settings of single groups of checks."""


def check_bars(settings: Settings, declared: Iterable[Bar]) -> None:
    """Refuse bars that no check has, and values that make no sense.

    Raises:
        SettingsError: Naming the bar and what it may be.
    """
    known = {bar.name: bar for bar in declared}
    for name, value in settings.bars.items():
        if name not in known:
            raise SettingsError(f"no bar is called {name!r}; there are: {', '.join(known)}.")
        bar = known[name]
        if not bar.least <= value <= bar.most or (bar.whole and value != int(value)):
            kind = "a whole number" if bar.whole else "a number"
            most = "" if bar.most == math.inf else f" to {bar.most:g}"
            raise SettingsError(
                f"the bar {name} is {value:g}; it must be {kind} from {bar.least:g}{most}."
            )


def read_settings(path: Path) -> Settings:
    """Settings from a JSON file; what it does not name keeps its default.

    Raises:
        SettingsError: The file cannot be read, or names a setting or value that does not exist.
    """
    try:
        content = read_json(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise SettingsError(f"{path}: {error}.") from error
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise SettingsError(
            f"{path}: {where}: {first['msg']}. Settings are named as in findings.json, under "
            "plan.settings."
        ) from error
