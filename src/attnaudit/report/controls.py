"""The page of a run of controls: findings, seed violins, the trade-off curve, all trainings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnaudit.checks.guide import NAME as GUIDE
from attnaudit.checks.seeds import NAME as SEEDS
from attnaudit.checks.trained_adversary import NAME as ADVERSARY
from attnaudit.checks.uniform import NAME as UNIFORM
from attnaudit.controls.registry import CONTROLS
from attnaudit.controls.run import ControlReport
from attnaudit.findings.estimates import by_max_weight
from attnaudit.findings.findings import Estimate, Finding
from attnaudit.findings.wording import (
    count,
    duration,
    interval_of,
    null_of,
    statistic,
    threshold,
    typeset,
    value_of,
)
from attnaudit.report.blocks import Block, Picture, Row, StudySection, StudyTable, Value
from attnaudit.report.charts import (
    ACCENT,
    MUTED,
    Figure,
    Guide,
    IntervalRow,
    Series,
    interval_rows,
)
from attnaudit.report.curves import Curve, Half, Violin, curves, violins
from attnaudit.report.figures import SECOND, THIRD
from attnaudit.report.files import write_text
from attnaudit.report.page import render_page

LN2 = math.log(2)
REPLACED = {
    "uniform": "equal weights",
    "random": "fixed random weights",
    "position": "the position alone",
    "own_token": "the word alone",
}
"""What a model has in the place of learned weights, in few words."""
JUDGED = REPLACED | {"weights": "the model's weights", "adversary": "the adversary's weights"}
SOURCES = {
    "uniform": "equal weights",
    "own": "its own weights",
    "base": "the model's weights",
    "adversary": "the adversary's weights",
}
TWO = 2


@dataclass(frozen=True)
class FindingRow:
    """A finding in words."""

    title: str
    verdict: str
    sentence: str
    notes: tuple[str, ...]
    about: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ControlSummary:
    """All that the page shows."""

    title: str
    version: str
    headline: str
    subtitle: tuple[tuple[str, str], ...]
    findings: tuple[FindingRow, ...]
    sections: tuple[StudySection, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every picture of the page."""
        return tuple(b.figure for s in self.sections for b in s.blocks if isinstance(b, Picture))


def summarise_controls(result: ControlReport) -> ControlSummary:
    """The plain data of the page. Picks and words; computes no statistic."""
    report = result.report
    recipe = report.recipe
    return ControlSummary(
        title=f"Controls on {report.data}",
        version=report.attnaudit_version,
        headline=report.judgement,
        subtitle=(
            ("model", f"{recipe['encoder']} + {recipe['attention']}"),
            ("texts", ", ".join(f"{n} {count(s)}" for n, s in report.sizes.items())),
            ("trainings", count(len(report.trainings))),
            ("finished", f"{report.created.day} {report.created:%B %Y}"),
        ),
        findings=tuple(_row(f) for f in (report.gate, *report.findings)),
        sections=tuple(_sections(result)),
    )


def render_controls(result: ControlReport) -> str:
    """The page as one HTML document; every text is escaped, nothing is loaded."""
    summary = summarise_controls(result)
    return render_page("controls.html.j2", summary.figures, styles=("study.css",), s=summary)


def write_controls(result: ControlReport, path: Path) -> Path:
    """Write the page whole or not at all, and say where.

    Raises:
        RunError: It cannot be written.
    """
    return write_text(path, render_controls(result))


def _row(finding: Finding) -> FindingRow:
    control = CONTROLS.get(finding.check)
    about: list[tuple[str, str]] = []
    title = "The model in question"
    if control is not None:
        title = f"{control.title}: {JUDGED.get(finding.subject, finding.subject)}"
        about += [
            ("question", control.question),
            ("paper", control.paper),
            ("statistic", control.statistic),
            ("null", control.null),
        ]
    if finding.headline is not None:
        about.append(
            ("headline", f"{value_of(finding.headline)} ({interval_of(finding.headline)})")
        )
    about += [(name.replace("_", " "), threshold(v)) for name, v in finding.thresholds.items()]
    if control is not None:
        about.append(("when not to trust it", control.caveat))
    return FindingRow(
        title=title,
        verdict=finding.verdict.value,
        sentence=typeset(finding.sentence),
        notes=tuple(typeset(n) for n in finding.notes),
        about=tuple((name, typeset(text)) for name, text in about),
    )


def _sections(result: ControlReport) -> Iterator[StudySection]:
    makers = {UNIFORM: _uniform, SEEDS: _seeds, GUIDE: _guide, ADVERSARY: _adversary}
    for name, make in makers.items():
        findings = [f for f in result.findings if f.check == name]
        if not findings:
            continue
        blocks = tuple(make(result, findings))
        control = CONTROLS[name]
        yield StudySection(name, control.title, control.question, (*blocks, *_tables(findings)))
    yield StudySection(
        "trainings",
        "Trainings",
        "Each model lies in the run folder, with what it says of the "
        "test split. Times are those of one thread.",
        (_trainings(result),),
    )


def _uniform(result: ControlReport, findings: Sequence[Finding]) -> Iterator[Block]:
    rows = [
        IntervalRow(REPLACED[f.subject], (f.headline,)) for f in findings if f.headline is not None
    ]
    if rows:
        yield Picture(
            _intervals(
                "uniform",
                "What is lost without learned weights",
                rows,
                "difference in accuracy",
                "Accuracy of the learned attention less that of each replacement, on the "
                "same texts. "
                "Left of the line the two count as equally good.",
                (Guide(findings[0].thresholds["margin"], "equally good"),),
            )
        )


def _guide(result: ControlReport, findings: Sequence[Finding]) -> Iterator[Block]:
    rows = []
    for subject, words in SOURCES.items():
        found = _find(findings[0], "accuracy", subject)
        if found is not None:
            rows.append(IntervalRow(words, (found,)))
    if rows:
        yield Picture(
            _intervals(
                "guide",
                "A context-free model under four sources of weights",
                rows,
                "accuracy",
                "Each row is the same small model, trained and tested with other weights.",
            )
        )


def _intervals(
    name: str,
    title: str,
    rows: Sequence[IntervalRow],
    axis: str,
    caption: str,
    guides: Sequence[Guide] = (),
) -> Figure:
    ends = [
        e
        for row in rows
        for one in row.estimates
        if one is not None
        for e in (one.value, one.low, one.high)
        if e is not None
    ]
    ends += [guide.value for guide in guides]
    room = max(0.02, 0.08 * (max(ends) - min(ends)))
    domain = (min(ends) - room, max(ends) + room)
    spec = interval_rows(rows, (Series(axis, ACCENT),), domain=domain, axis=axis, guides=guides)
    said = "; ".join(
        f"{row.label} {value_of(row.estimates[0])}" for row in rows if row.estimates[0] is not None
    )
    return Figure(name, title, caption, spec, f"{said}.")


def _seeds(result: ControlReport, findings: Sequence[Finding]) -> Iterator[Block]:
    frame, finding = result.instances, findings[0]
    if finding.headline is None or "seeds/median_jsd" not in frame.columns:
        return
    classes = result.report.classes
    legend: list[Series] = []
    if len(classes) == TWO:
        colours = zip(classes, (ACCENT, SECOND), strict=True)
        legend = [Series(f"predicted {name}", colour) for name, colour in colours]
    rows = []
    for group, part in by_max_weight(frame):
        if not part.height:
            continue
        values = part["seeds/median_jsd"].to_numpy()
        halves: tuple[Half, ...] = (Half("all", values, ACCENT),)
        if legend:
            predicted = part["predicted"].to_numpy()
            halves = tuple(
                Half(f"predicted {name}", values[predicted == i], legend[i].colour)
                for i, name in enumerate(classes)
            )
        rows.append(Violin(group, halves))
    guides = [Guide(finding.thresholds["seed_jsd"], "stable below")]
    if finding.headline.null is not None:
        guides.append(Guide(finding.headline.null, "random order"))
    spec = violins(rows, domain=(0.0, LN2), axis="median divergence over seeds", guides=guides)
    yield Picture(
        Figure(
            "seeds",
            "How far the weights are from those of another seed",
            "One value a text: the median over seeds of the Jensen–Shannon divergence to the base "
            "model's weights, by the largest weight of the base model.",
            spec,
            typeset(finding.sentence),
            tuple(legend),
        )
    )


def _adversary(result: ControlReport, findings: Sequence[Finding]) -> Iterator[Block]:
    finding = findings[0]
    points: dict[str, list[tuple[float, float, str]]] = {"adversary": [], "seed": [], "other": []}
    for training in sorted(result.report.trainings, key=lambda t: t.strength or 0.0):
        tvd, jsd = (_find(finding, f"mean_{w}", training.name) for w in ("tvd", "jsd"))
        if tvd is None or jsd is None or tvd.value is None or jsd.value is None:
            continue
        kind = "adversary" if training.strength is not None else "seed"
        kind = "other" if training.attention == "uniform" else kind
        label = training.name.replace("adversary ", "λ = ")
        points[kind].append((jsd.value, tvd.value, label))
    series = {
        "adversary": Series("trained adversaries, one a strength", ACCENT),
        "seed": Series("other seeds", MUTED, "square"),
        "other": Series("equal weights", THIRD, "diamond"),
    }
    some = {kind: found for kind, found in points.items() if found}
    if not some:
        return
    every = np.array([p[:2] for found in some.values() for p in found])
    epsilon = finding.thresholds["epsilon"]
    spec = curves(
        [
            Curve(series[k], tuple(sorted(p) if k == "seed" else p), joined=k == "adversary")
            for k, p in some.items()
        ],
        x=(0.0, LN2),
        y=(0.0, float(max(1.15 * every[:, 1].max(), 2 * epsilon))),
        axes=("mean divergence of the weights", "mean output change"),
    )
    yield Picture(
        Figure(
            "tradeoff",
            "What other weights cost",
            "Each point is a model, set beside the one in question: how different its weights are, "
            "and how different its predictions. Far right and low is a model that says the "
            "same for "
            f"other reasons; up to {epsilon:g} counts as the same prediction.",
            spec,
            typeset(finding.sentence),
            tuple(series[k] for k in some),
        )
    )


def _tables(findings: Sequence[Finding]) -> Iterator[StudyTable]:
    for finding in findings:
        rows = [
            Row(
                f"{statistic(e.statistic).title}: {e.subject}"
                + ("" if e.group == "all" else f", {e.group}"),
                (Value(value_of(e)), Value(interval_of(e)), Value(count(e.n)), Value(null_of(e))),
            )
            for e in finding.estimates
            if e.value is not None
        ]
        if rows:
            yield StudyTable(
                f"All numbers: {JUDGED.get(finding.subject, finding.subject)}",
                "",
                "what",
                ("value", "interval", "n", "null"),
                tuple(rows),
                folded=True,
            )


def _trainings(result: ControlReport) -> StudyTable:
    rows = tuple(
        Row(
            t.name,
            (
                Value(f"{t.encoder} + {t.attention}"),
                Value(str(t.seed)),
                Value("" if t.strength is None else threshold(t.strength)),
                Value(
                    "given" if t.epochs is None else f"{t.best_epoch} of {t.epochs}",
                    differs="" if t.failed is None else t.failed,
                ),
                Value("" if t.seconds is None else duration(t.seconds)),
            ),
        )
        for t in result.report.trainings
    )
    return StudyTable(
        "All trainings", "", "training", ("network", "seed", "λ", "epoch kept", "time"), rows
    )


def _find(finding: Finding, name: str, subject: str) -> Estimate | None:
    return next((e for e in finding.estimates if (e.statistic, e.subject) == (name, subject)), None)
