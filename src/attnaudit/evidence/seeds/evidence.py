"""Many seeds of one network as evidence: what they are asked for, their grades and ensembles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl
import torch

from attnaudit.data.bags.records import BagDataset
from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.contract import Design, Splits
from attnaudit.evidence.seeds.ensembles import ensemble_rows
from attnaudit.evidence.seeds.grades import (
    LEAST_ACCURATE,
    EnsembleRow,
    Grade,
    bars_in_force,
    chosen_on_dev,
    is_accurate,
    kind_of,
    places_of,
)
from attnaudit.evidence.seeds.grading import grade, grade_members, reference_weights
from attnaudit.evidence.seeds.layout import Layout, lay_out
from attnaudit.evidence.seeds.members import Members, bags_of, group_cells, read_members
from attnaudit.evidence.seeds.network import Network
from attnaudit.findings.estimates import average, share, spoken
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.runs.cell import Cell
from attnaudit.runs.execute import Done
from attnaudit.runs.inputs import Input
from attnaudit.runs.store import Store


@dataclass(frozen=True)
class SeedEvidence:
    """What many seeds of a network show.

    Attributes:
        members: The networks, and their weights on the test bags.
        network: What was trained.
        splits: `train`, `dev` and `test`, as the network reads them.
        settings: Settings and bars.
    """

    members: Members
    network: Network
    splits: Mapping[str, BagDataset]
    settings: Settings

    @cached_property
    def layout(self) -> Layout:
        """What is known of the test bags."""
        return lay_out(self.splits["test"], self.network.graded)

    @cached_property
    def force(self) -> dict[str, float]:
        """The bars as they apply, with what can be reached in view."""
        return bars_in_force(self.settings, self.network.ceilings)

    @cached_property
    def rows(self) -> tuple[Grade, ...]:
        """One row per seed, with its kind."""
        return tuple(
            row.model_copy(update={"kind": kind_of(row, self.force, self.settings)})
            for row in grade_members(self.members, self.layout)
        )

    @property
    def accurate(self) -> list[int]:
        """The places of the seeds that do their task."""
        return places_of(self.rows, self.force)

    @property
    def chosen(self) -> list[int]:
        """The places of the seeds that do their task on the development bags: those saved."""
        return chosen_on_dev(self.rows, self.force)

    @property
    def references(self) -> list[Grade]:
        """Random, oracle, supervised, and the ensemble of all seeds."""
        return self._calibrated[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """Which of the references could not be had, and why."""
        return self._calibrated[1]

    @property
    def chance(self) -> Grade | None:
        """The grade of random weights; None without truth."""
        return next((row for row in self.references if row.subject == "random"), None)

    @cached_property
    def ensembles(self) -> tuple[EnsembleRow, ...]:
        """Ensembles by size."""
        return ensemble_rows(
            self.members.weights,
            self.members.outputs,
            self.layout,
            self.force,
            subsets=self.settings.seeds.subsets,
            seed=self.settings.seed,
        )

    @cached_property
    def gate(self) -> Finding:
        """Whether enough seeds do their task to say anything of their weights."""
        return gate(self.rows, self.force, self.settings)

    @property
    def good(self) -> bool:
        """Whether the gate has passed."""
        return self.gate.verdict is Verdict.PASS

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """One row per seed and reference; and one per test instance, with the weights of seeds."""
        rows = [
            row.model_dump(exclude={"by_label", "type_mass"})
            | {f"type_mass.{k + 1}": value for k, value in enumerate(row.type_mass)}
            for row in (*self.rows, *self.references)
        ]
        sizes = self.layout.sizes.tolist()
        ids = zip(self.layout.ids, sizes, strict=True)
        columns = {
            "bag": [id for id, size in ids for _ in range(size)],
            "instance": torch.cat([torch.arange(size) for size in sizes]).numpy(),
            **{
                f"weight.{seed}": row.numpy()
                for seed, row in zip(self.members.seeds, self.members.weights, strict=True)
            },
        }
        return {
            "seeds": pl.DataFrame(rows, infer_schema_length=None),
            "weights": pl.DataFrame(columns),
        }

    @cached_property
    def _calibrated(self) -> tuple[list[Grade], tuple[str, ...]]:
        train, test = self.splits["train"], self.splits["test"]
        given, notes = reference_weights(self.layout, train, test, self.settings.seed)
        found = [grade(name, self.layout, weights) for name, weights in given.items()]
        count = len(self.members)
        if count > 1:
            mean = self.members.outputs.double().exp().mean(0).log().float()
            weights = self.members.weights.mean(0)
            found.append(grade(f"ensemble of {count}", self.layout, weights, mean))
        return found, notes


@dataclass(frozen=True)
class Seeds:
    """What a check asks of many seeds: all of such checks read the same ones."""

    @classmethod
    def cells(cls, design: Design, asked: Mapping[str, Self]) -> list[Cell]:
        """One cell per group of seeds."""
        network, splits = _of(design)
        lay_out(bags_of(splits.get())["test"], network.graded)  # refuses bags that cannot be graded
        seeds = design.settings.seeds
        return group_cells(network, splits, seeds.which, seeds.at_once)

    @classmethod
    def gather(
        cls, design: Design, asked: Mapping[str, Self], store: Store, done: Done
    ) -> dict[str, SeedEvidence]:
        """The same evidence for each check."""
        return dict.fromkeys(asked, gathered(design, store))


def gathered(design: Design, store: Store) -> SeedEvidence:
    """What the seeds in a run folder show.

    Raises:
        RunError: A group of them is not there, or not what was written.
    """
    network, splits = _of(design)
    cells = Seeds.cells(design, {})
    members = read_members(network, cells, store)
    read = network.scaled(bags_of(splits.get()))
    return SeedEvidence(members, network, read, design.settings)


def gate(rows: Sequence[Grade], force: Mapping[str, float], settings: Settings) -> Finding:
    """Whether enough seeds do their task to say anything of their weights.

    Passes where `least_accurate` seeds or more do, fails where fewer do, and is inconclusive where
    there are fewer seeds than that.
    """
    able = np.array([is_accurate(row, force) for row in rows], dtype=float)
    passed, least = int(able.sum()), int(settings.bar(LEAST_ACCURATE))
    aucs = np.array([np.nan if row.roc_auc is None else row.roc_auc for row in rows])
    mean = average(aucs, settings, statistic="roc_auc", subject="seeds", null=0.5)
    estimate = share(able, settings, statistic="accurate_share", subject="seeds")
    verdict = (
        Verdict.PASS
        if passed >= least
        else (Verdict.FAIL if len(rows) >= least else Verdict.INCONCLUSIVE)
    )
    said = (
        f"{passed} of {len(rows)} seeds reach a bag AUC of {force['bag']:.2f} "
        f"(mean over seeds {spoken(mean)})"
    )
    sentence = {
        Verdict.PASS: f"The network does its task: {said}.",
        Verdict.FAIL: f"The network is not good enough to audit: {said}. Give more training bags, "
        "another network or another learning rate.",
        Verdict.INCONCLUSIVE: f"Not enough seeds: {said}, and {least} accurate ones or more are "
        "needed. Train more seeds.",
    }[verdict]
    return Finding(
        check="performance",
        subject="seeds",
        verdict=verdict,
        sentence=sentence,
        headline=estimate,
        estimates=(estimate, mean),
        thresholds={"bag_bar": force["bag"], "least_accurate": float(least)},
    )


def _of(design: Design) -> tuple[Network, Input[Splits]]:
    network = design.part(Network)
    if network is None:
        raise NotApplicable(
            "there is no network to train from other seeds: give a model of bags, or what such a "
            "network is made of"
        )
    if design.splits is None:
        raise DataError(
            "there are no splits: seeds are trained on train, chosen on dev and compared on test"
        )
    return network, design.splits
