"""Verdicts on explainers whose faithfulness is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from attnaudit.audits.pairs import audit_pairs
from attnaudit.audits.result import AuditResult, open_audit
from attnaudit.checks.registry import CHECKS
from attnaudit.errors import DataError, RunError, SettingsError
from attnaudit.evidence.pairs.view import PairView, Shared, randomised
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import PairSettings, Settings
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.explainer import PairExplainer
from attnaudit.models.siamese.load import load_siamese
from attnaudit.report.markdown import render_card
from attnaudit.report.page import render_html
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
NEUTRAL = {"same_score": 0.4}
PAIRS = word_pairs(40)


def masked(**options) -> Settings:
    pairs = PairSettings(**{"operators": ("mask",), **options})
    return Settings(resamples=400, bars=NEUTRAL, pairs=pairs)


MASKED = masked()


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> SiameseEncoder:
    return linear_siamese(tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> SiameseEncoder:
    return SiameseEncoder(tiny_siamese(tmp_path_factory.mktemp("bert")))


def audit(encoder: SiameseEncoder, rule: Values, pairs=PAIRS, **options) -> AuditResult:
    complete = options.pop("complete", True)
    options.setdefault("settings", MASKED)
    return audit_pairs(
        HandMade(encoder, rule, complete),
        pairs,
        remake=lambda other: HandMade(other, rule, complete),
        **options,
    )


def finding(result: AuditResult, check: str) -> Finding:
    """What one check found about the explanation."""
    found = (f for f in result.report.findings if f.check == check and f.subject != "random")
    return next(found)


@pytest.fixture(scope="module")
def right(linear: SiameseEncoder) -> AuditResult:
    return audit(linear, oracle)


@pytest.fixture(scope="module")
def wrong(linear: SiameseEncoder) -> AuditResult:
    return audit(linear, noise)


@pytest.mark.parametrize("check", ["completeness", "deletion", "insertion", "pair_deletion"])
def test_the_truth_passes(right: AuditResult, check: str):
    assert finding(right, check).verdict is Verdict.PASS, finding(right, check).sentence
    assert finding(right, check).headline.n == 40


def test_the_truth_may_be_shown(right: AuditResult):
    assert right.report.judgement.verdict is Verdict.PASS, right.report.judgement
    assert "may be shown" in right.report.judgement.headline
    assert finding(right, "stability").verdict is Verdict.PASS


@pytest.mark.parametrize("check", ["deletion", "pair_deletion"])
def test_noise_fails_and_a_better_method_is_named(wrong: AuditResult, check: str):
    found = finding(wrong, check)
    assert found.verdict is Verdict.FAIL, found.sentence
    assert found.recommended in ("leave_one_out", "input_x_gradient", "alignment", "plain")
    assert wrong.report.judgement.verdict is Verdict.FAIL
    assert "may not be shown" in wrong.report.judgement.headline
    assert "Show " in wrong.report.judgement.advice


def test_noise_is_not_stable(wrong: AuditResult):
    assert finding(wrong, "stability").verdict is Verdict.FAIL


def test_random_scores_never_pass(right: AuditResult, wrong: AuditResult):
    for result in (right, wrong):
        rows = [f for f in result.report.findings if f.subject == "random"]
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
        assert finding(result, check).verdict is Verdict.NOT_APPLICABLE
    assert finding(result, "completeness").verdict is Verdict.PASS
    assert result.report.judgement.verdict is Verdict.NOT_APPLICABLE
    assert "nothing to show" in result.report.judgement.headline


def test_a_table_that_does_not_add_up_is_no_explanation(linear: SiameseEncoder):
    def half(explainer, a, b):
        return oracle(explainer, a, b) / 2

    decisive = ["completeness", "deletion"]
    result = audit(linear, half, complete=False, checks=decisive)
    assert finding(result, "deletion").verdict is Verdict.PASS
    assert finding(result, "completeness").verdict is Verdict.FAIL
    assert result.report.judgement.verdict is Verdict.FAIL
    assert "do not add up" in finding(result, "completeness").sentence
    assert "completeness" in result.report.judgement.headline


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
    assert finding(result, "completeness").verdict is Verdict.FAIL


def test_numbers_that_are_none_fail(linear: SiameseEncoder):
    def broken(explainer, a, b):
        return oracle(explainer, a, b) * float("nan")

    result = audit(linear, broken, PAIRS[:3])
    assert finding(result, "completeness").verdict is Verdict.FAIL
    assert finding(result, "deletion").verdict is Verdict.NOT_APPLICABLE
    assert result.report.judgement.verdict is Verdict.FAIL


def test_the_explainer_itself_finds_the_truth(linear: SiameseEncoder, right: AuditResult):
    settings = masked(operators=("mask", "reference"), draws=2)
    decisive = ["completeness", "deletion", "pair_deletion", "randomised_weights"]
    result = audit_pairs(PairExplainer(linear), PAIRS, settings=settings, checks=decisive)
    assert result.report.judgement.verdict is Verdict.PASS, result.report.judgement
    for check in ("deletion", "pair_deletion"):
        mine, its = (one.instances[f"{check}/mask.integrated"] for one in (result, right))
        np.testing.assert_allclose(mine, its, atol=1e-5)


def test_an_explanation_that_never_asks_the_encoder_fails(bert: SiameseEncoder):
    result = audit(bert, same_word, checks=["completeness", "randomised_weights"])
    found = finding(result, "randomised_weights")
    assert found.verdict is Verdict.FAIL
    assert found.headline.value == pytest.approx(1.0)
    assert result.report.judgement.verdict is Verdict.FAIL


def test_without_another_encoder_the_answer_stays_open(linear: SiameseEncoder):
    decisive = ["completeness", "deletion", "pair_deletion", "randomised_weights"]
    result = audit_pairs(HandMade(linear, oracle), PAIRS, settings=MASKED, checks=decisive)
    assert finding(result, "randomised_weights").verdict is Verdict.NOT_APPLICABLE
    assert result.report.judgement.verdict is Verdict.INCONCLUSIVE
    assert "randomised weights" in result.report.judgement.headline


def test_checks_that_were_not_run_leave_doubt(linear: SiameseEncoder):
    result = audit(linear, oracle, checks=["deletion", "completeness"])
    assert result.report.judgement.verdict is Verdict.INCONCLUSIVE
    assert [f.check for f in result.report.findings] == ["completeness", "deletion", "deletion"]
    assert "not run: deletion of pairs and randomised weights" in result.report.judgement.headline


def test_few_pairs_decide_nothing_but_completeness(linear: SiameseEncoder):
    result = audit(linear, oracle, PAIRS[:20])
    found = {f.check: f.verdict for f in result.report.findings if f.subject == "integrated"}
    assert found.pop("completeness") is Verdict.PASS
    assert set(found.values()) == {Verdict.INCONCLUSIVE}
    assert result.report.judgement.verdict is Verdict.INCONCLUSIVE


def test_few_pairs_of_noise_fail_nothing(linear: SiameseEncoder):
    result = audit(linear, noise, PAIRS[:12], checks=["deletion", "stability"])
    assert {f.verdict for f in result.report.findings} == {Verdict.INCONCLUSIVE}
    assert all(f.recommended is None for f in result.report.findings)


def test_repeated_pairs_are_no_further_evidence(linear: SiameseEncoder):
    result = audit(linear, oracle, PAIRS[:5] * 10, checks=["deletion"])
    assert (result.report.plan.data.instances, len(result.instances)) == (5, 5)
    assert result.report.plan.data.notes == ("45 pairs were given more than once and count once.",)
    assert finding(result, "deletion").headline.n == 5
    assert finding(result, "deletion").verdict is Verdict.INCONCLUSIVE


def test_short_and_equal_texts_are_counted(linear: SiameseEncoder):
    pairs = [("a", "a good film"), ("a good film", "a"), ("good film", "good film"), *PAIRS[:32]]
    result = audit(linear, oracle, pairs)
    assert (result.instances["short"].sum(), result.instances["identical"].sum()) == (2, 1)
    assert [note.split()[0] for note in result.report.plan.data.notes] == ["2", "1"]
    for check in ("deletion", "pair_deletion", "randomised_weights"):
        headline = finding(result, check).headline
        assert headline.undefined == 2
        assert headline.n == 33
        assert any("2 of 35 pairs" in note for note in finding(result, check).notes)
    assert finding(result, "completeness").headline.n == 35
    short = result.instances.filter("short")
    assert short["deletion/mask.integrated"].null_count() == 2
    assert short["completeness/residual"].null_count() == 0


def test_only_short_texts(linear: SiameseEncoder):
    result = audit(linear, oracle, [("a", "film"), ("film", "a")])
    assert finding(result, "completeness").verdict is Verdict.PASS
    assert result.report.judgement.verdict is Verdict.NOT_APPLICABLE


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
    with pytest.raises(SettingsError, match="no check is called 'magic'"):
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
    small = masked(chunk=4, token_budget=16)
    one = audit(bert, noise, PAIRS[:7])
    other = audit(bert, noise, PAIRS[:7][::-1], settings=small)
    frame = other.instances.reverse()
    for name in one.instances.columns[3:]:
        np.testing.assert_allclose(
            one.instances[name].cast(pl.Float64).to_numpy(),
            frame[name].cast(pl.Float64).to_numpy(),
            atol=2e-6,
            err_msg=name,
        )


def test_an_operator_that_the_encoder_lacks_is_told(tmp_path):
    encoder = SiameseEncoder(tiny_siamese(tmp_path, "llama"))
    settings = masked(operators=("delete", "mask", "reference"))
    explainer = PairExplainer(encoder, reference="zero", tolerance=0.1)
    result = audit_pairs(explainer, PAIRS[:4], checks=["deletion"], settings=settings)
    assert any("removing by: mask, reference" in note for note in finding(result, "deletion").notes)
    result = audit_pairs(explainer, PAIRS[:4], checks=["deletion"], settings=MASKED)
    assert finding(result, "deletion").verdict is Verdict.NOT_APPLICABLE


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
    for check in (check for check in CHECKS.values() if check.group == "pairs"):
        assert check.question.endswith("?")
        assert all((check.paper, check.statistic, check.null, check.caveat, check.title))


def test_of_equal_texts_only_the_joint_effect_finds_the_right_pairs(linear: SiameseEncoder):
    """The plain fall blames the truth: without what matches, the rest still matches."""
    pairs = [(a, a) for a, _ in PAIRS]
    encoder = SiameseEncoder(linear.model, kind="cosine")
    result = audit(encoder, oracle, pairs, checks=["pair_deletion"])
    found = {
        e.statistic + e.subject: e
        for e in finding(result, "pair_deletion").estimates
        if e.group == "mask"
    }
    joint = found["pair_deletion_over_randomintegrated"]
    assert joint.low > 0
    assert found["pair_fallintegrated"].value == pytest.approx(0, abs=1e-5)
    assert found["pair_fallnull"].value > 0.1
    note = " ".join(finding(result, "pair_deletion").notes)
    assert "'pair_fall' is larger by -" in note
    assert result.instances["identical"].sum() == 40


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("saved")
    tiny_siamese(folder / "parts").save(str(folder / "model"))
    return str(folder / "model")


def explainer_of(saved: str, tolerance: float = 0.01) -> PairExplainer:
    return PairExplainer(load_siamese(saved), tolerance=tolerance)


QUICK = Settings(resamples=100, pairs=PairSettings(chunk=4, draws=1, operators=("delete",)))


def test_a_run_folder_is_opened_resumed_and_shown(saved: str, tmp_path: Path):
    out, checks = tmp_path / "run", ["completeness", "deletion", "stability"]
    first = audit_pairs(
        explainer_of(saved), PAIRS[:9], settings=QUICK, checks=checks, out=out, name="mine"
    )
    assert len(first.report.cells) == 3
    assert first.instances["index"].to_list() == list(range(9))
    opened = open_audit(out)
    assert opened.report == first.report
    assert opened.instances.equals(first.instances)
    page, card = render_html(opened), render_card(opened)
    for shown in (page, card):
        assert "May these token pairs be shown as the reason for the similarity?" in shown
        assert "Deletion of tokens" in shown
        assert "sentence-similarity" in card
    assert "leave-one-out" in page
    before = {path: path.stat().st_mtime_ns for path in out.glob("instances/*/instances.parquet")}
    next(iter(before)).write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="made again"):
        again = audit_pairs(
            explainer_of(saved), PAIRS[:9], settings=QUICK, checks=checks, out=out, name="mine"
        )
    assert again.report.findings == first.report.findings
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [next(iter(before))]
    with pytest.raises(RunError, match="holds another run: with other settings \\(tolerance was"):
        audit_pairs(explainer_of(saved, 0.02), PAIRS[:9], settings=QUICK, checks=checks, out=out)
    with pytest.raises(RunError, match="holds another run: of the data"):
        audit_pairs(explainer_of(saved), PAIRS[:8], settings=QUICK, checks=checks, out=out)


def test_processes_read_the_model_themselves(saved: str):
    checks = ["completeness", "deletion", "randomised_weights"]
    one, two = (
        audit_pairs(explainer_of(saved), PAIRS[:8], settings=QUICK, checks=checks, workers=workers)
        for workers in (1, 2)
    )
    for name in one.instances.columns[3:]:
        values = (r.instances[name].cast(pl.Float64).to_numpy() for r in (one, two))
        np.testing.assert_allclose(*values, atol=1e-6, err_msg=name)


def test_what_is_in_memory_alone_is_sent_nowhere(bert: SiameseEncoder):
    with pytest.raises(SettingsError, match="leave workers at 1"):
        audit(bert, noise, PAIRS[:2], checks=["completeness"], workers=2)


def test_attention_is_not_asked_of_pairs(bert: SiameseEncoder):
    with pytest.raises(SettingsError, match="'erasure' is put to models that read texts or bags"):
        audit(bert, noise, PAIRS[:2], checks=["erasure"])
