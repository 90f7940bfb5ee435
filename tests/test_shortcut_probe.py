"""Probes of weights, and interventions with weights, against brute force and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attnaudit.checks import leak, swaps, weights_only
from attnaudit.checks.leak import default_mass
from attnaudit.checks.swaps import shortcut_share
from attnaudit.data.generated.shortcut_tasks import HEAD, TAIL, with_defaults
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError
from attnaudit.evidence.judges.calibration import fit_prior, with_prior
from attnaudit.evidence.judges.cells import Judgements
from attnaudit.evidence.judges.interventions import (
    Flips,
    intervene,
    mean_states,
    partners,
    swap,
    without_content,
)
from attnaudit.evidence.judges.probe import (
    DefaultUnits,
    features,
    folds_of,
    linear_null,
    most_common,
    probe,
    probes,
)
from attnaudit.evidence.judges.reading import (
    Reading,
    decode_with,
    equal_rows,
    fitted_to,
    labels_of,
    read,
    rows_of,
)
from attnaudit.findings.balanced import balanced_mean
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import JudgeSettings, Settings
from attnaudit.measures.bootstrap import bootstrap_metric
from attnaudit.models.encoded import Encoded
from tests.toys import dataset, reader

FEW = Settings(resamples=200, judges=JudgeSettings(permutations=100, trees=10))


def leak_of(reading: Reading, settings: Settings = FEW, tokens: tuple[str, ...] = ()) -> Finding:
    """What probes of a reading tell."""
    defaults = DefaultUnits(tokens)
    evidence = Judgements(settings, reading, defaults, tuple(probes(reading, defaults, settings)))
    return leak.conclude(evidence)[0]


def made_reading(rows: list[np.ndarray], labels: np.ndarray, units: list[str] | None = None):
    """A reading whose weights are given, and whose predictions are right."""
    records = tuple(
        text_record(f"r{i}", " ".join(units or [f"w{j}" for j in range(len(row))]), int(label))
        for i, (row, label) in enumerate(zip(rows, labels, strict=True))
    )
    records = tuple(
        replace(r, units=tuple(units or [f"w{j}" for j in range(len(row))]))
        for r, row in zip(records, rows, strict=True)
    )
    said = np.log(np.where(np.eye(2)[labels] > 0, 0.9, 0.1))
    return Reading(Dataset("made", records, ("neg", "pos")), tuple(rows), said)


def drawn(
    n: int, told: float, seed: int = 0, length: int = 6
) -> tuple[list[np.ndarray], np.ndarray]:
    """Random weights whose first one is moved by the label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    logits = rng.normal(size=(n, length))
    logits[:, 0] += told * labels
    weights = np.exp(logits)
    return list(weights / weights.sum(1, keepdims=True)), labels


def test_features_stand_from_both_ends_and_by_size() -> None:
    found = features([np.array([0.1, 0.2, 0.7]), np.array([1.0])], 2)
    assert found.tolist() == [[0.1, 0.2, 0.7, 0.2, 0.7, 0.2], [1, 0, 1, 0, 1, 0]]
    assert features([np.zeros(0)], 4).shape == (1, 3)


@given(arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1)), st.integers(1, 12))
def test_features_of_a_reversed_row_swap_head_and_tail(row: np.ndarray, positions: int) -> None:
    width = min(positions, len(row))
    one = features([row], positions).reshape(3, width)
    other = features([row[::-1]], positions).reshape(3, width)
    assert (one[[1, 0, 2]] == other).all()


def test_the_probe_is_scikit_learns_and_never_sees_its_test_fold() -> None:
    rows, labels = drawn(200, 1.5)
    seen = features(rows, 16)
    found = probe("weights", seen, labels, FEW)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    direct = cross_val_predict(pipeline, seen, labels, cv=folds_of(labels, FEW))
    assert found.right["logistic"].mean() == (direct == labels).mean()
    # one column that is the instance's own number tells nothing of others
    alone = probe(
        "own", np.arange(200)[:, None] * 1.0, np.random.default_rng(1).permutation(labels), FEW
    )
    assert alone.right["forest"].mean() < 0.65


def test_the_null_is_that_of_refits() -> None:
    rows, labels = drawn(60, 4.0)
    seen = features(rows, 4)
    folds = folds_of(labels, FEW)
    value, null = linear_null(seen, labels, folds, FEW)
    rng = np.random.default_rng(FEW.seed)
    for given_labels, found in ((labels, value), (rng.permutation(labels), null[0])):
        right = np.zeros(60, dtype=bool)
        for fitted, tested in folds:
            scaler = StandardScaler().fit(seen[fitted])
            ridge = Ridge(alpha=1.0).fit(scaler.transform(seen[fitted]), given_labels[fitted])
            said = ridge.predict(scaler.transform(seen[tested])) > given_labels[fitted].mean()
            right[tested] = said == given_labels[tested]
        by_class = [right[given_labels == c].mean() for c in (0, 1)]
        assert found == pytest.approx(np.mean(by_class), abs=0.02)  # ties may fall either way
    assert abs(null.mean() - 0.5) < 0.05
    assert value > np.quantile(null, 0.99)


@pytest.mark.parametrize(("told", "verdict"), [(3.0, Verdict.FAIL), (0.0, Verdict.INCONCLUSIVE)])
def test_a_planted_leak_is_found_and_none_is_not(told: float, verdict: Verdict) -> None:
    rows, labels = drawn(300, told)
    finding = leak_of(made_reading(rows, labels))
    assert finding.verdict is verdict
    assert finding.headline is not None
    assert finding.headline.null == 0
    p_value = next(
        e for e in finding.estimates if (e.statistic, e.subject) == ("p_value", "weights, linear")
    )
    assert (p_value.value < 0.02) == (told > 0)


def test_without_a_leak_many_instances_pass() -> None:
    rows, labels = drawn(3000, 0.0, length=3)
    few = JudgeSettings(permutations=100, trees=2)
    finding = leak_of(made_reading(rows, labels), Settings(resamples=200, judges=few))
    assert finding.verdict is Verdict.PASS


def test_a_label_that_lengths_tell_is_no_leak_of_the_weights() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    rows = [np.full(n, 1 / n) for n in np.where(labels == 1, 9, 4) + rng.integers(0, 2, 200)]
    finding = leak_of(made_reading(rows, labels))
    assert finding.verdict is Verdict.PASS
    assert any("number of units" in note for note in finding.notes)


def test_the_larger_class_is_what_a_probe_is_compared_with() -> None:
    rows, labels = drawn(300, 0.0)
    labels = (np.arange(300) % 10 == 0).astype(int)
    finding = leak_of(made_reading(rows, labels))
    accuracy = next(e for e in finding.estimates if e.statistic == "accuracy")
    assert accuracy.null == 0.9
    assert finding.verdict is not Verdict.FAIL


def test_a_leak_of_a_rare_class_is_one() -> None:
    rows, _ = drawn(1000, 0.0)
    labels = (np.arange(1000) % 40 == 0).astype(int)  # 2.5 %: plain accuracy has no room above
    rows = [np.roll(np.eye(6)[0], 2 * int(label)) for label in labels]
    finding = leak_of(made_reading(rows, labels))
    assert finding.verdict is Verdict.FAIL
    assert finding.headline is not None
    assert finding.headline.value == pytest.approx(0.5)


def test_too_few_of_a_class_is_inconclusive() -> None:
    rows, _ = drawn(60, 0.0)
    reading = made_reading(rows, (np.arange(60) == 5).astype(int))
    (finding,) = leak.conclude(Judgements(FEW, reading))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "needs two classes with two instances" in finding.sentence


def test_balanced_means_are_means_of_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400) * rng.integers(0, 2, 400)
    predicted = np.where(rng.random(400) < 0.7, labels, 0)
    found = balanced_mean((predicted == labels) * 1.0, labels, FEW, statistic="s", subject="x")
    assert found.value == pytest.approx(balanced_accuracy_score(labels, predicted))
    direct = bootstrap_metric(labels, predicted, balanced_accuracy_score, resamples=400)
    assert (found.low, found.high) == pytest.approx((direct.low, direct.high), abs=0.02)


def test_mass_on_default_tokens_by_class() -> None:
    units = [HEAD, "a", TAIL]
    rows = [np.array([0.6, 0.3, 0.1]), np.array([0.0, 1.0, 0.0])] * 20
    reading = made_reading(rows, np.array([1, 0] * 20), units)
    evidence = Judgements(FEW, reading, DefaultUnits((HEAD, TAIL)))
    found = {e.group: e.value for e in default_mass(evidence)}
    assert found == pytest.approx({"all": 0.35, "label=neg": 0.0, "label=pos": 0.7})
    assert [row.tolist() for row in DefaultUnits((HEAD,)).rows(reading)[:2]] == [[0.6], [0.0]]
    finding = leak_of(reading, FEW, (HEAD, TAIL))
    assert finding.verdict is Verdict.FAIL
    with pytest.raises(DataError, match=r"one of the default tokens \[none\];"):
        DefaultUnits((HEAD, "[none]")).check(reading.data)


def test_folds_need_two_classes() -> None:
    with pytest.raises(DataError, match="two classes"):
        folds_of(np.zeros(5, dtype=int), FEW)
    with pytest.raises(DataError, match="two instances"):
        folds_of(np.array([0, 0, 0, 1]), FEW)
    assert len(folds_of(np.array([0] * 9 + [1] * 3), FEW)) == 3
    assert most_common(np.array([2, 1, 1])) == 1


def test_reading_does_not_depend_on_batches() -> None:
    model, data = reader(), dataset(30)
    one, other = read(model, data), read(model, data, budget=13)
    assert np.allclose(one.log_probabilities, other.log_probabilities, atol=1e-6)
    for record, row, said in zip(data, one.weights, one.log_probabilities, strict=True):
        batch = model.collate([record])
        encoded = Encoded(model, batch)
        assert np.allclose(row, rows_of(encoded.weights, encoded.units)[0], atol=1e-6)
        assert np.allclose(said, encoded.outputs[0].numpy(), atol=1e-6)
    again = decode_with(model, data.records, one.weights, budget=20)
    assert np.allclose(again, one.log_probabilities, atol=1e-5)
    equal = decode_with(model, data.records, equal_rows(one.lengths.tolist()))
    assert not np.allclose(equal, one.log_probabilities, atol=1e-3)


def test_weights_must_fit_their_record() -> None:
    model, data = reader(), dataset(3)
    with pytest.raises(DataError, match="units but 99 weights"):
        decode_with(model, data.records, [np.zeros(99)] * 3)
    with pytest.raises(DataError, match="no records"):
        read(model, data.select(()))
    unlabelled = data.select([replace(data.records[0], label=None)])
    with pytest.raises(DataError, match="has no label"):
        labels_of(unlabelled)


@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(0.01, 1)), st.integers(1, 12))
def test_fitted_rows_keep_ratios_and_sum_to_one(row: np.ndarray, length: int) -> None:
    found = fitted_to(row / row.sum(), length)
    kept = min(len(row), length)
    assert found.sum() == pytest.approx(1)
    assert (found[kept:] == 0).all()
    assert found[:kept] == pytest.approx(row[:kept] / row[:kept].sum())


def test_nothing_left_of_a_row_is_undefined() -> None:
    assert np.isnan(fitted_to(np.array([0.0, 1.0]), 1)).all()


def test_partners_are_of_the_right_class_and_nearest_length() -> None:
    rng = np.random.default_rng(3)
    lengths, predicted = rng.integers(1, 9, 40), rng.integers(0, 3, 40)
    for same in (True, False):
        found = partners(lengths, predicted, rng, same=same)
        for i, j in enumerate(found):
            assert i != j
            assert (predicted[i] == predicted[j]) == same
            fits = [k for k in range(40) if k != i and (predicted[k] == predicted[i]) == same]
            assert abs(lengths[i] - lengths[j]) == min(abs(lengths[i] - lengths[k]) for k in fits)
    assert partners(np.array([2, 3]), np.array([0, 1]), rng, same=True).tolist() == [0, 1]


def test_swaps_are_forward_passes_with_a_partner() -> None:
    model, data = reader(scale=3.0), dataset(40, shortest=5, longest=5)
    reading = read(model, data)
    rng = np.random.default_rng(FEW.seed)
    other = partners(reading.lengths, reading.predicted, rng, same=False)
    flips = swap(model, reading, FEW)
    for i, j in enumerate(other):
        own, partner = model.collate([data.records[i]]), model.collate([data.records[j]])
        with torch.no_grad():
            states, elsewhere = model.encode(own), model.encode(partner)
            by_weights = model.decode(states, model.attend(elsewhere)).argmax(-1).item()
            by_content = model.decode(elsewhere, model.attend(states)).argmax(-1).item()
        assert flips.other[i] == (by_weights != reading.predicted[i])
        assert flips.content[i] == (by_content != reading.predicted[i])
    moved = intervene(model, reading, FEW)
    (finding,) = swaps.conclude(Judgements(FEW, reading, moved=moved))
    shown = {e.subject: e.value for e in finding.estimates if e.statistic == "flip_share"}
    assert shown["weights of another class"] == pytest.approx(flips.other.mean())


def test_one_predicted_class_has_nothing_to_swap() -> None:
    rows, _ = drawn(20, 0.0)
    reading = made_reading(rows, np.zeros(20, dtype=int))
    moved = intervene(reader(), reading, FEW)
    (finding,) = swaps.conclude(Judgements(FEW, reading, moved=moved))
    assert finding.verdict is Verdict.NOT_APPLICABLE


def test_the_shortcut_share_counts_flips() -> None:
    nan = np.nan
    flips = Flips(np.array([1.0, 1, 0, nan]), np.zeros(4), np.array([1.0, 0, 0, 1]), np.zeros(4))
    found = shortcut_share(flips, FEW)
    assert (found.value, found.n, found.undefined) == (pytest.approx(2 / 3), 3, 1)
    none = shortcut_share(Flips(np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)), FEW)
    assert none.value is None


def test_without_content_every_text_of_equal_weights_is_alike() -> None:
    model, data = reader(), dataset(24, shortest=4, longest=4)
    reading = read(model, data, budget=20)
    means = mean_states(model, reading, FEW)
    hidden = [model.encode(model.collate([r])).hidden[0].detach().double() for r in data]
    assert torch.allclose(means.constant, torch.cat(hidden).mean(0), atol=1e-5)
    # what has more than an even share of the weight may be the evidence, and is left out
    low = torch.from_numpy(np.stack(reading.weights)) <= 0.25
    for place, mean in ((1, means.head[1]), (3, means.tail[0])):
        assert 0 < low[:, place].sum() < len(data)
        assert torch.allclose(mean, torch.stack(hidden)[low[:, place], place].mean(0), atol=1e-5)
    for by_position in (True, False):
        said = decode_with(
            model, data.records, equal_rows([4] * 24), change=without_content(means, by_position)
        )
        assert np.allclose(said, said[0], atol=1e-6)
    moved = intervene(model, reading, FEW)
    (finding,) = weights_only.conclude(Judgements(FEW, reading, moved=moved))
    constant = finding.estimates[0]
    # this decoder sums: with one vector everywhere all weights are alike
    assert (constant.value, constant.low, constant.high) == (0, 0, 0)


def test_a_prior_is_fitted_by_likelihood() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    logit = 2.0 * labels - 1 + rng.normal(size=4000)  # its true log-odds are 2 · logit
    shifted = np.stack([np.zeros(4000), logit - 3.0], axis=1)
    said = shifted - np.logaddexp(0, shifted[:, 1])[:, None]
    prior = fit_prior(said, labels)
    assert np.exp(prior[0]) == pytest.approx(2.0, rel=0.15)
    assert prior[2] - prior[1] == pytest.approx(6.0, rel=0.15)
    right = (with_prior(said, prior).argmax(1) == labels).mean()
    assert right == pytest.approx(((logit > 0) == labels).mean(), abs=0.01)
    assert right > (said.argmax(1) == labels).mean() + 0.2


def test_default_tokens_stand_at_both_ends() -> None:
    data = with_defaults(dataset(4))
    reading = read(reader(), data)
    assert all(len(row) == 2 for row in DefaultUnits((HEAD, TAIL)).rows(reading))


def test_a_class_that_is_ruled_out_stays_so() -> None:
    said = np.log([[0.7, 0.3, 1e-300], [0.2, 0.8, 1e-300]] * 20)
    said[:, 2] = -np.inf
    prior = fit_prior(said, np.array([0, 1] * 20))
    assert np.isfinite(prior).all()
    assert (with_prior(said, prior).argmax(1) == np.array([0, 1] * 20)).all()
