"""The plan of an audit: which checks, on which model and data, and the cells that they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from pydantic import JsonValue

from attnaudit.audits.schema import DataFacts, ModelFacts, Plan
from attnaudit.checks.declaration import ATTENTION, PAIRS, Check
from attnaudit.checks.registry import CHECKS, GATES, chosen_checks
from attnaudit.data import kinds
from attnaudit.data.kinds import AnyDataset, Kind, kind_of
from attnaudit.evidence.contract import Asked, Design, Splits
from attnaudit.files import digest_of
from attnaudit.findings.settings import LEAST_INSTANCES, Settings, check_bars
from attnaudit.models.cut import Model
from attnaudit.models.encoded import Encoded
from attnaudit.runs.cell import Cell

PROBES = 8
"""Records on which a model's behaviour is part of its fingerprint."""


@dataclass(frozen=True)
class Planned:
    """An audit that is planned: what it will compute is known, and nothing is run or written.

    Attributes:
        plan: What is asked.
        design: The model, data and settings.
        checks: The checks.
        cells: What they ask for.
    """

    plan: Plan
    design: Design
    checks: Sequence[Check]
    cells: Sequence[Cell]


def checks_of(settings: Settings, kind: Kind) -> list[Check]:
    """The checks that settings name; the usual ones of what the model reads by default.

    Raises:
        SettingsError: A check or bar that does not exist, or a bar out of range.
    """
    checks = chosen_checks(settings.checks or (PAIRS if kind == kinds.PAIRS else ATTENTION,), kind)
    every = (*GATES.values(), *CHECKS.values())
    check_bars(settings, (LEAST_INSTANCES, *(bar for check in every for bar in check.bars)))
    return checks


def asked_of(checks: Sequence[Check], design: Design) -> dict[type[Asked], dict[str, Asked]]:
    """What checks ask for, by the kind of evidence; the gate among them where it can be had."""
    gates = GATES.values() if design.model is not None and design.data is not None else ()
    found: dict[type[Asked], dict[str, Asked]] = {}
    for check in (*gates, *checks):
        found.setdefault(type(check.asks), {})[check.name] = check.asks
    return found


def cells_of(asked: Mapping[type[Asked], Mapping[str, Asked]], design: Design) -> list[Cell]:
    """The cells that are asked for.

    Raises:
        AttnauditError: The design lacks what a check needs; the message says what.
    """
    return [cell for kind, some in asked.items() for cell in kind.cells(design, some)]


def model_facts(model: Model, data: AnyDataset) -> ModelFacts:
    """Which model it is, told by its parameters and by what it does with a few records."""
    return ModelFacts(
        name=model.name,
        kind=type(model).__name__,
        fingerprint=_fingerprint(model, data),
        classes=model.classes,
        partial=model.partial,
    )


def facts_of(name: str, about: Mapping[str, JsonValue], classes: Sequence[str]) -> ModelFacts:
    """What is said of a model that an audit trains itself.

    Args:
        name: What reports call it.
        about: All that decides how it is made.
        classes: Names of its outputs.
    """
    return ModelFacts(name=name, kind="", fingerprint=digest_of(about), classes=tuple(classes))


def data_facts(
    data: AnyDataset, model: Model | None, left_out: int = 0, splits: Splits | None = None
) -> DataFacts:
    """Which data they are, and how many of them the model was trained on."""
    known = None if model is None else model.trained_on
    return DataFacts(
        name=data.name,
        split=data.split,
        fingerprint=data.fingerprint,
        instances=len(data),
        class_counts=data.class_counts,
        mean_length=float(np.mean([len(r.units) for r in data])),
        has_truth=data.has_truth,
        splits={name: part.fingerprint for name, part in (splits or {}).items()},
        notes=data.notes,
        trained_on=0 if known is None else sum(record in known for record in data),
        left_out=left_out,
        reads=(kind_of(data) if model is None else model.kind).instances,
    )


def _fingerprint(model: Model, data: AnyDataset) -> str:
    """The model's own fingerprint, and what it does with a few records.

    Parameters do not tell how a wrapped model cuts texts or attends; its behaviour does.
    """
    few = sorted(data.records, key=lambda record: record.id)[:PROBES]
    encoded = Encoded(model, model.collate(few))
    digest = blake2b(model.fingerprint().encode(), digest_size=32)
    digest.update(encoded.batch.inputs.cpu().numpy().tobytes())
    digest.update(encoded.units.cpu().numpy().tobytes())
    digest.update(repr((model.pad_value, model.mask_value)).encode())
    # rounded, so that another number of threads is no other model
    digest.update((encoded.weights * 100).round().to(torch.int16).cpu().numpy().tobytes())
    digest.update((encoded.probabilities * 100).round().to(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()
