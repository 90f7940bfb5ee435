"""A base model from elsewhere: may it stand beside what is trained here?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.trainings.cell import HISTORY
from attnaudit.evidence.trainings.design import Recipe
from attnaudit.files import read_json
from attnaudit.models.seen import SeenTexts, read_splits, seen_texts, text_hash
from attnaudit.models.text.model import TextClassifier, load_classifier
from attnaudit.nets.text.vocabulary import build_vocabulary
from attnaudit.training.text import Splits


def base_of(
    given: TextClassifier | str | Path, recipe: Recipe, splits: Splits
) -> tuple[TextClassifier, tuple[str, ...]]:
    """A model that is trained already, and how it differs from the recipe, or may.

    Args:
        given: The model, or its folder.
        recipe: That of the other trainings.
        splits: `train`, `dev` and `test`.

    Returns:
        The model, and a caution for each thing that a difference to it may be due to.

    Raises:
        DataError: It was trained on test texts, on which it would be better than the others.
        ModelError: The folder holds no model that can be read.
        SettingsError: It is another network, or has other classes.
    """
    folder = None if isinstance(given, TextClassifier) else Path(given)
    base = given if isinstance(given, TextClassifier) else load_classifier(given)
    seen = base.trained_on if folder is None else read_splits(folder)
    _refuse_other(base, recipe, splits)
    _refuse_test_texts(seen, splits)
    return base, tuple(_cautions(base, seen, folder, recipe, splits))


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
    base: TextClassifier,
    seen: SeenTexts | None,
    folder: Path | None,
    recipe: Recipe,
    splits: Splits,
) -> Iterator[str]:
    options, train = recipe.options, splits["train"]
    dim = base.net.config.embedding_dim
    if recipe.vectors is None and dim != recipe.embedding_dim:
        yield f"the base model has {dim} numbers a word, the others {recipe.embedding_dim}"
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
    epochs = None if folder is None else _epochs(folder)
    if epochs is None:
        yield (
            "for how many epochs the base model was trained is not known; the others have "
            f"{options.epochs}"
        )
    elif epochs != options.epochs:
        yield f"the base model was trained for {epochs} epochs, the others for {options.epochs}"


def _epochs(folder: Path) -> int | None:
    """The epochs of a training of controls, whose history lies beside the model."""
    try:
        history = read_json(folder.parent / HISTORY)
    except (OSError, ValueError):
        return None
    found = history.get("epochs") if isinstance(history, dict) else None
    return found if isinstance(found, int) else None
