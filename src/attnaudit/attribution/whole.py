"""Explanations of whole transformers: every layer's attention at once, without a site."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from attnaudit.attribution.contract import Attribution, Method, Options, on_units
from attnaudit.errors import NotApplicable
from attnaudit.measures.attention_flow import attention_flow
from attnaudit.measures.contributions import effective_weights, norm_based
from attnaudit.measures.rollout import gradient_x_attention, relevance, rolled, rollout
from attnaudit.models.encoded import Encoded

if TYPE_CHECKING:
    from attnaudit.models.transformer.model import TransformerModel
    from attnaudit.models.transformer.trace import Trace

GRADIENTS = frozenset({"gradients"})


def _model(encoded: Encoded) -> TransformerModel:
    """The transformer, where all of its attention can be seen."""
    if not encoded.model.partial:
        raise NotApplicable(f"{encoded.model.name} is not a transformer with layers to trace")
    # the library takes seconds to import
    from attnaudit.models.transformer.trace import traced

    return traced(encoded.model)


def _trace(encoded: Encoded) -> Trace:
    """One traced pass of a batch, kept with it."""
    model = _model(encoded)
    from attnaudit.models.transformer.trace import Trace, trace_of

    kept = encoded.kept.get("trace")
    if not isinstance(kept, Trace):
        kept = trace_of(model, encoded.batch, encoded.targets)
        encoded.kept["trace"] = kept
    return kept


def _scored(encoded: Encoded, pieces: Tensor) -> Attribution:
    """Scores of word pieces, as scores of words."""
    found = _model(encoded).to_positions(encoded.batch, pieces)
    return Attribution(on_units(found, encoded))


def attention_rollout(encoded: Encoded, options: Options) -> Attribution:
    """Attention multiplied through all layers, residual streams included."""
    trace = _trace(encoded)
    return _scored(encoded, trace.at_query(rollout(trace.attention, trace.real)))


def flow(encoded: Encoded, options: Options) -> Attribution:
    """The most that can pass from a word to the output through all layers."""
    trace = _trace(encoded)
    return _scored(encoded, attention_flow(trace.attention, trace.real, trace.query))


def attention_gradient(encoded: Encoded, options: Options) -> Attribution:
    """Weights times their gradients, summed over all layers."""
    trace = _trace(encoded)
    return _scored(encoded, gradient_x_attention(trace.attention, trace.gradient, trace.query))


def attention_gradient_last(encoded: Encoded, options: Options) -> Attribution:
    """Weights times their gradients, in the last layer."""
    trace = _trace(encoded)
    some = trace.attention[-1:], trace.gradient[-1:]
    return _scored(encoded, gradient_x_attention(*some, trace.query))


def chefer(encoded: Encoded, options: Options) -> Attribution:
    """Weights times their gradients, multiplied through all layers."""
    trace = _trace(encoded)
    found = relevance(trace.attention, trace.gradient, trace.real)
    return _scored(encoded, trace.at_query(found))


def norms(encoded: Encoded, options: Options) -> Attribution:
    """The length of what each word brings to the query in the last layer."""
    trace, output = _last(encoded)
    return _scored(encoded, norm_based(_row(trace), trace.values[-1], output))


def effective(encoded: Encoded, options: Options) -> Attribution:
    """The part of the last layer's weights that reaches its output."""
    trace, output = _last(encoded)
    found = effective_weights(_row(trace), trace.values[-1], output, trace.real)
    return _scored(encoded, found.mean(1))


def _last(encoded: Encoded) -> tuple[Trace, Tensor]:
    from attnaudit.models.transformer.trace import projection_of

    trace = _trace(encoded)
    return trace, projection_of(_model(encoded), len(trace.attention) - 1)[0]


def _row(trace: Trace) -> Tensor:
    """`(B, H, T)`, the query row of the last layer."""
    last = trace.attention[-1]
    index = trace.query.view(-1, 1, 1, 1).expand(-1, last.shape[1], 1, last.shape[3])
    return last.gather(2, index).squeeze(2)


def contributions(encoded: Encoded, options: Options) -> Attribution:
    """What brings each state nearer to what it becomes, multiplied through all layers."""
    from attnaudit.models.transformer.trace import alti_layers

    trace = _trace(encoded)
    return _scored(encoded, trace.at_query(rolled(alti_layers(encoded.model, trace))))


def zeroed_values(encoded: Encoded, options: Options) -> Attribution:
    """How far states move where a word's value is zero, multiplied through all layers."""
    from attnaudit.models.transformer.trace import value_zeroing

    trace = _trace(encoded)
    moved = rolled(value_zeroing(encoded.model, encoded.batch))
    return _scored(encoded, trace.at_query(moved))


def propagation(encoded: Encoded, options: Options) -> Attribution:
    """Relevance passed back with weights and norms held fixed."""
    model = _model(encoded)
    from attnaudit.models.transformer.trace import propagated

    found = propagated(model, encoded.batch, encoded.targets)
    return Attribution(on_units(found, encoded))


def _method(
    name: str,
    title: str,
    paper: str,
    meaning: str,
    compute: Callable[[Encoded, Options], Attribution],
    cost: str = "one and its backward pass",
    signed: bool = False,
) -> Method:
    return Method(name, title, paper, meaning, signed, GRADIENTS, cost, compute)


WHOLE: dict[str, Method] = {
    method.name: method
    for method in (
        _method(
            "rollout",
            "attention rollout",
            "Abnar & Zuidema 2020",
            "how much of the word arrives, if all layers only mixed by their weights",
            attention_rollout,
            "one",
        ),
        _method(
            "flow",
            "attention flow",
            "Abnar & Zuidema 2020",
            "the most that can pass from the word to the output through all layers",
            flow,
            "one, and a maximum flow per word piece",
        ),
        _method(
            "attention_x_gradient",
            "attention × gradient",
            "Serrano & Smith 2019; Chefer et al. 2021",
            "the first-order effect of the weights on the word, all layers",
            attention_gradient,
        ),
        _method(
            "attention_x_gradient_last",
            "attention × gradient, last layer",
            "Serrano & Smith 2019; Chefer et al. 2021",
            "the first-order effect of the last layer's weights on the word",
            attention_gradient_last,
        ),
        _method(
            "chefer",
            "generic attention explainability",
            "Chefer et al. 2021",
            "weights times gradients, multiplied through all layers",
            chefer,
        ),
        _method(
            "norms",
            "norms, last layer",
            "Kobayashi et al. 2020",
            "the length of what the word brings to the query in the last layer",
            norms,
            "one",
        ),
        _method(
            "effective",
            "effective attention, last layer",
            "Brunner et al. 2020",
            "the part of the last layer's weight on the word that reaches its output",
            effective,
            "one",
            signed=True,
        ),
        _method(
            "alti",
            "ALTI",
            "Ferrando et al. 2022",
            "how much nearer the word brings states to what they become, all layers",
            contributions,
            "one",
        ),
        _method(
            "value_zeroing",
            "value zeroing",
            "Mohebbi et al. 2023",
            "how far states move where the word's value is zero, all layers",
            zeroed_values,
            "one per word piece",
        ),
        _method(
            "lrp",
            "relevance propagation",
            "Ali et al. 2022",
            "the word's share of the log-odds, weights and norms held fixed",
            propagation,
            signed=True,
        ),
    )
}
"""Explanations of whole models: they have no weights to permute, but can be ranked."""
