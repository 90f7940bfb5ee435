"""What comes of ensembles: whether they do harm, help, or end silent failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnaudit.evidence.seeds.ensembles import able
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.silent.schema import EnsembleRow

ENSEMBLES = "ensembles"
HURTS = 0.02
"""An ensemble whose mean AUROC is lower than a single seed's by more does harm. Ours."""
SETTLED = 6
"""Seeds from which an ensemble is expected to end silent failures. Ours."""
LEAST_SHARE = 0.5
"""Where fewer of the ensembles of a size are accurate, nothing is said of them. Ours."""


def ensemble_finding(rows: Sequence[EnsembleRow], good: bool) -> Finding:
    """What averaging gains in the worst case, and whether it ends silent failures.

    Fails where ensembles are worse than single seeds. Passes where several ensembles of
    `SETTLED` seeds or more were drawn, at every such size `LEAST_SHARE` or more of them are
    accurate, and none of these is a silent failure. Inconclusive otherwise.

    Args:
        rows: See `ensemble_rows`.
        good: Whether enough seeds do their task.
    """
    graded = [row for row in rows if row.average == "weights" and row.mean is not None]
    if not graded or not good or graded[0].worst is None:
        return Finding(
            check=ENSEMBLES,
            subject="mean weights",
            verdict=Verdict.NOT_APPLICABLE,
            sentence=_without_truth(rows)
            if good
            else "Too few accurate seeds to speak of ensembles.",
        )
    single = graded[0]
    large = settled_rows(rows)
    # several subsets are needed for a worst case: the one ensemble of all seeds has none
    several = [row for row in large if row.subsets > 1]
    smaller = [row for row in graded if row.subsets > 1 and row.members > 1]
    shown = several or smaller[-1:] or graded[-1:]
    harmful = [row for row in shown if _harms(row, single)]
    unfit = [row for row in large if row.silent is None or (row.accurate or 0.0) < LEAST_SHARE]
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
        said += f" Several ensembles of {SETTLED} seeds or more were not measured: that takes "
        said += f"{SETTLED + 1} seeds."
    return Finding(
        check=ENSEMBLES,
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
        thresholds={"hurts": HURTS, "least_share": LEAST_SHARE, "settled": float(SETTLED)},
        notes=("Subsets share seeds, so that the worst of many is no independent draw.",),
    )


def settled_rows(rows: Sequence[EnsembleRow]) -> list[EnsembleRow]:
    """Mean weights of `SETTLED` seeds or more, graded: on these the verdict rests."""
    return [
        row
        for row in rows
        if row.average == "weights" and row.members >= SETTLED and row.mean is not None
    ]


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


def _harms(row: EnsembleRow, single: EnsembleRow) -> bool:
    return min(_gain(row, single)) < -HURTS


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
