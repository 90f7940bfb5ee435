"""`load`: from a path to a model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from attnaudit.errors import ModelError, SettingsError
from attnaudit.models.bags.model import FORMAT as BAGS
from attnaudit.models.bags.model import BagModel, load_bag_model
from attnaudit.models.cut import Model
from attnaudit.models.ensemble import FORMAT as ENSEMBLE
from attnaudit.models.ensemble import Ensemble, member_folders
from attnaudit.models.pretrained.model import FORMAT as PRETRAINED
from attnaudit.models.pretrained.model import PretrainedClassifier, load_pretrained
from attnaudit.models.seen import read_splits
from attnaudit.models.selective.model import FORMAT as SELECTIVE
from attnaudit.models.selective.model import SelectiveModel, load_selective
from attnaudit.models.text.model import FORMAT as TEXT
from attnaudit.models.text.model import TextClassifier, load_classifier
from attnaudit.models.transformer.options import Options, is_transformer
from attnaudit.nets.checkpoint import CONFIG, no_header, read_header
from attnaudit.nets.devices import check_device

Loaded: TypeAlias = TextClassifier | PretrainedClassifier | SelectiveModel | BagModel | Ensemble


def load_ensemble(folder: Path) -> Ensemble:
    """Read what `Ensemble.save` wrote.

    Raises:
        ModelError: A member is missing or damaged, or the members do not fit each other.
    """
    name, rule, folders = member_folders(folder)
    return Ensemble([load(member) for member in folders], rule, name)


LOADERS: dict[str, Callable[[Path], Loaded]] = {
    TEXT: load_classifier,
    PRETRAINED: load_pretrained,
    SELECTIVE: load_selective,
    BAGS: load_bag_model,
    ENSEMBLE: load_ensemble,
}
"""For each `format` in a folder's `config.json`, what reads it."""


def load(
    source: str | Path | Model, device: str | None = None, options: Options | None = None
) -> Model:
    """The model at a path; a model is returned as it is.

    Args:
        source: A folder that a `save` method wrote, the folder of a model of the package
            `transformers` or its name on the Hugging Face hub, or a model.
        device: Where to put a model that is read from a folder; the CPU by default.
        options: Of a transformer: its site, target and precision.

    Raises:
        ModelError: There is no such folder, no model of a known kind in it, or it is damaged.
    """
    if isinstance(source, Model):
        return source
    folder = Path(source)
    named = str(source).count("/") == 1 and not os.path.exists(folder)
    if named or is_transformer(folder):
        # the library takes seconds to import
        from attnaudit.models.transformer.load import load_transformer_model

        return load_transformer_model(source, options, device=device)
    if options is not None and options != Options():
        raise SettingsError(
            f"{folder}: site, target and precision belong to models of the package transformers"
        )
    if not os.path.isdir(folder):  # False for what is too long to be a path
        what = "a file, not a folder" if os.path.exists(folder) else "no such folder"
        raise ModelError(f"{folder}: {what}; give the folder that holds the model")
    header = read_header(folder)
    if header is None:
        raise ModelError(
            f"{folder / CONFIG}: {no_header(folder)}, so what kind of model this is cannot be "
            "told; give the folder that a model was saved to"
        )
    loader = LOADERS.get(str(header.get("format")))
    if loader is None:
        raise ModelError(
            f"{folder / CONFIG}: format {header.get('format')!r} is unknown; known are "
            f"{', '.join(LOADERS)}"
        )
    model = loader(folder)
    model.trained_on = read_splits(folder)
    if device is None:
        return model
    check_device(device)
    return model.to(device)
