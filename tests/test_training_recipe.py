"""The recipe of training that a saved model's folder holds, and what the door refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnaudit.errors import ModelError, SettingsError
from attnaudit.models.load import load
from attnaudit.nets.checkpoint import TRAINING
from attnaudit.remedies import REMEDIES
from attnaudit.training.options import TrainOptions, options_for
from attnaudit.training.recipe import Recipe, read_training
from attnaudit.training.train import train

SMALL = {"limit": 40, "hidden": 4, "epochs": 1, "progress": False}


def test_the_folder_says_how_its_model_was_trained(tmp_path: Path) -> None:
    change = REMEDIES["diversity"].training(weight=0.5)
    done = train("reviews", out=tmp_path / "text", seed=3, embedding_dim=4, **SMALL, **change)
    found = read_training(tmp_path / "text")
    assert found is not None
    assert found.options == TrainOptions(epochs=1, seed=3)
    assert found.design == {
        "encoder": "bilstm",
        "remedy": "diversity",
        "hidden": 4,
        "embedding_dim": 4,
    }
    assert found.functions == ("penalty",)
    assert load(tmp_path / "text").fingerprint() == done.model.fingerprint()
    train("presence-gaussian", kind="bags", members=2, out=tmp_path / "bags", **SMALL)
    assert read_training(tmp_path / "bags") == Recipe(
        options_for("bags", epochs=1), {"members": 2, "hidden": 4}
    )


def test_a_folder_without_a_recipe_is_a_model_too(tmp_path: Path) -> None:
    done = train("order", kind="selector", **SMALL)
    done.model.save(tmp_path / "bare")
    assert read_training(tmp_path / "bare") is None
    assert load(tmp_path / "bare").fingerprint() == done.model.fingerprint()


def test_a_changed_recipe_is_noticed(tmp_path: Path) -> None:
    train("order", kind="selector", out=tmp_path / "model", **SMALL)
    path = tmp_path / "model" / TRAINING
    path.write_text(path.read_text().replace('"epochs": 1', '"epochs": 0'))
    with pytest.raises(ModelError, match="epochs is 0"):
        read_training(path.parent)
    path.write_text("[]")
    with pytest.raises(ModelError, match="is damaged"):
        read_training(path.parent)
    with pytest.raises(ModelError, match="is not what was written"):
        load(path.parent)


@pytest.mark.parametrize(
    ("kind", "wrong", "says"),
    [
        ("text", {"mask": "hard"}, r"mask= \(--mask\) does not go .* it is for selector"),
        ("bags", {"vectors": "x.vec"}, r"vectors= .* kind 'bags': it is for text"),
        ("siamese", {"hidden": 3}, "it is for text and bags and selector"),
        ("selector", {"device": "cpu"}, "it is for text and bags and siamese"),
        ("text", {"epoch": 3}, "nothing is called so"),
        ("bags", {"options": TrainOptions()}, "are those of kind 'text'"),
        ("image", {}, "kind is 'image'; it must be one of text, bags, selector, siamese"),
        ("text", {"epochs": 0, "clip": 0.0}, "epochs is 0.*clip is 0.0"),
    ],
)
def test_what_does_not_belong_to_a_kind_is_refused(kind, wrong, says) -> None:
    with pytest.raises(SettingsError, match=says):
        train("reviews", kind=kind, progress=False, **wrong)


def test_data_of_another_kind_are_refused() -> None:
    bags = train("presence-gaussian", kind="bags", **SMALL).splits
    with pytest.raises(SettingsError, match="give kind='bags'"):
        train(bags, progress=False)
    with pytest.raises(SettingsError, match="says how data are read"):
        train(bags, kind="bags", limit=3)
