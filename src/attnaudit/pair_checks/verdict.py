"""Findings about pair explanations to one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnaudit.audit.schema import Judgement, Reason
from attnaudit.evidence.pairs.pair_methods import PAIR_METHODS
from attnaudit.evidence.pairs.rivals import OWN
from attnaudit.findings.estimates import lead_of, spoken
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.pair_checks.declaration import PairCheck

GATE = "completeness"
RANKING = ("deletion", "pair_deletion")
VOID = "random scores passed it, so its verdict is void."


def judge_pairs(findings: Sequence[Finding], declared: Mapping[str, PairCheck]) -> Judgement:
    """Weigh the findings: completeness first, then every decisive check.

    A check that random scores pass is void and counts as inconclusive.

    Args:
        findings: What the checks found, calibration rows included.
        declared: All checks that there are; a decisive one that was not run leaves doubt.
    """
    void = {f.check for f in findings if f.subject == "random" and f.verdict is Verdict.PASS}
    reasons = tuple(
        Reason(
            check=f.check,
            sentence=f.sentence,
            verdict=Verdict.INCONCLUSIVE if f.check in void else f.verdict,
        )
        for f in findings
        if f.subject == OWN
    )
    better = _recommended(findings)
    recommended = better.recommended if better is not None else None
    cautions = [f"{declared[c].title}: {VOID}" for c in sorted(void)]
    cautions += [
        f"{declared[r.check].title}: {r.sentence}"
        for r in reasons
        if r.verdict is Verdict.INCONCLUSIVE
        or (r.verdict is Verdict.FAIL and not declared[r.check].decisive)
    ]
    verdict, headline, advice = _answer(reasons, declared, _instead(better))
    return Judgement(
        verdict=verdict,
        headline=headline,
        advice=advice,
        reasons=reasons,
        cautions=tuple(cautions),
        recommended=recommended,
    )


def _answer(
    reasons: Sequence[Reason], declared: Mapping[str, PairCheck], instead: tuple[str, str] | None
) -> tuple[Verdict, str, str]:
    found = {r.check: r.verdict for r in reasons}
    decisive = [name for name, check in declared.items() if check.decisive]
    if found.get(GATE) is Verdict.FAIL:
        return (
            Verdict.FAIL,
            "These token pairs may not be shown as the reason for the similarity: they do not add "
            "up to it.",
            "Lower the tolerance or start from a deeper layer until every table adds up.",
        )
    failed = [name for name in decisive if found.get(name) is Verdict.FAIL]
    if failed:
        return (
            Verdict.FAIL,
            "These token pairs may not be shown as the reason for the similarity, because of: "
            f"{_titles(failed, declared)}.",
            f"Show {instead[0]} instead: {instead[1]}."
            if instead
            else "Do not show them. No method tried here is clearly more faithful.",
        )
    if all(found.get(name) is Verdict.NOT_APPLICABLE for name in RANKING):
        return (
            Verdict.NOT_APPLICABLE,
            "There is nothing to show: no pair has tokens with different scores.",
            "Audit pairs of texts with two words or more; equal scores say nothing about any word.",
        )
    open_ = [name for name in decisive if found.get(name) is not Verdict.PASS]
    if open_:
        return (
            Verdict.INCONCLUSIVE,
            "This audit cannot say whether these token pairs may be shown as the reason for the "
            f"similarity: {_open(open_, found, declared)}.",
            "Run every check on more pairs, or show "
            + (f"{instead[0]}: {instead[1]}." if instead else "nothing for now."),
        )
    return (
        Verdict.PASS,
        "These token pairs may be shown as a reason for the similarity: every check that could "
        "forbid it passed.",
        "Say 'an explanation', not 'the explanation', and audit again after retraining."
        + (f" More faithful still is {instead[0]}: {instead[1]}." if instead else ""),
    )


def _recommended(findings: Sequence[Finding]) -> Finding | None:
    """The finding whose recommendation counts: that of deleting pairs, else of deleting tokens."""
    named = {f.check: f for f in findings if f.recommended}
    return next((named[check] for check in reversed(RANKING) if check in named), None)


def _instead(finding: Finding | None) -> tuple[str, str] | None:
    """What to show instead of the table, and why: by how much it is ahead."""
    if finding is None or finding.recommended is None:
        return None
    lead, title = lead_of(finding), PAIR_METHODS[finding.recommended].title
    if lead is None:
        return title, "it is more faithful here"
    return title, f"it is ahead by {spoken(lead)} in units of the similarity, mean over pairs"


def _open(
    names: Sequence[str], found: Mapping[str, Verdict], declared: Mapping[str, PairCheck]
) -> str:
    """What is undecided, and what was not run."""
    parts = []
    for word, chosen in (
        ("undecided", [name for name in names if name in found]),
        ("not run", [name for name in names if name not in found]),
    ):
        if chosen:
            parts.append(f"{word} is {_titles(chosen, declared)}")
    return "; ".join(parts)


def _titles(names: Sequence[str], declared: Mapping[str, PairCheck]) -> str:
    titles = [declared[name].title.lower() for name in names]
    return titles[0] if len(titles) == 1 else ", ".join(titles[:-1]) + " and " + titles[-1]
