"""The page of a run over seeds: findings, the strip of seeds, the curve, ensembles, all numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from attnaudit.findings.findings import Finding
from attnaudit.findings.wording import (
    NOTHING,
    count,
    interval_of,
    null_of,
    number,
    statistic,
    threshold,
    typeset,
    value_of,
)
from attnaudit.report.blocks import Block, Picture, Row, StudySection, StudyTable, Value
from attnaudit.report.charts import ACCENT, MUTED, Figure, Series
from attnaudit.report.controls import ControlSummary, FindingRow
from attnaudit.report.curves import Curve, curves
from attnaudit.report.figures import SECOND, THIRD
from attnaudit.report.files import write_text
from attnaudit.report.page import render_page
from attnaudit.silent.run import SilentReport
from attnaudit.silent.schema import CurvePoint, EnsembleRow, Grade

TITLES = {
    "performance": "Do seeds do their task?",
    "silent_failures": "Do accurate seeds fail silently?",
    "seed_agreement": "Do seeds agree?",
    "ensembles": "Do ensembles help?",
}
KINDS = {
    "fine": ("finds the keys", ACCENT, "circle"),
    "inaccurate": ("does not do its task", MUTED, "square"),
    "coverage": ("silent failure: coverage", SECOND, "diamond"),
    "inverted": ("silent failure: inverted", SECOND, "triangle-up"),
    "other": ("silent failure: other", THIRD, "diamond"),
}
"""What a seed is called, with colour and shape."""
HEAD = (
    "bag AUC",
    "dev bag AUC",
    "accuracy",
    "mean instance AUROC",
    "mean AP",
    "top-1",
    "mean mass",
    "mean lift",
    "mean coverage",
    "pooled AUROC",
    "mean least type",
)
FIELDS = (
    "roc_auc",
    "dev_roc_auc",
    "accuracy",
    "auroc",
    "average_precision",
    "top_one",
    "mass",
    "lift",
    "coverage",
    "pooled_auroc",
    "least_type_share",
)


def summarise_silent(result: SilentReport) -> ControlSummary:
    """The plain data of the page. Picks and words; computes no statistic."""
    report = result.report
    network = report.network
    return ControlSummary(
        title=f"{len(report.seeds)} seeds on {report.data}",
        version=report.attnaudit_version,
        headline=report.judgement,
        subtitle=(
            ("network", f"{network['encoder']} + {network['pool']} + {network['head']}"),
            ("bags", ", ".join(f"{n} {count(s)}" for n, s in report.sizes.items())),
            ("seeds", count(len(report.seeds))),
            ("finished", f"{report.created.day} {report.created:%B %Y}"),
        ),
        findings=tuple(_row(f) for f in report.findings),
        sections=tuple(_sections(result)),
    )


def render_silent(result: SilentReport) -> str:
    """The page as one HTML document; every text is escaped, nothing is loaded."""
    summary = summarise_silent(result)
    return render_page("silent.html.j2", summary.figures, styles=("study.css",), s=summary)


def write_silent(result: SilentReport, path: Path) -> Path:
    """Write the page whole or not at all, and say where.

    Raises:
        RunError: It cannot be written.
    """
    return write_text(path, render_silent(result))


def seeds_picture(
    rows: Sequence[Grade],
    bag_bar: float,
    instance_bar: float,
    *,
    name: str = "seeds",
    title: str = "Every seed: its task, and its weights",
) -> Figure | None:
    """Bag AUC against instance AUROC, one mark a seed, with the two bars; None without truth."""
    known = [(r.roc_auc, r.auroc, r) for r in rows if r.roc_auc is not None and r.auroc is not None]
    if not known:
        return None
    x = (_floor(min(bag_bar, *(auc for auc, _, _ in known))), 1.0)
    y = (_floor(min(instance_bar, *(area for _, area, _ in known))), 1.0)
    bars = Series("bars", MUTED, "stroke")
    drawn = [
        Curve(bars, ((bag_bar, y[0], "bar of bag AUC"), (bag_bar, y[1], "bar of bag AUC"))),
        Curve(
            Series("bars of instances", MUTED, "stroke"),
            (
                (x[0], instance_bar, "bar of instance AUROC"),
                (x[1], instance_bar, "bar of instance AUROC"),
            ),
        ),
    ]
    legend = []
    for kind, (words, colour, shape) in KINDS.items():
        points = tuple((auc, area, r.subject) for auc, area, r in known if r.kind == kind)
        if points:
            legend.append(Series(words, colour, shape))
            drawn.append(Curve(legend[-1], points, joined=False))
    said = "; ".join(
        f"{sum(r.kind == kind for _, _, r in known)} {words}"
        for kind, (words, _, _) in KINDS.items()
        if any(r.kind == kind for _, _, r in known)
    )
    return Figure(
        name,
        title,
        "One mark a seed. Right of the vertical bar a seed does its task; below the horizontal "
        "bar its weights do not find the keys. Bottom right are the silent failures.",
        curves(drawn, x=x, y=y, axes=("bag AUC", "mean instance AUROC")),
        f"{said}.",
        tuple(legend),
    )


def ensembles_picture(
    rows: Sequence[EnsembleRow],
    instance_bar: float,
    *,
    name: str = "ensembles",
    title: str = "Ensembles beside single seeds",
) -> Figure | None:
    """Mean and worst instance AUROC against the size of the ensemble; None without truth."""
    drawn, legend = [], []
    sizes = sorted({r.members for r in rows})
    for average, colour in (("weights", ACCENT), ("ranks", THIRD)):
        some = [r for r in rows if r.average == average and r.mean is not None]
        for field, shape, words in (
            ("mean", "circle", "average of the ensembles"),
            ("worst", "diamond", "worst of them"),
        ):
            points = tuple(
                (float(r.members), float(getattr(r, field)), f"{r.members} seeds")
                for r in some
                if r.subsets > 1 or field == "mean"
            )
            if points:
                legend.append(Series(f"mean of {average}: {words}", colour, shape))
                drawn.append(Curve(legend[-1], points))
    if not drawn or len(sizes) < 2:
        return None
    values = [y for c in drawn for _, y, _ in c.points]
    low = _floor(min(instance_bar, *values))
    edge = (float(sizes[0]), float(sizes[-1]))
    drawn.append(
        Curve(
            Series("bar", MUTED, "stroke"),
            tuple((x, instance_bar, "bar of instance AUROC") for x in edge),
        )
    )
    said = "; ".join(
        f"{s.name} {number(c.points[-1][1])}" for s, c in zip(legend, drawn, strict=False)
    )
    return Figure(
        name,
        title,
        "Average and worst of the ensembles drawn of each size; the horizontal line is the bar "
        "below which an accurate model is a silent failure.",
        curves(drawn, x=edge, y=(low, 1.0), axes=("seeds in an ensemble", "mean instance AUROC")),
        f"{said}.",
        tuple(legend),
    )


def curve_picture(points: Sequence[CurvePoint], name: str = "curve") -> Figure | None:
    """Share of accurate seeds whose instance AUROC is below each bar; None without truth."""
    if not points:
        return None
    series = Series("accurate seeds", ACCENT)
    ends = Series("95 % interval", MUTED)
    points = points[::2]
    drawn = [
        Curve(series, tuple((p.bar, p.share, f"below {p.bar:g}") for p in points)),
        Curve(
            Series("lower end", MUTED, "stroke"), tuple((p.bar, p.low, "lower end") for p in points)
        ),
        Curve(
            Series("upper end", MUTED, "stroke"),
            tuple((p.bar, p.high, "upper end") for p in points),
        ),
    ]
    return Figure(
        name,
        "The whole curve",
        "For each bar t: the share of accurate seeds whose mean instance AUROC is below t, with "
        "Wilson intervals over seeds. Choose another bar, and read its rate.",
        curves(
            drawn, x=(0.0, 1.0), y=(0.0, 1.0), axes=("bar t", "share of accurate seeds below t")
        ),
        f"At 0.8 {number(next((p.share for p in points if p.bar == 0.8), None), percent=True)}.",
        (series, ends),
    )


def seeds_table(rows: Sequence[Grade], title: str, folded: bool = False) -> StudyTable:
    """Every measure of every row."""
    typed = max((len(r.type_mass) for r in rows), default=0)
    head = (*HEAD, *(f"mean mass on type {k + 1}" for k in range(typed)), "kind")
    made = []
    for row in rows:
        shares = (*row.type_mass, *[None] * (typed - len(row.type_mass)))
        values = [Value(number(getattr(row, field))) for field in FIELDS]
        values += [Value(number(share)) for share in shares]
        made.append(Row(row.subject, (*values, Value(row.kind or NOTHING))))
    return StudyTable(
        title,
        "Means are over the bags of the test split.",
        "weights",
        head,
        tuple(made),
        folded=folded,
    )


def ensembles_table(rows: Sequence[EnsembleRow], folded: bool = False) -> StudyTable:
    """Ensembles of every size."""
    made = tuple(
        Row(
            f"{r.members}, mean of {r.average}",
            (
                Value(count(r.subsets), "all" if r.every else "drawn"),
                Value(number(r.roc_auc)),
                Value(number(r.accurate, percent=True)),
                Value(number(r.mean), f"{number(r.low)} to {number(r.high)}" if r.mean else ""),
                Value(number(r.worst), "" if r.worst is None else f"of {count(r.subsets)}"),
                Value(
                    number(r.silent, percent=True),
                    ""
                    if r.silent is None
                    else f"{number(r.silent_low, percent=True)} to "
                    f"{number(r.silent_high, percent=True)}",
                ),
                Value(number(r.agreement)),
            ),
        )
        for r in rows
    )
    return StudyTable(
        "Ensembles",
        "Bag AUC and AUROC are averages over the ensembles of a size; the AUROC of "
        "each is the mean over bags. In small print: the middle 95 % of the ensembles; of how "
        "many the worst is, since the worst of more is lower by chance alone. Silent failures: "
        "the share of the accurate ensembles, with the interval of as many as share no seed. "
        "Agreement: mean Spearman of ensembles that share no seed.",
        "seeds",
        (
            "ensembles",
            "average bag AUC",
            "share accurate",
            "average AUROC",
            "worst AUROC",
            "silent failures",
            "agreement",
        ),
        made,
        folded=folded,
    )


def _row(finding: Finding) -> FindingRow:
    about = []
    if finding.headline is not None:
        about.append(
            ("headline", f"{value_of(finding.headline)} ({interval_of(finding.headline)})")
        )
    about += [(name.replace("_", " "), threshold(v)) for name, v in finding.thresholds.items()]
    return FindingRow(
        title=TITLES.get(finding.check, finding.check),
        verdict=finding.verdict.value,
        sentence=typeset(finding.sentence),
        notes=tuple(typeset(n) for n in finding.notes),
        about=tuple((name, typeset(text)) for name, text in about),
    )


def _sections(result: SilentReport) -> Iterator[StudySection]:
    report = result.report
    force = report.bars_in_force
    figures = (
        seeds_picture(report.seeds, force["bag"], force["instance"]),
        curve_picture(report.curve),
    )
    blocks: list[Block] = [Picture(figure) for figure in figures if figure is not None]
    if report.references:
        blocks.append(seeds_table(report.references, "For comparison"))
    blocks.append(seeds_table(report.seeds, "All seeds", folded=True))
    yield StudySection(
        "seeds",
        "Seeds",
        "The same network, trained on the same bags from different initial "
        "parameters and orders of batches.",
        tuple(blocks),
    )
    picture = ensembles_picture(report.ensembles, force["instance"])
    yield StudySection(
        "ensembles",
        "Ensembles",
        "The mean of the weights of several seeds, or of their ranks "
        "within the bag; the bag is predicted with the mean probability.",
        (*(() if picture is None else (Picture(picture),)), ensembles_table(report.ensembles)),
    )
    rows = tuple(
        Row(
            f"{statistic(e.statistic).title}: {e.subject}"
            + ("" if e.group == "all" else f", {e.group}"),
            (Value(value_of(e)), Value(interval_of(e)), Value(count(e.n)), Value(null_of(e))),
        )
        for e in report.estimates
        if e.value is not None
    )
    yield StudySection(
        "numbers",
        "All numbers",
        " ".join(report.notes),
        (
            StudyTable(
                "Rates and agreement",
                "",
                "what",
                ("value", "interval", "n", "null"),
                rows,
                folded=True,
            ),
        ),
    )


def _floor(value: float) -> float:
    """A round number below."""
    return max(0.0, round((value - 0.03) * 20 - 0.5) / 20)
