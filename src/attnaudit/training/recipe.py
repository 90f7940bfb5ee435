"""How a saved model was trained, stored beside it: what a retraining starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import ModelError, SettingsError
from attnaudit.files import read_json
from attnaudit.models.seen import SeenTexts, seen_texts, write_splits
from attnaudit.nets.checkpoint import TRAINING, model_folder
from attnaudit.training.options import TrainOptions

FORMAT, VERSION = "attnaudit-training", 1
Plain = str | int | float | bool | None


@dataclass(frozen=True)
class Recipe:
    """How a model was trained.

    Attributes:
        options: The options of training; the device and progress are not stored.
        design: Further arguments of `attnaudit.train` that were given: encoder, hidden size, …
        functions: Names of arguments that cannot be stored, such as `penalty` or `refit`: without
            them a retraining is another.
    """

    options: TrainOptions
    design: Mapping[str, Plain] = field(default_factory=dict)
    functions: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: TrainOptions, given: Mapping[str, object]) -> Recipe:
        """The recipe of a training with these arguments."""
        some = {name: value for name, value in given.items() if value is not None}
        plain = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in some.items()
            if isinstance(value, str | int | float | bool | Path)
        }
        return cls(options, plain, tuple(sorted(some.keys() - plain.keys())))

    def write(self, folder: Path) -> None:
        """Store the recipe in the folder of a model that is being saved."""
        held = {"format": FORMAT, "version": VERSION, "options": self.options.plain()}
        held |= {"design": dict(self.design), "functions": list(self.functions)}
        (folder / TRAINING).write_text(json.dumps(held, indent=2), encoding="utf-8")


def read_training(folder: str | Path) -> Recipe | None:
    """How the model in a folder was trained; None where the folder does not say.

    Raises:
        ModelError: The file is damaged, or of another version.
    """
    path = Path(folder) / TRAINING
    try:
        held: Any = read_json(path)
        if (held["format"], held["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {held['format']!r}, version {held['version']!r} is unknown")
        options = TrainOptions(**held["options"])
        return Recipe(options, dict(held["design"]), tuple(map(str, held["functions"])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, SettingsError) as error:
        raise ModelError(
            f"{path} is damaged ({error}). Train the model again, or remove the file: how it was "
            "trained is then not known"
        ) from error


class Savable(Protocol):
    """A model that can be saved, and says what it has seen."""

    trained_on: SeenTexts | None

    def save(self, folder: str | Path) -> None:
        """Write the model into a folder."""


def keep(
    model: Savable,
    splits: Mapping[str, AnyDataset],
    out: str | Path | None,
    recipe: Recipe | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Note what the model was trained on, and save all in one step where a folder is given."""
    model.trained_on = seen_texts(splits)
    if out is None:
        return
    with model_folder(out, overwrite=overwrite) as part:
        model.save(part)
        seen = write_splits(part, splits)
        if recipe is not None:
            recipe.write(part)
    test = None if seen.test is None else Path(out) / seen.test.name
    model.trained_on = replace(seen, test=test)
