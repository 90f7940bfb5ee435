"""Scores over a plane: units that have a place, as the cells of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from attnaudit.report.heat import Unit

LARGEST = 400
"""Most cells of a side: a place that is closer to the next is drawn as large as that."""


@dataclass(frozen=True)
class Cell:
    """One unit in its place.

    Attributes:
        x: Of the left edge.
        y: Of the upper edge; it grows downwards.
        unit: What stands there.
    """

    x: float
    y: float
    unit: Unit


@dataclass(frozen=True)
class HeatMap:
    """Units in their places.

    Attributes:
        width: Of the map, in the units of the coordinates.
        height: Of the map.
        side: Of a cell.
        cells: The units, the faintest first, so that strong ones lie on top.
    """

    width: float
    height: float
    side: float
    cells: tuple[Cell, ...]


def heat_map(coordinates: Sequence[Sequence[float]], units: Sequence[Unit]) -> HeatMap | None:
    """A map of the units, its cells as wide as the least distance of two columns or rows.

    Args:
        coordinates: x (to the right) and y (down) of each unit.
        units: As many, with their shades.

    Returns:
        The map, or None where the numbers differ or there is only one place.

    Example:
        >>> units = [Unit("1", shade=1.0), Unit("2", shade=0.5)]
        >>> made = heat_map([[0.0, 0.0], [10.0, 0.0]], units)
        >>> made.width, made.height, [cell.x for cell in made.cells]
        (20.0, 10.0, [10.0, 0.0])
    """
    if len(coordinates) != len(units) or len({tuple(place) for place in coordinates}) < 2:
        return None
    columns, rows = (sorted({place[axis] for place in coordinates}) for axis in (0, 1))
    extent = max(columns[-1] - columns[0], rows[-1] - rows[0])
    steps = [b - a for line in (columns, rows) for a, b in pairwise(line)]
    side = max(min(steps), extent / LARGEST)
    ordered = sorted(zip(coordinates, units, strict=True), key=lambda pair: abs(pair[1].shade))
    cells = [
        Cell(round(place[0] - columns[0], 4), round(place[1] - rows[0], 4), unit)
        for place, unit in ordered
    ]
    return HeatMap(
        round(columns[-1] - columns[0] + side, 4), round(rows[-1] - rows[0] + side, 4),
        round(side, 4), tuple(cells),
    )  # fmt: skip
