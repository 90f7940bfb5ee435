"""The modules of a sentence-transformers folder, checked before any of them is imported.

`modules.json` names Python classes, and some releases of the library import whatever it names.
Here every class must be in a list of the library's own, the weights of each must be safetensors,
and the settings of each may name no other code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from attnaudit.errors import ModelError, NotApplicable
from attnaudit.files import read_json
from attnaudit.models.siamese.supported import check_saved
from attnaudit.nets.weights_files import (
    check_attention,
    check_transformer,
    check_weights,
    is_plain,
    json_object,
)

OURS = "attnaudit.models.siamese.shifted.ShiftedTransformer"
EARLIER = ("attnaudit.siamese.shifted.ShiftedTransformer",)
"""The one class of ours, which may stand first in a folder."""
ROOTS = (
    "sentence_transformers.models",
    "sentence_transformers.base.modules",
    "sentence_transformers.sentence_transformer.modules",
)
"""Packages of the library that its modules are, or were, in; before and since 5.4."""
WEIGHTED = ("Dense", "LayerNorm", "LSTM", "CNN", "WeightedLayerPooling")
WEIGHTLESS = ("Pooling", "Normalize", "Dropout")
ROUTERS = ("Router", "Asym")
LOADED = ("Transformer", *WEIGHTED, *WEIGHTLESS, *ROUTERS)
"""Classes that are loaded. Others of the library start with no transformer or give no embedding."""
HARMLESS: dict[str, tuple[object, ...]] = {
    "use_safetensors": (None, True),
    "weights_only": (None, True),
    "use_kernels": (None, False),
    "variant": (None,),
    "gguf_file": (None,),
    "adapter_kwargs": (None, {}),
    "code_revision": (None,),
}
"""All that `sentence_bert_config.json` may pass under these names, which have other files read."""
_ACTIVATION = re.compile(r"torch\.nn\.(modules\.[a-z]+\.)?[A-Z]\w*")


@dataclass(frozen=True)
class Module:
    """One entry of `modules.json`: the full name of its class and its folder."""

    type: str
    folder: Path


def modules_of(root: Path) -> tuple[Module, ...]:
    """The modules of a folder, all of them known and safe to load.

    Args:
        root: The folder, or the snapshot of a model of the hub.

    Raises:
        ModelError: `modules.json` is absent or damaged, or names an unknown class or a place
            outside of the folder; weights that are not safetensors; settings that name code.
        NotApplicable: A model of sentence-transformers of another type, such as a cross-encoder.
    """
    listing = root / "modules.json"
    if not listing.is_file():
        raise ModelError(
            f"{root} holds no sentence-transformers model (modules.json is absent): how its "
            "token vectors become one embedding is not known, so its scores are not. Give a folder "
            "that SentenceTransformer.save wrote; cross-encoders, SPLADE and ColBERT models cannot "
            "be explained"
        )
    try:
        entries = read_json(listing)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{listing}: missing or damaged ({error}); copy the folder again"
        ) from error
    if not isinstance(entries, list) or not entries:
        raise ModelError(f"{listing}: not a list of modules; copy the folder again")
    modules = tuple(_module(entry, root) for entry in entries)
    settings = root / "config_sentence_transformers.json"
    model_type = json_object(settings).get("model_type") if settings.is_file() else None
    check_saved(root, model_type, [module.type for module in modules])
    for place, module in enumerate(modules):
        name = "Transformer" if place == 0 and module.type == OURS else _class(module.type, listing)
        _check(name, module.folder)
    return modules


def _module(entry: object, root: Path) -> Module:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise ModelError(f"{root / 'modules.json'}: a module has no type; copy the folder again")
    path = str(entry.get("path", ""))
    if path and not is_plain(path):
        raise ModelError(
            f"{root / 'modules.json'}: {root / path} lies outside of the folder, or deeper in it"
        )
    # the class lay elsewhere when earlier versions saved it
    kind = OURS if entry["type"] in EARLIER else entry["type"]
    return Module(kind, root / path)


def _class(full: str, listing: Path) -> str:
    """The name of a known class, from its full name or, before 5.4, that of its file."""
    package, _, name = full.rpartition(".")
    file = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    known = {place for root in ROOTS for place in (root, f"{root}.{name}", f"{root}.{file}")}
    if name == "Asym":  # it became a subclass of Router, in whose file it is
        known |= {f"{root}.router" for root in ROOTS}
    if name in LOADED and package in known:
        return name
    parts = full.split(".")
    if parts[0] == "sentence_transformers" and {"models", "modules"} & set(parts):
        raise NotApplicable(
            f"{listing} names {full}, a module that this explanation cannot be put to; give a "
            f"sentence encoder of {', '.join(LOADED)}"
        )
    raise ModelError(
        f"{listing} names the class {full[:120]!r}, which is not a known module of "
        "sentence-transformers, and no other code is run"
    )


def _check(name: str, folder: Path) -> None:
    if name == "Transformer":
        check_transformer(folder)
        for path in folder.glob("sentence_*_config.json"):
            _check_settings(path)
    elif name in WEIGHTED:
        check_weights(folder)
        if name == "Dense":
            _check_activation(folder / "config.json")
    elif name in ROUTERS:
        _check_router(folder)


def _check_router(folder: Path) -> None:
    """Check the modules of all routes, which may be routers themselves."""
    path = folder / "router_config.json"
    # before 5.0 the library named it like any other configuration
    path = path if path.is_file() else folder / "config.json"
    types = json_object(path).get("types")
    if not isinstance(types, dict):
        raise ModelError(f"{path}: the types of the routes are missing; copy the folder again")
    for place, full in types.items():
        if not is_plain(place):
            raise ModelError(f"{path}: {place[:80]!r} is not the name of a folder beside it")
        _check(_class(str(full), path), folder / place)


def _check_settings(path: Path) -> None:
    for key, value in json_object(path).items():
        if not isinstance(value, dict):
            continue
        check_attention(path, value)
        for name, harmless in HARMLESS.items():
            if name in value and value[name] not in harmless:
                raise ModelError(
                    f"{path}: {key} sets {name}, which has other files or code read; remove it"
                )


def _check_activation(path: Path) -> None:
    named = json_object(path).get("activation_function")
    if named is not None and not _ACTIVATION.fullmatch(str(named)):
        raise ModelError(
            f"{path}: the activation function {str(named)[:120]!r} is not a class of torch.nn, and "
            "no other code is run"
        )
