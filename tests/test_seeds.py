"""Silent failures: layout, grading, rates, agreement, ensembles, against plain loops and SciPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from attnaudit.checks.ensembles import ensemble_finding
from attnaudit.checks.seed_agreement import agreement_finding, chance_divergence, pair_agreement
from attnaudit.checks.silent_failures import silent_finding
from attnaudit.data.bags.generated import generate_bags
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.errors import DataError, NotApplicable, SettingsError
from attnaudit.evidence.seeds.ceilings import Ceilings, known_ceilings
from attnaudit.evidence.seeds.ensembles import ensemble_rows, rank_weights
from attnaudit.evidence.seeds.evidence import gate
from attnaudit.evidence.seeds.grades import (
    EnsembleRow,
    Grade,
    accurate,
    bars_in_force,
    chosen_on_dev,
    curve_of,
    kind_of,
    places_of,
)
from attnaudit.evidence.seeds.grading import grade, reference_weights, supervised_scores
from attnaudit.evidence.seeds.layout import lay_out
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.measures.bootstrap import wilson_interval

SETTINGS = Settings()
FORCE = bars_in_force(SETTINGS, Ceilings())


@pytest.fixture(scope="module")
def test_bags() -> BagDataset:
    return generate_bags("conjunction", "gaussian", 60, split="test", delta=4.0)


def weights_of(data: BagDataset, seed: int, truth_part: float) -> torch.Tensor:
    """Weights that sum to 1 in each bag, partly the truth and partly chance."""
    rng = np.random.default_rng(seed)
    parts = []
    for bag in data:
        raw = torch.from_numpy(rng.random(len(bag))) + truth_part * bag.truth.double()
        parts.append((raw / raw.sum()).float())
    return torch.cat(parts)


def rows_of(aurocs: list[float], auc: float = 0.95, top: float = 0.5) -> tuple[Grade, ...]:
    rows = [
        Grade(subject=f"seed {i}", seed=i, roc_auc=auc, auroc=a, top_one=top)
        for i, a in enumerate(aurocs)
    ]
    return tuple(r.model_copy(update={"kind": kind_of(r, FORCE, SETTINGS)}) for r in rows)


# --- grading


def test_grades_are_those_of_plain_loops(test_bags: BagDataset) -> None:
    layout, weights = lay_out(test_bags), weights_of(test_bags, 0, 0.5)
    row = grade("seed 0", layout, weights)
    parts = torch.split(weights, [len(bag) for bag in test_bags])
    areas, precisions, tops, masses, covers, least = [], [], [], [], [], []
    for bag, part in zip(test_bags, parts, strict=True):
        keys, w = bag.truth.numpy(), part.double().numpy()
        kinds = bag.key_types.numpy()
        if {1, 2} <= set(kinds.tolist()):
            each = [w[kinds == k].sum() for k in (1, 2)]
            least.append(min(each) / sum(each))
        if keys.all() or not keys.any():
            continue
        areas.append(roc_auc_score(keys, w))
        precisions.append(average_precision_score(keys, w))
        tops.append(keys[w.argmax()])
        masses.append(w[keys].sum())
        covers.append((w[keys] > 1 / len(w)).mean())
    assert row.bags == len(areas)
    assert row.auroc == pytest.approx(np.mean(areas))
    assert row.average_precision == pytest.approx(np.mean(precisions))
    assert row.top_one == pytest.approx(np.mean(tops))
    assert row.mass == pytest.approx(np.mean(masses), abs=1e-6)
    assert row.coverage == pytest.approx(np.mean(covers))
    assert row.least_type_share == pytest.approx(np.mean(least), abs=1e-6)
    truth = torch.cat([bag.truth for bag in test_bags])
    assert row.pooled_auroc == pytest.approx(roc_auc_score(truth, weights))
    assert sum(bags for _, _, bags in row.by_label.values()) == row.bags
    assert row.roc_auc is None


def test_only_the_bags_of_a_class_are_graded(test_bags: BagDataset) -> None:
    weights = weights_of(test_bags, 1, 0.3)
    row = grade("seed", lay_out(test_bags), weights)
    positive = grade("seed", lay_out(test_bags, ("positive",)), weights)
    assert positive.auroc == pytest.approx(row.by_label["positive"][0])
    assert positive.bags == row.by_label["positive"][2] < row.bags
    with pytest.raises(SettingsError, match="classes are negative, positive"):
        lay_out(test_bags, ("other",))


def test_random_oracle_and_supervised(test_bags: BagDataset) -> None:
    train = generate_bags("conjunction", "gaussian", 60, split="train", delta=4.0)
    layout = lay_out(test_bags)
    given, notes = reference_weights(layout, train, test_bags)
    rows = {name: grade(name, layout, weights) for name, weights in given.items()}
    assert not notes
    assert rows["oracle"].auroc == 1.0
    assert rows["oracle"].mass == 1.0
    assert rows["random"].auroc == pytest.approx(0.5, abs=0.08)
    assert rows["supervised"].auroc > 0.95
    again, _ = reference_weights(layout, train, test_bags)
    assert torch.equal(again["random"], given["random"])


def test_training_bags_without_truth_have_no_supervised_row(test_bags: BagDataset) -> None:
    bags = [replace(bag, truth=None, key_types=None) for bag in test_bags]
    blind = test_bags.select(bags)
    with pytest.raises(NotApplicable, match="do not say which instances"):
        supervised_scores(blind, test_bags)
    given, notes = reference_weights(lay_out(test_bags), blind, test_bags)
    assert set(given) == {"random", "oracle"}
    assert len(notes) == 1
    layout = lay_out(blind)
    assert not layout.has_truth
    assert reference_weights(layout, blind, blind) == ({}, ())
    assert grade("seed", layout, weights_of(test_bags, 0, 0.5)).auroc is None


def test_bags_of_one_instance_all_keys_or_none() -> None:
    bags = (
        bag_record("one", [[0.0]], 1, [True]),
        bag_record("none", [[0.0], [1.0]], 0, [False, False]),
        bag_record("same", [[1.0]] * 4, 1, [True, False, False, False]),
        bag_record("unknown", [[1.0], [2.0]], 0),
    )
    layout = lay_out(BagDataset("odd", bags, ("no", "yes"), (1,)))
    row = grade("equal", layout, torch.cat([torch.full((n,), 1 / n) for n in (1, 2, 4, 2)]))
    assert row.bags == 1  # only one bag has keys and others
    assert (row.auroc, row.top_one, row.lift, row.coverage) == (0.5, 0.25, 1.0, 0.0)


def test_unusable_bags() -> None:
    with pytest.raises(DataError, match="no classes"):
        lay_out(BagDataset("q", (bag_record("a", [[0.0]], 0.5),), (), (1,)))
    with pytest.raises(DataError, match="bag 'a' has no label"):
        lay_out(BagDataset("q", (bag_record("a", [[0.0]]),), ("x", "y"), (1,)))


# --- rates


def test_kinds() -> None:
    def kind(auc: float | None, area: float | None, top: float = 0.5, **more: object) -> str | None:
        row = Grade(subject="s", roc_auc=auc, auroc=area, top_one=top, **more)
        return kind_of(row, FORCE, SETTINGS)

    assert kind(0.89, 0.2) == "inaccurate"
    assert kind(0.90, 0.80) == "fine"
    assert kind(0.95, 0.49, top=0.95) == "inverted"
    assert kind(0.95, 0.79, top=0.95) == "coverage"
    assert kind(0.95, 0.79) == "other"
    assert kind(0.95, 0.79, by_label={"yes": (0.7, 0.9, 5)}) == "coverage"
    assert kind(0.95, None) is None
    assert kind(None, 0.4) is None


def test_bars_follow_the_ceilings() -> None:
    assert FORCE == {"bag": 0.9, "instance": 0.8}
    low = bars_in_force(SETTINGS, Ceilings(instance=0.856, bag=0.73))
    assert low == {"bag": 0.68, "instance": 0.756, "relative": 0.756}
    high = bars_in_force(SETTINGS, Ceilings(instance=0.983, bag=0.99))
    assert high == {"bag": 0.9, "instance": 0.8, "relative": 0.883}
    assert "relative" not in bars_in_force(SETTINGS, Ceilings(instance=1.0))


def test_rates_have_wilsons_interval_over_accurate_seeds() -> None:
    rows = rows_of([0.4, 0.6, 0.7] + [0.95] * 18) + rows_of([0.1, 0.1], auc=0.6)
    finding = silent_finding(rows, FORCE, SETTINGS, good=True)
    expected = wilson_interval(3, 21)
    assert finding.verdict is Verdict.FAIL
    headline = finding.headline
    assert headline is not None
    assert (headline.value, headline.low, headline.high, headline.n) == (
        expected.value,
        expected.low,
        expected.high,
        21,
    )
    everyone = next(e for e in finding.estimates if e.subject == "all seeds")
    assert everyone.value == pytest.approx(3 / 23)
    assert "3 of 21 accurate seeds fail silently" in finding.sentence
    assert "1 inverted, 2 otherwise" in finding.sentence


def test_no_failure_is_told_with_the_rule_of_three() -> None:
    many = silent_finding(rows_of([0.95] * 30), FORCE, SETTINGS, good=True)
    assert many.verdict is Verdict.PASS
    assert "rates up to 10% cannot be excluded (3 / 30)" in many.sentence
    few = silent_finding(rows_of([0.95] * 8), FORCE, SETTINGS, good=True)
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "cannot speak about rare events" in few.sentence


def test_few_seeds_that_fail_are_a_failure_with_a_note() -> None:
    finding = silent_finding(rows_of([0.5, 0.95, 0.95, 0.95, 0.95]), FORCE, SETTINGS, good=True)
    assert finding.verdict is Verdict.FAIL
    assert "20 or more are needed" in finding.notes[0]


def test_seeds_that_do_not_do_their_task_are_not_audited() -> None:
    rows = rows_of([0.3] * 20, auc=0.6) + rows_of([0.3] * 4)
    first = gate(rows, FORCE, SETTINGS)
    assert first.verdict is Verdict.FAIL
    assert "not good enough to audit: 4 of 24 seeds" in first.sentence
    finding = silent_finding(rows, FORCE, SETTINGS, good=False)
    assert finding.verdict is Verdict.NOT_APPLICABLE
    assert finding.headline is None
    assert gate(rows_of([0.9] * 5), FORCE, SETTINGS).verdict is Verdict.PASS


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_few_seeds_decide_nothing(seeds: int) -> None:
    for auc in (0.95, 0.5):
        first = gate(rows_of([0.9] * seeds, auc=auc), FORCE, SETTINGS)
        assert first.verdict is Verdict.INCONCLUSIVE
        assert first.sentence.startswith("Not enough seeds:")
        assert f"of {seeds} seeds reach" in first.sentence


def test_a_seed_without_bag_auc_is_never_accurate() -> None:
    rows = (Grade(subject="a", roc_auc=None, auroc=0.9), Grade(subject="b", roc_auc=0.0, auroc=0.9))
    open_bar = {"bag": 0.0, "instance": 0.8}
    assert places_of(rows, open_bar) == [1]
    assert [row.subject for row in accurate(rows, open_bar)] == ["b"]


def test_saved_seeds_are_chosen_on_development_bags() -> None:
    rows = (
        Grade(subject="a", roc_auc=0.99, dev_roc_auc=0.7),
        Grade(subject="b", roc_auc=0.60, dev_roc_auc=0.95),
        Grade(subject="c", roc_auc=0.99, dev_roc_auc=None),
    )
    assert chosen_on_dev(rows, FORCE) == [1]


def test_nulls_are_those_of_random_weights() -> None:
    rows = rows_of([0.9] * 6)
    chance = Grade(
        subject="random",
        auroc=0.49,
        average_precision=0.3,
        top_one=0.2,
        mass=0.25,
        coverage=0.5,
        least_type_share=0.4,
    )
    nulls = {
        e.statistic: e.null for e in silent_finding(rows, FORCE, SETTINGS, True, chance).estimates
    }
    assert (nulls["average_precision"], nulls["top_one"]) == (0.3, 0.2)
    assert (nulls["mass"], nulls["coverage"], nulls["least_type_share"]) == (0.25, 0.5, 0.4)
    assert (nulls["auroc"], nulls["lift"]) == (0.5, 1.0)


def test_the_curve_counts_seeds_below_each_bar() -> None:
    points = curve_of(rows_of([0.4, 0.6, 0.8, 1.0]), FORCE)
    shares = {p.bar: p.share for p in points}
    assert shares[0.0] == 0.0
    assert shares[0.5] == 0.25
    assert shares[0.8] == 0.5  # below 0.8, not at it
    assert shares[1.0] == 0.75
    assert [p.share for p in points] == sorted(p.share for p in points)
    assert all(p.low <= p.share <= p.high for p in points)
    assert curve_of(rows_of([0.5], auc=0.5), FORCE) == ()


def test_ceilings_are_known_for_gaussian_bags_of_one_type() -> None:
    test = generate_bags("conjunction", "gaussian", 20, delta=2.0)
    assert known_ceilings("conjunction", "gaussian", test, delta=2.0) == Ceilings()
    motifs = generate_bags("presence", "motifs", 4)
    assert known_ceilings("presence", "motifs", motifs) == Ceilings(instance=1.0)


# --- agreement


def test_agreement_is_scipys_spearman(test_bags: BagDataset) -> None:
    weights = torch.stack([weights_of(test_bags, s, 0.5) for s in range(3)])
    layout = lay_out(test_bags)
    found = pair_agreement(weights, layout)
    parts = [torch.split(row, layout.sizes.tolist()) for row in weights]
    for bag in (0, 17, 59):
        pairs = [(0, 1), (0, 2), (1, 2)]
        expected = np.mean([spearmanr(parts[a][bag], parts[b][bag])[0] for a, b in pairs])
        assert float(found["spearman"][bag]) == pytest.approx(expected)
        tops = np.mean([int(parts[a][bag].argmax() == parts[b][bag].argmax()) for a, b in pairs])
        assert float(found["same_top"][bag]) == pytest.approx(tops)


def test_agreement_decides_without_instance_labels(test_bags: BagDataset) -> None:
    blind = test_bags.select([replace(b, truth=None, key_types=None) for b in test_bags])
    layout, places = lay_out(blind), range(5)
    same = torch.stack([weights_of(test_bags, 0, 1.0)] * 5)
    finding = agreement_finding(same, layout, places, SETTINGS)
    assert finding.verdict is Verdict.PASS
    assert finding.headline is not None
    assert finding.headline.value == pytest.approx(1.0)
    chance = torch.stack([weights_of(test_bags, s, 0.0) for s in range(5)])
    finding = agreement_finding(chance, layout, places, SETTINGS)
    assert finding.verdict is Verdict.FAIL
    assert finding.headline.value < 0.3
    assert finding.headline.null == pytest.approx(float((1 / layout.sizes.double()).mean()))
    by = {e.statistic: e for e in finding.estimates if e.group == "accurate"}
    # weights drawn by chance diverge as much as those in random order
    assert by["jsd"].value == pytest.approx(by["jsd"].null, rel=0.1)
    pair = agreement_finding(same[:2], layout, [0, 1], Settings(bars={"least_accurate": 1}))
    assert pair.verdict is Verdict.INCONCLUSIVE
    alone = agreement_finding(chance[:1], layout, [0], SETTINGS)
    assert alone.verdict is Verdict.NOT_APPLICABLE
    nobody = agreement_finding(chance, layout, [], SETTINGS, good=False)
    assert nobody.verdict is Verdict.NOT_APPLICABLE


def test_divergence_by_chance_is_that_of_weights_in_random_order(test_bags: BagDataset) -> None:
    layout = lay_out(test_bags)
    weights = torch.stack([weights_of(test_bags, 0, 3.0)] * 2)
    rng = np.random.default_rng(0)
    expected = []
    for part in torch.split(weights[0], layout.sizes.tolist()):
        p = part.double().numpy()
        for _ in range(50):
            expected.append(jensenshannon(p, rng.permutation(p)) ** 2)
    found = [chance_divergence(weights, layout, seed) for seed in range(20)]
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.05)
    assert chance_divergence(weights[:1], layout) is None


# --- ensembles


def ensemble(
    members: int,
    *,
    silent: float | None = 0.0,
    accurate: float = 1.0,
    subsets: int = 9,
    worst: float = 0.9,
) -> EnsembleRow:
    low, high = (None, None) if silent is None else (0.0, 1.0)
    return EnsembleRow(
        average="weights",
        members=members,
        subsets=subsets,
        every=False,
        mean=0.95,
        worst=worst,
        accurate=accurate,
        silent=silent,
        silent_low=low,
        silent_high=high,
        disjoint=2,
    )


SINGLE = ensemble(1, silent=0.4, worst=0.4)


@pytest.mark.parametrize(
    ("rows", "verdict", "said"),
    [
        ((ensemble(6), ensemble(8)), Verdict.PASS, "No accurate ensemble of 6 or 8 seeds was a"),
        ((ensemble(2), ensemble(4)), Verdict.INCONCLUSIVE, "not measured: that takes 7 seeds"),
        ((ensemble(3), ensemble(6, subsets=1)), Verdict.INCONCLUSIVE, "that takes 7 seeds"),
        (
            (ensemble(6), ensemble(8, silent=0.1)),
            Verdict.INCONCLUSIVE,
            "ensembles of 8 seeds there",
        ),
        ((ensemble(6, silent=None, accurate=0.0),), Verdict.INCONCLUSIVE, "Of 6 seeds too few"),
        ((ensemble(6), ensemble(8, accurate=0.2)), Verdict.INCONCLUSIVE, "Of 8 seeds too few"),
        ((ensemble(6), ensemble(8, worst=0.3)), Verdict.FAIL, "ensembles of 8 seeds has"),
    ],
)
def test_the_verdict_rests_on_accurate_ensembles_of_six_or_more(
    rows: tuple[EnsembleRow, ...], verdict: Verdict, said: str
) -> None:
    finding = ensemble_finding((SINGLE, *rows), SETTINGS, good=True)
    assert finding.verdict is verdict
    assert said in finding.sentence


def test_the_finding_names_the_sizes_that_were_measured() -> None:
    ensembles = (SINGLE, ensemble(4), ensemble(6), ensemble(8), ensemble(21, subsets=1))
    finding = ensemble_finding(ensembles, SETTINGS, good=True)
    assert "No accurate ensemble of 6, 8 or 21 seeds was a silent failure." in finding.sentence
    small = ensemble_finding(ensembles[:2], SETTINGS, good=True)
    assert "No accurate ensemble" not in small.sentence


def test_the_weights_of_one_run_are_not_to_be_shown_where_seeds_fail() -> None:
    advice = "Do not show the weights of a single training run."
    failed = silent_finding(rows_of([0.4] + [0.95] * 20), FORCE, SETTINGS, good=True)
    assert failed.sentence.endswith(advice)
    assert advice not in silent_finding(rows_of([0.95] * 21), FORCE, SETTINGS, good=True).sentence


def test_bars_of_ensembles_can_be_changed() -> None:
    rows = (SINGLE, ensemble(3), ensemble(4))
    assert ensemble_finding(rows, SETTINGS, good=True).verdict is Verdict.INCONCLUSIVE
    lower = ensemble_finding(rows, Settings(bars={"settled": 3}), good=True)
    assert lower.verdict is Verdict.PASS
    assert lower.thresholds["settled"] == 3


def test_silent_shares_are_of_accurate_ensembles(test_bags: BagDataset) -> None:
    layout = lay_out(test_bags, ("positive",))
    weights = one_sided(test_bags, [1, 2, 1, 2])
    right = torch.zeros(len(test_bags), 2)
    right[layout.labels.bool(), 1] = right[~layout.labels.bool(), 0] = 2.0
    # the first two seeds do their task, the others give the opposite
    outputs = torch.log_softmax(torch.stack([right, right, -right, -right]), -1)
    rows = ensemble_rows(weights, outputs, layout, FORCE | {"instance": 1.0})
    single = next(r for r in rows if r.average == "weights" and r.members == 1)
    assert (single.accurate, single.silent) == (0.5, 1.0)
    wrong = ensemble_rows(weights[2:], outputs[2:], layout, FORCE)
    assert all(r.accurate == 0.0 and r.silent is None for r in wrong)
    assert ensemble_finding(wrong, SETTINGS, good=True).verdict is not Verdict.PASS


def one_sided(data: BagDataset, kinds: list[int]) -> torch.Tensor:
    """Seeds that look at one type of keys each, and at the other by chance."""
    rows = []
    for seed, kind in enumerate(kinds):
        rng = np.random.default_rng(seed)
        parts = []
        for bag in data:
            raw = 0.01 * torch.from_numpy(rng.random(len(bag))) + (bag.key_types == kind).double()
            parts.append((raw / raw.sum()).float())
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def test_ensembles_cure_seeds_that_look_at_one_type_each(test_bags: BagDataset) -> None:
    layout = lay_out(test_bags, ("positive",))
    weights = one_sided(test_bags, [1, 2] * 4)
    outputs = torch.zeros(8, len(test_bags), 2)
    chosen = layout.labels.bool()
    outputs[:, chosen, 1], outputs[:, ~chosen, 0] = 2.0, 2.0
    rows = ensemble_rows(weights, torch.log_softmax(outputs, -1), layout, FORCE)
    by = {(r.average, r.members): r for r in rows}
    single, everyone = by["weights", 1], by["weights", 8]
    assert (single.subsets, single.every, single.disjoint) == (8, True, 8)
    assert single.roc_auc == 1.0
    assert single.worst < 0.85 < 0.99 < everyone.mean
    each = [grade("seed", layout, row).auroc for row in weights]
    assert single.mean == pytest.approx(np.mean(each))
    assert single.worst == pytest.approx(min(each))
    # pairs of both types are cured, pairs of one are not
    assert by["weights", 2].worst < 0.9 < by["weights", 6].worst
    six = [r for r in rows if r.members == 6]
    assert six[0].subsets == math.comb(8, 6)
    finding = ensemble_finding(rows, SETTINGS, good=True)
    assert finding.verdict is Verdict.PASS
    assert finding.headline is not None
    assert finding.headline.value == pytest.approx(six[0].worst - single.worst)
    assert ensemble_finding(rows, SETTINGS, good=False).verdict is Verdict.NOT_APPLICABLE


def test_an_ensemble_of_equal_seeds_changes_nothing(test_bags: BagDataset) -> None:
    weights = one_sided(test_bags, [1]).repeat(4, 1)
    outputs = torch.log_softmax(torch.randn(1, len(test_bags), 2), -1).repeat(4, 1, 1)
    rows = ensemble_rows(weights, outputs, lay_out(test_bags), FORCE)
    means = [r.mean for r in rows if r.average == "weights"]
    assert means == pytest.approx([means[0]] * len(means))
    assert ensemble_finding(rows, SETTINGS, good=True).headline.value == pytest.approx(0.0)
    together = [r.agreement for r in rows if r.agreement is not None]
    assert together == pytest.approx([1.0] * len(together))


def test_without_truth_ensembles_are_compared_with_each_other(test_bags: BagDataset) -> None:
    blind = test_bags.select([replace(b, truth=None, key_types=None) for b in test_bags])
    weights = torch.stack([weights_of(test_bags, s, 0.5) for s in range(8)])
    outputs = torch.log_softmax(torch.randn(8, len(test_bags), 2), -1)
    rows = ensemble_rows(weights, outputs, lay_out(blind), FORCE)
    assert all(r.mean is None and r.silent is None for r in rows)
    by = {(r.average, r.members): r.agreement for r in rows}
    assert by["weights", 4] > by["weights", 1] + 0.2
    finding = ensemble_finding(rows, SETTINGS, good=True)
    assert finding.verdict is Verdict.NOT_APPLICABLE
    assert "agree at Spearman" in finding.sentence


def test_ranks_as_weights(test_bags: BagDataset) -> None:
    layout, weights = lay_out(test_bags), weights_of(test_bags, 0, 0.5).unsqueeze(0)
    ranks = rank_weights(weights, layout)
    for w, r in zip(
        torch.split(weights[0], layout.sizes.tolist()),
        torch.split(ranks[0], layout.sizes.tolist()),
        strict=True,
    ):
        assert float(r.sum()) == pytest.approx(1.0)
        assert w.argsort().tolist() == r.argsort().tolist()
