"""How long judges will take, from a few batches."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from functools import partial

from attnaudit.evidence.judges.cells import Subject, is_training
from attnaudit.evidence.judges.judge import law_of
from attnaudit.evidence.judges.reading import read
from attnaudit.findings.wording import spoken_time
from attnaudit.runs.cell import Cell, with_needs
from attnaudit.training.fitting import fit_decoder
from attnaudit.training.options import options_for

PROBED = 4
"""Batches timed; one more warms up."""


def forecast_of_judges(cells: Sequence[Cell], waiting: Sequence[Cell], workers: int) -> str | None:
    """How many judges will be trained and how long that will take at most, in words.

    Returns:
        None where no judge is asked.
    """
    judges = [cell for cell in with_needs(cells) if is_training(cell)]
    names = {cell.name for cell in waiting}
    ahead = [cell for cell in judges if cell.name in names]
    if not judges:
        return None
    if not ahead:
        return "all judges are trained"
    work = ahead[0].work
    assert isinstance(work, partial)
    seconds = seconds_of(work.args[0])
    whole = max(seconds, seconds * len(ahead) / workers)
    spare = sum(bool(cell.spec.get("spare")) for cell in ahead)
    some = f", {spare} of them only where the form of the weights is read" if spare else ""
    return (
        f"at most {spoken_time(whole)}: {len(ahead)} neutral judges of at most "
        f"{spoken_time(seconds, exact=True)}{some}"
    )


def seconds_of(subject: Subject) -> float:
    """Seconds of one judge with all its epochs, from a few batches of the training records."""
    model, splits = subject.opened()
    own, train = subject.settings.judges, splits["train"]
    ends = [time.perf_counter()]
    options = options_for(
        "selector", epochs=1, draws=own.draws, report=lambda *_: ends.append(time.perf_counter())
    )
    wanted = min(len(train), (PROBED + 1) * options.batch_size)
    few = train.select(random.Random(0).sample(train.records, wanted))
    law = law_of(read(model, few, subject.settings.token_budget).weights)
    ends[0] = time.perf_counter()
    fit_decoder(model, few, few, law, options)
    steps = ends[1:] or [time.perf_counter()]
    # the first batch warms up; where it is the only one, it is all there is
    batch = (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else steps[0] - ends[0]
    checked = (time.perf_counter() - steps[-1]) / wanted * len(splits["dev"])
    return own.epochs * (batch * len(train) / options.batch_size + checked)
