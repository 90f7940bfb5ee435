"""The check of weights against effects, on models whose right answer is known."""

from __future__ import annotations

import pytest
from benchmarks.proving.constructions import BAGS, HALF_SET, HAND, HONEST, MILD, Case
from benchmarks.proving.proof import prove

import attnaudit
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings

BUILT = {c.name: c for c in (*HAND, *HALF_SET, *BAGS, *MILD)}
FAST = Settings(resamples=300, checks=("effect", "permutation", "ground_truth"))


def found(name: str, seed: int = 0) -> tuple[Case, dict[str, Finding]]:
    case = BUILT[name].make(seed)
    audit = attnaudit.audit(case.model, case.data, settings=FAST, progress=False)
    return case, {f"{f.check} {f.subject}": f for f in audit.findings}


@pytest.mark.parametrize("name", ["one-clue", "dense-sure", "negation", "first-wins", "bag-one"])
def test_honest_weights_pass(name: str) -> None:
    _, findings = found(name)
    assert {f.verdict for key, f in findings.items() if key.endswith(" weights")} == {Verdict.PASS}


@pytest.mark.parametrize("name", ["shift-1", "leak-all", "last-word", "code", "bag-decoy"])
def test_weights_elsewhere_fail_and_shapley_values_are_recommended(name: str) -> None:
    _, findings = found(name)
    own = findings["effect weights"]
    assert own.verdict is Verdict.FAIL
    assert own.recommended == "shapley"
    assert findings["ground_truth weights"].verdict is Verdict.FAIL


@pytest.mark.parametrize("name", ["idle", "bag-idle"])
def test_right_units_that_do_nothing_fail_by_permutation_alone(name: str) -> None:
    _, findings = found(name)
    assert findings["effect weights"].verdict is Verdict.PASS
    assert findings["ground_truth weights"].verdict is Verdict.PASS
    assert findings["permutation weights"].verdict is Verdict.FAIL


def test_the_same_weights_in_random_order_are_at_0() -> None:
    _, findings = found("two-clues")
    random = findings["effect random"].headline
    assert random is not None
    assert random.low is not None
    assert random.low < 0 < random.high


def test_weights_that_are_right_for_one_class_alone_fail_and_the_other_is_named() -> None:
    _, findings = found("one-class")
    own = findings["effect weights"]
    assert own.verdict is not Verdict.PASS
    assert "those predicted as class 0" in own.sentence
    assert "those predicted as class 1" not in own.sentence


def test_mild_deceit_is_put_into_words_before_it_fails() -> None:
    _, some = found("mild-0.5")
    assert some["effect weights"].verdict is Verdict.PASS
    assert "lies on units that do next to nothing" in some["effect weights"].sentence
    _, none = found("mild-0.1")
    assert "next to nothing" not in none["effect weights"].sentence
    _, much = found("mild-0.9")
    assert much["effect weights"].verdict is Verdict.FAIL


@pytest.mark.parametrize("name", sorted({n for n in BUILT if not n.startswith("mild")}))
def test_every_construction_is_what_it_is_said_to_be(name: str) -> None:
    case = BUILT[name].make(1)
    proof = prove(case)
    assert proof.accuracy > 0.9
    # without the evidence the prediction is no better than a guess
    assert proof.lost < 0.7
    if case.right == HONEST:
        assert proof.kept > 0.95
        assert proof.auroc > 0.95
        assert proof.highlighted > 0.95
    elif "idle" not in name:
        assert proof.auroc < 0.8 or proof.mass < 0.5
