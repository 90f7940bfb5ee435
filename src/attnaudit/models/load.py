"""`load`: from a path to a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attnaudit.errors import ModelError
from attnaudit.models.cut import Model
from attnaudit.models.pooled import TextClassifier, load_classifier
from attnaudit.models.pretrained import FORMAT as PRETRAINED
from attnaudit.models.pretrained import PretrainedClassifier, load_pretrained
from attnaudit.models.seen import read_splits
from attnaudit.nets.checkpoint import CONFIG, FORMAT, read_header
from attnaudit.nets.devices import check_device

LOADERS: dict[str, Callable[[Path], TextClassifier | PretrainedClassifier]] = {
    FORMAT: load_classifier,
    PRETRAINED: load_pretrained,
}
"""For each `format` in a folder's `config.json`, what reads it."""


def load(source: str | Path | Model, device: str | None = None) -> Model:
    """The model at a path; a model is returned as it is.

    Args:
        source: A folder that a `save` method wrote, or a model.
        device: Where to put a model that is read from a folder; the CPU by default.

    Raises:
        ModelError: There is no such folder, no model of a known kind in it, or it is damaged.
    """
    if isinstance(source, Model):
        return source
    folder = Path(source)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; give the folder that holds the model")
    header = read_header(folder)
    if header is None:
        raise ModelError(
            f"{folder / CONFIG}: missing or no JSON object, so what kind of model this is cannot "
            "be told; give the folder that a model was saved to"
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
