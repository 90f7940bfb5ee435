"""Remedies audited before and after: did they make the weights better explanations?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch

from attnaudit.audits.plan import checks_of
from attnaudit.audits.result import AuditResult
from attnaudit.audits.run import run_audit
from attnaudit.data.kinds import TEXTS
from attnaudit.data.records import Dataset, Text
from attnaudit.errors import SettingsError
from attnaudit.evidence.batch.chunks import drawn
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.measures.conicity import conicity, random_conicity
from attnaudit.models.batches import by_length, groups, with_backoff
from attnaudit.models.cut import Model
from attnaudit.progress import Report
from attnaudit.remedies import REMEDIES, find_remedy
from attnaudit.remedies.effects import (
    LEAST_SEEDS,
    QUANTITIES,
    TRUTH,
    Effect,
    Row,
    effect_of,
    estimates_of,
)
from attnaudit.runs.execute import watched
from attnaudit.training.options import TrainOptions
from attnaudit.training.text import Splits
from attnaudit.training.train import train

PLAIN = "none"
"""What the row without a remedy is called."""
COSTLY = 200
"""Test texts on which the costly checks run; the rest of the audit reads all."""


@dataclass(frozen=True)
class Comparison:
    """All remedies beside the network without any.

    Attributes:
        rows: One a network, the one without a remedy first.
        effects: One a remedy.
        seeds: Of the trainings.
    """

    rows: tuple[Row, ...]
    effects: tuple[Effect, ...]
    seeds: tuple[int, ...]

    @property
    def frame(self) -> pl.DataFrame:
        """One row an estimate: remedy, quantity, value, interval, n, null; then the difference.

        Beside it `difference_of_seeds`, the largest that two seeds make without any remedy.
        """
        differences = {effect.remedy: effect.differences for effect in self.effects}
        spreads = {effect.remedy: effect.spread for effect in self.effects}
        rows = [
            {
                "remedy": row.remedy,
                "quantity": name,
                **estimate.model_dump(include={"value", "low", "high", "n", "undefined", "null"}),
                **{
                    f"difference_{end}": getattr(differences[row.remedy][name], end)
                    if row.remedy in differences
                    else None
                    for end in ("value", "low", "high")
                },
                "difference_of_seeds": spreads.get(row.remedy, {}).get(name),
            }
            for row in self.rows
            for name, estimate in row.estimates.items()
        ]
        return pl.DataFrame(rows, infer_schema_length=None)


def compare(
    splits: Splits,
    remedies: Sequence[str] = tuple(REMEDIES),
    *,
    seeds: Sequence[int] = tuple(range(LEAST_SEEDS)),
    encoder: str = "bilstm",
    weights: Mapping[str, float] | None = None,
    options: TrainOptions | None = None,
    settings: Settings | None = None,
    limit: int | None = None,
    progress: Report | None = None,
    **training: Any,
) -> Comparison:
    """Train without a remedy and with each, audit all on the test split, and say what changed.

    Args:
        splits: `train`, `dev` and `test`.
        remedies: Names of `REMEDIES`.
        seeds: Of the trainings, each of which is repeated with each. A change counts only where
            it has the same sign for all and is larger than any that seeds alone make; with fewer
            than `LEAST_SEEDS` the outcome is `not certain`.
        encoder: The encoder without a remedy.
        weights: λ by name of the remedy, where the default is not wanted.
        options: Of the trainings; their seed is replaced.
        settings: Of the audits; by default those of an audit with few texts for costly checks.
        limit: Test texts to audit, drawn by the settings' seed; all by default.
        progress: Told `(stage, done, total)`.
        training: Passed to `attnaudit.train`: attention, hidden, vectors and the like.

    Raises:
        SettingsError: A remedy that does not exist or does not fit, or no seed.
        AttnauditError: Unusable data or options.
    """
    settings = settings or Settings(costly_limit=COSTLY)
    options, weights = options or TrainOptions(), weights or {}
    if not seeds:
        raise SettingsError("no seed was given; name three or more, e.g. seeds=(0, 1, 2)")
    if len(set(seeds)) < len(seeds):
        raise SettingsError(f"seeds is {tuple(seeds)}; name each seed once")
    compared = {"agreement", "permutation", "erasure"}
    compared |= {"ground_truth"} if splits["test"].has_truth else set()
    left_out = compared - {check.name for check in checks_of(settings, TEXTS)}
    if left_out or "delete" not in settings.operators:
        missing = f"checks {sorted(left_out)}" if left_out else "operator 'delete' of erasure"
        raise SettingsError(f"the settings leave out the {missing}, which is compared; put it back")
    astray = [name for name in weights if name not in remedies]
    if astray:
        raise SettingsError(f"a weight is given for {astray[0]!r}, which is not compared")
    changes = {PLAIN: {"encoder": encoder}} | {
        name: find_remedy(name).training(encoder, weights.get(name)) for name in remedies
    }
    test = _drawn(splits["test"], limit, settings.seed)
    found: dict[str, list[pl.DataFrame]] = {}
    verdicts: dict[str, list[Verdict]] = {}
    for name, change in changes.items():
        for seed in seeds:
            model = train(
                splits,
                options=replace(options, seed=seed),
                **change,
                **training,
                name=name,
                progress=_stage(progress, f"training {name}, seed {seed}") or False,
            ).model
            stage = _stage(progress, f"auditing {name}, seed {seed}")
            watch = None if stage is None else watched(stage)
            result = run_audit(model, test, settings, watch=watch)
            found.setdefault(name, []).append(_quantities(result, model, test, settings))
            verdicts.setdefault(name, []).append(result.report.judgement.verdict)
    null = _null(test, model)
    rows = tuple(
        Row(name, estimates_of(frames, settings, null), tuple(verdicts[name]))
        for name, frames in found.items()
    )
    before = rows[0]
    effects = tuple(
        effect_of(before, after, found[PLAIN], found[after.remedy], settings) for after in rows[1:]
    )
    return Comparison(rows, effects, tuple(seeds))


def conicity_of(model: Model, data: Dataset, settings: Settings | None = None) -> np.ndarray:
    """The conicity of the states of each record, in the order of the data; NaN where undefined."""
    budget = (settings or Settings()).token_budget
    order = by_length(data.records)
    records = [data.records[index] for index in order]

    def work(part: Sequence[Text]) -> list[float]:
        with torch.no_grad():
            states = model.encode(model.collate(part))
        values: list[float] = conicity(states.hidden.double(), states.units).tolist()
        return values

    values: list[float] = []
    for part in groups([len(record.units) for record in records], budget):
        values += with_backoff(work, records[part])
    return np.array(values)[np.argsort(order)]


def _drawn(test: Dataset, limit: int | None, seed: int) -> Dataset:
    if limit is None or limit >= len(test):
        return test
    flags = drawn([record.id for record in test], limit, seed, "remedies")
    return test.select([record for record, flag in zip(test, flags, strict=True) if flag])


def _stage(progress: Report | None, name: str) -> Report | None:
    if progress is None:
        return None
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)


def _quantities(
    result: AuditResult, model: Model, data: Dataset, settings: Settings
) -> pl.DataFrame:
    """One row an instance, in the order of the data."""
    frame = result.instances.sort("index")
    frame = frame.with_columns(pl.Series("conicity", conicity_of(model, data, settings)))
    return frame.select(
        quantity.column.alias(quantity.name)
        for quantity in QUANTITIES
        if quantity.name != TRUTH or data.has_truth
    )


def _null(test: Dataset, model: Model) -> float | None:
    """The mean conicity of random states in texts of these lengths."""
    with torch.no_grad():
        width = model.encode(model.collate(test.records[:1])).hidden.shape[-1]
    values = random_conicity(torch.tensor([len(r.units) for r in test]), width)
    return None if values.isnan().all() else float(values.nanmean())
