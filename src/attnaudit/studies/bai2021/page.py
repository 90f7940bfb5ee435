"""The page of the study bai2021: accuracy, judges, probes and masses of every setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attnaudit.findings.findings import Estimate
from attnaudit.findings.wording import NOTHING, count, duration, number
from attnaudit.report.blocks import (
    Block,
    Picture,
    Row,
    StudySection,
    StudyTable,
    Value,
    Words,
)
from attnaudit.report.charts import (
    ACCENT,
    Figure,
    Guide,
    IntervalRow,
    Series,
    interval_rows,
)
from attnaudit.report.figures import FOURTH, SECOND, THIRD
from attnaudit.studies.bai2021.conclude import over_seeds
from attnaudit.studies.bai2021.measure import ERASED
from attnaudit.studies.bai2021.settings import HELD_OUT, JOINT, METHODS, PRETRAIN, SETTINGS, WEIGHT
from attnaudit.studies.claims import measured
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.schema import CellRecord, Measured

COLOURS = {JOINT: ACCENT, PRETRAIN: SECOND, HELD_OUT: FOURTH, WEIGHT: THIRD}


@dataclass(frozen=True)
class Column:
    """One number of a cell: its name, and which estimate it is."""

    head: str
    statistic: str
    subject: str
    group: str = "all"


TABLE = (
    Column("accuracy", "accuracy", "performance/model"),
    Column("neutral judge", "accuracy", "gap/judge"),
    Column("gap", "gap", "model"),
    Column("informed decoder", "accuracy", "gap/informed decoder"),
    Column("judge, random masks", "accuracy", "gap/judge, random masks"),
    Column("leak: weights", "leak", "leak/weights"),
    Column("leak: defaults", "leak", "leak/default tokens"),
    Column("mean default mass", "default_mass", "leak/default tokens"),
    Column("mean mass on evidence", "mass_on_evidence", "weights"),
)
FORWARD = (
    Column("one vector", "balanced_accuracy_above_chance", "weights_only/one mean vector"),
    Column(
        "vector of the place",
        "balanced_accuracy_above_chance",
        "weights_only/mean vector of the place",
    ),
    Column(
        "share of flips, weights of another class", "flip_share", "swaps/weights of another class"
    ),
    Column("of the same class", "flip_share", "swaps/weights of the same class"),
    Column("share of flips, content", "flip_share", "swaps/content of another class"),
    Column("shortcut share", "shortcut_share", "swaps/weights of another class"),
)
EXPLAINED = (
    Column("accuracy", "accuracy", "performance/model"),
    Column("mean tau with gradient", "kendall_tau", "agreement/weights~gradient"),
    Column("mean tau with leave-one-out", "kendall_tau", "agreement/weights~leave_one_out"),
    Column("mean comprehensiveness", "comprehensiveness", "erasure/weights", ERASED),
    Column("mean sufficiency", "sufficiency", "erasure/weights", ERASED),
)


def sections(results: Results) -> Iterator[StudySection]:
    """The table of all settings, interventions, explanations, and what the check costs."""
    rows = list(_rows(results))
    yield StudySection(
        "settings",
        "Models and their judges",
        "Means over seeds; in small print an interval over "
        "seeds and texts. The gap is balanced accuracy beyond a neutral judge, or beyond chance "
        "where no weights independent of the label can be read at all.",
        (*_pictures(results), _table("All settings", rows, TABLE)),
    )
    yield StudySection(
        "forward",
        "Interventions",
        "Weights without text (balanced accuracy above chance), and "
        "predictions changed by weights or content of another text.",
        (_table("Forward passes without training", rows, FORWARD),),
    )
    explained = [
        (name, method, records) for name, method, records in rows if records[0].spec["explanations"]
    ]
    if explained:
        yield StudySection(
            "explanations",
            "As explanations",
            "Agreement and erasure of the weights on real text, before and after the remedies.",
            (_table("Real text", explained, EXPLAINED),),
        )
    yield StudySection(
        "verdicts",
        "Verdicts and cost",
        "What the check says of each seed, and CPU time of the training beside that of the check.",
        (_verdicts(rows), _missing_words()),
    )


Rows = Sequence[tuple[str, str, list[CellRecord]]]


def _rows(results: Results) -> Iterator[tuple[str, str, list[CellRecord]]]:
    for name in SETTINGS:
        for method in METHODS:
            records = results.where(setting=name, method=method)
            if records:
                yield name, method, records


def _mean(records: Sequence[CellRecord], column: Column) -> Measured | None:
    found = [
        measured(find(r.rows, column.statistic, column.subject, column.group), column.head)
        for r in records
    ]
    return over_seeds(found)


def _table(title: str, rows: Rows, columns: Sequence[Column]) -> StudyTable:
    made = [
        Row(
            _name(name, method),
            tuple(_value(_mean(records, c)) for c in columns),
            inner=method != JOINT,
        )
        for name, method, records in rows
    ]
    kept = [i for i in range(len(columns)) if any(r.values[i].text != NOTHING for r in made)]
    return StudyTable(
        title,
        "",
        "setting",
        tuple(columns[i].head for i in kept),
        tuple(Row(r.name, tuple(r.values[i] for i in kept), r.inner) for r in made),
    )


def _name(name: str, method: str) -> str:
    return SETTINGS[name].title if method == JOINT else METHODS[method]


def _value(found: Measured | None) -> Value:
    if found is None:
        return Value(NOTHING)
    more = "" if found.low is None else f"{number(found.low)} to {number(found.high)}"
    return Value(number(found.value), more)


def _pictures(results: Results) -> Iterator[Block]:
    methods = [m for m in METHODS if results.where(method=m)]
    gap = TABLE[2]
    rows = []
    for name, setting in SETTINGS.items():
        found = [_mean(results.where(setting=name, method=m), gap) for m in methods]
        if any(f is not None for f in found):
            rows.append(IntervalRow(setting.title, tuple(map(_estimate, found))))
    if not rows:
        return
    series = tuple(Series(METHODS[m], COLOURS[m]) for m in methods)
    ends = [
        e
        for r in rows
        for x in r.estimates
        if x is not None
        for e in (x.value, x.low, x.high)
        if e is not None
    ]
    spec = interval_rows(
        rows,
        series,
        domain=(min(0.0, *ends) - 0.03, max(0.1, *ends) + 0.03),
        axis="gap",
        guides=(Guide(0.0, "none"),),
    )
    yield Picture(
        Figure(
            "gaps",
            "What models read beyond a neutral judge",
            "One row a setting, one mark a method: mean over seeds with its interval.",
            spec,
            "Gaps of all settings and methods; the table below has the numbers.",
            series,
        )
    )


def _estimate(found: Measured | None) -> Estimate | None:
    if found is None:
        return None
    return Estimate(
        statistic="gap",
        subject="model",
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
    )


def _verdicts(rows: Rows) -> StudyTable:
    made = []
    for name, method, records in rows:
        said = Counter(str(r.facts.get("verdict")) for r in records)
        words = ", ".join(f"{word} {count(n)}" for word, n in said.most_common())
        times = [
            [float(r.facts.get(f"{k}_seconds", 0.0)) for r in records]
            for k in ("training", "check")
        ]
        middle = [sorted(t)[len(t) // 2] for t in times]
        made.append(
            Row(
                _name(name, method),
                (Value(words), *(Value(duration(s)) for s in middle)),
                inner=method != JOINT,
            )
        )
    return StudyTable(
        "Verdict of each seed",
        "Times are medians.",
        "setting",
        ("verdicts", "training", "check"),
        tuple(made),
    )


def _missing_words() -> Words:
    return Words(
        "What is not here",
        (
            "The paper's own tables, data sets and sizes are not known to us: no number of it is "
            "reproduced or quoted.",
            "Texts of IMDB with more than 200 units are left out.",
        ),
    )
