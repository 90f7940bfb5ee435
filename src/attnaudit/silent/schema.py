"""What a run over seeds leaves, as versioned data."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from attnaudit.findings.findings import Estimate, Finding
from attnaudit.runs.stored import read_stored

SILENT_SCHEMA = 2
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bars(_Frozen):
    """The thresholds of silent failures. All can be changed."""

    bag_bar: Share = Field(0.90, description="Bag AUC from which a seed counts as accurate. Ours.")
    bag_room: Share = Field(
        0.05,
        description="Where the best possible bag AUC is known, a seed that comes as close to "
        "it is accurate, if that is less than `bag_bar`. Ours.",
    )
    instance_bar: Share = Field(
        0.80,
        description="Mean instance AUROC below which an accurate seed is a silent failure "
        "(our reading of Haab et al. 2022).",
    )
    instance_room: Share = Field(
        0.10,
        description="Where the best possible instance AUROC is below 1, the relative bar is "
        "as much below it. Ours.",
    )
    inverted: Share = Field(
        0.50, description="Mean instance AUROC below which the weights point away from keys."
    )
    coverage_top: Share = Field(
        0.90,
        description="Share of top-1 hits, in the bags of some label, from which a silent "
        "failure is one of coverage: the top is a key, and other keys are passed over. Ours.",
    )
    least_accurate: Count = Field(
        5,
        description="Fewer accurate seeds than this: not good enough to audit. Fewer seeds "
        "in all: not enough to tell. Ours.",
    )
    least_seeds: Count = Field(
        20, description="With fewer accurate seeds nothing is said of rare failures. Ours."
    )
    agreement: Share = Field(
        0.50,
        description="Share of bags in which two seeds give the same instance the largest "
        "weight, from which they tell one story. Ours.",
    )


class Ceilings(_Frozen):
    """What can be reached at best, where it is known.

    Attributes:
        instance: AUROC of the best score of single instances, or None.
        bag: AUC of the best bag scores on the test bags, or None.
    """

    instance: Share | None = None
    bag: Share | None = None


class Grade(_Frozen):
    """One source of weights: a seed, an ensemble, or a calibration row.

    Attributes:
        subject: `seed 3`, `random`, `oracle`, `supervised`, `ensemble of 24`, …
        seed: Its seed, or None.
        roc_auc: Bag AUC on the test bags; None where it is undefined.
        dev_roc_auc: The same on the development bags, by which saved members are chosen.
        accuracy: Share of test bags predicted.
        auroc: Mean instance AUROC, over bags that have keys and other instances.
        average_precision: Mean average precision.
        top_one: Share of bags whose largest weight is on a key.
        mass: Mean share of the weight that is on keys.
        lift: Mean of that over the share of keys.
        coverage: Mean share of keys with more weight than equal weights give.
        pooled_auroc: AUROC of all instances of all bags as one sample.
        least_type_share: Mean smallest share of the key mass of a type, in bags with two or more.
        type_mass: Mean share of the weight on keys of each type, in bags that have it.
        by_label: AUROC and top-1 in the bags of each label: `{"positive": (auroc, top-1, bags)}`.
        bags: How many bags the means are over.
        kind: `fine`, `inaccurate`, `inverted`, `coverage` or `other`; the last three are silent
            failures. None for rows that are no seeds, or without truth.
        epoch: The epoch that was kept.
    """

    subject: str
    seed: int | None = None
    roc_auc: float | None = None
    dev_roc_auc: float | None = None
    accuracy: float | None = None
    auroc: float | None = None
    average_precision: float | None = None
    top_one: float | None = None
    mass: float | None = None
    lift: float | None = None
    coverage: float | None = None
    pooled_auroc: float | None = None
    least_type_share: float | None = None
    type_mass: tuple[float | None, ...] = ()
    by_label: dict[str, tuple[float | None, float | None, int]] = {}
    bags: int = 0
    kind: str | None = None
    epoch: int | None = None


class CurvePoint(_Frozen):
    """How many accurate seeds have an instance AUROC below a bar."""

    bar: float
    share: float
    low: float
    high: float


class EnsembleRow(_Frozen):
    """Ensembles of one size and one way to average.

    Attributes:
        average: `weights` or `ranks`.
        members: How many seeds each has.
        subsets: How many were drawn; `every` says that they are all there are.
        every: Whether they are all subsets of that size.
        mean: Mean over them of the instance AUROC; None without truth.
        worst: The smallest of the `subsets`: of more of them it is lower by chance alone.
        low: Their 2.5 % quantile.
        high: Their 97.5 % quantile.
        roc_auc: Mean bag AUC of the mean probabilities.
        accurate: Share whose bag AUC reaches its bar.
        silent: Share of the accurate ones that is below the instance bar; None where none is
            accurate.
        silent_low: Lower end of its interval, as from ensembles that share no seed.
        silent_high: Upper end.
        disjoint: How many ensembles of this size share no seed.
        agreement: Mean Spearman between the weights of ensembles that share no seed.
    """

    average: str
    members: int
    subsets: int
    every: bool
    mean: float | None = None
    worst: float | None = None
    low: float | None = None
    high: float | None = None
    roc_auc: float | None = None
    accurate: float | None = None
    silent: float | None = None
    silent_low: float | None = None
    silent_high: float | None = None
    disjoint: int
    agreement: float | None = None


class SilentFile(_Frozen):
    """The file `silent.json` of a run.

    Attributes:
        data: The name of the data.
        sizes: Bags of each split.
        classes: Names of the classes.
        network: What the network is made of.
        options: How it was trained.
        bars: The thresholds; `bars_in_force` has those used, with the ceilings in view.
        ceilings: What can be reached at best.
        seeds: One row a seed.
        references: Random, oracle, supervised and the ensemble of all seeds.
        curve: Share of accurate seeds below each bar.
        ensembles: By size.
        findings: Performance, silent failures, agreement of seeds, ensembles.
        estimates: Every rate and agreement.
        judgement: What came of it, in a sentence or two.
        notes: What a reader must know.
    """

    schema_version: int = SILENT_SCHEMA
    attnaudit_version: str
    created: datetime
    data: str
    sizes: dict[str, int]
    classes: tuple[str, ...]
    network: dict[str, Any]
    options: dict[str, Any]
    bars: Bars
    bars_in_force: dict[str, float]
    ceilings: Ceilings
    seeds: tuple[Grade, ...]
    references: tuple[Grade, ...]
    curve: tuple[CurvePoint, ...]
    ensembles: tuple[EnsembleRow, ...]
    findings: tuple[Finding, ...]
    estimates: tuple[Estimate, ...]
    judgement: str
    notes: tuple[str, ...] = ()


def read_silent(path: Path) -> SilentFile:
    """What a finished run has stored.

    Raises:
        RunError: There is nothing, or it is damaged or of another schema.
    """
    return read_stored(
        path, SilentFile, SILENT_SCHEMA, "finished run over seeds", "silent", "seeds"
    )
