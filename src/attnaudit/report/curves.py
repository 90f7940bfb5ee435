"""Pictures that studies have and audits have not: split violins, and curves of two measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt
import numpy as np

from attnaudit.findings.wording import count, number
from attnaudit.report.charts import (
    INK,
    MUTED,
    PAPER,
    Guide,
    Series,
    _assembled,
    _chart,
    _guides,
    _names,
    _x,
)
from attnaudit.report.vega import Spec

ROW, HEAD = 84, 18
GRID = 80
NARROWEST = 0.008
"""The least bandwidth, as a share of the axis: equal values are still seen."""


@dataclass(frozen=True)
class Half:
    """One side of a violin.

    Attributes:
        name: Which instances, in words.
        values: One value an instance; NaN is left out.
        colour: A CSS colour.
        paper: The paper's quartiles: lower, median, upper; or None.
    """

    name: str
    values: np.ndarray
    colour: str
    paper: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Violin:
    """A row: one half drawn on both sides of its line, or two, one on each."""

    label: str
    halves: tuple[Half, ...]
    short: str = ""


@dataclass(frozen=True)
class Curve:
    """Points of two measures, joined in their order or each by itself.

    Attributes:
        series: Name, colour and shape.
        points: `(x, y, label)`.
        joined: Whether a line runs through them.
    """

    series: Series
    points: tuple[tuple[float, float, str], ...]
    joined: bool = True


def violins(
    rows: Sequence[Violin], *, domain: tuple[float, float], axis: str, guides: Sequence[Guide] = ()
) -> Spec:
    """Densities one above the other, with median and quartiles here, and the paper's beside.

    Each side is scaled to its own highest point. The file does not grow with the instances.
    """
    areas: list[Spec] = []
    marks: list[Spec] = []
    names: list[Spec] = []
    for index, row in enumerate(rows):
        base = index + 0.64
        sizes = []
        for place, half in enumerate(row.halves):
            known = half.values[np.isfinite(half.values)]
            sizes.append(len(known))
            side = 0 if len(row.halves) == 1 else -1 if place == 0 else 1
            areas += _area(known, half, domain, base, side, f"{index}.{place}")
            marks += _quartiles(known, half, row.label, base, side)
        names.append(
            {
                "y": index + 0.13,
                "label": row.label,
                "short": row.short or row.label,
                "words": "n = " + " + ".join(map(count, sizes)),
                "brief": "n = " + " + ".join(map(count, sizes)),
            }
        )
    top_of = -HEAD * len(guides) / ROW if guides else 0
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[len(rows), top_of], nice=False, zero=False))
    scale = alt.Scale(domain=list(domain), nice=False, zero=False)
    colour = alt.Color("colour:N", scale=None, legend=None)
    layers = [
        *_guides(guides, y, scale, len(rows), HEAD / ROW, (0.26, 0.98)),
        _chart(areas)
        .mark_area(opacity=0.4, line=False, interpolate="monotone")
        .encode(_x("x", axis, scale), y, alt.Y2("y2"), colour, alt.Detail("id:N")),
        *_boxes(marks, y, scale),
        *_names(names, y, scale, domain),
    ]
    return _assembled(layers, ROW * len(rows) + HEAD * len(guides))


def curves(
    rows: Sequence[Curve],
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    axes: tuple[str, str],
    height: int = 300,
    scale: Literal["linear", "log"] = "linear",
) -> Spec:
    """Curves of two measures, such as output change against divergence of the weights."""

    def shown(value: float) -> str:
        return number(value, 3) if scale == "linear" else f"{value:.2g}"

    values = [
        {
            "x": a,
            "y": b,
            "colour": c.series.colour,
            "shape": c.series.shape,
            "row": c.series.name,
            "what": label,
            "place": place,
            axes[0]: shown(a),
            axes[1]: shown(b),
        }
        for c in rows
        for place, (a, b, label) in enumerate(c.points)
    ]
    joined = {c.series.name for c in rows if c.joined}

    def scaled(domain: tuple[float, float]) -> alt.Scale:
        kind = {"zero": False} if scale == "linear" else {"type": "log"}
        return alt.Scale(domain=list(domain), nice=False, **kind)

    across = _x("x", axes[0], scaled(x))
    up = alt.Y("y:Q", scale=scaled(y), axis=alt.Axis(title=axes[1], grid=True, tickCount=6))
    colour = alt.Color("colour:N", scale=None, legend=None)
    lines = [v for v in values if v["row"] in joined]
    layers = [
        _chart(lines)
        .mark_line(strokeWidth=2)
        .encode(across, up, colour, alt.Detail("row:N"), alt.Order("place:Q")),
        _chart(values)
        .mark_point(size=70, filled=True, opacity=1)
        .encode(
            across,
            up,
            colour,
            alt.Shape("shape:N", scale=None, legend=None),
            tooltip=["row:N", "what:N", f"{_escaped(axes[0])}:N", f"{_escaped(axes[1])}:N"],
        ),
    ]
    return _assembled(layers, height)


def _area(
    known: np.ndarray, half: Half, domain: tuple[float, float], base: float, side: int, name: str
) -> list[Spec]:
    if len(known) < 2:
        return []
    low, high = domain
    spread = float(known.std()) * len(known) ** -0.2
    width = max(0.9 * spread, NARROWEST * (high - low))
    ends = max(low, float(known.min()) - width), min(high, float(known.max()) + width)
    grid = np.linspace(*ends, GRID)
    density = np.exp(-0.5 * ((grid[:, None] - known[None, :]) / width) ** 2).sum(1)
    tall = 0.3 * density / density.max()
    return [
        {
            "x": round(float(x), 4),
            "y": round(base - (h if side <= 0 else 0), 4),
            "y2": round(base + (h if side >= 0 else 0), 4),
            "colour": half.colour,
            "id": name,
        }
        for x, h in zip(grid, tall.tolist(), strict=True)
    ]


def _quartiles(known: np.ndarray, half: Half, row: str, base: float, side: int) -> list[Spec]:
    found: list[Spec] = []
    at = base + 0.08 * side
    for who, quarters, colour, shape, y in (
        (
            "here",
            None if not len(known) else np.quantile(known, (0.25, 0.5, 0.75)).tolist(),
            half.colour,
            "circle",
            at,
        ),
        ("the paper", half.paper, INK, "diamond", at + (0.14 * side or 0.14)),
    ):
        if quarters is None:
            continue
        low, middle, high = quarters
        found.append(
            {
                "low": low,
                "x": middle,
                "high": high,
                "y": round(y, 4),
                "colour": colour,
                "shape": shape,
                "row": row,
                "instances": half.name,
                "from": who,
                "median": number(middle, 3),
                "quartiles": f"{number(low, 3)} to {number(high, 3)}",
            }
        )
    return found


def _boxes(marks: list[Spec], y: alt.Y, scale: alt.Scale) -> list[alt.Chart]:
    colour = alt.Color("colour:N", scale=None, legend=None)
    tooltip = ["row:N", "instances:N", "from:N", "median:N", "quartiles:N"]
    return [
        _chart(marks)
        .mark_rule(strokeWidth=2)
        .encode(alt.X("low:Q", scale=scale), alt.X2("high"), y, colour, tooltip=tooltip),
        _chart(marks)
        .mark_point(size=48, filled=True, opacity=1, stroke=PAPER, strokeWidth=1)
        .encode(
            alt.X("x:Q", scale=scale),
            y,
            colour,
            alt.Shape("shape:N", scale=None, legend=None),
            tooltip=tooltip,
        ),
    ]


def _escaped(field: str) -> str:
    """A field name in which Vega-Lite reads no path and no type."""
    return field.replace(".", "\\.").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


LEGEND_HERE = Series("here: median and quartiles", MUTED)
LEGEND_PAPER = Series("the paper's", INK, "diamond")
