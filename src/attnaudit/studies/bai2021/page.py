"""The page of the study bai2021: accuracy, judges, probes and masses of every setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from attnaudit.findings.findings import Estimate
from attnaudit.findings.pictures import (
    ACCENT,
    FOURTH,
    SECOND,
    THIRD,
    Figure,
    Guide,
    IntervalRow,
    Row,
    Series,
    Table,
    Value,
)
from attnaudit.findings.wording import count, duration
from attnaudit.report.blocks import StudySection, Words
from attnaudit.studies.bai2021.conclude import over_seeds
from attnaudit.studies.bai2021.measure import ERASED
from attnaudit.studies.bai2021.settings import HELD_OUT, JOINT, METHODS, PRETRAIN, SETTINGS, WEIGHT
from attnaudit.studies.claims import measured
from attnaudit.studies.declaration import Results
from attnaudit.studies.pieces import Column, ends_of, interval_picture, section, table, told
from attnaudit.studies.schema import CellRecord

COLOURS = {JOINT: ACCENT, PRETRAIN: SECOND, HELD_OUT: FOURTH, WEIGHT: THIRD}
GAP = Column("gap", "gap", "model")
TABLE = (
    Column("accuracy", "accuracy", "performance/model"),
    Column("neutral judge", "accuracy", "gap/judge"),
    GAP,
    Column("informed decoder", "accuracy", "gap/informed decoder"),
    Column("judge, random masks", "accuracy", "gap/judge, random masks"),
    Column("leak: weights", "leak", "leak/weights"),
    Column("leak: defaults", "leak", "leak/default tokens"),
    Column("mean default mass", "default_mass", "leak/default tokens"),
    Column("mean mass on evidence", "mass_on_evidence", "weights"),
)
CHANCE, OTHERS = "balanced_accuracy_above_chance", "swaps/weights of another class"
FORWARD = (
    Column("one vector", CHANCE, "weights_only/one mean vector"),
    Column("vector of the place", CHANCE, "weights_only/mean vector of the place"),
    Column("share of flips, weights of another class", "flip_share", OTHERS),
    Column("of the same class", "flip_share", "swaps/weights of the same class"),
    Column("share of flips, content", "flip_share", "swaps/content of another class"),
    Column("shortcut share", "shortcut_share", OTHERS),
)
ERASURE = "erasure/weights"
EXPLAINED = (
    Column("accuracy", "accuracy", "performance/model"),
    Column("mean tau with gradient", "kendall_tau", "agreement/weights~gradient"),
    Column("mean tau with leave-one-out", "kendall_tau", "agreement/weights~leave_one_out"),
    Column("mean comprehensiveness", "comprehensiveness", ERASURE, group=ERASED),
    Column("mean sufficiency", "sufficiency", ERASURE, group=ERASED),
)
Rows = Sequence[tuple[str, str, list[CellRecord]]]


def sections(results: Results) -> Iterator[StudySection]:
    """The table of all settings, interventions, explanations, and what the check costs."""
    every = ((s, m, results.where(setting=s, method=m)) for s in SETTINGS for m in METHODS)
    rows = [row for row in every if row[-1]]
    yield section(
        "settings",
        "Models and their judges",
        "Means over seeds; in small print an interval over seeds and texts. The gap is balanced "
        "accuracy beyond a neutral judge, or beyond chance where no weights independent of the "
        "label can be read at all.",
        _gaps(results),
        _table("All settings", rows, TABLE),
    )
    yield section(
        "forward",
        "Interventions",
        "Weights without text (balanced accuracy above chance), and predictions changed by weights "
        "or content of another text.",
        _table("Forward passes without training", rows, FORWARD),
    )
    yield section(
        "explanations",
        "As explanations",
        "Agreement and erasure of the weights on real text, before and after the remedies.",
        _table("Real text", [r for r in rows if r[-1][0].spec["explanations"]], EXPLAINED),
    )
    yield section(
        "verdicts",
        "Verdicts and cost",
        "What the check says of each seed, and CPU time of the training beside that of the check.",
        table(
            "Verdict of each seed",
            "Times are medians.",
            "setting",
            ("verdicts", "training", "check"),
            [_row(name, method, _costs(records)) for name, method, records in rows],
        ),
        Words(
            "What is not here",
            (
                "The paper's own tables, data sets and sizes are not known to us: no number of it "
                "is reproduced or quoted.",
                "Texts of IMDB with more than 200 units are left out.",
            ),
        ),
    )


def _mean(records: Sequence[CellRecord], column: Column) -> Estimate | None:
    found = over_seeds([measured(column.of(record), column.head) for record in records])
    if found is None:
        return None
    named = {"statistic": column.statistic, "subject": column.subject}
    return Estimate(**named, **found.model_dump(exclude={"unit"}))


def _table(title: str, rows: Rows, columns: Sequence[Column]) -> Table | None:
    made = [
        _row(name, method, (told(_mean(records, column)) for column in columns))
        for name, method, records in rows
    ]
    return table(title, "", "setting", [column.head for column in columns], made)


def _row(name: str, method: str, values: Iterator[Value]) -> Row:
    title = SETTINGS[name].title if method == JOINT else METHODS[method]
    return Row(title, tuple(values), inner=method != JOINT)


def _costs(records: Sequence[CellRecord]) -> Iterator[Value]:
    said = Counter(str(r.facts.get("verdict")) for r in records)
    yield Value(", ".join(f"{word} {count(n)}" for word, n in said.most_common()))
    for part in ("training", "check"):
        times = sorted(float(r.facts.get(f"{part}_seconds", 0.0)) for r in records)
        yield Value(duration(times[len(times) // 2]))


def _gaps(results: Results) -> Figure | None:
    methods = [m for m in METHODS if results.where(method=m)]
    every = [
        IntervalRow(
            setting.title, tuple(_mean(results.where(setting=name, method=m), GAP) for m in methods)
        )
        for name, setting in SETTINGS.items()
    ]
    rows = [row for row in every if any(row.estimates)]
    if not rows:
        return None
    series = tuple(Series(METHODS[m], COLOURS[m]) for m in methods)
    ends = ends_of(rows)
    return interval_picture(
        "gaps",
        (
            "What models read beyond a neutral judge",
            "One row a setting, one mark a method: mean over seeds with its interval.",
        ),
        rows,
        series,
        (min(0.0, *ends) - 0.03, max(0.1, *ends) + 0.03),
        "gap",
        ("Gaps of all settings and methods; the table below has the numbers.",),
        (Guide(0.0, "none"),),
    )
