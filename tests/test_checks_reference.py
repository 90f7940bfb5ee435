"""What the checks measure, against plain loops over single texts."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import kendalltau

from attnaudit.attribution import METHODS, Options
from attnaudit.checks.adversary import ADVERSARY
from attnaudit.checks.agreement import AGREEMENT
from attnaudit.checks.declaration import Check
from attnaudit.checks.erasure import ERASURE, NULL
from attnaudit.checks.ground_truth import GROUND_TRUTH
from attnaudit.checks.permutation import PERMUTATION
from attnaudit.data.records import Text
from attnaudit.data.texts.tokens import text_record
from attnaudit.evidence.batch.chunks import Batch
from attnaudit.evidence.batch.view import Columns, View
from attnaudit.findings.settings import EPSILON, Settings
from attnaudit.measures.drift import fit_drift
from attnaudit.models.encoded import Encoded
from attnaudit.models.wrapped.model import WrappedModel
from tests.toys import reader, sentences

SETTINGS = Settings(permutations=30, fractions=(0.1, 0.3, 0.5), token_budget=100)


def view_of(model: WrappedModel, records: list[Text], chosen: np.ndarray | None = None) -> View:
    encoded = Encoded(model, model.collate(records), trace=True)
    flags = np.ones(len(records), bool) if chosen is None else chosen
    return View(encoded, records, SETTINGS, flags, None)


def measured(check: Check, view: View) -> Columns:
    """What the check measures on a batch."""
    assert isinstance(check.asks, Batch)
    assert check.asks.measure is not None
    return check.asks.measure(view)


@pytest.fixture(scope="module", params=[2, 3], ids=["two classes", "three classes"])
def case(request: pytest.FixtureRequest) -> tuple[WrappedModel, list[Text], View]:
    model = reader(request.param, scale=3.0)
    records = sentences(14, seed=4, shortest=2, longest=11)
    return model, records, view_of(model, records)


def alone(model: WrappedModel, units: list[str]) -> torch.Tensor:
    """The model's probabilities for a text of these units."""
    return model.forward(model.collate([text_record("x", " ".join(units))]))[0].exp().detach()


def test_agreement_is_scipy_on_each_text(case: tuple[WrappedModel, list[Text], View]) -> None:
    _, records, view = case
    columns = measured(AGREEMENT, view)
    for row, record in enumerate(records):
        n = len(record.units)
        weights = view.scores("weights")[row, :n].numpy()
        for name in ("gradient", "leave_one_out"):
            expected = kendalltau(weights, view.scores(name)[row, :n].abs().numpy())
            assert columns[f"tau.weights~{name}"][row] == pytest.approx(expected.statistic)
            assert columns[f"significant.weights~{name}"][row] == float(expected.pvalue <= 0.05)


def test_permutation_is_a_loop_of_decodes(case: tuple[WrappedModel, list[Text], View]) -> None:
    model, records, view = case
    columns = measured(PERMUTATION, view)
    shuffled, _ = view.permutations
    for row, record in enumerate(records):
        states = model.encode(model.collate([record]))
        own = model.decode(states, model.attend(states))[0].exp()
        changes = []
        for order in shuffled[row, :, : len(record.units)]:
            assert torch.allclose(
                order.sort().values, view.encoded.weights[row][: len(record.units)].sort().values
            )
            output = model.decode(states, order.unsqueeze(0))[0].exp()
            changes.append(0.5 * float((output - own).abs().sum().detach()))
        assert columns["median_tvd"][row] == pytest.approx(np.median(changes), abs=1e-5)
        assert columns["largest_tvd"][row] == pytest.approx(max(changes), abs=1e-5)


@pytest.mark.parametrize("method", ["weights", "leave_one_out", "|leave_one_out|", "random"])
def test_erasure_is_a_loop_over_shorter_texts(
    case: tuple[WrappedModel, list[Text], View], method: str
) -> None:
    model, records, view = case
    columns = measured(ERASURE, view)
    scores = view.scores(method.strip("|"))
    scores = scores.abs() if method.startswith("|") else scores
    for row, record in enumerate(records):
        units, n = list(record.units), len(record.units)
        target = int(view.encoded.predicted[row])
        whole = float(alone(model, units)[target])
        order = np.argsort(-scores[row, :n].numpy(), kind="stable")
        falls: dict[str, list[float]] = {"comprehensiveness": [], "sufficiency": []}
        for fraction in SETTINGS.fractions:
            top = set(order[: max(1, math.ceil(round(fraction * n, 6)))].tolist())
            without = [u for i, u in enumerate(units) if i not in top]
            only = [u for i, u in enumerate(units) if i in top]
            falls["sufficiency"].append(whole - float(alone(model, only)[target]))
            falls["comprehensiveness"].append(whole - float(alone(model, without)[target]))
        for kind, values in falls.items():
            got = columns[f"{kind}.delete.{method}"][row]
            assert got == pytest.approx(np.mean(values), abs=1e-5), (kind, record.id)


def test_flips_are_a_loop_over_weights(case: tuple[WrappedModel, list[Text], View]) -> None:
    model, records, view = case
    columns = measured(ERASURE, view)
    for row, record in enumerate(records):
        n = len(record.units)
        states = model.encode(model.collate([record]))
        weights = view.encoded.weights[row, :n]
        order = np.argsort(-weights.numpy(), kind="stable")
        expected, mass = 1.0, 1.0
        for k in range(1, n):
            left = weights.clone()
            left[order[:k].tolist()] = 0
            output = model.decode(states, (left / left.sum()).unsqueeze(0))[0]
            if int(output.argmax()) != int(view.encoded.predicted[row]):
                expected, mass = k / n, float(weights[order[:k].tolist()].sum())
                break
        assert columns["flip_fraction.weights"][row] == pytest.approx(expected)
        assert columns["flip_mass.weights"][row] == pytest.approx(mass, abs=1e-5)


def test_adversaries_keep_the_prediction(case: tuple[WrappedModel, list[Text], View]) -> None:
    model, records, view = case
    columns = measured(ADVERSARY, view)
    kinds = ("permutation", "exact") if len(model.classes) == 2 else ("permutation", "bounded")
    for kind in kinds:
        for row, record in enumerate(records):
            weights = torch.tensor([columns[f"{kind}_weights"][row]])
            assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
            states = model.encode(model.collate([record]))
            output = model.decode(states, weights)[0].exp().detach()
            change = 0.5 * float((output - view.encoded.probabilities[row]).abs().sum())
            assert change <= SETTINGS.bar(EPSILON) + 1e-5
            if kind == "permutation":
                own = view.encoded.weights[row, : len(record.units)]
                assert torch.allclose(weights[0].sort().values, own.sort().values, atol=1e-6)


def test_undrawn_instances_are_left_out_not_averaged_in() -> None:
    model, records = reader(), sentences(10, shortest=3)
    chosen = np.arange(10) % 2 == 0
    part = measured(ERASURE, view_of(model, records, chosen))
    full = measured(ERASURE, view_of(model, records))
    name = f"comprehensiveness.delete.{NULL}"
    assert np.isnan(part[name][~chosen]).all()
    np.testing.assert_allclose(part[name][chosen], full[name][chosen], atol=1e-5)
    view = view_of(model, records, chosen)
    assert view.per_unit(view.scores("integrated_gradients"))[1] is None
    assert measured(ADVERSARY, view)["permutation_weights"][1] is None


def test_ground_truth_needs_truth_and_grades_the_oracle_best() -> None:
    model = reader()
    plain = sentences(6, shortest=4)
    assert measured(GROUND_TRUTH, view_of(model, plain)) == {}
    known = [
        text_record(r.id, r.text, truth=[i == 1 for i in range(len(r.units))]) for r in plain[:4]
    ]
    columns = measured(GROUND_TRUTH, view_of(model, [*known, *plain[4:]]))
    assert columns["auroc.oracle"][:4].tolist() == [1.0] * 4
    assert np.isnan(columns["auroc.weights"][4:]).all()
    frame = pl.DataFrame({"weights": columns["auroc.weights"]}, nan_to_null=True)
    assert frame["weights"].null_count() == 2


def test_every_method_is_declared_with_its_source() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert method.paper
        assert method.meaning
        assert method.cost
    assert Options().tolerance < Settings().ig_tolerance


def test_drift_flags_what_lies_outside_and_little_else() -> None:
    draw = np.random.default_rng(0)
    cloud = draw.normal(size=(800, 20)) @ draw.normal(size=(20, 20))
    reference = fit_drift(cloud[:400])
    assert reference is not None
    inside = (reference.distance(cloud[400:]) > reference.bar).mean()
    outside = (reference.distance(cloud[400:] * 6) > reference.bar).mean()
    assert 0.01 < inside < 0.12
    assert outside > 0.9
    assert fit_drift(cloud[:10]) is None
    assert fit_drift(np.ones((100, 4))) is None
