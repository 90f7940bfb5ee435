"""Verdicts on explainers whose faithfulness is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.pairs.view import PairView, Shared, randomised
from attnaudit.findings.findings import Verdict
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.explainer import PairExplainer
from attnaudit.pair_checks.audit import PairAudit, audit_pairs
from attnaudit.pair_checks.registry import PAIR_CHECKS
from attnaudit.pair_checks.settings import PairSettings, PairThresholds
from tests.pair_explainers import (
    HandMade,
    Values,
    constant,
    linear_siamese,
    noise,
    oracle,
    same_word,
    word_pairs,
)
from tests.tiny_siamese import tiny_siamese

# a word more moves a mean of a few words, so more than usual counts as neutral
NEUTRAL = PairThresholds(same_score=0.4)
MASKED = PairSettings(operators=("mask",), resamples=400, thresholds=NEUTRAL)
PAIRS = word_pairs(40)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> SiameseEncoder:
    return linear_siamese(tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> SiameseEncoder:
    return SiameseEncoder(tiny_siamese(tmp_path_factory.mktemp("bert")))


def audit(encoder: SiameseEncoder, rule: Values, pairs=PAIRS, **options) -> PairAudit:
    complete = options.pop("complete", True)
    options.setdefault("settings", MASKED)
    return audit_pairs(
        HandMade(encoder, rule, complete),
        pairs,
        remake=lambda other: HandMade(other, rule, complete),
        **options,
    )


@pytest.fixture(scope="module")
def right(linear: SiameseEncoder) -> PairAudit:
    return audit(linear, oracle)


@pytest.fixture(scope="module")
def wrong(linear: SiameseEncoder) -> PairAudit:
    return audit(linear, noise)


@pytest.mark.parametrize("check", ["completeness", "deletion", "insertion", "pair_deletion"])
def test_the_truth_passes(right: PairAudit, check: str):
    assert right.finding(check).verdict is Verdict.PASS, right.finding(check).sentence
    assert right.finding(check).headline.n == 40


def test_the_truth_may_be_shown(right: PairAudit):
    assert right.verdict is Verdict.PASS, right.judgement
    assert "may be shown" in right.judgement.headline
    assert right.finding("stability").verdict is Verdict.PASS


@pytest.mark.parametrize("check", ["deletion", "pair_deletion"])
def test_noise_fails_and_a_better_method_is_named(wrong: PairAudit, check: str):
    found = wrong.finding(check)
    assert found.verdict is Verdict.FAIL, found.sentence
    assert found.recommended in ("leave_one_out", "input_x_gradient", "alignment", "plain")
    assert wrong.verdict is Verdict.FAIL
    assert "may not be shown" in wrong.judgement.headline
    assert "Show " in wrong.judgement.advice


def test_noise_is_not_stable(wrong: PairAudit):
    assert wrong.finding("stability").verdict is Verdict.FAIL


def test_random_scores_never_pass(right: PairAudit, wrong: PairAudit):
    for result in (right, wrong):
        rows = [f for f in result.findings if f.subject == "random"]
        assert {f.check for f in rows} == {
            "deletion",
            "insertion",
            "pair_deletion",
            "pair_insertion",
        }
        assert all(f.verdict is not Verdict.PASS for f in rows)


def test_a_constant_ranks_nothing(linear: SiameseEncoder):
    result = audit(linear, constant, PAIRS[:31])
    for check in ("pair_deletion", "randomised_weights", "stability"):
        assert result.finding(check).verdict is Verdict.NOT_APPLICABLE
    assert result.finding("completeness").verdict is Verdict.PASS
    assert result.verdict is Verdict.NOT_APPLICABLE
    assert "nothing to show" in result.judgement.headline


def test_a_table_that_does_not_add_up_is_no_explanation(linear: SiameseEncoder):
    def half(explainer, a, b):
        return oracle(explainer, a, b) / 2

    decisive = ["completeness", "deletion"]
    result = audit(linear, half, complete=False, checks=decisive)
    assert result.finding("deletion").verdict is Verdict.PASS
    assert result.finding("completeness").verdict is Verdict.FAIL
    assert result.verdict is Verdict.FAIL
    assert "do not add up" in result.judgement.headline


def test_the_score_is_not_taken_from_the_table(linear: SiameseEncoder):
    class Liar(HandMade):
        def tables(self, pairs, progress=None):
            for table in super().tables(pairs):
                values = table.values.clone()
                values[-1, -1] += 1
                yield type(table)(
                    table.a, table.b, values, table.score + 1, table.kind, table.tolerance, 0, 0
                )

    result = audit_pairs(Liar(linear, oracle), PAIRS[:3], checks=["completeness"], settings=MASKED)
    assert result.finding("completeness").verdict is Verdict.FAIL


def test_numbers_that_are_none_fail(linear: SiameseEncoder):
    def broken(explainer, a, b):
        return oracle(explainer, a, b) * float("nan")

    result = audit(linear, broken, PAIRS[:3])
    assert result.finding("completeness").verdict is Verdict.FAIL
    assert result.finding("deletion").verdict is Verdict.NOT_APPLICABLE
    assert result.verdict is Verdict.FAIL


def test_the_explainer_itself_finds_the_truth(linear: SiameseEncoder, right: PairAudit):
    settings = MASKED.model_copy(update={"operators": ("mask", "reference"), "draws": 2})
    decisive = ["completeness", "deletion", "pair_deletion", "randomised_weights"]
    result = audit_pairs(PairExplainer(linear), PAIRS, settings=settings, checks=decisive)
    assert result.verdict is Verdict.PASS, result.judgement
    for check in ("deletion", "pair_deletion"):
        mine, its = (one.frame[f"{check}.mask.integrated"] for one in (result, right))
        np.testing.assert_allclose(mine, its, atol=1e-5)


def test_an_explanation_that_never_asks_the_encoder_fails(bert: SiameseEncoder):
    result = audit(bert, same_word, checks=["completeness", "randomised_weights"])
    found = result.finding("randomised_weights")
    assert found.verdict is Verdict.FAIL
    assert found.headline.value == pytest.approx(1.0)
    assert result.verdict is Verdict.FAIL


def test_without_another_encoder_the_answer_stays_open(linear: SiameseEncoder):
    decisive = ["completeness", "deletion", "pair_deletion", "randomised_weights"]
    result = audit_pairs(HandMade(linear, oracle), PAIRS, settings=MASKED, checks=decisive)
    assert result.finding("randomised_weights").verdict is Verdict.NOT_APPLICABLE
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "randomised weights" in result.judgement.headline


def test_checks_that_were_not_run_leave_doubt(linear: SiameseEncoder):
    result = audit(linear, oracle, checks=["deletion", "completeness"])
    assert result.verdict is Verdict.INCONCLUSIVE
    assert [f.check for f in result.findings] == ["completeness", "deletion", "deletion"]
    with pytest.raises(SettingsError, match="was not run"):
        result.finding("stability")


def test_few_pairs_decide_nothing_but_completeness(linear: SiameseEncoder):
    result = audit(linear, oracle, PAIRS[:20])
    found = {f.check: f.verdict for f in result.findings if f.subject == "integrated"}
    assert found.pop("completeness") is Verdict.PASS
    assert set(found.values()) == {Verdict.INCONCLUSIVE}
    assert result.verdict is Verdict.INCONCLUSIVE


def test_few_pairs_of_noise_fail_nothing(linear: SiameseEncoder):
    result = audit(linear, noise, PAIRS[:12], checks=["deletion", "stability"])
    assert {f.verdict for f in result.findings} == {Verdict.INCONCLUSIVE}
    assert all(f.recommended is None for f in result.findings)


def test_repeated_pairs_are_no_further_evidence(linear: SiameseEncoder):
    result = audit(linear, oracle, PAIRS[:5] * 10, checks=["deletion"])
    assert (result.sizes.given, result.sizes.audited) == (50, 5)
    assert result.finding("deletion").headline.n == 5
    assert result.finding("deletion").verdict is Verdict.INCONCLUSIVE


def test_short_and_equal_texts_are_counted(linear: SiameseEncoder):
    pairs = [("a", "a good film"), ("a good film", "a"), ("good film", "good film"), *PAIRS[:32]]
    result = audit(linear, oracle, pairs)
    assert (result.sizes.short, result.sizes.identical) == (2, 1)
    for check in ("deletion", "pair_deletion", "randomised_weights"):
        headline = result.finding(check).headline
        assert headline.undefined == 2
        assert headline.n == 33
        assert any("2 of 35 pairs" in note for note in result.finding(check).notes)
    assert result.finding("completeness").headline.n == 35
    short = result.frame.filter("short")
    assert short["deletion.mask.integrated"].null_count() == 2
    assert short["completeness.residual"].null_count() == 0


def test_only_short_texts(linear: SiameseEncoder):
    result = audit(linear, oracle, [("a", "film"), ("film", "a")])
    assert result.finding("completeness").verdict is Verdict.PASS
    assert result.verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "no pairs"),
        (["ab"], "pair 0 must be two texts"),
        ([("a", "b"), ("a", "b", "c")], "pair 1 must be two texts"),
        ([("a", "b"), ("a", 3)], "second text of pair 1 must be a string, got int"),
        ([("a", "b"), ("  ", "b")], "first text of pair 1 is empty"),
    ],
)
def test_bad_pairs_are_refused(linear: SiameseEncoder, pairs, message: str):
    with pytest.raises(DataError, match=message):
        audit(linear, oracle, pairs)


def test_unknown_checks_are_refused(linear: SiameseEncoder):
    with pytest.raises(SettingsError, match="'magic' is no check of pairs"):
        audit(linear, oracle, checks=["magic"])
    with pytest.raises(SettingsError, match="no check was named"):
        audit(linear, oracle, checks=[])


def test_tables_of_another_shape_are_refused(linear: SiameseEncoder):
    class Short(HandMade):
        def tables(self, pairs, progress=None):
            return super().tables([(a + " film", b) for a, b in pairs])

    with pytest.raises(DataError, match="has the shape"):
        audit_pairs(Short(linear, oracle), PAIRS[:2], checks=["completeness"])


def test_neither_order_nor_chunks_nor_batches_matter(bert: SiameseEncoder):
    small = MASKED.model_copy(update={"chunk": 4, "token_budget": 16})
    one = audit(bert, noise, PAIRS[:7])
    other = audit(bert, noise, PAIRS[:7][::-1], settings=small)
    frame = other.frame.reverse()
    for name in one.frame.columns[3:]:
        np.testing.assert_allclose(
            one.frame[name].cast(pl.Float64).to_numpy(),
            frame[name].cast(pl.Float64).to_numpy(),
            atol=2e-6,
            err_msg=name,
        )


def test_an_operator_that_the_encoder_lacks_is_told(tmp_path):
    encoder = SiameseEncoder(tiny_siamese(tmp_path, "llama"))
    settings = MASKED.model_copy(update={"operators": ("delete", "mask", "reference")})
    explainer = PairExplainer(encoder, reference="zero", tolerance=0.1)
    result = audit_pairs(explainer, PAIRS[:4], checks=["deletion"], settings=settings)
    assert any("removing by: mask, reference" in note for note in result.finding("deletion").notes)
    alone = settings.model_copy(update={"operators": ("mask",)})
    result = audit_pairs(explainer, PAIRS[:4], checks=["deletion"], settings=alone)
    assert result.finding("deletion").verdict is Verdict.NOT_APPLICABLE


def test_a_randomised_copy_has_the_same_weights_elsewhere(bert: SiameseEncoder):
    before = bert.fingerprint
    copy = randomised(bert, 0)
    for (name, own), other in zip(
        bert.model.named_parameters(), copy.model.parameters(), strict=True
    ):
        assert torch.equal(own.flatten().sort().values, other.flatten().sort().values)
        assert own.unique().numel() < 3 or not torch.equal(own, other), name
    again = SiameseEncoder(bert.model, bert.layer)
    assert again.fingerprint == before
    assert randomised(bert, 0).fingerprint == copy.fingerprint != randomised(bert, 1).fingerprint


def test_layer_of_the_gradient_is_the_first(bert: SiameseEncoder):
    deep = SiameseEncoder(bert.model, 1)
    assert Shared(HandMade(deep, noise), MASKED).first_layer.layer == 0
    assert len(PairView(Shared(HandMade(deep, noise), MASKED), PAIRS[:2]).tables) == 2


def test_every_check_is_declared_in_words():
    for name, check in PAIR_CHECKS.items():
        assert check.name == name
        assert check.question.endswith("?")
        assert all((check.paper, check.statistic, check.null, check.caveat, check.title))


def test_of_equal_texts_only_the_joint_effect_finds_the_right_pairs(linear: SiameseEncoder):
    """The plain fall blames the truth: without what matches, the rest still matches."""
    pairs = [(a, a) for a, _ in PAIRS]
    encoder = SiameseEncoder(linear.model, kind="cosine")
    result = audit(encoder, oracle, pairs, checks=["pair_deletion"])
    found = {
        e.statistic + e.subject: e
        for e in result.finding("pair_deletion").estimates
        if e.group == "mask"
    }
    joint = found["pair_deletion_over_randomintegrated"]
    assert joint.low > 0
    assert found["pair_fallintegrated"].value == pytest.approx(0, abs=1e-5)
    assert found["pair_fallnull"].value > 0.1
    note = " ".join(result.finding("pair_deletion").notes)
    assert "'pair_fall' is larger by -" in note
    assert result.sizes.identical == 40
