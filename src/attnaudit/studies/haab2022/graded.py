"""What many seeds of a cell showed, and what ensembles of them change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnaudit.checks.ensembles import LEAST_SHARE
from attnaudit.evidence.seeds.grades import EnsembleRow
from attnaudit.findings.findings import Verdict
from attnaudit.studies.haab2022.measure import EVERY, POSITIVE, Shown
from attnaudit.studies.schema import CellRecord


def file_of(record: CellRecord, bags: str = EVERY) -> Shown | None:
    """What many seeds of a cell showed; None where it was not graded that way."""
    stored = record.facts.get(bags)
    return None if stored is None else Shown.model_validate(stored)


def good(record: CellRecord) -> bool:
    """Whether enough seeds of a cell do their task."""
    file = file_of(record)
    return file is not None and file.findings[0].verdict is Verdict.PASS


Gain = tuple[float, float | None, EnsembleRow]


def gain_of(rows: Sequence[EnsembleRow], members: int) -> Gain | None:
    """What ensembles of that size change: the worst AUROC, and the share of silent failures.

    Returns:
        The gain of the worst AUROC, the change of the share of silent failures among accurate
        models (None where fewer than `LEAST_SHARE` of the ensembles are accurate, or no single
        seed is), and the row of the ensembles; None where there are not several.
    """
    weights = {row.members: row for row in rows if row.average == "weights"}
    single, many = weights.get(1), weights.get(members)
    if single is None or many is None or many.subsets < 2:
        return None
    if single.worst is None or many.worst is None:
        return None
    rate = None
    known = single.silent is not None and many.silent is not None
    if known and (many.accurate or 0.0) >= LEAST_SHARE.value:
        assert single.silent is not None
        assert many.silent is not None
        rate = many.silent - single.silent
    return many.worst - single.worst, rate, many


def graded(records: Sequence[CellRecord]) -> Iterator[tuple[CellRecord, Shown, str]]:
    """What many seeds of cells showed, and on which bags they were graded."""
    for record in records:
        for bags in (EVERY, POSITIVE):
            file = file_of(record, bags)
            if file is not None:
                yield record, file, bags


def draw_of(record: CellRecord) -> str:
    """Which draw of the data a cell has, and its head where that is not the usual one."""
    spec = record.spec
    return f"draw {spec['draw']}" + ("" if spec["head"] == "linear" else f", {spec['head']} head")
