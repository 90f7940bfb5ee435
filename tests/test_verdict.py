"""Findings to one answer."""

import pytest

from attnaudit.audits.judgement import judge
from attnaudit.checks.declaration import ATTENTION
from attnaudit.checks.registry import CHECKS
from attnaudit.findings.findings import Finding, Verdict

P, F, I, N = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE  # noqa: E741


def finding(check: str, verdict: Verdict, subject: str = "weights", **more: str) -> Finding:
    return Finding(
        check=check, subject=subject, verdict=verdict, sentence=f"{check} says {verdict}.", **more
    )


def answer(performance: Verdict = P, **verdicts: Verdict):
    findings = [finding(name, verdict) for name, verdict in verdicts.items()]
    return judge(finding("performance", performance, "model"), findings)


USUAL = {n: check for n, check in CHECKS.items() if check.group == ATTENTION and not check.gate}
ALL = {**dict.fromkeys(USUAL, P), "ground_truth": N}
KNOWN = {**ALL, "ground_truth": P}


def test_all_passing_may_be_shown() -> None:
    result = answer(**ALL)
    assert result.verdict is P
    assert "may be shown" in result.headline


@pytest.mark.parametrize("name", [n for n, c in USUAL.items() if c.decisive])
def test_one_decisive_failure_forbids(name: str) -> None:
    result = answer(**{**ALL, name: F})
    assert result.verdict is F
    assert "may not be shown" in result.headline
    assert CHECKS[name].title.lower() in result.headline


def test_known_evidence_judges_in_place_of_effects() -> None:
    result = answer(**{**KNOWN, "effect": F})
    assert result.verdict is P
    assert any("effect says fail" in caution for caution in result.cautions)
    assert answer(**{**KNOWN, "ground_truth": F}).verdict is F
    assert answer(**{**KNOWN, "ground_truth": I, "effect": F}).verdict is F


@pytest.mark.parametrize("name", [n for n, c in USUAL.items() if not c.decisive])
def test_an_advisory_failure_is_a_caution(name: str) -> None:
    result = answer(**{**ALL, name: F})
    assert result.verdict is P
    assert any(f"{name} says fail" in caution for caution in result.cautions)


def test_failure_outweighs_doubt_and_doubt_outweighs_passing() -> None:
    assert answer(**{**ALL, "effect": F, "permutation": I}).verdict is F
    assert answer(**{**ALL, "effect": I}).verdict is I


def test_a_model_near_chance_is_not_good_enough() -> None:
    result = answer(performance=F, **ALL)
    assert result.verdict is N
    assert "not good enough to audit" in result.headline


@pytest.mark.parametrize("gate", [I, N])
def test_a_gate_in_doubt_never_passes_but_may_fail(gate: Verdict) -> None:
    assert answer(performance=gate, **ALL).verdict is I
    assert answer(performance=gate, **ALL).cautions
    assert answer(performance=gate, **{**ALL, "effect": F}).verdict is F


def test_a_partial_audit_never_passes() -> None:
    result = answer(permutation=P)
    assert result.verdict is I
    assert CHECKS["effect"].title.lower() in result.headline
    assert answer(adversary=F).verdict is I
    assert answer(permutation=F).verdict is F


def test_not_applicable_checks_do_not_count() -> None:
    assert answer(**{**ALL, "ground_truth": N}).verdict is P
    assert answer(**dict.fromkeys(USUAL, N)).verdict is N


def test_a_check_that_random_scores_pass_is_void() -> None:
    findings = [finding(n, v) for n, v in ALL.items()] + [finding("effect", P, "random")]
    result = judge(finding("performance", P, "model"), findings)
    assert result.verdict is I
    assert any("void" in caution for caution in result.cautions)


def test_evidence_that_fails_its_own_check_voids_it() -> None:
    findings = [finding(n, P) for n in USUAL] + [finding("ground_truth", F, "oracle")]
    assert judge(finding("performance", P, "model"), findings).verdict is I


def test_what_is_to_be_kept_in_mind_of_the_data_comes_first() -> None:
    findings = [finding(name, verdict) for name, verdict in {**ALL, "adversary": F}.items()]
    for gate in (P, F):
        cautions = judge(finding("performance", gate, "model"), findings, ["of the data"]).cautions
        assert "of the data" in cautions[0]
        assert any("adversary says fail" in caution for caution in cautions)


def test_known_evidence_recommends_before_effects() -> None:
    findings = [
        finding("effect", F, recommended="shapley"),
        finding("ground_truth", F, recommended="gradient"),
    ]
    result = judge(finding("performance", P, "model"), findings)
    assert result.recommended == "gradient"
    assert "gradient" in result.advice


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        (("effect",), "because of: weight where the effect is."),
        (("permutation", "ground_truth"), "because of: known evidence and permuted weights."),
    ],
)
def test_what_failed_is_named_in_the_headline(failed: tuple[str, ...], said: str) -> None:
    names = sorted(failed)
    assert answer(**dict.fromkeys(names, Verdict.FAIL)).headline.endswith(said)


def test_of_many_names_the_last_has_and() -> None:
    headline = answer(permutation=P).headline
    assert headline.endswith("weight where the effect is and known evidence.")
