"""The page of the study haab2022: the grid, many seeds, ensembles, ceilings, classic sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnaudit.checks.ensembles import ensembles_picture, ensembles_table
from attnaudit.checks.silent_failures import curve_picture, seeds_picture, seeds_table
from attnaudit.evidence.seeds.grades import SILENT_KINDS
from attnaudit.findings.findings import Estimate, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    SECOND,
    Curve,
    Curves,
    Figure,
    IntervalRow,
    Intervals,
    Row,
    Series,
    Table,
    Value,
)
from attnaudit.findings.wording import NOTHING, count, interval_of, number, value_of
from attnaudit.report.blocks import Block, StudySection, Words
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.haab2022.cells import CLASSIC, GRID, MANY, SIGNAL, setting_of
from attnaudit.studies.haab2022.conclude import file_of
from attnaudit.studies.haab2022.measure import EVERY, POSITIVE, Shown
from attnaudit.studies.schema import CellRecord

HEAD = (
    "accurate seeds",
    "bag AUC",
    "instance AUROC",
    "top-1",
    "lift",
    "ceiling",
    "supervised",
    "ensemble",
    "silent failures",
)

AGREEMENT = ("spearman", "kendall_tau", "same_top", "jsd", "same_decision")


def sections(results: Results) -> Iterator[StudySection]:
    """What differs, and one section a question; a part that was not measured is left out."""
    yield _differences()
    grid = results.where(part=GRID)
    if grid:
        yield _grid(grid)
    many = results.where(part=MANY)
    if many:
        yield _many(many)
    signal = sorted(results.where(part=SIGNAL), key=lambda r: float(r.spec["delta"]))
    if signal:
        yield _signal(signal)
    classic = results.where(part=CLASSIC)
    if classic:
        yield _classic(classic)


def _differences() -> StudySection:
    return StudySection(
        "differences",
        "What is known of the paper",
        "Its abstract. The numbers of its tables are not known here, nor its rules, sizes, "
        "networks and thresholds; nothing on this page is a number of the paper.",
        (
            Words(
                "",
                (
                    "Rules, modalities, sizes of bags, networks and thresholds are ours.",
                    "All seeds of a setting are trained and tested on the same bags: "
                    "intervals of rates "
                    "are over seeds, intervals of means are over bags, as each says.",
                    "Keys are instances in whose place an ordinary one could change the "
                    "label, in this bag "
                    "or in another. Where two types of keys must occur together, a bag of "
                    "the other label "
                    "can have keys that speak for nothing; such settings are graded on "
                    "every bag, and on "
                    "positive bags alone.",
                ),
            ),
        ),
    )


def _grid(records: Sequence[CellRecord]) -> StudySection:
    rows = []
    for record in records:
        file = file_of(record)
        if file is None:
            continue
        rows.append(Row(setting_of(record.spec), _cells(record, file)))
    drawn = []
    for record in records:
        found = find(record.rows, "bag_auroc", "weights", "accurate")
        if found is not None and found.value is not None:
            drawn.append((setting_of(record.spec), found))
    blocks: list[Block] = []
    if drawn:
        blocks.append(_settings(drawn))
    blocks.append(
        Table(
            "Every setting",
            "Means over seeds; instance AUROC and lift are means over bags first. "
            "Ceiling: the best score of single instances, where it is known. Supervised: a "
            "classifier told which training instances are keys. Ensemble: mean weights of all "
            "seeds. Silent failures: of all seeds.",
            "setting",
            HEAD,
            tuple(rows),
        )
    )
    spec = records[0].spec
    return StudySection(
        "grid",
        "Rules, modalities and pools",
        f"{count(spec['bags'])} training bags, {spec['members']} seeds, "
        f"{count(spec['test_bags'])} test bags a setting.",
        tuple(blocks),
    )


def _cells(record: CellRecord, file: Shown) -> tuple[Value, ...]:
    gate = file.findings[0]
    able = gate.headline
    rows = {row.subject: row for row in file.references}
    ensemble = next((row for name, row in rows.items() if name.startswith("ensemble")), None)
    supervised = rows.get("supervised")
    failures = sum(row.kind in SILENT_KINDS for row in file.seeds)
    passed = gate.verdict is Verdict.PASS
    short = "not enough seeds" if gate.verdict is Verdict.INCONCLUSIVE else "not good enough"
    accurate = 0 if able is None or able.value is None else round(able.value * able.n)
    return (
        Value(f"{accurate} of {len(file.seeds)}", differs="" if passed else short),
        _mean(find(record.rows, "roc_auc", "seeds")),
        _mean(find(record.rows, "auroc", "weights")),
        _mean(find(record.rows, "top_one", "weights")),
        _mean(find(record.rows, "lift", "weights")),
        Value(number(file.ceilings.instance, 3)),
        Value(NOTHING if supervised is None else number(supervised.auroc)),
        Value(NOTHING if ensemble is None else number(ensemble.auroc)),
        Value(f"{failures} of {len(file.seeds)}" if passed else NOTHING),
    )


def _mean(found: Estimate | None) -> Value:
    if found is None or found.value is None:
        return Value(NOTHING)
    return Value(value_of(found), interval_of(found))


def _settings(drawn: Sequence[tuple[str, Estimate]]) -> Figure:
    rows = [IntervalRow(name, (found,)) for name, found in drawn]
    low = min(0.4, *((e.low if e.low is not None else e.value or 0.0) - 0.05 for _, e in drawn))
    return Figure(
        "settings",
        "How well accurate seeds find the keys",
        "Mean instance AUROC over bags, of the mean over accurate seeds; 0.5 by chance. Settings "
        "without an accurate seed are left out.",
        Intervals(
            rows=tuple(rows),
            series=(Series("accurate seeds", ACCENT),),
            domain=(round(low, 2), 1.0),
            axis="mean instance AUROC",
        ),
        "; ".join(f"{name} {value_of(found)}" for name, found in drawn) + ".",
    )


def _many(records: Sequence[CellRecord]) -> StudySection:
    blocks: list[Block] = []
    for place, record in enumerate(records):
        for bags, suffix in ((EVERY, "all"), (POSITIVE, "positive")):
            file = file_of(record, bags)
            if file is None:
                continue
            about = f"{setting_of(record.spec)}, draw {record.spec['draw']}, {bags}"
            force = file.bars_in_force
            figures = [
                seeds_picture(
                    file.seeds,
                    force["bag"],
                    force["instance"],
                    name=f"seeds-{place}-{suffix}",
                    title=f"Seeds: {about}",
                ),
                ensembles_picture(
                    file.ensembles,
                    force["instance"],
                    name=f"ensembles-{place}-{suffix}",
                    title=f"Ensembles: {about}",
                ),
            ]
            if bags == EVERY:
                figures.insert(1, curve_picture(file.curve, f"curve-{place}"))
            blocks.append(Words(about, tuple(finding.sentence for finding in file.findings)))
            blocks += [figure for figure in figures if figure is not None]
            blocks.append(seeds_table((*file.references, *file.seeds), about, folded=True))
            blocks.append(ensembles_table(file.ensembles, folded=True))
    spec = records[0].spec
    return StudySection(
        "many",
        "Silent failures, and ensembles",
        f"Conjunction of digits with self-attention: {count(spec['bags'])} training bags, "
        f"{spec['members']} seeds, {count(spec['test_bags'])} test bags. A draw is another draw of "
        "all bags.",
        tuple(blocks),
    )


def _signal(records: Sequence[CellRecord]) -> StudySection:
    points: dict[str, list[tuple[float, float, str]]] = {"ceiling": [], "weights": [], "super": []}
    rows = []
    for record in records:
        file, delta = file_of(record), float(record.spec["delta"])
        found = find(record.rows, "bag_auroc", "weights", "all")
        if file is None or found is None or found.value is None:
            continue
        label = f"Δ = {delta:g}"
        ceiling = 1.0 if file.ceilings.instance is None else file.ceilings.instance
        supervised = next((r.auroc for r in file.references if r.subject == "supervised"), None)
        points["ceiling"].append((delta, ceiling, label))
        points["weights"].append((delta, found.value, label))
        if supervised is not None:
            points["super"].append((delta, supervised, label))
        auc = find(record.rows, "roc_auc", "seeds")
        rows.append(
            Row(
                label,
                (
                    Value(number(ceiling, 3)),
                    Value(number(found.value, 3), interval_of(found)),
                    Value(number(supervised, 3)),
                    Value(number(file.ceilings.bag, 3)),
                    _mean(auc),
                ),
            )
        )
    names = {
        "ceiling": Series("ceiling Φ(Δ/√2)", MUTED),
        "weights": Series("weights", ACCENT),
        "super": Series("supervised classifier", SECOND, "square"),
    }
    drawn = [Curve(names[key], tuple(some)) for key, some in points.items() if some]
    every = [p for some in points.values() for p in some]
    blocks: list[Block] = []
    if len(records) > 1 and every:
        x = (min(p[0] for p in every), max(p[0] for p in every))
        low = min(p[1] for p in every)
        blocks.append(
            Figure(
                "ceiling",
                "Weights below their ceiling",
                "Mean instance AUROC of all seeds, against how far keys are from other instances.",
                Curves(
                    rows=tuple(drawn),
                    x=x,
                    y=(round(low - 0.05, 2), 1.0),
                    axes=("Δ", "mean instance AUROC"),
                ),
                "; ".join(f"{c.series.name} {number(c.points[-1][1], 3)}" for c in drawn) + ".",
                tuple(c.series for c in drawn),
            )
        )
    blocks.append(
        Table(
            "By size of the signal",
            "",
            "signal",
            ("ceiling", "weights", "supervised", "best bag AUC", "bag AUC"),
            tuple(rows),
        )
    )
    return StudySection(
        "signal",
        "Gaussian bags and their ceiling",
        "Presence on Gaussian instances: the best score of single instances is known, and so is "
        "the best bag AUC.",
        tuple(blocks),
    )


def _classic(records: Sequence[CellRecord]) -> StudySection:
    rows = []
    for record in records:
        values = [
            _mean(find(record.rows, "accuracy", "seeds")),
            Value(number(float(record.facts["roc_auc"]))),
        ]
        values += [_mean(find(record.rows, name, "seed~seed")) for name in AGREEMENT]
        rows.append(Row(str(record.spec["data"]), tuple(values)))
    return StudySection(
        "classic",
        "Classic sets",
        "Repeated 10-fold cross-validation; instances have no labels, so that seeds can only be "
        "compared with each other.",
        (
            Table(
                "Accuracy, and agreement of two seeds on bags they were not trained on",
                "Means over bags and pairs of seeds, with intervals over bags.",
                "set",
                (
                    "accuracy",
                    "bag AUC",
                    "Spearman",
                    "Kendall",
                    "same top",
                    "divergence",
                    "same decision",
                ),
                tuple(rows),
            ),
        ),
    )
