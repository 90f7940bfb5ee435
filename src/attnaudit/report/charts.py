"""Two kinds of picture: rows of histograms, and rows of intervals. Colours are CSS variables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import altair as alt
import numpy as np

from attnaudit.findings.findings import Estimate
from attnaudit.findings.pictures import (
    INK,
    LINES,
    MUTED,
    PAPER,
    Distributions,
    Guide,
    Intervals,
)
from attnaudit.findings.wording import count, interval_of, number, shortened, spoken, value_of
from attnaudit.report.vega import Spec

WIDE, NARROW, SMALL = 720, 350, 480
LABEL, TEXT = 13, 12
ROW, HEAD, LINE, AXIS = 58, 18, 12, 12


def distributions(chart: Distributions) -> Spec:
    """Histograms one above the other, each with its mean and interval on its base line.

    Values are counted into bins here, so the file does not grow with the instances.
    """
    rows, domain, guides = chart.rows, chart.domain, chart.guides
    bars: list[Spec] = []
    names: list[Spec] = []
    means: list[Spec] = []
    for index, row in enumerate(rows):
        edges = np.linspace(*domain, chart.bins + 1)
        top = max(*row.counts, 1)
        base = index + 0.92
        bars += [
            {
                "x": round(float(low), 4),
                "x2": round(float(high), 4),
                "y": base,
                "y2": round(base - 0.58 * size / top, 4),
                "colour": row.colour,
                "from to": f"{number(float(low))} to {number(float(high))}",
                "instances": count(size),
                "row": row.label,
            }
            for size, (low, high) in zip(row.counts, pairwise(edges), strict=True)
            if size
        ]
        size = count(sum(row.counts))
        names.append(_name(index + 0.2, row.label, row.short, row.estimate, size))
        means += _interval(row.estimate, base, row.colour, row.label)
    height = ROW * len(rows)
    top_of = -HEAD * len(guides) / ROW if guides else 0
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[len(rows), top_of], nice=False, zero=False))
    x_scale = alt.Scale(domain=list(domain), nice=False, zero=False)
    layers = [
        *guide_layers(guides, y, x_scale, len(rows), HEAD / ROW, (0.34, 0.94)),
        chart_of(bars)
        .mark_bar(opacity=0.45, strokeWidth=0)
        .encode(
            x_axis("x", chart.axis, x_scale),
            alt.X2("x2"),
            y,
            alt.Y2("y2"),
            alt.Color("colour:N", scale=None, legend=None),
            tooltip=["row:N", "from to:N", "instances:N"],
        ),
        *name_axis(names, y, x_scale, domain),
        *_intervals(means, y, x_scale),
    ]
    return assembled(layers, height + HEAD * len(guides))


def intervals(chart: Intervals) -> Spec:
    """Estimates with intervals, one row per method."""
    rows, series, guides = chart.rows, chart.series, chart.guides
    single = len(series) == 1
    height = 38 if single else HEAD + LINE * len(series) + 10
    names: list[Spec] = []
    points: list[Spec] = []
    for index, row in enumerate(rows):
        first = row.estimates[0]
        names.append(_name(index + 10 / height, row.label, "", first if single else None))
        for place, estimate in enumerate(row.estimates):
            at = index + (HEAD + 4 + LINE * (place + 0.5)) / height
            colour = row.colours[place] if row.colours else series[place].colour
            label = row.label if single else f"{row.label}, {series[place].name}"
            points += _interval(estimate, round(at, 4), colour, label, series[place].shape)
    top_of = -HEAD * len(guides) / height if guides else 0
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[len(rows), top_of], nice=False, zero=False))
    x_scale = alt.Scale(domain=list(chart.domain), nice=False, zero=False)
    layers = [
        *guide_layers(
            guides, y, x_scale, len(rows), HEAD / height, (HEAD / height, 1 - 2 / height)
        ),
        *name_axis(names, y, x_scale, chart.domain),
        *_intervals(points, y, x_scale, axis=chart.axis, nulls=chart.nulls),
    ]
    return assembled(layers, height * len(rows) + HEAD * len(guides))


def _name(y: float, label: str, short: str, estimate: Estimate | None, size: str = "") -> Spec:
    """The words of a row, and fewer of them for where there is little room.

    A narrow picture leaves the interval to the line that is drawn.
    """
    words = brief = f"n = {size}" if size else ""
    if estimate is not None:
        words = spoken(estimate)
        brief = f"{value_of(estimate)}, n = {count(estimate.n)}"
    return {
        "y": y,
        "label": shortened(label, 44),
        "words": words,
        "brief": brief,
        "short": shortened(short or label, 26 if brief else 32),
    }


def chart_of(values: list[Spec]) -> alt.Chart:
    """An empty chart of some rows."""
    return alt.Chart(alt.InlineData(values=values))


def x_axis(name: str, title: str | None, scale: alt.Scale) -> alt.X:
    """The axis of values, with few ticks."""
    axis = alt.Axis(title=title, grid=True, tickCount=6)
    return alt.X(f"{name}:Q", scale=scale, axis=axis)


def _interval(
    estimate: Estimate | None, y: float, colour: str, label: str, shape: str = "circle"
) -> list[Spec]:
    if estimate is None or estimate.value is None:
        return []
    value = estimate.value
    return [
        {
            "x": value,
            "low": value if estimate.low is None else estimate.low,
            "high": value if estimate.high is None else estimate.high,
            "null": estimate.null,
            "y": y,
            "colour": colour,
            "shape": shape,
            "row": label,
            "mean": value_of(estimate),
            "interval": interval_of(estimate),
            "n": count(estimate.n),
            "by chance": "–" if estimate.null is None else number(estimate.null),
        }
    ]


def _intervals(
    points: list[Spec], y: alt.Y, scale: alt.Scale, *, axis: str | None = None, nulls: bool = False
) -> list[alt.Chart]:
    colour = alt.Color("colour:N", scale=None, legend=None)
    tooltip = ["row:N", "mean:N", "interval:N", "n:N", "by chance:N"]
    x = alt.X("x:Q", scale=scale) if axis is None else x_axis("x", axis, scale)
    base = chart_of(points)
    layers = [
        base.mark_rule(strokeWidth=2.5).encode(
            alt.X("low:Q", scale=scale), alt.X2("high"), y, colour, tooltip=tooltip
        ),
        base.mark_point(size=55, filled=True, opacity=1).encode(
            x, y, colour, alt.Shape("shape:N", scale=None, legend=None), tooltip=tooltip
        ),
    ]
    if nulls:
        tick = base.mark_tick(thickness=2, size=11, color=MUTED, opacity=0.8)
        layers.insert(0, tick.encode(alt.X("null:Q", scale=scale), y))
    return layers


def name_axis(
    names: list[Spec], y: alt.Y, scale: alt.Scale, domain: tuple[float, float]
) -> list[alt.Chart]:
    """Names at the left and numbers at the right, each over a halo that lines do not cross."""
    left = alt.X(datum=domain[0], type="quantitative", scale=scale)
    right = alt.X(datum=domain[1], type="quantitative", scale=scale)
    base, numbers = chart_of(names), chart_of([row for row in names if row["words"]])

    def text(x: alt.X, size: float, field: str, color: str, halo: float) -> alt.Chart:
        chart: alt.Chart = (
            (base if x is left else numbers)
            .mark_text(
                align="left" if x is left else "right",
                fontWeight=600 if x is left else 400,
                fontSize=alt.ExprRef(f"width < {SMALL} ? {size - 1} : {size}"),
                text=alt.ExprRef(field),
                color=color,
                stroke=color,
                strokeWidth=halo,
                strokeJoin="round",
            )
            .encode(x, y)
        )
        return chart

    called = f"width < {SMALL} ? datum.short : datum.label"
    said = f"width < {SMALL} ? datum.brief : datum.words"
    return [
        text(left, LABEL, called, PAPER, 4),
        text(right, TEXT, said, PAPER, 4),
        text(left, LABEL, called, INK, 0),
        text(right, TEXT, said, MUTED, 0),
    ]


def guide_layers(
    guides: Sequence[Guide],
    y: alt.Y,
    scale: alt.Scale,
    rows: int,
    step: float,
    inside: tuple[float, float],
) -> list[alt.Chart]:
    """Vertical lines with a label each, drawn where they cross no word.

    Args:
        guides: What is drawn.
        y: Rows counted from 0; labels stand above, one below the other.
        scale: Of the values.
        rows: How many rows there are.
        step: The height of a label, in rows.
        inside: Between which parts of a row its words leave room.
    """
    layers: list[alt.Chart] = []
    low, high = scale.to_dict()["domain"]
    for place, guide in enumerate(sorted(guides, key=lambda g: g.value)):
        at = -step * (len(guides) - place - 0.35)
        parts = [(at + 0.4 * step, 0.0), *((i + inside[0], i + inside[1]) for i in range(rows))]
        line = [{"x": guide.value, "y": top, "y2": end} for top, end in parts]
        words = [{"x": guide.value, "y": at, "label": guide.label}]
        x = alt.X("x:Q", scale=scale)
        # away from the line of the other guide, where the edge leaves room
        share = (guide.value - low) / (high - low)
        left = share > (0.5 if len(guides) == 1 else 0.3 if place == 0 else 0.75)
        layers += [
            chart_of(line)
            .mark_rule(color=MUTED, strokeDash=[3, 3] if guide.dashed else [1, 0], strokeWidth=1)
            .encode(x, y, alt.Y2("y2")),
            chart_of(words)
            .mark_text(
                align="right" if left else "left",
                fontSize=TEXT - 1,
                color=MUTED,
                dx=3 if left else -3,
            )
            .encode(x, y, alt.Text("label:N")),
        ]
    return layers


def assembled(layers: list[alt.Chart], height: float) -> Spec:
    """Layers as one picture, in the style of the page."""
    font = "system-ui, sans-serif"
    chart = (
        alt.layer(*layers)
        .properties(width="container", height=height, background="transparent")
        .properties(autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
        .configure(font=font, aria=False, padding={"left": 4, "right": 4, "top": 4, "bottom": 4})
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=MUTED,
            titleColor=MUTED,
            gridColor=LINES,
            domainColor=LINES,
            tickColor=LINES,
            labelFontSize=AXIS,
            titleFontSize=AXIS,
            titleFontWeight="normal",
            titlePadding=8,
            labelFlush=True,
        )
    )
    spec: Spec = chart.to_dict()
    spec.pop("$schema", None)  # an address: nothing here may look like a thing to load
    return spec
