"""`train`: from data of any kind to a model that can be audited. The one door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.kinds import Records
from attnaudit.data.reading import Reading
from attnaudit.data.records import Dataset
from attnaudit.data.sources.opening import Place
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.cut import Model
from attnaudit.nets.checkpoint import check_place
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.progress import Report, bars
from attnaudit.training.bags import train_bag_model
from attnaudit.training.options import FIELDS, KINDS, Kind, TrainOptions, option, options_for
from attnaudit.training.recipe import Recipe, keep
from attnaudit.training.result import Trained
from attnaudit.training.selective import train_selective
from attnaudit.training.text import train_above, train_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Read: TypeAlias = Mapping[str, Any]
"""Splits by name; of what, the kind says."""
ABOVE = frozenset({"attention", "layer", "penalty", "objective", "refit", "remedy", "states"})
"""What goes with a pretrained encoder, which has words and sizes of its own."""


def _names(some: str) -> frozenset[str]:
    return frozenset(some.split())


OWN: Mapping[Kind, frozenset[str]] = {
    "text": _names(
        """attention embedding_dim encoder given hidden layer objective penalty refit remedy states
        vectors vocabulary word_scores"""
    ),
    "bags": _names("attention_size encoder head heads hidden members pool rule scale shown"),
    "selector": _names(
        """black_box defaults downstream dropout embedding_dim hidden keep mask refit remedy"""
    ),
    "siamese": _names("encoder top"),
}
"""The arguments that each kind has beside the options of training."""
RECORDS: Mapping[Kind, Records] = {
    "text": "texts",
    "bags": "bags",
    "selector": "texts",
    "siamese": "pairs",
}
"""What each kind learns from."""
READING = frozenset(each.name for each in fields(Reading))
Given: TypeAlias = "Place | Mapping[str, Any]"


@overload
def train(
    data: Given,
    *,
    kind: Literal["siamese"],
    options: TrainOptions | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
    **named: object,
) -> Trained[SentenceTransformer]: ...
@overload
def train(
    data: Given,
    *,
    kind: Literal["text", "bags", "selector"] = "text",
    options: TrainOptions | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
    **named: object,
) -> Trained[Model]: ...
def train(
    data: Given,
    *,
    kind: Kind = "text",
    options: TrainOptions | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
    **named: object,
) -> Trained[Model] | Trained[SentenceTransformer]:
    """Train a model of any kind.

    Args:
        data: Splits by name (`train`, `dev`, `test`), one data set that is then split, or what
            `resolve` takes: a folder, a file, a frame, a named set, a hub name.
        kind: Kind of model: `text` (a classifier of texts, from scratch or above a pretrained
            transformer), `bags` (a classifier of bags, or an ensemble), `selector` (a mask before
            a network; with `black_box=` an explainer of another model) or `siamese` (an exact
            similarity model).
        options: Options of training; the kind's defaults otherwise.
        name: What reports call the model.
        out: Folder to save the model to, with the split `test`, hashes of what it was trained on,
            so that an audit can tell, and the recipe (`read_training`).
        overwrite: Replace a model that attnaudit saved there.
        progress: A function `(stage, done, total)`, or whether to draw bars.
        named: Single options of training (`epochs=3`, see `TrainOptions`; `seed=` is also that of
            reading); the kind's own arguments (see `train_text`, `train_above`,
            `train_bag_model`, `train_selective`, `finetune`); and how data are read (see
            `Reading`).

    Raises:
        AttnauditError: Unusable data, an argument that the kind does not have, or a loss that is
            no number.

    Example:
        >>> done = train("reviews", encoder="average", embedding_dim=8, hidden=8, limit=60,
        ...              epochs=1, progress=False)
        >>> done.model.name, done.model.classes
        ('average+additive', ('negative', 'positive'))
        >>> done = train("presence-gaussian", kind="bags", limit=40, hidden=8, epochs=2,
        ...              progress=False)
        >>> done.model.name
        'mlp+gated'
        >>> train("order", kind="selector", limit=60, hidden=4, epochs=1, progress=False).model.name
        'soft mask+pool'
    """
    changes = {key: value for key, value in named.items() if key in FIELDS.get(kind, ())}
    options = options_for(kind, options, **changes)
    own = {key: value for key, value in named.items() if key in OWN[kind]}
    reading = {key: named[key] for key in named if key not in own and key not in changes}
    _refuse_unknown(kind, reading)
    if "seed" in changes:
        reading["seed"] = changes["seed"]
    if out is not None:
        read = (data, reading.get("data_dir"), *map(own.get, ("vectors", "encoder", "black_box")))
        check_place(out, overwrite=overwrite, reads=read)
    recipe = Recipe.of(options, own)
    own.pop("remedy", None)  # of penalty= or refit=, for the recipe
    splits = _read(kind, data, reading)
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        report = progress if callable(progress) else drawn
        options = replace(options, report=report)
        if kind == "siamese":
            return _siamese(splits, options, own, recipe, out, overwrite)
        if name is not None:
            own["name"] = name
        if kind == "text" and own.get("encoder", "bilstm") not in ENCODERS:
            _refuse_beside(own, changes)
            done = train_above(splits, options=options, **own)  # type: ignore[arg-type]
        else:
            done = _TRAIN[kind](splits, options, **own)
    done = replace(done, splits=done.splits or splits)
    keep(done.model, done.splits, out, recipe, overwrite=overwrite)
    return done


def _siamese(
    splits: Read,
    options: TrainOptions,
    own: Mapping[str, Any],
    recipe: Recipe,
    out: str | Path | None,
    overwrite: bool,
) -> Trained[SentenceTransformer]:
    from attnaudit.training.siamese import finetune, save_shifted  # takes seconds to import

    done = finetune(splits, options, **own)
    if out is not None:
        save_shifted(done.model, out, recipe=recipe, overwrite=overwrite)
    return done


def _refuse_unknown(kind: Kind, reading: Mapping[str, object]) -> None:
    """Refuse arguments that belong to other kinds, or to none."""
    for name in reading.keys() - READING:
        kinds = [k for k in KINDS if name in OWN[k] | FIELDS[k]]
        where = f"it is for {' and '.join(kinds)}" if kinds else "nothing is called so"
        raise SettingsError(f"{option(name)} does not go with kind {kind!r}: {where}")


def _refuse_beside(own: Mapping[str, object], changes: Mapping[str, object]) -> None:
    """Refuse what means nothing above a pretrained encoder."""
    words = {"min_df", "lowercase"} & changes.keys()
    for name in sorted((own.keys() - ABOVE - {"encoder", "name"}) | words):
        raise SettingsError(
            f"{option(name)} does not go with encoder {str(own['encoder'])!r}: a pretrained "
            "encoder has words and sizes of its own"
        )


def _read(kind: Kind, data: Given, reading: Mapping[str, Any]) -> Read:
    """The splits, of the records that the kind learns from."""
    parts = data.values() if isinstance(data, Mapping) else (data,)
    if RECORDS[kind] != "bags" and any(isinstance(part, BagDataset) for part in parts):
        raise SettingsError("the data are bags: give kind='bags' (--kind bags)")
    if not isinstance(data, Mapping | Dataset | BagDataset):
        return resolve(data, RECORDS[kind], **reading).splits()
    given = [words for name, words in Reading(**reading).given.items() if name != "seed"]
    if given:
        raise SettingsError(
            f"{given[0]} says how data are read, and a data set is read already; leave it out"
        )
    if not isinstance(data, Mapping):
        return resolve(data, RECORDS[kind]).splits()
    for name in ("train", "dev"):
        if name not in data and kind != "siamese":
            raise DataError(f"there is no split {name!r}; there are: {', '.join(data) or 'none'}")
    if kind != "bags":
        return data
    train = data["train"]
    for name, part in data.items():
        if part.shape != train.shape:
            raise DataError(f"{name} has instances of {part.shape}, and train of {train.shape}")
    return {name: part.in_order_of(train.features) for name, part in data.items()}


_TRAIN: Mapping[Kind, Callable[..., Trained[Any]]] = {
    "text": train_text,
    "bags": train_bag_model,
    "selector": train_selective,
}
