import math

import polars as pl
import pytest
import scipy.stats
import torch
from scipy.optimize import approx_fprime

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures import adversary_search as search
from attnaudit.measures.adversary_exact import exact_adversary
from attnaudit.measures.adversary_search import search_adversary, search_adversary_autograd
from attnaudit.measures.divergence import jensen_shannon, total_variation
from attnaudit.models.cut import LinearDecode
from tests.golden import golden_batches, golden_instances, golden_model
from tests.ragged import distributions


def problem(lengths, seed, classes=2, candidates=5):
    _, weights, mask = distributions(lengths, seed)
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(*mask.shape, classes, dtype=torch.float64, generator=generator)
    bias = torch.randn(classes, dtype=torch.float64, generator=generator)
    noise = torch.randn(
        len(lengths), candidates, mask.shape[1], dtype=torch.float64, generator=generator
    )
    return scores, bias, weights, mask, noise


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("candidates", [1, 2, 4, 5])
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_both_searches_agree_step_by_step(classes, candidates, steps):
    scores, bias, weights, mask, noise = problem([4, 9, 1, 7], 3, classes, candidates)
    options = {"noise": noise, "candidates": candidates, "steps": steps, "hinge": 0.01}
    by_hand = search_adversary(scores, bias, weights, mask, **options)
    decode = LinearDecode(scores, bias)
    by_graph = search_adversary_autograd(decode, weights, mask, **options)
    assert torch.allclose(by_hand.weights, by_graph.weights, atol=1e-5)
    assert torch.allclose(by_hand.jsd, by_graph.jsd, atol=1e-5)
    assert torch.allclose(by_hand.output_change, by_graph.output_change, atol=1e-5)


def plain_loss(u, scores, bias, original, hinge, penalty, pair_weight):
    """The published loss of one instance, written out with loops."""
    p = torch.softmax(torch.as_tensor(u).view(-1, len(original)), -1)
    base = torch.softmax(original @ scores + bias, -1)
    loss = 0.0
    for own in p:
        change = total_variation(torch.softmax(own @ scores + bias, -1), base)
        loss += penalty * max(0.0, change.item() - hinge) - jensen_shannon(own, original).item()
    for a in p:
        for b in p:
            loss -= pair_weight * jensen_shannon(a, b).item()
    return loss


@pytest.mark.parametrize("classes", [2, 4])
def test_the_first_step_follows_the_numerical_gradient(classes):
    """After one step of Adam from rest, each logit moves by lr · g / (|g| + ε′)."""
    scores, bias, weights, mask, noise = problem([6], 5, classes, 3)
    s, a, start = scores[0, mask[0]], weights[0, mask[0]], 3 * noise[0, :, mask[0]]
    options = {"hinge": 0.02, "penalty": 7.0, "pair_weight": 0.3}
    lr = 1e-3
    slope = torch.from_numpy(
        approx_fprime(start.flatten().numpy(), plain_loss, 1e-6, s, bias, a, *options.values())
    ).view(3, -1)
    found = search_adversary(
        scores, bias, weights, mask, noise=noise, candidates=3, steps=1, lr=lr, **options
    )
    moved = torch.softmax(start - lr * slope / (slope.abs() + 1e-8), -1)
    assert torch.allclose(found.weights[0, :, mask[0]], moved, atol=1e-6)


def test_selection_takes_the_most_different_candidate_within_epsilon():
    scores, bias, weights, mask, noise = problem([8] * 40, 7)
    found = search_adversary(scores, bias, weights, mask, noise=noise, steps=3, epsilon=0.05)
    own = torch.softmax(torch.einsum("bt,btc->bc", weights, scores) + bias, -1)
    for row in range(40):
        outputs = torch.softmax(found.weights[row] @ scores[row] + bias, -1)
        change = total_variation(outputs, own[row])
        jsd = jensen_shannon(found.weights[row], weights[row])
        assert torch.allclose(change, found.output_change[row], atol=1e-12)
        allowed = [
            (j.item(), k) for k, (j, d) in enumerate(zip(jsd, change, strict=True)) if d <= 0.05
        ]
        value, best = max(allowed, default=(0.0, -1))
        assert found.best[row].item() == best
        assert found.best_jsd[row].item() == pytest.approx(value, abs=1e-12)
    assert (found.best == -1).any()
    assert (found.best >= 0).any()
    assert (found.best_jsd[found.best == -1] == 0).all()


def test_never_beats_the_exact_adversary_and_mostly_ends_within_epsilon():
    scores, bias, weights, mask, noise = problem([6, 10, 18] * 6, 8)
    found = search_adversary(scores, bias, weights, mask, noise=noise, hinge=0.01)
    exact = exact_adversary(scores[..., 1] - scores[..., 0], bias[1] - bias[0], weights, mask, 0.05)
    assert (found.best_jsd <= exact.jsd + 1e-9).all()
    assert (found.best >= 0).double().mean() > 0.9
    assert (found.weights[(~mask).unsqueeze(1).expand_as(found.weights)] == 0).all()


def test_padding_batch_and_portions_have_no_influence(monkeypatch):
    scores, bias, weights, mask, noise = problem([5, 12, 3, 1], 9)
    whole = search_adversary(scores, bias, weights, mask, noise=noise, steps=60)
    for row in range(4):
        some, units = slice(row, row + 1), mask[row]
        alone = search_adversary(
            scores[some, units],
            bias,
            weights[some, units],
            mask[some, units],
            noise=noise[some][..., units],
            steps=60,
        )
        assert torch.allclose(alone.weights[0], whole.weights[row][:, units], atol=1e-8)
    monkeypatch.setattr(search, "UNITS_AT_ONCE", 1)
    junk = scores.masked_fill(~mask.unsqueeze(-1), math.nan)
    single = search_adversary(junk, bias.expand(4, -1), weights, mask, noise=noise, steps=60)
    assert torch.allclose(single.weights, whole.weights, atol=1e-8)


def test_stopping_early_saves_steps_and_changes_little():
    scores, bias, weights, mask, noise = problem([4, 5, 6] * 10, 10)
    options = {"noise": noise, "hinge": 0.01, "steps": 1500}
    whole = search_adversary(scores, bias, weights, mask, **options)
    options |= {"patience": 50, "tolerance": 1e-3}
    early = search_adversary(scores, bias, weights, mask, **options)
    assert (whole.steps_used == 1500).all()
    stopped = early.steps_used < 1500
    assert 3 <= stopped.sum() <= 29
    assert (early.steps_used % 50 == 0).all()
    assert (early.best_jsd - whole.best_jsd).mean().abs() < 0.005
    assert torch.allclose(early.weights[~stopped], whole.weights[~stopped], atol=1e-6)
    row = stopped.nonzero()[0]
    alone = search_adversary(
        scores[row], bias, weights[row], mask[row], **(options | {"noise": noise[row]})
    )
    assert alone.steps_used == early.steps_used[row]
    assert torch.allclose(alone.weights, early.weights[row], atol=1e-6)


def test_any_differentiable_decode_can_be_searched():
    generator = torch.Generator().manual_seed(0)
    _, weights, mask = distributions([6] * 4, 11)
    hidden = torch.randn(4, mask.shape[1], 8, dtype=torch.float64, generator=generator)
    layers = [
        0.3 * torch.randn(8, size, dtype=torch.float64, generator=generator) for size in (8, 3)
    ]

    def decode(w):
        return torch.log_softmax(torch.tanh(torch.bmm(w, hidden) @ layers[0]) @ layers[1], -1)

    noise = torch.randn(4, 5, mask.shape[1], generator=generator)
    found = search_adversary_autograd(decode, weights, mask, noise=noise, steps=120, hinge=0.01)
    start = search_adversary_autograd(decode, weights, mask, noise=noise, steps=0)
    change = total_variation(decode(found.weights).exp(), decode(weights.unsqueeze(1)).exp())
    assert torch.allclose(change, found.output_change, atol=1e-12)
    assert found.output_change.mean() < 0.5 * start.output_change.mean()
    assert found.best_jsd.mean() > start.best_jsd.mean()


def test_float32_stays_close_to_float64():
    scores, bias, weights, mask, noise = problem([10] * 20, 12)
    double = search_adversary(scores, bias, weights, mask, noise=noise, steps=100)
    single = search_adversary(
        scores.float(), bias.float(), weights.float(), mask, noise=noise.float(), steps=100
    )
    assert single.weights.dtype == torch.float32
    assert (double.jsd - single.jsd).abs().mean() < 1e-3


def test_saturated_logits_do_not_break_the_search():
    scores, bias, weights, mask, noise = problem([7] * 3, 13)
    found = search_adversary(
        scores, bias, weights, mask, noise=200 * noise, lr=5.0, steps=200, hinge=0.01
    )
    assert torch.isfinite(found.weights).all()
    assert torch.allclose(found.weights.sum(-1), torch.ones(3, 5).double())


def test_no_instances_and_no_units():
    scores, bias, weights, mask, noise = problem([3], 0)
    nothing = search_adversary(scores[:0], bias, weights[:0], mask[:0], noise=noise[:0], steps=2)
    assert nothing.best.shape == (0,)
    closed = torch.zeros_like(mask)
    empty = search_adversary(scores, bias, weights * 0, closed, noise=noise, steps=2)
    assert (empty.weights == 0).all()
    graph = search_adversary_autograd(
        LinearDecode(scores, bias), weights * 0, closed, noise=noise, steps=2
    )
    assert (graph.weights == 0).all()


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused():
    scores, bias, weights, mask, noise = problem([3, 4], 0)
    decode = LinearDecode(scores, bias)
    with pytest.raises(DataError, match=r"\(2, 5, 6\), but \(2, 4, 6\)"):
        search_adversary(scores, bias, weights, mask, noise=noise, candidates=4)
    with pytest.raises(DataError, match="noise has shape"):
        search_adversary_autograd(decode, weights, mask, noise=noise[:1])
    with pytest.raises(DataError, match=r"give scores \(B, T, C\)"):
        search_adversary(scores[..., 0], bias, weights, mask, noise=noise)
    for option in ({"epsilon": -0.1}, {"epsilon": math.nan}, {"steps": -1}, {"candidates": 0}):
        with pytest.raises(SettingsError, match="at least 1"):
            search_adversary(scores, bias, weights, mask, noise=noise, **option)


def test_finds_what_the_published_run_found():
    """Other noise, the same distribution of ε-max JSD over the test set."""
    model, instances = golden_model(), golden_instances()
    ours, theirs = [], []
    for part, batch in golden_batches(256):
        with torch.no_grad():
            states = model.encode(batch)
            linear, weights = model.linear(states), model.attend(states)
        noise = torch.randn(
            len(batch), 5, weights.shape[1], generator=torch.Generator().manual_seed(part.start)
        )
        found = search_adversary(
            linear.scores, linear.bias, weights, batch.units, noise=noise, hinge=0.01
        )
        ours += found.best_jsd.tolist()
        rows = instances[part].select(
            "attention", "probability", "adversary_attention", "adversary_probabilities"
        )
        theirs += [best_of_published(*row) for row in rows.iter_rows()]
    ours, theirs = pl.Series(ours), pl.Series(theirs)
    assert theirs.mean() == pytest.approx(0.506, abs=1e-3)  # the figure of that run
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.01)
    for share in (0.25, 0.5, 0.75):
        assert ours.quantile(share) == pytest.approx(theirs.quantile(share), abs=0.012)
    assert scipy.stats.ks_2samp(ours, theirs).statistic < 0.06


def best_of_published(attention, probability, candidates, probabilities):
    jsd = jensen_shannon(
        torch.tensor(candidates, dtype=torch.float64), torch.tensor(attention, dtype=torch.float64)
    )
    change = (torch.tensor(probabilities) - probability).abs()
    return jsd.masked_fill(change > 0.05, 0.0).max().item()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_instance_is_undefined_and_alone(broken):
    scores, bias, weights, mask, noise = problem([5, 5, 5], 14)
    whole = search_adversary(scores, bias, weights, mask, noise=noise, steps=20)
    scores[1, mask[1].nonzero()[0]] = broken
    found = search_adversary(scores, bias, weights, mask, noise=noise, steps=20)
    assert found.best_jsd.isnan().tolist() == [False, True, False]
    assert found.jsd[1].isnan().all()
    assert found.best[1] == -1
    assert torch.allclose(found.jsd[[0, 2]], whole.jsd[[0, 2]])
