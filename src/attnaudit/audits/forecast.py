"""What an audit will compute, and how long that will take, said before it starts."""

from __future__ import annotations

from attnaudit.audits.run import Asked
from attnaudit.evidence.batch.timing import Rate, forecast_of_batches, rate_of
from attnaudit.evidence.judges.timing import forecast_of_judges
from attnaudit.evidence.seeds.members import forecast_of_seeds
from attnaudit.evidence.trainings.timing import forecast as forecast_of_trainings


def forecast(asked: Asked) -> list[str]:
    """What will be trained and how long that will take, one sentence per kind of training.

    Returns:
        Nothing where the audit trains nothing.

    Raises:
        DataError: The data cannot be trained on.
    """
    cells, waiting, workers = asked.cells, asked.waiting, asked.engine.slots
    found = [
        forecast_of_trainings(cells, waiting, workers),
        forecast_of_judges(cells, waiting, workers),
        forecast_of_seeds(cells, waiting, workers),
    ]
    return [f"{said[0].upper()}{said[1:]}." for said in found if said is not None]


def batches(asked: Asked) -> tuple[Rate | None, str | None]:
    """What the instances that are waiting cost, and that in words where it is worth saying."""
    rate = rate_of(asked.waiting, asked.engine.slots)
    said = forecast_of_batches(rate, asked.plan.data.reads)
    return rate, said and f"{said}."
