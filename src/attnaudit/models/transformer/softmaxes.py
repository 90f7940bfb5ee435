"""Reading and replacing attention of families outside the registry: by the softmax itself.

Their attention modules are entered and left under watch; a softmax in between, over scores of at
least three dimensions, is their attention. Weights are replaced where it returns them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SOFTMAX = {
    torch.nn.functional.softmax,
    torch.softmax,
    torch.Tensor.softmax,
    torch.special.softmax,
}
PART = "ttention"
"""What the names of classes of attention have in common."""
Result = TypeVar("Result")


class Softened(Protocol):
    """What is told of every softmax of attention, in order."""

    def soften(self, call: int, module: nn.Module, weights: Tensor) -> Tensor:
        """The weights `(B, H, Tq, Tk)` or `(B * H, Tq, Tk)`, perhaps changed."""


class _Softmaxes(TorchFunctionMode):
    """Sees every softmax inside an attention module."""

    def __init__(self, watch: Softened) -> None:
        super().__init__()
        self.watch, self.inside, self.calls = watch, list[nn.Module](), 0

    def __torch_function__(
        self,
        func: Callable[..., Result],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> Result | Tensor:
        found = func(*args, **(kwargs or {}))
        if func not in SOFTMAX or not self.inside:
            return found
        assert isinstance(found, Tensor)
        if found.dim() < 3:
            return found
        call, self.calls = self.calls, self.calls + 1
        return self.watch.soften(call, self.inside[-1], found)


@contextlib.contextmanager
def softened(model: nn.Module, watch: Softened) -> Iterator[None]:
    """Within it, softmaxes of attention are told to `watch`; no hook stays behind."""
    mode = _Softmaxes(watch)

    def enter(module: nn.Module, inputs: object) -> None:
        mode.inside.append(module)

    def leave(module: nn.Module, inputs: object, output: object) -> None:
        mode.inside.pop()

    handles = []
    for module in model.modules():
        if PART in type(module).__name__ and not isinstance(module, nn.ModuleList):
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        with mode:
            yield
    finally:
        for handle in handles:
            handle.remove()


def by_heads(weights: Tensor, size: int) -> Tensor:
    """Weights of `size` instances as `(B, H, Tq, Tk)`."""
    if weights.dim() == 4:
        return weights
    return weights.view(size, -1, *weights.shape[1:])
