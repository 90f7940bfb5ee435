"""The families of transformers that were verified, as `benchmarks/families.py` found them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from attnaudit.models.transformer.site import Site

FILE = "families.json"


@dataclass(frozen=True)
class Family:
    """What was found of one family.

    Attributes:
        family: Its `model_type`.
        kind: Encoder, decoder or translator.
        layers: How many layers were cut.
        gap: The largest difference of a probability from the unmodified eager model, or None.
        modes: How the cut is decoded at each layer.
        refused: Why it cannot be audited; empty where it can.
    """

    family: str
    kind: str
    layers: int
    gap: float | None
    modes: tuple[str, ...]
    refused: str = ""


def verified() -> tuple[str, list[Family]]:
    """The version of transformers with which it was verified, and what was found."""
    found = json.loads(Path(__file__).with_name(FILE).read_text(encoding="utf-8"))
    rows = [Family(**{**row, "modes": tuple(row["modes"])}) for row in found["families"]]
    return str(found["transformers"]), rows


def whole_layer(layer: int, cross: bool | None = None) -> Site:
    """The mean over heads of a layer."""
    return Site(layer, None, cross)
