"""Reading and replacing the states that enter one layer of a transformer, with nothing patched.

All is done with hooks and put back as it was, so that any stack of layers of `transformers` serves:
absolute or rotary positions, encoders or decoders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from attnaudit.errors import NotApplicable

_LOCKS: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()

HIDDEN = ("hidden_states", "x", "hidden_state")
"""The names that the states have where a layer takes them by name."""


def layers_of(transformer: nn.Module) -> nn.ModuleList:
    """The stack of layers: the first list of modules as long as the configuration says.

    Raises:
        NotApplicable: There is no such list, as in models that use one layer many times.
    """
    config: Any = transformer.config
    names = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
    count = next((getattr(config, name) for name in names if hasattr(config, name)), None)
    for module in transformer.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise NotApplicable(
        f"{type(transformer).__name__} has no list of {count} layers, so there is no place between "
        "layers to start from; give a model whose layers are separate, such as BERT or Llama"
    )


def _replaced(args: tuple[Any, ...], kwargs: dict[str, Any], states: Tensor) -> Any:
    if args:
        return (states, *args[1:]), kwargs
    name = next(name for name in HIDDEN if name in kwargs)
    return args, {**kwargs, name: states}


@contextmanager
def entering(layer: nn.Module) -> Iterator[list[Tensor]]:
    """A list that gets the states `(B, T, H)` each time they enter the layer."""
    seen: list[Tensor] = []

    def look(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found = args[0] if args else next((kwargs[n] for n in HIDDEN if n in kwargs), None)
        if isinstance(found, Tensor):
            seen.append(found)

    hook = layer.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


@contextmanager
def replaced(layer: nn.Module, states: Tensor) -> Iterator[None]:
    """The layer gets `states` in place of its own input."""

    def give(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _replaced(args, kwargs, states)

    hook = layer.register_forward_pre_hook(give, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def skipped(layers: nn.ModuleList, count: int, width: int) -> Iterator[None]:
    """The first `count` layers hand on what they get; their result is about to be replaced.

    Args:
        layers: The stack.
        count: How many of them.
        width: How many values a layer returns in a tuple; 0 where it returns the states alone.
    """

    def hand_on(*args: Any, **kwargs: Any) -> Any:
        states = args[0] if args else next(kwargs[name] for name in HIDDEN if name in kwargs)
        return (states, *[None] * (width - 1)) if width else states

    with ExitStack() as undo:
        for layer in list(layers)[:count]:
            # a wrapper of somebody else's is put back
            undo.callback(_put_back, layer, vars(layer).get("forward"))
            layer.forward = hand_on
        yield


def _put_back(layer: nn.Module, forward: Any) -> None:
    del layer.forward
    if forward is not None:
        layer.forward = forward


def width_of(layer: nn.Module, run: Callable[[], object]) -> int:
    """How many values the layer returns in a tuple, found by one run; 0 for states alone."""
    found: list[int] = []
    hook = layer.register_forward_hook(
        lambda _m, _i, output: found.append(len(output) if isinstance(output, tuple) else 0)
    )
    try:
        run()
    finally:
        hook.remove()
    return found[0]


Stamp = tuple[tuple[int, int], ...]
"""Which weights a model has, and how often each was changed in place."""


def stamp_of(module: nn.Module) -> Stamp:
    """Equal before and after only if no weight was changed in place, moved or replaced."""
    weights = (*module.parameters(), *module.buffers())
    return tuple((id(w), 0 if w.is_inference() else w._version) for w in weights)


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """No dropout, no graph, and one thread at a time; every mode is put back afterwards."""
    with _LOCKS.setdefault(model, RLock()):
        training = {module: module.training for module in model.modules()}
        model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in training.items():
                module.training = mode


@contextmanager
def differentiable(transformer: nn.Module) -> Iterator[None]:
    """An attention that has a forward derivative; what there was is put back afterwards.

    Fused attention kernels have no forward-mode derivative in torch, and caches of keys grow at
    every call.
    """
    config: Any = transformer.config
    kernel = getattr(config, "_attn_implementation", None)
    cache = getattr(config, "use_cache", None)
    try:
        if kernel not in (None, "eager"):
            _set_kernel(transformer, "eager")
        if cache:
            config.use_cache = False
        yield
    finally:
        if kernel not in (None, "eager"):
            _set_kernel(transformer, kernel)
        if cache:
            config.use_cache = cache


def _set_kernel(transformer: Any, kernel: str) -> None:
    if hasattr(transformer, "set_attn_implementation"):
        transformer.set_attn_implementation(kernel)
    else:  # transformers before 4.48
        transformer.config._attn_implementation = kernel


@contextmanager
def words_replaced(transformer: Any, kept: Tensor, vector: Tensor) -> Iterator[None]:
    """Word vectors of positions that are not kept become `vector`, before positions are added.

    Args:
        transformer: A model with `get_input_embeddings`.
        kept: `(B, T)` bool, positions whose word vectors stay.
        vector: `(H,)`.
    """

    def give(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return torch.where(kept[..., None], output, vector.to(output))

    hook = transformer.get_input_embeddings().register_forward_hook(give)
    try:
        yield
    finally:
        hook.remove()
