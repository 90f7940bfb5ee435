"""The shapes that signatures state, executed in the test run."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from beartype import beartype
from jaxtyping import config, install_import_hook


def shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the tensors of a function's calls; its other types are mypy's business."""
    hints = function.__annotations__
    function.__annotations__ = {
        name: hint for name, hint in hints.items() if "[Tensor, " in str(hint)
    }
    return beartype(function)


def check_shapes(*packages: str) -> None:
    """Check every call within these packages; to be called before they are imported."""
    install_import_hook(packages, f"{__name__}.shapes")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """For input that signatures do not allow, to see that the code itself refuses it."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
