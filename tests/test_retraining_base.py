"""A model that is trained already, as the one in question: refused, or taken up with cautions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from attnaudit.data.records import Dataset
from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.contract import Design
from attnaudit.evidence.trainings.asked import Trainings
from attnaudit.evidence.trainings.design import Recipe
from attnaudit.findings.settings import Settings, TrainingSettings
from attnaudit.models.load import load
from attnaudit.runs.inputs import holding
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.retraining_data import plain, retrained
from tests.toys import reader

OPTIONS = TrainOptions(epochs=3, learning_rate=0.02, seed=3)
RECIPE = Recipe("cnn", "additive", 8, 8, options=OPTIONS)
ASKED = {"seeds": 2, "lambdas": (0.0, 1e-3, 0.05), "adversary_epochs": 4}


@pytest.fixture(scope="module")
def splits() -> dict[str, Dataset]:
    return plain({"train": 96, "dev": 40, "test": 48})


def cells_of(splits: dict[str, Dataset], base: object, recipe: Recipe = RECIPE) -> int:
    """How many trainings would be run for equal weights; nothing is trained."""
    settings = Settings(trainings=TrainingSettings(replacements=("uniform",)))
    wanted = Trainings(lambda variants: (variants.replaced("uniform"),))
    with holding(base, "base") as model, holding(splits, "splits") as some:
        design = Design(settings, model, None, some, (recipe,))
        return len(Trainings.cells(design, {"uniform": wanted}))


def test_a_base_model_that_has_learnt_the_test_texts_is_refused(
    splits: dict[str, Dataset], tmp_path: Path
) -> None:
    swapped = {"train": splits["test"], "dev": splits["dev"], "test": splits["train"]}
    small = {
        "encoder": "cnn",
        "hidden": 8,
        "embedding_dim": 8,
        "progress": False,
        "options": replace(OPTIONS, epochs=1),
    }
    cheat = train(swapped, out=tmp_path / "cheat", **small).model
    honest = train(splits, out=tmp_path / "honest", **small).model
    for base in (cheat, load(tmp_path / "cheat")):
        with pytest.raises(DataError, match=r"test texts, the first 'test0', were in the base"):
            cells_of(splits, base)
    for base in (honest, load(tmp_path / "honest")):
        assert cells_of(splits, base) == 2
    # a text that stands in train and test of the data themselves favours nobody
    doubled = replace(
        splits["test"], records=(*splits["test"].records[:-1], splits["train"].records[0])
    )
    assert cells_of(splits | {"test": doubled}, honest) == 2


def test_a_model_that_cannot_be_trained_again_is_not_applicable(
    splits: dict[str, Dataset],
) -> None:
    with pytest.raises(NotApplicable, match="was not made by `attnaudit train` from texts"):
        cells_of(splits, reader())


def test_a_base_model_of_another_recipe_is_told_of(splits: dict[str, Dataset]) -> None:
    fewer = splits | {"train": splits["train"].select(splits["train"].records[:4])}
    base = train(
        fewer,
        encoder="cnn",
        hidden=8,
        embedding_dim=6,
        progress=False,
        options=replace(OPTIONS, epochs=1),
    ).model
    one = {**ASKED, "replacements": ("uniform",)}
    found = retrained(splits, RECIPE, ("uniform",), base=base, **one)
    said = " | ".join(found.report.judgement.cautions)
    assert "6 numbers per word, the others 8" in said
    assert "words, the others" in said
    assert "trained on 4 texts, the others on 96" in said
    assert "epochs the base model was trained is not known; the others have 3" in said
    own = retrained(splits, RECIPE, ("uniform",), **one)
    assert own.report.performance.notes == ()
