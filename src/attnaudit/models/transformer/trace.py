"""Passes of a whole transformer, for explanations without a site: weights and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnaudit.errors import NotApplicable
from attnaudit.measures.contributions import alti
from attnaudit.measures.odds import log_odds
from attnaudit.measures.rollout import row_normalised
from attnaudit.models.cut import Batch, Model
from attnaudit.models.transformer.model import TransformerModel
from attnaudit.models.transformer.registry import Inputs, installed, mixed_by, watched
from attnaudit.models.transformer.rerun import state_of
from attnaudit.models.transformer.stack import LayerOutput, stepped

OUTPUTS = ("o_proj", "out_proj", "out_lin", "c_proj", "dense", "wo", "o", "attn_out", "proj")
"""What the output projection of attention is called."""
NORMS = ("output.LayerNorm", "output.layer_norm", "sa_layer_norm", "self_attn_layer_norm")
"""What a norm behind the residual of attention is called."""


@dataclass(frozen=True)
class Trace:
    """What one pass says of every layer.

    Attributes:
        attention: `(N, B, H, T, T)`, weights.
        gradient: The gradient of the target's log-odds with respect to them.
        values: `(N, B, H, T, D)`, values of each head.
        entered: `(N, B, T, E)`, the states that enter each layer.
        query: `(B,)`, the row that is looked at.
        real: `(B, T)`, where there are word pieces.
    """

    attention: Float[Tensor, "N B H T T"]
    gradient: Float[Tensor, "N B H T T"]
    values: Float[Tensor, "N B H T D"]
    entered: Float[Tensor, "N B T E"]
    query: Int[Tensor, " B"]
    real: Bool[Tensor, "B T"]

    def at_query(self, matrix: Float[Tensor, "B T T"]) -> Float[Tensor, "B T"]:
        """The row that is looked at."""
        index = self.query.view(-1, 1, 1).expand(-1, 1, matrix.shape[-1])
        return matrix.gather(1, index).squeeze(1)


def traced(model: Model) -> TransformerModel:
    """The model, where all of its attention can be seen.

    Raises:
        NotApplicable: It is no transformer of one stack, or one outside the registry.
    """
    if not isinstance(model, TransformerModel):
        raise NotApplicable(f"{model.name} is not a transformer whose layers could be traced")
    if model.stack.soft or any(call.cross for call in model.stack.calls):
        raise NotApplicable(
            f"{model.name}: explanations of whole models are for transformers of one stack whose "
            "attention is in the registry"
        )
    return model


def trace_of(model: Model, batch: Batch, target: Int[Tensor, " B"]) -> Trace:
    """Weights, values and gradients of every layer, from one forward and one backward pass.

    Raises:
        NotApplicable: See `traced`.
    """
    model = traced(model)
    watch = _All()
    with torch.no_grad():
        embedded = model.embed(batch)
    leaf = embedded.detach().requires_grad_()
    with (
        torch.enable_grad(),
        installed(model.model),
        watched(watch),
        stepped(model.stack.layers, watch.step),
    ):
        outputs, layout, query = model.plain_pass(batch, leaf)
        odds = log_odds(outputs, target)
    gradient = torch.autograd.grad(odds.sum(), watch.weights, allow_unused=True)
    slopes = [
        torch.zeros_like(w) if g is None else g
        for w, g in zip(watch.weights, gradient, strict=True)
    ]
    groups = watch.weights[0].shape[1] // watch.values[0].shape[1]
    values = [v.repeat_interleave(groups, 1).detach() for v in watch.values]
    return Trace(
        torch.stack([w.detach() for w in watch.weights]),
        torch.stack(slopes),
        torch.stack(values),
        torch.stack([h.detach() for h in watch.entered]),
        query,
        layout.real,
    )


class _All:
    """A watch and a step that keep everything."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.values: list[Tensor] = []
        self.entered: list[Tensor] = []

    def enter(self, call: int, module: nn.Module, inputs: Inputs) -> Inputs:
        return inputs

    def leave(
        self, call: int, module: nn.Module, inputs: Inputs, mixed: Tensor, weights: Tensor
    ) -> Tensor:
        if weights.shape[-1] != inputs.value.shape[2]:
            raise NotApplicable("weights of learned sinks cannot be multiplied through layers")
        self.weights.append(weights)
        self.values.append(inputs.value)
        return mixed

    def step(self, number: int, layer: Callable[..., LayerOutput], hidden: Tensor) -> LayerOutput:
        self.entered.append(hidden)
        return layer(hidden)


def projection_of(model: TransformerModel, call: int) -> tuple[Float[Tensor, "H D E"], Tensor]:
    """The output projection of a call of attention, cut into heads, and its bias.

    Raises:
        NotApplicable: It was not found.
    """
    place = model.stack.calls[call]
    parts = place.name.split(".")
    for end in (len(parts), len(parts) - 1):
        owner = model.model.get_submodule(".".join(parts[:end]))
        for name, module in owner.named_modules():
            if name.rpartition(".")[2].lower() not in OUTPUTS:
                continue
            weight = getattr(module, "weight", None)
            if not isinstance(weight, Tensor) or weight.dim() != 2:
                continue
            # Conv1D of GPT-2 keeps inputs first, a linear layer keeps them last
            matrix = weight if type(module).__name__ == "Conv1D" else weight.T
            bias = getattr(module, "bias", None)
            empty = torch.zeros(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
            cut = matrix.detach().reshape(place.heads, -1, matrix.shape[1])
            return cut, empty if bias is None else bias.detach()
    raise NotApplicable(f"{model.name}: the output projection of {place.name} was not found")


def norm_behind(model: TransformerModel, call: int) -> nn.LayerNorm | None:
    """The layer norm behind the residual of attention; None where norms stand before it."""
    name = model.stack.calls[call].name
    while name:
        name = name.rpartition(".")[0]
        owner = model.model.get_submodule(name)
        for path, module in owner.named_modules():
            if path in NORMS and isinstance(module, nn.LayerNorm):
                before = bool(getattr(model.model.config, "do_layer_norm_before", False))
                return None if before else module
        if isinstance(owner, nn.ModuleList):
            return None
    return None


def alti_layers(model: Model, trace: Trace) -> Float[Tensor, "N B T T"]:
    """The contributions within each layer's attention (Ferrando et al. 2022).

    Raises:
        NotApplicable: See `traced` and `projection_of`.
    """
    model = traced(model)
    found = []
    for call in range(len(trace.attention)):
        output, bias = projection_of(model, call)
        norm = norm_behind(model, call)
        rows = []
        for row in range(len(trace.real)):
            weights, values = trace.attention[call, row], trace.values[call, row]
            parts = torch.einsum("hij,hjd,hde->ije", weights, values, output)
            entered = trace.entered[call, row]
            eye = torch.eye(len(entered), dtype=parts.dtype, device=parts.device)
            parts = parts + eye.unsqueeze(-1) * entered.unsqueeze(1)
            whole = parts.sum(1) + bias
            if norm is not None:
                spread = (whole.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
                parts = (parts - parts.mean(-1, keepdim=True)) / spread.unsqueeze(1)
                parts, whole = parts * norm.weight, norm(whole)
            rows.append(alti(parts[None], whole[None], trace.real[row : row + 1])[0])
        found.append(torch.stack(rows))
    return torch.stack(found)


@torch.no_grad()
def value_zeroing(model: Model, batch: Batch) -> Float[Tensor, "N B T T"]:
    """How far each token's state moves where another's value is zero (Mohebbi et al. 2023).

    The cosine distance between what a layer gives and what it gives with the value of token `j`
    set to zero in all heads; rows are normalised. One run of each layer per token.

    Raises:
        NotApplicable: See `traced`.
    """
    model = traced(model)
    watch = _Zeroing()
    with installed(model.model), watched(watch), stepped(model.stack.layers, watch.step):
        _, layout, _ = model.plain_pass(batch, model.embed(batch))
    keep = layout.real.unsqueeze(1) & layout.real.unsqueeze(2)
    return torch.stack([row_normalised(m * keep) for m in watch.moved])


class _Zeroing:
    """A watch and a step that run every layer once more per token, without its value."""

    def __init__(self) -> None:
        self.moved: list[Tensor] = []
        self.active = False

    def enter(self, call: int, module: nn.Module, inputs: Inputs) -> Inputs:
        if not self.active:
            return inputs
        size = inputs.value.shape[2]
        drop = torch.eye(size, dtype=torch.bool, device=inputs.value.device)
        value = inputs.value.masked_fill(drop.view(size, 1, size, 1), 0.0)
        return Inputs(inputs.query, inputs.key, value, inputs.mask)

    def leave(
        self, call: int, module: nn.Module, inputs: Inputs, mixed: Tensor, weights: Tensor
    ) -> Tensor:
        return mixed

    def step(self, number: int, layer: Callable[..., LayerOutput], hidden: Tensor) -> LayerOutput:
        output = layer(hidden)
        states, rows = state_of(output), []
        self.active = True
        for row in range(len(hidden)):
            size = hidden.shape[1]

            def change(name: str | None, value: object, row: int = row, size: int = size) -> object:
                return _of_row(value, row, size, len(hidden))

            several = hidden[row : row + 1].expand(size, -1, -1)
            # (T, T, E): without the value of the first, the states of the second
            moved = state_of(layer(several, change))
            alike = torch.cosine_similarity(moved, states[row : row + 1], dim=-1)
            rows.append((1 - alike).clamp(min=0).T)
        self.active = False
        self.moved.append(torch.stack(rows))
        return output


def _of_row(value: object, row: int, size: int, rows: int) -> object:
    """An argument of a layer for `size` copies of one instance."""
    if isinstance(value, tuple):
        return tuple(_of_row(part, row, size, rows) for part in value)
    if isinstance(value, Tensor) and value.dim() > 1 and len(value) == rows:
        return value[row : row + 1].expand(size, *value.shape[1:])
    return value


def propagated(model: Model, batch: Batch, target: Int[Tensor, " B"]) -> Float[Tensor, "B L"]:
    """Input × gradient with weights and norms held fixed: layer-wise relevance propagation.

    Source: Ali et al. 2022, section 3 (LN and AH rules). Relevance is of the target's log-odds.

    Raises:
        NotApplicable: See `traced`.
    """
    model = traced(model)
    with torch.no_grad():
        embedded = model.embed(batch)
    leaf = embedded.detach().requires_grad_()
    with torch.enable_grad(), installed(model.model), watched(_Held()), _HeldNorms():
        outputs, _, _ = model.plain_pass(batch, leaf)
        odds = log_odds(outputs, target)
    (gradient,) = torch.autograd.grad(odds.sum(), leaf)
    found: Tensor = (embedded * gradient).sum(-1)
    return found


class _Held:
    """A watch that mixes values by weights without a gradient."""

    def enter(self, call: int, module: nn.Module, inputs: Inputs) -> Inputs:
        return inputs

    def leave(
        self, call: int, module: nn.Module, inputs: Inputs, mixed: Tensor, weights: Tensor
    ) -> Tensor:
        return mixed_by(weights.detach()[..., : inputs.value.shape[2]], inputs.value)


class _HeldNorms(TorchFunctionMode):
    """Layer norms, and root-mean-square norms, divide by a number without a gradient."""

    def __torch_function__(
        self,
        func: Callable[..., Tensor],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> Tensor:
        given = dict(kwargs or {})
        if func is torch.nn.functional.layer_norm:
            names = ("input", "normalized_shape", "weight", "bias", "eps")
            values = {**dict(zip(names, args, strict=False)), **given}
            hidden, eps = values["input"], values.get("eps", 1e-5)
            assert isinstance(hidden, Tensor)
            assert isinstance(eps, float)
            centred = hidden - hidden.mean(-1, keepdim=True)
            spread = (hidden.var(-1, correction=0, keepdim=True) + eps).sqrt().detach()
            found, weight, bias = centred / spread, values.get("weight"), values.get("bias")
            found = found * weight if isinstance(weight, Tensor) else found
            return found + bias if isinstance(bias, Tensor) else found
        output = func(*args, **given)
        return output.detach() if func in (torch.rsqrt, torch.Tensor.rsqrt) else output
