"""Transformers with a head, from a folder, the hub or loaded objects."""

from __future__ import annotations

import importlib
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch

from attnaudit.data.images import Grid
from attnaudit.errors import MissingExtra, ModelError, first_line
from attnaudit.hub import fetched
from attnaudit.models.transformer.model import TransformerModel
from attnaudit.models.transformer.options import Options
from attnaudit.models.transformer.site import read_site
from attnaudit.models.transformer.tasks import AUTO, kind_of_head
from attnaudit.models.transformer.vision import VisionModel
from attnaudit.nets.devices import check_device
from attnaudit.nets.pretrained.load import quiet
from attnaudit.nets.weights_files import check_transformer, json_object

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_transformer_model(
    source: str | Path,
    options: Options | None = None,
    *,
    tokenizer: Any = None,
    device: str | None = None,
) -> TransformerModel:
    """A transformer with a head, cut at a site.

    Weights are read from safetensors only, and no code of the source is run.

    Args:
        source: A folder, or the name of a model on the Hugging Face hub.
        options: Site, target and precision.
        tokenizer: A fast tokenizer, where the folder has none.
        device: `cpu`, `cuda`, …; the CPU by default.

    Raises:
        MissingExtra: The package `transformers` is absent.
        ModelError: There is no such model, or one that cannot be audited; the message says why.
        SettingsError: There is no such site.
    """
    options, name = options or Options(), str(source)
    read_site(options.site)  # what cannot be read is refused before anything is loaded
    if device is not None:
        check_device(device)
    try:
        library = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra("transformers", "transformers", "A transformer") from error
    config, folder = _config(name, tokenizer is None)
    if config.get("auto_map"):
        raise ModelError(
            f"{name}: its configuration names code of its own (auto_map), which is not run; load "
            "it yourself and give the model and tokenizer to attnaudit.audit(...)"
        )
    heads = config.get("architectures")
    head = str(heads[0]) if isinstance(heads, list) and heads else "no class"
    kind = kind_of_head(head, crossing=bool(config.get("is_encoder_decoder")))
    with quiet(library):
        try:
            tokenizer = (
                None
                if kind == "image"
                else tokenizer
                or library.AutoTokenizer.from_pretrained(
                    str(folder), trust_remote_code=False, local_files_only=True
                )
            )
            model, report = getattr(library, AUTO[kind]).from_pretrained(
                str(folder),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                attn_implementation="eager",
                dtype=DTYPES[options.dtype],
            )
        # the library raises many kinds of errors: an unknown architecture, a damaged tokenizer
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise _failed(name, reason) from error
    missing = sorted({*report["missing_keys"], *map(str, report["mismatched_keys"])})
    if missing:
        raise ModelError(
            f"{name}: the weights of {missing[0]!r} are missing or have another shape "
            f"({len(missing)} in all), so they would be random; give an intact model"
        )
    if device is not None:
        model.to(device)
    if kind == "image":
        seen = VisionModel(
            model, grid_of(folder, model), read_site(options.site), name=Path(name).name
        )
        place = str(folder.resolve()) if os.path.isdir(name) else name
        seen.recipe = partial(load_transformer_model, place, options, device=device)
        return seen
    made = wrapped(model, tokenizer, options, name=Path(name).name)
    place = str(folder.resolve()) if os.path.isdir(name) else name
    made.recipe = partial(load_transformer_model, place, options, device=device)
    return made


def wrapped(
    model: Any, tokenizer: Any, options: Options | None = None, name: str | None = None
) -> TransformerModel:
    """A loaded model and its tokenizer as a model with the cut.

    Raises:
        ModelError: It cannot be audited; the message says why.
        SettingsError: There is no such site.
    """
    options = options or Options()
    if tokenizer is None:
        raise ModelError(
            f"{type(model).__name__} comes without its tokenizer; give it as tokenizer=..."
        )
    first = options.question_first
    if first is None:
        labels = [str(label).lower() for label in (model.config.id2label or {}).values()]
        first = not any("entail" in label for label in labels)
    known = name or Path(str(model.config._name_or_path or type(model).__name__)).name
    return TransformerModel(
        model,
        tokenizer,
        read_site(options.site),
        name=known,
        target=options.target,
        question_first=first,
        hide=options.hide,
    )


def _config(name: str, with_tokenizer: bool) -> tuple[dict[str, object], Path]:
    """The configuration, and the folder with the files; images need no tokenizer."""
    local = Path(name) / "config.json"
    known = json_object(local) if os.path.isfile(local) else {}
    heads = known.get("architectures")
    image = isinstance(heads, list) and str(heads[:1]).count("ForImageClassification") > 0
    folder = _checked(name, with_tokenizer=with_tokenizer and not image)
    return json_object(folder / "config.json"), folder


def grid_of(folder: Path | None, model: Any) -> Grid:
    """How a vision transformer reads images: from its configuration and its processor's."""
    config, file = model.config, None if folder is None else folder / "preprocessor_config.json"
    side = int(config.image_size if isinstance(config.image_size, int) else config.image_size[0])
    settings = json_object(file) if file is not None and file.is_file() else {}
    named = settings.get("crop_size") or settings.get("size")
    if isinstance(named, dict) and "height" in named:
        side = int(named["height"])
    mean, deviation = (
        tuple(float(v) for v in found) if isinstance(found, list) else fallback
        for found, fallback in (
            (settings.get("image_mean"), (0.485, 0.456, 0.406)),
            (settings.get("image_std"), (0.229, 0.224, 0.225)),
        )
    )
    patch = int(config.patch_size)
    side = side // patch * patch
    return Grid((side, side), patch, mean, deviation)


def _checked(name: str, *, with_tokenizer: bool) -> Path:
    """The folder of a model whose files may be loaded, fetched from the hub where it is a name."""

    def check(folder: Path) -> None:
        check_transformer(folder, with_tokenizer=with_tokenizer)

    try:
        if os.path.isdir(name):  # False for what is too long to be a path
            check(Path(name))
            return Path(name)
        return fetched(name, check)
    except ModelError as error:
        raise _failed(name, str(error)) from error


def _failed(name: str, reason: str) -> ModelError:
    return ModelError(
        f"no transformer could be read from {name!r}: {reason}. Give a folder with config.json, "
        "model.safetensors and tokenizer.json, or the name of such a model on the Hugging Face hub"
    )
