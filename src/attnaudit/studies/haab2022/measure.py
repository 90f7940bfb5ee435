"""One cell: seeds trained together, graded, compared; or a classic set in cross-validation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from attnaudit.checks.declaration import MANY_SEEDS
from attnaudit.checks.registry import chosen_checks
from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.data.kinds import BAGS
from attnaudit.evidence.seeds.ceilings import Ceilings, known_ceilings
from attnaudit.evidence.seeds.evidence import SeedEvidence
from attnaudit.evidence.seeds.grades import (
    SILENT_KINDS,
    CurvePoint,
    EnsembleRow,
    Grade,
    curve_of,
)
from attnaudit.evidence.seeds.members import train_members
from attnaudit.evidence.seeds.network import Network
from attnaudit.findings.estimates import average
from attnaudit.findings.findings import Estimate, Finding
from attnaudit.findings.settings import Settings
from attnaudit.measures.detection import auroc
from attnaudit.measures.instances import least_type_share
from attnaudit.nets.bags.classifier import BagConfig
from attnaudit.runs.cell import Outcome
from attnaudit.studies.declaration import Cell, Place
from attnaudit.studies.haab2022.cells import CLASSIC
from attnaudit.studies.haab2022.classic import measure_classic
from attnaudit.studies.schema import Spec
from attnaudit.training.options import options_for

DEV = 100
EVERY, POSITIVE = "every bag", "positive bags"
"""Which bags are graded."""
BOTH_TYPES = ("conjunction", "exclusive_or")
"""Rules of two types of which bags of the other label may have one: graded both ways."""


class Shown(BaseModel):
    """What many seeds of a cell showed, graded in one way.

    Attributes:
        bars_in_force: The bars as they apply.
        ceilings: What can be reached at best.
        seeds: One row per seed.
        references: Random, oracle, supervised and the ensemble of all seeds.
        curve: Share of accurate seeds below each bar.
        ensembles: By size.
        findings: Performance, silent failures, agreement of seeds, ensembles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bars_in_force: dict[str, float]
    ceilings: Ceilings
    seeds: tuple[Grade, ...]
    references: tuple[Grade, ...]
    curve: tuple[CurvePoint, ...]
    ensembles: tuple[EnsembleRow, ...]
    findings: tuple[Finding, ...]


def measure(cell: Cell, place: Place) -> Outcome:
    """Measure a cell; seeds that an interrupted try at it has trained are used again.

    Raises:
        AttnauditError: The data cannot be used.
    """
    if cell.spec["part"] == CLASSIC:
        return measure_classic(cell.spec, place)
    return _generated(cell.spec, place)


def _generated(spec: Spec, place: Place) -> Outcome:
    modality = {"delta": spec["delta"]} if spec["modality"] == "gaussian" else {}
    splits = generate_bag_splits(
        spec["data"],
        spec["modality"],
        spec["bags"],
        DEV,
        spec["test_bags"],
        seed=spec["draw"],
        **modality,
    )
    train = splits["train"]
    config = BagConfig(train.classes, train.shape, pool=spec["pool"], head=spec["head"])
    options = options_for(
        "bags", epochs=spec["epochs"], learning_rate=spec["learning_rate"], device=place.device
    )
    network = Network(config, options)
    members = train_members(
        network,
        splits,
        range(spec["members"]),
        folder=place.folder,
        progress=place.progress,
    )
    ceilings = known_ceilings(spec["data"], spec["modality"], splits["test"], **modality)
    ways: dict[str, tuple[str, ...] | None] = {EVERY: None}
    if spec["data"] in BOTH_TYPES:
        ways[POSITIVE] = ("positive",)
    rows: list[Estimate] = []
    facts: dict[str, Any] = {"notes": splits["test"].notes}
    for name, graded in ways.items():
        asked = replace(network, graded=graded, ceilings=ceilings)
        evidence = SeedEvidence(members, asked, splits, Settings())
        shown = conclude(evidence)
        found = [estimate for finding in shown.findings for estimate in finding.estimates]
        rows += [named(estimate, name) for estimate in (*found, *over_bags(evidence))]
        facts[name] = json.loads(shown.model_dump_json())
    return Outcome(rows, facts)


def conclude(evidence: SeedEvidence) -> Shown:
    """What the members show."""
    findings = [evidence.gate]
    for check in chosen_checks((MANY_SEEDS,), BAGS):
        findings += check.conclude(evidence)
    return Shown(
        bars_in_force=evidence.force,
        ceilings=evidence.network.ceilings,
        seeds=evidence.rows,
        references=tuple(evidence.references),
        curve=curve_of(evidence.rows, evidence.force),
        ensembles=evidence.ensembles,
        findings=tuple(findings),
    )


def over_bags(evidence: SeedEvidence) -> list[Estimate]:
    """Means over bags of what accurate seeds, and silent failures among them, have on average."""
    layout, kinds = evidence.layout, [row.kind for row in evidence.rows]
    groups = {
        "accurate": [i for i, kind in enumerate(kinds) if kind not in (None, "inaccurate")],
        "silent": [i for i, kind in enumerate(kinds) if kind in SILENT_KINDS],
        "all": list(range(len(kinds))),
    }
    found = []
    for group, places in groups.items():
        if not places:
            continue
        weights = evidence.members.weights[places]
        areas = layout.graded(weights, auroc).mean(0)
        found.append(_average(areas, "bag_auroc", group, 0.5))
        if layout.types > 1:

            def least(values: Any, rows: Any, index: Any, mask: Any) -> Any:
                shares = least_type_share(values, layout.key_types[index], mask, layout.types)
                return shares.masked_fill(~layout.known[rows], float("nan"))

            per_bag = layout.per_bag(weights, least).mean(0)
            null = None if evidence.chance is None else evidence.chance.least_type_share
            found.append(_average(per_bag, "bag_least_type", group, null))
    return found


def named(estimate: Estimate, bags: str) -> Estimate:
    """The same with a word on which bags were graded, where these are not all."""
    if bags == EVERY:
        return estimate
    return estimate.model_copy(update={"group": f"{estimate.group}, {bags}"})


def _average(values: torch.Tensor, statistic: str, group: str, null: float | None) -> Estimate:
    return average(
        values.numpy(), Settings(), statistic=statistic, subject="weights", group=group, null=null
    )
