"""What a check sees of one batch: everything shared, nothing computed twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.attribution import EVERY, METHODS, Attribution, Method, Options
from attnaudit.data.kinds import Record
from attnaudit.errors import NotApplicable
from attnaudit.findings.settings import Settings
from attnaudit.measures.divergence import total_variation
from attnaudit.measures.drift import DriftReference
from attnaudit.measures.odds import log_odds
from attnaudit.measures.seeded import instance_uniform, permuted
from attnaudit.measures.ties import settled
from attnaudit.models.encoded import Encoded

EQUAL_WEIGHTS = 1e-7
ONE_HOTS = 24
"""Units of an instance that are given all of the weight, one after the other."""
Columns = Mapping[str, np.ndarray | list[list[float] | None]]
"""Columns with one row per instance, by name."""


@dataclass(frozen=True)
class Reach:
    """What the weights of each instance can do to its output.

    Attributes:
        change: The largest total variation with all weight on one unit.
        odds: The largest change in log-odds.
        silenced: The total variation with no weight on any unit.
    """

    change: Float[Tensor, " B"]
    odds: Float[Tensor, " B"]
    silenced: Float[Tensor, " B"]


class View:
    """A batch with its attributions, truth and settings.

    Attributes:
        encoded: The batch, encoded once.
        records: The records of the batch, in order.
        settings: The audit's settings.
        chosen: `(B,)`, whether the costly checks run on the instance.
        rows: The chosen rows as indices.
        drift: The reference that tells how far perturbed inputs drift, or None.
    """

    def __init__(
        self,
        encoded: Encoded,
        records: list[Record],
        settings: Settings,
        chosen: np.ndarray,
        drift: DriftReference | None,
    ) -> None:
        self.encoded = encoded
        self.records = records
        self.settings = settings
        self.chosen = chosen
        self.drift = drift
        self._attributions: dict[str, Attribution] = {}
        self.rows = torch.as_tensor(chosen.nonzero()[0], device=encoded.units.device)
        self._options = Options(
            seed=settings.seed,
            tolerance=settings.ig_tolerance,
            max_nodes=settings.ig_max_nodes,
            token_budget=settings.token_budget,
            longest=settings.longest,
        )

    @property
    def units(self) -> Bool[Tensor, "B L"]:
        """The positions that may receive weight."""
        return self.encoded.units

    def attribution(self, name: str) -> Attribution:
        """The attribution `name`, computed on first use.

        Raises:
            NotApplicable: The model lacks what the method needs.
        """
        if name not in self._attributions:
            method = EVERY[name]
            if not method.costly or len(self.rows) == len(self.encoded):
                self._attributions[name] = method.compute(self.encoded, self._options)
            else:
                self._attributions[name] = self._on_sample(method)
        return self._attributions[name]

    def _on_sample(self, method: Method) -> Attribution:
        """A costly method on the chosen rows, NaN on the others."""
        scores = torch.full_like(self.encoded.weights, torch.nan, dtype=torch.float64)
        error = torch.full_like(scores[:, 0], torch.nan)
        if len(self.rows):
            some = method.compute(self.sample, self._options)
            scores[self.rows] = some.scores.double()
            if some.error is not None:
                error[self.rows] = some.error.to(error)
        else:
            self.encoded.model.embed(self.encoded.batch)  # raises where the method cannot apply
        return Attribution(scores, error)

    @cached_property
    def sample(self) -> Encoded:
        """The chosen instances alone."""
        return Encoded(self.encoded.model, self.encoded.batch.take(self.rows))

    def scores(self, name: str) -> Float[Tensor, "B L"]:
        """The scores of one attribution; `oracle` is the truth itself, NaN where unknown."""
        return self.truth if name == "oracle" else self.attribution(name).scores

    def ranked(self, name: str, *, size: bool = False) -> Float[Tensor, "B L"]:
        """The scores of one attribution as they are to be ranked: rounding orders nothing.

        Args:
            name: As in `scores`.
            size: Rank the magnitudes.
        """
        scores = self.scores(name)
        return as_ranked(name, scores.abs() if size else scores, self.units)

    def applicable(self, wanted: Collection[str] = METHODS) -> list[str]:
        """Which of these methods the model allows, in the order of `METHODS`."""
        names = []
        for name in EVERY:
            if name not in wanted:
                continue
            try:
                self.attribution(name)
            except NotApplicable:
                continue
            names.append(name)
        return names

    @cached_property
    def permutations(self) -> tuple[Float[Tensor, "B K L"], Float[Tensor, "B K C"]]:
        """Permuted weights and the log-probabilities that come of them."""
        encoded, settings = self.encoded, self.settings
        shuffled = permuted(
            encoded.weights,
            encoded.batch.ids,
            encoded.units,
            settings.permutations,
            settings.seed,
            "permutation",
        )
        with torch.no_grad():
            return shuffled, encoded.decode(shuffled)

    @cached_property
    def reach(self) -> Reach:
        """What weights can do to the output at all: all of them on one unit, or on none."""
        encoded, units = self.encoded, self.units
        place = torch.arange(units.shape[1], device=units.device)
        draws = instance_uniform(encoded.batch.ids, units, 1, self.settings.seed, "reach")[:, 0]
        # of a long text, units drawn at random: the largest of many is hardly larger
        order = draws.masked_fill(~units, -1.0).argsort(1, descending=True)[:, :ONE_HOTS]
        alone = (place == order.unsqueeze(-1)) & units.unsqueeze(1)
        with torch.no_grad():
            said = encoded.decode(alone.to(encoded.weights))
            silent = encoded.decode(torch.zeros_like(encoded.weights))
        own = log_odds(encoded.outputs.double(), encoded.targets)
        real = alone.any(-1)
        moved = (log_odds(said.double(), encoded.targets) - own.unsqueeze(1)).abs()
        change = total_variation(said.exp(), encoded.probabilities.unsqueeze(1))
        return Reach(
            change.double().masked_fill(~real, 0.0).amax(1),
            moved.nan_to_num(posinf=0.0).masked_fill(~real, 0.0).amax(1),
            total_variation(silent.exp(), encoded.probabilities).double(),
        )

    @cached_property
    def single(self) -> Bool[Tensor, " B"]:
        """Instances with fewer than two units: there is nothing to rank or move."""
        return self.units.sum(1) < 2

    @cached_property
    def constant(self) -> Bool[Tensor, " B"]:
        """Instances whose weights are all equal, to float precision."""
        weights = self.encoded.weights
        lowest = weights.masked_fill(~self.units, torch.inf).amin(1)
        return (weights.amax(1) - lowest) <= EQUAL_WEIGHTS

    @property
    def truth(self) -> Float[Tensor, "B L"]:
        """1 on evidence, 0 on other units, NaN on instances without truth."""
        truth = torch.zeros(self.units.shape, dtype=torch.float32, device=self.units.device)
        for row, record in enumerate(self.records):
            if record.truth is None:
                truth[row] = torch.nan
            else:
                flags = torch.as_tensor(record.truth, dtype=torch.float32, device=truth.device)
                truth[row, self.units[row]] = flags
        return truth

    def per_unit(self, values: Tensor) -> list[list[float] | None]:
        """Values `(B, L)` as one list per instance, units only; None where they are NaN."""
        values, units = values.detach().float().cpu(), self.units.cpu()
        rows = [values[row][units[row]].tolist() for row in range(len(values))]
        return [None if any(value != value for value in row) else row for row in rows]


def as_ranked(name: str, scores: Tensor, units: Tensor) -> Tensor:
    """Scores of the attribution `name`, with those equal but for rounding made equal."""
    return settled(scores, units, "own" if name == "weights" else "largest")


def column(values: Tensor) -> np.ndarray:
    """A tensor `(B,)` as a float64 column of the instance table."""
    return values.detach().to("cpu", torch.float64).numpy()
