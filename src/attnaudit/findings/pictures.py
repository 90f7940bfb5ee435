"""Pictures and tables as plain data: what is to be seen, not how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from attnaudit.findings.findings import Estimate
from attnaudit.findings.wording import count, interval_of, null_of, spoken, statistic, value_of

INK, MUTED, LINES, ACCENT = "var(--ink)", "var(--muted)", "var(--line)", "var(--accent)"
PAPER = "var(--paper)"
SECOND, THIRD, FOURTH = "var(--second)", "var(--third)", "var(--fourth)"
PALETTE = (ACCENT, SECOND, THIRD, FOURTH)
"""Colours are CSS variables, so that a page can be dark or light."""
GRID = 80
NARROWEST = 0.008
"""The least bandwidth, as a share of the axis: equal values are still seen."""
SHAPES = ("circle", "square", "triangle-up", "diamond")


@dataclass(frozen=True)
class Guide:
    """A vertical line: the null, or the bar of a verdict."""

    value: float
    label: str
    dashed: bool = True


@dataclass(frozen=True)
class Series:
    """One of several intervals or curves that stand beside each other."""

    name: str
    colour: str
    shape: str = "circle"


@dataclass(frozen=True)
class Distribution:
    """One row of histograms: a name, where the instances lie, and their mean.

    Attributes:
        label: What the row is called.
        counts: Instances in each of the equal bins of the axis.
        estimate: The mean with its interval.
        colour: A CSS colour.
        short: What the row is called where there is little room, if not the same.
    """

    label: str
    counts: tuple[int, ...]
    estimate: Estimate | None
    colour: str = ACCENT
    short: str = ""


@dataclass(frozen=True)
class IntervalRow:
    """One row of intervals: a name, and an estimate for each series."""

    label: str
    estimates: tuple[Estimate | None, ...]
    colours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Half:
    """One side of a violin.

    Attributes:
        name: Which instances, in words.
        n: How many there are.
        density: `(x, height)` of its edge, the highest point at 1.
        quartiles: Lower, median and upper; None without instances.
        colour: A CSS colour.
        paper: The paper's quartiles: lower, median, upper; or None.
    """

    name: str
    n: int
    density: tuple[tuple[float, float], ...]
    quartiles: tuple[float, float, float] | None
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


@dataclass(frozen=True, kw_only=True)
class Distributions:
    """Histograms one above the other, each with its mean and interval on its base line."""

    rows: tuple[Distribution, ...]
    domain: tuple[float, float]
    bins: int
    axis: str
    guides: tuple[Guide, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Estimates with intervals, one row per method; `nulls` draws each estimate's own null."""

    rows: tuple[IntervalRow, ...]
    series: tuple[Series, ...]
    domain: tuple[float, float]
    axis: str
    guides: tuple[Guide, ...] = ()
    nulls: bool = False


@dataclass(frozen=True, kw_only=True)
class Violins:
    """Densities one above the other, with median and quartiles here, and the paper's beside."""

    rows: tuple[Violin, ...]
    domain: tuple[float, float]
    axis: str
    guides: tuple[Guide, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Curves of two measures, such as output change against divergence of the weights."""

    rows: tuple[Curve, ...]
    x: tuple[float, float]
    y: tuple[float, float]
    axes: tuple[str, str]
    height: int = 300
    scale: Literal["linear", "log"] = "linear"


Chart: TypeAlias = Distributions | Intervals | Violins | Curves


@dataclass(frozen=True)
class Figure:
    """A picture with its words.

    Attributes:
        name: Unique in the report; ids are made of it.
        title: What is seen.
        caption: How to read it.
        chart: What is drawn.
        description: For those who do not see it.
        legend: Series that need telling apart.
    """

    name: str
    title: str
    caption: str
    chart: Chart
    description: str
    legend: tuple[Series, ...] = ()
    kind: str = "picture"


@dataclass(frozen=True)
class Value:
    """One cell of a table.

    Attributes:
        text: What stands there.
        more: In small print below: an interval, a sample size.
        differs: Why it is marked as different from the paper's, or nothing.
        paper: Whether it is the paper's own.
    """

    text: str
    more: str = ""
    differs: str = ""
    paper: bool = False


@dataclass(frozen=True)
class Row:
    """One row: its name, its values, and whether it belongs to the row above."""

    name: str
    values: tuple[Value, ...]
    inner: bool = False


@dataclass(frozen=True)
class Table:
    """A table with numbers in every column but the first.

    Attributes:
        title: What it shows.
        caption: How to read it.
        first: What the first column holds.
        head: Names of the other columns.
        rows: The rows.
        folded: Whether it is shown only when asked for.
    """

    title: str
    caption: str
    first: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    folded: bool = False
    kind: str = "table"


Block: TypeAlias = Figure | Table


def histogram(values: np.ndarray, domain: tuple[float, float], bins: int) -> tuple[int, ...]:
    """How many values lie in each of some equal bins; those outside count at the ends, NaN nowhere.

    Example:
        >>> histogram(np.array([0.1, 0.2, 0.9, np.nan, 2.0]), (0, 1), 2)
        (2, 2)
    """
    known = values[np.isfinite(values)]
    counts, _ = np.histogram(np.clip(known, *domain), bins=bins, range=domain)
    return tuple(counts.tolist())


def half(
    name: str,
    values: np.ndarray,
    colour: str,
    domain: tuple[float, float],
    paper: tuple[float, float, float] | None = None,
) -> Half:
    """One side of a violin, from one value per instance; NaN is left out."""
    known = values[np.isfinite(values)]
    density: tuple[tuple[float, float], ...] = ()
    if len(known) > 1:
        low, high = domain
        spread = float(known.std()) * len(known) ** -0.2
        width = max(0.9 * spread, NARROWEST * (high - low))
        ends = max(low, float(known.min()) - width), min(high, float(known.max()) + width)
        grid = np.linspace(*ends, GRID)
        heights = np.exp(-0.5 * ((grid[:, None] - known[None, :]) / width) ** 2).sum(1)
        tall = heights / heights.max()
        density = tuple(zip(grid.round(4).tolist(), tall.round(4).tolist(), strict=True))
    quartiles = None
    if len(known):
        lower, middle, upper = np.quantile(known, (0.25, 0.5, 0.75)).tolist()
        quartiles = (lower, middle, upper)
    return Half(name, len(known), density, quartiles, colour, paper)


def interval_figure(
    name: str,
    title: str,
    rows: Sequence[IntervalRow],
    axis: str,
    caption: str,
    guides: tuple[Guide, ...] = (),
) -> Figure:
    """Intervals of one series, on an axis that is as long as they are."""
    known = [one for row in rows for one in row.estimates if one is not None]
    ends = [e for one in known for e in (one.value, one.low, one.high) if e is not None]
    ends += [guide.value for guide in guides]
    room = max(0.02, 0.08 * (max(ends) - min(ends)))
    chart = Intervals(
        rows=tuple(rows),
        series=(Series(axis, ACCENT),),
        domain=(min(ends) - room, max(ends) + room),
        axis=axis,
        guides=guides,
    )
    said = (f"{r.label} {value_of(r.estimates[0])}" for r in rows if r.estimates[0] is not None)
    return Figure(name, title, caption, chart, f"{'; '.join(said)}.")


def estimates_table(title: str, estimates: Sequence[Estimate]) -> Table:
    """Every estimate that has a value, folded."""
    rows = [
        Row(
            f"{statistic(e.statistic).title}: {e.subject}"
            + ("" if e.group == "all" else f", {e.group}"),
            (Value(value_of(e)), Value(interval_of(e)), Value(count(e.n)), Value(null_of(e))),
        )
        for e in estimates
        if e.value is not None
    ]
    return Table(title, "", "what", ("value", "interval", "n", "null"), tuple(rows), folded=True)


def told(rows: Sequence[Distribution] | Sequence[IntervalRow]) -> str:
    """The first estimate of every row in words, for those who do not see the picture."""
    firsts = [
        (r.label, r.estimate if isinstance(r, Distribution) else r.estimates[0]) for r in rows
    ]
    return "; ".join(f"{label}: {spoken(first)}" for label, first in firsts if first is not None)
