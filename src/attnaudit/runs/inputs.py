"""What cells read: models and data, told by fingerprint and loaded once per process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from attnaudit.errors import SettingsError

Value = TypeVar("Value")
_HELD: dict[str, object] = {}
"""What this process has at hand, by fingerprint."""


@dataclass(frozen=True)
class Input(Generic[Value]):
    """A model or data set that cells read. It travels as fingerprint and loader, never whole.

    Attributes:
        fingerprint: What it is; equal fingerprints, equal values.
        load: How another process gets it; None where none can.
        name: What messages call it.
    """

    fingerprint: str
    load: Callable[[], Value] | None = field(compare=False)
    name: str = "the model"

    def get(self) -> Value:
        """The value, loaded on first use in a process.

        Raises:
            SettingsError: It is in the memory of another process alone.
        """
        if self.fingerprint not in _HELD:
            if self.load is None:
                raise SettingsError(
                    f"{self.name} is known to this process alone and cannot be sent to others: "
                    "leave workers at 1"
                )
            _HELD[self.fingerprint] = self.load()
        found: Value = _HELD[self.fingerprint]  # type: ignore[assignment] # by its fingerprint
        return found


@contextlib.contextmanager
def holding(
    value: Value, fingerprint: str, load: Callable[[], Value] | None = None, name: str = "the model"
) -> Iterator[Input[Value]]:
    """A value at hand in this process, for as long as its cells run.

    Args:
        value: The value.
        fingerprint: What it is.
        load: How other processes get it; it can be pickled.
        name: What messages call it.
    """
    before = _HELD.get(fingerprint)
    _HELD[fingerprint] = value
    try:
        yield Input(fingerprint, load, name)
    finally:
        if before is None:
            _HELD.pop(fingerprint, None)
        else:
            _HELD[fingerprint] = before
