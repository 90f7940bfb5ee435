"""How a transformer is loaded and where it is cut: options alone, which import nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attnaudit.errors import SettingsError
from attnaudit.models.transformer.site import Site
from attnaudit.nets.checkpoint import read_header

DTYPES = ("fp32", "bf16", "fp16")
"""Precisions that a model may be run in; weights are kept in 32 bits by default."""


@dataclass(frozen=True)
class Options:
    """How a transformer is loaded and where it is cut.

    Attributes:
        site: Where attention is read; what people show by default.
        target: The label to explain, where labels do not exclude each other; two tokens of a
            language model, as `Rome|Paris`.
        dtype: A key of `DTYPES`.
        question_first: Whether the question of a pair stands before the text; None for what the
            model's labels suggest (entailment: the text first).
        hide: Whether a masked language model reads the mask token for the word asked about, or
            the word itself.
    """

    site: str | Site | None = None
    target: str | None = None
    dtype: str = "fp32"
    question_first: bool | None = None
    hide: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SettingsError(
                f"dtype {self.dtype!r} is unknown; choose one of {', '.join(DTYPES)}"
            )


def is_transformer(folder: Path) -> bool:
    """Whether a folder holds a model of the package `transformers`, by its configuration."""
    header = read_header(folder)
    return header is not None and "model_type" in header and "format" not in header
