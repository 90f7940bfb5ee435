"""Attributions against Captum, closed forms and brute force."""

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from scipy.stats import kendalltau

from attnaudit.attribution import METHODS, Options
from attnaudit.data.records import Text
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import NotApplicable
from attnaudit.models.encoded import Encoded
from attnaudit.models.wrapped.model import WrappedModel
from tests.toys import reader, sentences

MODELS = {
    "binary": lambda: reader(one_logit=True),
    "multi-class": lambda: reader(3),
    "tanh head": lambda: reader(deep=True),
}


@pytest.fixture(params=MODELS, ids=list(MODELS))
def model(request: pytest.FixtureRequest) -> WrappedModel:
    return MODELS[request.param]()


def encoded_of(model: WrappedModel, count: int = 12) -> Encoded:
    return Encoded(model, model.collate(sentences(count)))


def probability(model: WrappedModel, encoded: Encoded, hold: bool):
    """Captum's view of the model: embeddings in, probability of the predicted class out."""

    def forward(embedded: torch.Tensor) -> torch.Tensor:
        # Captum stacks its steps on the batch
        rows = torch.arange(len(encoded)).repeat(len(embedded) // len(encoded))
        states = model.encode_embedded(encoded.batch.take(rows), embedded)
        weights = model.attend(states)
        outputs = model.decode(states, weights.detach() if hold else weights)
        return outputs.gather(1, encoded.predicted[rows].unsqueeze(1)).squeeze(1).exp()

    return forward


@pytest.mark.parametrize(("name", "hold"), [("gradient", True), ("input_x_gradient", False)])
def test_gradients_equal_captum(model: WrappedModel, name: str, hold: bool) -> None:
    encoded = encoded_of(model)
    embedded = model.embed(encoded.batch).detach()
    expected = InputXGradient(probability(model, encoded, hold)).attribute(embedded).sum(-1)
    scores = METHODS[name].compute(encoded, Options()).scores
    expected = expected.abs() if name == "gradient" else expected
    torch.testing.assert_close(scores, expected.detach() * encoded.units, atol=1e-6, rtol=1e-4)


def test_integrated_gradients_equal_captum_and_add_up(model: WrappedModel) -> None:
    encoded = encoded_of(model)
    embedded = model.embed(encoded.batch).detach()
    options = Options(tolerance=1e-5, max_nodes=512)
    ours = METHODS["integrated_gradients"].compute(encoded, options)
    theirs = IntegratedGradients(probability(model, encoded, False)).attribute(
        embedded, torch.zeros_like(embedded), n_steps=400, method="gausslegendre"
    )
    torch.testing.assert_close(ours.scores, theirs.sum(-1).float(), atol=2e-4, rtol=1e-3)
    whole, empty = (
        probability(model, encoded, False)(x) for x in (embedded, torch.zeros_like(embedded))
    )
    torch.testing.assert_close(
        ours.error, (ours.scores.sum(1) - (whole - empty)).abs().detach(), atol=1e-6, rtol=0
    )
    assert ours.error.max() <= 1e-5 + 2e-6


def test_a_loose_tolerance_is_cheaper_and_reported() -> None:
    encoded = encoded_of(reader(scale=4.0))
    loose = METHODS["integrated_gradients"].compute(encoded, Options(tolerance=0.5))
    tight = METHODS["integrated_gradients"].compute(encoded, Options(tolerance=1e-4))
    assert tight.error.max() <= loose.error.max() <= 0.5
    assert tight.error.max() <= 1e-4


def test_leave_one_out_is_the_model_on_shorter_texts(model: WrappedModel) -> None:
    records = sentences(8, shortest=2)
    encoded = Encoded(model, model.collate(records))
    scores = METHODS["leave_one_out"].compute(encoded, Options(token_budget=64)).scores
    for row, record in enumerate(records):
        target = int(encoded.predicted[row])
        for position in range(len(record.units)):
            units = record.units[:position] + record.units[position + 1 :]
            short = text_record("x", " ".join(units))
            after = model.forward(model.collate([short]))[0].exp().detach()
            change = 0.5 * (after - encoded.probabilities[row]).abs().sum()
            loss = encoded.probabilities[row, target] - after[target]
            expected = float(torch.where(loss < 0, -change, change))
            assert float(scores[row, position]) == pytest.approx(expected, abs=1e-6)


def test_weights_x_gradient_closed_form() -> None:
    encoded = encoded_of(reader(3))
    scores = METHODS["weights_x_gradient"].compute(encoded, Options()).scores
    linear, p = encoded.linear, encoded.probabilities
    rows = torch.arange(len(encoded))
    own = linear.scores[rows, :, encoded.predicted]
    mean = torch.einsum("blc,bc->bl", linear.scores, p)
    expected = encoded.weights * p[rows, encoded.predicted].unsqueeze(1) * (own - mean)
    torch.testing.assert_close(scores, expected * encoded.units, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["gradient", "input_x_gradient", "weights_x_gradient"])
def test_gradients_keep_their_order_where_the_model_is_sure(name: str) -> None:
    records, single = sentences(30, shortest=4), reader(one_logit=True)
    single.module.head.weight.data *= 60
    encoded = Encoded(single, single.collate(records))
    own = METHODS[name].compute(encoded, Options()).scores
    double = reader(one_logit=True)
    double.module.head.weight.data *= 60
    double.module.double()
    reference = Encoded(double, double.collate(records))
    expected = METHODS[name].compute(reference, Options()).scores
    sure = encoded.probabilities.amax(1) > 1 - 1e-6
    assert sure.sum() >= 5
    for row in sure.nonzero().squeeze(1).tolist():
        tau = kendalltau(own[row][encoded.units[row]], expected[row][encoded.units[row]])
        assert tau.statistic > 0.97


@pytest.mark.parametrize("name", METHODS)
def test_scores_do_not_depend_on_the_company(name: str) -> None:
    model, records = reader(), sentences(10)
    together = Encoded(model, model.collate(records))
    scores = METHODS[name].compute(together, Options()).scores
    for row, record in enumerate(records):
        alone = Encoded(model, model.collate([record]))
        own = METHODS[name].compute(alone, Options()).scores[0]
        torch.testing.assert_close(scores[row, : len(record.units)], own, atol=1e-6, rtol=1e-4)
        assert (scores[row, len(record.units) :] == 0).all()


def test_random_scores_follow_seed_and_id() -> None:
    model = reader()
    encoded = Encoded(model, model.collate(sentences(4, shortest=5)))
    first, again, other = (
        METHODS["random"].compute(encoded, Options(seed=s)).scores for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if "gradients" in m.needs])
def test_gradient_methods_say_why_they_do_not_apply(name: str) -> None:
    model = reader(embedded=False)
    encoded = Encoded(model, model.collate(sentences(3)))
    with pytest.raises(NotApplicable, match="embed"):
        METHODS[name].compute(encoded, Options())


def test_a_single_unit_has_a_leave_one_out_of_zero_or_a_number() -> None:
    model = reader()
    record: Text = text_record("one", "w3")
    encoded = Encoded(model, model.collate([record]))
    assert torch.isfinite(METHODS["leave_one_out"].compute(encoded, Options()).scores).all()
