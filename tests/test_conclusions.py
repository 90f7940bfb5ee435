"""From columns to findings: verdicts, sample sizes and means of tables that are written by hand."""

import math

import polars as pl
import pytest

from attnaudit.attribution import METHODS
from attnaudit.checks.registry import CHECKS
from attnaudit.evidence.batch.chunks import Instances
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings

SETTINGS = Settings(resamples=200)
ROWS = 40


def table(rows=ROWS, **columns):
    """Instances by turns of both predicted classes; a column is a list that repeats, or a value."""

    def whole(value):
        values = value if isinstance(value, list) else [value]
        return [values[row % len(values)] for row in range(rows)]

    usual = {"predicted": [0, 1], "max_weight": 0.6, "length": 5}
    return pl.DataFrame({name: whole(value) for name, value in {**usual, **columns}.items()})


def concluded(check, frame):
    evidence = Instances(frame, ("neg", "pos"), SETTINGS)
    return {finding.subject: finding for finding in CHECKS[check].conclude(evidence)}


def estimate(finding, statistic, subject="weights", group="all"):
    (found,) = (
        e
        for e in finding.estimates
        if (e.statistic, e.subject, e.group) == (statistic, subject, group)
    )
    return found


@pytest.mark.parametrize(
    ("change", "rows", "verdict"),
    [
        ([0.4, 0.6], ROWS, Verdict.PASS),
        ([0.0, 0.02], ROWS, Verdict.FAIL),
        ([0.4, 0.6], 20, Verdict.INCONCLUSIVE),  # too few instances
        (math.nan, ROWS, Verdict.NOT_APPLICABLE),
    ],
)
def test_permutation(change, rows, verdict):
    frame = table(
        rows, drawn=True, median_tvd=change, largest_tvd=change, flip_share=0.25, moved=change
    )
    finding = concluded("permutation", frame)["weights"]
    assert finding.verdict is verdict
    assert finding.headline == estimate(finding, "moved")
    if verdict is not Verdict.NOT_APPLICABLE:
        assert finding.headline.value == pytest.approx(sum(change) / 2)
        assert estimate(finding, "flip_share").value == pytest.approx(0.25)
        by_class = estimate(finding, "median_tvd", group="predicted=pos")
        assert (by_class.value, by_class.n) == (pytest.approx(change[1]), rows // 2)
        same = sum(value <= 0.05 for value in change) / 2
        assert estimate(finding, "same_prediction_share").value == pytest.approx(same)


def test_permutation_counts_equal_weights_apart():
    change = [0.5, math.nan, 0.5, 0.5]
    frame = table(drawn=True, median_tvd=change, flip_share=change, moved=change)
    finding = concluded("permutation", frame)["weights"]
    assert (finding.headline.n, finding.headline.undefined) == (30, 10)
    assert finding.headline.value == pytest.approx(0.5)
    assert estimate(finding, "same_prediction_share").n == 30
    assert any("10 instances have equal weights" in note for note in finding.notes)


@pytest.mark.parametrize(
    ("jsd", "rows", "certified", "verdict"),
    [
        (0.6, ROWS, True, Verdict.FAIL),
        (0.1, ROWS, True, Verdict.PASS),
        (0.1, ROWS, False, Verdict.INCONCLUSIVE),  # what random orders do not find may exist
        (0.6, 20, True, Verdict.INCONCLUSIVE),
        ([0.6, 0.1], ROWS, True, Verdict.INCONCLUSIVE),  # half of them: at the bar
    ],
)
def test_adversary(jsd, rows, certified, verdict):
    more = {"permutation_upper": 0.65} if certified else {}
    frame = table(
        rows, permutation_jsd=jsd, permutation_weights=[[0.5, 0.5]], attainable=0.69, **more
    )
    finding = concluded("adversary", frame)["weights"]
    assert finding.verdict is verdict
    values = jsd if isinstance(jsd, list) else [jsd]
    over = sum(value >= 0.4 for value in values) / len(values)
    assert finding.headline.value == pytest.approx(over)
    assert finding.headline.n == rows
    mean = estimate(finding, "max_jsd", "permutation")
    assert mean.value == pytest.approx(sum(values) / len(values))
    if certified:
        assert estimate(finding, "max_jsd_upper_bound", "permutation").value == pytest.approx(0.65)


def test_adversary_counts_flat_weights_apart():
    frame = table(
        permutation_jsd=[0.6, 0.1],
        permutation_weights=[[0.5, 0.5]],
        permutation_upper=0.65,
        attainable=[0.69, 0.2],
    )
    finding = concluded("adversary", frame)["weights"]
    assert (finding.headline.n, finding.headline.undefined) == (20, 20)
    assert finding.headline.value == 1
    flat = concluded("adversary", frame.with_columns(attainable=pl.lit(0.2)))["weights"]
    assert flat.verdict is Verdict.NOT_APPLICABLE


def agreement(own, mutual, rows=ROWS, chance=0.0):
    """Tau of the weights and of random scores with both yardsticks, and of those two."""
    pairs = {
        "weights~gradient": own,
        "weights~leave_one_out": own,
        "random~gradient": chance,
        "random~leave_one_out": chance,
        "gradient~leave_one_out": mutual,
    }
    columns = {
        f"{kind}.{pair}": value
        for pair, value in pairs.items()
        for kind in ("tau", "significant", "spearman", "top_k")
    }
    return concluded("agreement", table(rows, null_sd=0.3, top_k_null=0.2, **columns))


@pytest.mark.parametrize(
    ("own", "mutual", "rows", "verdict"),
    [
        ([0.7, 0.9], 0.8, ROWS, Verdict.PASS),
        ([0.1, 0.2], 0.8, ROWS, Verdict.FAIL),
        ([0.1, 0.2], 0.05, ROWS, Verdict.INCONCLUSIVE),  # the yardsticks measure two things
        ([0.7, 0.9], 0.8, 10, Verdict.INCONCLUSIVE),
    ],
)
def test_agreement(own, mutual, rows, verdict):
    found = agreement(own, mutual, rows)
    assert set(found) == {"weights", "random"}
    assert found["weights"].verdict is verdict
    assert found["random"].verdict is not Verdict.PASS
    tau = estimate(found["weights"], "kendall_tau", "weights~gradient")
    assert (tau.value, tau.n) == (pytest.approx(sum(own) / 2), rows)
    assert estimate(found["weights"], "top_k_overlap", "weights~gradient").null == pytest.approx(
        0.2
    )
    # the mean of n unrelated orders: 1.96 of its standard deviation
    bound = estimate(found["weights"], "kendall_tau_null_bound", "weights~gradient")
    assert bound.value == pytest.approx(1.959964 * 0.3 / math.sqrt(rows))


def test_agreement_asks_no_more_than_the_yardsticks_share():
    found = agreement(0.35, 0.3)["weights"]
    bar = next(e for e in found.estimates if e.statistic == "agreement_bar")
    assert bar.value == pytest.approx(0.3)
    assert found.verdict is Verdict.PASS


RIVALS = {"gradient": 0.1, "leave_one_out": 0.1, "oracle": 0.2}


def erasure(rows=ROWS, drawn=True, **falls):
    """The weights, random scores and rivals by how far the probability falls when they erase."""
    falls = {"weights": 0.3, "random": 0.1, "null": 0.1, **RIVALS, **falls}
    columns = {
        f"{n}.delete.{m}": v for m, v in falls.items() for n in ("comprehensiveness", "sufficiency")
    }
    columns |= {
        f"{n}.{m}": 0.5 for m in falls for n in ("flip_fraction", "flip_mass", "never_flipped")
    }
    flips = {"delta_js": 0.1, "flip_top": [1.0, 1.0, 0.0, 0.0], "flip_other": [1.0, 0.0]}
    return concluded("erasure", table(rows, drawn=drawn, **columns, **flips))


@pytest.mark.parametrize(
    ("weights", "rival", "rows", "verdict"),
    [
        ([0.29, 0.31], 0.3, ROWS, Verdict.PASS),
        ([0.29, 0.31], 0.5, ROWS, Verdict.FAIL),  # a rival is far ahead
        ([0.07, 0.09], 0.11, ROWS, Verdict.FAIL),  # less than random units
        ([0.0, 0.2], 0.3, ROWS, Verdict.FAIL),  # as random ones, a rival is not
        ([0.29, 0.31], 0.3, 20, Verdict.INCONCLUSIVE),
        (math.nan, 0.3, ROWS, Verdict.NOT_APPLICABLE),
    ],
)
def test_erasure(weights, rival, rows, verdict):
    falls = {"weights": weights, "leave_one_out": rival, "|leave_one_out|": rival}
    found = erasure(rows, **falls, **{"|gradient|": 0.1})
    assert set(found) == {"weights", "random"}
    own = found["weights"]
    assert own.verdict is verdict
    # it plays at home: what it puts ahead is shown and not recommended
    assert own.recommended is None
    assert (own.headline.subject, own.headline.group) == ("weights", "delete")
    if verdict is Verdict.NOT_APPLICABLE:
        return
    mean = sum(weights) / 2
    assert own.headline.value == pytest.approx(mean)
    assert own.headline.null == pytest.approx(0.1)
    gain = estimate(own, "comprehensiveness_over_random", group="delete")
    assert (gain.value, gain.n) == (pytest.approx(mean - 0.1), rows)
    (lead,) = {e.value for e in own.estimates if e.subject == "|leave_one_out|-weights"}
    assert lead == pytest.approx(rival - mean)
    by = {e.subject: e.value for e in own.estimates if e.statistic == "flip_by"}
    assert by == pytest.approx(
        {"both": 0.25, "only the largest": 0.25, "only the other": 0.25, "neither": 0.25}
    )


def test_erasure_is_of_what_was_drawn():
    falls = {"weights": [0.3, 0.9], "|leave_one_out|": 0.3}
    own = erasure(2 * ROWS, [True, False], **falls)["weights"]
    assert own.headline.n == ROWS
    assert own.headline.value == pytest.approx(0.3)


def evidence(weights, rows=ROWS, drawn=True, attained=0.9, **methods):
    """The weights by their AUROC; two of four units are evidence and have 0.8 of the weight."""
    aurocs = {"weights": weights, "random": 0.5, "oracle": 1.0, **methods}
    columns = {
        f"{s}.{m}": v for m, v in aurocs.items() for s in ("auroc", "average_precision", "token_f1")
    }
    columns["attained_truth.weights"] = attained
    columns |= {f"{s}.weights": 0.8 for s in ("mass_on_evidence", "top_one", "lift", "coverage")}
    lists = {"truth": [[1.0, 1.0, 0.0, 0.0]], "scores.weights": [[0.5, 0.3, 0.2, 0.0]]}
    frame = table(rows, drawn=drawn, evidence_share=[0.25, 0.75], **columns, **lists)
    return concluded("ground_truth", frame)


@pytest.mark.parametrize(
    ("weights", "rival", "rows", "verdict", "recommended"),
    [
        ([0.9, 1.0], 0.95, ROWS, Verdict.PASS, None),
        ([0.5, 0.6], 0.5, ROWS, Verdict.FAIL, None),
        ([0.5, 0.6], 0.9, ROWS, Verdict.FAIL, "gradient"),
        ([0.9, 1.0], 0.95, 20, Verdict.INCONCLUSIVE, None),
        (math.nan, 0.9, ROWS, Verdict.NOT_APPLICABLE, None),
    ],
)
def test_ground_truth(weights, rival, rows, verdict, recommended):
    found = evidence(weights, rows, gradient=rival)
    assert set(found) == {"weights", "random", "oracle"}
    own = found["weights"]
    assert (own.verdict, own.recommended) == (verdict, recommended)
    if rows == ROWS:
        assert found["random"].verdict is Verdict.FAIL
        assert found["oracle"].verdict is Verdict.PASS
    assert estimate(own, "pooled_auroc").value == pytest.approx(1.0)
    share = estimate(own, "evidence_share", "truth")
    assert (share.value, share.n) == (pytest.approx(0.5), rows)
    assert estimate(own, "average_precision").null == pytest.approx(0.5)
    assert estimate(own, "mass_on_evidence").value == pytest.approx(0.8)
    if verdict is not Verdict.NOT_APPLICABLE:
        assert own.headline.value == pytest.approx(sum(weights) / 2)
        lead = estimate(own, "auroc_lead", "gradient-weights")
        assert lead.value == pytest.approx(rival - sum(weights) / 2)


@pytest.mark.parametrize(
    ("auroc", "attained", "verdict"),
    [
        (0.95, 0.9, Verdict.PASS),
        (0.95, 0.1, Verdict.FAIL),  # second in rank, and nearly all of the weight is elsewhere
        (0.5, 0.9, Verdict.FAIL),
        (0.95, [0.0, 0.6], Verdict.INCONCLUSIVE),
        (0.95, math.nan, Verdict.PASS),  # evidence everywhere, or equal weights
    ],
)
def test_a_high_rank_without_weight_finds_no_evidence(auroc, attained, verdict):
    assert evidence(auroc, attained=attained)["weights"].verdict is verdict


def test_costly_methods_find_evidence_where_they_were_computed():
    costly = next(name for name, method in METHODS.items() if method.costly)
    own = evidence(0.6, 2 * ROWS, [True, False], **{costly: [0.9, 0.1]})["weights"]
    found = estimate(own, "auroc", costly)
    assert (found.value, found.n) == (pytest.approx(0.9), ROWS)
    assert own.recommended == costly


def test_data_without_evidence_concludes_nothing():
    assert concluded("ground_truth", table()) == {}
