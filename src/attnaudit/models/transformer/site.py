"""A site: where in a transformer attention is read and replaced."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from attnaudit.errors import SettingsError

PARTS = ("layer", "head", "heads", "cross", "call")


@dataclass(frozen=True)
class Site:
    """Where attention is read.

    Attributes:
        layer: Number of the layer, from 0; -1 for the last.
        heads: Which heads; None for all, whose mean is the weights.
        cross: Attention from a decoder to an encoder; None for what the model has by default.
    """

    layer: int = -1
    heads: tuple[int, ...] | None = None
    cross: bool | None = None

    def __str__(self) -> str:
        heads = "mean of all heads" if self.heads is None else _numbers(self.heads)
        layer = "last layer" if self.layer == -1 else f"layer {self.layer}"
        return f"{layer}, {heads}" + (", cross-attention" if self.cross else "")


def _numbers(heads: tuple[int, ...]) -> str:
    if len(heads) == 1:
        return f"head {heads[0]}"
    return "mean of heads " + ", ".join(map(str, heads))


def read_site(text: str | Site | None) -> Site:
    """A site as people write it.

    Args:
        text: Such as `layer=10,head=5`, `layer=-1`, `head=0+3`, `cross`; a site is returned as it
            is, and None is the default one.

    Raises:
        SettingsError: It cannot be read so.

    Example:
        >>> read_site("layer=10,head=5")
        Site(layer=10, heads=(5,), cross=None)
    """
    if isinstance(text, Site):
        return text
    found: dict[str, object] = {}
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        name, equals, value = part.partition("=")
        if name == "cross" and not equals:
            found["cross"] = True
            continue
        if name not in PARTS or not equals:
            meant = get_close_matches(name, PARTS, n=1)
            hint = f", did you mean {meant[0]!r}?" if meant else ""
            raise SettingsError(
                f"--site {text}: {part!r} is not known{hint} Write layer=10,head=5, or head=0+3 "
                "for the mean of two"
            )
        if not re.fullmatch(r"-?\d+(\+\d+)*", value):
            raise SettingsError(f"--site {text}: {value!r} is not a number (several: 0+3)")
        numbers = tuple(int(n) for n in value.split("+"))
        if name in ("head", "heads"):
            found["heads"] = tuple(sorted(set(numbers)))
        else:
            found["layer"] = numbers[0]
    return Site(**found)  # type: ignore[arg-type]
