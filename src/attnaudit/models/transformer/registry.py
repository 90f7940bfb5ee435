"""Reading and replacing attention through the registry of the package `transformers`.

One function is registered. It calls the family's own eager function, so that sinks, soft caps,
position biases and grouped queries are the family's; whoever watches sees what goes in and comes
out, and may put other rows in place. Without a watch it is eager attention.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

NAME = "attnaudit"
"""The implementation's name in the registry."""
EAGER = "eager"


class Watch(Protocol):
    """What is told of every call of attention, in call order."""

    def enter(self, call: int, module: nn.Module, inputs: Inputs) -> Inputs | Tensor:
        """What goes in, perhaps changed; or the mixed values `(B, Tq, H, D)` themselves."""

    def leave(
        self, call: int, module: nn.Module, inputs: Inputs, mixed: Tensor, weights: Tensor
    ) -> Tensor:
        """The mixed values `(B, Tq, H, D)`, perhaps changed; weights are `(B, H, Tq, Tk)`."""


class Inputs:
    """What a call of attention reads.

    Attributes:
        query: `(B, H, Tq, D)`.
        key: `(B, Hkv, Tk, D)`.
        value: `(B, Hkv, Tk, D)`.
        mask: What is added to the scores, `(B or 1, H or 1, Tq, Tk)`, or None.
    """

    __slots__ = ("key", "mask", "query", "value")

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> None:
        self.query, self.key, self.value, self.mask = query, key, value, mask


class _Seen:
    """A watch, and how many calls it has been told of."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.calls = watch, 0


_seen: ContextVar[_Seen | None] = ContextVar("attnaudit_attention", default=None)


@contextlib.contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Within it, calls of attention in this thread are told to `watch`."""
    token = _seen.set(_Seen(watch))
    try:
        yield
    finally:
        _seen.reset(token)


def own_eager(module: nn.Module) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """The eager function of the module's family, or None where the family has none."""
    for kind in type(module).__mro__:
        found: Callable[..., tuple[Tensor, Tensor]] | None = getattr(
            sys.modules.get(kind.__module__), "eager_attention_forward", None
        )
        if found is not None:
            return found
    return None


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *args: object,
    **kwargs: object,
) -> tuple[Tensor, Tensor | None]:
    """The registered function: eager attention of the module's family, watched."""
    eager = own_eager(module)
    assert eager is not None, f"{type(module).__module__} has no eager_attention_forward"
    seen = _seen.get()
    if seen is None:
        mixed, weights = eager(module, query, key, value, attention_mask, *args, **kwargs)
        return mixed, weights
    call, seen.calls = seen.calls, seen.calls + 1
    inputs = seen.watch.enter(call, module, Inputs(query, key, value, attention_mask))
    if isinstance(inputs, Tensor):
        return inputs, None
    mixed, weights = eager(
        module, inputs.query, inputs.key, inputs.value, inputs.mask, *args, **kwargs
    )
    return seen.watch.leave(call, module, inputs, mixed, weights), weights


AttentionInterface.register(NAME, attend)
# without it the mask would be dropped in silence
AttentionMaskInterface.register(NAME, eager_mask)

_lock = threading.Lock()
_users: dict[int, tuple[int, list[tuple[PretrainedConfig, str | None]]]] = {}


@contextlib.contextmanager
def installed(model: nn.Module, name: str = NAME) -> Iterator[None]:
    """Within it the model attends by the implementation `name`; restored, also after an error.

    Threads may share a model: the first one in sets it, the last one out restores it.
    """
    key = id(model)
    with _lock:
        count, before = _users.get(key, (0, []))
        if not count:
            before = [(c, c._attn_implementation_internal) for c in _configs(model)]
        for config, _ in before:
            config._attn_implementation_internal = name
        _users[key] = (count + 1, before)
    try:
        yield
    finally:
        with _lock:
            count, before = _users.pop(key)
            if count > 1:
                _users[key] = (count - 1, before)
            else:
                for config, internal in before:
                    config._attn_implementation_internal = internal


def _configs(model: nn.Module) -> list[PretrainedConfig]:
    """Every configuration that a part of the model reads its attention from, once each."""
    found: dict[int, PretrainedConfig] = {}

    def walk(config: object) -> None:
        if not isinstance(config, PretrainedConfig) or id(config) in found:
            return
        found[id(config)] = config
        for name in config.sub_configs:
            walk(getattr(config, name, None))

    for module in model.modules():
        walk(getattr(module, "config", None))
    return list(found.values())


def mixed_by(weights: Tensor, value: Tensor) -> Tensor:
    """Values mixed by weights: `(B, h, Tq, Tk)` and `(B, h or Hkv, Tk, D)` to `(B, Tq, h, D)`."""
    groups = weights.shape[1] // value.shape[1]
    spread = value.repeat_interleave(groups, 1) if groups > 1 else value
    return torch.einsum("bhqk,bhkd->bqhd", weights.to(spread.dtype), spread)
