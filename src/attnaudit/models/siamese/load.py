"""Sentence encoders from a folder, the hub or a package, read without running their code."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from typing import Any

from attnaudit.errors import MissingExtra, ModelError, first_line
from attnaudit.hub import fetched
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.modules import OURS, modules_of
from attnaudit.models.siamese.table import ScoreKind
from attnaudit.nets.devices import check_device
from attnaudit.nets.pretrained.load import place_of, quiet


def load_siamese(
    source: Any,
    *,
    layer: int = 0,
    kind: ScoreKind | None = None,
    prompt: str | None = None,
    device: str | None = None,
) -> SiameseEncoder:
    """A sentence-transformers model, ready to be explained.

    Args:
        source: A folder, the name of a model on the Hugging Face hub, `minilm` for the
            all-MiniLM-L6-v2 that comes with the extra `minilm`, or a `SentenceTransformer`.
        layer: See `SiameseEncoder`.
        kind: `cosine` or `dot`; the model's own by default.
        prompt: Put before every text; by default the model's own default prompt, if any.
        device: `cpu`, `cuda`, …; where the model is, or the CPU, by default.

    Raises:
        MissingExtra: The package sentence-transformers, or that of `minilm`, is absent.
        ModelError: There is no such model, or none of sentence-transformers, or loading it could
            run code or read a pickle.
        NotApplicable: A model that this explanation cannot be put to, with the reason.
    """
    if device is not None:
        check_device(device)
    named = str(source) if isinstance(source, str | Path) else None
    model: Any = source if named is None else _read(named, device)
    if device is not None:
        model.to(device)
    return SiameseEncoder(model, layer, kind, prompt, named)


def _read(source: str, device: str | None) -> Any:
    try:
        library = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise MissingExtra("sentence-transformers", "siamese", "A sentence encoder") from error
    folder = _checked(source)
    if modules_of(folder)[0].type == OURS:
        shifted = importlib.import_module("attnaudit.models.siamese.shifted")
        with quiet(importlib.import_module("transformers")):
            return shifted.load_shifted(folder, device)
    try:
        with warnings.catch_warnings(), quiet(importlib.import_module("transformers")):
            warnings.simplefilter("ignore")
            return library.SentenceTransformer(
                str(folder),
                device=device or "cpu",
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
    # the library raises many kinds of errors: an unknown architecture, weights of another shape
    except Exception as error:
        reason = first_line(error)
        raise _failed(source, f"{type(error).__name__}: {reason}") from error


def _checked(source: str) -> Path:
    """The folder of a model whose files may be loaded, fetched from the hub where it is a name."""
    place = Path(place_of(source))
    if os.path.isdir(place):  # False for what is too long to be a path
        modules_of(place)
        return place
    # what the library does with a name without an owner, and where it keeps what it fetches
    name = source if "/" in source else f"sentence-transformers/{source}"
    try:
        return fetched(name, modules_of, os.environ.get("SENTENCE_TRANSFORMERS_HOME"))
    except ModelError as error:
        raise _failed(source, str(error)) from error


def _failed(source: str, reason: str) -> ModelError:
    return ModelError(
        f"no sentence encoder could be read from {source!r}: {reason}. Give a folder with "
        "modules.json and safetensors, or the name of such a model on the Hugging Face hub"
    )
