"""Which texts to show, and what of them. Picks and sorts; computes no statistic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from attnaudit.attribution import EVERY
from attnaudit.audits.schema import AuditReport
from attnaudit.findings.settings import ADVERSARY_JSD
from attnaudit.findings.wording import number, subject
from attnaudit.report.heat import HeatRow, floor_of, heat_row, windows_of
from attnaudit.report.heat_map import HeatMap, heat_map

ALTERNATIVES = ("leave_one_out", "integrated_gradients", "input_x_gradient", "gradient")
ADVERSARIES = ("permutation", "exact", "bounded", "search")
READABLE = 8


@dataclass(frozen=True)
class Instance:
    """One text with its heat maps.

    Attributes:
        id: Of the record.
        why: Why this text is shown.
        length: How many units it has.
        clipped: How many of them are shown, where not all are.
        predicted: The predicted class and its probability.
        label: The label, or None where unknown.
        right: Whether the prediction is the label, or None.
        evidence: Whether evidence is known, and underlined.
        rows: Weights, the better attribution, the adversary's weights.
        maps: A map of each row, where the units have places; else nothing.
        named: Whether the units have names of their own, and not their numbers alone.
    """

    id: str
    why: str
    length: int
    clipped: int | None
    predicted: tuple[str, str]
    label: str | None
    right: bool | None
    evidence: bool
    rows: tuple[HeatRow, ...]
    maps: tuple[HeatMap, ...] = ()
    named: bool = True


def better_of(report: AuditReport, columns: Sequence[str]) -> str | None:
    """The attribution to show beside the weights: the recommended one, else a usual one."""
    names = (report.judgement.recommended, *ALTERNATIVES)
    return next((n for n in names if n is not None and f"scores.{n}" in columns), None)


def shown_instances(report: AuditReport, frame: pl.DataFrame) -> tuple[Instance, ...]:
    """The texts of the report, about a dozen: the same ones for the same run."""
    if frame.is_empty() or "scores.weights" not in frame.columns:
        return ()
    better = better_of(report, frame.columns)
    if better:
        # costly attributions are known for some instances only
        known = frame.filter(pl.col(f"scores.{better}").is_not_null())
        frame = frame if known.is_empty() else known
    return tuple(
        _instance(report, frame.row(row, named=True), why, better)
        for why, rows in _picks(frame, better)
        for row in rows
    )


def _picks(frame: pl.DataFrame, better: str | None) -> list[tuple[str, list[int]]]:
    """Reasons to show a text, each with the rows it picks."""
    taken: set[int] = set()

    def pick(column: pl.Expr, wanted: pl.Expr, count: int, *, largest: bool) -> list[int]:
        found = (
            frame.lazy()
            .select("index", row=pl.int_range(pl.len()), key=column.cast(pl.Float64), wanted=wanted)
            .filter(pl.col("wanted") & pl.col("key").is_not_null() & pl.col("key").is_not_nan())
            .filter(~pl.col("row").is_in(list(taken)))
            .sort("key", "index", descending=[largest, False])
            .head(count)
            .collect()["row"]
            .to_list()
        )
        taken.update(found)
        return found

    readable = pl.col("length") >= READABLE
    middle = frame.sort("length", "index")["length"][len(frame) // 2]
    typical = pl.lit(0.0)
    for name in ("effect/attained.weights", "length"):
        if name in frame.columns and frame[name].drop_nulls().len():
            value = frame[name].cast(pl.Float64).fill_nan(None)
            centre, spread = value.median(), value.std()
            if isinstance(centre, float) and isinstance(spread, float) and spread > 0:
                typical = typical + ((pl.col(name) - centre) / spread).abs().fill_nan(9.0)
    if not frame.select(readable.any()).item():
        readable = pl.lit(True)
    right = pl.col("label").is_null() | (pl.col("label") == pl.col("predicted"))
    picks = [("a typical one", pick(typical, right & (pl.col("length") >= 2), 1, largest=False))]
    for column, why, largest in (
        (
            "adversary/permutation_jsd",
            "other weights tell the most different story of the same prediction",
            True,
        ),
        (
            _disagreement(frame, better),
            f"the weights and {subject(better) if better else 'other scores'} disagree most",
            False,
        ),
        (
            "erasure/comprehensiveness.delete.weights",
            "erasing the highest weights lowers the probability most",
            True,
        ),
    ):
        if column in frame.columns:
            picks.append((why, pick(pl.col(column), readable, 2, largest=largest)))
    wrong = pl.col("label").is_not_null() & (pl.col("label") != pl.col("predicted"))
    probabilities = [c for c in frame.columns if c.startswith("probability.")]
    if probabilities:
        surest = pl.max_horizontal(probabilities)
        picks.append(("predicted wrongly, and surest of it", pick(surest, wrong, 2, largest=True)))
    several = pl.col("length") >= 2
    picks.append(("the shortest", pick(pl.col("length"), several, 1, largest=False)))
    near = (pl.col("length") - middle).abs()
    picks.append(("of middle length", pick(near, several, 1, largest=False)))
    picks.append(("the longest", pick(pl.col("length"), several, 1, largest=True)))
    return picks


def _disagreement(frame: pl.DataFrame, better: str | None) -> str:
    names = [f"agreement/tau.weights~{n}" for n in (better, "leave_one_out", "gradient")]
    return next((name for name in names if name in frame.columns), names[0])


def _instance(
    report: AuditReport, row: dict[str, object], why: str, better: str | None
) -> Instance:
    classes = report.plan.model.classes
    units, weights = _list(row["units"]), _list(row["scores.weights"])
    truth, spaced = row.get("truth"), row.get("spaced")
    if isinstance(row.get("outputs"), list):
        classes = tuple(str(name) for name in _list(row["outputs"]))
    evidence = truth if isinstance(truth, list) else None
    predicted, label = int(str(row["predicted"])), row.get("label")
    probability = _float(row.get(f"probability.{predicted}"))
    wanted = [("weights", weights, f"the model's own, giving probability {number(probability, 3)}")]
    if better:
        wanted.append((better, _list(row[f"scores.{better}"]), EVERY[better].meaning))
    other = _adversary(row, report.plan.settings.bar(ADVERSARY_JSD))
    if other is not None:
        wanted.append(other)
    wanted = [row for row in wanted if len(row[1]) == len(units)]
    windows = windows_of([scores for _, scores, _ in wanted], len(units))
    rows, whole = (
        tuple(
            heat_row(
                subject(name),
                units,
                scores,
                truth=evidence,
                spaced=spaced if isinstance(spaced, list) else None,
                windows=some,
                note=note,
                signed=name in EVERY and EVERY[name].signed,
                floor=floor_of(name, len(units)),
            )
            for name, scores, note in wanted
        )
        for some in (windows, None)
    )
    places = _list(row.get("coordinates"))
    named = units != [str(place) for place in range(1, len(units) + 1)]
    maps = [made for one in whole for made in (heat_map(places, one.units),) if made is not None]
    shown = sum(end - start for start, end in windows)
    return Instance(
        id=str(row["id"]),
        why=why,
        length=len(units),
        clipped=shown if shown < len(units) and (named or not maps) else None,
        predicted=(classes[predicted], number(probability)),
        label=classes[label] if isinstance(label, int) else None,
        right=label == predicted if isinstance(label, int) else None,
        evidence=evidence is not None,
        rows=rows,
        maps=tuple(maps),
        named=named,
    )


def _adversary(row: dict[str, object], bar: float) -> tuple[str, list[float | None], str] | None:
    """The adversary's weights: the same in another order, or others where no order is different."""
    found = [
        (kind, jsd)
        for kind in ADVERSARIES
        for jsd in (_float(row.get(f"adversary/{kind}_jsd")),)
        if jsd is not None and isinstance(row.get(f"adversary/{kind}_weights"), list)
    ]
    if not found:
        return None
    kind, jsd = next((one for one in found if one[1] >= bar), found[0])
    change = number(_float(row.get(f"adversary/{kind}_tvd")), 3)
    note = f"an adversary: probability moves by {change}, divergence {number(jsd)} of 0.69"
    if jsd < bar:
        note = f"an adversary found none clearly different: divergence {number(jsd)} of 0.69"
    return kind, _list(row[f"adversary/{kind}_weights"]), note


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _list(value: object) -> list:  # type: ignore[type-arg]
    return value if isinstance(value, list) else []
