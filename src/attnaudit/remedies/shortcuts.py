"""The remedies against shortcuts of the weights, as one flag of `attnaudit train` each."""

from __future__ import annotations

from attnaudit.data.kinds import AnyDataset
from attnaudit.models.cut import Model
from attnaudit.models.selective.model import SelectiveModel
from attnaudit.nets.selective.mask_laws import MaskLaw
from attnaudit.remedies.declaration import Remedy
from attnaudit.remedies.instance_weighting import fit_mask_neutral
from attnaudit.remedies.random_pretraining import random_attention_pretrain, regularised
from attnaudit.training.options import TrainOptions
from attnaudit.training.result import Trained

PAPER = "Bai et al. 2021"
HELD_OUT = 3
"""Decoders that choose the epoch: one alone can be deceived by chance."""


def law_for(model: Model) -> MaskLaw:
    """The random masks of a model's own kind: hard ones of its size, else soft ones."""
    return model.net.config.law if isinstance(model, SelectiveModel) else MaskLaw()


def pretrain(
    model: Model, train: AnyDataset, dev: AnyDataset, options: TrainOptions, *, fresh: bool
) -> Trained[Model]:
    """`random_attention_pretrain` with random masks of the model's own kind."""
    done = random_attention_pretrain(model, train, dev, law_for(model), options, fresh=fresh)
    return done.generator


def pretrain_held_out(
    model: Model, train: AnyDataset, dev: AnyDataset, options: TrainOptions, *, fresh: bool
) -> Trained[Model]:
    """The same with regularised decoders, the one in use never seen by what gives the weights."""
    done = random_attention_pretrain(
        model,
        train,
        dev,
        law_for(model),
        options,
        decoder_options=regularised(options),
        held_out=HELD_OUT,
        fresh=fresh,
    )
    return done.generator


def weigh(
    model: Model, train: AnyDataset, dev: AnyDataset, options: TrainOptions, *, fresh: bool
) -> Trained[Model]:
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
    caveat="the weights learn to play on chance quirks of a frozen decoder: check again with "
    "`attnaudit audit --check shortcut`, whose judge is another decoder",
    refit=pretrain,
)
HELD_OUT_PRETRAINING = Remedy(
    name="held_out_pretraining",
    title="Held-out random pretraining",
    paper="ours, after Bai et al. 2021",
    changes="as random pretraining, with the training texts halved: decoders of one half train "
    "what gives the weights, those of the other choose its epoch and answer in the end",
    promises="weights that have played on the quirks of one decoder are of no use to another",
    caveat="decoders learn from half of the texts each; what accuracy is lost where nothing else "
    "than a code in the weights can do the task is lost on purpose",
    refit=pretrain_held_out,
)
INSTANCE_WEIGHTING = Remedy(
    name="instance_weighting",
    title="Instance weighting",
    paper=PAPER,
    changes="the loss: each instance counts P(y) / P(y | weights), estimated anew each epoch",
    promises="training as if the weights told nothing of the label",
    caveat="it removes only what the estimator sees, the weights by position and size, not which "
    "words were chosen; a few instances can come to count for most",
    refit=weigh,
)
