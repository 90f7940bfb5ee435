"""One training as a unit of work: train, store the model and what it says of the test split."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnaudit.errors import DamagedWarning, ModelError, RunError
from attnaudit.evidence.trainings.design import Design, Recipe, Training
from attnaudit.evidence.trainings.objective import adversarial
from attnaudit.evidence.trainings.outputs import Outputs, outputs_of, read_outputs
from attnaudit.models.text.model import TextClassifier, load_classifier
from attnaudit.runs.code import code_fingerprint
from attnaudit.runs.disk import read_noted, write_noted
from attnaudit.training.options import TrainOptions
from attnaudit.training.text import Splits, train_text

if TYPE_CHECKING:
    from attnaudit.studies.declaration import Cell, Outcome, Place, Study

NAME, VERSION = "controls", 2
"""The version is raised whenever a training would give other numbers for the same cell."""
MODEL, HISTORY, OUTPUTS = "model", "history.json", "outputs.safetensors"


def study_of(splits: Splits, recipe: Recipe) -> Study:
    """What the executor of cells needs to know: how one is measured, on these data.

    The executor and its store are those of studies; trainings of controls have no claims.
    """
    from attnaudit.studies.declaration import Options, Study  # here, since studies use controls

    return Study(
        name=NAME,
        title="",
        paper="",
        citation="",
        version=VERSION,
        options=Options,
        quick=_none,
        plan=_none,
        measure=partial(measure, splits, recipe.vectors),
        conclude=_none,
    )


def cells_of(
    trainings: Mapping[str, Training],
    design: Design,
    splits: Splits,
    study: Study,
    fingerprint: str | None = None,
    costs: Mapping[str, float] | None = None,
) -> dict[str, Cell]:
    """Trainings as cells, by name.

    Args:
        trainings: In an order in which they can be run.
        design: Gives the sizes.
        splits: The data; their content is part of every cell.
        study: See `study_of`.
        fingerprint: Of the base model, where it was trained elsewhere.
        costs: Seconds of each training, by name.
    """
    from attnaudit.studies.declaration import Cell

    recipe = design.recipe
    shared = {
        "data": {name: splits[name].fingerprint for name in ("train", "dev", "test")},
        "hidden": recipe.hidden,
        "embedding_dim": recipe.embedding_dim,
        "vectors": _digest(recipe.vectors),
        "code": code_fingerprint(__name__),
    }
    cells: dict[str, Cell] = {}
    for training in trainings.values():
        spec = shared | training.spec()
        for role, needed in (("guide", training.guide), ("against", training.against)):
            spec[role] = None if needed is None else cells[needed.name].key(study)
        if fingerprint is not None and training == design.base:
            spec = shared | {"fingerprint": fingerprint}
        cost = (costs or {}).get(training.name, 0.0)
        cells[training.name] = Cell(training.name, spec, cost)
    return cells


def measure(splits: Splits, vectors: str | Path | None, cell: Cell, place: Place) -> Outcome:
    """Train a cell's model, or take it up where it is trained already, and store its outputs.

    Raises:
        AttnauditError: Data or folder cannot be used, or training diverged.
    """
    from attnaudit.studies.declaration import Outcome

    guide, against = (_needed(place.folder, cell.spec.get(r)) for r in ("guide", "against"))
    given = {}
    if guide is not None:
        given = {name: _weights(guide, splits, name) for name in ("train", "dev", "test")}
    kept = _kept(place.folder)
    if kept is not None:
        model, facts = kept[0].to(place.device), kept[1]
    else:
        model, facts = _trained(splits, vectors, cell, place, given, against)
        store_model(place.folder, model, facts)
    outputs_of(model, splits["test"], given.get("test")).save(place.folder / OUTPUTS)
    return Outcome((), facts)


def store_model(folder: Path, model: TextClassifier, facts: Mapping[str, Any]) -> None:
    """Put a trained model into the folder of a cell, which is then not trained again.

    Raises:
        ModelError: The folder cannot be written.
    """
    model.save(folder / MODEL, overwrite=True)
    # written last: where it stands, the model is whole
    write_noted(folder / HISTORY, json.dumps(dict(facts)).encode(), folder)


def _kept(folder: Path) -> tuple[TextClassifier, dict[str, Any]] | None:
    """The model and the facts of a training that had ended; None where it must be made again."""
    note = read_noted(folder / HISTORY, folder)
    if note is None:
        return None
    try:
        return load_classifier(folder / MODEL), json.loads(note)
    except ModelError as error:
        warnings.warn(f"{error}: trained again.", DamagedWarning, stacklevel=2)
        return None


def _none(*_: object) -> Any:
    raise NotImplementedError("trainings have no plan and no claims of their own")


def _trained(
    splits: Splits,
    vectors: str | Path | None,
    cell: Cell,
    place: Place,
    given: Mapping[str, Any],
    against: Path | None,
) -> tuple[TextClassifier, dict[str, Any]]:
    spec = cell.spec
    names = TrainOptions.__dataclass_fields__
    given_options = {name: value for name, value in spec.items() if name in names}
    options = TrainOptions(**given_options, device=place.device, report=place.progress)
    objective = None
    if against is not None:
        base = outputs_of(load_classifier(against / MODEL).to(place.device), splits["train"])
        objective = adversarial(base.log_probabilities.exp(), base.weights, spec["strength"])
    done = train_text(
        {name: splits[name] for name in ("train", "dev")},
        options,
        encoder=spec["encoder"],
        attention=spec["attention"],
        hidden=spec["hidden"],
        embedding_dim=spec["embedding_dim"],
        vectors=vectors,
        objective=objective,
        given=given,
        name=cell.name,
    )
    facts = {
        "best_epoch": done.best_epoch,
        "epochs": len(done.history),
        "dev": dict(done.dev),
        "losses": [row["loss"] for row in done.history],
        "words": len(done.model.vocabulary),
    }
    return done.model, facts


def _weights(folder: Path, splits: Splits, name: str) -> Any:
    """The weights of a finished training on a split."""
    stored = read_outputs(folder / OUTPUTS) if name == "test" else None
    found: Outputs = stored or outputs_of(load_classifier(folder / MODEL), splits[name])
    return found.weights


def _needed(folder: Path, key: str | None) -> Path | None:
    """The folder of the training with that key, beside this one."""
    if key is None:
        return None
    found = next(folder.parent.glob(f"*-{key[:8]}"), None)
    if found is None:
        raise RunError(f"{folder.parent} has lost a training that {folder.name} needs: run again.")
    return found


def _digest(path: str | Path | None) -> str | None:
    """A digest of a file's content; None without a file, or where it cannot be read."""
    try:
        return None if path is None else sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None  # loading the vectors says what is wrong
