"""The page of the study haab2022: the grid, many seeds, ensembles, ceilings, classic sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnaudit.checks.ensembles import ensembles_picture, ensembles_table
from attnaudit.checks.silent_failures import curve_picture as bars_picture
from attnaudit.checks.silent_failures import seeds_picture, seeds_table
from attnaudit.evidence.seeds.grades import SILENT_KINDS
from attnaudit.findings.findings import Estimate, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    SECOND,
    Curve,
    Figure,
    IntervalRow,
    Row,
    Series,
    Value,
)
from attnaudit.findings.wording import NOTHING, count, interval_of, number, value_of
from attnaudit.report.blocks import Block, StudySection, Words
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.haab2022.cells import CLASSIC, GRID, MANY, SIGNAL, setting_of
from attnaudit.studies.haab2022.graded import file_of, graded
from attnaudit.studies.haab2022.measure import EVERY, Shown
from attnaudit.studies.pieces import (
    curve_picture,
    ends_of,
    finely,
    interval_picture,
    section,
    table,
)
from attnaudit.studies.schema import CellRecord

HEAD = (
    *("accurate seeds", "bag AUC", "instance AUROC", "top-1", "lift", "ceiling", "supervised"),
    *("ensemble", "silent failures"),
)
CLASSIC_HEAD = (
    *("accuracy", "bag AUC", "Spearman", "Kendall", "same top", "divergence", "same decision"),
)
AGREEMENT = ("spearman", "kendall_tau", "same_top", "jsd", "same_decision")
SIGNAL_HEAD = {
    "ceiling": Series("ceiling Φ(Δ/√2)", MUTED),
    "weights": Series("weights", ACCENT),
    "supervised": Series("supervised classifier", SECOND, "square"),
}


def sections(results: Results) -> Iterator[StudySection]:
    """What differs, and one section a question; a part that was not measured is left out."""
    yield section(
        "differences",
        "What is known of the paper",
        "Its abstract. The numbers of its tables are not known here, nor its rules, sizes, "
        "networks and thresholds; nothing on this page is a number of the paper.",
        Words(
            "",
            (
                "Rules, modalities, sizes of bags, networks and thresholds are ours.",
                "All seeds of a setting are trained and tested on the same bags: intervals of "
                "rates are over seeds, intervals of means are over bags, as each says.",
                "Keys are instances in whose place an ordinary one could change the label, in this "
                "bag or in another. Where two types of keys must occur together, a bag of the "
                "other label can have keys that speak for nothing; such settings are graded on "
                "every bag, and on positive bags alone.",
            ),
        ),
    )
    grid, many = results.where(part=GRID), results.where(part=MANY)
    yield section(
        "grid",
        "Rules, modalities and pools",
        f"{_sizes(grid)} test bags a setting.",
        _settings(grid),
        table(
            "Every setting",
            "Means over seeds; instance AUROC and lift are means over bags first. Ceiling: the "
            "best score of single instances, where it is known. Supervised: a classifier told "
            "which training instances are keys. Ensemble: mean weights of all seeds. Silent "
            "failures: of all seeds.",
            "setting",
            HEAD,
            [
                Row(setting_of(record.spec), cells_of(record, file))
                for record in grid
                if (file := file_of(record)) is not None
            ],
        ),
    )
    yield section(
        "many",
        "Silent failures, and ensembles",
        f"Conjunction of digits with self-attention: {_sizes(many)} test bags. A draw is another "
        "draw of all bags.",
        *(block for place, record in enumerate(many) for block in _many(record, place)),
    )
    yield section(
        "signal",
        "Gaussian bags and their ceiling",
        "Presence on Gaussian instances: the best score of single instances is known, and so is "
        "the best bag AUC.",
        *_signal(sorted(results.where(part=SIGNAL), key=lambda r: float(r.spec["delta"]))),
    )
    yield section(
        "classic",
        "Classic sets",
        "Repeated 10-fold cross-validation; instances have no labels, so that seeds can only be "
        "compared with each other.",
        table(
            "Accuracy, and agreement of two seeds on bags they were not trained on",
            "Means over bags and pairs of seeds, with intervals over bags.",
            "set",
            CLASSIC_HEAD,
            [
                Row(str(record.spec["data"]), tuple(_classic(record)))
                for record in results.where(part=CLASSIC)
            ],
        ),
    )


def _sizes(records: Sequence[CellRecord]) -> str:
    if not records:
        return ""
    spec = records[0].spec
    bags, test = count(spec["bags"]), count(spec["test_bags"])
    return f"{bags} training bags, {spec['members']} seeds, {test}"


def cells_of(record: CellRecord, file: Shown) -> tuple[Value, ...]:
    """A row of the grid, as `HEAD` has it."""
    gate = file.findings[0]
    able = gate.headline
    rows = {row.subject.split(" ")[0]: row for row in reversed(file.references)}
    passed = gate.verdict is Verdict.PASS
    short = "not enough seeds" if gate.verdict is Verdict.INCONCLUSIVE else "not good enough"
    accurate = 0 if able is None or able.value is None else round(able.value * able.n)
    failures = sum(row.kind in SILENT_KINDS for row in file.seeds)
    return (
        Value(f"{accurate} of {len(file.seeds)}", differs="" if passed else short),
        _mean(find(record.rows, "roc_auc", "seeds")),
        *(_mean(find(record.rows, name, "weights")) for name in ("auroc", "top_one", "lift")),
        Value(finely(file.ceilings.instance)),
        *(
            Value(number(rows[name].auroc) if name in rows else NOTHING)
            for name in ("supervised", "ensemble")
        ),
        Value(f"{failures} of {len(file.seeds)}" if passed else NOTHING),
    )


def _mean(found: Estimate | None) -> Value:
    if found is None or found.value is None:
        return Value(NOTHING)
    return Value(value_of(found), interval_of(found))


def _settings(records: Sequence[CellRecord]) -> Figure | None:
    drawn = [
        (setting_of(record.spec), found)
        for record in records
        if (found := find(record.rows, "bag_auroc", "weights", "accurate")) is not None
        and found.value is not None
    ]
    if not drawn:
        return None
    rows = [IntervalRow(name, (found,)) for name, found in drawn]
    low = min(0.4, *(end - 0.05 for end in ends_of(rows)))
    return interval_picture(
        "settings",
        (
            "How well accurate seeds find the keys",
            "Mean instance AUROC over bags, of the mean over accurate seeds; 0.5 by chance. "
            "Settings without an accurate seed are left out.",
        ),
        rows,
        (Series("accurate seeds", ACCENT),),
        (round(low, 2), 1.0),
        "mean instance AUROC",
        (f"{name} {value_of(found)}" for name, found in drawn),
    )


def _many(record: CellRecord, place: int) -> Iterator[Block]:
    for _, file, bags in graded([record]):
        about = f"{setting_of(record.spec)}, draw {record.spec['draw']}, {bags}"
        bar, bag_bar = file.bars_in_force["instance"], file.bars_in_force["bag"]
        name = f"{place}-{bags.split(' ')[0]}".replace("every", "all")
        figures = [
            seeds_picture(file.seeds, bag_bar, bar, name=f"seeds-{name}", title=f"Seeds: {about}"),
            bars_picture(file.curve, f"curve-{place}") if bags == EVERY else None,
            ensembles_picture(
                file.ensembles, bar, name=f"ensembles-{name}", title=f"Ensembles: {about}"
            ),
        ]
        yield Words(about, tuple(finding.sentence for finding in file.findings))
        yield from (figure for figure in figures if figure is not None)
        yield seeds_table((*file.references, *file.seeds), about, folded=True)
        yield ensembles_table(file.ensembles, folded=True)


def _signal(records: Sequence[CellRecord]) -> Iterator[Block | None]:
    points: dict[str, list[tuple[float, float, str]]] = {name: [] for name in SIGNAL_HEAD}
    rows = []
    for record in records:
        file, delta = file_of(record), float(record.spec["delta"])
        found = find(record.rows, "bag_auroc", "weights", "all")
        if file is None or found is None or found.value is None:
            continue
        label = f"Δ = {delta:g}"
        ceiling = 1.0 if file.ceilings.instance is None else file.ceilings.instance
        supervised = next((r.auroc for r in file.references if r.subject == "supervised"), None)
        for name, value in zip(SIGNAL_HEAD, (ceiling, found.value, supervised), strict=True):
            if value is not None:
                points[name].append((delta, value, label))
        values = (
            Value(finely(ceiling)),
            Value(finely(found.value), interval_of(found)),
            Value(finely(supervised)),
            Value(finely(file.ceilings.bag)),
            _mean(find(record.rows, "roc_auc", "seeds")),
        )
        rows.append(Row(label, values))
    drawn = [Curve(SIGNAL_HEAD[name], tuple(some)) for name, some in points.items() if some]
    x, y = [p[0] for c in drawn for p in c.points], [p[1] for c in drawn for p in c.points]
    if len(records) > 1 and drawn:
        yield curve_picture(
            "ceiling",
            (
                "Weights below their ceiling",
                "Mean instance AUROC of all seeds, against how far keys are from other instances.",
            ),
            drawn,
            ((min(x), max(x)), (round(min(y) - 0.05, 2), 1.0)),
            ("Δ", "mean instance AUROC"),
            (f"{c.series.name} {finely(c.points[-1][1])}" for c in drawn),
        )
    head = (*SIGNAL_HEAD, "best bag AUC", "bag AUC")
    yield table("By size of the signal", "", "signal", head, rows)


def _classic(record: CellRecord) -> Iterator[Value]:
    yield _mean(find(record.rows, "accuracy", "seeds"))
    yield Value(number(float(record.facts["roc_auc"])))
    yield from (_mean(find(record.rows, name, "seed~seed")) for name in AGREEMENT)
