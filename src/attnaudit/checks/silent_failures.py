"""Silent failures: do seeds do their task whose weights do not find the keys?

The bars are ours, after the finding of Haab et al. (2022), whose own numbers are not known: high
classification performance with weights that are not aligned with the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from attnaudit.checks.declaration import MANY_SEEDS, Check
from attnaudit.data.kinds import BAGS
from attnaudit.evidence.seeds.evidence import SeedEvidence, Seeds
from attnaudit.evidence.seeds.grades import (
    BARS,
    SILENT_KINDS,
    CurvePoint,
    Grade,
    accurate,
    curve_of,
)
from attnaudit.findings.estimates import average, share, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    SECOND,
    THIRD,
    Block,
    Curve,
    Curves,
    Figure,
    Row,
    Series,
    Table,
    Value,
)
from attnaudit.findings.settings import Bar, Settings
from attnaudit.findings.wording import NOTHING, Statistic, number

LEAST_SEEDS = Bar(
    "least_seeds",
    20,
    "With fewer accurate seeds nothing is said of rare failures. Ours.",
    least=1,
    most=math.inf,
    whole=True,
)
KINDS = {
    "fine": ("finds the keys", ACCENT, "circle"),
    "inaccurate": ("does not do its task", MUTED, "square"),
    "coverage": ("silent failure: coverage", SECOND, "diamond"),
    "inverted": ("silent failure: inverted", SECOND, "triangle-up"),
    "other": ("silent failure: other", THIRD, "diamond"),
}
"""What a seed is called, with colour and shape."""
FIELDS = {
    "roc_auc": "bag AUC",
    "dev_roc_auc": "dev bag AUC",
    "accuracy": "accuracy",
    "auroc": "mean instance AUROC",
    "average_precision": "mean AP",
    "top_one": "top-1",
    "mass": "mean mass",
    "lift": "mean lift",
    "coverage": "mean coverage",
    "pooled_auroc": "pooled AUROC",
    "least_type_share": "mean least type",
}
"""Columns of the table of seeds."""
STATISTICS = {
    "auroc": 0.5,
    "average_precision": None,
    "top_one": None,
    "mass": None,
    "lift": 1.0,
    "coverage": None,
    "pooled_auroc": 0.5,
    "least_type_share": None,
}
"""What is expected of weights that say nothing; None: what random weights have on these bags."""


def conclude(evidence: SeedEvidence) -> list[Finding]:
    """How often a seed fails without a sign of it in its task."""
    return [
        silent_finding(
            evidence.rows,
            evidence.force,
            evidence.settings,
            evidence.good,
            evidence.chance,
            evidence.notes,
        )
    ]


def silent_finding(
    rows: Sequence[Grade],
    force: Mapping[str, float],
    settings: Settings,
    good: bool,
    chance: Grade | None = None,
    notes: Sequence[str] = (),
) -> Finding:
    """How often a seed fails without a sign of it in its task.

    Fails where a silent failure was found, passes where `least_seeds` or more accurate seeds have
    none, and is inconclusive with fewer.

    Args:
        rows: One per seed, with its kind.
        force: The bars as they apply.
        settings: Settings and bars.
        good: Whether the gate has passed.
        chance: The grade of random weights on the same bags: the null of what has no fixed one.
        notes: What else a reader must know.
    """
    able = [row for row in accurate(rows, force) if row.auroc is not None]
    failures = [row for row in able if row.kind in SILENT_KINDS]
    estimates = _estimates(rows, able, failures, force, chance, settings)
    headline, least = estimates[0], int(settings.bar(LEAST_SEEDS))
    verdict = Verdict.NOT_APPLICABLE
    if not any(row.auroc is not None for row in rows):
        sentence = (
            "Which instances are keys is not known, so silent failures cannot be seen; the "
            "agreement of seeds is what can be had."
        )
    elif not good:
        sentence = "Too few accurate seeds, so nothing is said of silent failures."
    else:
        verdict = (
            Verdict.FAIL
            if failures
            else (Verdict.PASS if len(able) >= least else Verdict.INCONCLUSIVE)
        )
        sentence = _sentence(able, failures, headline, least)
    return Finding(
        check="silent_failures",
        subject="weights",
        verdict=verdict,
        sentence=sentence,
        headline=headline if verdict is not Verdict.NOT_APPLICABLE else None,
        estimates=tuple(estimates),
        notes=(*_notes(able, failures, least, verdict), *notes),
        thresholds={
            **{f"{name}_bar": value for name, value in force.items()},
            "least_seeds": float(least),
        },
    )


def _sentence(
    able: Sequence[Grade],
    failures: Sequence[Grade],
    headline: Estimate,
    least: int,
) -> str:
    values = [row.auroc for row in able if row.auroc is not None]
    spread = f"mean instance AUROC of a seed from {min(values):.2f} to {max(values):.2f}"
    if not failures:
        bound = f"rates up to {min(1.0, 3 / len(able)):.0%} cannot be excluded (3 / {len(able)})"
        rare = (
            ""
            if len(able) >= least
            else (f" With fewer than {least} seeds this cannot speak about rare events.")
        )
        return f"None of {len(able)} accurate seeds fails silently ({spread}); {bound}.{rare}"
    counted = {"inverted": "inverted", "coverage": "by coverage", "other": "otherwise"}
    numbers = {kind: sum(row.kind == kind for row in failures) for kind in SILENT_KINDS}
    kinds = [f"{n} {counted[kind]}" for kind, n in numbers.items() if n]
    sentence = (
        f"{len(failures)} of {len(able)} accurate seeds fail silently: a share of "
        f"{spoken(headline)}, {', '.join(kinds)}; {spread}."
    )
    shares = [row.least_type_share for row in failures if row.least_type_share is not None]
    if shares:
        sentence += (
            f" In bags with two types of keys, the type with less weight has on average "
            f"{float(np.mean(shares)):.2f} of the key mass (mean over these seeds)."
        )
    return f"{sentence} Do not show the weights of a single training run."


def _notes(
    able: Sequence[Grade], failures: Sequence[Grade], least: int, verdict: Verdict
) -> list[str]:
    notes = []
    if verdict is Verdict.FAIL and len(able) < least:
        notes.append(
            f"The rate rests on {len(able)} accurate seeds; {least} or more are needed "
            "to speak about it, and 50 for events of 5 %."
        )
    if verdict is not Verdict.NOT_APPLICABLE:
        notes.append(
            "All seeds are trained and tested on the same bags: the interval is over "
            "seeds, not over data."
        )
    return notes


def _estimates(
    rows: Sequence[Grade],
    able: Sequence[Grade],
    failures: Sequence[Grade],
    force: Mapping[str, float],
    chance: Grade | None,
    settings: Settings,
) -> list[Estimate]:
    known = [row for row in rows if row.auroc is not None]

    def share_of(
        successes: int, n: int, statistic: str, subject: str, group: str = "all"
    ) -> Estimate:
        flags = np.arange(n) < successes
        return share(flags, settings, statistic=statistic, subject=subject, group=group)

    found = [
        share_of(len(failures), len(able), "silent_share", "accurate seeds"),
        share_of(len(failures), len(known), "silent_share", "all seeds"),
    ]
    for kind in SILENT_KINDS:
        here = sum(row.kind == kind for row in failures)
        found.append(share_of(here, len(able), "silent_share", "accurate seeds", kind))
    if "relative" in force:
        below = sum(row.auroc is not None and row.auroc < force["relative"] for row in able)
        found.append(share_of(below, len(able), "below_relative_share", "accurate seeds"))
    for group, some in (("all", known), ("accurate", able)):
        for statistic, null in STATISTICS.items():
            values = np.array(
                [np.nan if getattr(r, statistic) is None else getattr(r, statistic) for r in some]
            )
            if null is None and chance is not None:
                null = getattr(chance, statistic)
            about = {"subject": "weights", "group": group}
            found.append(average(values, settings, statistic=statistic, null=null, **about))
    return found


def requires(finding: Finding) -> str:
    """What it takes to pass."""
    least = finding.thresholds.get(LEAST_SEEDS.name)
    return "" if least is None else f"no failure among {least:g} accurate seeds or more"


def picture(evidence: SeedEvidence, findings: Sequence[Finding]) -> list[Block]:
    """Every seed, the whole curve, what they compare to, and all of their numbers."""
    force = evidence.force
    figures = (
        seeds_picture(evidence.rows, force["bag"], force["instance"]),
        curve_picture(curve_of(evidence.rows, force)),
    )
    blocks: list[Block] = [figure for figure in figures if figure is not None]
    if evidence.references:
        blocks.append(seeds_table(evidence.references, "For comparison"))
    return [*blocks, seeds_table(evidence.rows, "All seeds", folded=True)]


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
    x = (floor(min(bag_bar, *(auc for auc, _, _ in known))), 1.0)
    y = (floor(min(instance_bar, *(area for _, area, _ in known))), 1.0)
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
        "One mark per seed. Right of the vertical bar a seed does its task; below the horizontal "
        "bar its weights do not find the keys. Bottom right are the silent failures.",
        Curves(rows=tuple(drawn), x=x, y=y, axes=("bag AUC", "mean instance AUROC")),
        f"{said}.",
        tuple(legend),
    )


def curve_picture(points: Sequence[CurvePoint], name: str = "curve") -> Figure | None:
    """Share of accurate seeds whose instance AUROC is below each bar; None without truth."""
    if not points:
        return None
    points, series = points[::2], Series("accurate seeds", ACCENT)
    drawn = [Curve(series, tuple((p.bar, p.share, f"below {p.bar:g}") for p in points))]
    for name_of, end in (("lower end", "low"), ("upper end", "high")):
        places = tuple((p.bar, float(getattr(p, end)), name_of) for p in points)
        drawn.append(Curve(Series(name_of, MUTED, "stroke"), places))
    return Figure(
        name,
        "The whole curve",
        "For each bar t: the share of accurate seeds whose mean instance AUROC is below t, with "
        "Wilson intervals over seeds. Choose another bar, and read its rate.",
        Curves(
            rows=tuple(drawn),
            x=(0.0, 1.0),
            y=(0.0, 1.0),
            axes=("bar t", "share of accurate seeds below t"),
        ),
        f"At 0.8 {number(next((p.share for p in points if p.bar == 0.8), None), percent=True)}.",
        (series, Series("95 % interval", MUTED)),
    )


def seeds_table(rows: Sequence[Grade], title: str, folded: bool = False) -> Table:
    """Every measure of every row."""
    typed = max((len(r.type_mass) for r in rows), default=0)
    head = (*FIELDS.values(), *(f"mean mass on type {k + 1}" for k in range(typed)), "kind")
    made = []
    for row in rows:
        shares = (*row.type_mass, *[None] * (typed - len(row.type_mass)))
        values = [Value(number(getattr(row, field))) for field in FIELDS]
        values += [Value(number(share)) for share in shares]
        made.append(Row(row.subject, (*values, Value(row.kind or NOTHING))))
    return Table(
        title,
        "Means are over the bags of the test split.",
        "weights",
        head,
        tuple(made),
        folded=folded,
    )


def floor(value: float) -> float:
    """A round number below."""
    return max(0.0, round((value - 0.03) * 20 - 0.5) / 20)


SILENT_FAILURES = Check(
    name="silent_failures",
    title="Silent failures",
    paper="Haab et al. 2022",
    question="Do seeds do their task whose weights do not find the keys?",
    statistic="share of accurate seeds whose mean instance AUROC is below its bar",
    null="0: every seed that does its task finds the keys",
    higher_is_better=False,
    needs=frozenset({"truth"}),
    group=MANY_SEEDS,
    kinds=(BAGS,),
    asks=Seeds(),
    conclude=conclude,
    decisive=True,
    caveat="All seeds see the same bags: rates are over seeds, not over data.",
    bars=(*BARS, LEAST_SEEDS),
    requires=requires,
    picture=picture,
    words={
        "silent_share": Statistic("share of silent failures", "of the seeds", percent=True),
        "accurate_share": Statistic("share of accurate seeds", "that do their task", percent=True),
        "below_relative_share": Statistic(
            "share below the ceiling's bar", "accurate seeds that stay far below it", percent=True
        ),
        "mass": Statistic("mean weight on keys", "share of the weight", percent=True),
    },
    cost="trains the network once per seed, side by side",
)
