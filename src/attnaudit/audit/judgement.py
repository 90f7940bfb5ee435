"""Findings to one answer, in words that a product manager understands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnaudit.attribution import METHODS
from attnaudit.audit.schema import Judgement, Reason
from attnaudit.checks.registry import CHECKS
from attnaudit.findings.estimates import lead_of, spoken
from attnaudit.findings.findings import Finding, Verdict

SUBJECT = "weights"
LEADS = {
    "comprehensiveness_lead": "erasing by it lowers the predicted probability by {lead} more than "
    "erasing by the weights, mean over instances",
    "auroc_lead": "its AUROC for the known evidence is {lead} above that of the weights, mean over "
    "instances",
}
"""What a recommendation rests on, by statistic."""


def judge(
    performance: Finding, findings: Sequence[Finding], cautions: Sequence[str] = ()
) -> Judgement:
    """Weigh the findings: gate first, then every decisive check.

    A check whose calibration row behaves wrongly (random scores pass, known evidence fails) is
    void and counts as inconclusive.

    Args:
        performance: The gate.
        findings: What the checks found.
        cautions: What is to be kept in mind before all else.
    """
    own = [f for f in findings if f.subject == SUBJECT]
    void = _void(findings)
    reasons = tuple(
        Reason(check=f.check, verdict=_counted(f, void), sentence=f.sentence) for f in own
    )
    decisive = [r for r in reasons if decides(r.check, reasons)]
    better = _recommended(own)
    recommended = better.recommended if better is not None else None
    cautions = (
        *cautions,
        *_cautions(performance, reasons),
        *(f"{CHECKS[c].title}: {why}" for c, why in void.items()),
    )
    if performance.verdict is Verdict.FAIL:
        return Judgement(
            verdict=Verdict.NOT_APPLICABLE,
            headline="The model is not good enough to audit: an explanation of its guesses would "
            "explain nothing.",
            reasons=(
                Reason(
                    check=performance.check,
                    verdict=performance.verdict,
                    sentence=performance.sentence,
                ),
                *reasons,
            ),
            cautions=cautions,
            advice="Train the model further, then audit it again.",
        )
    answer = _answer(decisive, _instead(better))
    missing = [
        c.title.lower() for n, c in CHECKS.items() if c.decisive and n not in {f.check for f in own}
    ]
    doubts = [f"not run: {_join(missing)}"] if missing else []
    if performance.verdict is not Verdict.PASS:
        doubts.append("whether the model is good enough is not certain")
    if doubts and answer["verdict"] in (Verdict.PASS, Verdict.NOT_APPLICABLE):
        answer = {
            "verdict": Verdict.INCONCLUSIVE,
            "headline": "This audit cannot say whether these weights may be shown as an "
            f"explanation: {_join(doubts)}.",
            "advice": "Run every check, on labelled data, before you show these weights.",
        }
    return Judgement(**answer, reasons=reasons, cautions=cautions, recommended=recommended)


def decides(check: str, reasons: Sequence[Reason]) -> bool:
    """Whether a check has a say in the answer, given what the others found.

    A check that stands in for another is a caution only where that other one has decided.
    """
    declared = CHECKS[check]
    decided = {r.check for r in reasons if r.verdict in (Verdict.PASS, Verdict.FAIL)}
    return declared.decisive and declared.stands_in_for not in decided


def _answer(decisive: Sequence[Reason], instead: tuple[str, str] | None) -> dict[str, Any]:
    """The verdict in words; `instead` is what to show instead, and by how much it is better."""
    verdicts = [r.verdict for r in decisive]
    if Verdict.FAIL in verdicts:
        names = _join(
            [CHECKS[r.check].title.lower() for r in decisive if r.verdict is Verdict.FAIL]
        )
        return {
            "verdict": Verdict.FAIL,
            "headline": "These weights may not be shown as the reason for a prediction, because "
            f"of: {names}.",
            "advice": f"Show {instead[0]} instead: {instead[1]}."
            if instead
            else "Do not show them. No attribution tried here is clearly more faithful.",
        }
    if verdicts and all(v is Verdict.NOT_APPLICABLE for v in verdicts):
        return {
            "verdict": Verdict.NOT_APPLICABLE,
            "headline": "There is nothing to show: no decisive check applies to these weights.",
            "advice": "See each check for the reason; weights that are equal on all units say "
            "nothing about any of them.",
        }
    if Verdict.INCONCLUSIVE in verdicts:
        names = _join(
            [CHECKS[r.check].title.lower() for r in decisive if r.verdict is Verdict.INCONCLUSIVE]
        )
        return {
            "verdict": Verdict.INCONCLUSIVE,
            "headline": "This audit cannot say whether these weights may be shown as an "
            f"explanation: undecided is {names}.",
            "advice": "Audit more instances, or show "
            + (f"{instead[0]}: {instead[1]}." if instead else "nothing for now."),
        }
    return {
        "verdict": Verdict.PASS,
        "headline": "These weights may be shown as an explanation: every check that could forbid "
        "it passed.",
        "advice": "Say 'an explanation', not 'the explanation', and audit again after retraining."
        + (f" More faithful still is {instead[0]}: {instead[1]}." if instead else ""),
    }


def _counted(finding: Finding, void: dict[str, str]) -> Verdict:
    return Verdict.INCONCLUSIVE if finding.check in void else finding.verdict


def _void(findings: Sequence[Finding]) -> dict[str, str]:
    void = {}
    for finding in findings:
        if finding.subject == "random" and finding.verdict is Verdict.PASS:
            void[finding.check] = "random scores passed it, so its verdict is void."
        if (
            finding.subject == "oracle"
            and finding.check == "ground_truth"
            and finding.verdict is Verdict.FAIL
        ):
            void[finding.check] = "the known evidence itself failed it, so its verdict is void."
    return void


def _cautions(performance: Finding, reasons: Sequence[Reason]) -> list[str]:
    cautions = []
    if performance.verdict is not Verdict.PASS:
        cautions.append(performance.sentence)
    for reason in reasons:
        doubtful = reason.verdict is Verdict.INCONCLUSIVE
        failed = reason.verdict is Verdict.FAIL and not decides(reason.check, reasons)
        if doubtful or failed:
            cautions.append(f"{CHECKS[reason.check].title}: {reason.sentence}")
    return cautions


def _recommended(findings: Sequence[Finding]) -> Finding | None:
    """The finding whose recommendation counts: that of known evidence, else that of erasure."""
    named = {f.check: f for f in findings if f.recommended}
    return named.get("ground_truth") or named.get("erasure")


def _instead(finding: Finding | None) -> tuple[str, str] | None:
    """What to show instead of the weights, and why: by how much it is ahead of them."""
    if finding is None or finding.recommended is None:
        return None
    lead = lead_of(finding)
    title = METHODS[finding.recommended].title
    if lead is None:
        return title, "it is more faithful here"
    return title, LEADS[lead.statistic].format(lead=spoken(lead))


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
