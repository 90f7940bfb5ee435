"""Ensembles: do means of the weights of several seeds do harm, help, or end silent failures?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attnaudit.checks.declaration import MANY_SEEDS, Check
from attnaudit.checks.silent_failures import floor
from attnaudit.data.kinds import BAGS
from attnaudit.evidence.seeds.ensembles import able
from attnaudit.evidence.seeds.evidence import SeedEvidence, Seeds
from attnaudit.evidence.seeds.grades import EnsembleRow
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
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
from attnaudit.findings.wording import Statistic, count, number

HURTS = Bar(
    "hurts",
    0.02,
    "An ensemble whose mean AUROC is lower than a single seed's by more does harm. Ours.",
)
SETTLED = Bar(
    "settled",
    6,
    "Seeds from which an ensemble is expected to end silent failures. Ours.",
    least=1,
    most=math.inf,
    whole=True,
)
LEAST_SHARE = Bar(
    "least_share",
    0.5,
    "Where fewer of the ensembles of a size are accurate, nothing is said of them. Ours.",
)


def conclude(evidence: SeedEvidence) -> list[Finding]:
    """What averaging gains in the worst case, and whether it ends silent failures."""
    return [ensemble_finding(evidence.ensembles, evidence.settings, evidence.good)]


def ensemble_finding(rows: Sequence[EnsembleRow], settings: Settings, good: bool) -> Finding:
    """What averaging gains in the worst case, and whether it ends silent failures.

    Fails where ensembles are worse than single seeds. Passes where several ensembles of
    `settled` seeds or more were drawn, at every such size `least_share` or more of them are
    accurate, and none of these is a silent failure. Inconclusive otherwise.

    Args:
        rows: See `ensemble_rows`.
        settings: Settings and bars.
        good: Whether enough seeds do their task.
    """
    graded = [row for row in rows if row.average == "weights" and row.mean is not None]
    if not graded or not good or graded[0].worst is None:
        return Finding(
            check="ensembles",
            subject="mean weights",
            verdict=Verdict.NOT_APPLICABLE,
            sentence=_without_truth(rows)
            if good
            else "Too few accurate seeds to speak of ensembles.",
        )
    single, size = graded[0], int(settings.bar(SETTLED))
    large = [row for row in graded if row.members >= size]
    # several subsets are needed for a worst case: the one ensemble of all seeds has none
    several = [row for row in large if row.subsets > 1]
    smaller = [row for row in graded if row.subsets > 1 and row.members > 1]
    shown = several or smaller[-1:] or graded[-1:]
    harmful = [row for row in shown if min(_gain(row, single)) < -settings.bar(HURTS)]
    fit = settings.bar(LEAST_SHARE)
    unfit = [row for row in large if row.silent is None or (row.accurate or 0.0) < fit]
    left = [row for row in large if row.silent]
    verdict = Verdict.PASS
    if harmful:
        verdict = Verdict.FAIL
    elif not several or unfit or left:
        verdict = Verdict.INCONCLUSIVE
    best = (harmful or shown)[0]
    gain = _gain(best, single)[0]
    said = (
        f"{_who(best)} has a mean instance AUROC of {best.worst:.2f}, the worst of "
        f"{single.subsets} single seeds {single.worst:.2f}: a difference of {gain:+.2f}. The "
        f"average of single seeds is {single.mean:.2f}, that of these ensembles {best.mean:.2f}. "
        f"{_shares(single, best)}"
    )
    if several:
        said += _settled(large, unfit, left)
    else:
        said += f" Several ensembles of {size} seeds or more were not measured: that takes "
        said += f"{size + 1} seeds."
    return Finding(
        check="ensembles",
        subject="mean weights",
        verdict=verdict,
        sentence=said,
        headline=Estimate(
            statistic="worst_gain",
            subject="mean weights",
            group=f"{best.members} seeds",
            value=gain,
            n=best.subsets,
            null=0.0,
        ),
        estimates=tuple(_estimates(rows)),
        thresholds=settings.used(HURTS, LEAST_SHARE, SETTLED),
        notes=("Subsets share seeds, so that the worst of many is no independent draw.",),
    )


def sizes_of(rows: Sequence[EnsembleRow]) -> str:
    """The sizes of ensembles, as people write them.

    Example:
        >>> sizes_of([EnsembleRow(average="weights", members=n, subsets=2, every=False, disjoint=1)
        ...           for n in (6, 8, 10)])
        '6, 8 or 10'
    """
    names = [str(row.members) for row in rows]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _gain(row: EnsembleRow, single: EnsembleRow) -> tuple[float, float]:
    """What the worst and the mean AUROC gain over single seeds."""
    assert row.worst is not None
    assert single.worst is not None
    assert row.mean is not None
    assert single.mean is not None
    return row.worst - single.worst, row.mean - single.mean


def _who(row: EnsembleRow) -> str:
    if row.subsets == 1:
        return f"The ensemble of all {row.members} seeds"
    return f"The worst of {row.subsets} ensembles of {row.members} seeds"


def _shares(single: EnsembleRow, row: EnsembleRow) -> str:
    parts = []
    for who, one in (("single seeds", single), ("these ensembles", row)):
        part = f"of {who} {one.accurate:.0%} are accurate"
        if one.silent is not None:
            part += (
                f" and {one.silent:.0%} of those silent failures ({one.silent_low:.0%} to "
                f"{one.silent_high:.0%}, as from {able(one)} that share no seed)"
            )
        parts.append(part)
    return f"O{parts[0][1:]}; {parts[1]}."


def _settled(
    large: Sequence[EnsembleRow], unfit: Sequence[EnsembleRow], left: Sequence[EnsembleRow]
) -> str:
    if unfit:
        return f" Of {sizes_of(unfit)} seeds too few ensembles are accurate to tell."
    if left:
        return f" Among accurate ensembles of {sizes_of(left)} seeds there are silent failures."
    return f" No accurate ensemble of {sizes_of(large)} seeds was a silent failure."


def _without_truth(rows: Sequence[EnsembleRow]) -> str:
    told = [row for row in rows if row.average == "weights" and row.agreement is not None]
    if not told:
        return "Which instances are keys is not known, so that ensembles cannot be graded."
    first, last = told[0], told[-1]
    return (
        f"Which instances are keys is not known. The weights of two single seeds agree at Spearman "
        f"{first.agreement:.2f} on average, those of two ensembles of {last.members} that share no "
        f"seed at {last.agreement:.2f}."
    )


def _estimates(rows: Sequence[EnsembleRow]) -> Iterator[Estimate]:
    for row in rows:
        about = {"subject": f"mean {row.average}", "group": f"{row.members} seeds"}
        yield Estimate(
            statistic="auroc",
            value=row.mean,
            low=row.low,
            high=row.high,
            n=row.subsets,
            null=0.5,
            **about,
        )
        yield Estimate(statistic="worst_auroc", value=row.worst, n=row.subsets, null=0.5, **about)
        yield Estimate(
            statistic="silent_share",
            value=row.silent,
            low=row.silent_low,
            high=row.silent_high,
            n=able(row),
            **about,
        )


def requires(finding: Finding) -> str:
    """What it takes to pass."""
    size = finding.thresholds.get(SETTLED.name)
    return "" if size is None else f"no silent failure among accurate ensembles of {size:g} or more"


def picture(evidence: SeedEvidence, findings: Sequence[Finding]) -> list[Block]:
    """Ensembles by size: a picture where there is truth, and their table."""
    drawn = ensembles_picture(evidence.ensembles, evidence.force["instance"])
    table = ensembles_table(evidence.ensembles)
    return [table] if drawn is None else [drawn, table]


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
    low = floor(min(instance_bar, *values))
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
        Curves(
            rows=tuple(drawn),
            x=edge,
            y=(low, 1.0),
            axes=("seeds in an ensemble", "mean instance AUROC"),
        ),
        f"{said}.",
        tuple(legend),
    )


def ensembles_table(rows: Sequence[EnsembleRow], folded: bool = False) -> Table:
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
    return Table(
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


ENSEMBLES = Check(
    name="ensembles",
    title="Ensembles of seeds",
    paper="Haab et al. 2022",
    question="Do means of the weights of several seeds end silent failures?",
    statistic="worst mean instance AUROC of ensembles, less that of single seeds",
    null="0: the worst ensemble is no better than the worst seed",
    higher_is_better=True,
    range=(-1.0, 1.0),
    needs=frozenset({"truth"}),
    group=MANY_SEEDS,
    kinds=(BAGS,),
    asks=Seeds(),
    conclude=conclude,
    decisive=False,
    caveat="Averaging can only add what some seed has: where all seeds pass over the same keys, so "
    "do ensembles.",
    bars=(HURTS, SETTLED, LEAST_SHARE),
    requires=requires,
    picture=picture,
    words={
        "worst_gain": Statistic(
            "gain of the worst", "worst AUROC of ensembles less that of single seeds"
        ),
        "worst_auroc": Statistic("worst AUROC", "of the ensembles that were drawn"),
    },
    cost="trains the network once per seed, side by side",
)
