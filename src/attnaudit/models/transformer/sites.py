"""The sites that a transformer has, and the call of attention that each of them is."""

from __future__ import annotations

from attnaudit.errors import SettingsError
from attnaudit.models.transformer.site import Site
from attnaudit.models.transformer.stack import Call, Stack


def call_of(stack: Stack, site: Site, *, crossing: bool, name: str) -> Call:
    """The call of attention of a site.

    Args:
        stack: Layers and calls of the model.
        site: The site.
        crossing: Whether cross-attention is what the model shows by default.
        name: The model, for messages.

    Raises:
        SettingsError: There is no such layer or head, or no cross-attention.
    """
    cross = crossing if site.cross is None else site.cross
    calls = [c for c in stack.calls if c.cross == cross]
    if crossing and not cross:
        # what the encoder's own attention is: the calls before any cross-attention
        first = min(c.index for c in stack.calls if c.cross)
        calls = [c for c in calls if c.index < first - 1]
    if not calls:
        raise SettingsError(f"{name} has no cross-attention; leave `cross` out of --site")
    if not -len(calls) <= site.layer < len(calls):
        raise SettingsError(
            f"layer {site.layer} does not exist: {name} has the layers 0 to {len(calls) - 1} "
            "(-1 for the last)"
        )
    call = calls[site.layer]
    wrong = [head for head in site.heads or () if not 0 <= head < call.heads]
    if wrong:
        raise SettingsError(
            f"head {wrong[0]} does not exist: layer {site.layer} of {name} has the heads 0 to "
            f"{call.heads - 1}"
        )
    return call


def every_site(stack: Stack, *, crossing: bool) -> list[Site]:
    """Every head of every layer."""
    calls = [c for c in stack.calls if c.cross == crossing]
    cross = True if crossing else None
    return [Site(k, (head,), cross) for k, c in enumerate(calls) for head in range(c.heads)]
