"""Training attention pooling on the states of a frozen pretrained transformer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.data.records import Dataset, Text
from attnaudit.errors import DataError, SettingsError
from attnaudit.models.batches import TOKEN_BUDGET, groups, with_backoff
from attnaudit.models.pretrained import PretrainedClassifier, pooling_config
from attnaudit.models.wrap import refuse_broken
from attnaudit.nets.evaluation import check_labels
from attnaudit.nets.inputs import Examples
from attnaudit.nets.pretrained import FrozenTransformer
from attnaudit.nets.pretrained_load import load_transformer
from attnaudit.nets.training import Fitted, Objective, Penalty, TrainOptions, fit, new_net
from attnaudit.progress import Report, bars

IN_MEMORY = 4 * 2**30
"""Bytes of states from which on they are kept in a temporary file instead of memory."""

UnitStates = Mapping[str, Sequence[Float[Tensor, "T H"]]]
"""For `train` and `dev`, the states of the units of each record."""


def train_pretrained(
    splits: Mapping[str, Dataset],
    source: str | Path | FrozenTransformer,
    *,
    attention: str = "additive",
    layer: int = -1,
    options: TrainOptions | None = None,
    penalty: Penalty | None = None,
    objective: Objective | None = None,
    states: UnitStates | None = None,
    name: str | None = None,
    progress: Report | bool | None = None,
) -> tuple[PretrainedClassifier, Fitted]:
    """Train attention pooling and a linear head above a transformer that stays as it is.

    The states of all records of train and dev are computed once; the training loop, its loss and
    its defaults are those of the classifiers that are trained from scratch.

    Args:
        splits: `train` and `dev`, labelled.
        source: A folder, a hub name, `minilm` (see `load_transformer`), or a transformer that is
            loaded already.
        attention: additive or dot; or a control: uniform, random, position.
        layer: The layer whose states are pooled; -1 is the last.
        options: Epochs, batch size, seed, device, and the like; words are the tokenizer's, so
            `min_df` and `lowercase` are not looked at.
        penalty: A further loss term.
        objective: The loss itself, in place of that of the labels.
        states: What `unit_states` gave for `train` and `dev`, for a second training on the same
            data; computed by default.
        name: What reports call the model.
        progress: A function `(stage, done, total)`, or whether to draw bars.

    Returns:
        The model and its history.

    Raises:
        MissingExtra: The package `transformers`, or that of `minilm`, is absent.
        DataError: Records are missing, unlabelled, of one class only, too long, or have questions.
        ModelError: The transformer cannot be used, or the loss is no longer a number.
        SettingsError: An attention or layer that does not exist.
    """
    options = options or TrainOptions()
    classes = splits["train"].classes
    labels = {
        part: check_labels(splits[part].records, classes, what)
        for part, what in (("train", "training"), ("dev", "development"))
    }
    if bool((labels["train"] == labels["train"][0]).all()):
        only = classes[int(labels["train"][0])]
        raise DataError(f"all {len(labels['train'])} training records are of class {only!r}")
    encoder = source
    if not isinstance(encoder, FrozenTransformer):
        encoder = load_transformer(encoder, layer)
    refuse_broken(encoder.transformer, encoder.source)
    config = pooling_config(encoder, classes, attention)
    encoder.to(options.device)
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        report = progress if callable(progress) else drawn
        if states is None:
            whole = [*splits["train"].records, *splits["dev"].records]
            found = unit_states(encoder, whole, progress=report)
            count = len(splits["train"])
            states = {"train": found[:count], "dev": found[count:]}
        examples = {
            part: Examples(_fitting(states[part], splits[part], encoder.width), labels[part])
            for part in labels
        }
        epoch = 1

        def on_batch(done: int, total: int) -> None:
            if report:
                report("training", (epoch - 1) * total + done, options.epochs * total)

        def on_epoch(done: int, total: int, metrics: Mapping[str, float]) -> None:
            nonlocal epoch
            epoch = done + 1

        fitted = fit(
            new_net(config, None, options.seed), examples["train"], examples["dev"], options,
            penalty=penalty, objective=objective, on_epoch=on_epoch, on_batch=on_batch,
        )  # fmt: skip
    return PretrainedClassifier(encoder, fitted.net, name), fitted


@torch.no_grad()
def unit_states(
    encoder: FrozenTransformer,
    records: Sequence[Text],
    *,
    budget: int = TOKEN_BUDGET,
    progress: Report | None = None,
) -> list[Float[Tensor, "T H"]]:
    """The transformer's states of the units of each record, on the CPU.

    Above 4 GiB they are kept in a temporary file, which goes with the last of them.

    Args:
        encoder: The transformer; it runs where it is.
        records: The records.
        budget: Padded word pieces in one pass.
        progress: Told `("encoding", done, total)`.

    Raises:
        DataError: A record is too long or cannot be read; said before anything is encoded.
        SettingsError: Neither memory nor the temporary folder has room for them.
    """
    sizes = [sum(map(len, units)) for units in encoder.pieces(records)]
    counts = [len(record.units) for record in records]
    states = torch.split(_room(sum(counts), encoder.width), counts)
    order = sorted(range(len(records)), key=sizes.__getitem__)

    def work(part: Sequence[Text]) -> list[Tensor]:
        inputs, present, units = (x.to(encoder.device) for x in encoder.collate(part))
        hidden = encoder(encoder.embed(inputs), inputs, present)
        return [row[own].cpu() for row, own in zip(hidden, units, strict=True)]

    done = 0
    # markers count, so that many short texts do not make a pass far over the budget
    for part in groups([sizes[row] + 2 for row in order], budget):
        rows = order[part]
        for row, found in zip(rows, with_backoff(work, [records[r] for r in rows]), strict=True):
            states[row].copy_(found)
        done += len(rows)
        if progress:
            progress("encoding", done, len(records))
    return list(states)


def _room(rows: int, width: int) -> Float[Tensor, "N H"]:
    size = rows * width * 4
    if size <= IN_MEMORY:
        return torch.empty(rows, width)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise SettingsError(
            f"the states of {rows} units need {size / 2**30:.1f} GiB, but the temporary folder "
            f"{folder} has {free / 2**30:.1f} free; set TMPDIR to one with room, or train on fewer "
            "texts (limit)"
        )
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=(rows, width)))


def _fitting(states: Sequence[Tensor], data: Dataset, width: int) -> Sequence[Tensor]:
    shapes = [tuple(state.shape) for state in states]
    if shapes != [(len(record.units), width) for record in data]:
        raise DataError(
            f"the states do not fit the {data.split} records: there must be one state of {width} "
            "numbers per unit; compute them with `unit_states` on these records"
        )
    return states
