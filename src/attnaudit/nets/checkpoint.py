"""Classifiers on disk: safetensors and JSON only, nothing that can run code."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.nets.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.vocabulary import Vocabulary

FORMAT = "attnaudit-classifier"
VERSION = 1
Kind = TypeVar("Kind")
Net = TypeVar("Net", bound=nn.Module)
CONFIG, PARAMETERS, VOCABULARY = "config.json", "model.safetensors", "vocabulary.json"


@dataclass(frozen=True)
class Header:
    """What `config.json` holds.

    Attributes:
        format: Always `FORMAT`: how `load` knows what it has before it.
        version: Of the format.
        name: What reports call the model.
        config: What the network is made of.
    """

    format: str
    version: int
    name: str
    config: ClassifierConfig

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Checkpoint:
    """A network as it is stored.

    Attributes:
        name: What reports call the model.
        net: The network, on the CPU.
        vocabulary: Its words.
    """

    name: str
    net: AttentionClassifier
    vocabulary: Vocabulary


def save_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the folder is made, files of an earlier one are replaced.

    Raises:
        ModelError: The folder cannot be written.
    """
    folder = Path(folder)
    header = Header(FORMAT, VERSION, checkpoint.name, checkpoint.net.config)
    files = {
        PARAMETERS: state_bytes(checkpoint.net),
        VOCABULARY: checkpoint.vocabulary.to_json().encode(),
        CONFIG: header_bytes(header),
    }
    write_files(folder, files)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made; each replaces an earlier one whole, or not at all.

    Raises:
        ModelError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            # A rename is all or nothing, so a crash leaves no half-written file.
            part = folder / f".{name}.part"
            part.write_bytes(content)
            os.replace(part, folder / name)
    except OSError as error:
        raise ModelError(f"{folder}: the model cannot be written ({error})") from error


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, before any long work; it is made.

    Raises:
        ModelError: It cannot be made or written.
    """
    write_files(folder, {".try": b""})
    (folder / ".try").unlink(missing_ok=True)


def header_bytes(header: Any) -> bytes:
    """A header, which is a dataclass, as the text of `config.json`."""
    return json.dumps(dataclasses.asdict(header), indent=2, ensure_ascii=False).encode()


def state_bytes(module: nn.Module) -> bytes:
    """The parameters and buffers of a module as safetensors."""
    state = module.state_dict()
    return save({name: value.detach().cpu().contiguous() for name, value in state.items()})


def read_header(folder: str | Path) -> dict[str, Any] | None:
    """The object in a folder's `config.json`, or None where there is none that can be read."""
    try:
        header = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) else None


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
        raise ModelError(f"{path}: no JSON object; copy the file again")
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
            fit; or a parameter is NaN or infinite.
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
    net.load_state_dict(state, assign=True)
    return net


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        ModelError: A file is missing, damaged, of another version, or does not fit the others;
            or a parameter is NaN or infinite.
    """
    folder = Path(folder)
    for name in (CONFIG, VOCABULARY, PARAMETERS):
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder / name}: no such file. A classifier is a folder with {CONFIG}, "
                f"{VOCABULARY} and {PARAMETERS}, as its save method writes them"
            )
    header = checked_header(folder, Header, FORMAT, VERSION)
    try:
        vocabulary = Vocabulary.from_json((folder / VOCABULARY).read_text(encoding="utf-8"))
    except (DataError, OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder / VOCABULARY}: {error}") from error
    net = load_state(
        folder / PARAMETERS, lambda: AttentionClassifier(header.config, len(vocabulary))
    )
    return Checkpoint(header.name, net, vocabulary)


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
