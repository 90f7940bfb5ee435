"""Classifiers on disk: safetensors and JSON only, nothing that can run code."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.files import JSON_LIMIT, read_bytes, read_json, tidy, whole_folder, writable
from attnaudit.manifest import MANIFEST, changes, contents, known_manifest, seal
from attnaudit.nets.text.vocabulary import Vocabulary

Kind = TypeVar("Kind")
Net = TypeVar("Net", bound=nn.Module)
if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIG, PARAMETERS, VOCABULARY = "config.json", "model.safetensors", "vocabulary.json"
HELD_OUT = ("test.jsonl", "test.npz")
"""The split held out, which may be taken away where the model goes and the data must not."""
TRAINING = "training.json"
"""How the model was trained, where the folder says so."""
SAVED = (CONFIG, PARAMETERS, VOCABULARY, TRAINING, "splits.json", *HELD_OUT)
"""What the folder of a model holds; before there were manifests, no more than this."""


def write_files(folder: Path, files: Mapping[str, bytes], *, overwrite: bool = False) -> None:
    """Write a model of these files whole or not at all.

    Raises:
        ModelError: The folder cannot be written, or holds something already.
    """
    with model_folder(folder, overwrite=overwrite) as part:
        for name, content in files.items():
            (part / name).write_bytes(content)


@contextlib.contextmanager
def model_folder(folder: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write a model into, which takes its place whole and with a digest of each file.

    Args:
        folder: Where the model will be.
        overwrite: Replace a model that attnaudit saved there.

    Raises:
        ModelError: The folder cannot be written, or holds something already.
    """
    folder = Path(folder)
    check_place(folder, overwrite=overwrite)
    try:
        with whole_folder(folder) as part:
            yield part
            seal(part, "model")
    except OSError as error:
        raise ModelError(f"{folder}: the model cannot be written ({error})") from error


def check_place(
    folder: str | Path, *, overwrite: bool = False, reads: Iterable[object] = ()
) -> None:
    """Refuse a place for a model, before any long work; nothing is made there.

    Args:
        folder: Where the model will be.
        overwrite: Whether a model that attnaudit saved there may be replaced. Nothing else is.
        reads: What the work reads; those that are files or folders are never replaced.

    Raises:
        ModelError: It cannot be written, holds something already, or is being read.
    """
    folder = Path(folder)
    here = folder.resolve()
    for source in reads:
        if isinstance(source, str | Path) and os.path.exists(source):
            read = Path(source).resolve()
            if read == here or here in read.parents:
                what = "" if read == here else f"{source} in "
                raise ModelError(
                    f"{what}{folder} is being read, so no model is written there: choose another "
                    "folder (--out)"
                )
    why = writable(folder)
    if why is not None or (folder.exists() and not folder.is_dir()):
        raise ModelError(
            f"{folder}: the model cannot be written ({why or 'it is a file'}): choose another "
            "folder (--out)"
        )
    tidy(folder.parent, folder.name)
    tidy(folder)
    held = contents(folder) if folder.is_dir() else []
    if not held and not (folder / MANIFEST).exists():
        return
    foreign = _foreign(folder, held)
    if foreign is not None:
        raise ModelError(
            f"{folder} holds {foreign}, which attnaudit did not save there, and is not replaced: "
            "choose another folder (--out)"
        )
    if not overwrite:
        raise ModelError(
            f"{folder} holds a model already: choose another folder (--out), or pass "
            "overwrite=True (--overwrite) to replace it"
        )


def _foreign(folder: Path, held: Iterable[str]) -> str | None:
    """A file that is none of a model's that attnaudit saved, or None."""
    manifest = known_manifest(folder)
    own = set(manifest.files) if manifest.kind == "model" else set()
    header = read_header(folder) or {}
    if own or str(header.get("format", "")).startswith("attnaudit-"):
        # by name, for a version that noted no digests, and for a manifest that is damaged
        members = header.get("members")
        folders = ("", *members) if isinstance(members, list) else ("",)
        own |= {f"{place}/{name}".lstrip("/") for place in folders for name in (*SAVED, MANIFEST)}
    return next((name for name in (*held, MANIFEST) if name not in own), None)


def refuse_changed(folder: Path) -> None:
    """Refuse a model whose files are not those that were saved.

    A model of a version that noted no digests is not checked.

    Raises:
        ModelError: Which file differs.
    """
    said = changes(folder, HELD_OUT)
    if said:
        raise ModelError(
            f"{said[0]}, so the model may give other answers than the one that was saved. Copy the "
            f"folder again; or, if the change is meant, delete {folder / MANIFEST}: its files are "
            "then no longer checked"
        )


def header_bytes(header: DataclassInstance) -> bytes:
    """A header as the text of `config.json`."""
    return json.dumps(dataclasses.asdict(header), indent=2, ensure_ascii=False).encode()


def state_bytes(module: nn.Module) -> bytes:
    """The parameters and buffers of a module as safetensors."""
    state = module.state_dict()
    return save({name: value.detach().cpu().contiguous() for name, value in state.items()})


def read_header(folder: str | Path) -> dict[str, object] | None:
    """The object in a folder's `config.json`, or None where there is none that can be read."""
    try:
        header = read_json(Path(folder) / CONFIG)
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) else None


def no_header(folder: Path) -> str:
    """Why `read_header` gave None: a clause for a message that begins with the file."""
    try:
        read_json(folder / CONFIG)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except ValueError as error:
        return str(error)
    return "not a JSON object"


def checked_header(folder: Path, kind: type[Kind], format: str, version: int) -> Kind:
    """The header in a folder's `config.json`, where it is of this kind.

    Args:
        folder: The model.
        kind: The dataclass of the header.
        format: What its `format` must be.
        version: What its `version` must be.

    Raises:
        ModelError: It is missing, damaged, of another format or version, or holds what no model
            can have.
    """
    path = folder / CONFIG
    data = read_header(folder)
    if data is None:
        raise ModelError(f"{path}: {no_header(folder)}; copy the file again")
    if data.get("format") != format:
        raise ModelError(f"{path}: format is {data.get('format')!r}, expected {format!r}")
    if data.get("version") != version:
        raise ModelError(
            f"{path}: format version {data.get('version')!r}, but this attnaudit reads version "
            f"{version}; use the attnaudit that wrote it, or save the model again"
        )
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(f"{path}: {place}: {first['msg']}") from error
    except SettingsError as error:
        raise ModelError(f"{path}: {error}") from error


def load_state(path: Path, build: Callable[[], Net]) -> Net:
    """A network with the parameters of a file.

    Args:
        path: The safetensors file.
        build: Makes the network, of any parameters.

    Raises:
        ModelError: The file is missing or damaged, no network can be built, or the two do not
            fit; a parameter is NaN or infinite; or a file of the model is not what was saved.
    """
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: missing, damaged or cut short ({error}); copy the file again"
        ) from error
    # Built without memory, so that a wrong size in the configuration cannot exhaust it.
    try:
        with torch.device("meta"):
            net = build()
    except (SettingsError, RuntimeError, TypeError) as error:
        raise ModelError(
            f"{path.parent / CONFIG}: no network can be built of it ({error})"
        ) from error
    _check(path, state, net.state_dict())
    # last, as what is plainly damaged has a message of its own
    refuse_changed(path.parent)
    # tensors of the file lie wherever its header ends; on unaligned memory sums round otherwise
    net.load_state_dict({name: value.clone() for name, value in state.items()}, assign=True)
    return net


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary in a file.

    Raises:
        ModelError: It is missing, damaged, or not of that form.
    """
    try:
        return Vocabulary.from_json(read_bytes(path, JSON_LIMIT).decode())
    except (DataError, OSError, ValueError) as error:
        raise ModelError(f"{path}: {error}") from error


def _check(path: Path, state: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Refuse parameters that do not fit the configuration, or are no numbers."""
    missing, unknown = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or unknown:
        raise ModelError(
            f"{path}: does not fit {CONFIG}: tensors missing {missing}, not expected {unknown}"
        )
    first = min(state)
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise ModelError(
                f"{path}: tensor {name!r} has shape {tuple(tensor.shape)}, but the files beside it "
                f"ask for {tuple(wanted[name].shape)}"
            )
        if tensor.dtype not in (torch.float32, torch.float64):
            raise ModelError(
                f"{path}: tensor {name!r} is {tensor.dtype}; only float32 and float64 are read"
            )
        if tensor.dtype != state[first].dtype:
            raise ModelError(
                f"{path}: tensor {name!r} is {tensor.dtype}, but {first!r} is "
                f"{state[first].dtype}; store all parameters in one type"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{path}: tensor {name!r} holds NaN or infinity; the model is broken, train it "
                "again or fetch another checkpoint"
            )
