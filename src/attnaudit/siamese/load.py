"""Sentence encoders from a folder, the hub or a package, read without running their code."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

from attnaudit.errors import MissingExtra, ModelError
from attnaudit.nets.devices import check_device
from attnaudit.nets.pretrained_load import place_of, quiet
from attnaudit.siamese.encoder import SiameseEncoder
from attnaudit.siamese.table import ScoreKind


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
        ModelError: There is no such model, or none of sentence-transformers.
        NotApplicable: A model that this explanation cannot be put to, with the reason.
    """
    if device is not None:
        check_device(device)
    model: Any = _read(str(source), device) if isinstance(source, str | Path) else source
    if device is not None:
        model.to(device)
    return SiameseEncoder(model, layer, kind, prompt)


def _read(source: str, device: str | None) -> Any:
    try:
        library = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise MissingExtra("sentence-transformers", "siamese", "A sentence encoder") from error
    place = place_of(source)
    if Path(place).is_dir() and not (Path(place) / "modules.json").exists():
        raise ModelError(
            f"{source} holds no sentence-transformers model (modules.json is absent): how its "
            "token vectors become one embedding is not known, so its scores are not. Save it with "
            "sentence_transformers.SentenceTransformer(...).save(folder)"
        )
    shifted = importlib.import_module("attnaudit.siamese.shifted")
    if Path(place).is_dir() and shifted.is_shifted(place):
        with quiet(importlib.import_module("transformers")):
            return shifted.load_shifted(place, device)
    try:
        with warnings.catch_warnings(), quiet(importlib.import_module("transformers")):
            warnings.simplefilter("ignore")
            return library.SentenceTransformer(
                place, device=device or "cpu", trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )  # fmt: skip
    # the library raises many kinds of errors: no file, no network, an unknown architecture
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(
            f"no sentence encoder could be read from {source!r}: {type(error).__name__}: {reason}. "
            "Give a folder with modules.json and safetensors, or the name of such a model on the "
            "Hugging Face hub"
        ) from error
