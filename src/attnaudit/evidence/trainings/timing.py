"""How long trainings will take, from a few batches of each kind."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from attnaudit.data.records import Dataset
from attnaudit.evidence.trainings.design import Recipe, Training
from attnaudit.evidence.trainings.work import TrainingWork
from attnaudit.findings.wording import spoken_time
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.nets.text.inputs import examples_of
from attnaudit.nets.text.vocabulary import build_vocabulary
from attnaudit.runs.cell import Cell, with_needs
from attnaudit.training.evaluation import check_labels
from attnaudit.training.text import fit_net, new_net

PROBED = 4
"""Batches timed; one more warms up."""


def forecast(cells: Sequence[Cell], waiting: Sequence[Cell], workers: int = 1) -> str | None:
    """What will be trained and how long that will take, in words, from a few timed batches.

    Args:
        cells: All cells of a run.
        waiting: Those of them that the run folder lacks (`runs.execute.waiting_of`).
        workers: Cells at a time.

    Returns:
        The words; None where the run trains nothing.

    Raises:
        DataError: The data cannot be trained on.
    """
    works = [cell.work for cell in with_needs(cells) if isinstance(cell.work, TrainingWork)]
    names = {cell.name for cell in waiting}
    ahead = [w for w in works if w.training.name in names and w.given is None]
    if not works:
        return None
    if not ahead:
        return f"all {len(works)} trainings are finished"
    first = ahead[0]
    costs = costs_of([w.training for w in ahead], first.recipe, first.splits.get())
    kept = len(works) - len(ahead) - sum(w.given is not None for w in works)
    said = in_words(costs, {w.training.name: w.training for w in ahead}, workers)
    return said + (f" ({kept} finished before)" if kept else "")


def costs_of(
    trainings: Iterable[Training], recipe: Recipe, splits: Mapping[str, Dataset]
) -> dict[str, float]:
    """Seconds of each training, by name; those that may stop early with all their epochs.

    Encoders are what takes the time, so each is timed once; a trained adversary costs about the
    same per epoch.

    Raises:
        DataError: The data cannot be trained on.
    """
    found: dict[str, float] = {}
    costs = {}
    for training in trainings:
        if training.encoder not in found:
            found[training.encoder] = seconds_per_epoch(recipe, splits, training.encoder)
        costs[training.name] = found[training.encoder] * training.options.epochs
    return costs


def seconds_per_epoch(recipe: Recipe, splits: Mapping[str, Dataset], encoder: str) -> float:
    """Seconds of one epoch on one thread, development split included, from a few batches.

    Raises:
        DataError: The data cannot be trained on.
    """
    options = replace(recipe.options, epochs=1, select="accuracy", patience=None)
    train, size = splits["train"], recipe.options.batch_size
    vocabulary = build_vocabulary(train.records, options.min_df, options.lowercase)
    wanted = min(len(train), (PROBED + 1) * size)
    records = random.Random(0).sample(train.records, wanted)
    labels = check_labels(records, train.classes, "training")
    config = ClassifierConfig(
        train.classes,
        encoder,
        recipe.attention,
        recipe.hidden,
        recipe.embedding_dim,
        train.has_questions,
    )
    examples = examples_of(
        records, vocabulary, labels, len(train.classes), question=train.has_questions
    )
    net = new_net(config, len(vocabulary), 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ends = [time.perf_counter()]
        told = replace(options, report=lambda *_: ends.append(time.perf_counter()))
        fit_net(net, examples, examples, told)
        predicted = time.perf_counter() - ends[-1]
    finally:
        torch.set_num_threads(threads)
    # the first batch warms up; where it is the only one, it is all there is
    batch = (ends[-1] - ends[1]) / (len(ends) - 2) if len(ends) > 2 else ends[1] - ends[0]
    return batch * len(train) / size + predicted / wanted * len(splits["dev"])


def in_words(costs: Mapping[str, float], trainings: Mapping[str, Training], workers: int) -> str:
    """What trainings will take, in words.

    Example:
        >>> from attnaudit.evidence.trainings.design import Variants
        >>> from attnaudit.findings.settings import TrainingSettings
        >>> base = Variants(Recipe(), TrainingSettings()).base
        >>> in_words({"base": 33.0, "uniform": 32.0}, {"base": base, "uniform": base}, 1)
        'about 1 minute: 2 trainings of about 33 seconds'
    """
    groups: dict[tuple[str, bool], list[float]] = {}
    for name, cost in costs.items():
        training = trainings[name]
        early = training.options.patience is not None
        groups.setdefault((training.encoder, early), []).append(cost)
    parts = [
        f"{len(some)} training{'s' if len(some) > 1 else ''} of "
        f"{'at most' if early else 'about'} {spoken_time(max(some), exact=True)}"
        for (_, early), some in groups.items()
    ]
    whole = max(sum(costs.values()) / workers, max(costs.values(), default=0.0))
    most = "at most" if any(early for _, early in groups) else "about"
    beside = f", {workers} at a time" if workers > 1 else ""
    return f"{most} {spoken_time(whole)}{beside}: {', '.join(parts)}"
