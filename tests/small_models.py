"""A trained model that can be saved and sent, and texts for it."""

from __future__ import annotations

from pathlib import Path

from attnaudit.data.generated.reviews import generate_review_splits
from attnaudit.data.records import Dataset
from attnaudit.models.cut import Model
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train


def saved_model(folder: Path) -> tuple[Model, Dataset]:
    """A small network, also saved in `folder`, and forty texts."""
    splits = generate_review_splits(200, 40, 40)
    done = train(
        splits,
        encoder="average",
        hidden=8,
        embedding_dim=8,
        progress=False,
        options=TrainOptions(epochs=3),
    )
    done.model.save(folder / "model")
    return done.model, splits["test"]
