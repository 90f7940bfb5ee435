"""Explanations of whole transformers against plain loops written from the papers' equations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.attribution import EVERY, WHOLE, Options
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import NotApplicable
from attnaudit.measures.attention_flow import MOST, attention_flow
from attnaudit.measures.contributions import alti, effective_weights, norm_based
from attnaudit.measures.rollout import gradient_x_attention, relevance, rolled, rollout
from attnaudit.models.encoded import Encoded
from attnaudit.models.transformer.model import TransformerModel
from attnaudit.models.transformer.registry import installed
from attnaudit.models.transformer.trace import (
    alti_layers,
    norm_behind,
    projection_of,
    trace_of,
    value_zeroing,
)
from tests.test_transformer_sites import bert, llama
from tests.tiny_transformers import TEXTS
from tests.toys import reader, sentences


def random_attention(seed: int, layers: int = 3, rows: int = 2, heads: int = 2, size: int = 4):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(layers, rows, heads, size, size, generator=draw, dtype=torch.float64)
    return scores.softmax(-1)


REAL = torch.ones(2, 4, dtype=torch.bool)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16))
def test_rollout_is_the_product_of_half_attention_half_identity(seed):
    attention = random_attention(seed)
    found = rollout(attention, REAL)
    for row in range(2):
        expected = np.eye(4)
        for layer in attention[:, row].numpy():
            mixed = 0.5 * layer.mean(0) + 0.5 * np.eye(4)
            expected = mixed @ expected
        assert np.allclose(found[row], expected)
    assert torch.allclose(found.sum(-1), torch.ones(2, 4).double())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16))
def test_padding_changes_nothing(seed):
    attention = random_attention(seed)
    wide = torch.zeros(3, 2, 2, 6, 6, dtype=torch.float64)
    wide[..., :4, :4] = attention
    wide[..., 4:, :] = 1 / 6
    real = torch.tensor([[True] * 4 + [False] * 2] * 2)
    slopes = torch.randn_like(wide)
    query = torch.tensor([0, 3])
    assert torch.allclose(rollout(wide, real)[:, :4, :4], rollout(attention, REAL))
    some = relevance(wide, slopes, real)[:, :4, :4]
    assert torch.allclose(some, relevance(attention, slopes[..., :4, :4], REAL))
    flows = attention_flow(wide, real, query)
    assert torch.allclose(flows[:, :4], attention_flow(attention, REAL, query))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16))
def test_relevance_adds_the_positive_part_layer_by_layer(seed):
    attention = random_attention(seed)
    slopes = torch.randn_like(attention)
    found = relevance(attention, slopes, REAL)
    for row in range(2):
        total = np.eye(4)
        for layer, slope in zip(attention[:, row].numpy(), slopes[:, row].numpy(), strict=True):
            total = total + np.maximum(layer * slope, 0).mean(0) @ total
        assert np.allclose(found[row], total)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**16))
def test_flow_is_the_least_cut(seed):
    """By the theorem of Ford and Fulkerson, over every cut of a small graph."""
    attention = random_attention(seed, layers=2, rows=1, size=3)
    found = attention_flow(attention, torch.ones(1, 3, dtype=torch.bool), torch.tensor([1]))[0]
    mixed = 0.5 * attention[:, 0].mean(1).numpy() + 0.5 * np.eye(3)
    for source in range(3):
        inner = [(k, t) for k in range(3) for t in range(3)]
        inner = [node for node in inner if node not in ((0, source), (2, 1))]
        least = np.inf
        for sides in itertools.product((False, True), repeat=len(inner)):
            side = {(0, source): True, (2, 1): False, **dict(zip(inner, sides, strict=True))}
            cut = sum(
                mixed[k, up, down]
                for k in range(2)
                for up in range(3)
                for down in range(3)
                if side[k, down] and not side[k + 1, up]
            )
            least = min(least, cut)
        assert float(found[source]) == pytest.approx(least, abs=1e-5)


def test_flow_is_for_short_texts():
    long = torch.full((1, 1, 1, MOST + 1, MOST + 1), 1 / (MOST + 1))
    with pytest.raises(NotApplicable, match="longer than the 64"):
        attention_flow(long, torch.ones(1, MOST + 1, dtype=torch.bool), torch.tensor([0]))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16))
def test_norms_and_effective_weights(seed):
    draw = torch.Generator().manual_seed(seed)

    def of(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    weights, values, output = of(2, 3, 7).softmax(-1), of(2, 3, 7, 2), of(3, 2, 5)
    found = norm_based(weights, values, output)
    for row in range(2):
        for token in range(7):
            parts = [weights[row, h, token] * values[row, h, token] @ output[h] for h in range(3)]
            assert float(found[row, token]) == pytest.approx(float(sum(parts).norm()))
    real = torch.ones(2, 7, dtype=torch.bool)
    inside = effective_weights(weights, values, output, real)
    brought = torch.einsum("bht,bhtd,hde->be", weights, values, output)
    assert torch.allclose(torch.einsum("bht,bhtd,hde->be", inside, values, output), brought)
    # the shortest row with that output
    assert bool((inside.norm(dim=-1) <= weights.norm(dim=-1) + 1e-9).all())


def test_contributions_by_distance():
    vectors = torch.tensor([[[[2.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]]])
    found = alti(vectors, vectors.sum(2), torch.ones(1, 2, dtype=torch.bool))
    # |y| = 3, without the first part 1 is left, without the second 2
    assert torch.allclose(found[0, 0], torch.tensor([2 / 3, 1 / 3]))
    assert torch.allclose(found[0, 1], torch.tensor([0.0, 1.0]))
    assert torch.allclose(rolled(torch.stack([found, found])), found @ found)


@pytest.fixture(scope="module", params=["bert", "llama"])
def model(request):
    return TransformerModel(*(bert() if request.param == "bert" else llama()), name=request.param)


@pytest.fixture(scope="module")
def records():
    return [text_record(str(i), text) for i, text in enumerate(TEXTS)]


def test_the_trace_is_what_the_library_computes(model, records):
    batch = model.collate(records[:1])
    encoded = Encoded(model, batch)
    trace = trace_of(model, batch, encoded.targets)
    ids = model.layout(batch).ids
    with installed(model.model, "eager"):
        said = model.model(ids, output_attentions=True)
    for layer, weights in enumerate(said.attentions):
        assert torch.allclose(trace.attention[layer], weights, atol=1e-6)


def test_gradients_of_weights_are_finite_differences(model, records):
    batch = model.collate(records[:1])
    encoded = Encoded(model, batch)
    target = encoded.targets
    trace = trace_of(model, batch, target)
    at = model.at(model.sites()[1])  # layer 0, head 1
    states = at.encode(batch)
    own = at.attend(states)
    layout = model.layout(batch)
    step = 1e-2
    for place in range(1, 3):
        moved = own.clone()
        moved[0, place] += step
        said = at.decode(states, torch.stack([own, moved], 1))
        odds = [float(x[target[0]] - torch.log1p(-x[target[0]].exp())) for x in said[0]]
        piece = layout.owner[0] == place
        row = trace.at_query(trace.gradient[0][:, 1])[0]
        share = trace.at_query(trace.attention[0][:, 1])[0] * piece
        expected = float((row * share / share.sum()).sum())
        assert (odds[1] - odds[0]) / step == pytest.approx(
            expected, abs=0.05 * abs(expected) + 5e-3
        )


def test_parts_of_a_layer_add_up_to_what_it_gives(records):
    """ALTI rests on a decomposition: its vectors, and the bias, are the state behind the norm."""
    model = TransformerModel(*bert(), name="bert")
    batch = model.collate(records[:1])
    trace = trace_of(model, batch, Encoded(model, batch).targets)
    seen = []
    layer = model.model.bert.encoder.layer[1].attention.output
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        model.plain_pass(batch, model.embed(batch))
    handle.remove()
    output, bias = projection_of(model, 1)
    norm = norm_behind(model, 1)
    assert norm is layer.LayerNorm
    mixed = torch.einsum("hij,hjd,hde->ie", trace.attention[1, 0], trace.values[1, 0], output)
    assert torch.allclose(norm(mixed + bias + trace.entered[1, 0]), seen[0][0], atol=1e-5)
    matrix = alti_layers(model, trace)[1, 0]
    assert torch.allclose(matrix.sum(-1), torch.ones(len(matrix)), atol=1e-5)


def test_value_zeroing_is_a_run_without_the_value(records):
    model = TransformerModel(*bert(), name="bert")
    batch = model.collate(records[:1])
    found = value_zeroing(model, batch)[0, 0]
    layer = model.model.bert.encoder.layer[0]
    entered: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    with torch.no_grad():
        model.plain_pass(batch, model.embed(batch))
    handle.remove()
    hidden = entered[0]
    with torch.no_grad():
        plain = state(layer(hidden))[0]
        for token in range(hidden.shape[1]):
            value = layer.attention.self.value

            def zero(module, inputs, output, token=token):
                output = output.clone()
                output[:, token] = 0
                return output

            handle = value.register_forward_hook(zero)
            moved = state(layer(hidden))[0]
            handle.remove()
            expected = 1 - torch.cosine_similarity(moved, plain, dim=-1)
            # rows are normalised afterwards, so only ratios within a row can be compared
            if token == 0:
                first = expected
            else:
                both = torch.stack([found[:, 0] * expected, found[:, token] * first])
                assert torch.allclose(both[0], both[1], atol=1e-4)


def state(output):
    return output[0] if isinstance(output, tuple) else output


def test_input_x_gradient_is_captums(model, records):
    batch = model.collate(records[1:2])
    encoded = Encoded(model, batch)
    target = int(encoded.targets[0])
    layout = model.layout(batch)
    vectors = layout.of_pieces(
        model.embed(batch).reshape(1, batch.inputs.shape[1], batch.inputs.shape[2], -1)
    )

    def run(embedded):
        logits = model._run({"inputs_embeds": embedded, "attention_mask": layout.real.long()})
        logits = logits if logits.dim() == 2 else logits[:, -1]
        return model._outputs(logits, batch.extra).exp()[:, target]

    theirs = InputXGradient(run).attribute(vectors).sum(-1)
    mine = EVERY["input_x_gradient"].compute(encoded, Options()).scores
    expected = model.to_positions(batch, theirs)
    assert torch.allclose(mine[batch.units], expected[batch.units], atol=1e-5)


def test_relevance_is_input_x_gradient_with_weights_and_norms_held(records):
    net, tokenizer = llama()
    model = TransformerModel(net, tokenizer, name="llama")
    batch = model.collate(records[1:2])
    encoded = Encoded(model, batch)
    found = WHOLE["lrp"].compute(encoded, Options()).scores
    plain = EVERY["input_x_gradient"].compute(encoded, Options()).scores
    assert torch.isfinite(found).all()
    assert not torch.allclose(found, plain, atol=1e-3)


@pytest.mark.parametrize("name", WHOLE)
def test_every_explanation_is_the_same_in_a_batch_as_alone(model, records, name):
    together = Encoded(model, model.collate(records[:3]))
    scores = WHOLE[name].compute(together, Options()).scores
    for row, record in enumerate(records[:3]):
        alone = Encoded(model, model.collate([record]))
        own = WHOLE[name].compute(alone, Options()).scores[0][alone.units[0]]
        assert torch.allclose(scores[row][together.units[row]], own, atol=2e-4), record.text
    assert float(scores.abs().sum()) > 0


@pytest.mark.parametrize("name", WHOLE)
def test_models_that_pool_have_none(name):
    pooled = reader(3)
    encoded = Encoded(pooled, pooled.collate(sentences(2)))
    with pytest.raises(NotApplicable, match="not a transformer"):
        WHOLE[name].compute(encoded, Options())


def test_one_layer_is_gradient_x_attention_of_that_layer():
    attention = random_attention(0)
    slopes = torch.randn_like(attention)
    query = torch.tensor([1, 2])
    every = gradient_x_attention(attention, slopes, query)
    single = [
        gradient_x_attention(attention[k : k + 1], slopes[k : k + 1], query) for k in range(3)
    ]
    summed = (attention * slopes).clamp(min=0).sum((0, 2))
    expected = torch.stack([summed[0, 1], summed[1, 2]])
    assert torch.allclose(every, expected)
    assert torch.allclose(sum(single), every)
