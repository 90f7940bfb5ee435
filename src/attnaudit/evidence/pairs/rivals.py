"""An explanation against chance and against the other methods, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from attnaudit.evidence.pairs.curves import NULL
from attnaudit.evidence.pairs.pair_methods import PAIR_METHODS
from attnaudit.findings.estimates import above, average, spoken, values_of, worth_recommending
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.pair_checks.settings import PairSettings

NOTHING = 1e-9
"""A gain of exactly 0 is none."""
OWN = "integrated"
CALIBRATION = ("random", NULL)


@dataclass(frozen=True)
class Wording:
    """How a check of curves speaks.

    Attributes:
        effect: What an order does more than a random one; `{who}` and `{gain}` stand for whose
            order it is, and by how much.
        found: What a faithful order finds, such as "what the similarity rests on".
    """

    effect: str
    found: str


def judged_curves(
    frame: pl.DataFrame,
    settings: PairSettings,
    check: str,
    wording: Wording,
    extra: Sequence[str] = (),
) -> list[Finding]:
    """The table, and random scores for calibration, against chance and the best other method.

    The verdict rests on the first operator: pass where the table beats random orders and no other
    method is better by the margin; fail where one is, or where random orders are no worse.

    Args:
        frame: One row a pair.
        settings: Of the audit.
        check: The name of the check and of its columns.
        wording: How it speaks.
        extra: Further columns to estimate, without a part in the verdict.
    """
    operators = [o for o in settings.operators if f"{check}.{o}.{OWN}" in frame.columns]
    if not operators:
        return [
            _nothing(
                check,
                "The encoder allows none of the ways to remove tokens: "
                f"{', '.join(settings.operators)}.",
            )
        ]
    estimates = [e for kind in (check, *extra) for e in _table(frame, settings, kind, operators)]
    rivals = [
        m
        for m in PAIR_METHODS
        if m not in (OWN, *CALIBRATION) and f"{check}.{operators[0]}.{m}" in frame.columns
    ]
    findings = []
    for subject in (OWN, "random"):
        leads = {o: _leads(frame, settings, check, o, subject, rivals) for o in operators}
        gains = {o: _gain(frame, settings, check, o, subject) for o in operators}
        verdicts = {o: _rule(gains[o], _best(leads[o]), settings) for o in operators}
        first = operators[0]
        gain, lead, verdict = gains[first], _best(leads[first]), verdicts[first]
        own = subject == OWN
        notes = [
            f"With {o!r} in place of {first!r} the verdict is: {verdicts[o].value}."
            for o in operators[1:]
            if verdicts[o] != verdict
        ]
        if len(operators) < len(settings.operators):
            left = ", ".join(o for o in settings.operators if o not in operators)
            notes.append(f"This encoder or explanation does not allow removing by: {left}.")
        notes += left_out(gain)
        notes += [
            f"The statistic {other!r} is larger by {spoken(over, 3)} than for random scores."
            for other in extra
            for over in (_gain(frame, settings, other, first, subject),)
        ]
        compared = [e for o in operators for e in (gains[o], *leads[o])]
        findings.append(
            Finding(
                check=check,
                subject=subject,
                verdict=verdict,
                sentence=_sentence(
                    wording, subject, verdict, gain, lead, settings.thresholds.least_pairs
                ),
                headline=next(
                    e
                    for e in estimates
                    if (e.statistic, e.subject, e.group) == (check, subject, first)
                ),
                estimates=(*estimates, *compared) if own else tuple(compared),
                thresholds={
                    "margin": settings.thresholds.margin,
                    "least_pairs": float(settings.thresholds.least_pairs),
                },
                notes=tuple(notes) if own else (),
                recommended=_method(lead) if own and _recommends(lead, settings) else None,
            )
        )
    return findings


def _table(
    frame: pl.DataFrame, settings: PairSettings, kind: str, operators: Sequence[str]
) -> list[Estimate]:
    """Areas of all methods, then the points of their curves."""
    found = []
    for points in ("", *(f"@{fraction:g}" for fraction in settings.fractions)):
        for operator in operators:
            null = average(
                values_of(frame, f"{kind}.{operator}.{NULL}{points}"),
                settings.sampling,
                statistic=kind,
                subject=NULL,
                group=f"{operator}{points}",
            )
            found.append(null)
            found += [
                average(
                    values_of(frame, column),
                    settings.sampling,
                    statistic=kind,
                    subject=name,
                    group=f"{operator}{points}",
                    null=null.value,
                )
                for name in PAIR_METHODS
                if (column := f"{kind}.{operator}.{name}{points}") in frame.columns
            ]
    return found


def _gain(
    frame: pl.DataFrame, settings: PairSettings, check: str, operator: str, subject: str
) -> Estimate:
    base = f"{check}.{operator}"
    over = values_of(frame, f"{base}.{subject}") - values_of(frame, f"{base}.{NULL}")
    return average(
        over,
        settings.sampling,
        statistic=f"{check}_over_random",
        subject=subject,
        group=operator,
        null=0.0,
    )


def _leads(
    frame: pl.DataFrame,
    settings: PairSettings,
    check: str,
    operator: str,
    subject: str,
    rivals: Sequence[str],
) -> list[Estimate]:
    """Paired differences: each rival over the subject, on the pairs that both rank."""
    own = values_of(frame, f"{check}.{operator}.{subject}")
    return [
        average(
            values_of(frame, f"{check}.{operator}.{rival}") - own,
            settings.sampling,
            statistic=f"{check}_lead",
            subject=f"{rival}-{subject}",
            group=operator,
            null=0.0,
        )
        for rival in rivals
    ]


def _best(leads: Sequence[Estimate]) -> Estimate | None:
    known = [lead for lead in leads if lead.value is not None]
    return max(known, key=lambda lead: lead.value or 0.0, default=None)


def _method(lead: Estimate | None) -> str | None:
    return None if lead is None else lead.subject.split("-")[0]


def _better(lead: Estimate | None, settings: PairSettings) -> bool:
    """A rival is better for certain only on enough pairs."""
    enough = lead is not None and lead.n >= settings.thresholds.least_pairs
    return enough and lead is not None and lead.low is not None and lead.low > NOTHING


def _recommends(lead: Estimate | None, settings: PairSettings) -> bool:
    bars = settings.thresholds
    return lead is not None and worth_recommending(lead, bars.margin, bars.least_pairs)


def _rule(gain: Estimate, lead: Estimate | None, settings: PairSettings) -> Verdict:
    bars = settings.thresholds
    over_random = above(gain, NOTHING, bars.least_pairs)
    if over_random in (Verdict.NOT_APPLICABLE, Verdict.FAIL) or gain.n < bars.least_pairs:
        return over_random
    if lead is None or lead.low is None or lead.high is None:
        return over_random
    if _better(lead, settings) and lead.low >= bars.margin:
        return Verdict.FAIL
    if over_random is Verdict.PASS and lead.high < bars.margin:
        return Verdict.PASS
    # not better than random while another method is: the table has failed, not the test
    lost = over_random is Verdict.INCONCLUSIVE and _better(lead, settings)
    return Verdict.FAIL if lost else Verdict.INCONCLUSIVE


def _sentence(
    wording: Wording,
    subject: str,
    verdict: Verdict,
    gain: Estimate,
    lead: Estimate | None,
    least: int,
) -> str:
    if verdict is Verdict.NOT_APPLICABLE:
        return (
            "No pair has two tokens in each text with different scores: there is nothing to rank."
        )
    own = subject == OWN
    who = "the table" if own else "random scores (for calibration)"
    base = wording.effect.format(who=who, gain=spoken(gain, 3))
    best = _method(lead)
    if best is not None and lead is not None and lead.value is not None:
        behind = lead.value < 0
        further = (
            f"is {spoken(_turned(lead) if behind else lead, 3)} {'behind' if behind else 'ahead'}"
        )
        base += f" The best other method, {PAIR_METHODS[best].title}, {further}."
    name, find, fail = ("The table", "finds", "does") if own else ("Random scores", "find", "do")
    return (
        f"{base} "
        + {
            Verdict.PASS: f"{name} {find} {wording.found} about as well as any method.",
            Verdict.FAIL: f"{name} {fail} not find {wording.found}, or clearly less well than "
            "another method.",
            Verdict.INCONCLUSIVE: undecided(gain, least),
        }[verdict]
    )


def undecided(estimate: Estimate, least: int, bar: float | None = None) -> str:
    """Why an estimate decides nothing: few pairs, or a value near the bar."""
    if estimate.n < least:
        return f"{estimate.n} pairs decide nothing; at least {least} are needed."
    return f"That is too close{'' if bar is None else f' to {bar:g}'} to decide."


def _turned(lead: Estimate) -> Estimate:
    """The same difference seen from the other side."""
    value, low, high = (None if x is None else -x for x in (lead.value, lead.high, lead.low))
    return lead.model_copy(update={"value": value, "low": low, "high": high})


def _nothing(check: str, why: str) -> Finding:
    return Finding(check=check, subject=OWN, verdict=Verdict.NOT_APPLICABLE, sentence=why)


def left_out(estimate: Estimate) -> tuple[str, ...]:
    """A note on pairs without a value; empty where there are none."""
    if not estimate.undefined:
        return ()
    return (
        f"{estimate.undefined} of {estimate.n + estimate.undefined} pairs have no value and are "
        "left out: a text of one token, or scores that are equal or no numbers.",
    )
