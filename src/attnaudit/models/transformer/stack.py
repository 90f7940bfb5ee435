"""What a transformer is made of, in the order in which it is called: layers and attentions."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from attnaudit.errors import ModelError
from attnaudit.models.transformer.registry import EAGER, Inputs, Watch, installed, watched
from attnaudit.models.transformer.softmaxes import Softened, by_heads, softened

CROSS = ("encoder_attn", "encdecattention", "crossattention", "cross_attn", "cross_attention")
"""Parts of the names that attention from a decoder to an encoder has, in lower case."""

Change: TypeAlias = Callable[[str | None, object], object]
"""Another value for an argument of a layer, by its name."""
LayerOutput: TypeAlias = Tensor | tuple[Tensor | None, ...]
Step: TypeAlias = Callable[[int, Callable[..., LayerOutput], Tensor], LayerOutput]
"""What is done at a call of a layer: its number, the layer itself, and the states that enter."""


@dataclass(frozen=True)
class Call:
    """One call of attention in a forward pass.

    Attributes:
        index: Its number among the calls of attention.
        name: The module's name in the model.
        step: The number of the call of the layer that it is in, among calls of layers.
        cross: Whether a decoder attends to an encoder here.
        heads: Number of heads.
    """

    index: int
    name: str
    step: int
    cross: bool
    heads: int


@dataclass(frozen=True)
class Stack:
    """The layers and attentions of a model.

    Attributes:
        layers: Different modules that are layers; ALBERT has one for all of its layers.
        calls: Calls of attention in a forward pass, in order.
        steps: How many calls of layers a pass has.
        sizes: Length of the tuple that each of them returns; 0 where it returns states alone.
        soft: Attention is seen at its softmax, not through the registry.
    """

    layers: tuple[nn.Module, ...]
    calls: tuple[Call, ...]
    steps: int
    sizes: tuple[int, ...]
    soft: bool = False

    def packed(self, step: int, states: Tensor) -> LayerOutput:
        """States as that call of a layer returns them."""
        size = self.sizes[step]
        return (states, *[None] * (size - 1)) if size else states


class Seen(Watch, Softened, Protocol):
    """A watch for either way of seeing attention."""


class _Recorder:
    """A watch that notes modules and heads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.modules: list[nn.Module] = []
        self.heads: list[int] = []
        self.steps: list[int] = []
        self.step = -1

    def enter(self, call: int, module: nn.Module, inputs: Inputs) -> Inputs:
        self.modules.append(module)
        self.heads.append(inputs.query.shape[1])
        self.steps.append(self.step)
        return inputs

    def leave(
        self, call: int, module: nn.Module, inputs: Inputs, mixed: Tensor, weights: Tensor
    ) -> Tensor:
        return mixed

    def soften(self, call: int, module: nn.Module, weights: Tensor) -> Tensor:
        self.modules.append(module)
        self.heads.append(by_heads(weights, self.size).shape[1])
        self.steps.append(self.step)
        return weights


@contextlib.contextmanager
def seen(model: nn.Module, watch: Seen, *, soft: bool) -> Iterator[None]:
    """Within it, attention in this thread is told to `watch`: by the registry or at its softmax."""
    if soft:
        with installed(model, EAGER), softened(model, watch):
            yield
    else:
        with installed(model), watched(watch):
            yield


@torch.no_grad()
def stack_of(model: nn.Module, run: Callable[[], object], size: int) -> Stack:
    """The layers and attentions that a forward pass calls.

    Args:
        model: The model.
        run: A forward pass of it on a short input.
        size: How many instances that has.

    Raises:
        ModelError: No attention is seen, or one outside every layer.
    """
    first, soft = _Recorder(size), False
    with seen(model, first, soft=False):
        run()
    if not first.modules:
        first, soft = _Recorder(size), True
        with seen(model, first, soft=True):
            run()
    if not first.modules:
        raise ModelError(
            f"{type(model).__name__} shows no attention, neither in the registry of transformers "
            "nor as a softmax, so its weights can be neither read nor replaced"
        )
    # after the pass: BigBird changes its modules in it
    names = {id(module): name for name, module in model.named_modules()}
    owners = [_layer_of(model, names[id(module)]) for module in first.modules]
    layers = tuple({id(layer): layer for layer in owners}.values())
    second = _Recorder(size)

    sizes: list[int] = []

    def step(number: int, layer: Callable[..., LayerOutput], hidden: Tensor) -> LayerOutput:
        second.step = number
        output = layer(hidden)
        sizes.append(len(output) if isinstance(output, tuple) else 0)
        return output

    with seen(model, second, soft=soft), stepped(layers, step) as count:
        run()
    per_layer = Counter(second.steps)
    if soft and any(n > 2 for n in per_layer.values()):
        raise ModelError(
            f"{type(model).__name__} has several softmaxes in a layer, so which is its attention "
            "is not known"
        )
    calls = tuple(
        Call(
            index,
            names[id(module)],
            second.steps[index],
            _is_cross(names[id(module)], module),
            second.heads[index],
        )
        for index, module in enumerate(second.modules)
    )
    return Stack(layers, calls, count[0], tuple(sizes), soft)


def _layer_of(model: nn.Module, name: str) -> nn.Module:
    """The innermost member of a list of modules that the module is in."""
    parts, found = name.split("."), None
    for end in range(1, len(parts) + 1):
        if isinstance(model.get_submodule(".".join(parts[: end - 1])), nn.ModuleList):
            found = model.get_submodule(".".join(parts[:end]))
    if found is None:
        raise ModelError(f"the attention {name!r} is in no list of layers, so none can be cut")
    return found


def _is_cross(name: str, module: nn.Module) -> bool:
    if bool(getattr(module, "is_cross_attention", False)):
        return True
    return any(part in name.lower() for part in CROSS)


class _Steps:
    """What is done at calls of layers in this thread, and how many there have been."""

    def __init__(self, step: Step) -> None:
        self.step, self.count = step, [0]


_steps: ContextVar[_Steps | None] = ContextVar("attnaudit_steps", default=None)
_users: WeakKeyDictionary[nn.Module, tuple[int, object]] = WeakKeyDictionary()
_lock = threading.Lock()


@contextlib.contextmanager
def stepped(layers: tuple[nn.Module, ...], step: Step) -> Iterator[list[int]]:
    """Within it, calls of these layers in this thread go through `step`.

    Yields:
        One number: how many calls there have been.
    """
    with _lock:
        for layer in layers:
            count, before = _users.get(layer, (0, layer.__dict__.get("forward")))
            if not count:
                layer.forward = _through(layer.forward)
            _users[layer] = (count + 1, before)
    mine = _Steps(step)
    token = _steps.set(mine)
    try:
        yield mine.count
    finally:
        _steps.reset(token)
        with _lock:
            for layer in layers:
                count, before = _users.pop(layer)
                if count > 1:
                    _users[layer] = (count - 1, before)
                elif before is None:
                    # what remains is the method of the class
                    del layer.__dict__["forward"]
                else:
                    layer.__dict__["forward"] = before


def _through(forward: Callable[..., LayerOutput]) -> Callable[..., LayerOutput]:
    """A layer's forward that asks this thread's steps first."""

    def run(*args: object, **kwargs: object) -> LayerOutput:
        mine = _steps.get()
        if mine is None:
            return forward(*args, **kwargs)
        named = "hidden_states" in kwargs
        hidden = kwargs.pop("hidden_states") if named else args[0]
        rest = args if named else args[1:]
        number, mine.count[0] = mine.count[0], mine.count[0] + 1
        assert isinstance(hidden, Tensor)

        def layer(states: Tensor, change: Change | None = None) -> LayerOutput:
            others = [change(None, value) if change else value for value in rest]
            more = {name: change(name, v) if change else v for name, v in kwargs.items()}
            if named:
                return forward(*others, hidden_states=states, **more)
            return forward(states, *others, **more)

        return mine.step(number, layer, hidden)

    return run
