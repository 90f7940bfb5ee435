"""A digest of all that decides an embedding."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

from attnaudit.files import parse_json


def fingerprint_of(model: Any, transformer: nn.Module, tokenizer: Any, more: object) -> str:
    """A SHA-256 over configuration, modules, tokenizer, weights and `more`.

    Args:
        model: A `SentenceTransformer`.
        transformer: Its transformer.
        tokenizer: Its fast tokenizer.
        more: Whatever else decides; told apart by its `repr`.
    """
    config: Any = transformer.config
    digest = hashlib.sha256(config.to_json_string().encode())
    for module in model:
        settings: Any = getattr(module, "get_config_dict", dict)()
        digest.update(f"{type(module).__name__} {settings!r}".encode())
    digest.update(_tokenizer_facts(tokenizer).encode())
    for name, value in sorted(model.state_dict().items()):
        raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(memoryview(raw.numpy()))
    digest.update(repr(more).encode())
    return digest.hexdigest()


def _tokenizer_facts(tokenizer: Any) -> str:
    """What a tokenizer makes of a text; how its last call cut and padded is its state alone."""
    facts: Any = parse_json(tokenizer.backend_tokenizer.to_str())
    return json.dumps({k: v for k, v in facts.items() if k not in ("truncation", "padding")})
