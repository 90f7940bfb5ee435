"""Pictures that studies have and audits have not: split violins, and curves of two measures."""

from __future__ import annotations

import altair as alt

from attnaudit.findings.pictures import (
    INK,
    MUTED,
    PAPER,
    Chart,
    Curves,
    Distributions,
    Half,
    Intervals,
    Series,
    Violins,
)
from attnaudit.findings.wording import count, number
from attnaudit.report.charts import (
    assembled,
    chart_of,
    distributions,
    guide_layers,
    intervals,
    name_axis,
    x_axis,
)
from attnaudit.report.vega import Spec

ROW, HEAD = 84, 18
TALL = 0.3
"""The height of a density, in rows."""


def spec_of(chart: Chart) -> Spec:
    """A picture's data as a drawing in Vega-Lite."""
    if isinstance(chart, Distributions):
        return distributions(chart)
    if isinstance(chart, Intervals):
        return intervals(chart)
    return violins(chart) if isinstance(chart, Violins) else curves(chart)


def violins(chart: Violins) -> Spec:
    """Densities one above the other, with median and quartiles here, and the paper's beside.

    Each side is scaled to its own highest point. The file does not grow with the instances.
    """
    rows, domain, guides = chart.rows, chart.domain, chart.guides
    areas: list[Spec] = []
    marks: list[Spec] = []
    names: list[Spec] = []
    for index, row in enumerate(rows):
        base = index + 0.64
        sizes = []
        for place, half in enumerate(row.halves):
            sizes.append(half.n)
            side = 0 if len(row.halves) == 1 else -1 if place == 0 else 1
            areas += _area(half, base, side, f"{index}.{place}")
            marks += _quartiles(half, row.label, base, side)
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
        *guide_layers(guides, y, scale, len(rows), HEAD / ROW, (0.26, 0.98)),
        chart_of(areas)
        .mark_area(opacity=0.4, line=False, interpolate="monotone")
        .encode(
            x_axis("x", chart.axis, scale),
            y,
            alt.Y2("y2"),
            colour,
            alt.Detail("id:N"),
        ),
        *_boxes(marks, y, scale),
        *name_axis(names, y, scale, domain),
    ]
    return assembled(layers, ROW * len(rows) + HEAD * len(guides))


def curves(chart: Curves) -> Spec:
    """Curves of two measures, such as output change against divergence of the weights."""
    rows, axes, scale = chart.rows, chart.axes, chart.scale

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

    across = x_axis("x", axes[0], scaled(chart.x))
    up = alt.Y(
        "y:Q",
        scale=scaled(chart.y),
        axis=alt.Axis(title=axes[1], grid=True, tickCount=6),
    )
    colour = alt.Color("colour:N", scale=None, legend=None)
    lines = [v for v in values if v["row"] in joined]
    layers = [
        chart_of(lines)
        .mark_line(strokeWidth=2)
        .encode(across, up, colour, alt.Detail("row:N"), alt.Order("place:Q")),
        chart_of(values)
        .mark_point(size=70, filled=True, opacity=1)
        .encode(
            across,
            up,
            colour,
            alt.Shape("shape:N", scale=None, legend=None),
            tooltip=["row:N", "what:N", f"{_escaped(axes[0])}:N", f"{_escaped(axes[1])}:N"],
        ),
    ]
    return assembled(layers, chart.height)


def _area(half: Half, base: float, side: int, name: str) -> list[Spec]:
    return [
        {
            "x": x,
            "y": round(base - (TALL * height if side <= 0 else 0), 4),
            "y2": round(base + (TALL * height if side >= 0 else 0), 4),
            "colour": half.colour,
            "id": name,
        }
        for x, height in half.density
    ]


def _quartiles(half: Half, row: str, base: float, side: int) -> list[Spec]:
    found: list[Spec] = []
    at = base + 0.08 * side
    for who, quarters, colour, shape, y in (
        ("here", half.quartiles, half.colour, "circle", at),
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
        chart_of(marks)
        .mark_rule(strokeWidth=2)
        .encode(alt.X("low:Q", scale=scale), alt.X2("high"), y, colour, tooltip=tooltip),
        chart_of(marks)
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
