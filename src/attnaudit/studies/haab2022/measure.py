"""One cell: seeds trained together, graded, compared; or a classic set in cross-validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from attnaudit.checks.silent_failures import SILENT_KINDS
from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.data.bags.records import BagDataset
from attnaudit.evidence.seeds.ceilings import known_ceilings
from attnaudit.evidence.seeds.layout import Layout, lay_out
from attnaudit.evidence.seeds.members import Members, train_members
from attnaudit.findings.estimates import average
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.measures.detection import auroc
from attnaudit.measures.instances import least_type_share
from attnaudit.nets.bags.classifier import BagConfig
from attnaudit.silent.run import SilentReport, conclude_silent
from attnaudit.silent.schema import Ceilings
from attnaudit.studies.declaration import Cell, Outcome, Place
from attnaudit.studies.haab2022.cells import CLASSIC
from attnaudit.studies.haab2022.classic import measure_classic
from attnaudit.training.options import TrainOptions, options_for

DEV = 100
EVERY, POSITIVE = "every bag", "positive bags"
"""Which bags are graded."""
BOTH_TYPES = ("conjunction", "exclusive_or")
"""Rules of two types of which bags of the other label may have one: graded both ways."""


def measure(cell: Cell, place: Place) -> Outcome:
    """Measure a cell; seeds that an interrupted try at it has trained are used again.

    Raises:
        AttnauditError: The data cannot be used.
    """
    if cell.spec["part"] == CLASSIC:
        return measure_classic(cell.spec, place)
    return _generated(cell.spec, place)


def _generated(spec: Mapping[str, Any], place: Place) -> Outcome:
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
    members = train_members(
        config,
        splits,
        range(spec["members"]),
        options,
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
        layout = lay_out(splits["test"], graded)
        report = conclude(members, splits, layout, ceilings, options)
        rows += [named(estimate, name) for estimate in report.report.estimates]
        rows += [named(e, name) for e in over_bags(report, members, layout)]
        facts[name] = json.loads(report.report.model_dump_json(exclude={"estimates"}))
    return Outcome(rows, facts)


def conclude(
    members: Members,
    splits: Mapping[str, BagDataset],
    layout: Layout,
    ceilings: Ceilings,
    options: TrainOptions,
) -> SilentReport:
    """What the members show."""
    return conclude_silent(members, splits, layout, ceilings=ceilings, options=options)


def over_bags(report: SilentReport, members: Members, layout: Layout) -> list[Estimate]:
    """Means over bags of what accurate seeds, and silent failures among them, have on average."""
    kinds = [row.kind for row in report.report.seeds]
    groups = {
        "accurate": [i for i, kind in enumerate(kinds) if kind not in (None, "inaccurate")],
        "silent": [i for i, kind in enumerate(kinds) if kind in SILENT_KINDS],
        "all": list(range(len(kinds))),
    }
    found = []
    for group, places in groups.items():
        if not places:
            continue
        weights = members.weights[places]
        areas = layout.graded(weights, auroc).mean(0)
        found.append(_average(areas, "bag_auroc", group, 0.5))
        if layout.types > 1:

            def least(values: Any, rows: Any, index: Any, mask: Any) -> Any:
                shares = least_type_share(values, layout.key_types[index], mask, layout.types)
                return shares.masked_fill(~layout.known[rows], float("nan"))

            per_bag = layout.per_bag(weights, least).mean(0)
            chance = next((r for r in report.report.references if r.subject == "random"), None)
            null = None if chance is None else chance.least_type_share
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
