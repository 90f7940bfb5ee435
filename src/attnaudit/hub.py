"""The Hugging Face hub: whether it can be reached, and the files of a model there."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnaudit.errors import ModelError, first_line

FETCHED = ("*.json", "*.txt", "*.model", "*.safetensors", "*.jinja", "*.codes", "*.vocab")
"""Files that are fetched: settings, tokenizers and safetensors; neither code nor pickles."""
NOT_FETCHED = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*")
PATIENCE = 3.0
"""Seconds that the hub has for its first answer. Without a network the error comes at once."""


def offline() -> bool:
    """Whether the environment forbids asking the hub (HF_HUB_OFFLINE)."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def reachable() -> bool:
    """Whether the hub answers. It is asked once, where its libraries ask for half a minute."""
    if offline():
        return False
    library = _library()
    try:
        library.utils.get_session().head(library.constants.ENDPOINT, timeout=PATIENCE)
    # of requests or of httpx, by version: no network, no answer, a proxy that refuses
    except Exception:
        return False
    return True


@contextmanager
def cached_if_unreachable(settings: Any) -> Iterator[None]:
    """Within it `datasets` reads what was fetched before, where the hub is out of reach.

    Args:
        settings: The module `datasets.config`, which holds a flag of its own.
    """
    places = (_library().constants, settings)
    before = [place.HF_HUB_OFFLINE for place in places]
    cut_off = not reachable()
    for place, flag in zip(places, before, strict=True):
        place.HF_HUB_OFFLINE = flag or cut_off
    try:
        yield
    finally:
        for place, flag in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = flag


def fetched(name: str, check: Callable[[Path], object], cache: str | None = None) -> Path:
    """The folder with the files of a model of the hub, which pass `check`.

    What was fetched before is asked of nobody, so that a model stays what it was; it is fetched
    again only if it does not pass, as it may be a part.

    Args:
        name: Its name on the hub.
        check: Raises a `ModelError` for files that are missing or must not be read.
        cache: The folder of the cache; that of `huggingface_hub` by default.

    Raises:
        ModelError: What `check` raised, or the hub has no such model or cannot be reached, or the
            name is that of a file here.
    """
    if os.path.exists(name):
        raise ModelError("it is a file, not a folder")
    library = _library()
    fetch, missing = library.snapshot_download, library.utils.LocalEntryNotFoundError
    refused: ModelError | None = None
    try:
        folder = Path(fetch(name, cache_dir=cache, local_files_only=True))
        check(folder)
    except ModelError as error:
        refused = error
    except missing:
        pass
    except (OSError, ValueError) as error:
        raise ModelError("neither a folder nor a name on the hub") from error
    else:
        return folder
    if not reachable():
        why = "is not asked (HF_HUB_OFFLINE is set)" if offline() else "cannot be reached"
        raise refused or ModelError(f"it was not fetched before, and the hub {why}")
    try:
        folder = Path(
            fetch(
                name,
                cache_dir=cache,
                allow_patterns=list(FETCHED),
                ignore_patterns=list(NOT_FETCHED),
            )
        )
    # no such model, no access, a full disk, a connection that broke
    except Exception as error:
        reason = first_line(error)
        raise ModelError(f"{type(error).__name__}: {reason}") from error
    check(folder)
    return folder


def has_file(name: str, file: str) -> bool:
    """Whether a model of the hub has a file: by what was fetched before, else by asking the hub.

    Where nothing was fetched and the hub cannot be asked, it has not.
    """
    library = _library()
    try:
        if isinstance(library.try_to_load_from_cache(name, file), str):
            return True
        if isinstance(library.try_to_load_from_cache(name, "config.json"), str):
            return False
        return reachable() and bool(library.file_exists(name, file))
    # not a name that the hub could have, no such model, no access
    except Exception:
        return False


def _library() -> Any:
    return importlib.import_module("huggingface_hub")
