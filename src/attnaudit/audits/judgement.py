"""Findings to one answer, in words that a product manager understands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnaudit.audits.schema import Judgement, Reason
from attnaudit.checks.declaration import Check
from attnaudit.checks.registry import CHECKS, GATES
from attnaudit.data.kinds import TEXTS, Kind
from attnaudit.findings.estimates import lead_of, spoken
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.wording import subject as called

CALIBRATION = ("random", "oracle")
"""Subjects of findings that judge a check: random scores must not pass, known evidence not fail."""


def judge(
    gate: Finding,
    findings: Sequence[Finding],
    cautions: Sequence[str] = (),
    kind: Kind = TEXTS,
) -> Judgement:
    """Weigh the findings: gate first, then every decisive check.

    A check whose calibration row behaves wrongly (random scores pass, known evidence fails) is
    void and counts as inconclusive.

    Args:
        gate: Whether what is judged is good enough.
        findings: What the checks found; the first of each check speaks for it.
        cautions: What is to be kept in mind before all else.
        kind: What the model reads, which says what is judged.
    """
    own = first_findings(findings)
    void = _void(findings)
    reasons = tuple(
        Reason(check=f.check, verdict=_counted(f, void), sentence=f.sentence) for f in own
    )
    decisive = [r for r in reasons if decides(r.check, reasons)]
    better = _recommended(own)
    answer = _answer(decisive, _instead(better), kind)
    asked, missing = answer[0], _missing(own)
    verdict, headline, advice = answer
    doubts = [f"not run: {_join(missing)}"] if missing else []
    if gate.verdict not in (Verdict.PASS, Verdict.FAIL):
        doubts.append("whether the model is good enough is not certain")
    further = [f for f in own if CHECKS[f.check].gate]
    doubts += [
        f"undecided is {CHECKS[f.check].title.lower()}"
        for f in further
        if f.verdict is Verdict.INCONCLUSIVE
    ]
    shut = next((f for f in (gate, *further) if f.verdict is Verdict.FAIL), None)
    if gate.verdict is Verdict.FAIL:
        reasons = (
            Reason(check=gate.check, verdict=gate.verdict, sentence=gate.sentence),
            *reasons,
        )
    if shut is not None:
        verdict = asked = Verdict.NOT_APPLICABLE
        headline, advice = {**GATES, **CHECKS}[shut.check].shut
    elif doubts and verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE):
        verdict = Verdict.INCONCLUSIVE
        headline = f"{_cannot_say(kind)}: {_join(doubts)}."
        advice = f"Run every check, on labelled data, before you show these {kind.explained}."
    return Judgement(
        verdict=verdict,
        asked=asked,
        headline=headline,
        reasons=reasons,
        cautions=(
            *cautions,
            *_cautions(gate, [r for r in reasons if r.check in CHECKS]),
            *(f"{CHECKS[c].title}: {why}" for c, why in void.items()),
        ),
        recommended=None if better is None else better.recommended,
        advice=advice,
    )


def first_findings(findings: Sequence[Finding]) -> list[Finding]:
    """The finding that speaks for each check: its first one that judges no calibration row."""
    found: dict[str, Finding] = {}
    for finding in findings:
        if finding.subject not in CALIBRATION:
            found.setdefault(finding.check, finding)
    return list(found.values())


def decides(check: str, reasons: Sequence[Reason]) -> bool:
    """Whether a check has a say in the answer, given what the others found.

    A check that defers to another is a caution only where that other one has decided.
    """
    declared = CHECKS[check]
    decided = {r.check for r in reasons if r.verdict in (Verdict.PASS, Verdict.FAIL)}
    return declared.decisive and declared.defers_to not in decided


def _answer(
    decisive: Sequence[Reason], instead: tuple[str, str] | None, kind: Kind
) -> tuple[Verdict, str, str]:
    """Verdict, headline and advice; `instead` is what to show instead, and why it is better."""
    verdicts = [r.verdict for r in decisive]
    # where some are essential, the others say nothing of what is to be shown
    core = [r.verdict for r in decisive if CHECKS[r.check].essential] or verdicts
    doubtful = [r for r in decisive if _open(r)]

    def titles(reasons: Sequence[Reason]) -> str:
        return _join([CHECKS[r.check].title.lower() for r in reasons])

    if Verdict.FAIL in verdicts:
        return (
            Verdict.FAIL,
            f"These {kind.explained} may not be shown as the reason for {kind.target}, because "
            f"of: {titles([r for r in decisive if r.verdict is Verdict.FAIL])}.",
            f"Show {instead[0]} instead: {instead[1]}."
            if instead
            else "Do not show them. No attribution tried here is clearly more faithful.",
        )
    if core and all(v is Verdict.NOT_APPLICABLE for v in core):
        return (
            Verdict.NOT_APPLICABLE,
            f"There is nothing to show: no decisive check applies to these {kind.explained}.",
            "See each check for the reason; scores that are equal on all units say nothing about "
            "any of them.",
        )
    if doubtful or not verdicts:
        why = f"undecided is {titles(doubtful)}" if verdicts else "nothing decided it"
        return (
            Verdict.INCONCLUSIVE,
            f"{_cannot_say(kind)}: {why}.",
            "Audit more instances, or show "
            + (f"{instead[0]}: {instead[1]}." if instead else "nothing for now."),
        )
    return (
        Verdict.PASS,
        f"These {kind.explained} may be shown as an explanation: every check that could forbid it "
        "passed.",
        "Say 'an explanation', not 'the explanation', and audit again after retraining."
        + (f" More faithful still is {instead[0]}: {instead[1]}." if instead else ""),
    )


def _open(reason: Reason) -> bool:
    """Whether a check leaves the answer open."""
    lacking = CHECKS[reason.check].essential and reason.verdict is Verdict.NOT_APPLICABLE
    return lacking or reason.verdict is Verdict.INCONCLUSIVE


def _cannot_say(kind: Kind) -> str:
    return f"This audit cannot say whether these {kind.explained} may be shown as an explanation"


def _missing(own: Sequence[Finding]) -> list[str]:
    """Decisive checks of the usual group for this kind that were not run."""
    run = {f.check for f in own}
    usual = "pairs" if any(CHECKS[name].group == "pairs" for name in run) else "attention"
    wanted: Mapping[str, Check] = {n: c for n, c in CHECKS.items() if c.group == usual}
    return [c.title.lower() for name, c in wanted.items() if c.decisive and name not in run]


def _counted(finding: Finding, void: Mapping[str, str]) -> Verdict:
    return Verdict.INCONCLUSIVE if finding.check in void else finding.verdict


def _void(findings: Sequence[Finding]) -> dict[str, str]:
    void = {}
    for finding in findings:
        if finding.subject == "random" and finding.verdict is Verdict.PASS:
            void[finding.check] = "random scores passed it, so its verdict is void."
        if finding.subject == "oracle" and finding.verdict is Verdict.FAIL:
            void[finding.check] = "the known evidence itself failed it, so its verdict is void."
    return void


def _cautions(gate: Finding, reasons: Sequence[Reason]) -> list[str]:
    cautions = [] if gate.verdict is Verdict.PASS else [gate.sentence]
    for reason in reasons:
        doubtful = reason.verdict is Verdict.INCONCLUSIVE
        failed = reason.verdict is Verdict.FAIL and not decides(reason.check, reasons)
        if doubtful or failed:
            cautions.append(f"{CHECKS[reason.check].title}: {reason.sentence}")
    return cautions


def _recommended(findings: Sequence[Finding]) -> Finding | None:
    """The finding whose recommendation counts: that of the check with the highest rank."""
    ranked = [f for f in findings if f.recommended and CHECKS[f.check].recommends]
    return max(ranked, key=lambda f: CHECKS[f.check].recommends, default=None)


def _instead(finding: Finding | None) -> tuple[str, str] | None:
    """What to show instead, and why: by how much it is ahead."""
    if finding is None or finding.recommended is None:
        return None
    lead, title = lead_of(finding), called(finding.recommended)
    if lead is None:
        return title, "it is more faithful here"
    return title, CHECKS[finding.check].lead.format(lead=spoken(lead))


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
