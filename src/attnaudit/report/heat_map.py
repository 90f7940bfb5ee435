"""Scores over a plane: units that have a place, as the cells of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from attnaudit.report.heat import Unit

LARGEST = 400
"""Most cells of a side: a place that is closer to the next is drawn as large as that."""
MOST_CELLS, COARSE = 2_500, 50
"""With more units than the first, a map has so many cells a side, each with its strongest unit."""


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
        coarse: Whether a cell stands for several units, and shows the strongest.
    """

    width: float
    height: float
    side: float
    cells: tuple[Cell, ...]
    coarse: bool = False


def heat_map(coordinates: Sequence[Sequence[float]], units: Sequence[Unit]) -> HeatMap | None:
    """A map of the units, its cells as wide as it is usually far to the next unit.

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
    places = np.asarray(coordinates, dtype=np.float64)
    places = places - places.min(0)
    extent = float(places.max())
    distinct = np.unique(places, axis=0)
    nearest = cKDTree(distinct).query(distinct, k=2, p=np.inf)[0][:, 1]
    side = max(float(np.median(nearest)), extent / LARGEST)
    coarse = len(units) > MOST_CELLS
    if coarse:
        side = max(side, extent / COARSE)
        places = np.floor(places / side) * side
    order = np.argsort([abs(unit.shade) for unit in units], kind="stable")
    kept = [(places[i], units[i]) for i in order]
    if coarse:
        # later ones are stronger, and take the place
        strongest = {tuple(place.tolist()): unit for place, unit in kept}
        kept = [(np.array(place), unit) for place, unit in strongest.items()]
        kept.sort(key=lambda pair: abs(pair[1].shade))
    cells = [Cell(round(float(p[0]), 4), round(float(p[1]), 4), unit) for p, unit in kept]
    width, height = (float(places[:, axis].max()) + side for axis in (0, 1))
    return HeatMap(round(width, 4), round(height, 4), round(side, 4), tuple(cells), coarse)
