"""How far weights are apart between seeds: the measure for every other divergence."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from attnaudit.errors import DataError, RunError
from attnaudit.runs.disk import read_sure

TABLE = "trainings"
"""Name of the table of what trainings say per instance; the run stores it with this name."""


@dataclass(frozen=True)
class Calibration:
    """Jensen-Shannon divergences of weights that differ by nothing but the seed.

    Attributes:
        jsd: `(N, S)`, one row per instance, one column per seed.
    """

    jsd: np.ndarray

    def __post_init__(self) -> None:
        if self.jsd.ndim != 2 or not self.jsd.size or not np.isfinite(self.jsd).all():
            raise DataError(
                f"divergences between seeds have shape {self.jsd.shape}; give finite numbers, one "
                "row per instance and one column per seed"
            )

    def percentile(self, jsd: float) -> float:
        """The share of divergences between seeds that are at most `jsd`, in percent.

        Example:
            >>> Calibration(np.array([[0.1, 0.2], [0.3, 0.4]])).percentile(0.3)
            75.0
        """
        return 100 * float((self.jsd <= jsd).mean())

    def says(self, jsd: float, what: str = "a divergence") -> str:
        """The divergence of one instance set beside those of seeds on single instances, in words.

        For a mean over instances see `says_mean`: means spread far less than single values.

        Example:
            >>> Calibration(np.linspace(0, 0.4, 100)[:, None]).says(0.3, "an adversary's JSD")
            "an adversary's JSD of 0.30 is at the 75th percentile of what another seed does"
        """
        if jsd > self.jsd.max():
            return f"{what} of {jsd:.2f} is beyond anything that another seed does"
        place = int(self.percentile(jsd))
        return (
            f"{what} of {jsd:.2f} is at the {ordinal(place)} percentile of what another seed does"
        )

    def says_mean(self, jsd: float, what: str = "a mean divergence") -> str:
        """A mean over instances set beside the means of whole seeds, in words.

        Example:
            >>> found = Calibration(np.array([[0.1, 0.2], [0.3, 0.4]]))
            >>> found.says_mean(0.25, "an adversary's mean")
            "an adversary's mean of 0.25 is above that of 1 of 2 other seeds (0.20 to 0.30)"
        """
        means = self.jsd.mean(0)
        seeds = f"{len(means)} other seed{'s' if len(means) > 1 else ''}"
        return (
            f"{what} of {jsd:.2f} is above that of {int((means < jsd).sum())} of {seeds} "
            f"({means.min():.2f} to {means.max():.2f})"
        )

    @property
    def beyond_null(self) -> float:
        """The share of instances on which one more seed would be beyond all these: 1 / (S + 1).

        One more seed is as likely as any of the `S` to be the most different.
        """
        return 1.0 / (1 + int(self.jsd.shape[1]))

    def beyond(self, jsd: np.ndarray) -> np.ndarray:
        """Whether each instance's divergence is above that of every seed on the same instance.

        A further seed is that on `beyond_null` of the instances, not on none.

        Args:
            jsd: `(N,)`, in the order of the instances.
        """
        return np.asarray(jsd > self.jsd.max(1))


def read_calibration(folder: str | Path) -> Calibration:
    """The divergences between seeds that a run of the check `seeds` has stored.

    Raises:
        RunError: The folder holds none.
    """
    path = Path(folder) / f"{TABLE}.parquet"
    again = "Run the check `seeds` there."
    frame = pl.read_parquet(io.BytesIO(read_sure(path, path.parent, "trainings", again)))
    return calibration_of(frame, str(path))


def calibration_of(frame: pl.DataFrame, where: str = "the table") -> Calibration:
    """The divergences between seeds in a table of instances.

    Raises:
        RunError: There are none.
    """
    columns = [c for c in frame.columns if c.startswith("seed ") and c.endswith("/jsd")]
    if not columns:
        raise RunError(f"{where} holds no other seeds: run the check `seeds`.")
    return Calibration(frame.select(columns).to_numpy())


def ordinal(number: int) -> str:
    """A number as a place.

    Example:
        >>> [ordinal(n) for n in (1, 2, 3, 11, 22, 97)]
        ['1st', '2nd', '3rd', '11th', '22nd', '97th']
    """
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
