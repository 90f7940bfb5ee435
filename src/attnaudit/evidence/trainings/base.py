"""A base model from elsewhere: may it stand beside what is trained here?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.trainings.design import Recipe, recipe_of
from attnaudit.files import read_json
from attnaudit.models.seen import SeenTexts, seen_texts, text_hash
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.vocabulary import build_vocabulary
from attnaudit.training.recipe import Recipe as Trained
from attnaudit.training.text import Splits


@dataclass(frozen=True)
class Epochs:
    """What is known of how the model in question was trained elsewhere.

    Attributes:
        run: For how many epochs.
        beside: What it was trained with that cannot be repeated, such as a penalty.
    """

    run: int
    beside: tuple[str, ...] = ()


def epochs_of(folder: Path) -> Epochs | None:
    """The epochs of a model that a run has trained, from the record beside its folder."""
    try:
        record = read_json(folder.parent / "cell.json")
    except (OSError, ValueError):
        return None
    facts = record.get("facts") if isinstance(record, dict) else None
    found = facts.get("epochs") if isinstance(facts, dict) else None
    return Epochs(found) if isinstance(found, int) else None


def parts_of(
    model: TextClassifier | None,
    recipe: Recipe | None = None,
    known: Trained | None = None,
    folder: Path | None = None,
) -> tuple[Recipe | Epochs, ...]:
    """What a design needs besides model, splits and settings.

    Args:
        model: The model in question, where it is trained already.
        recipe: How the others are made; as the model was, as far as that is known, by default.
        known: How the model was trained, where that is known (`read_training`).
        folder: Where the model was loaded from.

    Raises:
        SettingsError: There is neither, or the model's attention is not learned.
    """
    if recipe is None and model is None:
        raise SettingsError("give a recipe, or a model that is trained already")
    if recipe is None and model is not None:
        recipe = recipe_of(model, None if known is None else known.options)
        if known is not None and known.design.get("vectors") is not None:
            recipe = replace(recipe, vectors=str(known.design["vectors"]))
    epochs = None if folder is None else epochs_of(folder)
    if known is not None:
        epochs = Epochs(known.options.epochs, known.functions)
    return tuple(part for part in (recipe, epochs) if part is not None)


def cautions_of(
    base: TextClassifier, recipe: Recipe, splits: Splits, epochs: Epochs | None = None
) -> tuple[str, ...]:
    """How a model that is trained already differs from the recipe, or may.

    Args:
        base: The model.
        recipe: That of the other trainings.
        splits: `train`, `dev` and `test`.
        epochs: For how many it was trained, where that is known.

    Returns:
        A caution for each thing that a difference to it may be due to.

    Raises:
        DataError: It was trained on test texts, on which it would be better than the others.
        SettingsError: It is another network, or has other classes.
    """
    _refuse_other(base, recipe, splits)
    _refuse_test_texts(base.trained_on, splits)
    return tuple(_cautions(base, epochs, recipe, splits))


def _refuse_other(base: TextClassifier, recipe: Recipe, splits: Splits) -> None:
    config = base.net.config
    pairs = [
        ("encoder", config.encoder, recipe.encoder),
        ("attention", config.attention, recipe.attention),
        ("hidden", config.hidden, recipe.hidden),
        ("classes", tuple(config.classes), tuple(splits["train"].classes)),
    ]
    for field, has, wanted in pairs:
        if has != wanted:
            raise SettingsError(
                f"the base model has the {field} {has!r}, but the others would have {wanted!r}; "
                "give the recipe and the data that it was made of"
            )


def _refuse_test_texts(seen: SeenTexts | None, splits: Splits) -> None:
    """A text that stands in two splits of the data gives no model an advantage over another."""
    if seen is None:
        return
    own = seen_texts({name: splits[name] for name in ("train", "dev")})
    known = [r for r in splits["test"] if r in seen and text_hash(r) not in own.train | own.dev]
    if known:
        raise DataError(
            f"{len(known)} of {len(splits['test'])} test texts, the first {known[0].id!r}, were in "
            "the base model's training data (train or dev), and in nobody else's: it would be "
            "compared on what it has learnt. Give the splits that it was trained with, or leave "
            "the base model out so that one is trained here"
        )


def _cautions(
    base: TextClassifier, epochs: Epochs | None, recipe: Recipe, splits: Splits
) -> Iterator[str]:
    seen = base.trained_on
    options, train = recipe.options, splits["train"]
    dim = base.net.config.embedding_dim
    if recipe.vectors is None and dim != recipe.embedding_dim:
        yield f"the base model has {dim} numbers per word, the others {recipe.embedding_dim}"
    here = build_vocabulary(train.records, options.min_df, options.lowercase)
    if (set(base.vocabulary.words), base.vocabulary.lowercase) != (set(here.words), here.lowercase):
        yield (
            f"the base model knows {len(base.vocabulary.words):,} words, the others "
            f"{len(here.words):,}, and not the same"
        )
    if seen is None:
        yield "which texts the base model was trained on is not known"
    elif seen.train != seen_texts({"train": train}).train:
        yield (
            f"the base model was trained on {len(seen.train):,} texts, the others on "
            f"{len(train):,}, and not on the same"
        )
    if epochs is None:
        yield (
            "for how many epochs the base model was trained is not known; the others have "
            f"{options.epochs}"
        )
    elif epochs.run != options.epochs:
        yield (
            f"the base model was trained for {epochs.run} epochs, the others for {options.epochs}"
        )
    if epochs is not None and epochs.beside:
        yield (
            f"the base model was trained with {', '.join(epochs.beside)}, which the others are not"
        )
