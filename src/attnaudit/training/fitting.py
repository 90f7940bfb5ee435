"""Training over the cut: the whole model, what decodes, or what gives the weights.

Models are frozen, so each function works on a deep copy and gives it back frozen; the model that
comes in is never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import ModelError
from attnaudit.models.cut import Batch, Model, States
from attnaudit.nets.selective.mask_laws import MaskLaw, draw_masks
from attnaudit.training.cut import Masks, Reweigh, evaluate, fit_parameters, one_hot
from attnaudit.training.options import DEFAULTS, TrainOptions
from attnaudit.training.parts import Parts, copy_of, parts_of, reset
from attnaudit.training.result import Trained

DEV_DRAWS = 4
"""Random masks per development record: they are drawn once, and with few their score is noisy."""


class Refit(Protocol):
    """A way of training a model anew, as the two remedies of Bai et al. (2021) are."""

    def __call__(
        self,
        model: Model,
        train: AnyDataset,
        dev: AnyDataset,
        options: TrainOptions,
        *,
        fresh: bool,
    ) -> Trained[Model]:
        """Train a copy of the model.

        Args:
            model: Any model with the cut; it is not changed.
            train: Labelled records.
            dev: Labelled records that choose the epoch.
            options: How to train.
            fresh: Whether to start from new initial values, by the seed; else from those given.
        """


def own_masks(
    model: Model, batch: Batch, states: States, rows: Sequence[int], generator: torch.Generator
) -> Tensor:
    """The model's own weights in training: `sample` where it has such, else `attend`."""
    sample = getattr(model, "sample", None)
    weights: Tensor = model.attend(states) if sample is None else sample(states, generator)
    return weights


def masks_in_use(
    model: Model, batch: Batch, states: States, rows: Sequence[int], generator: torch.Generator
) -> Tensor:
    """The model's own weights in use."""
    return model.attend(states)


def random_masks(law: MaskLaw, draws: int = 1) -> Masks:
    """Weights of a law, drawn anew in every batch."""

    def draw(
        model: Model, batch: Batch, states: States, rows: Sequence[int], generator: torch.Generator
    ) -> Tensor:
        drawn = [draw_masks(states.units, law, generator) for _ in range(draws)]
        return torch.stack(drawn, dim=1).to(states.hidden.dtype)

    return draw


def fit_jointly(
    model: Model,
    train: AnyDataset,
    dev: AnyDataset,
    options: TrainOptions | None = None,
    weights: Float[Tensor, " N"] | Reweigh | None = None,
    targets: tuple[Tensor, Tensor] | None = None,
    fresh: bool = False,
) -> Trained[Model]:
    """Train all of a model that can be trained.

    Args:
        model: Any model with the cut; it is not changed.
        train: Labelled records.
        dev: Labelled records that choose the epoch.
        options: How to train.
        weights: Of the training records in the loss, or what gives them before each epoch.
        targets: Probabilities `(N, C)` of train and dev to learn instead of the labels.
        fresh: Whether to start from new initial values, by `options.seed`.

    Raises:
        DataError: A record has no label that the model knows.
        ModelError: The model has no parameter to train, or the loss is no number.
    """
    options = options or DEFAULTS["selector"]
    copied, parts = _prepared(model, train)
    trained = {**parts.decoder, **parts.generator}
    if fresh:
        reset(parts, trained, options.seed)
    return fit_parameters(
        copied,
        trained,
        train,
        dev,
        options,
        own_masks,
        masks_in_use,
        weights=weights,
        targets=targets,
    )


def fit_decoder(
    model: Model,
    train: AnyDataset,
    dev: AnyDataset,
    law: MaskLaw,
    options: TrainOptions | None = None,
    *,
    fresh: bool = True,
) -> Trained[Model]:
    """Train what `decode` depends on at fixed weights, with masks that are drawn at random.

    Bai et al. (2021), random attention pretraining, step 1; with fresh parameters also the
    neutral judge: it has never seen a weight that depends on the text. Which parameters these are
    is found by differentiation. Masks are drawn anew in every batch, and once for `dev`.

    Args:
        model: Any model with the cut; it is not changed.
        train: Labelled records.
        dev: Labelled records that choose the epoch.
        law: Of the masks.
        options: How to train.
        fresh: Whether to start from new initial values, by `options.seed`.

    Returns:
        The model with this decoder. Its `attend` is as it was, as far as it does not use the
        states that have been trained.

    Raises:
        DataError: A record has no label that the model knows.
        ModelError: No parameter decodes, or the loss is no number.
    """
    options = options or DEFAULTS["selector"]
    copied, parts = _prepared(model, train)
    if not parts.decoder:
        raise ModelError(
            f"{model.name}: decode depends on no parameter that can be trained at fixed weights"
        )
    if fresh:
        reset(parts, parts.decoder, options.seed)
    masks, dev_masks = random_masks(law, options.draws), random_masks(law, DEV_DRAWS)
    return fit_parameters(copied, parts.decoder, train, dev, options, masks, dev_masks)


def fit_generator(
    model: Model,
    train: AnyDataset,
    dev: AnyDataset,
    options: TrainOptions | None = None,
    *,
    weights: Float[Tensor, " N"] | Reweigh | None = None,
    fresh: bool = False,
    readers: Sequence[Model] = (),
    judges: Sequence[Model] = (),
) -> Trained[Model]:
    """Train only what gives the weights; all that `decode` depends on stays as it is.

    Bai et al. (2021), random attention pretraining, step 2. For a model that attends over the
    states that it pools, that is the attention alone.

    Args:
        model: Any model with the cut; it is not changed.
        train: Labelled records.
        dev: Labelled records that choose the epoch.
        options: How to train.
        weights: Of the training records in the loss, or what gives them before each epoch.
        fresh: Whether to start from new initial values, by `options.seed`.
        readers: What decodes the weights in training, the mean loss counting; the model itself
            where there are none. They read the batches of the model.
        judges: Likewise what decodes them for the development scores.

    Raises:
        DataError: A record has no label that the model knows.
        ModelError: No parameter is left to train, or the loss is no number.
    """
    options = options or DEFAULTS["selector"]
    copied, parts = _prepared(model, train)
    if not parts.generator:
        raise ModelError(
            f"{model.name}: its weights have no parameters of their own, so nothing can be trained "
            "while the decoder stays as it is"
        )
    if fresh:
        reset(parts, parts.generator, options.seed)
    return fit_parameters(
        copied,
        parts.generator,
        train,
        dev,
        options,
        own_masks,
        masks_in_use,
        weights=weights,
        frozen_modes=True,
        readers=readers,
        judges=judges,
    )


def score(model: Model, dev: AnyDataset, options: TrainOptions | None = None) -> dict[str, float]:
    """`dev_loss` and `dev_accuracy` of a model under its own weights in use.

    Raises:
        DataError: A record has no label that the model knows.
    """
    options = options or DEFAULTS["selector"]
    return evaluate(
        model,
        dev.records,
        one_hot(model, dev, "development"),
        masks_in_use,
        size=4 * options.batch_size,
        token_budget=options.token_budget,
    )


def _prepared(model: Model, train: AnyDataset) -> tuple[Model, Parts]:
    """A copy of the model to train, and what its parts are."""
    copied = copy_of(model)
    return copied, parts_of(copied, train.records)
