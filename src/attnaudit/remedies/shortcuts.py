"""The two remedies against shortcuts of the weights, as one flag of `attnaudit train` each."""

from __future__ import annotations

from attnaudit.data.records import Dataset
from attnaudit.models.cut import Model
from attnaudit.models.selective import SelectiveModel
from attnaudit.nets.mask_laws import MaskLaw
from attnaudit.remedies.declaration import Remedy
from attnaudit.remedies.instance_weighting import fit_mask_neutral
from attnaudit.remedies.random_pretraining import random_attention_pretrain
from attnaudit.shortcuts.fitting import FitOptions, Fitted

PAPER = "Bai et al. 2021"


def law_for(model: Model) -> MaskLaw:
    """The random masks of a model's own kind: hard ones of its size, else soft ones."""
    return model.net.config.law if isinstance(model, SelectiveModel) else MaskLaw()


def pretrain(
    model: Model, train: Dataset, dev: Dataset, options: FitOptions, *, fresh: bool
) -> Fitted:
    """`random_attention_pretrain` with random masks of the model's own kind."""
    done = random_attention_pretrain(model, train, dev, law_for(model), options, fresh=fresh)
    return done.generator


def weigh(
    model: Model, train: Dataset, dev: Dataset, options: FitOptions, *, fresh: bool
) -> Fitted:
    """`fit_mask_neutral` with its usual estimator."""
    return fit_mask_neutral(model, train, dev, options, fresh=fresh)


RANDOM_PRETRAINING = Remedy(
    name="random_pretraining",
    title="Random attention pretraining",
    paper=PAPER,
    changes="the order of training: first the decoder, on weights drawn at random; then, with the "
    "decoder frozen, what gives the weights",
    promises="a decoder that cannot read the label from the weights, since it has never seen "
    "weights that depend on it",
    switch_on="--remedy random_pretraining",
    caveat="the weights learn to play on chance quirks of a frozen decoder: check again with "
    "`attnaudit shortcut`, whose judge is another decoder",
    refit=pretrain,
)
INSTANCE_WEIGHTING = Remedy(
    name="instance_weighting",
    title="Instance weighting",
    paper=PAPER,
    changes="the loss: each instance counts P(y) / P(y | weights), estimated anew each epoch",
    promises="training as if the weights told nothing of the label",
    switch_on="--remedy instance_weighting",
    caveat="it removes only what the estimator sees, the weights by position and size, not which "
    "words were chosen; a few instances can come to count for most",
    refit=weigh,
)
