"""Texts explained: what the model says, and what each attribution says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from torch import Tensor

from attnaudit.attribution import EVERY, LONGEST, Options
from attnaudit.attribution.leave_one_out import too_long
from attnaudit.data.kinds import Record
from attnaudit.data.records import Text
from attnaudit.errors import NotApplicable, SettingsError
from attnaudit.models.batches import TOKEN_BUDGET, by_length, groups
from attnaudit.models.cut import Model
from attnaudit.models.encoded import Encoded
from attnaudit.progress import Report

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
    _check(methods)
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


def _check(methods: Sequence[str]) -> None:
    unknown = [name for name in methods if name not in EVERY]
    if unknown:
        raise SettingsError(f"no method is called {unknown[0]!r}; there are: {', '.join(EVERY)}.")


def explain_records(
    model: Model,
    records: Sequence[Record],
    methods: Sequence[str] = DEFAULT_METHODS,
    *,
    seed: int = 0,
    longest: int = LONGEST,
    budget: int = TOKEN_BUDGET,
    progress: Report | None = None,
) -> pl.DataFrame:
    """Explain many predictions, batch by batch.

    Args:
        model: The model.
        records: The texts or bags.
        methods: Names of attributions; one that the model does not allow has no column.
        seed: Seed of random scores.
        longest: Units above which leave-one-out is left out.
        budget: Padded units in one pass.
        progress: Told `("explaining", done, total)`.

    Returns:
        One row per record in their order: `id`, `units`, `predicted`, `probability`, and for each
        method `scores.METHOD`, one number per unit, or nothing where it is left out.

    Raises:
        SettingsError: A method that does not exist.
        ModelError: The model gives NaN.
    """
    _check(methods)
    prepared = [model.prepared(record) for record in records]
    options = Options(seed=seed, longest=longest, token_budget=budget)
    order = by_length(prepared)
    rows: list[tuple[int, dict[str, object]]] = []
    for part in groups([len(prepared[place].units) for place in order], budget):
        places = order[part]
        encoded = Encoded(model, model.collate([prepared[place] for place in places]))
        names, said = model.names(encoded.batch), encoded.predicted.tolist()
        found = dict(_scores(encoded, methods, options))
        for row, place in enumerate(places):
            units = encoded.units[row]
            own: dict[str, object] = {
                "id": prepared[place].id,
                "units": list(prepared[place].units),
                "predicted": names[row][said[row]],
                "probability": float(encoded.probabilities[row, said[row]]),
            }
            for name, scores in found.items():
                values = scores[row][units].double().tolist()
                own[f"scores.{name}"] = None if any(v != v for v in values) else values
            rows.append((place, own))
        if progress:
            progress("explaining", len(rows), len(records))
    rows.sort(key=lambda row: row[0])
    return pl.DataFrame([row for _, row in rows], infer_schema_length=None)


def _scores(
    encoded: Encoded, methods: Sequence[str], options: Options
) -> Iterator[tuple[str, Tensor]]:
    """The scores of each method that the model allows."""
    for name in methods:
        try:
            yield name, EVERY[name].compute(encoded, options).scores
        except NotApplicable:
            continue
