"""The neutral judge: what can be read from the same weights by who never saw them trained.

A judge has the network of the model behind its weights, trained afresh on the same labels with
masks drawn independently of the label, given the units (spec of Bai et al. 2021; EVAL-X of Jethani
et al. 2021; see `judge_masks`). It cannot have learnt a code. What the model predicts beyond its
judge, from the same weights, came by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnaudit.data.kinds import AnyDataset
from attnaudit.evidence.judges.calibration import fit_prior, with_prior
from attnaudit.evidence.judges.judge_masks import half_masks, mixed_masks, salience_of, spread_of
from attnaudit.evidence.judges.reading import Reading, Row, decode_with, equal_rows, placed_rows
from attnaudit.findings.settings import Settings
from attnaudit.models.batches import groups
from attnaudit.models.cut import Batch, Model, States
from attnaudit.nets.selective.mask_laws import SIGMA, MaskLaw, draw_masks, hard_masks, soft_masks
from attnaudit.training.cut import Masks, fit_parameters
from attnaudit.training.evaluation import check_labels
from attnaudit.training.fitting import fit_decoder
from attnaudit.training.options import TrainOptions, options_for
from attnaudit.training.parts import copy_of, parts_of, reset

EQUAL = 1e-4
"""Relative difference up to which the weights of a hard mask count as equal."""
PEAKED = 0.9
"""Random soft masks are to be as peaked as this share of the model's own."""
SIGMAS = (SIGMA, 2 * SIGMA, 4 * SIGMA, 8 * SIGMA)
JUDGE_SEED = 1000
"""Added to the seed, so that no judge shares its draws with the model."""


@dataclass(frozen=True)
class Saliences:
    """Logits of salient masks, one row a record (see `judge_masks`).

    Attributes:
        train: Of the training records.
        dev: Of the development records.
        test: Of the held-out records.
        spread: Of the model's own weights about them.
    """

    train: tuple[Row, ...]
    dev: tuple[Row, ...]
    test: tuple[Row, ...]
    spread: float


@dataclass(frozen=True)
class Judged:
    """What judges say of the same records.

    Attributes:
        law: Of the masks that they were trained with.
        own: Probabilities `(N, C)` of each judge under the model's own weights, its prior fitted
            on the development records.
        others: The same without that: under the model's own weights (`plain`), `random masks`,
            `equal weights`, `truth`, and `salient weights`, which favour a unit as the model does
            in other records; of the model under these; and of `informed`, a decoder trained
            afresh on the model's own weights, under those.
        known: `(N,)`, which instances have known evidence.
    """

    law: MaskLaw
    own: tuple[np.ndarray, ...]
    others: Mapping[str, tuple[np.ndarray, ...]]
    known: np.ndarray


def law_of(rows: Sequence[Row], seed: int = 0) -> MaskLaw:
    """The law whose random masks look like some weights.

    Hard, where every instance has the same number of equal weights (all units, where it has
    fewer) and at least one of them leaves something out; else soft, with the smallest spread of
    which a tenth of the masks are as peaked as the most peaked tenth of the weights.

    Args:
        rows: Weights, one row an instance.
        seed: Of the masks that are drawn to compare.

    Example:
        >>> law_of([np.array([0.5, 0.0, 0.5]), np.array([1.0])])
        MaskLaw(kind='hard', k=2, sigma=4.0)
    """
    some = [row for row in rows if len(row)]
    kept = [int((row > 0).sum()) for row in some]
    k = max(kept, default=1)
    hard = all(
        size == min(k, len(row)) and row.max() - row[row > 0].min() <= EQUAL * row.max()
        for size, row in zip(kept, some, strict=True)
    )
    if hard and any(size < len(row) for size, row in zip(kept, some, strict=True)):
        return MaskLaw("hard", k=k)
    if not some:
        return MaskLaw()
    lengths = sorted(len(row) for row in some)
    peak = float(np.quantile([row.max() for row in some], PEAKED))
    for sigma in SIGMAS:
        law = MaskLaw("soft", sigma=sigma)
        if float(np.quantile(_peaks(lengths, law, seed), PEAKED)) >= peak:
            return law
    return MaskLaw("soft", sigma=SIGMAS[-1])


def _peaks(lengths: Sequence[int], law: MaskLaw, seed: int) -> np.ndarray:
    """The largest weight of a mask of each length, which are sorted."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for part in groups(lengths):
        units = torch.arange(lengths[part][-1]) < torch.tensor(lengths[part]).unsqueeze(1)
        found.append(draw_masks(units, law, generator).amax(1).numpy())
    return np.concatenate(found)


@dataclass(frozen=True)
class Lesson:
    """What judges of a model learn from, and read.

    Attributes:
        model: The model in question; it stays as it is.
        train: The model on the training records.
        dev: The model on the development records.
        test: The model on the held-out records.
        settings: Epochs, masks, seed.
    """

    model: Model
    train: Reading
    dev: Reading
    test: Reading
    settings: Settings

    @cached_property
    def law(self) -> MaskLaw:
        """The law of masks like the model's own."""
        return law_of(self.test.weights, self.settings.seed)

    @cached_property
    def salience(self) -> Saliences | None:
        """The logits of salient masks, where judges learn on such."""
        mixed = self.settings.judges.masks == "mixed"
        return _saliences(self.train, self.dev, self.test) if mixed else None

    @cached_property
    def salient(self) -> list[Row] | None:
        """Salient weights of the held-out records."""
        found = self.salience
        return None if found is None else [_peak(logits, self.law) for logits in found.test]

    def options(self, number: int) -> TrainOptions:
        """How the judge of a number is trained."""
        own = self.settings.judges
        return options_for(
            "selector",
            epochs=own.epochs,
            patience=own.patience,
            learning_rate=own.rate,
            weight_decay=own.decay,
            draws=own.draws,
            seed=self.settings.seed + JUDGE_SEED + number,
        )


def said_by_judge(lesson: Lesson, number: int) -> dict[str, np.ndarray]:
    """Train a judge: what it says of the held-out records under all kinds of weights.

    Args:
        lesson: What it learns from and reads.
        number: Which judge; each has a seed of its own.

    Returns:
        Probabilities `(N, C)` by the names of `Judged`, and `own`; NaN where evidence is not known.
    """
    test, dev, settings = lesson.test, lesson.dev, lesson.settings
    records = test.data.records
    neutral = _neutral(lesson, lesson.options(number))
    plain = _logs(neutral, records, test.weights, settings)
    prior = fit_prior(_logs(neutral, dev.data.records, dev.weights, settings), dev.labels)
    said = {"own": with_prior(plain, prior), "plain": np.exp(plain)}
    weights = {
        "random masks": _random(test, lesson.law, settings),
        "equal weights": equal_rows(test.lengths.tolist()),
    }
    if lesson.salient is not None:
        weights["salient weights"] = lesson.salient
    for name, rows in weights.items():
        said[name] = np.exp(_logs(neutral, records, rows, settings))
    known, truth = truth_of(test)
    if known.any():
        with_truth = [record for record, has in zip(records, known, strict=True) if has]
        said["truth"] = np.full_like(plain, np.nan)
        said["truth"][known] = np.exp(_logs(neutral, with_truth, truth, settings))
    return said


def said_by_informed(lesson: Lesson) -> dict[str, np.ndarray]:
    """What the informed decoder says, and the model itself under salient weights."""
    test, settings = lesson.test, lesson.settings
    said, records = {}, test.data.records
    if lesson.salient is not None:
        logs = _logs(lesson.model, records, lesson.salient, settings)
        said["model, salient weights"] = np.exp(logs)
    informed = _informed(lesson.model, lesson.train, lesson.dev, lesson.options(0))
    return said | {"informed": np.exp(_logs(informed, records, test.weights, settings))}


def judged_of(
    test: Reading,
    judges: Sequence[Mapping[str, np.ndarray]],
    informed: Mapping[str, np.ndarray],
    settings: Settings,
) -> Judged:
    """The answers of some judges, and those beside them, put together."""
    known = truth_of(test)[0]
    others = {
        name: tuple(said[name][known] if name == "truth" else said[name] for said in judges)
        for name in judges[0]
        if name != "own"
    }
    beside = {name: (said,) for name, said in informed.items()}
    own = tuple(said["own"] for said in judges)
    return Judged(law_of(test.weights, settings.seed), own, {**others, **beside}, known)


def _saliences(train: Reading, dev: Reading, test: Reading) -> Saliences | None:
    """The logits of salient masks, by the weights on the training records."""
    salience = salience_of(train)
    if salience is None:
        return None
    of_train, of_dev, of_test = (
        tuple(map(salience.logits, part.data, part.lengths.tolist())) for part in (train, dev, test)
    )
    return Saliences(of_train, of_dev, of_test, spread_of(train.weights, of_train))


def _peak(logits: Row, law: MaskLaw) -> Row:
    """The weights that logits stand for: a softmax, or equal ones on the highest of them."""
    if not len(logits):
        return logits
    row, units = torch.from_numpy(logits).unsqueeze(0), torch.ones(1, len(logits), dtype=torch.bool)
    drawn = hard_masks(row, units, law.k or 1) if law.kind == "hard" else soft_masks(row, units)
    return np.asarray(drawn[0].numpy())


def _neutral(lesson: Lesson, options: TrainOptions) -> Model:
    """A judge."""
    model, law, salience = lesson.model, lesson.law, lesson.salience
    train, dev, kind = lesson.train.data, lesson.dev.data, lesson.settings.judges.masks
    spread = 0.0 if salience is None else salience.spread
    if kind == "law":
        return fit_decoder(model, train, dev, law, options).model

    def masks_under(favour: Sequence[Row] | None) -> Masks:
        def masks(
            fitted: Model, batch: Batch, states: States, rows: Sequence[int], generator: Any
        ) -> Tensor:
            units, draws = states.units, range(options.draws)
            if kind == "half":
                drawn = [half_masks(units, generator) for _ in draws]
            else:
                logits = None
                if favour is not None:
                    logits = placed_rows([favour[row] for row in rows], batch)
                drawn = [mixed_masks(units, generator, law, logits, spread) for _ in draws]
            return torch.stack(drawn, dim=1).to(states.hidden.dtype)

        return masks

    if salience is None:
        return _fresh(model, train, dev, options, masks_under(None), masks_under(None))
    of_train, of_dev = masks_under(salience.train), masks_under(salience.dev)
    return _fresh(model, train, dev, options, of_train, of_dev)


def _informed(model: Model, train: Reading, dev: Reading, options: TrainOptions) -> Model:
    """A decoder trained as a judge is, but on the model's own weights."""

    def own_of(reading: Reading) -> Masks:
        def own(
            fitted: Model, batch: Batch, states: States, rows: Sequence[int], generator: Any
        ) -> Tensor:
            # of the model in question: the copy may attend over states that are trained anew
            return placed_rows([reading.weights[row] for row in rows], batch).to(states.hidden)

        return own

    return _fresh(model, train.data, dev.data, options, own_of(train), own_of(dev))


def _fresh(
    model: Model,
    train: AnyDataset,
    dev: AnyDataset,
    options: TrainOptions,
    masks: Masks,
    dev_masks: Masks,
) -> Model:
    """The model with a decoder trained from new initial values under given masks."""
    check_labels(train.records, model.classes, "training")
    copied = copy_of(model)
    parts = parts_of(copied, train.records)
    reset(parts, parts.decoder, options.seed)
    return fit_parameters(copied, parts.decoder, train, dev, options, masks, dev_masks).model


def _logs(
    model: Model, records: Sequence[object], rows: Sequence[Row], settings: Settings
) -> np.ndarray:
    return decode_with(model, records, rows, budget=settings.token_budget)


def _random(reading: Reading, law: MaskLaw, settings: Settings) -> list[Row]:
    """A mask like those of training for each instance, drawn one by one in their order."""
    generator = torch.Generator().manual_seed(settings.seed)

    def one(length: int) -> Row:
        units = torch.ones(1, length, dtype=torch.bool)
        drawn = (
            draw_masks(units, law, generator)
            if settings.judges.masks != "half"
            else half_masks(units, generator)
        )
        return np.asarray(drawn[0].double().numpy())

    return [one(length) if length else np.zeros(0) for length in reading.lengths.tolist()]


def truth_of(reading: Reading) -> tuple[np.ndarray, list[Row]]:
    """Which instances have known evidence among their units, and equal weights on it."""
    known = np.zeros(len(reading), dtype=bool)
    rows = []
    for i, (record, row) in enumerate(zip(reading.data, reading.weights, strict=True)):
        if record.truth is None:
            continue
        flags = np.asarray(record.truth, dtype=np.float64)[: len(row)]
        if len(flags) == len(row) and flags.sum() > 0:
            known[i] = True
            rows.append(flags / flags.sum())
    return known, rows
