"""What to audit on: data that the model has not learnt, as far as that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attnaudit.audits.schema import DataFacts
from attnaudit.data.bags.records import BagDataset
from attnaudit.data.drawing import draw
from attnaudit.data.kinds import TEXTS, AnyDataset
from attnaudit.data.reading import Reading, check_limit
from attnaudit.data.records import Dataset, Text
from attnaudit.data.sources.opening import Place
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.cut import Model
from attnaudit.models.matching import fitted
from attnaudit.models.seen import read_held_out
from attnaudit.models.selective.model import SelectiveModel
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.vocabulary import UNK

INCLUDE = "include_training_texts=True (--include-training-texts)"


@dataclass(frozen=True)
class Chosen:
    """Data to audit on.

    Attributes:
        data: The texts.
        left_out: How many more there were, left out because the model was trained on them.
    """

    data: AnyDataset
    left_out: int = 0


def choose(
    model: Model, source: Place | None = None, *, include: bool = False, **options: Any
) -> Chosen:
    """The data of a source without the texts that the model was trained on.

    Which these are is known of models that `train` made; of others nothing is left out.

    Args:
        model: The model that is to be audited.
        source: What `resolve` takes, or None for the split that was held out when the model was
            trained.
        include: Keep the texts that the model was trained on.
        options: Those of `resolve`. The limit is drawn from what is left.

    Raises:
        DataError: The data cannot be used, or nothing of them is left.
        SettingsError: There is no held-out split, or an option that means nothing for it.
    """
    limit, seed = options.pop("limit", None), options.pop("seed", 0)
    check_limit(limit)
    known = None if include else model.trained_on
    if known is None and source is not None and model.kind == TEXTS:
        # drawn before texts are cut, which is quicker
        options |= {"limit": limit, "seed": seed}
    data = fitted(_data(model, source, options), model)
    kept = data.records if known is None else tuple(r for r in data if r not in known)
    left_out = len(data) - len(kept)
    if left_out and not kept:
        raise DataError(
            f"{data.name}: all {left_out} {model.kind.instances} were in the model's training data "
            f"(train or dev), so none is left to audit on. {_instead(model)}, or keep them with "
            f"{INCLUDE}"
        )
    chosen = draw(data.select(kept), limit, seed)
    return Chosen(chosen.noted(*_unknown(chosen, model)), left_out)


def _unknown(data: AnyDataset, model: Model) -> list[str]:
    """A note on texts of which the model knows no word, where it has a vocabulary of words."""
    if not isinstance(model, TextClassifier | SelectiveModel):
        return []
    texts = [record for record in data if isinstance(record, Text)]
    blank = [text for text in texts if {*model.vocabulary.encode(text.units)} == {UNK}]
    if not blank:
        return []
    return [
        f"{len(blank)} of {len(texts)} texts hold no word that the model knows, first "
        f"{blank[0].id!r}: it reads all of their words as one, so that any other unknown words "
        "would do"
    ]


def cautions_on(data: DataFacts) -> list[str]:
    """What to keep in mind of data that the model was trained on."""
    cautions = []
    if data.left_out:
        cautions.append(
            f"{data.left_out:,} {data.reads} were in the model's training data (train or dev) "
            f"and are left out: the audit rests on {data.instances:,} others."
        )
    if data.trained_on:
        cautions.append(
            f"{data.trained_on:,} of the {data.instances:,} {data.reads} were in the model's "
            f"training data (train or dev): on {data.reads} that it has learnt it may attend "
            "otherwise than on new ones."
        )
    return cautions


def _data(model: Model, source: Place | None, options: dict[str, Any]) -> AnyDataset:
    if isinstance(source, Dataset | BagDataset):
        return source
    own = None if source is None else model.own_data(source)
    if own is not None:
        return own
    if source is not None:
        if model.own_labels:
            options = {"classes": model.classes, **options}
        data: AnyDataset = resolve(source, model.kind.instances, **options).data()
        return data
    given = Reading(**options).given
    if given:
        raise SettingsError(
            f"{next(iter(given.values()))} says how data are read, but no data "
            "are named, so the split that was held out in training is audited as it is stored"
        )
    known = model.trained_on
    held_out = read_held_out(known, model.classes) if known is not None else None
    if held_out is None:
        raise SettingsError(
            f"no data are named, and no held-out split is stored with {model.name}: name data to "
            "audit it on. `attnaudit train` stores one in the folder of the model"
        )
    return held_out


def _instead(model: Model) -> str:
    held_out = model.trained_on is not None and model.trained_on.test is not None
    return f"Name other {model.kind.instances}" + (
        ", or no data at all for the split that was held out in training" if held_out else ""
    )
