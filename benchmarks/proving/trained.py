"""Networks trained to show the evidence by their weights, and to hide it (Pruthi et al. 2020)."""

from __future__ import annotations

from attnaudit.data.generated.reviews import generate_review_splits
from attnaudit.training.guidance import hide_evidence, show_evidence
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from benchmarks.proving.constructions import DISHONEST, HONEST, Case, Construction

TRAIN, DEV, TEST = 3000, 200, 150


def trained(name: str, right: str, why: str, encoder: str, attention: str) -> Construction:
    """A construction whose every case is a training run on generated reviews."""
    steer = show_evidence if right == HONEST else hide_evidence

    def make(seed: int) -> Case:
        splits = generate_review_splits(n_train=TRAIN, n_dev=DEV, n_test=TEST, seed=seed)
        done = train(
            splits,
            encoder=encoder,
            attention=attention,
            hidden=48,
            embedding_dim=50,
            penalty=steer(splits["train"].records, 1.0),
            progress=False,
            options=TrainOptions(epochs=8, seed=seed, learning_rate=2e-3),
        )
        about = {"classes": 2, "length": 20, "texts": TEST, "scale": 0.0}
        return Case(name, right, seed, done.model, splits["test"], about)

    return Construction(name, right, why, make)


TRAINED = (
    trained("guided-bilstm", HONEST, "trained to put its weight on evidence", "bilstm", "additive"),
    trained("guided-dot", HONEST, "the same with dot attention", "bilstm", "dot"),
    trained("guided-cnn", HONEST, "the same with a convolution", "cnn", "additive"),
    trained("guided-average", HONEST, "the same without an encoder", "average", "additive"),
    trained(
        "hidden-bilstm", DISHONEST, "trained to keep its weight off evidence", "bilstm", "additive"
    ),
    trained("hidden-dot", DISHONEST, "the same with dot attention", "bilstm", "dot"),
    trained("hidden-cnn", DISHONEST, "the same with a convolution", "cnn", "additive"),
)
