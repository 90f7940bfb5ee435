"""Random attention pretraining: first a decoder that no weights can tell anything, then weights.

Bai et al. (2021), "Why Attentions May Not Be Interpretable?". What decodes is trained on weights
drawn at random and then frozen; only then is trained what gives the weights. A decoder that has
never seen weights that depend on the label cannot have learnt to read it from them. But it has
quirks by chance, and a generator that knows the label learns to play on these. `held_out` is ours:
the decoder that is used in the end is another than the one that the generator was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.splits import split_bags
from attnaudit.data.kinds import AnyDataset
from attnaudit.data.records import Dataset
from attnaudit.data.splits import split_dataset
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.models.cut import Model
from attnaudit.nets.selective.mask_laws import MaskLaw
from attnaudit.training.cut import fit_parameters
from attnaudit.training.fitting import (
    DEV_DRAWS,
    fit_decoder,
    fit_generator,
    fit_jointly,
    random_masks,
    score,
)
from attnaudit.training.options import DEFAULTS, TrainOptions
from attnaudit.training.parts import copy_of, parameters_of, parts_of, reset
from attnaudit.training.result import Trained

OTHER_SEED = 1_000_003
"""Between the seeds of decoders."""
HALF = (0.5, 0.5, 0.0)
DECAY, DRAWS = 1e-3, 4
"""Ours: with these a decoder has fewer quirks by chance for a generator to play on."""


@dataclass(frozen=True)
class Pretrained:
    """What random attention pretraining gave.

    Attributes:
        model: The model to use.
        decoder: Step 1: what decodes, on random masks.
        generator: Step 2: what gives the weights, before the frozen decoder. Its model is complete,
            and `dev` is measured on that. Where a decoder was held out, its `history` has the
            scores of those that chose the epoch.
        held_out: The decoder in use, where it is one that the generator has not seen.
        finetuned: Step 3, where it was asked for: all of it together. The shortcut may return.
    """

    model: Model
    decoder: Trained[Model]
    generator: Trained[Model]
    held_out: Trained[Model] | None = None
    finetuned: Trained[Model] | None = None


def regularised(options: TrainOptions) -> TrainOptions:
    """Options for decoders with fewer quirks: weight decay, several masks a step, stopped by loss.

    Example:
        >>> regularised(DEFAULTS["selector"]).weight_decay
        0.001
    """
    return replace(options, weight_decay=DECAY, draws=DRAWS, select="auto")


def random_attention_pretrain(
    model: Model,
    train: AnyDataset,
    dev: AnyDataset,
    law: MaskLaw,
    options: TrainOptions | None = None,
    *,
    decoder_options: TrainOptions | None = None,
    held_out: int = 0,
    finetune: bool = False,
    fresh: bool = True,
) -> Pretrained:
    """Train a decoder on random masks, freeze it, and train what gives the weights.

    With `held_out` the training records are halved. Decoders of the first half train the
    generator, by their mean loss. Decoders of the second half choose its epoch on the development
    records, and one more of these, which had no part in anything, is the decoder of the model that
    is given back. Where weights are computed from the states that are pooled, all decoders have
    the encoder of the first.

    Args:
        model: Any model with the cut; it is not changed.
        train: Labelled records.
        dev: Labelled records that choose the epochs; for the decoders with masks of the law.
        law: Of the random masks; that of the model's own kind.
        options: How to train the generator, and the decoders too where no others are given.
        decoder_options: How to train the decoders.
        held_out: How many decoders of each half; 0 for the paper's way, with one decoder for all.
        finetune: Whether to train all together in the end.
        fresh: Whether all start from new initial values, by the seeds of the options; else from
            those that the model has, as where these are pretrained word vectors.

    Raises:
        DataError: A record has no label that the model knows.
        ModelError: A part has nothing to train, or the loss is no number.
        SettingsError: `held_out` is negative, or comes with `finetune`, which would undo it.
    """
    if held_out < 0:
        raise SettingsError(f"held_out is {held_out}; give 0 or more decoders")
    if held_out and finetune:
        raise SettingsError("fine-tuning trains a held-out decoder on the weights; choose one")
    options = options or DEFAULTS["selector"]
    decoder_options = decoder_options or options
    if not parts_of(copy_of(model), train.records).generator:
        raise ModelError(
            f"{model.name}: its weights have no parameters of their own, so that there is nothing "
            "to train before a frozen decoder"
        )
    if held_out:
        start = None if fresh else parameters_of(model)
        return _held_out(model, train, dev, law, options, decoder_options, held_out, start)
    decoder = fit_decoder(model, train, dev, law, decoder_options, fresh=fresh)
    generator = fit_generator(decoder.model, train, dev, options, fresh=fresh)
    finetuned = fit_jointly(generator.model, train, dev, options) if finetune else None
    return Pretrained((finetuned or generator).model, decoder, generator, finetuned=finetuned)


def _held_out(
    model: Model,
    train: AnyDataset,
    dev: AnyDataset,
    law: MaskLaw,
    options: TrainOptions,
    decoder_options: TrainOptions,
    count: int,
    start: Mapping[str, Tensor] | None,
) -> Pretrained:
    """Pretraining with `count` decoders of each half, and the one in use."""
    first, second = _halves(train, options.seed)
    decoder = fit_decoder(model, first, dev, law, decoder_options, fresh=start is None)

    def other(records: AnyDataset, number: int) -> Trained[Model]:
        seed = decoder_options.seed + OTHER_SEED * number
        changed = replace(decoder_options, seed=seed)
        return _other_decoder(decoder.model, records, dev, law, changed, start)

    readers = [decoder.model, *(other(first, number).model for number in range(1, count))]
    *judges, used = [other(second, count + number) for number in range(count + 1)]
    generator = fit_generator(
        decoder.model,
        train,
        dev,
        options,
        fresh=start is None,
        readers=readers,
        judges=[judge.model for judge in judges],
    )
    final = _with_generator(used.model, generator)
    generator = replace(generator, model=final, dev=score(final, dev, options))
    return Pretrained(final, decoder, generator, used)


def _halves(train: AnyDataset, seed: int) -> tuple[AnyDataset, AnyDataset]:
    halves: Mapping[str, AnyDataset]
    if isinstance(train, BagDataset):
        halves = split_bags(train, HALF, seed)
    elif isinstance(train, Dataset):
        halves = split_dataset(train, HALF, seed)
    else:
        raise DataError(f"{train.name} is neither texts nor bags; give a Dataset or a BagDataset")
    return halves["train"], halves["dev"]


def _other_decoder(
    model: Model,
    train: AnyDataset,
    dev: AnyDataset,
    law: MaskLaw,
    options: TrainOptions,
    start: Mapping[str, Tensor] | None,
) -> Trained[Model]:
    """The model with another decoder, as far as the weights do not depend on it.

    It starts from the values of `start`, or from fresh ones where there are none.
    """
    copied = copy_of(model)
    parts = parts_of(copied, train.records)
    own = {name: value for name, value in parts.decoder.items() if name not in parts.shared}
    if start is None:
        reset(parts, own, options.seed)
    else:
        _put(start, own)
    masks, dev_masks = random_masks(law, options.draws), random_masks(law, DEV_DRAWS)
    return fit_parameters(copied, own, train, dev, options, masks, dev_masks)


def _with_generator(model: Model, generator: Trained[Model]) -> Model:
    """The model with the trained parameters of a generator."""
    copied = copy_of(model)
    places = parameters_of(copied)
    _put(parameters_of(generator.model), {name: places[name] for name in generator.parameters})
    return copied


def _put(values: Mapping[str, Tensor], places: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(values[name])
