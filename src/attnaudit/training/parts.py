"""Which parameters of a model decode, and which give the weights: found by differentiation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attnaudit.data.kinds import Record
from attnaudit.errors import ModelError
from attnaudit.models.cut import Model
from attnaudit.models.wrapped.model import WrappedModel
from attnaudit.nets.pretrained.frozen import FrozenTransformer

PROBED = 8
"""Records that are read to find out what depends on what."""


@dataclass(frozen=True)
class Parts:
    """The parameters of a model by what they do; those of pretrained encoders are in neither.

    Attributes:
        modules: The modules of the model, by the name of its attribute.
        decoder: What `decode` depends on at fixed weights, the encoder of pooled states included.
        generator: What only the weights depend on.
        shared: What of the decoder the weights depend on too: the encoder of pooled states.
    """

    modules: Mapping[str, nn.Module]
    decoder: Mapping[str, Tensor]
    generator: Mapping[str, Tensor]
    shared: Mapping[str, Tensor]


def modules_of(model: Model) -> dict[str, nn.Module]:
    """What of a model can be trained, by the name of its attribute."""
    if isinstance(model, WrappedModel):
        # its other attributes are the user's functions, some of which may be modules too
        return {"module": model.module}
    return {
        name: part
        for name, part in vars(model).items()
        if isinstance(part, nn.Module) and not isinstance(part, FrozenTransformer)
    }


def copy_of(model: Model) -> Model:
    """A copy with parameters of its own; a pretrained encoder, which stays as it is, is shared."""
    shared = [part for part in vars(model).values() if isinstance(part, FrozenTransformer)]
    return copy.deepcopy(model, {id(part): part for part in shared})


def parameters_of(model: Model) -> dict[str, Tensor]:
    """Every parameter of what can be trained, once, under the first name that it has."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for prefix, module in modules_of(model).items():
        for name, parameter in module.named_parameters():
            if id(parameter) not in seen and parameter.is_floating_point():
                seen.add(id(parameter))
                found[f"{prefix}.{name}"] = parameter
    return found


def parts_of(model: Model, records: Sequence[Record]) -> Parts:
    """The parts of a model. All its parameters are frozen afterwards.

    Args:
        model: The model; give a copy.
        records: Some that it can read.

    Raises:
        ModelError: It holds no module, or its output has no gradient in any parameter.
    """
    modules, parameters = modules_of(model), parameters_of(model)
    if isinstance(model, WrappedModel) and model.trainable:
        parameters = {name: p for name, p in parameters.items() if name in model.trainable}
    if not parameters:
        raise ModelError(
            f"{model.name}: it holds no module with parameters, so nothing of it can be trained"
        )
    for parameter in parameters.values():
        parameter.requires_grad_()
    batch = model.collate([r for r in records if r.units][:PROBED])
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        states = model.encode(batch)
        count = states.units.sum(1, keepdim=True).clamp(min=1)
        equal = states.units.to(states.hidden.dtype) / count
        decoded = _used(model.decode(states, equal), parameters)
        attended = _used(model.attend(states), parameters)
        sample = getattr(model, "sample", None)
        if sample is not None:
            attended |= _used(sample(states, torch.Generator().manual_seed(0)), parameters)
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    return Parts(
        modules,
        {name: parameters[name] for name in parameters if name in decoded},
        {name: parameters[name] for name in parameters if name in attended - decoded},
        {name: parameters[name] for name in parameters if name in attended & decoded},
    )


def reset(parts: Parts, chosen: Mapping[str, Tensor], seed: int) -> None:
    """Give some parameters new initial values.

    Each module that has a `reset_parameters` draws them itself. Of any other, a parameter of two
    or more dimensions is drawn from N(0, 1 / its last dimension); the numbers of a vector change
    places at random, and a single number stays.

    Args:
        parts: Of the model.
        chosen: The parameters to reset; all others stay as they are.
        seed: Equal seeds, equal values.
    """
    wanted = {id(parameter) for parameter in chosen.values()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in parts.modules.values():
            for module in part.modules():
                own = dict(module.named_parameters(recurse=False))
                if any(id(parameter) in wanted for parameter in own.values()):
                    _reset_module(module, own, wanted)


def _reset_module(module: nn.Module, own: Mapping[str, Tensor], wanted: set[int]) -> None:
    kept = {name: value.clone() for name, value in own.items() if id(value) not in wanted}
    if callable(draw := getattr(module, "reset_parameters", None)):
        draw()
        for name, value in kept.items():
            own[name].copy_(value)
        return
    for name, parameter in own.items():
        if name in kept:
            continue
        if parameter.dim() > 1:
            parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
        elif parameter.dim() == 1:
            # what it is for is not known: a gain of 0 would never learn
            parameter.copy_(parameter[torch.randperm(len(parameter)).to(parameter.device)])


def _used(output: Tensor, parameters: Mapping[str, Tensor]) -> set[str]:
    """The names of the parameters that an output depends on."""
    if not output.requires_grad:
        return set()
    generator = torch.Generator().manual_seed(0)
    # random factors: the plain sum of weights, or of a softmax, is constant
    factors = torch.rand(output.shape, generator=generator).to(output)
    gradients = torch.autograd.grad(
        (output * factors).sum(), list(parameters.values()), allow_unused=True, retain_graph=True
    )
    return {
        name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None
    }
