"""An explanation against chance and against the other methods, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from attnaudit.evidence.pairs.chunks import Pairs
from attnaudit.evidence.pairs.curves import NULL, column_of
from attnaudit.evidence.pairs.pair_methods import PAIR_METHODS
from attnaudit.findings.estimates import above, average, spoken, values_of, worth_recommending
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    THIRD,
    Figure,
    Guide,
    IntervalRow,
    interval_figure,
)
from attnaudit.findings.settings import LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import statistic, value_of
from attnaudit.findings.wording import subject as called

MARGIN = Bar(
    "pair_margin",
    0.05,
    "How much of the fall in similarity the table may lose against the best other method, in units "
    "of a cosine. Ours, as the erasure margin of attention.",
)
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
    evidence: Pairs, check: str, wording: Wording, extra: Sequence[str] = ()
) -> list[Finding]:
    """The table, and random scores for calibration, against chance and the best other method.

    The verdict rests on the first operator: pass where the table beats random orders and no other
    method is better by the margin; fail where one is, or where random orders are no worse.

    Args:
        evidence: One row per pair.
        check: The name of the check.
        wording: How it speaks.
        extra: Further curves to estimate, without a part in the verdict.
    """
    curves = _Curves(evidence.frame, evidence.settings, check)
    settings, asked = evidence.settings, evidence.settings.pairs.operators
    operators = [o for o in asked if curves.has(check, o, OWN)]
    if not operators:
        why = f"The encoder allows none of the ways to remove tokens: {', '.join(asked)}."
        verdict = Verdict.NOT_APPLICABLE
        return [Finding(check=check, subject=OWN, verdict=verdict, sentence=why)]
    first = operators[0]
    estimates = [e for kind in (check, *extra) for e in curves.table(kind, operators)]
    others = [m for m in PAIR_METHODS if m not in (OWN, *CALIBRATION)]
    rivals = [m for m in others if curves.has(check, first, m)]
    findings = []
    for subject in (OWN, "random"):
        leads = {o: curves.leads(o, subject, rivals) for o in operators}
        gains = {o: curves.gain(check, o, subject) for o in operators}
        verdicts = {o: _rule(gains[o], _best(leads[o]), settings) for o in operators}
        gain, lead, verdict = gains[first], _best(leads[first]), verdicts[first]
        own = subject == OWN
        notes = [
            f"With {o!r} in place of {first!r} the verdict is: {verdicts[o].value}."
            for o in operators[1:]
            if verdicts[o] != verdict
        ]
        if len(operators) < len(asked):
            left = ", ".join(o for o in asked if o not in operators)
            notes.append(f"This encoder or explanation does not allow removing by: {left}.")
        notes += left_out(gain)
        notes += [
            f"The statistic {other!r} is larger by {spoken(over, 3)} than for random scores."
            for other in extra
            for over in (curves.gain(other, first, subject),)
        ]
        compared = [e for o in operators for e in (gains[o], *leads[o])]
        headline = (check, subject, first)
        findings.append(
            Finding(
                check=check,
                subject=subject,
                verdict=verdict,
                sentence=_sentence(wording, subject, verdict, gain, lead, settings.least),
                headline=next(
                    e for e in estimates if (e.statistic, e.subject, e.group) == headline
                ),
                estimates=(*estimates, *compared) if own else tuple(compared),
                thresholds=settings.used(MARGIN, LEAST_INSTANCES),
                notes=tuple(notes) if own else (),
                recommended=_method(lead) if own and _recommends(lead, settings) else None,
            )
        )
    return findings


@dataclass(frozen=True)
class _Curves:
    """The columns of one check, and estimates of them."""

    frame: pl.DataFrame
    settings: Settings
    check: str

    def has(self, kind: str, operator: str, name: str) -> bool:
        return column_of(self.check, kind, operator, name) in self.frame.columns

    def values(self, kind: str, operator: str, name: str) -> np.ndarray:
        return values_of(self.frame, column_of(self.check, kind, operator, name))

    def table(self, kind: str, operators: Sequence[str]) -> list[Estimate]:
        """Areas of all methods, then the points of their curves."""
        found = []
        for points in ("", *(f"@{fraction:g}" for fraction in self.settings.pairs.fractions)):
            for operator in operators:
                about = {"statistic": kind, "group": f"{operator}{points}"}
                null = average(
                    self.values(kind, operator, f"{NULL}{points}"),
                    self.settings,
                    subject=NULL,
                    null=None,
                    **about,
                )
                found.append(null)
                found += [
                    average(
                        self.values(kind, operator, f"{name}{points}"),
                        self.settings,
                        subject=name,
                        null=null.value,
                        **about,
                    )
                    for name in PAIR_METHODS
                    if self.has(kind, operator, f"{name}{points}")
                ]
        return found

    def gain(self, kind: str, operator: str, subject: str) -> Estimate:
        """What an order does more than random ones."""
        return average(
            self.values(kind, operator, subject) - self.values(kind, operator, NULL),
            self.settings,
            statistic=f"{kind}_over_random",
            subject=subject,
            group=operator,
            null=0.0,
        )

    def leads(self, operator: str, subject: str, rivals: Sequence[str]) -> list[Estimate]:
        """Paired differences: each rival over the subject, on the pairs that both rank."""
        own = self.values(self.check, operator, subject)
        return [
            average(
                self.values(self.check, operator, rival) - own,
                self.settings,
                statistic=f"{self.check}_lead",
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


def _better(lead: Estimate, settings: Settings) -> bool:
    """A rival is better for certain only on enough pairs."""
    return lead.n >= settings.least and lead.low is not None and lead.low > NOTHING


def _recommends(lead: Estimate | None, settings: Settings) -> bool:
    return lead is not None and worth_recommending(lead, settings.bar(MARGIN), settings.least)


def _rule(gain: Estimate, lead: Estimate | None, settings: Settings) -> Verdict:
    margin, over_random = settings.bar(MARGIN), above(gain, NOTHING, settings.least)
    if over_random in (Verdict.NOT_APPLICABLE, Verdict.FAIL) or gain.n < settings.least:
        return over_random
    if lead is None or lead.low is None or lead.high is None:
        return over_random
    if _better(lead, settings) and lead.low >= margin:
        return Verdict.FAIL
    if over_random is Verdict.PASS and lead.high < margin:
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
            "No pair has two tokens in each text with different scores: there is nothing to rank. "
            "Audit pairs of texts with two words or more."
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
        base += f" The best other method, {called(best)}, {further}."
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


def left_out(estimate: Estimate) -> tuple[str, ...]:
    """A note on pairs without a value; empty where there are none."""
    if not estimate.undefined:
        return ()
    return (
        f"{estimate.undefined} of {estimate.n + estimate.undefined} pairs have no value and are "
        "left out: a text of one token, or scores that are equal or no numbers.",
    )


def requires(finding: Finding) -> str:
    """What it takes to pass, in words."""
    margin = finding.thresholds.get(MARGIN.name)
    return "" if margin is None else f"more than random orders, no method {margin:g} ahead"


def ranked(evidence: Pairs, findings: Sequence[Finding]) -> list[Figure]:
    """What the order of every method does, beside random orders, by the first operator."""
    finding = findings[0]
    if finding.headline is None:
        return []
    check, operator = finding.headline.statistic, finding.headline.group
    found = [e for e in finding.estimates if (e.statistic, e.group) == (check, operator)]
    known = [e for e in found if e.value is not None and e.subject != NULL]
    null = next(e for e in found if e.subject == NULL)
    if not known or null.value is None:
        return []
    colours = {OWN: ACCENT, "random": MUTED}
    rows = [
        IntervalRow(called(e.subject), (e,), (colours.get(e.subject, THIRD),))
        for e in sorted(known, key=lambda e: -(e.value or 0.0))
    ]
    return [
        interval_figure(
            check,
            f"What the order of each method does: the table {value_of(finding.headline)}",
            rows,
            statistic(check).title,
            f"Mean over pairs with its interval; tokens are removed by {operator!r}. "
            f"{evidence.frame.height} pairs.",
            (Guide(null.value, "random orders"),),
        )
    ]
