"""One text: what the model says, and what each attribution says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnaudit.attribution import EVERY, LONGEST, Options
from attnaudit.attribution.leave_one_out import too_long
from attnaudit.data.kinds import Record
from attnaudit.data.records import Text
from attnaudit.errors import NotApplicable, SettingsError
from attnaudit.models.cut import Model
from attnaudit.models.encoded import Encoded

DEFAULT_METHODS = ("weights", "leave_one_out", "gradient", "integrated_gradients")


@dataclass(frozen=True)
class Explanation:
    """Attributions of one prediction.

    Attributes:
        text: The text; of a bag, its id.
        units: Its units.
        predicted: The predicted class.
        probabilities: Of every class, by name.
        scores: One score per unit, by method.
        completeness_error: How far integrated gradients are from adding up, if they were asked.
        left_out: Methods that do not apply, with the reason.
    """

    text: str
    units: tuple[str, ...]
    predicted: str
    probabilities: dict[str, float]
    scores: dict[str, list[float]]
    completeness_error: float | None
    left_out: dict[str, str]


def explain_record(
    model: Model,
    record: Record,
    methods: Sequence[str] = DEFAULT_METHODS,
    seed: int = 0,
    longest: int = LONGEST,
) -> Explanation:
    """Explain one prediction by several methods.

    Raises:
        SettingsError: A method that does not exist.
        ModelError: The model gives NaN.
    """
    unknown = [name for name in methods if name not in EVERY]
    if unknown:
        raise SettingsError(f"no method is called {unknown[0]!r}; there are: {', '.join(EVERY)}.")
    record = model.prepared(record)
    encoded = Encoded(model, model.collate([record]))
    scores, left_out, error = {}, {}, None
    options = Options(seed=seed, longest=longest)
    for name in methods:
        if name == "leave_one_out" and too_long(encoded, longest).any():
            left_out[name] = (
                f"its cost grows with the square of the length, and {len(record.units):,} units "
                f"are more than the bound of {longest:,}, which longest= (--longest) raises"
            )
            continue
        try:
            attribution = EVERY[name].compute(encoded, options)
        except NotApplicable as reason:
            left_out[name] = str(reason)
            continue
        scores[name] = attribution.scores[0][encoded.units[0]].tolist()
        if attribution.error is not None:
            error = float(attribution.error[0])
    probabilities = encoded.probabilities[0].tolist()
    names = model.names(encoded.batch)[0]
    return Explanation(
        text=record.text if isinstance(record, Text) else record.id,
        units=record.units,
        predicted=names[int(encoded.predicted[0])],
        probabilities=dict(zip(names, probabilities, strict=True)),
        scores=scores,
        completeness_error=error,
        left_out=left_out,
    )
