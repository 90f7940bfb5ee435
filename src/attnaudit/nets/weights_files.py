"""The files of a pretrained model, checked before anything is loaded: safetensors, or a refusal.

Weights in pickles may run code when they are read, and some settings name other files or code. The
libraries' own flags do not close every one of these ways in every version.
"""

from __future__ import annotations

from pathlib import Path

from attnaudit.errors import ModelError
from attnaudit.files import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
TOKENIZERS = ("tokenizer*.json", "vocab*", "*.model")
"""Files of which a tokenizer has at least one."""


def check_transformer(folder: Path, *, with_tokenizer: bool = True) -> None:
    """Refuse a folder of a transformer, if reading it could run code or would read a pickle.

    Args:
        folder: The folder.
        with_tokenizer: Whether there must be a tokenizer too.

    Raises:
        ModelError: Files are missing or damaged, weights are not safetensors, an adapter would be
            put on a base from elsewhere, or attention is code on the hub.
    """
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder} holds an adapter (adapter_config.json), whose base model would be read from "
            "elsewhere, unchecked; merge it into its base (merge_and_unload) and save the whole"
        )
    config = json_object(folder / "config.json")
    named = config.get("transformers_weights")
    if named not in (None, WEIGHTS, INDEX):
        raise ModelError(
            f"{folder / 'config.json'}: transformers_weights names {str(named)[:80]!r}; only "
            f"{WEIGHTS} and {INDEX} are read"
        )
    check_attention(folder / "config.json", config)
    if named == INDEX or (not (folder / WEIGHTS).is_file() and (folder / INDEX).is_file()):
        _check_shards(folder / INDEX)
    else:
        check_weights(folder)
    if with_tokenizer and not any(True for p in TOKENIZERS for _ in folder.glob(p)):
        raise ModelError(f"{folder} holds no tokenizer (tokenizer.json); save it there")


def check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are not one safetensors file.

    Raises:
        ModelError: They are not, with the name of the pickle if there is one.
    """
    if (folder / WEIGHTS).is_file():
        return
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLED)
    found = f" but {pickles[0]}, a pickle, which may run code when it is read" if pickles else ""
    raise ModelError(
        f"{folder} holds no {WEIGHTS}{found}; if you trust where it comes from, load it with its "
        "own library and save it as safetensors"
    )


def _check_shards(index: Path) -> None:
    shards = json_object(index).get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) and shards else [""]
    for name in sorted({str(name) for name in names}):
        if not is_plain(name) or not name.endswith(".safetensors"):
            raise ModelError(
                f"{index} names {name[:80]!r}, which is not a safetensors file beside it; if you "
                "trust where it comes from, load it with its own library and save it as safetensors"
            )
        if not (index.parent / name).is_file():
            raise ModelError(f"{index}: the file {name} is absent; copy the folder again")


def check_attention(path: Path, settings: dict[str, object]) -> None:
    """Refuse settings whose attention is code on the hub (`owner/name`, of the package kernels).

    Raises:
        ModelError: They name some.
    """
    for key, value in settings.items():
        if "attn_implementation" in key and "/" in str(value):
            raise ModelError(f"{path}: {key} names code on the hub, {str(value)[:80]!r}; remove it")


def json_object(path: Path) -> dict[str, object]:
    """The object in a JSON file.

    Raises:
        ModelError: The file is missing, damaged, or holds something else.
    """
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: missing or damaged ({error}); copy the folder again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: not a JSON object but {type(found).__name__}")
    return found


def is_plain(name: str) -> bool:
    """Whether a name stands for a file or folder of the folder that it is in."""
    return name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)
