"""Contributions kept, in memory and on disk, so that a text is solved once."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from attnaudit.errors import DamagedWarning, RunError
from attnaudit.files import parse_json, tidy, write_whole
from attnaudit.models.siamese.contributions import Contributions
from attnaudit.models.siamese.tokens import Role, Tokens

MEMORY = 256 * 2**20
"""Bytes of contributions kept in memory; the longest unused go first."""
STALE = 3600.0
"""Seconds after which a file that is half-written is taken for one of a killed process."""
TENSORS = ("parts", "embedding", "reference")


class Cache:
    """Contributions by text, for one encoder, layer, reference and tolerance.

    Args:
        key: All that decides contributions besides the text.
        folder: Where they are kept as safetensors; None for memory only.
        memory: Bytes kept in memory.

    Raises:
        RunError: A folder that cannot be written.
    """

    def __init__(self, key: str, folder: Path | None = None, memory: int = MEMORY) -> None:
        self.key, self.memory = key, memory
        self.folder = None if folder is None else Path(folder)
        self._held: OrderedDict[str, Contributions] = OrderedDict()
        self._bytes = 0
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                # other processes may be writing into the same cache
                tidy(self.folder, older=STALE)
            except OSError as error:
                raise RunError(
                    f"the cache folder {self.folder} cannot be made: {error.strerror}; give another"
                ) from error

    def get(self, text: str, role: Role = "text") -> Contributions | None:
        """What is known of a text; a file that cannot be read counts as nothing."""
        name = self._name(text, role)
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        found = None if self.folder is None else _read(self.folder / f"{name}.safetensors", text)
        if found is not None:
            self._hold(name, found)
        return found

    def put(self, found: Contributions) -> None:
        """Keep the contributions of a text.

        Raises:
            RunError: The disk is full or may not be written.
        """
        name = self._name(found.tokens.text, found.tokens.role)
        self._hold(name, found)
        if self.folder is not None:
            _write(self.folder / f"{name}.safetensors", found)

    @property
    def holds_any(self) -> bool:
        """Whether anything may come from an earlier call."""
        return bool(self._held) or self.folder is not None

    def _hold(self, name: str, found: Contributions) -> None:
        self._held[name] = found
        self._bytes += found.parts.nbytes
        while self._bytes > self.memory and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].parts.nbytes

    def _name(self, text: str, role: Role) -> str:
        return hashlib.sha256(f"{self.key}\x1f{role}\x1f{text}".encode()).hexdigest()[:40]


def _write(path: Path, found: Contributions) -> None:
    tensors = {name: getattr(found, name).contiguous() for name in TENSORS}
    facts = {
        "tokens": asdict(found.tokens),
        "error": found.error,
        "nodes": found.nodes,
        "mode": found.mode,
        "reached": found.reached,
    }
    told = json.dumps(facts)
    about = {"contributions": told, "digest": _digest(told, tensors)}
    try:
        write_whole(path, save(tensors, about))
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"the cache file {path} could not be written: {error}; free the disk, or name another "
            "folder"
        ) from error


def _read(path: Path, text: str) -> Contributions | None:
    """What is kept of a text; None where there is nothing, or with a warning nothing whole."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in TENSORS}
        if _digest(about["contributions"], tensors) != about["digest"]:
            raise ValueError("another digest")
        facts: Any = parse_json(about["contributions"])  # of any depth: the file may be another's
        told = facts.pop("tokens")
        offsets = tuple((int(start), int(end)) for start, end in told.pop("offsets"))
        tokens = Tokens(
            offsets=offsets,
            text=told.pop("text"),
            cut=told.pop("cut"),
            role=told.pop("role"),
            unknown=told.pop("unknown"),
            **{name: tuple(value) for name, value in told.items()},
        )
        found = Contributions(tokens=tokens, **tensors, **facts)
        if tokens.text != text:
            raise ValueError("another text")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError):
        said = f"{path} is not what was written: made again."
        warnings.warn(said, DamagedWarning, stacklevel=2)
        return None
    return found if bool(torch.isfinite(found.parts).all()) else None


def _digest(told: str, tensors: Mapping[str, Tensor]) -> str:
    """A hash of facts and tensors, in the file itself, as processes share a cache."""
    found = hashlib.sha256(told.encode())
    for name in TENSORS:
        value = tensors[name]
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
