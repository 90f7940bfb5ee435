"""How often a verdict was right where the right answer is known."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from benchmarks.proving_ground import Outcome, by_check, by_construction, counts_of, run, table

from attnaudit.audits.record import how_sure, record
from attnaudit.audits.result import AuditResult
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.measures.bootstrap import wilson_interval
from tests.report_fixture import hostile_result


def said(result: AuditResult, verdict: Verdict, settings: Settings | None = None) -> str:
    report = result.report
    plan = report.plan.model_copy(update={"settings": settings or Settings()})
    return how_sure(report.judgement.model_copy(update={"verdict": verdict}), plan)


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.FAIL])
def test_it_says_the_stored_counts(verdict: Verdict, truth: bool) -> None:
    text = said(hostile_result(truth), verdict)
    known = "known" if truth else "unknown"
    for counts in record()["texts"][known].values():
        n, hits = sum(counts.values()), counts.get(verdict.value, 0)
        interval = wilson_interval(hits, n, 0.95)
        assert f"{hits} of {n} ({interval.low:.0%} to {interval.high:.0%})" in text
    assert f"with {known} evidence" in text


def test_nothing_is_said_of_audits_that_were_not_put_to_the_proof() -> None:
    result = hostile_result()
    assert said(result, Verdict.INCONCLUSIVE) == ""
    assert said(result, Verdict.NOT_APPLICABLE) == ""
    report = result.report
    site = report.plan.model.model_copy(update={"partial": True})
    plan = report.plan.model_copy(update={"settings": Settings(), "model": site})
    judged = report.judgement.model_copy(update={"verdict": Verdict.FAIL})
    assert how_sure(judged, plan).startswith("Not known")
    assert said(result, Verdict.PASS, Settings(bars={"attained_share": 0.1})) == ""
    plan = result.report.plan.model_copy(update={"checks": ("effect",), "settings": Settings()})
    assert how_sure(result.report.judgement, plan) == ""


def test_a_case_of_the_proving_ground_runs() -> None:
    outcomes = [*run("shift-1", 0), *run("bag-one", 0)]
    assert [o.verdict for o in outcomes] == ["fail", "fail", "pass", "pass"]
    assert {o.evidence for o in outcomes} == {True, False}
    assert outcomes[0].recommended is not None
    assert outcomes[0].recommended_auroc > outcomes[0].auroc
    again = [Outcome(**asdict(o)) for o in outcomes]
    assert again == outcomes
    for shown in (table(outcomes), by_construction(outcomes), by_check(outcomes)):
        assert shown.startswith("|")
    reported = [o for o in outcomes if not o.made_on]
    assert sum(
        sum(counts.values())
        for kinds in counts_of(outcomes).values()
        for rights in kinds.values()
        for counts in rights.values()
    ) == len(reported)
